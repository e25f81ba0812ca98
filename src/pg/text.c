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

/* ---- places in characters ---- */

PlmpgPlace
plmpg_place(PlmText input)
{
	return (PlmpgPlace) {.input = input, .bytes_are_characters = GetDatabaseEncoding() == PG_SQL_ASCII};
}

/* A byte that begins a character, not one that continues it. */
static inline bool
begins_character(const PlmpgPlace *place, char c)
{
	return place->bytes_are_characters || ((unsigned char) c & 0xC0) != 0x80;
}

/* Characters that begin before `byte`. */
static int64
characters_before(PlmpgPlace *place, int64 byte)
{
	while (place->byte < byte)
		place->character += begins_character(place, place->input.data[place->byte++]);
	while (place->byte > byte)
		place->character -= begins_character(place, place->input.data[--place->byte]);
	return place->character;
}

void
plmpg_place_span(PlmpgPlace *place, int64 start, int64 end, int32 *start_at, int32 *length)
{
	int64		first;

	/* A token may begin inside a character (byte-level vocabularies): then it starts at that character. */
	while (start > 0 && start < (int64) place->input.len && !begins_character(place, place->input.data[start]))
		start--;
	first = characters_before(place, start);
	*start_at = (int32) (first + 1);
	*length = (int32) (characters_before(place, end) - first);
}
