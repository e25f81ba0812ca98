/*
 * kernels_codes.h -- products of 8-bit rows and queries, written once over the tile of the file that includes it.
 *
 * The includer defines code_tile(R, P, width, row, stride, query, out): the exact sums of R rows (unsigned, `stride` bytes
 * apart) and P queries (signed, `width` bytes apart), R * P = 4, into out[r * P + p]; width is a multiple of PLM_CODE_STEP.
 */

/* R rows at a time against P queries, of which the first is number `from` of `queries`. */
static inline __attribute__((always_inline)) void
code_strip(const int R, const int P, int64_t rows, int64_t width, const uint8_t *codes, int from, int queries,
		   const int8_t *query, int32_t *out)
{
	int32_t		sums[4];
	int			step;

	for (int64_t r = 0; r < rows; r += step)
	{
		/* The last rows, too few for a tile, go one by one through it: it reads the same row R times. */
		step = rows - r < R ? 1 : R;
		code_tile(R, P, width, codes + r * width, step == R ? width : 0, query + from * width, sums);
		for (int i = 0; i < step; i++)
			for (int p = 0; p < P; p++)
				out[(r + i) * queries + from + p] = sums[i * P + p];
	}
}

static void
dot_codes(int64_t rows, int64_t width, const uint8_t *codes, int queries, const int8_t *query, int32_t *out)
{
	int			q = 0;

	for (; q + 4 <= queries; q += 4)
		code_strip(1, 4, rows, width, codes, q, queries, query, out);
	if (q + 2 <= queries)
	{
		code_strip(2, 2, rows, width, codes, q, queries, query, out);
		q += 2;
	}
	if (q < queries)
		code_strip(4, 1, rows, width, codes, q, queries, query, out);
}
