/*
 * test_json.c -- JSON within bounds: what is reserved suffices for every shape, and nothing else is taken.
 */
#include "unit.h"

#include "../../src/engine/base/plm_json.h"

#define MAX_VALUES ((size_t) 300000)

static PlmArena arena;
static PlmError err;
static json_t *root;

/* A text that grows. */
typedef struct Text
{
	char	   *data;
	size_t		len;
} Text;

static void
put(Text *t, const char *fmt, int n)
{
	t->len += (size_t) sprintf(t->data + t->len, fmt, n);
}

static PlmStatus
parse(const char *data, size_t len, size_t flags)
{
	/* A block of exactly its size: reading past it is seen. */
	char	   *exact = malloc(len + 1);
	PlmStatus	status;

	memcpy(exact, data, len);
	plm_arena_free(&arena);
	status = plm_json_parse((PlmText) {exact, len}, "x.json", MAX_VALUES, flags, &arena, &root, &err);
	free(exact);
	return status;
}

/* open, n times item with a comma between, close. */
static void
repeat(Text *t, const char *open, const char *item, int n, const char *close)
{
	t->len = 0;
	put(t, open, 0);
	for (int i = 0; i < n; i++)
	{
		put(t, i > 0 ? "," : "", 0);
		put(t, item, i);
	}
	put(t, close, 0);
}

/* jansson's tables double at powers of two: just before, there and just after is where most was taken. */
static void
shapes(void)
{
	static const char *const items[][3] = {
		{"[", "0", "]"}, {"[", "\"\"", "]"}, {"[", "[]", "]"}, {"[", "{}", "]"}, {"[", "[0]", "]"}, {"[", "\"%d\"", "]"},
		{"{", "\"%d\":0", "}"}, {"{", "\"%x\":\"\"", "}"}, {"{", "\"%d\":[]", "}"}, {"{", "\"%d\":{}", "}"},
		{"{", "\"%d\":{\"\":0}", "}"}, {"{", "\"%08d123456\":0", "}"}, {"{", "\"%08d1234567\":\"123456789012345\"", "}"},
		{"{", "\"\\u4e00%d\" : \"\\ud83d\\ude00\"", "}"}, {"{", " \"%d\"\t:\r\n 1.5e-3 ", "}"}, {"[", "true", "]"}, {"[", "1.25", "]"},
		{"[", "[[]]", "]"}, {"[", "{\"\":{}}", "]"}, {"[", "[0,0,0,0,0,0,0,0,0]", "]"}, {"[", "{\"a\":0,\"b\":1}", "]"},
		{"[", "{\"abcdefghijklmnopqrstuvwxyz\":\"\\u00e9\"}", "]"}, {"[", "{\"a\":{\"b\":{\"c\":{}}}}", "]"}
	};
	Text		t = {malloc((size_t) 8 << 20), 0};
	int			bad = 0;
	int			tried = 0;

	for (int64_t s = 0; s < PLM_COUNT(items); s++)
		for (int power = 0; power <= 12; power++)
			for (int n = (1 << power) - 1; n <= (1 << power) + 1; n++)
			{
				repeat(&t, items[s][0], items[s][1], n, items[s][2]);
				for (int big = 0; big < 2; big++, tried++)
					if (parse(t.data, t.len, big ? PLM_JSON_BIG_NUMBERS : 0) != PLM_OK ||
						json_array_size(root) + json_object_size(root) != (size_t) n)
					{
						printf("# shape %" PRId64 ", %d: %s\n", s, n, err.message);
						bad++;
					}
			}
	CHECK("what_is_reserved_suffices_for_every_shape", bad == 0, "%d of %d", bad, tried);
	free(t.data);
}

static void
long_tokens(void)
{
	static const char *const texts[] = {"[\"", "[", "{\"", "[\"\\u0041", "[1.", "[1e", "[tru", "{\"a\":\"b", "[-"};
	char	   *t = malloc(200000);
	int			bad = 0;

	for (int64_t i = 0; i < PLM_COUNT(texts); i++)
		for (size_t n = 1; n < 150000; n = n * 3 / 2 + 1)
		{
			size_t		at = strlen(texts[i]);

			memcpy(t, texts[i], at);
			memset(t + at, '7', n);
			memcpy(t + at + n, "\"]  ", 4);
			for (size_t len = at + n; len <= at + n + 4; len++)
				bad += parse(t, len, len % 2 ? PLM_JSON_BIG_NUMBERS : 0) == PLM_EINTERNAL;
		}
	CHECK("what_is_reserved_suffices_for_long_tokens", bad == 0, "%d: %s", bad, err.message);
	free(t);
}

/* Any sequence of tokens, most of them no JSON. */
static void
token_soup(void)
{
	static const char *const words[] = {"[", "]", "{", "}", ",", ":", "\"", "\"k\"", "\"k\":", "1", "-0.5e9", "null", "\\", "\\\"",
	"\"\\u0000\"", "\xc3", "\xc3\xa9", "\n", " ", "[[[[", "]]]]", "{\"a\":", "\"a long key of 30 characters..\":", "[1,2,3,4,5,6,7,8,9],"};
	char		t[4096];
	int			bad = 0;
	int			sound = 0;

	for (uint64_t i = 0; i < 30000; i++)
	{
		int			n = (int) (plm_random(1, i) % 40);
		size_t		len = 1;
		PlmStatus	status;

		t[0] = i % 2 ? '[' : '{';
		for (int k = 0; k < n; k++)
		{
			const char *word = words[plm_random(2, i * 64 + (uint64_t) k) % (uint64_t) PLM_COUNT(words)];

			memcpy(t + len, word, strlen(word));
			len += strlen(word);
		}
		status = parse(t, len, 0);
		sound += status == PLM_OK;
		bad += (status == PLM_OK) != (root != NULL) || (status != PLM_OK && status != PLM_ECORRUPT);
	}
	CHECK("any_sequence_of_tokens_is_read_or_refused", bad == 0 && sound > 0, "%d bad, %d sound: %s", bad, sound, err.message);
}

static void
limits(void)
{
	Text		t = {malloc((size_t) 4 << 20), 0};

	memset(t.data, '[', 1000);
	memset(t.data + 64, ']', 64);
	CHECK("64_levels_are_read", parse(t.data, 128, 0) == PLM_OK, "%s", err.message);
	memset(t.data, '[', 1000);
	CHECK("65_levels_are_refused", parse(t.data, 65, 0) == PLM_ELIMIT && strstr(err.message, "x.json is nested deeper than 64") != NULL,
		  "%s", err.message);
	repeat(&t, "[", "0", (int) MAX_VALUES, "]");
	CHECK("as_many_values_as_allowed_are_read", parse(t.data, t.len, 0) == PLM_OK, "%s", err.message);
	repeat(&t, "[", "0", (int) MAX_VALUES + 1, "]");
	CHECK("one_value_more_is_refused", parse(t.data, t.len, 0) == PLM_ELIMIT && strstr(err.message, "300000 values") != NULL &&
		  !err.over_arena, "%s", err.message);
	memset(t.data, ':', (size_t) 1 << 20);
	CHECK("colons_alone_are_refused", parse(t.data, (size_t) 1 << 20, 0) == PLM_ELIMIT, "%s", err.message);
	CHECK("a_key_given_twice_is_refused", parse("{\"a\":1,\"a\":2}", 13, 0) == PLM_ECORRUPT && strstr(err.message, "duplicate") != NULL,
		  "%s", err.message);
	CHECK("a_number_beyond_64_bits_is_refused", parse("[1000000000000000000000]", 24, 0) == PLM_ECORRUPT, "%s", err.message);
	CHECK("unless_numbers_are_read_as_reals", parse("[1000000000000000000000]", 24, PLM_JSON_BIG_NUMBERS) == PLM_OK &&
		  json_real_value(json_array_get(root, 0)) == 1e21, "%s", err.message);
	CHECK("no_text_at_all_is_refused", parse("", 0, 0) == PLM_ECORRUPT, "%s", err.message);
	free(t.data);
}

/* ---- memory ---- */

static int	foreign;

static void *
foreign_malloc(size_t bytes)
{
	foreign++;
	return malloc(bytes);
}

static void *
no_alloc(void *arg, size_t bytes)
{
	(void) arg;
	(void) bytes;
	return NULL;
}

static void
memory(void)
{
	PlmHook		none = plm_libc_hook;
	json_malloc_t alloc;
	json_free_t release;

	json_set_alloc_funcs(foreign_malloc, free);
	CHECK("memory_comes_from_the_arena_alone", parse("{\"a\":[1,2,\"b\"]}", 15, 0) == PLM_OK && foreign == 0, "%d requests", foreign);
	json_get_alloc_funcs(&alloc, &release);
	CHECK("others_keep_their_allocator", alloc == foreign_malloc && release == free, "changed");
	json_set_alloc_funcs(malloc, free);

	none.alloc = no_alloc;
	plm_arena_free(&arena);
	plm_arena_init(&arena, &none, 0);
	CHECK("refused_memory_is_an_error", parse("[1]", 3, 0) == PLM_ENOMEM && root == NULL && !err.over_arena, "%s", err.message);
	plm_arena_init(&arena, &plm_libc_hook, 1000);
	CHECK("the_arenas_limit_is_kept_and_told", parse("[1]", 3, 0) == PLM_ELIMIT && root == NULL && err.over_arena, "%s", err.message);
	plm_arena_init(&arena, &plm_libc_hook, 0);
}

/* The shape of tokenizer.json: 100,000 tokens of 35 bytes each. */
static void
vocabulary(void)
{
	Text		t = {malloc((size_t) 8 << 20), 0};

	repeat(&t, "{\"model\":{\"vocab\":{", "\"a token of this length %1$d\":%1$d", 100000, "}}}");
	CHECK("a_large_vocabulary_takes_less_than_10_times_its_text", parse(t.data, t.len, 0) == PLM_OK && arena.taken < 10 * t.len,
		  "%zu bytes for %zu: %s", arena.taken, t.len, err.message);
	repeat(&t, "{\"v\":{", "\"%1$d\":%1$d", 100000, "}}");
	CHECK("one_of_short_tokens_less_than_20_times", parse(t.data, t.len, 0) == PLM_OK && arena.taken < 20 * t.len,
		  "%zu bytes for %zu: %s", arena.taken, t.len, err.message);
	free(t.data);
}

int
main(void)
{
	plm_arena_init(&arena, &plm_libc_hook, 0);
	shapes();
	long_tokens();
	token_soup();
	limits();
	memory();
	vocabulary();
	plm_arena_free(&arena);
	return unit_done();
}
