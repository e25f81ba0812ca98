/*
 * tokenizer.h -- what the fuzz targets of text/ share: use a tokenizer in every way and check what must hold.
 */
#ifndef FUZZ_TOKENIZER_H
#define FUZZ_TOKENIZER_H

#include "../../src/engine/text/plm_text.h"

#include <stdlib.h>
#include <string.h>

static inline void
must(bool truth)
{
	if (!truth)
		abort();
}

/* sound: the blob was compiled and not damaged, so results must also agree with each other. */
static inline void
fuzz_use(const PlmTokenizer *t, PlmText text, bool sound)
{
	PlmArena	arena;
	PlmEncoding all,
				some;
	PlmError	err;
	PlmText		out;
	int64_t		count = -1;
	PlmText		half = {text.data, text.len / 2};

	plm_arena_init(&arena, &plm_libc_hook, (size_t) 128 << 20);
	if (plm_encode(t, text, NULL, 0, NULL, &arena, &all, &err) == PLM_OK)
	{
		for (int64_t i = 0; i < all.n; i++)
		{
			must(all.ids[i] >= 0 && all.ids[i] < t->tokens);
			must(all.start[i] >= -1 && all.end[i] <= (int64_t) text.len);
			must(!sound || all.start[i] <= all.end[i]);
		}
		must(plm_count_tokens(t, text, NULL, &arena, &count, &err) != PLM_OK || !sound || count == all.n);
		if (plm_encode(t, text, NULL, 9, NULL, &arena, &some, &err) == PLM_OK && sound)
			must(some.n == (all.n < 9 ? all.n : 9) && some.truncated == (all.n > 9));
		must(plm_decode(t, all.ids, all.n, true, &arena, &out, &err) != PLM_OK || strlen(out.data) <= out.len);
	}
	if (plm_encode(t, half, &text, 12, NULL, &arena, &some, &err) == PLM_OK)
		must(!sound || some.n <= 12);
	plm_arena_free(&arena);
}

/* Compile; what compiles must open and can then be used. */
static inline void
fuzz_compile(const PlmTokenizerFiles *files, PlmText text)
{
	PlmArena	arena;
	PlmError	err = {.code = PLM_OK};
	PlmTokenizer t;
	void	   *blob;
	size_t		bytes;
	PlmStatus	status;

	plm_arena_init(&arena, &plm_libc_hook, (size_t) 256 << 20);
	status = plm_tokenizer_compile(files, &arena, &blob, &bytes, &err);
	must(status == err.code && status != PLM_EINTERNAL);
	if (status == PLM_OK)
	{
		must(plm_tokenizer_open(blob, bytes, &t, &err) == PLM_OK);
		for (int32_t i = 0; i < t.tokens && i < 1000; i++)
			must(plm_token_text(&t, i).len == 0 || plm_token_id(&t, plm_token_text(&t, i)) == i);
		fuzz_use(&t, text, true);
	}
	plm_arena_free(&arena);
}

#define FUZZ_TEXT "The caf\xc3\xa9 tea\xcc\x81 [MASK] \xe8\x8c\xb6! unaff [SEP]  aab 12 '\xc2\xbd' \xf0\x9f\x98\x80 \xe0\xa5\x98\xef\xb7\xba"

#endif							/* FUZZ_TOKENIZER_H */
