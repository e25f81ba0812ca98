/*
 * fuzz_encode.c -- texts through tokenizers of different rules, and through damaged blobs.
 *
 * The first byte chooses: 0 to 127 the tokenizer for the rest as text; 128 to 255 that blob, changed at
 * as many places as the next byte modulo 16 says, each given by three bytes (place, place, value).
 */
#include "tokenizer.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const char *const fuzz_words[] = {
	"[CLS]", "[MASK]", "##", "tea", " fox", "\xc3\xa9", "\xcc\x81", "\xcc\xa3", "\xe8\x8c\xb6", "\xe3\x80\x80", "\xe2\x80\x8b",
	"\xef\xb7\xba", "\xcd\x84", "\xe1\xad\x84", "\xf0\x9d\x85\xa5", "\xea\xb0\x80", "\xf0\x9f\x98\x80", "\xed\xa0\x80", "\xff", NULL
};

#define MODEL "\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", \"max_input_chars_per_word\": 12, " \
	"\"continuing_subword_prefix\": \"##\", \"vocab\": {\"[PAD]\": 0, \"[UNK]\": 1, \"[CLS]\": 2, \"[SEP]\": 3, \"a\": 4, " \
	"\"##a\": 5, \"te\": 6, \"##e\": 7, \"x-y\": 8, \"\\u00e9\": 9, \"\\u8336\": 10, \"e\\u0301\": 11, \"##\\u0301\": 12}}"
#define POST "\"post_processor\": {\"type\": \"BertProcessing\", \"sep\": [\"[SEP]\", 3], \"cls\": [\"[CLS]\", 2]}"
#define ADDED(content, id, single, left, right, normal) "{\"content\": \"" content "\", \"id\": " id ", \"single_word\": " single \
	", \"lstrip\": " left ", \"rstrip\": " right ", \"normalized\": " normal ", \"special\": false}"
#define ADDED_TOKENS "\"added_tokens\": [" ADDED("[CLS]", "2", "false", "false", "false", "false") ", " \
	ADDED("tea", "13", "true", "true", "false", "false") ", " ADDED(" fox", "14", "false", "false", "true", "false") ", " \
	ADDED("\\u00c9", "15", "false", "true", "true", "true") ", " ADDED("AA", "16", "true", "false", "true", "true") "]"

static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nt\n##e\ntea\n##s\ne\n\xe8\x8c\xb6\n!\n'\nthe\n";
static const char *const jsons[] = {
	"{" MODEL ", " POST ", " ADDED_TOKENS ", \"normalizer\": {\"type\": \"BertNormalizer\", \"clean_text\": true, "
	"\"handle_chinese_chars\": true, \"strip_accents\": null, \"lowercase\": true}, \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}, "
	"\"decoder\": {\"type\": \"WordPiece\", \"prefix\": \"##\", \"cleanup\": true}}",
	"{" MODEL ", " POST ", \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \"te\"}, "
	"{\"type\": \"NFKC\"}, {\"type\": \"Strip\", \"strip_left\": true, \"strip_right\": true}, {\"type\": \"Replace\", \"pattern\": "
	"{\"String\": \"aab\"}, \"content\": \"x-y\"}, {\"type\": \"Replace\", \"pattern\": {\"String\": \"e\"}, \"content\": \"\"}]}, "
	"\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Whitespace\"}, {\"type\": \"Digits\", "
	"\"individual_digits\": true}]}, \"truncation\": {\"max_length\": 9, \"strategy\": \"LongestFirst\", \"direction\": \"Left\"}}",
	"{" MODEL ", " ADDED_TOKENS ", \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFD\"}, {\"type\": \"Lowercase\"}, "
	"{\"type\": \"NFC\"}]}, \"pre_tokenizer\": {\"type\": \"Punctuation\", \"behavior\": \"MergedWithNext\"}}"
};

typedef struct Ready
{
	PlmArena	arena;
	void	   *blob;
	size_t		bytes;
	PlmTokenizer t;
} Ready;

static Ready ready[1 + sizeof(jsons) / sizeof(jsons[0])];

static void
prepare(void)
{
	for (int64_t i = 0; i < PLM_COUNT(ready); i++)
	{
		PlmTokenizerFiles files = {.tokenizer_json = {NULL, 0}};
		PlmError	err;

		if (i == 0)
			files.vocab_txt = (PlmText) {vocab, sizeof(vocab) - 1};
		else
			files.tokenizer_json = (PlmText) {jsons[i - 1], strlen(jsons[i - 1])};
		plm_arena_init(&ready[i].arena, &plm_libc_hook, 0);
		must(plm_tokenizer_compile(&files, &ready[i].arena, &ready[i].blob, &ready[i].bytes, &err) == PLM_OK &&
			 plm_tokenizer_open(ready[i].blob, ready[i].bytes, &ready[i].t, &err) == PLM_OK);
	}
}

static void
damaged(const Ready *r, const uint8_t *data, size_t size)
{
	size_t		places = size > 0 ? data[0] % 16u : 0;
	unsigned char *copy = malloc(r->bytes);
	PlmTokenizer t;
	PlmError	err;

	must(copy != NULL);
	memcpy(copy, r->blob, r->bytes);
	for (size_t at = 1; places > 0 && size - at >= 3; at += 3, places--)
		copy[(data[at] | (size_t) data[at + 1] << 8) % r->bytes] = data[at + 2];
	if (plm_tokenizer_open(copy, r->bytes, &t, &err) == PLM_OK)
		fuzz_use(&t, PLM_TEXT(FUZZ_TEXT), false);
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const Ready *r;
	char	   *exact;

	if (ready[0].blob == NULL)
		prepare();
	if (size == 0)
		return 0;
	r = &ready[data[0] % (uint8_t) PLM_COUNT(ready)];
	if (data[0] >= 128)
	{
		damaged(r, data + 1, size - 1);
		return 0;
	}
	exact = malloc(size);
	must(exact != NULL);
	memcpy(exact, data + 1, size - 1);
	fuzz_use(&r->t, (PlmText) {exact, size - 1}, true);
	free(exact);
	return 0;
}
