/*
 * test_words.c -- index terms: what a query means finds what it should, whatever the text; nearness of terms.
 */
#include "../../src/engine/text/plm_text.h"

#include "failing_hook.h"

#define TEXT(s) ((PlmText) {(s), strlen(s)})

/* The terms in an arena that the caller frees. */
static PlmText
segment(PlmArena *arena, PlmText text, bool query)
{
	PlmText		out = {"(failed)", 8};
	PlmError	err = {0};

	if (plm_segment(text, query, NULL, arena, &out, &err) != PLM_OK)
		printf("# %s\n", err.message);
	return out;
}

static void
terms_are(const char *name, const char *text, const char *document, const char *query)
{
	PlmArena	arena;
	PlmText		d,
				q;

	plm_arena_init(&arena, &plm_libc_hook, 0);
	d = segment(&arena, TEXT(text), false);
	q = segment(&arena, TEXT(text), true);
	CHECK(name, d.len == strlen(document) && memcmp(d.data, document, d.len) == 0 &&
		  q.len == strlen(query) && memcmp(q.data, query, q.len) == 0,
		  "document: %.*s, query: %.*s", (int) d.len, d.data, (int) q.len, q.data);
	plm_arena_free(&arena);
}

/* Is every term of q among those of d? */
static bool
covered(PlmText q, PlmText d)
{
	for (size_t at = 0, end; at < q.len; at = end + 1)
	{
		bool		found = false;

		for (end = at; end < q.len && q.data[end] != ' ';)
			end++;
		for (size_t i = 0, to; i < d.len && !found; i = to + 1)
		{
			for (to = i; to < d.len && d.data[to] != ' ';)
				to++;
			found = to - i == end - at && memcmp(d.data + i, q.data + at, to - i) == 0;
		}
		if (!found)
			return false;
	}
	return true;
}

static void
spellings(void)
{
	static const char *const groups[][5] = {
		{"TN2110", "TN-2110", "TN 2110", "tn_2110"},
		{"500GB", "500 GB", "500-gb", "\xef\xbc\x95\xef\xbc\x90\xef\xbc\x90 GB"},
		{"MZ-75E500B", "MZ75E500B", "mz 75e500b"},
		{"iPhone12", "iPhone 12", "iPhone-12"},
		{"2.5GHz", "2.5 GHz", "2,5ghz"},
		{"USB3.0", "USB 3.0", "usb-3.0"},
		{"1920x1080", "1920\xc3\x97" "1080"},
		{"10,000", "10000"},
		{"caf\xc3\xa9", "CAFE\xcc\x81"},
		{"stra\xc3\x9f" "e", "STRASSE"},
		{"\xc4\xb0stanbul", "istanbul"},
		{"noise-cancelling", "noise cancelling"},
		{"\xef\xbd\xb6\xef\xbd\xaf\xef\xbe\x8c\xef\xbe\x9f", "\xe3\x82\xab\xe3\x83\x83\xe3\x83\x97"},
	};

	for (int64_t g = 0; g < PLM_COUNT(groups); g++)
		for (int i = 0; i < 5 && groups[g][i] != NULL; i++)
			for (int j = 0; j < 5 && groups[g][j] != NULL; j++)
			{
				PlmArena	arena;
				PlmText		d,
							q;

				plm_arena_init(&arena, &plm_libc_hook, 0);
				d = segment(&arena, TEXT(groups[g][i]), false);
				q = segment(&arena, TEXT(groups[g][j]), true);
				CHECK("every_spelling_finds_every_other", covered(q, d), "\"%s\" has not what \"%s\" asks for: %.*s",
					  groups[g][i], groups[g][j], (int) q.len, q.data);
				plm_arena_free(&arena);
			}
}

static void
rules(void)
{
	terms_are("words_are_folded", "The QUICK brown-eyed \xef\xac\x81x!", "the quick brown eyed browneyed fix", "the quick brown eyed fix");
	terms_are("possessive_is_both_forms", "men's", "men mens", "mens");
	terms_are("typographic_apostrophe_is_the_same", "men\xe2\x80\x99s", "men mens", "mens");
	terms_are("elision_leaves_the_word", "l'eau", "l eau leau", "l eau");
	terms_are("short_parts_are_one_word", "wi-fi T-shirt", "wi fi wifi t shirt tshirt", "wifi tshirt");
	terms_are("slash_divides", "red/blue AC/DC", "red blue ac dc acdc", "red blue ac dc");
	terms_are("part_number_is_there_whole_and_in_parts", "MZ-75E500B", "mz n75e500b mz75e500b", "mz75e500b");
	terms_are("three_parts_have_their_beginnings", "SM-G99-X", "sm g99 g 99 x smg99 smg99x", "smg99x");
	terms_are("exponents_do_not_stand_before_letters", "1e5 1e5b 12e", "1e5 n1e5b 12e 12 e", "1e5 n1e5b 12e");
	terms_are("decimal_is_one_number", "2.5 1.2.3 1,5 10,000", "2d5 1d2d3 1d5 10000", "2d5 1d2d3 1d5 10000");
	terms_are("comma_and_point_divide_words", "one,two.Three 1,2345", "one two three 1 2345", "one two three 1 2345");
	terms_are("neighbours_join_over_spaces_only", "TN, 2110", "tn 2110", "tn 2110");
	terms_are("other_digits_are_digits", "\xd9\xa5\xd9\xa0\xd9\xa0", "500", "500");
	terms_are("han_has_characters_and_pairs", "\xe5\x85\x85\xe7\x94\xb5\xe5\x99\xa8", "\xe5\x85\x85 \xe7\x94\xb5 \xe5\x85\x85\xe7\x94\xb5 \xe5\x99\xa8 \xe7\x94\xb5\xe5\x99\xa8",
			  "\xe5\x85\x85\xe7\x94\xb5 \xe7\x94\xb5\xe5\x99\xa8");
	terms_are("single_han_is_looked_up", "\xe7\x94\xb5", "\xe7\x94\xb5", "\xe7\x94\xb5");
	terms_are("kana_has_pairs", "\xe3\x81\x8a\xe8\x8c\xb6\xe3\x81\xae", "\xe8\x8c\xb6 \xe3\x81\x8a\xe8\x8c\xb6 \xe8\x8c\xb6\xe3\x81\xae",
			  "\xe3\x81\x8a\xe8\x8c\xb6 \xe8\x8c\xb6\xe3\x81\xae");
	terms_are("hangul_has_first_syllable_and_pairs", "\xec\xb1\x85\xec\x9d\x84", "\xec\xb1\x85 \xec\xb1\x85\xec\x9d\x84", "\xec\xb1\x85\xec\x9d\x84");
	terms_are("thai_marks_stay_with_their_letter", "\xe0\xb8\x97\xe0\xb8\xb5\xe0\xb9\x88\xe0\xb8\x99\xe0\xb8\xb5\xe0\xb9\x88",
			  "\xe0\xb8\x97\xe0\xb8\xb5\xe0\xb9\x88\xe0\xb8\x99\xe0\xb8\xb5\xe0\xb9\x88", "\xe0\xb8\x97\xe0\xb8\xb5\xe0\xb9\x88\xe0\xb8\x99\xe0\xb8\xb5\xe0\xb9\x88");
	terms_are("scripts_part_words", "5G\xe6\x89\x8b", "5g 5 g \xe6\x89\x8b", "5g \xe6\x89\x8b");
	terms_are("zero_width_space_divides_and_soft_hyphen_does_not", "a\xe2\x80\x8b" "b c\xc2\xad" "d", "a b cd", "a b cd");
	terms_are("nothing_is_nothing", "", "", "");
	terms_are("signs_are_nothing", "--- '' \xf0\x9f\x98\x80 \xcc\x81 ...", "", "");
}

static int
utf8(uint32_t cp, char *out)
{
	int			n = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
	static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};

	for (int i = n - 1; i > 0; i--, cp >>= 6)
		out[i] = (char) (0x80 | (cp & 0x3f));
	out[0] = (char) (lead[n] | cp);
	return n;
}

/* Terms are divided by single spaces, and have no ASCII but small letters and digits. */
static bool
well_formed(PlmText t)
{
	if (plm_utf8_invalid(t) >= 0 || (t.len > 0 && (t.data[0] == ' ' || t.data[t.len - 1] == ' ')))
		return false;
	for (size_t i = 0; i < t.len; i++)
	{
		char		c = t.data[i];

		if (c == ' ' ? t.data[i + 1] == ' ' : (unsigned char) c < 0x80 && !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
			return false;
	}
	return true;
}

static void
every_character(void)
{
	uint32_t	wrong = 0,
				not_covered = 0,
				unstable = 0;

	for (uint32_t cp = 1; cp < 0x110000; cp++)
	{
		char		text[32];
		size_t		len = 0;
		PlmArena	arena;
		PlmText		d,
					q,
					again;

		if (cp >= 0xd800 && cp < 0xe000)
			continue;
		len += (size_t) utf8(cp, text);
		text[len++] = ' ';
		text[len++] = 'A';
		len += (size_t) utf8(cp, text + len);
		text[len++] = '1';
		len += (size_t) utf8(cp, text + len);
		plm_arena_init(&arena, &plm_libc_hook, 0);
		d = segment(&arena, (PlmText) {text, len}, false);
		q = segment(&arena, (PlmText) {text, len}, true);
		again = segment(&arena, (PlmText) {text, len}, false);
		if (!well_formed(d) || !well_formed(q))
			wrong = cp;
		if (!covered(q, d))
			not_covered = cp;
		if (d.len != again.len || memcmp(d.data, again.data, d.len) != 0)
			unstable = cp;
		plm_arena_free(&arena);
	}
	CHECK("every_character_gives_well_formed_terms", wrong == 0, "U+%04X", wrong);
	CHECK("text_with_any_character_finds_itself", not_covered == 0, "U+%04X", not_covered);
	CHECK("same_text_gives_same_terms", unstable == 0, "U+%04X", unstable);
}

/* Texts of pieces at which rules meet. */
static void
random_texts(void)
{
	static const char *const pieces[] = {
		"a", "tn", "word", "1", "23", "456", "e", "5", "-", "_", ".", ",", "/", "+", "&", "'", "'s", " ", "\xc3\x97", "\xc3\xa9", "\xcc\x81",
		"\xe8\x8c\xb6", "\xe3\x81\x8a", "\xec\xb1\x85", "\xe0\xb8\x97", "\xe0\xb8\xb5", "\xe2\x80\x99", "\xd9\xa5", "!"
	};
	uint64_t	bad = 0;
	size_t		most = 0,
				of = 0;

	for (uint64_t seed = 1; seed < 20000; seed++)
	{
		char		text[256];
		size_t		len = 0;
		PlmArena	arena;
		PlmText		d,
					q;
		uint32_t	n = plm_random(seed, 0) % 24;

		for (uint64_t i = 0; i < n; i++)
		{
			const char *p = pieces[plm_random(seed, i + 1) % PLM_COUNT(pieces)];

			memcpy(text + len, p, strlen(p));
			len += strlen(p);
		}
		plm_arena_init(&arena, &plm_libc_hook, 0);
		d = segment(&arena, (PlmText) {text, len}, false);
		q = segment(&arena, (PlmText) {text, len}, true);
		if (bad == 0 && !(well_formed(d) && well_formed(q) && covered(q, d)))
		{
			bad = seed;
			printf("# \"%.*s\": document %.*s, query %.*s\n", (int) len, text, (int) d.len, d.data, (int) q.len, q.data);
		}
		if (d.len > most)
		{
			most = d.len;
			of = len;
		}
		plm_arena_free(&arena);
	}
	CHECK("any_text_finds_itself", bad == 0, "seed %" PRIu64, bad);
	CHECK("terms_stay_few", most < 12 * 24 * 4, "%zu bytes of terms for %zu of text", most, of);
}

static bool
always_stop(void *arg)
{
	(void) arg;
	return true;
}

static void
hostile(void)
{
	static const char *const invalid[] = {"a\xff", "\xc3", "a\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\x80", "ok \xe2\x82"};
	size_t		n = 1 << 20;
	char	   *big = malloc(n);
	PlmArena	arena;
	PlmError	err = {0};
	PlmText		out;
	PlmHook		stopping = plm_libc_hook;
	PlmRun		run;
	PlmWorker	worker;

	for (int64_t i = 0; i < PLM_COUNT(invalid); i++)
	{
		int64_t		distance;
		PlmText    *grams;
		int64_t		count;

		plm_arena_init(&arena, &plm_libc_hook, 0);
		CHECK("invalid_utf8_is_refused", plm_segment(TEXT(invalid[i]), false, NULL, &arena, &out, &err) == PLM_EARG &&
			  strstr(err.message, "UTF-8") != NULL, "%s", err.message);
		CHECK("invalid_utf8_has_no_distance", plm_term_distance(TEXT(invalid[i]), TEXT("abc"), 9, NULL, &arena, &distance, &err) == PLM_EARG,
			  "%s", err.message);
		CHECK("invalid_utf8_has_no_grams", plm_term_grams(TEXT(invalid[i]), NULL, &arena, &grams, &count, &err) == PLM_EARG,
			  "%s", err.message);
		plm_arena_free(&arena);
	}

	memset(big, 'a', n);
	plm_arena_init(&arena, &plm_libc_hook, 0);
	out = segment(&arena, (PlmText) {big, n}, false);
	CHECK("endless_word_is_cut", out.len > n && memchr(out.data, ' ', 65) == out.data + 64, "%zu bytes", out.len);
	plm_arena_free(&arena);

	for (size_t i = 0; i + 1 < n; i += 2)
		memcpy(big + i, "\xcc\x81", 2);
	big[0] = big[1] = 'a';
	plm_arena_init(&arena, &plm_libc_hook, 16 << 20);
	out = segment(&arena, (PlmText) {big, n}, false);
	CHECK("endless_marks_are_borne", well_formed(out), "%zu bytes", out.len);
	plm_arena_free(&arena);

	for (size_t i = 0; i < n; i++)
		big[i] = i % 2 == 0 ? '1' : '-';
	plm_arena_init(&arena, &plm_libc_hook, 0);
	out = segment(&arena, (PlmText) {big, n}, false);
	CHECK("endless_compound_stays_bounded", well_formed(out) && out.len < 12 * n, "%zu bytes", out.len);
	plm_arena_free(&arena);

	stopping.stop = always_stop;
	worker = plm_main_worker(&run, &stopping);
	plm_arena_init(&arena, &stopping, 0);
	CHECK("stop_is_heard", plm_segment((PlmText) {big, n}, false, &worker, &arena, &out, &err) == PLM_ECANCELLED, "%s", err.message);
	plm_arena_free(&arena);
	plm_arena_init(&arena, &plm_libc_hook, 1 << 20);
	CHECK("memory_limit_is_kept", plm_segment((PlmText) {big, n}, false, NULL, &arena, &out, &err) == PLM_ELIMIT, "%s", err.message);
	plm_arena_free(&arena);
	free(big);
}

static void
refused_memory(void)
{
	PlmHook		hook = {failing_alloc, counted_release, NULL, NULL};
	char		text[20000];
	bool		clean = true;
	int			n = 1;
	PlmStatus	status = PLM_ENOMEM;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 5 == 4 ? ' ' : (char) ('a' + i % 7);
	for (; n < 100 && status != PLM_OK; n++)
	{
		PlmArena	arena;
		PlmText		out,
				   *grams;
		PlmError	err = {0};
		int64_t		number;

		countdown = n;
		plm_arena_init(&arena, &hook, 0);
		status = plm_segment((PlmText) {text, sizeof(text)}, false, NULL, &arena, &out, &err);
		if (status == PLM_OK)
			status = plm_term_distance((PlmText) {text, 9000}, (PlmText) {text, 9001}, 2, NULL, &arena, &number, &err);
		if (status == PLM_OK)
			status = plm_term_grams((PlmText) {text, 9000}, NULL, &arena, &grams, &number, &err);
		clean = clean && (status == PLM_OK || (status == PLM_ENOMEM && err.message[0] != '\0'));
		plm_arena_free(&arena);
		clean = clean && held == 0;
	}
	countdown = 0;
	CHECK("refused_memory_is_an_error_and_leaves_nothing", clean && status == PLM_OK && n > 5, "%d allocations, %d blocks held", n, held);
}

/* The whole table, without bounds: what plm_term_distance must equal. */
static int64_t
plain_distance(const char *a, const char *b)
{
	int64_t		d[32][32];
	int64_t		n = (int64_t) strlen(a),
				m = (int64_t) strlen(b);

	for (int64_t i = 0; i <= n; i++)
		for (int64_t j = 0; j <= m; j++)
		{
			if (i == 0 || j == 0)
			{
				d[i][j] = i + j;
				continue;
			}
			d[i][j] = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (d[i - 1][j] + 1 < d[i][j])
				d[i][j] = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < d[i][j])
				d[i][j] = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < d[i][j])
				d[i][j] = d[i - 2][j - 2] + 1;
		}
	return d[n][m];
}

static int64_t
distance(const char *a, const char *b, int64_t most)
{
	PlmArena	arena;
	PlmError	err;
	int64_t		d = -1;

	plm_arena_init(&arena, &plm_libc_hook, 0);
	plm_term_distance(TEXT(a), TEXT(b), most, NULL, &arena, &d, &err);
	plm_arena_free(&arena);
	return d;
}

static void
distances(void)
{
	int			wrong = 0;
	char		a[16],
				b[16];
	PlmArena	arena;
	PlmError	err = {0};
	int64_t		d;

	for (uint64_t seed = 1; seed < 20000; seed++)
	{
		uint32_t	n = plm_random(seed, 100) % 12,
					m = plm_random(seed, 101) % 12;

		memset(a, 0, sizeof(a));
		memset(b, 0, sizeof(b));
		for (uint32_t i = 0; i < n; i++)
			a[i] = (char) ('a' + plm_random(seed, i) % 3);
		for (uint32_t i = 0; i < m; i++)
			b[i] = (char) ('a' + plm_random(seed, 50 + i) % 3);
		for (int64_t most = 0; most < 14; most++)
		{
			int64_t		expected = plain_distance(a, b);

			if (distance(a, b, most) != (expected > most ? most + 1 : expected) && wrong++ == 0)
				printf("# \"%s\" \"%s\" within %d: %d, not %d\n", a, b, (int) most, (int) distance(a, b, most), (int) expected);
		}
	}
	CHECK("distance_equals_the_whole_table", wrong == 0, "%d wrong", wrong);
	CHECK("distance_counts_characters", distance("caf\xc3\xa9", "cafe", 3) == 1 && distance("\xe8\x8c\xb6", "", 3) == 1, "not 1");
	CHECK("distance_of_neighbours_exchanged_is_one", distance("labtop", "lapbto", 9) == 2 && distance("ab", "ba", 9) == 1, "not so");
	CHECK("any_bound_is_allowed", distance("abc", "", INT32_MAX) == 3, "not 3");
	plm_arena_init(&arena, &plm_libc_hook, 0);
	CHECK("negative_bound_is_refused", plm_term_distance(TEXT("a"), TEXT("b"), -1, NULL, &arena, &d, &err) == PLM_EARG, "%s", err.message);
	plm_arena_free(&arena);
}

static void
grams_are(const char *name, const char *term, const char *expected)
{
	PlmArena	arena;
	PlmText    *grams = NULL;
	PlmError	err = {0};
	int64_t		n = 0;
	char		joined[256] = "";

	plm_arena_init(&arena, &plm_libc_hook, 0);
	plm_term_grams(TEXT(term), NULL, &arena, &grams, &n, &err);
	for (int64_t i = 0; i < n; i++)
	{
		strncat(joined, i > 0 ? " " : "", 2);
		strncat(joined, grams[i].data, grams[i].len);
	}
	CHECK(name, strcmp(joined, expected) == 0, "%s", joined);
	plm_arena_free(&arena);
}

int
main(void)
{
	rules();
	spellings();
	every_character();
	random_texts();
	hostile();
	refused_memory();
	distances();
	grams_are("grams_are_different_and_sorted", "aaaa", "^^a ^aa aa$ aaa");
	grams_are("short_terms_have_grams", "a", "^^a ^a$");
	grams_are("grams_are_of_characters", "\xe8\x8c\xb6", "^^\xe8\x8c\xb6 ^\xe8\x8c\xb6$");
	grams_are("empty_term_has_one_gram", "", "^^$");
	return unit_done();
}
