/*
 * fuzz_learn.c -- any bytes as a corpus: what is learnt is a vocabulary that the tokenizer reads, in size, and that knows every
 * word of the corpus unless the alphabet was limited.
 *
 * The first four bytes choose the options; texts are divided by newlines.
 */
#include "tokenizer.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const char *const fuzz_words[] = {
	"low", "lower", " ", "\n", "##", "[MASK]", "\xc3\xa9", "\xcc\x81", "\xe8\x8c\xb6", "\xe7\xbb\xbf\xe8\x8c\xb6", "\xe3\x81\x8a", "\xe2\x80\xa8",
	"\xf0\x9f\x98\x80", "\xef\xb7\xba", "\xed\xa0\x80", "\xff", "aaaaaaaa", NULL
};

static void
check(const PlmLearnt *learnt, const PlmLearnOptions *o, PlmText text, PlmArena *arena)
{
	PlmTokenizerFiles files = {.vocab_txt = learnt->vocab_txt, .tokenizer_config_json = learnt->tokenizer_config_json};
	PlmTokenizer t;
	PlmEncoding e;
	PlmError	err;
	void	   *blob;
	size_t		bytes;

	must(learnt->pieces <= o->vocabulary && learnt->pieces >= 5 && learnt->alphabet <= learnt->pieces - 5);
	must(plm_tokenizer_compile(&files, arena, &blob, &bytes, &err) == PLM_OK);
	must(plm_tokenizer_open(blob, bytes, &t, &err) == PLM_OK && t.tokens == learnt->pieces);
	if (o->alphabet != 0 || learnt->pieces == o->vocabulary || plm_encode(&t, text, NULL, 0, NULL, arena, &e, &err) != PLM_OK)
		return;
	/* Unknown is only what the text itself calls so, and words of more than 100 characters. */
	for (int64_t i = 0; i < e.n; i++)
		must(e.ids[i] != t.unk || e.end[i] - e.start[i] >= 100 ||
			 (e.end[i] - e.start[i] >= 5 && memcmp(text.data + e.start[i], "[UNK]", 5) == 0) || learnt->characters > 1000);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	PlmLearnOptions o = {.lowercase = true};
	PlmLearner *learner = NULL;
	PlmLearnt	learnt;
	PlmArena	arena;
	PlmError	err = {.code = PLM_OK};
	PlmStatus	status;
	PlmText		text = {(const char *) data + 4, size - 4};

	if (size < 4)
		return 0;
	o.vocabulary = 6 + (int32_t) data[0] * 4;
	o.min_frequency = 1 + data[1] % 4;
	o.alphabet = data[2];
	o.lowercase = data[3] & 1;
	o.strip_accents = (data[3] & 2) != 0;
	o.cjk_pieces = (data[3] & 4) != 0;
	plm_arena_init(&arena, &plm_libc_hook, (size_t) 256 << 20);
	status = plm_learner_open(&o, &plm_libc_hook, (size_t) 64 << 20, &learner, &err);
	must(status == PLM_OK);
	for (size_t at = 0, end; status == PLM_OK && at < text.len; at = end + 1)
	{
		for (end = at; end < text.len && text.data[end] != '\n';)
			end++;
		status = plm_learner_add(learner, (PlmText) {text.data + at, end - at}, &err);
	}
	if (status == PLM_OK)
		status = plm_learner_finish(learner, &arena, &learnt, &err);
	must(status == err.code && status != PLM_EINTERNAL);
	if (status == PLM_OK)
		check(&learnt, &o, text, &arena);
	plm_learner_close(learner);
	plm_arena_free(&arena);
	return 0;
}
