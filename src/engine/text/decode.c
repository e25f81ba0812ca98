/*
 * decode.c -- text from ids, as the reference decoder writes it.
 */
#include "text_private.h"

#include <string.h>

/* English clean-up of the WordPiece decoder, applied in this order to each token with the space before it. */
static const struct
{
	const char *from;
	const char *to;
}			cleanups[] = {
	{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"},
	{" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}
};

/* Replace in s[0..len) in place (no replacement is longer); returns the new length. */
static size_t
replace_all(char *s, size_t len, const char *from, const char *to)
{
	size_t		from_len = strlen(from),
				to_len = strlen(to),
				out = 0;

	for (size_t i = 0; i < len;)
	{
		if (len - i >= from_len && memcmp(s + i, from, from_len) == 0)
		{
			memcpy(s + out, to, to_len);
			out += to_len;
			i += from_len;
		}
		else
			s[out++] = s[i++];
	}
	return out;
}

/* Write one token; out has room for its text and a space. */
static size_t
write_token(const PlmBlob *b, PlmText text, bool first, char *out)
{
	PlmText		prefix = {plm_blob_string(b, b->decoder_prefix), b->decoder_prefix.len};
	size_t		n = 0;

	if (!first)
	{
		if (b->decoder != 0 && text.len >= prefix.len && memcmp(text.data, prefix.data, prefix.len) == 0)
		{
			text.data += prefix.len;
			text.len -= prefix.len;
		}
		else
			out[n++] = ' ';
	}
	memcpy(out + n, text.data, text.len);
	n += text.len;
	for (int64_t i = 0; b->decoder != 0 && b->decoder_cleanup != 0 && i < PLM_COUNT(cleanups); i++)
		n = replace_all(out, n, cleanups[i].from, cleanups[i].to);
	return n;
}

PlmStatus
plm_decode(const PlmTokenizer *tokenizer, const int32_t *ids, int64_t n, bool skip_special,
		   PlmArena *arena, PlmText *out, PlmError *err)
{
	const PlmBlob *b = plm_blob(tokenizer);
	size_t		room = 1;
	size_t		len = 0;
	bool		first = true;
	char	   *text;

	for (int64_t i = 0; i < n; i++)
		if (!plm_add(room, plm_token_text(tokenizer, ids[i]).len + 1, &room))
			return plm_fail(err, PLM_ELIMIT, 0, "text of %" PRId64 " tokens is too long", n);
	text = plm_arena_alloc(arena, room);
	if (text == NULL)
		return plm_arena_refused(arena, room, err);
	for (int64_t i = 0; i < n; i++)
	{
		PlmText		token = plm_token_text(tokenizer, ids[i]);

		if (token.data == NULL || (skip_special && plm_token_is_special(tokenizer, ids[i])))
			continue;
		len += write_token(b, token, first, text + len);
		first = false;
	}
	text[len] = '\0';
	*out = (PlmText) {text, len};
	return PLM_OK;
}
