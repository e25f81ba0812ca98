/*
 * fn_train_tokenizer.c -- train_tokenizer: a vocabulary learnt from the texts of a caller's query, kept as a model of its own.
 *
 * The model has the tokenizer's files and no weights; product_llm.json says so.  tokenize() and count_tokens() take it,
 * pretraining starts from it.
 */
#include "catalog.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "query.h"

static const PlmpgQuerySpec corpus = {
	.what = "corpus",
	.hint = "It yields one column of text: 'SELECT title FROM product'.",
	.least = 1,
	.most = 1,
	.columns = {{"text", PLMPG_COLUMN_TEXT, true}}
};

/* ---- options ---- */

static bool
boolean_option(const char *key, const JsonbValue *value)
{
	if (value->type != jbvBool)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be true or false", key),
				 errhint("For example '{\"lowercase\": false}'.")));
	return value->val.boolean;
}

static int32
integer_option(const char *key, const JsonbValue *value)
{
	double		number;

	if (value->type != jbvNumeric)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be a whole number", key),
				 errhint("For example '{\"%s\": 100}'.", key)));
	number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	if (number != floor(number) || number < 1 || number > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be a whole number between 1 and %d", key, PG_INT32_MAX),
				 errhint("For example '{\"%s\": 100}'.", key)));
	return (int32) number;
}

static void
set_option(PlmLearnOptions *o, const char *key, const JsonbValue *value, bool *accents_said)
{
	if (strcmp(key, "lowercase") == 0)
		o->lowercase = boolean_option(key, value);
	else if (strcmp(key, "strip_accents") == 0)
	{
		o->strip_accents = boolean_option(key, value);
		*accents_said = true;
	}
	else if (strcmp(key, "cjk_pieces") == 0)
		o->cjk_pieces = boolean_option(key, value);
	else if (strcmp(key, "min_frequency") == 0)
		o->min_frequency = integer_option(key, value);
	else if (strcmp(key, "alphabet") == 0)
		o->alphabet = integer_option(key, value);
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown option \"%s\"", key),
				 errhint("There are: lowercase, strip_accents, min_frequency, alphabet, cjk_pieces.")));
}

static PlmLearnOptions
read_options(int32 vocabulary, Jsonb *options)
{
	PlmLearnOptions o;
	JsonbIterator *it = JsonbIteratorInit(&options->root);
	JsonbValue	v;
	JsonbIteratorToken token;
	bool		accents_said = false;

	plm_learn_defaults(&o);
	o.vocabulary = vocabulary;
	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object"),
				 errhint("For example '{\"min_frequency\": 2}'.")));
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *key;

		if (token != WJB_KEY)
			continue;
		key = pnstrdup(v.val.string.val, v.val.string.len);
		(void) JsonbIteratorNext(&it, &v, true);
		set_option(&o, key, &v, &accents_said);
	}
	/* As the tokenizer itself has it. */
	if (!accents_said)
		o.strip_accents = o.lowercase;
	return o;
}

/* ---- learning ---- */

/* Feed the query's texts; nulls have nothing to teach. */
static int64
add_texts(PlmLearner *learner, text *sql)
{
	PlmpgQuery *q = plmpg_query_open(&corpus, sql);
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "product_llm corpus text", ALLOCSET_DEFAULT_SIZES);
	int64		texts = 0;

	while (plmpg_query_next(q))
	{
		MemoryContext old;
		PlmError	err = {0};

		if (q->nulls[0])
			continue;
		old = MemoryContextSwitchTo(scratch);
		plmpg_check(plm_learner_add(learner, plmpg_utf8(DatumGetTextPP(q->values[0])), &err), &err);
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
		texts++;
	}
	MemoryContextDelete(scratch);
	plmpg_query_close(q);
	return texts;
}

static void
put_file(const char *model, const char *file, PlmText content)
{
	struct varlena *data;
	int32		part = 1;

	for (size_t at = 0; at < content.len || part == 1; part++)
	{
		size_t		n = Min(content.len - at, (size_t) PLMPG_PART_BYTES);

		data = palloc(VARHDRSZ + n);
		SET_VARSIZE(data, VARHDRSZ + n);
		memcpy(VARDATA(data), content.data + at, n);
		plmpg_write_part(model, file, part, data);
		pfree(data);
		at += n;
	}
}

/* What was counted: numbers of the whole corpus, none of its texts. */
static Datum
counts(const PlmLearnt *learnt, const PlmLearnOptions *o)
{
	char	   *json = psprintf("{\"texts\": " INT64_FORMAT ", \"words\": " INT64_FORMAT ", \"different_words\": " INT64_FORMAT
								", \"characters\": " INT64_FORMAT ", \"vocabulary\": " INT64_FORMAT ", \"alphabet\": " INT64_FORMAT
								", \"options\": {\"lowercase\": %s, \"strip_accents\": %s, \"min_frequency\": " INT64_FORMAT
								", \"cjk_pieces\": %s}}",
								learnt->texts, learnt->words, learnt->different_words, learnt->characters, learnt->pieces,
								learnt->alphabet, o->lowercase ? "true" : "false", o->strip_accents ? "true" : "false",
								o->min_frequency, o->cjk_pieces ? "true" : "false");

	return plmpg_jsonb((PlmText) {json, strlen(json)});
}

static void
store_model(const char *model, const char *query, const PlmLearnt *learnt, const PlmLearnOptions *o)
{
	bool		more = false;
	List	   *reads = plmpg_query_reads(&corpus, query, &more);

	put_file(model, "vocab.txt", learnt->vocab_txt);
	put_file(model, "tokenizer_config.json", learnt->tokenizer_config_json);
	put_file(model, "product_llm.json", PLM_TEXT("{\n  \"task\": \"tokenizer\"\n}\n"));
	plmpg_install(model, NULL, NULL, counts(learnt, o));
	plmpg_write_reads(model, plmpg_reads_array(reads), more);
}

PG_FUNCTION_INFO_V1(product_llm_train_tokenizer);

/* train_tokenizer(model, corpus, vocabulary, options) */
Datum
product_llm_train_tokenizer(PG_FUNCTION_ARGS)
{
	char	   *model;
	PlmLearnOptions options;
	PlmHook		hook;
	PlmArena	arena;
	PlmLearner *learner;
	PlmLearnt	learnt;
	PlmError	err = {0};

	for (int i = 0; i < 4; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("model, corpus, vocabulary and options must not be null"),
					 errhint("Leave out what shall have its default.")));
	model = plmpg_model_name(PG_GETARG_TEXT_PP(0));
	options = read_options(PG_GETARG_INT32(2), PG_GETARG_JSONB_P(3));
	plmpg_claim(model, "product_llm.train_tokenizer()", PLMPG_CLAIM_NEW);
	plmpg_arena(&arena, &hook);
	/* What a thrown error leaves goes with the memory context. */
	plmpg_check(plm_learner_open(&options, &hook, (size_t) plmpg_memory_limit_kb * 1024, &learner, &err), &err);
	if (add_texts(learner, PG_GETARG_TEXT_PP(1)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("corpus yields no text"),
				 errhint("%s", corpus.hint)));
	plmpg_check(plm_learner_finish(learner, &arena, &learnt, &err), &err);
	plm_learner_close(learner);
	if (learnt.words == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("there are no words in the corpus"),
				 errhint("All its texts are empty or blank.")));
	if (learnt.pieces < options.vocabulary)
		ereport(NOTICE,
				(errmsg("the vocabulary has " INT64_FORMAT " pieces instead of %d: no other pair occurs %s", learnt.pieces, options.vocabulary,
						options.min_frequency == 1 ? "at all" : psprintf(INT64_FORMAT " times", options.min_frequency))));
	store_model(model, text_to_cstring(PG_GETARG_TEXT_PP(1)), &learnt, &options);
	plm_arena_free(&arena);
	PG_RETURN_VOID();
}
