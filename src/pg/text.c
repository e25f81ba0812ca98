/*
 * text.c -- between the database's encoding and the engine's UTF-8.
 */
#include "plmpg.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

PlmText
plmpg_utf8(text *input)
{
	text	   *plain = DatumGetTextPP(PointerGetDatum(input));
	char	   *data = VARDATA_ANY(plain);
	int			len = VARSIZE_ANY_EXHDR(plain);
	int			encoding = GetDatabaseEncoding();
	char	   *utf8;

	if (len == 0)
		return PLM_TEXT("");
	if (encoding == PG_UTF8)
		return (PlmText) {data, len};
	if (encoding == PG_SQL_ASCII)
	{
		if (!pg_verify_mbstr(PG_UTF8, data, len, true))
			ereport(ERROR,
					(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
					 errmsg("text in a database with encoding \"SQL_ASCII\" is not UTF-8"),
					 errhint("Convert it first, for example with convert().")));
		return (PlmText) {data, len};
	}
	utf8 = (char *) pg_do_encoding_conversion((unsigned char *) data, len, encoding, PG_UTF8);
	return (PlmText) {utf8, utf8 == data ? (size_t) len : strlen(utf8)};
}

text *
plmpg_text(PlmText utf8)
{
	char	   *data = (char *) utf8.data;
	char	   *converted;

	if (utf8.len == 0)
		return cstring_to_text_with_len("", 0);
	if (utf8.len > MaxAllocSize - VARHDRSZ)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("text of %zu bytes is too long", utf8.len)));
	converted = pg_any_to_server(data, (int) utf8.len, PG_UTF8);
	return cstring_to_text_with_len(converted, converted == data ? (int) utf8.len : (int) strlen(converted));
}
