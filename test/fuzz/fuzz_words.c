/*
 * fuzz_words.c -- any bytes as a text for an index and for a query, and as two terms.
 */
#include "tokenizer.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const char *const fuzz_words[] = {
	"tn", "TN", "2110", "1e5", "2.5", "1,5", "10,000", "-", "_", ".", "/", "&", "+", "'s", "\xe2\x80\x99", "\xc3\x97", " ", "\xc3\xa9", "\xcc\x81",
	"\xe8\x8c\xb6", "\xe3\x81\x8a", "\xec\xb1\x85", "\xe1\x84\x80", "\xe1\x85\xa1", "\xe0\xb8\x97", "\xe0\xb8\xb5", "\xd9\xa5", "\xef\xb7\xba",
	"\xe2\x80\x8b", "\xc2\xad", "\xf0\x9f\x98\x80", "\xed\xa0\x80", "\xff", NULL
};

/* Is the term one of d's? */
static bool
has_term(PlmText d, const char *term, size_t len)
{
	for (size_t at = 0; at + len <= d.len; at++)
		if (memcmp(d.data + at, term, len) == 0 && (at == 0 || d.data[at - 1] == ' ') &&
			(at + len == d.len || d.data[at + len] == ' '))
			return true;
	return false;
}

static void
check_terms(PlmText d, PlmText q)
{
	must(plm_utf8_invalid(d) < 0 && plm_utf8_invalid(q) < 0);
	for (size_t i = 0; i < d.len; i++)
		must((unsigned char) d.data[i] >= 0x80 || (d.data[i] >= 'a' && d.data[i] <= 'z') || (d.data[i] >= '0' && d.data[i] <= '9') ||
			 (d.data[i] == ' ' && i > 0 && i + 1 < d.len && d.data[i - 1] != ' '));
	/* A text that is asked for finds itself; looked up one by one only where that is quick. */
	for (size_t at = 0, end; q.len < 2000 && at < q.len; at = end + 1)
	{
		for (end = at; end < q.len && q.data[end] != ' ';)
			end++;
		must(has_term(d, q.data + at, end - at));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *exact = malloc(size + 1);
	PlmText		text = {exact, size};
	PlmText		first = {exact, size / 2},
				second = {exact + size / 2, size - size / 2};
	PlmText		d,
				q;
	PlmText    *grams;
	int64_t		n = 0,
				back = 0;
	PlmArena	arena;
	PlmError	err;
	bool		valid = plm_utf8_invalid((PlmText) {(const char *) data, size}) < 0;

	must(exact != NULL);
	memcpy(exact, data, size);
	plm_arena_init(&arena, &plm_libc_hook, (size_t) 256 << 20);
	must((plm_segment(text, false, NULL, &arena, &d, &err) == PLM_OK) == valid);
	must((plm_segment(text, true, NULL, &arena, &q, &err) == PLM_OK) == valid);
	if (valid)
		check_terms(d, q);
	if (size < 4096)
	{
		if (plm_term_grams(text, NULL, &arena, &grams, &n, &err) == PLM_OK)
			for (int64_t i = 0; i < n; i++)
				must(grams[i].len >= 3 && grams[i].len <= 12);
		if (plm_term_distance(first, second, 3, NULL, &arena, &n, &err) == PLM_OK)
			must(plm_term_distance(second, first, 3, NULL, &arena, &back, &err) == PLM_OK && n == back && n >= 0 && n <= 4);
	}
	plm_arena_free(&arena);
	free(exact);
	return 0;
}
