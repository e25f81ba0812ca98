/*
 * transpose.h -- a block of a matrix turned over, by fours; private to num/.
 */
#ifndef PLM_NUM_TRANSPOSE_H
#define PLM_NUM_TRANSPOSE_H

#include <stdint.h>

typedef float Four __attribute__((vector_size(16), aligned(4)));
typedef int32_t Places __attribute__((vector_size(16)));

/* to[j * ldt + i] = from[i * ldf + j] for i, j < 4. */
static inline void
transpose_four(const float *from, int64_t ldf, float *to, int64_t ldt)
{
	const Places low = {0, 4, 1, 5}, high = {2, 6, 3, 7}, first = {0, 1, 4, 5}, second = {2, 3, 6, 7};
	Four		a = *(const Four *) from;
	Four		b = *(const Four *) (from + ldf);
	Four		c = *(const Four *) (from + 2 * ldf);
	Four		d = *(const Four *) (from + 3 * ldf);
	Four		ab = __builtin_shuffle(a, b, low);
	Four		cd = __builtin_shuffle(c, d, low);

	*(Four *) to = __builtin_shuffle(ab, cd, first);
	*(Four *) (to + ldt) = __builtin_shuffle(ab, cd, second);
	ab = __builtin_shuffle(a, b, high);
	cd = __builtin_shuffle(c, d, high);
	*(Four *) (to + 2 * ldt) = __builtin_shuffle(ab, cd, first);
	*(Four *) (to + 3 * ldt) = __builtin_shuffle(ab, cd, second);
}

/* to[j * ldt + i] = from[i * ldf + j] for i < rows, j < cols. */
static inline void
transpose(const float *from, int64_t ldf, int64_t rows, int64_t cols, float *to, int64_t ldt)
{
	int64_t		i = 0;

	for (; i + 4 <= rows; i += 4)
	{
		int64_t		j = 0;

		for (; j + 4 <= cols; j += 4)
			transpose_four(from + i * ldf + j, ldf, to + j * ldt + i, ldt);
		for (; j < cols; j++)
			for (int64_t k = i; k < i + 4; k++)
				to[j * ldt + k] = from[k * ldf + j];
	}
	for (; i < rows; i++)
		for (int64_t j = 0; j < cols; j++)
			to[j * ldt + i] = from[i * ldf + j];
}

#endif							/* PLM_NUM_TRANSPOSE_H */
