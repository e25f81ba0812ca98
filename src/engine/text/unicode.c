/*
 * unicode.c -- UTF-8, and the classes of characters as the reference tokenizer sees them.
 *
 * Properties come from utf8proc.  The reference's own tables are of other Unicode versions (8 for
 * categories, 9 for combining classes, decompositions and marks, 17 for lower case, 16 for \w), so
 * characters that utf8proc knows differently are listed here.  The lists were found by sending all
 * 1,112,064 code points through the reference; a range may run over code points to which the question
 * does not apply, and takes in what later versions of utf8proc will know.
 */
#include "text_private.h"

#include <string.h>

#include <utf8proc.h>

typedef struct Range
{
	uint32_t	first;
	uint32_t	last;
} Range;

/* Mn in Unicode 15 to 17, not known as such to the reference. */
static const Range not_mn[] = {
	{0x7fd, 0x7fd}, {0x897, 0x8e1}, {0x9fe, 0x9fe}, {0xafa, 0xaff}, {0xb55, 0xb55}, {0xc04, 0xc3c},
	{0xd00, 0xd00}, {0xd3b, 0xd3c}, {0xd81, 0xd81}, {0xeba, 0xeba}, {0xece, 0xece}, {0x180f, 0x1886},
	{0x1abf, 0x1aeb}, {0x1df6, 0x1dfb}, {0xa82c, 0xa82c}, {0xa8c5, 0xa8c5}, {0xa8ff, 0xa8ff},
	{0xa9bd, 0xa9bd}, {0x10d24, 0x10f85}, {0x11070, 0x11074}, {0x110c2, 0x110c2}, {0x111c9, 0x111c9},
	{0x111cf, 0x111cf}, {0x1123e, 0x11241}, {0x1133b, 0x1133b}, {0x113bb, 0x1145e}, {0x1182f, 0x1612f},
	{0x16f4f, 0x16f4f}, {0x16fe4, 0x16fe4}, {0x1cf00, 0x1cf46}, {0x1e000, 0x1e6f5}, {0x1e944, 0x1e94a}
};

/* Mn, Mc or Me, not known as such to the reference's StripAccents. */
static const Range not_mark[] = {
	{0x7fd, 0x7fd}, {0x897, 0x8d3}, {0x9fe, 0x9fe}, {0xafa, 0xaff}, {0xb55, 0xb55}, {0xc04, 0xc3c},
	{0xcf3, 0xd00}, {0xd3b, 0xd3c}, {0xd81, 0xd81}, {0xeba, 0xeba}, {0xece, 0xece}, {0x1715, 0x1715},
	{0x180f, 0x180f}, {0x1abf, 0x1aeb}, {0x1cf7, 0x1cf7}, {0x1df6, 0x1dfa}, {0xa82c, 0xa82c},
	{0xa8ff, 0xa8ff}, {0x10d24, 0x10f85}, {0x11070, 0x11074}, {0x110c2, 0x110c2}, {0x11145, 0x11146},
	{0x111c9, 0x111c9}, {0x111ce, 0x111cf}, {0x11241, 0x11241}, {0x1133b, 0x1133b}, {0x113b8, 0x113e2},
	{0x1145e, 0x1145e}, {0x1182c, 0x11b67}, {0x11d31, 0x1612f}, {0x16f4f, 0x16f4f}, {0x16f7f, 0x16f87},
	{0x16fe4, 0x16ff1}, {0x1cf00, 0x1cf46}, {0x1e08f, 0x1e6f5}
};

/* Punctuation, not known as such to the reference. */
static const Range not_punctuation[] = {
	{0x61d, 0x61d}, {0x9fd, 0xa76}, {0xc77, 0xc84}, {0x1b4e, 0x1b4f}, {0x1b7d, 0x1b7f}, {0x2e43, 0x2e5d},
	{0x10d6e, 0x10f89}, {0x113d4, 0x1145d}, {0x11660, 0x116b9}, {0x1183b, 0x11fff}, {0x12ff1, 0x12ff2},
	{0x16d6d, 0x16fe2}, {0x1e5ff, 0x1e95f}
};

/* Combining class 0 for the reference. */
static const Range not_combining[] = {
	{0x7fd, 0x7fd}, {0x897, 0x8d3}, {0x9fe, 0x9fe}, {0xc3c, 0xc3c}, {0xd3b, 0xd3c}, {0xeba, 0xeba},
	{0x1715, 0x1715}, {0x1abf, 0x1aeb}, {0x1df6, 0x1dfa}, {0xa82c, 0xa82c}, {0x10d24, 0x10f85},
	{0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x113ce, 0x113d0}, {0x1145e, 0x1145e}, {0x11839, 0x11a99},
	{0x11d42, 0x1612f}, {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e6f5}
};

/* No canonical, and no compatibility decomposition for the reference. */
static const Range no_canonical[] = {{0x105c9, 0x105e4}, {0x11383, 0x113c8}, {0x11938, 0x16d6a}};
static const Range no_compatibility[] = {
	{0x32ff, 0x32ff}, {0xa7f1, 0xa7f4}, {0xab69, 0xab69}, {0x105c9, 0x107ba}, {0x11383, 0x113c8},
	{0x11938, 0x1ccf9}, {0x1e030, 0x1e06d}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9}
};

/* Control or format characters that BERT's cleaning keeps. */
static const Range not_dropped[] = {{0x890, 0x8e2}, {0x110cd, 0x1343f}};

/* \w by Other_Alphabetic and not by category, and letters, marks and digits of Unicode 15.1 and 16. */
static const Range word_too[] = {
	{0x897, 0x897}, {0x1c89, 0x1c8a}, {0x24b6, 0x24e9}, {0xa7cb, 0xa7cd}, {0xa7da, 0xa7dc},
	{0x105c0, 0x105f3}, {0x10d40, 0x10d65}, {0x10d69, 0x10d6d}, {0x10d6f, 0x10d85}, {0x10ec2, 0x10ec4},
	{0x10efc, 0x10efc}, {0x11380, 0x11389}, {0x1138b, 0x1138b}, {0x1138e, 0x1138e}, {0x11390, 0x113b5},
	{0x113b7, 0x113c0}, {0x113c2, 0x113c2}, {0x113c5, 0x113c5}, {0x113c7, 0x113ca}, {0x113cc, 0x113d3},
	{0x113e1, 0x113e2}, {0x116d0, 0x116e3}, {0x11bc0, 0x11be0}, {0x11bf0, 0x11bf9}, {0x11f5a, 0x11f5a},
	{0x13460, 0x143fa}, {0x16100, 0x16139}, {0x16d40, 0x16d6c}, {0x16d70, 0x16d79}, {0x18cff, 0x18cff},
	{0x1ccf0, 0x1ccf9}, {0x1e5d0, 0x1e5fa}, {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189},
	{0x2ebf0, 0x2ee5d}
};

/* Digits of Unicode 16 and 17. */
static const Range numeric_too[] = {
	{0x10d40, 0x10d49}, {0x116d0, 0x116e3}, {0x11bf0, 0x11bf9}, {0x11de0, 0x11de9}, {0x16130, 0x16139},
	{0x16d70, 0x16d79}, {0x16ff4, 0x16ff6}, {0x1ccf0, 0x1ccf9}, {0x1e5f1, 0x1e5fa}
};

/* Capital letters of Unicode 16 and 17: first, last, distance to the small letter. */
static const struct
{
	uint32_t	first;
	uint32_t	last;
	int32_t		add;
}			lower_too[] = {
	{0x1c89, 0x1c89, 1}, {0xa7cb, 0xa7cb, 0x264 - 0xa7cb}, {0xa7cc, 0xa7cc, 1}, {0xa7ce, 0xa7ce, 1},
	{0xa7d2, 0xa7d2, 1}, {0xa7d4, 0xa7d4, 1}, {0xa7da, 0xa7da, 1}, {0xa7dc, 0xa7dc, 0x19b - 0xa7dc},
	{0x10d50, 0x10d65, 0x20}, {0x16ea0, 0x16eb8, 0x1b}
};

/* Ranges are in rising order. */
static bool
listed(const Range *ranges, int64_t n, uint32_t cp)
{
	int64_t		lo = 0,
				hi = n;

	while (lo < hi)
	{
		int64_t		mid = (lo + hi) / 2;

		if (cp > ranges[mid].last)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n && cp >= ranges[lo].first;
}

#define LISTED(ranges, cp) listed(ranges, PLM_COUNT(ranges), cp)

int
plm_utf8_decode(const char *p, size_t left, uint32_t *cp)
{
	const unsigned char *s = (const unsigned char *) p;
	uint32_t	c = s[0];

	if (c < 0x80)
	{
		*cp = c;
		return 1;
	}
	if (c < 0xc2)
		return 0;
	if (c < 0xe0)
	{
		if (left < 2 || (s[1] & 0xc0) != 0x80)
			return 0;
		*cp = (c & 0x1f) << 6 | (s[1] & 0x3fu);
		return 2;
	}
	if (c < 0xf0)
	{
		if (left < 3 || (s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80)
			return 0;
		c = (c & 0x0f) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
		if (c < 0x800 || (c >= 0xd800 && c < 0xe000))
			return 0;
		*cp = c;
		return 3;
	}
	if (c > 0xf4 || left < 4 || (s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80 || (s[3] & 0xc0) != 0x80)
		return 0;
	c = (c & 0x07) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
	if (c < 0x10000 || c > 0x10ffff)
		return 0;
	*cp = c;
	return 4;
}

int
plm_utf8_encode(uint32_t cp, char *out)
{
	if (cp < 0x80)
	{
		out[0] = (char) cp;
		return 1;
	}
	if (cp < 0x800)
	{
		out[0] = (char) (0xc0 | cp >> 6);
		out[1] = (char) (0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000)
	{
		out[0] = (char) (0xe0 | cp >> 12);
		out[1] = (char) (0x80 | (cp >> 6 & 0x3f));
		out[2] = (char) (0x80 | (cp & 0x3f));
		return 3;
	}
	out[0] = (char) (0xf0 | cp >> 18);
	out[1] = (char) (0x80 | (cp >> 12 & 0x3f));
	out[2] = (char) (0x80 | (cp >> 6 & 0x3f));
	out[3] = (char) (0x80 | (cp & 0x3f));
	return 4;
}

const char *
plm_utf8_before(const char *start, const char *p, uint32_t *cp)
{
	const char *q = p;

	do
		q--;
	while (q > start && ((unsigned char) *q & 0xc0) == 0x80);
	if (plm_utf8_decode(q, (size_t) (p - q), cp) == 0)
		*cp = 0xfffd;
	return q;
}

int64_t
plm_utf8_invalid(PlmText text)
{
	size_t		i = 0;

	while (i < text.len)
	{
		uint32_t	cp;
		uint64_t	eight;
		int			len;

		if (text.len - i >= 8)
		{
			memcpy(&eight, text.data + i, 8);
			if ((eight & UINT64_C(0x8080808080808080)) == 0)
			{
				i += 8;
				continue;
			}
		}
		len = plm_utf8_decode(text.data + i, text.len - i, &cp);
		if (len == 0)
			return (int64_t) i;
		i += (size_t) len;
	}
	return -1;
}

bool
plm_is_space(uint32_t cp)
{
	if (cp < 0x80)
		return cp == ' ' || (cp >= 9 && cp <= 13);
	return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
		cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

static utf8proc_category_t
category(uint32_t cp)
{
	return utf8proc_category((utf8proc_int32_t) cp);
}

bool
plm_is_dropped(uint32_t cp)
{
	utf8proc_category_t c;

	if (cp < 0x80)
		return (cp < 0x20 && cp != '\t' && cp != '\n' && cp != '\r') || cp == 0x7f;
	if (cp == 0xfffd)
		return true;
	c = category(cp);
	return (c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CF || c == UTF8PROC_CATEGORY_CO) &&
		!LISTED(not_dropped, cp);
}

bool
plm_is_cjk(uint32_t cp)
{
	/* The reference's list of blocks, with its gap after 2B81F. */
	return cp >= 0x3400 &&
		((cp >= 0x4e00 && cp <= 0x9fff) || cp <= 0x4dbf || (cp >= 0xf900 && cp <= 0xfaff) ||
		 (cp >= 0x20000 && cp <= 0x2a6df) || (cp >= 0x2a700 && cp <= 0x2b81f) ||
		 (cp >= 0x2b920 && cp <= 0x2ceaf) || (cp >= 0x2f800 && cp <= 0x2fa1f));
}

bool
plm_is_mn(uint32_t cp)
{
	if (cp < 0x300)
		return false;
	if (cp == 0x1734)			/* became Mc in Unicode 14 */
		return true;
	return category(cp) == UTF8PROC_CATEGORY_MN && !LISTED(not_mn, cp);
}

bool
plm_is_mark(uint32_t cp)
{
	utf8proc_category_t c;

	if (cp < 0x300)
		return false;
	if (cp == 0x1cf2 || cp == 0x1cf3)	/* became Lo in Unicode 12 */
		return true;
	c = category(cp);
	return (c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC || c == UTF8PROC_CATEGORY_ME) &&
		!LISTED(not_mark, cp);
}

bool
plm_is_punctuation(uint32_t cp)
{
	utf8proc_category_t c;

	if (cp < 0x80)
		return (cp >= '!' && cp <= '/') || (cp >= ':' && cp <= '@') ||
			(cp >= '[' && cp <= '`') || (cp >= '{' && cp <= '~');
	if (cp >= 0x3400 && cp <= 0x9fff)
		return false;			/* ideographs and hexagrams: most of Chinese text */
	if (cp == 0x166d || cp == 0x111c9)	/* became So and Mn */
		return true;
	c = category(cp);
	return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO && !LISTED(not_punctuation, cp);
}

bool
plm_is_word(uint32_t cp)
{
	utf8proc_category_t c = category(cp);

	return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL) || c == UTF8PROC_CATEGORY_PC ||
		cp == 0x200c || cp == 0x200d || LISTED(word_too, cp);
}

bool
plm_is_numeric(uint32_t cp)
{
	utf8proc_category_t c = category(cp);

	return (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO) || LISTED(numeric_too, cp);
}

int
plm_combining_class(uint32_t cp)
{
	int			ccc = cp < 0x300 ? 0 : utf8proc_get_property((utf8proc_int32_t) cp)->combining_class;

	return ccc != 0 && LISTED(not_combining, cp) ? 0 : ccc;
}

int
plm_decompose(uint32_t cp, bool compat, int32_t out[PLM_MAX_DECOMPOSITION])
{
	utf8proc_ssize_t n;
	int			boundary = 0;

	out[0] = (int32_t) cp;
	if (cp < 0xa0 || (compat ? LISTED(no_compatibility, cp) : LISTED(no_canonical, cp)))
		return 1;
	n = utf8proc_decompose_char((utf8proc_int32_t) cp, out, PLM_MAX_DECOMPOSITION,
								compat ? UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT : UTF8PROC_DECOMPOSE, &boundary);
	if (n < 1 || n > PLM_MAX_DECOMPOSITION)
	{
		out[0] = (int32_t) cp;
		return 1;
	}
	return (int) n;
}

uint32_t
plm_compose(uint32_t a, uint32_t b)
{
	utf8proc_int32_t pair[3] = {(utf8proc_int32_t) a, (utf8proc_int32_t) b, 0};

	if (utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE) != 1)
		return 0;
	return LISTED(no_canonical, (uint32_t) pair[0]) ? 0 : (uint32_t) pair[0];
}

int
plm_lower(uint32_t cp, uint32_t out[2])
{
	if (cp < 0x80)
		out[0] = cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
	else if (cp == 0x130)		/* the only letter whose small form is two characters */
	{
		out[0] = 'i';
		out[1] = 0x307;
		return 2;
	}
	else
	{
		out[0] = (uint32_t) utf8proc_tolower((utf8proc_int32_t) cp);
		for (int64_t i = 0; out[0] == cp && i < PLM_COUNT(lower_too); i++)
			if (cp >= lower_too[i].first && cp <= lower_too[i].last)
				out[0] = (uint32_t) ((int32_t) cp + lower_too[i].add);
	}
	return 1;
}
