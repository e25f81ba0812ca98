/*
 * kernels_cases.h -- a tile's number of rows as a constant: what is written once for any R is compiled for each, with its own registers.
 *
 * ROWS_CASES(rows, most, PASS) runs PASS(R) with R = rows, for 1 <= rows <= most <= PLM_TILE_ROWS.  Cases past `most` are compiled away;
 * their R is 1, so that no pass is ever formed that has more sums than there is room for.
 */
#ifndef PLM_KERNELS_CASES_H
#define PLM_KERNELS_CASES_H

#define ROWS_CASE(R, most, PASS) \
	case R: \
		if (R <= (most)) \
			PASS((R <= (most) ? R : 1)); \
		break

#define ROWS_CASES(rows, most, PASS) \
	switch (rows) \
	{ \
		ROWS_CASE(1, most, PASS); \
		ROWS_CASE(2, most, PASS); \
		ROWS_CASE(3, most, PASS); \
		ROWS_CASE(4, most, PASS); \
		ROWS_CASE(5, most, PASS); \
		ROWS_CASE(6, most, PASS); \
		ROWS_CASE(7, most, PASS); \
		ROWS_CASE(8, most, PASS); \
		ROWS_CASE(9, most, PASS); \
		ROWS_CASE(10, most, PASS); \
		ROWS_CASE(11, most, PASS); \
		ROWS_CASE(12, most, PASS); \
	}

/* A tile of int8 of the includer's int8_pass(R, units, x, block_units, w, acc), which computes one of `parts` parts of a panel. */
#define INT8_PASS(R) int8_pass(R, units, x, block_units, panel, acc)
#define INT8_TILE(parts, most) \
	for (int part = 0; part < (parts); part++, panel += PLM_PANEL * 4 / (parts), acc += PLM_PANEL / (parts)) \
		ROWS_CASES(rows, most, INT8_PASS)

#endif							/* PLM_KERNELS_CASES_H */
