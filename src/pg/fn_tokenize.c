/*
 * fn_tokenize.c -- tokenize() and count_tokens(): what a model sees of a text.
 */
#include "fn.h"

#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/tuplestore.h"

/*
 * A place in a UTF-8 text, known both in bytes and in characters as substr() counts them, which under
 * SQL_ASCII are bytes.
 */
typedef struct Place
{
	bool		bytes_are_characters;
	int64		byte;
	int64		character;
} Place;

/* A byte that begins a character, not one that continues it. */
static inline bool
begins_character(const Place *place, char c)
{
	return place->bytes_are_characters || ((unsigned char) c & 0xC0) != 0x80;
}

/* Characters that begin before `byte`: goes on from the last place asked for, or back if it lies behind. */
static int64
characters_before(PlmText input, Place *place, int64 byte)
{
	while (place->byte < byte)
		place->character += begins_character(place, input.data[place->byte++]);
	while (place->byte > byte)
		place->character -= begins_character(place, input.data[--place->byte]);
	return place->character;
}

/* Token i as a row; the offsets of a token that came from no place in the text are NULL. */
static void
put_token(Tuplestorestate *rows, TupleDesc desc, const PlmTokenizer *tokenizer, PlmText input,
		  const PlmEncoding *encoding, int64 i, Place *place)
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
		int64		start = encoding->start[i];
		int64		first;

		/* A token may begin inside a character (byte-level vocabularies): then it starts at that character. */
		while (start > 0 && start < (int64) input.len && !begins_character(place, input.data[start]))
			start--;
		first = characters_before(input, place, start);
		values[3] = Int32GetDatum((int32) (first + 1));
		values[4] = Int32GetDatum((int32) (characters_before(input, place, encoding->end[i]) - first));
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
	Place		place = {.bytes_are_characters = GetDatabaseEncoding() == PG_SQL_ASCII};

	plmpg_arena(&arena, &hook);
	worker = plm_main_worker(&run, &hook);
	plmpg_check(plm_encode(tokenizer, input, NULL, truncate ? model->config->max_tokens : 0, &worker, &arena,
						   &encoding, &err), &err);
	for (int64 i = 0; i < encoding.n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(row);

		put_token(rows, desc, tokenizer, input, &encoding, i, &place);
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
