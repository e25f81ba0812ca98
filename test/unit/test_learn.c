/*
 * test_learn.c -- learning WordPiece: merges counted by hand, properties that hold for every corpus, limits and failures.
 */
#include "text_load.h"

#include "failing_hook.h"

#define HEAD "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"

typedef struct Result
{
	PlmArena	arena;
	PlmLearnt	learnt;
	PlmStatus	status;
	PlmError	err;
} Result;

static PlmLearnOptions
options(int32_t vocabulary)
{
	PlmLearnOptions o;

	plm_learn_defaults(&o);
	o.vocabulary = vocabulary;
	return o;
}

/* Texts up to a NULL; the arena is the caller's to free. */
static void
learn(Result *r, const PlmLearnOptions *o, const PlmHook *hook, size_t limit, const char *const *texts)
{
	PlmLearner *learner = NULL;

	memset(r, 0, sizeof(*r));
	plm_arena_init(&r->arena, hook, 0);
	r->status = plm_learner_open(o, hook, limit, &learner, &r->err);
	for (; r->status == PLM_OK && *texts != NULL; texts++)
		r->status = plm_learner_add(learner, span(*texts), &r->err);
	if (r->status == PLM_OK)
		r->status = plm_learner_finish(learner, &r->arena, &r->learnt, &r->err);
	plm_learner_close(learner);
}

static void
learns(const char *name, const PlmLearnOptions *o, const char *const *texts, const char *vocabulary)
{
	Result		r;

	learn(&r, o, &plm_libc_hook, 0, texts);
	CHECK(name, r.status == PLM_OK && strcmp(r.learnt.vocab_txt.data, vocabulary) == 0, "%s\n%s", r.err.message,
		  r.learnt.vocab_txt.data != NULL ? r.learnt.vocab_txt.data : "");
	plm_arena_free(&r.arena);
}

static void
merges(void)
{
	/*
	 * low 5, lower 2: characters l 7, ##o 7, ##w 7, then ##e 2, ##r 2, and the forms that do not occur.  Pairs l ##o 7,
	 * ##o ##w 7, ##w ##e 2, ##e ##r 2.  l is piece 5, ##o 6: "lo" first; then lo ##w 7; then ##e ##r (2), whose left has a
	 * lower number than "low" (low ##e 2).  At the end low ##er.
	 */
	static const char *const low[] = {"low low low low low lower lower", NULL};
	static const char *const banana[] = {"aaaa aaaa", NULL};
	static const char *const cases[] = {"\xc3\x89t\xc3\xa9 \xc3\x89t\xc3\xa9", NULL};
	static const char *const tea[] = {"\xe7\xbb\xbf\xe8\x8c\xb6 \xe7\xbb\xbf\xe8\x8c\xb6,\xe7\xbb\xbf\xe8\x8c\xb6", NULL};
	PlmLearnOptions o = options(100);

	learns("merges_are_those_counted_by_hand", &o, low,
		   HEAD "l\n##o\n##w\n##e\n##r\ne\n##l\no\nr\nw\nlo\nlow\n##er\nlower\n");
	o.vocabulary = 16;
	learns("vocabulary_is_never_larger_than_asked", &o, low, HEAD "l\n##o\n##w\n##e\n##r\ne\n##l\no\nr\nw\nlo\n");
	o.vocabulary = 8;
	learns("vocabulary_below_the_alphabet_keeps_the_frequent_forms", &o, low, HEAD "l\n##o\n##w\n");
	o = options(100);
	o.min_frequency = 3;
	learns("rare_pairs_are_not_merged", &o, low, HEAD "l\n##o\n##w\n##e\n##r\ne\n##l\no\nr\nw\nlo\nlow\n");
	o = options(100);
	o.alphabet = 3;
	/* l, o, w alone: "lower" counts as far as its characters go. */
	learns("alphabet_keeps_the_most_frequent", &o, low, HEAD "l\n##o\n##w\n##l\no\nw\nlo\nlow\n");
	o = options(100);
	/* ##a ##a 4 before a ##a 2: a ##aa ##a, then a ##aa 2 before ##aa ##a 2. */
	learns("overlapping_pairs_are_merged_from_the_left", &o, banana, HEAD "##a\na\n##aa\naaa\naaaa\n");
	learns("accents_go_with_case", &o, cases, HEAD "e\n##e\n##t\nt\net\nete\n");
	o.strip_accents = false;
	learns("accents_stay_when_asked", &o, cases, HEAD "##t\n\xc3\xa9\n##\xc3\xa9\nt\n##t\xc3\xa9\n\xc3\xa9t\xc3\xa9\n");
	o = options(100);
	learns("chinese_characters_stand_alone", &o, tea, HEAD "\xe7\xbb\xbf\n\xe8\x8c\xb6\n,\n");
	o.cjk_pieces = true;
	learns("chinese_pieces_are_learnt_when_asked", &o, tea,
		   HEAD "\xe7\xbb\xbf\n##\xe8\x8c\xb6\n,\n##\xe7\xbb\xbf\n\xe8\x8c\xb6\n\xe7\xbb\xbf\xe8\x8c\xb6\n");
}

static void
bounds(void)
{
	static const char *const none[] = {NULL};
	static const char *const empty[] = {"", " \t\n", NULL};
	static const char *const hostile[] = {"a\xff", NULL};
	static const char *const special[] = {"[MASK] [MASK] [PAD]##", NULL};
	PlmLearnOptions o = options(100);
	Result		r;
	char	   *endless = malloc(300001);

	learns("no_texts_give_the_special_tokens", &o, none, HEAD);
	learns("empty_texts_give_the_special_tokens", &o, empty, HEAD);
	learns("special_tokens_are_no_words", &o, special, HEAD "#\n");
	learn(&r, &o, &plm_libc_hook, 0, hostile);
	CHECK("text_must_be_utf8", r.status == PLM_EARG && strstr(r.err.message, "UTF-8") != NULL, "%s", r.err.message);
	plm_arena_free(&r.arena);
	memset(endless, 'a', 300000);
	endless[300000] = '\0';
	learn(&r, &o, &plm_libc_hook, 0, (const char *const[]) {endless, NULL});
	CHECK("words_that_the_tokenizer_gives_up_on_are_not_learnt", r.status == PLM_OK && r.learnt.words == 1 &&
		  r.learnt.different_words == 0 && r.learnt.pieces == 5, "%" PRId64 " pieces", r.learnt.pieces);
	plm_arena_free(&r.arena);
	for (int i = 0; i < 300000; i += 3)
		memcpy(endless + i, i / 3 % 50 == 49 ? "   " : "\xe8\x8c\xb6", 3);
	o.cjk_pieces = true;
	learn(&r, &o, &plm_libc_hook, 0, (const char *const[]) {endless, NULL});
	CHECK("long_runs_are_counted_in_parts", r.status == PLM_OK && r.learnt.different_words == 3, "%" PRId64 " words",
		  r.learnt.different_words);
	plm_arena_free(&r.arena);
	free(endless);
	for (int i = 0; i < 5; i++)
	{
		static const PlmLearnOptions bad[] = {
			{.vocabulary = 5, .min_frequency = 1}, {.vocabulary = -1, .min_frequency = 1}, {.vocabulary = 1000001, .min_frequency = 1},
			{.vocabulary = 100, .min_frequency = 0}, {.vocabulary = 100, .min_frequency = 1, .alphabet = -1}
		};

		learn(&r, &bad[i], &plm_libc_hook, 0, none);
		CHECK("options_out_of_range_are_refused", r.status == PLM_EARG && r.err.message[0] != '\0', "case %d: %s", i, r.err.message);
		plm_arena_free(&r.arena);
	}
}

/* n words of up to 9 letters of a small alphabet, by a seed. */
static char *
random_text(uint64_t seed, int n)
{
	char	   *text = malloc((size_t) n * 10 + 1);
	size_t		at = 0;

	for (int i = 0; i < n; i++)
	{
		int			len = 1 + (int) (plm_random(seed, (uint64_t) i * 16) % 9);

		for (int j = 0; j < len; j++)
			text[at++] = (char) ('a' + plm_random(seed, (uint64_t) i * 16 + 1 + (uint64_t) j) % 12);
		text[at++] = ' ';
	}
	text[at] = '\0';
	return text;
}

static void
properties(void)
{
	char	   *a = random_text(1, 3000);
	char	   *b = random_text(2, 3000);
	PlmLearnOptions o = options(400);
	Result		r,
				again;
	Loaded		l;
	PlmEncoding e;
	int64_t		unknown = 0;

	learn(&r, &o, &plm_libc_hook, 0, (const char *const[]) {a, b, NULL});
	learn(&again, &o, &plm_libc_hook, 0, (const char *const[]) {b, a, NULL});
	CHECK("order_of_the_texts_does_not_matter", r.status == PLM_OK && again.status == PLM_OK &&
		  strcmp(r.learnt.vocab_txt.data, again.learnt.vocab_txt.data) == 0, "%s", r.err.message);
	compile(&l, (PlmTokenizerFiles) {.vocab_txt = r.learnt.vocab_txt,.tokenizer_config_json = r.learnt.tokenizer_config_json});
	CHECK("tokenizer_reads_what_was_learnt", l.status == PLM_OK && l.t.tokens == 400 && r.learnt.pieces == 400 && l.t.mask == 4,
		  "%d tokens: %s", (int) l.t.tokens, l.err.message);
	l.status = encode(&l, span(a), 0, &e);
	for (int64_t i = 0; l.status == PLM_OK && i < e.n; i++)
		unknown += e.ids[i] == l.t.unk;
	CHECK("every_word_of_the_corpus_is_encodable", l.status == PLM_OK && unknown == 0, "%" PRId64 " unknown", unknown);
	plm_arena_free(&l.arena);
	plm_arena_free(&again.arena);
	plm_arena_free(&r.arena);

	learn(&r, &o, &plm_libc_hook, 300000, (const char *const[]) {a, b, NULL});
	CHECK("memory_is_bounded", r.status == PLM_ELIMIT && r.err.over_arena, "status %d: %s", r.status, r.err.message);
	plm_arena_free(&r.arena);
	free(a);
	free(b);
}

static bool
stop_now(void *arg)
{
	return --*(int *) arg < 0;
}

static void
stops(void)
{
	char	   *text = random_text(3, 20000);
	PlmLearnOptions o = options(5000);
	int			polls = 0,
				cancelled = 0;
	Result		r;

	for (int after = 0; after < 200; after += 7)
	{
		PlmHook		hook = plm_libc_hook;

		polls = after;
		hook.stop = stop_now;
		hook.arg = &polls;
		learn(&r, &o, &hook, 0, (const char *const[]) {text, NULL});
		cancelled += r.status == PLM_ECANCELLED;
		if (r.status != PLM_ECANCELLED && r.status != PLM_OK)
			printf("# %s\n", r.err.message);
		plm_arena_free(&r.arena);
	}
	CHECK("learning_stops_when_asked", cancelled >= 20, "%d of 29", cancelled);
	free(text);
}

static void
allocation_failures(void)
{
	static const PlmHook hook = {failing_alloc, counted_release, NULL, NULL};
	static const char *const texts[] = {"green tea and \xe7\xbb\xbf\xe8\x8c\xb6\xe7\xbb\xbf\xe8\x8c\xb6, more green tea", NULL};
	PlmLearnOptions o = options(60);
	Result		r;
	int			failures = 0,
				lost = 0;
	bool		done = false;

	for (int i = 1; !done && i < 1000; i++)
	{
		countdown = i;
		learn(&r, &o, &hook, 0, texts);
		done = r.status == PLM_OK;
		failures += r.status == PLM_ENOMEM;
		plm_arena_free(&r.arena);
		lost += held;
	}
	countdown = 0;
	CHECK("each_refused_allocation_is_an_error_and_loses_nothing", done && failures > 10 && lost == 0, "%d failures, %d lost", failures, lost);
}

int
main(void)
{
	merges();
	bounds();
	properties();
	stops();
	allocation_failures();
	return unit_done();
}
