/*
 * fuzz_tokenizer_json.c -- tokenizer.json: refused with a reason, or a tokenizer that works.
 */
#include "tokenizer.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const char *const fuzz_words[] = {
	"\"model\"", "\"type\"", "\"WordPiece\"", "\"BPE\"", "\"vocab\"", "\"unk_token\"", "\"[UNK]\"", "\"##a\"",
	"\"continuing_subword_prefix\"", "\"max_input_chars_per_word\"", "\"normalizer\"", "\"normalizers\"", "\"BertNormalizer\"",
	"\"clean_text\"", "\"handle_chinese_chars\"", "\"strip_accents\"", "\"lowercase\"", "\"Lowercase\"", "\"NFC\"", "\"NFD\"",
	"\"NFKC\"", "\"NFKD\"", "\"StripAccents\"", "\"Strip\"", "\"strip_left\"", "\"strip_right\"", "\"Replace\"", "\"pattern\"",
	"\"String\"", "\"content\"", "\"Prepend\"", "\"prepend\"", "\"Sequence\"", "\"pre_tokenizer\"", "\"pretokenizers\"",
	"\"BertPreTokenizer\"", "\"Whitespace\"", "\"WhitespaceSplit\"", "\"Punctuation\"", "\"behavior\"", "\"Removed\"",
	"\"Isolated\"", "\"Contiguous\"", "\"MergedWithPrevious\"", "\"MergedWithNext\"", "\"Digits\"", "\"individual_digits\"",
	"\"post_processor\"", "\"BertProcessing\"", "\"TemplateProcessing\"", "\"single\"", "\"pair\"", "\"SpecialToken\"", "\"A\"",
	"\"B\"", "\"type_id\"", "\"special_tokens\"", "\"ids\"", "\"added_tokens\"", "\"single_word\"", "\"lstrip\"", "\"rstrip\"",
	"\"normalized\"", "\"special\"", "\"truncation\"", "\"max_length\"", "\"strategy\"", "\"LongestFirst\"", "\"OnlyFirst\"",
	"\"OnlySecond\"", "\"direction\"", "\"Left\"", "\"decoder\"", "\"prefix\"", "\"cleanup\"", "true", "false", "null", "1e9", NULL
};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	PlmTokenizerFiles files = {.tokenizer_json = {(const char *) data, size}};

	fuzz_compile(&files, PLM_TEXT(FUZZ_TEXT));
	return 0;
}
