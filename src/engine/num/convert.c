/*
 * convert.c -- element types, conversion to fp32, and the search for values that are not finite.
 * The contracts are in plm_num.h.
 */
#include "plm_num.h"

#include <string.h>

static const struct
{
	const char *name;
	size_t		bytes;
}			types[] = {
	[PLM_F32] = {"F32", 4}, [PLM_F16] = {"F16", 2}, [PLM_BF16] = {"BF16", 2}, [PLM_F64] = {"F64", 8},
	[PLM_I8] = {"I8", 1}, [PLM_U8] = {"U8", 1}, [PLM_I16] = {"I16", 2}, [PLM_I32] = {"I32", 4},
	[PLM_I64] = {"I64", 8}, [PLM_BOOL] = {"BOOL", 1}
};

size_t
plm_type_bytes(PlmType type)
{
	return (unsigned) type < PLM_COUNT(types) ? types[type].bytes : 0;
}

const char *
plm_type_name(PlmType type)
{
	return (unsigned) type < PLM_COUNT(types) ? types[type].name : "unknown";
}

const char *
plm_precision_name(PlmPrecision precision)
{
	static const char *const names[PLM_PRECISIONS] = {"f32", "bf16", "int8"};

	return (unsigned) precision < PLM_PRECISIONS ? names[precision] : "unknown";
}

static inline float
float_of(uint32_t bits)
{
	float		x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

static inline uint32_t
bits_of(float x)
{
	uint32_t	bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits;
}

float
plm_bf16_to_f32(uint16_t x)
{
	return float_of((uint32_t) x << 16);
}

uint16_t
plm_f32_to_f16(float x)
{
	uint32_t	u = bits_of(x);
	uint16_t	sign = (uint16_t) (u >> 16 & 0x8000);
	uint32_t	size = u & 0x7fffffff;

	if (size > 0x7f800000)
		return sign | 0x7e00;
	if (size >= 0x477ff000)		/* 65520 and more */
		return sign | 0x7c00;
	if (size < 0x38800000)		/* subnormal: adding 0.5 leaves the steps of 2^-24 in the lowest bits, rounded */
		return sign | (uint16_t) (bits_of(float_of(size) + 0.5f) - 0x3f000000);
	size += 0xfff + (size >> 13 & 1);
	return sign | (uint16_t) ((size - 0x38000000) >> 13);
}

uint16_t
plm_f32_to_bf16(float x)
{
	uint32_t	u = bits_of(x);

	if ((u & 0x7fffffff) > 0x7f800000)
		return (uint16_t) (u >> 16 | 0x40);
	return (uint16_t) ((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/*
 * Every half is an fp32 value: exponents move by 112; 2^-14 units carry the subnormals, which the
 * subtraction normalises exactly.
 */
static inline float
half_to_f32(uint16_t h)
{
	uint32_t	sign = (uint32_t) (h & 0x8000) << 16;
	uint32_t	body = (uint32_t) (h & 0x7fff) << 13;
	uint32_t	exponent = h & 0x7c00;
	uint32_t	subnormal = bits_of(float_of(body + (113u << 23)) - float_of(113u << 23));
	uint32_t	normal = body + (exponent == 0x7c00 ? 224u << 23 : 112u << 23);

	return float_of(sign | (exponent == 0 ? subnormal : normal));
}

bool
plm_to_f32(PlmType type, const void *src, float *dst, int64_t n)
{
	const char *from = src;

	if (n <= 0)
		return type <= PLM_F64;
	switch (type)
	{
		case PLM_F32:
			memcpy(dst, src, (size_t) n * sizeof(float));
			return true;
		case PLM_F16:
			for (int64_t i = 0; i < n; i++)
			{
				uint16_t	h;

				memcpy(&h, from + 2 * i, sizeof(h));
				dst[i] = half_to_f32(h);
			}
			return true;
		case PLM_BF16:
			for (int64_t i = 0; i < n; i++)
			{
				uint16_t	h;

				memcpy(&h, from + 2 * i, sizeof(h));
				dst[i] = plm_bf16_to_f32(h);
			}
			return true;
		case PLM_F64:
			for (int64_t i = 0; i < n; i++)
			{
				double		d;

				memcpy(&d, from + 8 * i, sizeof(d));
				dst[i] = (float) d;
			}
			return true;
		default:
			return false;
	}
}

int64_t
plm_find_nonfinite(const float *x, int64_t n)
{
	const int64_t step = 1024;

	/* A block without a stop in its loop is vectorised; the guilty one is walked again. */
	for (int64_t at = 0; at < n; at += step)
	{
		int64_t		end = n - at < step ? n : at + step;
		uint32_t	bad = 0;

		for (int64_t i = at; i < end; i++)
			bad |= (bits_of(x[i]) & 0x7f800000) == 0x7f800000;
		for (int64_t i = at; bad && i < end; i++)
			if ((bits_of(x[i]) & 0x7f800000) == 0x7f800000)
				return i;
	}
	return -1;
}
