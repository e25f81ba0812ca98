/*
 * fn_mask.c -- fill_mask(): the likeliest tokens for the masked place of a text.
 */
#include "fn.h"

#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#define MAX_TOP 1000

/* What every model's mask token may be called, whatever its own is. */
#define COMMON_MASK PLM_TEXT("[MASK]")

/* First place of needle in haystack at or after from, or -1. */
static int64
find(PlmText haystack, PlmText needle, size_t from)
{
	const char *at;

	if (from > haystack.len)
		return -1;
	at = memmem(haystack.data + from, haystack.len - from, needle.data, needle.len);
	return at == NULL ? -1 : at - haystack.data;
}

/* Every [MASK] replaced by the model's own mask token. */
static PlmText
with_own_mask(PlmText text, PlmText mask)
{
	StringInfoData out;
	size_t		from = 0;
	int64		at;

	if (mask.len == COMMON_MASK.len && memcmp(mask.data, COMMON_MASK.data, mask.len) == 0)
		return text;
	if (find(text, COMMON_MASK, 0) < 0)
		return text;
	initStringInfo(&out);
	while ((at = find(text, COMMON_MASK, from)) >= 0)
	{
		appendBinaryStringInfo(&out, text.data + from, at - from);
		appendBinaryStringInfo(&out, mask.data, mask.len);
		from = at + COMMON_MASK.len;
	}
	appendBinaryStringInfo(&out, text.data + from, text.len - from);
	return (PlmText) {out.data, out.len};
}

/* Write the model's own mask token into the text; errors for a model without such a head, or a text without a mask. */
static void
require_mask(const PlmpgModel *model, PlmText *input)
{
	const PlmTokenizer *tokenizer = plm_model_tokenizer(model->model);
	PlmText		mask = {NULL, 0};

	if (tokenizer->mask >= 0)
		mask = plm_token_text(tokenizer, tokenizer->mask);
	if (!plm_model_can(model->model, PLM_TASK_MASKED_LM) || mask.data == NULL || mask.len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("model \"%s\" cannot fill masks: its task is %s", model->name,
						plm_task_name(model->config->task)),
				 errhint("Use a model with a masked-language-modelling head.")));
	*input = with_own_mask(*input, mask);
	if (find(*input, mask, 0) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no mask to fill in the text"),
				 errhint("Write %s where a token is wanted.", text_to_cstring(plmpg_text(mask)))));
}

/* One candidate as a row; the encoding holds its id in the masked place while its text is written. */
static void
put_candidate(Tuplestorestate *rows, TupleDesc desc, const PlmTokenizer *tokenizer, PlmEncoding *encoding,
			  int64 position, PlmCandidate candidate, PlmArena *arena)
{
	PlmMark		mark = plm_arena_mark(arena);
	PlmText		token = plm_token_text(tokenizer, candidate.id);
	PlmText		filled;
	PlmError	err = {0};
	Datum		values[3];
	bool		nulls[3] = {false};

	encoding->ids[position] = candidate.id;
	plmpg_check(plm_decode(tokenizer, encoding->ids, encoding->n, true, arena, &filled, &err), &err);
	nulls[0] = token.data == NULL;
	values[0] = nulls[0] ? (Datum) 0 : PointerGetDatum(plmpg_text(token));
	values[1] = Float4GetDatum(candidate.probability);
	values[2] = PointerGetDatum(plmpg_text(filled));
	tuplestore_putvalues(rows, desc, values, nulls);
	plm_arena_rewind(arena, mark);
}

/* fill_mask(model, input, top) -> table(token, probability, filled), best first */
PG_FUNCTION_INFO_V1(product_llm_fill_mask);
Datum
product_llm_fill_mask(PG_FUNCTION_ARGS)
{
	const PlmpgModel *model = plmpg_memo_model(plmpg_memo(fcinfo), PG_GETARG_TEXT_PP(0));
	const PlmTokenizer *tokenizer = plm_model_tokenizer(model->model);
	PlmText		input = plmpg_utf8(PG_GETARG_TEXT_PP(1));
	int32		top = PG_GETARG_INT32(2);
	TupleDesc	desc;
	Tuplestorestate *rows = plmpg_result_set(fcinfo, &desc);
	PlmHook		hook;
	PlmArena	arena;
	PlmOptions	options;
	PlmEncoding encoding;
	PlmCandidate *candidates;
	int64		position,
				found;
	PlmError	err = {0};

	if (top < 1 || top > MAX_TOP)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("top is %d, outside 1 .. %d", top, MAX_TOP)));
	require_mask(model, &input);

	plmpg_arena(&arena, &hook);
	options = plmpg_options(&hook);
	candidates = palloc(top * sizeof(PlmCandidate));
	plmpg_check(plm_fill_mask(model->model, input, top, &options, &arena, &encoding, &position, candidates, &found,
							  &err), &err);
	for (int64 i = 0; i < found; i++)
		put_candidate(rows, desc, tokenizer, &encoding, position, candidates[i], &arena);
	plm_arena_free(&arena);
	return (Datum) 0;
}
