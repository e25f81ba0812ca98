/*
 * fuzz_config.c -- the configuration files of a model directory; whatever is accepted is in range.
 */
#include "files.h"

#include <stdlib.h>

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const char *const fuzz_words[] = {
	"\"architectures\"", "\"BertModel\"", "\"BertForMaskedLM\"", "\"BertForSequenceClassification\"", "\"DistilBertModel\"",
	"\"DistilBertForSequenceClassification\"", "\"model_type\"", "\"bert\"", "\"distilbert\"", "\"hidden_size\"", "\"dim\"",
	"\"num_attention_heads\"", "\"id2label\"", "\"num_labels\"", "\"problem_type\"", "\"regression\"", "\"pad_token_id\"",
	"\"sentence_transformers\"", "\"activation_fn\"", "\"torch.nn.modules.linear.Identity\"", "\"pooling_mode_cls_token\"",
	"\"pooling_mode_max_tokens\"", "\"pooling_mode\"", "\"include_prompt\"", "\"prompts\"", "\"default_prompt_name\"", "\"query\"",
	"\"max_seq_length\"", "\"model_max_length\"", "\"sentence_transformers.models.Dense\"", "\"sentence_transformers.models.Normalize\"",
	"\"sentence_transformers.models.Pooling\"", "\"in_features\"", "\"out_features\"", "\"precision\"", "\"pooling\"",
	"=== config.json\n", "=== modules.json\n", "=== 1_Pooling/config.json\n", "=== 2_Dense/config.json\n",
	"=== tokenizer_config.json\n", "=== product_llm.json\n", NULL
};

static void
must(bool truth)
{
	if (!truth)
		abort();
}

static void
check(const PlmConfig *c, const PlmText *labels)
{
	int64_t		width = (int64_t) c->width * c->n_pooling;

	must(c->width >= 1 && c->width <= 16384 && c->heads >= 1 && c->width % c->heads == 0);
	must(c->layers >= 1 && c->layers <= 256 && c->ff >= 1 && c->vocab >= 1 && c->vocab <= 4 << 20);
	must(c->positions >= 1 && c->positions <= 1 << 20 && c->max_tokens >= 1 && c->max_tokens <= c->positions);
	must(c->pad_token >= -1 && c->pad_token < c->vocab && c->norm_eps > 0.0f);
	must(c->n_pooling >= 1 && c->n_pooling <= 6 && c->n_dense >= 0 && c->n_dense <= PLM_MAX_DENSE);
	for (int32_t i = 0; i < c->n_dense; i++)
	{
		must(c->dense[i].in == width && memchr(c->dense[i].folder, '\0', sizeof(c->dense[i].folder)) != NULL);
		width = c->dense[i].out;
	}
	must(c->dimensions == width);
	must(memchr(c->prompt_query, '\0', sizeof(c->prompt_query)) != NULL);
	must(memchr(c->prompt_document, '\0', sizeof(c->prompt_document)) != NULL);
	must(c->labels >= 0 && c->labels <= PLM_MAX_LABELS);
	for (int32_t i = 0; i < c->labels; i++)
		must(strlen(labels[i].data) == labels[i].len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	PlmArena	arena;
	PlmError	err;
	PlmConfig	config;
	PlmText    *labels;
	PlmPrecision precision;
	FuzzFiles	files;
	PlmStatus	status;

	plm_arena_init(&arena, &plm_libc_hook, (size_t) 64 << 20);
	fuzz_files(data, size, "config.json", &files);
	status = plm_config_read(&files.set, &arena, &config, &labels, &err);
	must(status != PLM_EINTERNAL);
	if (status == PLM_OK)
		check(&config, labels);
	if (plm_config_precision(&files.set, &arena, &precision, &err) == PLM_OK)
		must((int) precision >= 0 && precision < PLM_PRECISIONS);
	plm_arena_free(&arena);
	return 0;
}
