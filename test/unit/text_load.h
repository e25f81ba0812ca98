/*
 * text_load.h -- what the tests of text/ share: files, and tokenizers compiled from strings.
 */
#ifndef TEXT_LOAD_H
#define TEXT_LOAD_H

#include "unit.h"

#include "../../src/engine/text/plm_text.h"

#define GOLDEN "test/golden/tokenizer/"

static inline const char *
shared(void)
{
	const char *dir = getenv("PLM_SHARED");

	return dir != NULL ? dir : "../shared";
}

/* The whole file, or data NULL; "$PLM_SHARED/..." is looked up there.  Freed by the caller. */
static inline PlmText
slurp(const char *name)
{
	char		path[1024];
	FILE	   *f;
	char	   *data = NULL;
	long		len = -1;

	if (strncmp(name, "$PLM_SHARED/", 12) == 0)
		snprintf(path, sizeof(path), "%s/%s", shared(), name + 12);
	else
		snprintf(path, sizeof(path), "%s", name);
	f = fopen(path, "rb");
	if (f == NULL)
		return (PlmText) {NULL, 0};
	if (fseek(f, 0, SEEK_END) == 0 && (len = ftell(f)) >= 0)
	{
		rewind(f);
		data = malloc((size_t) len + 1);
		if (data != NULL && fread(data, 1, (size_t) len, f) != (size_t) len)
			len = 0;
	}
	fclose(f);
	return (PlmText) {data, len < 0 ? 0 : (size_t) len};
}

typedef struct Loaded
{
	PlmArena	arena;
	void	   *blob;
	size_t		bytes;
	PlmTokenizer t;
	PlmError	err;
	PlmStatus	status;
} Loaded;

static inline void
compile(Loaded *l, PlmTokenizerFiles files)
{
	memset(l, 0, sizeof(*l));
	plm_arena_init(&l->arena, &plm_libc_hook, 0);
	l->status = plm_tokenizer_compile(&files, &l->arena, &l->blob, &l->bytes, &l->err);
	if (l->status == PLM_OK)
		l->status = plm_tokenizer_open(l->blob, l->bytes, &l->t, &l->err);
}

static inline PlmText
span(const char *s)
{
	return (PlmText) {s, s != NULL ? strlen(s) : 0};
}

static inline void
compile_vocab(Loaded *l, const char *vocab, const char *config)
{
	compile(l, (PlmTokenizerFiles) {.vocab_txt = span(vocab),.tokenizer_config_json = span(config)});
}

static inline void
compile_json(Loaded *l, const char *json)
{
	compile(l, (PlmTokenizerFiles) {.tokenizer_json = span(json)});
}

/* The own vocabulary with the defaults. */
static inline void
own(Loaded *l)
{
	PlmText		vocab = slurp(GOLDEN "own_vocab.txt");

	compile(l, (PlmTokenizerFiles) {.vocab_txt = vocab});
	free((char *) vocab.data);
}

static inline PlmStatus
encode(Loaded *l, PlmText text, int64_t max, PlmEncoding *e)
{
	return plm_encode(&l->t, text, NULL, max, NULL, &l->arena, e, &l->err);
}

#endif							/* TEXT_LOAD_H */
