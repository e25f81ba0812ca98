/*
 * learn.c -- learning a WordPiece vocabulary: options, counting words, the alphabet, and the files that come out.
 *
 * Words are what the tokenizer that will read the vocabulary cuts: its own normaliser and pre-tokeniser run here, compiled
 * from the very tokenizer_config.json that comes out.  Where runs of Chinese stay together (cjk_pieces) they are counted in
 * parts: cut from other characters beside them, and after every 8, or almost every clause would be a different word.  All
 * parts but a word's first are made of "##" pieces, as the tokenizer will read them.
 */
#include "learn_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN_CHARS 8

static const char *const specials[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

/* ---- options ---- */

void
plm_learn_defaults(PlmLearnOptions *options)
{
	*options = (PlmLearnOptions) {
		.vocabulary = 8192, .lowercase = true, .strip_accents = true, .min_frequency = 2
	};
}

static PlmStatus
check_options(const PlmLearnOptions *o, PlmError *err)
{
	if (o->vocabulary < PLM_LEARN_LEAST || o->vocabulary > PLM_LEARN_MOST)
		return plm_fail(err, PLM_EARG, 0, "a vocabulary has %d to %d pieces, not %" PRId32, PLM_LEARN_LEAST, PLM_LEARN_MOST, o->vocabulary);
	if (o->min_frequency < 1)
		return plm_fail(err, PLM_EARG, 0, "min_frequency must be at least 1, not %" PRId64, o->min_frequency);
	if (o->alphabet < 0)
		return plm_fail(err, PLM_EARG, 0, "alphabet must not be negative, as %" PRId32 " is", o->alphabet);
	return PLM_OK;
}

static int64_t
alphabet_limit(const PlmLearnOptions *o)
{
	if (o->alphabet > 0)
		return o->alphabet;
	return o->vocabulary / 3 > 1000 ? o->vocabulary / 3 : 1000;
}

/* ---- opening ---- */

static const char *
truth(bool b)
{
	return b ? "true" : "false";
}

/* The tokenizer with the special tokens alone: the rules by which words are cut. */
static PlmStatus
compile_rules(PlmLearner *l, PlmError *err)
{
	static const char form[] = "{\n  \"tokenizer_class\": \"BertTokenizer\",\n  \"do_lower_case\": %s,\n  \"strip_accents\": %s,\n"
		"  \"tokenize_chinese_chars\": %s,\n  \"pad_token\": \"[PAD]\",\n  \"unk_token\": \"[UNK]\",\n  \"cls_token\": \"[CLS]\",\n"
		"  \"sep_token\": \"[SEP]\",\n  \"mask_token\": \"[MASK]\"\n}\n";
	char	   *config = plm_arena_alloc(&l->arena, sizeof(form) + 16);
	PlmTokenizerFiles files = {.vocab_txt = PLM_TEXT("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")};
	void	   *blob = NULL;
	size_t		bytes = 0;

	if (config == NULL)
		return plm_arena_refused(&l->arena, sizeof(form), err);
	l->config.data = config;
	l->config.len = (size_t) snprintf(config, sizeof(form) + 16, form, truth(l->options.lowercase), truth(l->options.strip_accents),
									  truth(!l->options.cjk_pieces));
	files.tokenizer_config_json = l->config;
	PLM_TRY(plm_tokenizer_compile(&files, &l->arena, &blob, &bytes, err));
	return plm_tokenizer_open(blob, bytes, &l->rules, err);
}

/* The special tokens are the first pieces. */
static PlmStatus
add_specials(PlmLearner *l, PlmError *err)
{
	for (int64_t i = 0; i < PLM_COUNT(specials); i++)
	{
		int32_t		id;

		PLM_TRY(plm_learn_text(&l->memory, &l->pieces, false, (PlmText) {specials[i], strlen(specials[i])}, PLM_TEXT(""), &id, err));
	}
	return PLM_OK;
}

PlmStatus
plm_learner_open(const PlmLearnOptions *options, const PlmHook *hook, size_t memory_limit, PlmLearner **out, PlmError *err)
{
	PlmArena	arena;
	PlmLearner *l;
	PlmStatus	status;

	*out = NULL;
	PLM_TRY(check_options(options, err));
	plm_arena_init(&arena, hook, memory_limit);
	l = plm_arena_zero(&arena, sizeof(PlmLearner));
	if (l == NULL)
		return plm_arena_refused(&arena, sizeof(PlmLearner), err);
	l->options = *options;
	l->hook = *hook;
	l->arena = arena;
	l->arena.hook = &l->hook;
	l->memory = (LearnMemory) {.hook = &l->hook, .limit = memory_limit, .beside = &l->arena};
	l->worker = plm_main_worker(&l->run, &l->hook);
	status = compile_rules(l, err);
	if (status == PLM_OK)
		status = add_specials(l, err);
	if (status == PLM_OK)
		*out = l;
	else
		plm_learner_close(l);
	return status;
}

void
plm_learner_close(PlmLearner *l)
{
	PlmArena	arena;
	PlmHook		hook;

	if (l == NULL)
		return;
	plm_learn_texts_release(&l->memory, &l->words);
	plm_learn_texts_release(&l->memory, &l->pieces);
	/* The learner lives in its own arena, the hook in the learner. */
	arena = l->arena;
	hook = l->hook;
	arena.hook = &hook;
	plm_arena_free(&arena);
}

/* ---- counting words ---- */

static void
count_part(PlmRunState *r, PlmLearner *l, size_t from, size_t to)
{
	int32_t		at = 0;
	PlmStatus	status = plm_learn_text(&l->memory, &l->words, from > 0, (PlmText) {r->word + from, to - from}, PLM_TEXT(""), &at, r->err);

	if (status != PLM_OK)
		plm_run_fail(r, status);
	else
		plm_learn_at(&l->words, at)->count++;
}

/* PlmRunState.take_word */
static void
count_word(PlmRunState *r)
{
	PlmLearner *l = r->take_arg;
	size_t		from = 0;
	int			chars = 0;		/* of the run */
	bool		was_cjk = false;

	l->counted++;
	if (r->word_n > r->word_cap)
		return;					/* will be one unknown token, whatever is learnt */
	for (size_t at = 0; l->options.cjk_pieces && at < r->word_bytes && !r->done;)
	{
		uint32_t	cp = 0;
		int			len = plm_utf8_decode(r->word + at, r->word_bytes - at, &cp);
		bool		cjk = plm_is_cjk(cp);

		if (at > 0 && (cjk != was_cjk || (cjk && chars == RUN_CHARS)))
		{
			count_part(r, l, from, at);
			from = at;
			chars = 0;
		}
		chars++;
		was_cjk = cjk;
		at += len > 0 ? (size_t) len : 1;
	}
	if (!r->done)
		count_part(r, l, from, r->word_bytes);
}

PlmStatus
plm_learner_add(PlmLearner *l, PlmText text, PlmError *err)
{
	PlmMark		mark = plm_arena_mark(&l->arena);
	PlmSink		sink = {.limit = 0, .stop_after = -1};
	PlmRunState r;
	PlmStatus	status;

	l->arena.limit = l->memory.limit > l->memory.taken ? l->memory.limit - l->memory.taken : l->memory.limit == 0 ? 0 : 1;
	if (plm_learn_tick(l))
		return plm_cancelled(err);
	status = plm_run_init(&r, plm_blob(&l->rules), &sink, &l->worker, &l->arena, err);
	if (status == PLM_OK)
	{
		r.take_word = count_word;
		r.take_arg = l;
		plm_run_text(&r, text);
		status = r.status;
		l->texts++;
	}
	plm_arena_rewind(&l->arena, mark);
	return status;
}

/* ---- the alphabet ---- */

typedef struct Counted
{
	uint64_t	key;
	int64_t		count;
} Counted;

/* The more frequent first, among equals the lower key. */
static int
by_count(const void *a, const void *b)
{
	const Counted *x = a,
			   *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return x->key < y->key ? -1 : x->key > y->key;
}

/* Occurrences of each form (plm_learn_form()) in the words. */
static PlmStatus
count_forms(PlmLearner *l, LearnMap *forms, PlmError *err)
{
	for (int64_t i = 0; i < l->words.texts.n; i++)
	{
		const LearnText *word = plm_learn_at(&l->words, i);
		PlmText		text = plm_learn_string(&l->words, word);

		for (size_t at = 0; at < text.len;)
		{
			uint32_t	cp = 0;
			int			len = plm_utf8_decode(text.data + at, text.len - at, &cp);
			int64_t    *count = NULL;

			PLM_TRY(plm_learn_put(&l->memory, forms, plm_learn_form(cp, word->inner || at > 0), 0, &count, err));
			*count += word->count;
			at += len > 0 ? (size_t) len : 1;
		}
		if (plm_learn_tick(l))
			return plm_cancelled(err);
	}
	return PLM_OK;
}

static int64_t
count_of(const LearnMap *forms, uint32_t cp, bool inner)
{
	const int64_t *count = plm_learn_find(forms, plm_learn_form(cp, inner));

	return count != NULL ? *count : 0;
}

static PlmStatus
push(PlmLearner *l, LearnArray *array, uint64_t key, int64_t count, PlmError *err)
{
	PLM_TRY(plm_learn_room(&l->memory, array, 1, sizeof(Counted), err));
	((Counted *) array->data)[array->n++] = (Counted) {key, count};
	return PLM_OK;
}

/* The different characters, the most frequent first. */
static PlmStatus
list_characters(PlmLearner *l, const LearnMap *forms, LearnArray *characters, PlmError *err)
{
	const LearnSlot *slots = forms->slots.data;

	for (int64_t i = 0; i < forms->slots.n; i++)
	{
		uint32_t	cp = (uint32_t) (slots[i].key >> 1);
		bool		inner = slots[i].key & 1;

		/* Once a character: by its first form, when it has both. */
		if (slots[i].key == UINT64_MAX || (inner && plm_learn_find(forms, plm_learn_form(cp, false)) != NULL))
			continue;
		PLM_TRY(push(l, characters, cp, count_of(forms, cp, false) + count_of(forms, cp, true), err));
	}
	if (characters->n > 0)
		qsort(characters->data, (size_t) characters->n, sizeof(Counted), by_count);
	return PLM_OK;
}

/* Can the character stand within a word? */
static bool
can_be_inner(const PlmLearner *l, uint32_t cp)
{
	return !plm_is_punctuation(cp) && (l->options.cjk_pieces || !plm_is_cjk(cp));
}

/*
 * Make pieces of the alphabet's characters, as many as there is room for, the more frequent forms first; pieces: their
 * numbers by form.
 */
static PlmStatus
add_alphabet(PlmLearner *l, const LearnArray *characters, const LearnMap *forms, LearnArray *list, LearnMap *pieces, PlmError *err)
{
	const Counted *c = characters->data;
	int64_t		limit = alphabet_limit(&l->options);

	for (int64_t i = 0; i < characters->n && i < limit; i++)
	{
		uint32_t	cp = (uint32_t) c[i].key;

		PLM_TRY(push(l, list, plm_learn_form(cp, false), count_of(forms, cp, false), err));
		if (can_be_inner(l, cp))
			PLM_TRY(push(l, list, plm_learn_form(cp, true), count_of(forms, cp, true), err));
	}
	c = list->data;
	if (list->n > 0)
		qsort(list->data, (size_t) list->n, sizeof(Counted), by_count);
	for (int64_t i = 0; i < list->n && l->pieces.texts.n < l->options.vocabulary; i++)
	{
		char		utf8[4];
		int			len = plm_utf8_encode((uint32_t) (c[i].key >> 1), utf8);
		int64_t    *piece = NULL;
		int32_t		id = 0;

		PLM_TRY(plm_learn_text(&l->memory, &l->pieces, c[i].key & 1, (PlmText) {utf8, (size_t) len}, PLM_TEXT(""), &id, err));
		PLM_TRY(plm_learn_put(&l->memory, pieces, c[i].key, id, &piece, err));
		if (plm_learn_tick(l))
			return plm_cancelled(err);
	}
	return PLM_OK;
}

/* ---- what comes out ---- */

static PlmStatus
write_vocabulary(const PlmLearner *l, PlmArena *arena, PlmText *out, PlmError *err)
{
	size_t		bytes = 1;
	char	   *data;
	char	   *to;

	for (int64_t i = 0; i < l->pieces.texts.n; i++)
		bytes += plm_learn_at(&l->pieces, i)->len + 3;
	data = to = plm_arena_alloc(arena, bytes);
	if (data == NULL)
		return plm_arena_refused(arena, bytes, err);
	for (int64_t i = 0; i < l->pieces.texts.n; i++)
	{
		const LearnText *piece = plm_learn_at(&l->pieces, i);
		PlmText		text = plm_learn_string(&l->pieces, piece);

		if (piece->inner)
		{
			memcpy(to, "##", 2);
			to += 2;
		}
		memcpy(to, text.data, text.len);
		to += text.len;
		*to++ = '\n';
	}
	*to = '\0';
	*out = (PlmText) {data, (size_t) (to - data)};
	return PLM_OK;
}

static PlmStatus
write_files(const PlmLearner *l, PlmArena *arena, PlmLearnt *out, PlmError *err)
{
	char	   *config = plm_arena_strndup(arena, l->config.data, l->config.len);

	if (config == NULL)
		return plm_arena_refused(arena, l->config.len + 1, err);
	out->tokenizer_config_json = (PlmText) {config, l->config.len};
	return write_vocabulary(l, arena, &out->vocab_txt, err);
}

/* The maps and arrays of plm_learner_finish(), to be released whatever happens. */
typedef struct Alphabet
{
	LearnMap	forms;			/* counts */
	LearnMap	pieces;			/* numbers */
	LearnArray	characters;		/* Counted */
	LearnArray	list;			/* Counted */
} Alphabet;

static PlmStatus
learn(PlmLearner *l, Alphabet *a, PlmLearnt *out, PlmError *err)
{
	out->texts = l->texts;
	out->words = l->counted;
	out->different_words = l->words.texts.n;
	PLM_TRY(count_forms(l, &a->forms, err));
	PLM_TRY(list_characters(l, &a->forms, &a->characters, err));
	out->characters = a->characters.n;
	PLM_TRY(add_alphabet(l, &a->characters, &a->forms, &a->list, &a->pieces, err));
	out->alphabet = a->pieces.n;
	plm_learn_release(&l->memory, &a->forms.slots);
	plm_learn_release(&l->memory, &a->list);
	PLM_TRY(plm_learn_merge(l, &a->pieces, l->options.vocabulary, err));
	out->pieces = l->pieces.texts.n;
	return PLM_OK;
}

PlmStatus
plm_learner_finish(PlmLearner *l, PlmArena *arena, PlmLearnt *out, PlmError *err)
{
	Alphabet	a = {.forms = {.n = 0}};
	PlmStatus	status;

	memset(out, 0, sizeof(*out));
	status = learn(l, &a, out, err);
	plm_learn_release(&l->memory, &a.forms.slots);
	plm_learn_release(&l->memory, &a.pieces.slots);
	plm_learn_release(&l->memory, &a.characters);
	plm_learn_release(&l->memory, &a.list);
	return status == PLM_OK ? write_files(l, arena, out, err) : status;
}
