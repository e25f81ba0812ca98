/*
 * test_config.c -- configurations as the hub has them, and each way in which one can be wrong.
 */
#include "failing_hook.h"
#include "unit.h"

#include "../../src/engine/file/plm_file.h"

#define MAX_FILES 12

/* A directory of files given as strings, and what reading it gave. */
typedef struct Directory
{
	PlmSource	sources[MAX_FILES];
	PlmFileSet	set;
	PlmArena	arena;
	PlmConfig	config;
	PlmText    *labels;
	PlmError	err;
	PlmStatus	status;
} Directory;

static void
add(Directory *d, const char *name, const char *text)
{
	d->sources[d->set.n++] = plm_source_memory(name, text, strlen(text));
}

static void
start(Directory *d)
{
	memset(d, 0, sizeof(*d));
	d->set.files = d->sources;
	plm_arena_init(&d->arena, &plm_libc_hook, 0);
}

static void
read_config(Directory *d)
{
	d->status = plm_config_read(&d->set, &d->arena, &d->config, &d->labels, &d->err);
}

/* One config.json alone. */
static void
read_one(Directory *d, const char *text)
{
	start(d);
	add(d, "config.json", text);
	read_config(d);
}

static void
done(Directory *d)
{
	plm_arena_free(&d->arena);
}

/* ---- directories in the style of well-known models ---- */

#define BERT(architecture, width, layers, heads, ff, vocab) \
	"{\"architectures\": [\"" architecture "\"], \"model_type\": \"bert\", \"attention_probs_dropout_prob\": 0.1," \
	" \"gradient_checkpointing\": false, \"hidden_act\": \"gelu\", \"hidden_dropout_prob\": 0.1, \"hidden_size\": " width "," \
	" \"initializer_range\": 0.02, \"intermediate_size\": " ff ", \"layer_norm_eps\": 1e-12, \"max_position_embeddings\": 512," \
	" \"num_attention_heads\": " heads ", \"num_hidden_layers\": " layers ", \"pad_token_id\": 0," \
	" \"position_embedding_type\": \"absolute\", \"transformers_version\": \"4.8.2\", \"type_vocab_size\": 2," \
	" \"use_cache\": true, \"vocab_size\": " vocab

#define MODULE(index, path, class) \
	"{\"idx\": " index ", \"name\": \"" index "\", \"path\": \"" path "\", \"type\": \"sentence_transformers.models." class "\"}"
#define MEAN_POOLING(width) \
	"{\"word_embedding_dimension\": " width ", \"pooling_mode_cls_token\": false, \"pooling_mode_mean_tokens\": true," \
	" \"pooling_mode_max_tokens\": false, \"pooling_mode_mean_sqrt_len_tokens\": false}"
#define CLS_POOLING(width) \
	"{\"word_embedding_dimension\": " width ", \"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": false," \
	" \"pooling_mode_max_tokens\": false, \"pooling_mode_mean_sqrt_len_tokens\": false}"

static const char three_modules[] =
"[" MODULE("0", "", "Transformer") "," MODULE("1", "1_Pooling", "Pooling") "," MODULE("2", "2_Normalize", "Normalize") "]";

static void
test_sentence_models(void)
{
	Directory	d;
	const PlmConfig *c = &d.config;

	start(&d);
	add(&d, "config.json", BERT("BertModel", "384", "6", "12", "1536", "30522") "}");
	add(&d, "modules.json", three_modules);
	add(&d, "1_Pooling/config.json", MEAN_POOLING("384"));
	add(&d, "sentence_bert_config.json", "{\"max_seq_length\": 256, \"do_lower_case\": false}");
	add(&d, "tokenizer_config.json", "{\"do_lower_case\": true, \"model_max_length\": 512}");
	add(&d, "config_sentence_transformers.json", "{\"__version__\": {\"sentence_transformers\": \"2.0.0\"}}");
	read_config(&d);
	CHECK("all_minilm_reads", d.status == PLM_OK, "%d %s", d.status, d.err.message);
	CHECK("all_minilm_shape", c->width == 384 && c->layers == 6 && c->heads == 12 && c->ff == 1536 && c->vocab == 30522 &&
		  c->positions == 512 && c->types == 2 && c->activation == PLM_ACT_GELU && c->norm_eps == 1e-12f && c->pad_token == 0,
		  "C %d L %d H %d F %d V %d", c->width, c->layers, c->heads, c->ff, c->vocab);
	CHECK("all_minilm_embeds_by_mean_of_256_tokens", c->task == PLM_TASK_EMBEDDING && c->n_pooling == 1 && c->pooling[0] == PLM_POOL_MEAN &&
		  c->normalize == 1 && c->dimensions == 384 && c->max_tokens == 256 && c->labels == 0 && c->n_dense == 0,
		  "task %d pooling %d max %d", c->task, c->pooling[0], c->max_tokens);
	CHECK("all_minilm_has_no_prompts", c->prompt_query[0] == '\0' && c->prompt_document[0] == '\0', "\"%s\"", c->prompt_query);
	done(&d);

	start(&d);					/* bge-small: CLS, a query instruction */
	add(&d, "config.json", BERT("BertModel", "384", "12", "12", "1536", "30522") ", \"id2label\": {\"0\": \"LABEL_0\"}}");
	add(&d, "modules.json", three_modules);
	add(&d, "1_Pooling/config.json", CLS_POOLING("384"));
	add(&d, "sentence_bert_config.json", "{\"max_seq_length\": 512, \"do_lower_case\": true}");
	add(&d, "config_sentence_transformers.json", "{\"prompts\": {\"query\": \"Represent this sentence: \"}, \"default_prompt_name\": null}");
	read_config(&d);
	CHECK("bge_small_pools_cls", d.status == PLM_OK && c->n_pooling == 1 && c->pooling[0] == PLM_POOL_CLS && c->labels == 0,
		  "%s", d.err.message);
	CHECK("bge_small_prompts_queries_only", strcmp(c->prompt_query, "Represent this sentence: ") == 0 && c->prompt_document[0] == '\0',
		  "\"%s\" \"%s\"", c->prompt_query, c->prompt_document);
	done(&d);

	start(&d);					/* e5-small: modules without Normalize's folder, prompts under other names */
	add(&d, "config.json", BERT("BertModel", "384", "12", "12", "1536", "30522") "}");
	add(&d, "modules.json", three_modules);
	add(&d, "1_Pooling/config.json", MEAN_POOLING("384"));
	add(&d, "sentence_bert_config.json", "{\"max_seq_length\": null, \"do_lower_case\": false}");
	add(&d, "tokenizer_config.json", "{\"model_max_length\": 1000000000000000019884624838656}");
	add(&d, "config_sentence_transformers.json", "{\"prompts\": {\"query\": \"query: \", \"passage\": \"passage: \"}}");
	read_config(&d);
	CHECK("e5_small_reads_with_a_huge_model_max_length", d.status == PLM_OK && c->max_tokens == 512, "%s, %d", d.err.message, c->max_tokens);
	CHECK("e5_small_passage_is_the_document_prompt", strcmp(c->prompt_query, "query: ") == 0 && strcmp(c->prompt_document, "passage: ") == 0,
		  "\"%s\"", c->prompt_document);
	done(&d);

	start(&d);					/* gte-small: two modules, no normalisation */
	add(&d, "config.json", BERT("BertModel", "384", "12", "12", "1536", "30522") "}");
	add(&d, "modules.json", "[" MODULE("0", "", "Transformer") "," MODULE("1", "1_Pooling", "Pooling") "]");
	add(&d, "1_Pooling/config.json", MEAN_POOLING("384"));
	add(&d, "tokenizer_config.json", "{\"model_max_length\": 128}");
	read_config(&d);
	CHECK("gte_small_without_normalize", d.status == PLM_OK && c->normalize == 0 && c->max_tokens == 128, "%s, %d", d.err.message, c->max_tokens);
	done(&d);

	start(&d);					/* multilingual BERT, bare */
	add(&d, "config.json", BERT("BertForMaskedLM", "768", "12", "12", "3072", "119547")
		", \"directionality\": \"bidi\", \"pooler_fc_size\": 768, \"pooler_type\": \"first_token_transform\"}");
	read_config(&d);
	CHECK("multilingual_bert_is_a_masked_lm_that_embeds_by_mean", d.status == PLM_OK && c->task == PLM_TASK_MASKED_LM && c->tied == 1 &&
		  c->pooling[0] == PLM_POOL_MEAN && c->dimensions == 768 && c->vocab == 119547 && c->max_tokens == 512, "%s", d.err.message);
	done(&d);
}

static void
test_heads(void)
{
	Directory	d;
	const PlmConfig *c = &d.config;

	read_one(&d, BERT("BertForSequenceClassification", "384", "6", "12", "1536", "30522")
			 ", \"id2label\": {\"0\": \"LABEL_0\"}, \"label2id\": {\"LABEL_0\": 0},"
			 " \"sbert_ce_default_activation_function\": \"torch.nn.modules.linear.Identity\"}");
	CHECK("ms_marco_ranks_with_raw_logits", d.status == PLM_OK && c->task == PLM_TASK_RANKING && c->labels == 1 &&
		  c->score_activation == PLM_ACT_NONE, "%s, task %d", d.err.message, c->task);
	done(&d);
	read_one(&d, BERT("BertForSequenceClassification", "384", "6", "12", "1536", "30522")
			 ", \"id2label\": {\"0\": \"LABEL_0\"}, \"sentence_transformers\": {\"activation_fn\": \"torch.nn.modules.activation.Sigmoid\","
			 " \"version\": \"4.1.0\"}, \"problem_type\": \"regression\"}");
	CHECK("newer_cross_encoder_with_sigmoid", d.status == PLM_OK && c->task == PLM_TASK_RANKING && c->score_activation == PLM_ACT_SIGMOID,
		  "%s, task %d", d.err.message, c->task);
	done(&d);
	read_one(&d, BERT("BertForSequenceClassification", "384", "6", "12", "1536", "30522") ", \"num_labels\": 1}");
	CHECK("one_label_without_a_word_is_a_sigmoid_ranking", d.status == PLM_OK && c->task == PLM_TASK_RANKING &&
		  c->score_activation == PLM_ACT_SIGMOID && c->labels == 1, "%s", d.err.message);
	done(&d);
	read_one(&d, BERT("BertForSequenceClassification", "384", "6", "12", "1536", "30522")
			 ", \"num_labels\": 1, \"problem_type\": \"regression\"}");
	CHECK("regression_is_classification_of_one", d.status == PLM_OK && c->task == PLM_TASK_CLASSIFICATION &&
		  c->problem == PLM_PROBLEM_REGRESSION, "%s", d.err.message);
	done(&d);
	start(&d);					/* newer cross-encoders list their transformer */
	add(&d, "config.json", BERT("BertForSequenceClassification", "384", "6", "12", "1536", "30522") ", \"num_labels\": 1}");
	add(&d, "modules.json", "[{\"idx\": 0, \"name\": \"0\", \"path\": \"\", \"type\": \"sentence_transformers.base.modules.transformer.Transformer\"}]");
	read_config(&d);
	CHECK("cross_encoder_with_a_module_list", d.status == PLM_OK && c->task == PLM_TASK_RANKING, "%s", d.err.message);
	done(&d);

	read_one(&d, BERT("BertForSequenceClassification", "768", "12", "12", "3072", "21128")
			 ", \"id2label\": {\"0\": \"\xE4\xBD\x93\xE8\x82\xB2\", \"1\": \"\\u8d22\\u7ecf\", \"2\": 7}, \"problem_type\": null}");
	CHECK("chinese_classifier_labels", d.status == PLM_OK && c->task == PLM_TASK_CLASSIFICATION && c->labels == 3 &&
		  c->problem == PLM_PROBLEM_SINGLE && strcmp(d.labels[0].data, "\xE4\xBD\x93\xE8\x82\xB2") == 0 &&
		  strcmp(d.labels[1].data, "\xE8\xB4\xA2\xE7\xBB\x8F") == 0 && strcmp(d.labels[2].data, "7") == 0, "%s", d.err.message);
	done(&d);
	read_one(&d, BERT("BertForSequenceClassification", "768", "12", "12", "3072", "21128") ", \"problem_type\": \"multi_label_classification\"}");
	CHECK("two_labels_by_default", d.status == PLM_OK && c->labels == 2 && c->problem == PLM_PROBLEM_MULTI &&
		  strcmp(d.labels[1].data, "LABEL_1") == 0, "%s", d.err.message);
	done(&d);

	read_one(&d, "{\"activation\": \"gelu\", \"architectures\": [\"DistilBertForSequenceClassification\"], \"attention_dropout\": 0.1,"
			 " \"dim\": 768, \"dropout\": 0.1, \"finetuning_task\": \"sst-2\", \"hidden_dim\": 3072, \"id2label\": {\"0\": \"NEGATIVE\","
			 " \"1\": \"POSITIVE\"}, \"initializer_range\": 0.02, \"label2id\": {\"NEGATIVE\": 0, \"POSITIVE\": 1},"
			 " \"max_position_embeddings\": 512, \"model_type\": \"distilbert\", \"n_heads\": 12, \"n_layers\": 6, \"output_past\": true,"
			 " \"pad_token_id\": 0, \"qa_dropout\": 0.1, \"seq_classif_dropout\": 0.2, \"sinusoidal_pos_embds\": false,"
			 " \"tie_weights_\": true, \"vocab_size\": 30522}");
	CHECK("distilbert_sst2", d.status == PLM_OK && strcmp(c->model_type, "distilbert") == 0 && c->width == 768 && c->layers == 6 &&
		  c->types == 0 && c->norm_eps == 1e-12f && c->labels == 2 && strcmp(d.labels[1].data, "POSITIVE") == 0, "%s", d.err.message);
	done(&d);
	read_one(&d, "{\"model_type\": \"bert\"}");
	CHECK("absent_keys_mean_the_library_s_defaults", d.status == PLM_OK && c->width == 768 && c->layers == 12 && c->ff == 3072 &&
		  c->vocab == 30522 && strcmp(c->architecture, "BertModel") == 0, "%s", d.err.message);
	done(&d);
}

static void
test_modules(void)
{
	Directory	d;
	const PlmConfig *c = &d.config;
	PlmPrecision precision;

	start(&d);
	add(&d, "config.json", BERT("BertModel", "8", "1", "2", "16", "100") "}");
	add(&d, "modules.json", "[" MODULE("0", "", "Transformer") "," MODULE("1", "1_Pooling", "Pooling") "," MODULE("2", "2_Dense", "Dense") ","
		MODULE("3", "3_Dropout", "Dropout") "," MODULE("4", "4_Dense", "Dense") "]");
	add(&d, "1_Pooling/config.json", "{\"word_embedding_dimension\": 8, \"pooling_mode_cls_token\": true, \"pooling_mode_max_tokens\": true,"
		" \"pooling_mode_mean_sqrt_len_tokens\": true, \"pooling_mode_lasttoken\": true, \"include_prompt\": false}");
	add(&d, "2_Dense/config.json", "{\"in_features\": 40, \"out_features\": 6, \"bias\": false,"
		" \"activation_function\": \"torch.nn.modules.linear.Identity\"}");
	add(&d, "4_Dense/config.json", "{\"in_features\": 6, \"out_features\": 5}");
	read_config(&d);
	CHECK("poolings_stand_in_the_reference_s_order", d.status == PLM_OK && c->n_pooling == 5 && c->pooling[0] == PLM_POOL_CLS &&
		  c->pooling[1] == PLM_POOL_MAX && c->pooling[2] == PLM_POOL_MEAN && c->pooling[3] == PLM_POOL_MEAN_SQRT &&
		  c->pooling[4] == PLM_POOL_LAST, "%s", d.err.message);
	CHECK("dense_modules_chain", c->n_dense == 2 && c->dense[0].in == 40 && c->dense[0].out == 6 && c->dense[0].bias == 0 &&
		  c->dense[0].activation == PLM_ACT_NONE && c->dense[1].bias == 1 && c->dense[1].activation == PLM_ACT_TANH &&
		  c->dimensions == 5 && strcmp(c->dense[1].folder, "4_Dense") == 0, "%d dense", c->n_dense);
	add(&d, "config_sentence_transformers.json", "{\"prompts\": {\"query\": \"q\"}}");
	read_config(&d);
	CHECK("include_prompt_false_with_a_prompt_is_refused", d.status == PLM_EUNSUPPORTED, "%d", d.status);
	done(&d);

	start(&d);
	add(&d, "config.json", BERT("BertModel", "8", "1", "2", "16", "100") "}");
	add(&d, "config_sentence_transformers.json", "{\"prompts\": {\"query\": \"a\", \"document\": \"b\"}}");
	add(&d, "product_llm.json", "{\"prompts\": {\"query\": \"Q: \", \"document\": \"\"}, \"pooling\": \"pooler\", \"precision\": \"int8\"}");
	read_config(&d);
	CHECK("our_own_file_wins", d.status == PLM_OK && strcmp(c->prompt_query, "Q: ") == 0 && c->prompt_document[0] == '\0' &&
		  c->pooling[0] == PLM_POOL_POOLER, "%s", d.err.message);
	CHECK("precision_is_read", plm_config_precision(&d.set, &d.arena, &precision, &d.err) == PLM_OK && precision == PLM_PREC_INT8,
		  "%s", d.err.message);
	done(&d);
	start(&d);
	add(&d, "config.json", BERT("BertModel", "8", "1", "2", "16", "100") "}");
	add(&d, "config_sentence_transformers.json", "{\"prompts\": {\"retrieval\": \"r: \"}, \"default_prompt_name\": \"retrieval\"}");
	read_config(&d);
	CHECK("default_prompt_serves_both_kinds", d.status == PLM_OK && strcmp(c->prompt_query, "r: ") == 0 &&
		  strcmp(c->prompt_document, "r: ") == 0, "%s", d.err.message);
	CHECK("precision_is_f32_by_default", plm_config_precision(&d.set, &d.arena, &precision, &d.err) == PLM_OK && precision == PLM_PREC_F32,
		  "%s", d.err.message);
	done(&d);
}

/* ---- refusals ---- */

typedef struct Refusal
{
	const char *name;
	const char *config;			/* config.json, or NULL for a sound one */
	const char *file;			/* one more file, or NULL */
	const char *text;
	PlmStatus	status;
	const char *says;			/* in the message */
} Refusal;

#define SMALL BERT("BertModel", "8", "1", "2", "16", "100") "}"
#define SMALL_MODULES "[" MODULE("0", "", "Transformer") "," MODULE("1", "1_Pooling", "Pooling") "]"

static const Refusal refusals[] = {
	{"roberta", "{\"architectures\": [\"RobertaModel\"], \"model_type\": \"roberta\"}", NULL, NULL, PLM_EUNSUPPORTED, "RobertaModel"},
	{"jina_under_bert_s_name", BERT("JinaBertForMaskedLM", "8", "1", "2", "16", "9") "}", NULL, NULL, PLM_EUNSUPPORTED, "JinaBertForMaskedLM"},
	{"question_answering", BERT("BertForQuestionAnswering", "8", "1", "2", "16", "9") "}", NULL, NULL, PLM_EUNSUPPORTED, "BertForQuestionAnswering"},
	{"type_without_architecture", "{\"model_type\": \"gpt2\"}", NULL, NULL, PLM_EUNSUPPORTED, "gpt2"},
	{"type_against_architecture", "{\"model_type\": \"distilbert\", \"architectures\": [\"BertModel\"]}", NULL, NULL, PLM_EUNSUPPORTED, "distilbert"},
	{"neither_type_nor_architecture", "{}", NULL, NULL, PLM_ECORRUPT, "neither"},
	{"config_is_a_list", "[]", NULL, NULL, PLM_ECORRUPT, "object"},
	{"config_is_empty", "", NULL, NULL, PLM_ECORRUPT, "not valid JSON"},
	{"config_is_cut", "{\"model_type\": \"be", NULL, NULL, PLM_ECORRUPT, "line 1"},
	{"config_gives_a_key_twice", "{\"model_type\": \"bert\", \"model_type\": \"bert\"}", NULL, NULL, PLM_ECORRUPT, "duplicate"},
	{"number_beyond_64_bits", "{\"model_type\": \"bert\", \"hidden_size\": 99999999999999999999}", NULL, NULL, PLM_ECORRUPT, "too big"},
	{"number_beyond_a_double", "{\"model_type\": \"bert\", \"layer_norm_eps\": 1e999}", NULL, NULL, PLM_ECORRUPT, "overflow"},
	{"invalid_utf8", "{\"model_type\": \"b\xFFrt\"}", NULL, NULL, PLM_ECORRUPT, "0xff"},
	{"relative_positions", "{\"model_type\": \"bert\", \"position_embedding_type\": \"relative_key\"}", NULL, NULL, PLM_EUNSUPPORTED, "relative_key"},
	{"decoder", "{\"model_type\": \"bert\", \"is_decoder\": true}", NULL, NULL, PLM_EUNSUPPORTED, "is_decoder"},
	{"quantized", "{\"model_type\": \"bert\", \"quantization_config\": {}}", NULL, NULL, PLM_EUNSUPPORTED, "quantization_config"},
	{"pruned", "{\"model_type\": \"bert\", \"pruned_heads\": {\"0\": [1]}}", NULL, NULL, PLM_EUNSUPPORTED, "pruned"},
	{"activation", "{\"model_type\": \"bert\", \"hidden_act\": \"quick_gelu\"}", NULL, NULL, PLM_EUNSUPPORTED, "quick_gelu"},
	{"heads_do_not_divide", "{\"model_type\": \"bert\", \"hidden_size\": 10, \"num_attention_heads\": 3}", NULL, NULL, PLM_ECORRUPT, "multiple"},
	{"no_layers", "{\"model_type\": \"bert\", \"num_hidden_layers\": 0}", NULL, NULL, PLM_ECORRUPT, "1 to 256"},
	{"negative_width", "{\"model_type\": \"bert\", \"hidden_size\": -768}", NULL, NULL, PLM_ECORRUPT, "-768"},
	{"absurd_width", "{\"model_type\": \"bert\", \"hidden_size\": 1048576}", NULL, NULL, PLM_ECORRUPT, "16384"},
	{"absurd_vocabulary", "{\"model_type\": \"bert\", \"vocab_size\": 4294967296}", NULL, NULL, PLM_ECORRUPT, "4194304"},
	{"width_is_text", "{\"model_type\": \"bert\", \"hidden_size\": \"768\"}", NULL, NULL, PLM_ECORRUPT, "integer"},
	{"pad_token_outside", "{\"model_type\": \"bert\", \"vocab_size\": 10, \"pad_token_id\": 10}", NULL, NULL, PLM_ECORRUPT, "0 to 9"},
	{"norm_eps_zero", "{\"model_type\": \"bert\", \"layer_norm_eps\": 0}", NULL, NULL, PLM_ECORRUPT, "layer_norm_eps"},
	{"labels_with_a_hole", BERT("BertForSequenceClassification", "8", "1", "2", "16", "9") ", \"id2label\": {\"0\": \"a\", \"2\": \"b\"}}", NULL, NULL, PLM_ECORRUPT, "none for 1"},
	{"no_labels", BERT("BertForSequenceClassification", "8", "1", "2", "16", "9") ", \"id2label\": {}}", NULL, NULL, PLM_ECORRUPT, "id2label"},
	{"problem_type", BERT("BertForSequenceClassification", "8", "1", "2", "16", "9") ", \"problem_type\": \"ordinal\"}", NULL, NULL, PLM_EUNSUPPORTED, "ordinal"},
	{"score_activation", BERT("BertForSequenceClassification", "8", "1", "2", "16", "9")
		", \"num_labels\": 1, \"sentence_transformers\": {\"activation_fn\": \"torch.nn.modules.activation.Tanh\"}}", NULL, NULL, PLM_EUNSUPPORTED, "Tanh"},
	{"pooling_folder_missing", SMALL, "modules.json", SMALL_MODULES, PLM_ENOTFOUND, "1_Pooling/config.json"},
	{"module_path_climbs", SMALL, "modules.json", "[" MODULE("0", "", "Transformer") "," MODULE("1", "../1_Pooling", "Pooling") "]", PLM_ECORRUPT, "../1_Pooling"},
	{"unknown_module", SMALL, "modules.json", "[" MODULE("0", "", "Transformer") "," MODULE("1", "1_LayerNorm", "LayerNorm") "]", PLM_EUNSUPPORTED, "LayerNorm"},
	{"first_module_is_not_a_transformer", SMALL, "modules.json", "[" MODULE("0", "0_WordEmbeddings", "WordEmbeddings") "]", PLM_EUNSUPPORTED, "WordEmbeddings"},
	{"transformer_in_a_folder", SMALL, "modules.json", "[" MODULE("0", "0_Transformer", "Transformer") "]", PLM_EUNSUPPORTED, "0_Transformer"},
	{"no_pooling", SMALL, "modules.json", "[" MODULE("0", "", "Transformer") "]", PLM_EUNSUPPORTED, "no Pooling"},
	{"dense_before_pooling", SMALL, "modules.json", "[" MODULE("0", "", "Transformer") "," MODULE("1", "1_Dense", "Dense") "]", PLM_EUNSUPPORTED, "Dense"},
	{"modules_is_an_object", SMALL, "modules.json", "{}", PLM_ECORRUPT, "not a list"},
	{"length_is_negative", SMALL, "sentence_bert_config.json", "{\"max_seq_length\": -1}", PLM_ECORRUPT, "-1"},
	{"length_is_text", SMALL, "tokenizer_config.json", "{\"model_max_length\": \"512\"}", PLM_ECORRUPT, "number"},
	{"default_prompt_is_missing", SMALL, "config_sentence_transformers.json", "{\"default_prompt_name\": \"x\"}", PLM_ECORRUPT, "\"x\""},
	{"prompt_is_a_number", SMALL, "config_sentence_transformers.json", "{\"prompts\": {\"query\": 1}}", PLM_ECORRUPT, "string"},
	{"pooling_name", SMALL, "product_llm.json", "{\"pooling\": \"median\"}", PLM_EUNSUPPORTED, "median"}
};

static void
test_refusals(void)
{
	Directory	d;

	for (int64_t i = 0; i < PLM_COUNT(refusals); i++)
	{
		const Refusal *r = &refusals[i];
		char		name[96];

		start(&d);
		add(&d, "config.json", r->config);
		if (r->file != NULL)
			add(&d, r->file, r->text);
		read_config(&d);
		snprintf(name, sizeof(name), "refused_%s", r->name);
		CHECK(name, d.status == r->status && strstr(d.err.message, r->says) != NULL, "status %d: %s", d.status, d.err.message);
		done(&d);
	}
	start(&d);
	read_config(&d);
	CHECK("refused_without_config_json", d.status == PLM_ENOTFOUND, "%d", d.status);
	done(&d);
	read_one(&d, "{\"model_type\": \"t5\"}");
	CHECK("a_refused_architecture_comes_with_a_list_of_supported_ones", strstr(d.err.hint, "DistilBertForMaskedLM") != NULL, "\"%s\"", d.err.hint);
	done(&d);
	start(&d);
	add(&d, "config.json", SMALL);
	add(&d, "sentence_bert_config.json", "{\"do_lower_case\": true}");
	add(&d, "tokenizer_config.json", "{\"do_lower_case\": false}");
	read_config(&d);
	CHECK("refused_lower_case_before_a_cased_tokenizer", d.status == PLM_EUNSUPPORTED, "%d %s", d.status, d.err.message);
	done(&d);
	start(&d);					/* our own reader does not need config.json */
	add(&d, "product_llm.json", "{\"precision\": \"int4\"}");
	CHECK("refused_precision", plm_config_precision(&d.set, &d.arena, &(PlmPrecision) {0}, &d.err) == PLM_EUNSUPPORTED, "%s", d.err.message);
	done(&d);
}

/* Pooling and Dense folders that contradict the transformer. */
static void
test_folder_refusals(void)
{
	static const struct
	{
		const char *name;
		const char *pooling;
		const char *dense;
		PlmStatus	status;
		const char *says;
	}			cases[] = {
		{"pooling_width", "{\"word_embedding_dimension\": 9}", "{}", PLM_ECORRUPT, "9"},
		{"weighted_mean", "{\"pooling_mode_weightedmean_tokens\": true}", "{}", PLM_EUNSUPPORTED, "weightedmean"},
		{"every_mode_off", "{\"pooling_mode_mean_tokens\": false}", "{}", PLM_ECORRUPT, "off"},
		{"several_names", "{\"pooling_mode\": [\"cls\", \"mean\"]}", "{}", PLM_EUNSUPPORTED, "pooling_mode"},
		{"dense_input", "{\"pooling_mode\": \"cls\"}", "{\"in_features\": 9, \"out_features\": 4}", PLM_ECORRUPT, "what comes in has 8"},
		{"dense_without_sizes", "{}", "{}", PLM_ECORRUPT, "lacks"},
		{"dense_activation", "{}", "{\"in_features\": 8, \"out_features\": 4, \"activation_function\": \"os.system\"}", PLM_EUNSUPPORTED, "os.system"},
		{"dense_on_tokens", "{}", "{\"in_features\": 8, \"out_features\": 4, \"module_input_name\": \"token_embeddings\"}", PLM_EUNSUPPORTED, "token_embeddings"}
	};
	Directory	d;

	for (int64_t i = 0; i < PLM_COUNT(cases); i++)
	{
		char		name[96];

		start(&d);
		add(&d, "config.json", SMALL);
		add(&d, "modules.json", "[" MODULE("0", "", "Transformer") "," MODULE("1", "1_Pooling", "Pooling") "," MODULE("2", "2_Dense", "Dense") "]");
		add(&d, "1_Pooling/config.json", cases[i].pooling);
		add(&d, "2_Dense/config.json", cases[i].dense);
		read_config(&d);
		snprintf(name, sizeof(name), "refused_%s", cases[i].name);
		CHECK(name, d.status == cases[i].status && strstr(d.err.message, cases[i].says) != NULL, "status %d: %s", d.status, d.err.message);
		done(&d);
	}
}

/* ---- bombs ---- */

/* `text` repeated up to `bytes` bytes. */
static char *
repeated(const char *text, size_t bytes)
{
	char	   *out = malloc(bytes + 1);
	size_t		n = strlen(text);

	for (size_t i = 0; i < bytes; i++)
		out[i] = text[i % n];
	out[bytes] = '\0';
	return out;
}

static void
test_bombs(void)
{
	Directory	d;
	char	   *text = repeated("[", (size_t) 4 << 20);

	read_one(&d, text);
	CHECK("deep_nesting_is_refused", d.status == PLM_ELIMIT && strstr(d.err.message, "nested") != NULL, "%d %s", d.status, d.err.message);
	done(&d);
	free(text);
	text = repeated("[],", (size_t) 4 << 20);
	text[0] = '[';
	read_one(&d, text);
	CHECK("millions_of_values_are_refused", d.status == PLM_ELIMIT && strstr(d.err.message, "values") != NULL, "%d %s", d.status, d.err.message);
	done(&d);
	free(text);
	text = repeated("\"", 300);
	memcpy(text, "{\"prompts\": {\"query\": ", 22);
	memset(text + 23, 'x', 274);
	memcpy(text + 297, "\"}}", 3);
	start(&d);
	add(&d, "config.json", SMALL);
	add(&d, "config_sentence_transformers.json", text);
	read_config(&d);
	CHECK("a_prompt_of_more_than_255_bytes_is_refused", d.status == PLM_ELIMIT && strstr(d.err.message, "255") != NULL, "%d %s", d.status, d.err.message);
	done(&d);
	free(text);
	text = repeated(" ", (size_t) 9 << 20);
	read_one(&d, text);
	CHECK("a_large_file_is_refused", d.status == PLM_ELIMIT && strstr(d.err.message, "9437184") != NULL, "%d %s", d.status, d.err.message);
	done(&d);
	free(text);
}

/* ---- memory ---- */

static void
test_allocation_failures(void)
{
	const PlmHook hook = {failing_alloc, counted_release, NULL, NULL};
	int			failed = 0;
	int			n = 0;
	bool		sound = true;
	PlmStatus	status;

	do
	{
		Directory	d;

		start(&d);
		plm_arena_init(&d.arena, &hook, 0);
		add(&d, "config.json", BERT("BertForSequenceClassification", "8", "1", "2", "16", "100") ", \"id2label\": {\"0\": \"a\", \"1\": \"b\"}}");
		add(&d, "modules.json", SMALL_MODULES);
		add(&d, "1_Pooling/config.json", MEAN_POOLING("8"));
		add(&d, "sentence_bert_config.json", "{\"max_seq_length\": 64}");
		add(&d, "config_sentence_transformers.json", "{\"prompts\": {\"query\": \"q\"}}");
		add(&d, "product_llm.json", "{\"prompts\": {\"query\": \"q\"}}");
		countdown = ++n;
		read_config(&d);
		status = d.status;
		failed += status == PLM_ENOMEM;
		sound = sound && (status == PLM_OK || status == PLM_ENOMEM);
		done(&d);
		sound = sound && held == 0;
	} while (sound && countdown == 0 && n < 100000);
	CHECK("each_failed_allocation_is_an_error_that_leaks_nothing", sound && status == PLM_OK && failed >= 8,
		  "allocation %d, %d failed, %d held, status %d", n, failed, held, status);
}

static void
test_shop_seed(void)
{
	const char *shared = getenv("PLM_SHARED");
	char		path[512];
	PlmArena	arena;
	PlmFileSet	set;
	PlmConfig	c;
	PlmText    *labels;
	PlmError	err = {0};
	PlmStatus	status;

	plm_arena_init(&arena, &plm_libc_hook, 0);
	snprintf(path, sizeof(path), "%s/data/models/shop-seed", shared != NULL ? shared : "../shared");
	if (plm_directory_open(path, &arena, &set, &err) == PLM_OK)
	{
		status = plm_config_read(&set, &arena, &c, &labels, &err);
		CHECK("shop_seed_reads", status == PLM_OK && c.width == 256 && c.layers == 4 && c.heads == 4 && c.ff == 1024 && c.vocab == 12288 &&
			  c.positions == 128 && c.max_tokens == 128 && c.dimensions == 256 && c.pooling[0] == PLM_POOL_MEAN && c.normalize == 1 &&
			  strcmp(c.architecture, "BertForMaskedLM") == 0 && c.task == PLM_TASK_EMBEDDING && c.tied == 1,
			  "%d %s", status, err.message);
		plm_directory_close(&set);
	}
	else
		SKIP("shop_seed_reads", "the model is not there");
	plm_arena_free(&arena);
}

int
main(void)
{
	test_sentence_models();
	test_heads();
	test_modules();
	test_refusals();
	test_folder_refusals();
	test_bombs();
	test_allocation_failures();
	test_shop_seed();
	return unit_done();
}
