/*
 * fuzz_vocab.c -- vocab.txt and the small files beside it: refused with a reason, or a tokenizer that works.
 */
#include "files.h"
#include "tokenizer.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const char *const fuzz_words[] = {
	"=== vocab.txt\n", "=== tokenizer_config.json\n", "=== special_tokens_map.json\n", "=== added_tokens.json\n",
	"[PAD]\n", "[UNK]\n", "[CLS]\n", "[SEP]\n", "[MASK]\n", "##", "\r\n", "\"do_lower_case\"", "\"tokenize_chinese_chars\"",
	"\"strip_accents\"", "\"model_max_length\"", "\"tokenizer_class\"", "\"BertTokenizer\"", "\"added_tokens_decoder\"",
	"\"additional_special_tokens\"", "\"cls_token\"", "\"unk_token\"", "\"content\"", "\"normalized\"", "\"special\"",
	"\"lstrip\"", "\"rstrip\"", "\"single_word\"", "true", "false", "null", NULL
};

/* The bytes of a memory source, or data NULL. */
static PlmText
find(FuzzFiles *files, const char *name, char **copy)
{
	const PlmSource *source = NULL;
	PlmError	err;

	*copy = NULL;
	for (int i = 0; i < files->set.n; i++)
		if (strcmp(files->sources[i].name, name) == 0)
			source = &files->sources[i];
	if (source == NULL)
		return (PlmText) {NULL, 0};
	/* A block of exactly its size: reading past it is seen. */
	*copy = malloc(source->size > 0 ? (size_t) source->size : 1);
	must(*copy != NULL && source->read(source->arg, 0, (size_t) source->size, *copy, &err) == PLM_OK);
	return (PlmText) {*copy, (size_t) source->size};
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzFiles	files;
	char	   *copies[4];
	PlmTokenizerFiles tokenizer = {.tokenizer_json = {NULL, 0}};

	fuzz_files(data, size, "vocab.txt", &files);
	tokenizer.vocab_txt = find(&files, "vocab.txt", &copies[0]);
	tokenizer.tokenizer_config_json = find(&files, "tokenizer_config.json", &copies[1]);
	tokenizer.special_tokens_map_json = find(&files, "special_tokens_map.json", &copies[2]);
	tokenizer.added_tokens_json = find(&files, "added_tokens.json", &copies[3]);
	fuzz_compile(&tokenizer, PLM_TEXT(FUZZ_TEXT));
	for (int i = 0; i < 4; i++)
		free(copies[i]);
	return 0;
}
