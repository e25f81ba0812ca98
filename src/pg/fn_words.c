/*
 * fn_words.c -- segment(), term_distance() and term_grams(): words for an index, and how near they are.
 */
#include "fn.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

/*
 * Terms in the database encoding.  Folding may have made a character that the encoding lacks (a Greek mu of a Latin-1 micro
 * sign): it becomes a space, in documents and in queries alike.
 */
static text *
terms_text(PlmText terms)
{
	int			encoding = GetDatabaseEncoding();
	Oid			conversion;
	StringInfoData out;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return plmpg_text(terms);
	conversion = FindDefaultConversionProc(PG_UTF8, encoding);
	if (!OidIsValid(conversion))
		return plmpg_text(terms);	/* which says what is missing */
	initStringInfo(&out);
	for (size_t at = 0; at < terms.len;)
	{
		int			piece = (int) Min(terms.len - at, 1024 * 1024);
		int			room = piece * MAX_CONVERSION_GROWTH + 1;
		int			taken;

		enlargeStringInfo(&out, room);
		taken = pg_do_encoding_conversion_buf(conversion, PG_UTF8, encoding, (unsigned char *) terms.data + at, piece,
											  (unsigned char *) out.data + out.len, room, true);
		out.len += (int) strlen(out.data + out.len);
		at += taken;
		if (taken < piece)
		{
			/* A piece may end inside a character, which the next one then begins with. */
			int			len = pg_utf_mblen((const unsigned char *) terms.data + at);

			if (taken == 0 || piece - taken >= len)
			{
				appendStringInfoChar(&out, ' ');
				at += len;
			}
		}
	}
	return cstring_to_text_with_len(out.data, out.len);
}

/* segment(input, kind) -> text */
PG_FUNCTION_INFO_V1(product_llm_segment);
Datum
product_llm_segment(PG_FUNCTION_ARGS)
{
	PlmText		input = plmpg_utf8(PG_GETARG_TEXT_PP(0));
	PlmKind		kind = plmpg_kind(PG_GETARG_TEXT_PP(1));
	PlmHook		hook;
	PlmArena	arena;
	PlmRun		run;
	PlmWorker	worker;
	PlmText		terms;
	PlmError	err = {0};
	text	   *result;

	plmpg_arena(&arena, &hook);
	worker = plm_main_worker(&run, &hook);
	plmpg_check(plm_segment(input, kind == PLM_KIND_QUERY, &worker, &arena, &terms, &err), &err);
	result = terms_text(terms);
	plm_arena_free(&arena);
	PG_RETURN_TEXT_P(result);
}

/* term_distance(a, b, most) -> integer */
PG_FUNCTION_INFO_V1(product_llm_term_distance);
Datum
product_llm_term_distance(PG_FUNCTION_ARGS)
{
	PlmText		a = plmpg_utf8(PG_GETARG_TEXT_PP(0));
	PlmText		b = plmpg_utf8(PG_GETARG_TEXT_PP(1));
	int32		most = PG_GETARG_INT32(2);
	PlmHook		hook;
	PlmArena	arena;
	PlmRun		run;
	PlmWorker	worker;
	int64		distance;
	PlmError	err = {0};

	plmpg_arena(&arena, &hook);
	worker = plm_main_worker(&run, &hook);
	plmpg_check(plm_term_distance(a, b, most, &worker, &arena, &distance, &err), &err);
	plm_arena_free(&arena);
	PG_RETURN_INT32((int32) Min(distance, PG_INT32_MAX));
}

/* term_grams(term) -> text[] */
PG_FUNCTION_INFO_V1(product_llm_term_grams);
Datum
product_llm_term_grams(PG_FUNCTION_ARGS)
{
	PlmText		term = plmpg_utf8(PG_GETARG_TEXT_PP(0));
	PlmHook		hook;
	PlmArena	arena;
	PlmRun		run;
	PlmWorker	worker;
	PlmText    *grams;
	int64		n;
	Datum	   *values;
	ArrayType  *result;
	PlmError	err = {0};

	plmpg_arena(&arena, &hook);
	worker = plm_main_worker(&run, &hook);
	plmpg_check(plm_term_grams(term, &worker, &arena, &grams, &n, &err), &err);
	if (n > (int64) MaxArraySize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("term of %zu bytes is too long", term.len)));
	values = palloc(n * sizeof(Datum));
	for (int64 i = 0; i < n; i++)
		values[i] = PointerGetDatum(plmpg_text(grams[i]));
	plm_arena_free(&arena);
	result = construct_array(values, (int) n, TEXTOID, -1, false, TYPALIGN_INT);
	PG_RETURN_ARRAYTYPE_P(result);
}
