/*
 * test_text_properties.c -- what holds for every text: bounds, truncation, counting, offsets, cancel, memory.
 */
#include "text_load.h"

#include <time.h>

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

/* `unit` repeated to about n bytes; freed by the caller. */
static PlmText
repeat(const char *unit, size_t n)
{
	size_t		len = strlen(unit);
	size_t		times = n / len;
	char	   *data = malloc(times * len + 1);

	for (size_t i = 0; i < times; i++)
		memcpy(data + i * len, unit, len);
	return (PlmText) {data, times * len};
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

/* Random text of n characters, marks and controls more often than their share. */
static PlmText
random_text(uint64_t seed, int n, char *out)
{
	size_t		len = 0;

	for (int i = 0; i < n; i++)
	{
		uint32_t	r = plm_random(seed, (uint64_t) i);
		uint32_t	cp = r >> 8;

		switch (r & 7)
		{
			case 0:
			case 1:
			case 2:
				cp = 0x20 + cp % 0x5f;
				break;
			case 3:
				cp = 0x300 + cp % 0x70;
				break;
			case 4:
				cp %= 0x3000;
				break;
			case 5:
				cp = 0x4e00 + cp % 0x5200;
				break;
			default:
				cp %= 0x20000;
		}
		if (cp >= 0xd800 && cp < 0xe000)
			cp = ' ';
		len += (size_t) utf8(cp, out + len);
	}
	return (PlmText) {out, len};
}

/* Ids in range, spans inside the text, in rising order and at the beginnings of characters. */
static bool
sound(const Loaded *l, PlmText text, const PlmEncoding *e)
{
	int64_t		before = 0;

	for (int64_t i = 0; i < e->n; i++)
	{
		if (e->ids[i] < 0 || e->ids[i] >= l->t.tokens)
			return false;
		if (e->start[i] < 0)
			continue;
		if (e->start[i] < before || e->end[i] <= e->start[i] || e->end[i] > (int64_t) text.len)
			return false;
		if (((unsigned char) text.data[e->start[i]] & 0xc0) == 0x80)
			return false;
		before = e->start[i];
	}
	return true;
}

static void
every_character(Loaded *l)
{
	uint32_t	bad = 0;
	int			n = 0;

	for (uint32_t cp = 0; cp < 0x110000; cp += cp < 0x32000 || (cp >= 0xe0000 && cp < 0xe0200) ? 1 : 97)
	{
		char		text[16] = "a";
		PlmMark		mark = plm_arena_mark(&l->arena);
		PlmEncoding e;
		PlmText		t;

		if (cp >= 0xd800 && cp < 0xe000)
			continue;
		t = (PlmText) {text, 1 + (size_t) utf8(cp, text + 1)};
		text[t.len++] = 'b';
		if (encode(l, t, 0, &e) != PLM_OK || !sound(l, t, &e) || e.n < 3 || e.n > 5)
		{
			bad = cp;
			n++;
		}
		plm_arena_rewind(&l->arena, mark);
	}
	CHECK("every_character_encodes_with_sound_spans", n == 0, "%d characters, the last U+%04X", n, bad);
}

static void
truncation_is_a_prefix(Loaded *l)
{
	int			bad = 0;

	for (uint64_t seed = 0; seed < 400; seed++)
	{
		PlmMark		mark = plm_arena_mark(&l->arena);
		char		data[400];
		PlmText		text = random_text(seed, 1 + (int) (seed % 60), data);
		PlmEncoding all,
					some;
		int64_t		count = 0;
		int64_t		max = 2 + (int64_t) (seed % 23);
		PlmStatus	status = encode(l, text, 0, &all);

		bad += status != PLM_OK || !sound(l, text, &all) || all.truncated;
		bad += plm_count_tokens(&l->t, text, NULL, &l->arena, &count, &l->err) != PLM_OK || count != all.n;
		bad += encode(l, text, max, &some) != PLM_OK || some.n != (all.n < max ? all.n : max) ||
			some.truncated != (all.n > max);
		for (int64_t i = 0; i < some.n - 1; i++)
			bad += some.ids[i] != all.ids[i] || some.start[i] != all.start[i] || some.end[i] != all.end[i];
		bad += some.ids[some.n - 1] != l->t.sep;
		plm_arena_rewind(&l->arena, mark);
	}
	CHECK("truncated_text_is_a_prefix_and_count_is_the_whole", bad == 0, "%d differences in 400 texts", bad);
}

static void
words_over_the_limit(Loaded *l)
{
	PlmText		hundred = repeat("a", 100);
	PlmText		more = repeat("a", 101);
	PlmText		long_word = repeat("\xc3\xa9", 10240);
	PlmEncoding e;

	encode(l, hundred, 0, &e);
	CHECK("word_of_100_characters_is_cut", e.n == 102 && e.ids[1] != l->t.unk, "%" PRId64 " tokens", e.n);
	encode(l, more, 0, &e);
	CHECK("word_of_101_characters_is_unknown", e.n == 3 && e.ids[1] == l->t.unk && e.start[1] == 0 && e.end[1] == 101,
		  "%" PRId64 " tokens", e.n);
	encode(l, long_word, 0, &e);
	CHECK("word_of_10_kB_is_unknown", e.n == 3 && e.ids[1] == l->t.unk && e.end[1] == 10240, "%" PRId64 " tokens", e.n);
	free((char *) hundred.data);
	free((char *) more.data);
	free((char *) long_word.data);
}

static void
long_texts(Loaded *l)
{
	static const char *const units[] = {"quiet kettle, warm tea! ", "静音键盘", "a\xcc\x81\xcc\xa3 ", "[CLS", "x", " ", "\x01"};

	for (int64_t i = 0; i < PLM_COUNT(units); i++)
	{
		PlmText		text = repeat(units[i], 4 << 20);
		PlmMark		mark = plm_arena_mark(&l->arena);
		size_t		before = l->arena.taken;
		PlmEncoding e;
		int64_t		count = 0;
		double		start = seconds();
		double		took;
		char		name[80];

		/* One word, or nothing but spaces, must be read to its end; the others stop at the last token. */
		snprintf(name, sizeof(name), "work_ends_at_truncation_%" PRId64, i);
		encode(l, text, 128, &e);
		took = seconds() - start;
		CHECK(name, (i >= 4 || (e.n == 128 && took < 0.1)) && l->arena.taken - before < 65536,
			  "%" PRId64 " tokens, %.3f s, %zu bytes", e.n, took, l->arena.taken - before);
		plm_arena_rewind(&l->arena, mark);
		l->arena.limit = l->arena.taken + 65536;
		snprintf(name, sizeof(name), "count_in_constant_memory_%" PRId64, i);
		CHECK(name, plm_count_tokens(&l->t, text, NULL, &l->arena, &count, &l->err) == PLM_OK && count >= 2 &&
			  l->arena.taken == before, "%s, %" PRId64 " tokens", l->err.message, count);
		l->arena.limit = 0;
		free((char *) text.data);
	}
}

static void
marks_without_end(Loaded *l)
{
	PlmText		text = repeat("\xcc\x81\xcc\xa3", 4u << 20);
	PlmText		some = repeat("\xcc\x81\xcc\xa3", 4u << 16);
	PlmMark		mark = plm_arena_mark(&l->arena);
	PlmEncoding e;

	CHECK("a_million_combining_marks_is_refused", encode(l, text, 128, &e) == PLM_ELIMIT, "%s", l->err.message);
	plm_arena_rewind(&l->arena, mark);
	CHECK("a_hundred_thousand_marks_are_dropped", encode(l, some, 128, &e) == PLM_OK && e.n == 2, "%" PRId64 " tokens", e.n);
	plm_arena_rewind(&l->arena, mark);
	free((char *) text.data);
	free((char *) some.data);
}

static bool
stop_soon(void *arg)
{
	int		   *left = arg;

	return --*left < 0;
}

static void
cancel(Loaded *l)
{
	int			left = 3;
	PlmHook		hook = plm_libc_hook;
	PlmRun		run;
	PlmWorker	worker;
	PlmText		text = repeat("tea ", 1 << 20);
	PlmEncoding e;
	int64_t		n;

	hook.stop = stop_soon;
	hook.arg = &left;
	worker = plm_main_worker(&run, &hook);
	CHECK("encode_stops_when_asked", plm_encode(&l->t, text, NULL, 0, &worker, &l->arena, &e, &l->err) == PLM_ECANCELLED,
		  "%s", l->err.message);
	left = 3;
	worker = plm_main_worker(&run, &hook);
	CHECK("count_stops_when_asked", plm_count_tokens(&l->t, text, &worker, &l->arena, &n, &l->err) == PLM_ECANCELLED,
		  "%s", l->err.message);
	free((char *) text.data);
}

static void
invalid_utf8(Loaded *l)
{
	static const struct
	{
		const char *text;
		int			position;
	}			bad[] = {
		{"tea \xff", 4}, {"\x80", 0}, {"ab\xc3", 2}, {"ab\xe4\xb8", 2}, {"\xc0\xaf", 0}, {"\xe0\x80\xaf", 0},
		{"a\xed\xa0\x80", 1}, {"\xf4\x90\x80\x80", 0}, {"\xf0\x80\x80\xaf", 0}, {"aaaaaaaaaaaaaaaa\xf8\x88\x80\x80\x80", 16}
	};
	int			n = 0;

	for (int64_t i = 0; i < PLM_COUNT(bad); i++)
	{
		PlmEncoding e;
		PlmStatus	status = encode(l, span(bad[i].text), 0, &e);

		n += status == PLM_EARG && l->err.position == bad[i].position &&
			plm_utf8_invalid(span(bad[i].text)) == bad[i].position;
	}
	CHECK("invalid_utf8_is_refused_where_it_is", n == PLM_COUNT(bad), "%d of %d", n, (int) PLM_COUNT(bad));
	CHECK("valid_utf8_is_found_valid", plm_utf8_invalid(span("茶 \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf tea tea tea")) < 0, "no");
}

static void
tokens(Loaded *l)
{
	int			bad = 0;
	PlmEncoding e;

	for (int32_t i = 0; i < l->t.tokens; i++)
		bad += plm_token_id(&l->t, plm_token_text(&l->t, i)) != i;
	CHECK("text_of_every_id_has_that_id", bad == 0, "%d of %d", bad, l->t.tokens);
	CHECK("unknown_ids_have_no_text", plm_token_text(&l->t, -1).data == NULL &&
		  plm_token_text(&l->t, l->t.tokens).data == NULL && plm_token_id(&l->t, PLM_TEXT("qqqq")) == -1 &&
		  !plm_token_is_special(&l->t, -1) && !plm_token_is_special(&l->t, INT32_MAX), "%d", l->t.tokens);
	CHECK("roles_are_found", l->t.pad == 0 && l->t.unk == 1 && l->t.cls == 2 && l->t.sep == 3 && l->t.mask == 4 &&
		  plm_token_is_special(&l->t, 4) && !plm_token_is_special(&l->t, 5), "%d %d %d %d %d", l->t.pad, l->t.unk,
		  l->t.cls, l->t.sep, l->t.mask);
	CHECK("one_token_has_no_room_for_the_special_ones", encode(l, PLM_TEXT("tea"), 1, &e) == PLM_EARG, "%s", l->err.message);
	CHECK("two_tokens_are_the_special_ones", encode(l, PLM_TEXT("tea"), 2, &e) == PLM_OK && e.n == 2 && e.truncated,
		  "%" PRId64, e.n);
}

/* The same ids from a copy of the blob at another place. */
static void
relocatable(Loaded *l)
{
	PlmText		text = PLM_TEXT("The quiet kettle [MASK] \xe8\x8c\xb6");
	PlmTokenizer t;
	PlmEncoding a = {0},
				b = {0};
	char	   *copy = malloc(l->bytes + 64);
	char	   *at = copy + 8 - (uintptr_t) copy % 8;
	PlmStatus	status;

	memcpy(at, l->blob, l->bytes);
	status = plm_tokenizer_open(at, l->bytes, &t, &l->err);
	encode(l, text, 0, &a);
	if (status == PLM_OK)
		status = plm_encode(&t, text, NULL, 0, NULL, &l->arena, &b, &l->err);
	CHECK("blob_works_wherever_it_lies", status == PLM_OK && a.n == b.n &&
		  memcmp(a.ids, b.ids, (size_t) a.n * sizeof(int32_t)) == 0, "%s", l->err.message);
	free(copy);
}

static void
lengths(void)
{
	static const char rule[] = "{\"truncation\": {\"max_length\": 64, \"strategy\": \"LongestFirst\", \"stride\": 0, "
		"\"direction\": \"Right\"}, \"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", "
		"\"continuing_subword_prefix\": \"##\", \"max_input_chars_per_word\": 100, \"vocab\": {\"[UNK]\": 0}}}";
	Loaded		l;

	compile_vocab(&l, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n", "{\"model_max_length\": 1000000000000000019884624838656}");
	CHECK("no_limit_is_no_length", l.status == PLM_OK && l.t.model_max_length == 0, "%s", l.err.message);
	plm_arena_free(&l.arena);
	compile_vocab(&l, "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]", "{\"model_max_length\": 512}");
	CHECK("length_comes_from_the_configuration", l.status == PLM_OK && l.t.model_max_length == 512 && l.t.tokens == 4,
		  "%" PRId64 ", %d tokens", l.t.model_max_length, l.t.tokens);
	plm_arena_free(&l.arena);
	compile_json(&l, rule);
	CHECK("length_comes_from_the_truncation_rule", l.status == PLM_OK && l.t.model_max_length == 64, "%s, %" PRId64,
		  l.err.message, l.t.model_max_length);
	plm_arena_free(&l.arena);
	compile(&l, (PlmTokenizerFiles) {.tokenizer_json = span(rule),
		.tokenizer_config_json = span("{\"model_max_length\": 512, \"unk_token\": {\"content\": \"[UNK]\"}}")});
	CHECK("length_of_the_configuration_wins", l.status == PLM_OK && l.t.model_max_length == 512 && l.t.cls == -1 &&
		  l.t.unk == 0, "%" PRId64, l.t.model_max_length);
	plm_arena_free(&l.arena);
}

int
main(void)
{
	Loaded		l;

	own(&l);
	CHECK("own_vocabulary_compiles", l.status == PLM_OK, "%s", l.err.message);
	if (l.status == PLM_OK)
	{
		tokens(&l);
		every_character(&l);
		truncation_is_a_prefix(&l);
		words_over_the_limit(&l);
		long_texts(&l);
		marks_without_end(&l);
		cancel(&l);
		invalid_utf8(&l);
		relocatable(&l);
	}
	plm_arena_free(&l.arena);
	lengths();
	return unit_done();
}
