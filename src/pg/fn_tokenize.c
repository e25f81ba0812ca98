/*
 * fn_tokenize.c -- tokenize() and count_tokens(): what a model sees of a text.
 */
#include "fn.h"

#include "funcapi.h"
#include "utils/tuplestore.h"

/* Token i as a row; the offsets of a token that came from no place in the text are NULL. */
static void
put_token(Tuplestorestate *rows, TupleDesc desc, const PlmTokenizer *tokenizer, const PlmEncoding *encoding, int64 i,
		  PlmpgPlace *place)
{
	PlmText		token = plm_token_text(tokenizer, encoding->ids[i]);
	Datum		values[5];
	bool		nulls[5] = {false};

	values[0] = Int32GetDatum((int32) (i + 1));
	values[1] = Int32GetDatum(encoding->ids[i]);
	nulls[2] = token.data == NULL;
	values[2] = nulls[2] ? (Datum) 0 : PointerGetDatum(plmpg_text(token));
	nulls[3] = nulls[4] = encoding->start[i] < 0;
	if (!nulls[3])
	{
		int32		start_at;
		int32		length;

		plmpg_place_span(place, encoding->start[i], encoding->end[i], &start_at, &length);
		values[3] = Int32GetDatum(start_at);
		values[4] = Int32GetDatum(length);
	}
	tuplestore_putvalues(rows, desc, values, nulls);
}

/* tokenize(model, input, truncate) -> table(ordinal, id, token, start_at, length) */
PG_FUNCTION_INFO_V1(product_llm_tokenize);
Datum
product_llm_tokenize(PG_FUNCTION_ARGS)
{
	const PlmpgModel *model = plmpg_memo_tokenizer(plmpg_memo(fcinfo), PG_GETARG_TEXT_PP(0));
	PlmText		input = plmpg_utf8(PG_GETARG_TEXT_PP(1));
	bool		truncate = PG_GETARG_BOOL(2);
	const PlmTokenizer *tokenizer = plm_model_tokenizer(model->model);
	TupleDesc	desc;
	Tuplestorestate *rows = plmpg_result_set(fcinfo, &desc);
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "product_llm token", ALLOCSET_SMALL_SIZES);
	PlmHook		hook;
	PlmArena	arena;
	PlmRun		run;
	PlmWorker	worker;
	PlmEncoding encoding;
	PlmError	err = {0};
	PlmpgPlace	place = plmpg_place(input);

	plmpg_arena(&arena, &hook);
	worker = plm_main_worker(&run, &hook);
	plmpg_check(plm_encode(tokenizer, input, NULL, truncate ? model->config->max_tokens : 0, &worker, &arena,
						   &encoding, &err), &err);
	for (int64 i = 0; i < encoding.n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(row);

		put_token(rows, desc, tokenizer, &encoding, i, &place);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row);
	}
	plm_arena_free(&arena);
	MemoryContextDelete(row);
	return (Datum) 0;
}

/* count_tokens(model, input) -> integer: before truncation, special tokens included */
PG_FUNCTION_INFO_V1(product_llm_count_tokens);
Datum
product_llm_count_tokens(PG_FUNCTION_ARGS)
{
	const PlmpgModel *model = plmpg_memo_tokenizer(plmpg_memo(fcinfo), PG_GETARG_TEXT_PP(0));
	PlmText		input = plmpg_utf8(PG_GETARG_TEXT_PP(1));
	PlmHook		hook;
	PlmArena	arena;
	PlmRun		run;
	PlmWorker	worker;
	PlmError	err = {0};
	int64		count;

	plmpg_arena(&arena, &hook);
	worker = plm_main_worker(&run, &hook);
	plmpg_check(plm_count_tokens(plm_model_tokenizer(model->model), input, &worker, &arena, &count, &err), &err);
	plm_arena_free(&arena);
	PG_RETURN_INT32((int32) count);
}
