/*
 * config.c -- config.json: which architecture, its dimensions, its head and labels.
 *
 * Keys and defaults are those of Hugging Face's BertConfig, DistilBertConfig and PretrainedConfig: a
 * key that is absent means the library's default, as it does there.  Every number is held against a
 * range, so that no later product of dimensions can overflow.
 */
#include "config_parts.h"

#include <stdio.h>
#include <string.h>

#define MAX_WIDTH 16384
#define MAX_LAYERS 256
#define MAX_FF 262144
#define MAX_VOCAB (4 << 20)
#define MAX_POSITIONS (1 << 20)
#define MAX_TYPES 4096

const char *
plm_task_name(PlmTaskKind task)
{
	static const char *const names[] = {"embedding", "classification", "ranking", "masked_lm", "tokenizer"};

	return (unsigned) task < sizeof(names) / sizeof(names[0]) ? names[task] : "unknown";
}

int32_t
plm_config_name(const ConfigName *table, int64_t n, const char *name)
{
	for (int64_t i = 0; i < n; i++)
		if (strcmp(table[i].name, name) == 0)
			return table[i].value;
	return -1;
}

/* Which head an architecture has, and the family that it belongs to. */
static const struct
{
	const char *architecture;
	const char *model_type;
	PlmTaskKind task;
}			architectures[] = {
	/* the first of a family is its bare model */
	{"BertModel", "bert", PLM_TASK_EMBEDDING},
	{"BertForMaskedLM", "bert", PLM_TASK_MASKED_LM},
	{"BertForPreTraining", "bert", PLM_TASK_MASKED_LM},
	{"BertForSequenceClassification", "bert", PLM_TASK_CLASSIFICATION},
	{"DistilBertModel", "distilbert", PLM_TASK_EMBEDDING},
	{"DistilBertForMaskedLM", "distilbert", PLM_TASK_MASKED_LM},
	{"DistilBertForSequenceClassification", "distilbert", PLM_TASK_CLASSIFICATION}
};

const char *
plm_config_architecture(const char *model_type, PlmTaskKind task, bool next)
{
	task = task == PLM_TASK_RANKING ? PLM_TASK_CLASSIFICATION : task;
	for (int64_t i = 0; i < PLM_COUNT(architectures); i++)
	{
		bool		has_next = strstr(architectures[i].architecture, "ForPreTraining") != NULL;

		if (strcmp(model_type, architectures[i].model_type) == 0 && architectures[i].task == task && has_next == next)
			return architectures[i].architecture;
	}
	return NULL;
}

static PlmStatus
unsupported(const char *what, const char *name, PlmError *err)
{
	plm_fail(err, PLM_EUNSUPPORTED, 0, "%s \"%s\" is not supported", what, plm_json_show(name).text);
	plm_hint(err, "Supported are BertModel, BertForMaskedLM, BertForPreTraining, BertForSequenceClassification, "
			 "DistilBertModel, DistilBertForMaskedLM and DistilBertForSequenceClassification.");
	return PLM_EUNSUPPORTED;
}

/* architecture, model_type and task from "architectures" (first entry) and "model_type"; either may be absent. */
static PlmStatus
read_architecture(const PlmJsonReader *r, PlmConfig *config)
{
	const json_t *list = plm_json_member(r->object, "architectures");
	const char *name = json_string_value(json_array_get(list, 0));
	const char *type;

	if (list != NULL && (!json_is_array(list) || (json_array_size(list) > 0 && name == NULL)))
		return plm_fail(r->err, PLM_ECORRUPT, 0, "\"architectures\" in %s must be a list of names", r->file);
	PLM_TRY(plm_json_string(r, "model_type", NULL, &type));
	if (name == NULL && type == NULL)
		return plm_fail(r->err, PLM_ECORRUPT, 0, "%s has neither \"architectures\" nor \"model_type\"", r->file);
	for (int64_t i = 0; i < PLM_COUNT(architectures); i++)
	{
		bool		same_type = type == NULL || strcmp(type, architectures[i].model_type) == 0;

		if (!same_type || (name != NULL && strcmp(name, architectures[i].architecture) != 0))
			continue;
		snprintf(config->architecture, sizeof(config->architecture), "%s", architectures[i].architecture);
		snprintf(config->model_type, sizeof(config->model_type), "%s", architectures[i].model_type);
		config->task = architectures[i].task;
		return PLM_OK;
	}
	if (name == NULL)
		return unsupported("model type", type, r->err);
	if (type != NULL)
	{
		char		both[192];

		snprintf(both, sizeof(both), "%s of model type %s", plm_json_show(name).text, plm_json_show(type).text);
		return unsupported("architecture", both, r->err);
	}
	return unsupported("architecture", name, r->err);
}

static PlmStatus
read_activation(const PlmJsonReader *r, const char *key, PlmConfig *config)
{
	/* gelu_fast and gelu_accurate are the tanh formula with its constant in another number of digits. */
	static const ConfigName names[] = {
		{"gelu", PLM_ACT_GELU}, {"gelu_python", PLM_ACT_GELU},
		{"gelu_new", PLM_ACT_GELU_TANH}, {"gelu_pytorch_tanh", PLM_ACT_GELU_TANH},
		{"gelu_fast", PLM_ACT_GELU_TANH}, {"gelu_accurate", PLM_ACT_GELU_TANH},
		{"relu", PLM_ACT_RELU}, {"silu", PLM_ACT_SILU}, {"swish", PLM_ACT_SILU},
		{"tanh", PLM_ACT_TANH}, {"sigmoid", PLM_ACT_SIGMOID}
	};
	const char *name;

	PLM_TRY(plm_json_string(r, key, "gelu", &name));
	config->activation = plm_config_name(names, PLM_COUNT(names), name);
	if (config->activation >= 0)
		return PLM_OK;
	plm_fail(r->err, PLM_EUNSUPPORTED, 0, "activation \"%s\" is not supported", plm_json_show(name).text);
	plm_hint(r->err, "Supported are gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, silu, swish, tanh and sigmoid.");
	return PLM_EUNSUPPORTED;
}

/* What changes the computation and is not built; refused rather than computed wrongly. */
static PlmStatus
refuse_variants(const PlmJsonReader *r)
{
	const json_t *pruned = plm_json_member(r->object, "pruned_heads");
	const char *position;
	bool		flag;

	PLM_TRY(plm_json_string(r, "position_embedding_type", "absolute", &position));
	if (strcmp(position, "absolute") != 0)
		return plm_fail(r->err, PLM_EUNSUPPORTED, 0, "position embedding type \"%s\" is not supported, only \"absolute\" is",
						plm_json_show(position).text);
	PLM_TRY(plm_json_bool(r, "is_decoder", false, &flag));
	if (flag)
		return plm_fail(r->err, PLM_EUNSUPPORTED, 0, "a model with \"is_decoder\" true is not supported");
	PLM_TRY(plm_json_bool(r, "add_cross_attention", false, &flag));
	if (flag)
		return plm_fail(r->err, PLM_EUNSUPPORTED, 0, "a model with \"add_cross_attention\" true is not supported");
	if (pruned != NULL && json_object_size(pruned) + json_array_size(pruned) > 0)
		return plm_fail(r->err, PLM_EUNSUPPORTED, 0, "a model with pruned heads is not supported");
	if (plm_json_member(r->object, "quantization_config") != NULL)
	{
		plm_fail(r->err, PLM_EUNSUPPORTED, 0, "a model with a \"quantization_config\" is not supported");
		return plm_hint(r->err, "Load the original weights and lower their precision with quantize_model().");
	}
	return PLM_OK;
}

/* A number under its own name, or under the name that the library maps to it. */
static PlmStatus
read_size(const PlmJsonReader *r, const char *key, const char *other, int64_t high, int64_t absent, int32_t *out)
{
	bool		first = plm_json_member(r->object, key) != NULL;

	return plm_json_int(r, first || other == NULL ? key : other, 1, high, absent, out);
}

static PlmStatus
read_bert(const PlmJsonReader *r, PlmConfig *config)
{
	double		eps;

	PLM_TRY(read_size(r, "hidden_size", NULL, MAX_WIDTH, 768, &config->width));
	PLM_TRY(read_size(r, "num_hidden_layers", NULL, MAX_LAYERS, 12, &config->layers));
	PLM_TRY(read_size(r, "num_attention_heads", NULL, MAX_WIDTH, 12, &config->heads));
	PLM_TRY(read_size(r, "intermediate_size", NULL, MAX_FF, 3072, &config->ff));
	PLM_TRY(read_size(r, "type_vocab_size", NULL, MAX_TYPES, 2, &config->types));
	PLM_TRY(read_activation(r, "hidden_act", config));
	PLM_TRY(plm_json_real(r, "layer_norm_eps", 1e-12, &eps));
	if (!((float) eps > 0.0f && eps <= 0.1))
		return plm_fail(r->err, PLM_ECORRUPT, 0, "\"layer_norm_eps\" in %s is %g, outside 0 to 0.1", r->file, eps);
	config->norm_eps = (float) eps;
	return PLM_OK;
}

static PlmStatus
read_distilbert(const PlmJsonReader *r, PlmConfig *config)
{
	PLM_TRY(read_size(r, "dim", "hidden_size", MAX_WIDTH, 768, &config->width));
	PLM_TRY(read_size(r, "n_layers", "num_hidden_layers", MAX_LAYERS, 6, &config->layers));
	PLM_TRY(read_size(r, "n_heads", "num_attention_heads", MAX_WIDTH, 12, &config->heads));
	PLM_TRY(read_size(r, "hidden_dim", NULL, MAX_FF, 3072, &config->ff));
	PLM_TRY(read_activation(r, "activation", config));
	config->types = 0;
	config->norm_eps = 1e-12f;	/* fixed in the reference's code */
	return PLM_OK;
}

static PlmStatus
read_transformer(const PlmJsonReader *r, PlmConfig *config)
{
	bool		tied;

	PLM_TRY(refuse_variants(r));
	if (strcmp(config->model_type, "distilbert") == 0)
		PLM_TRY(read_distilbert(r, config));
	else
		PLM_TRY(read_bert(r, config));
	PLM_TRY(read_size(r, "vocab_size", NULL, MAX_VOCAB, 30522, &config->vocab));
	PLM_TRY(read_size(r, "max_position_embeddings", NULL, MAX_POSITIONS, 512, &config->positions));
	if (config->width % config->heads != 0)
		return plm_fail(r->err, PLM_ECORRUPT, 0, "width %d in %s is not a multiple of its %d attention heads",
						config->width, r->file, config->heads);
	/* The library's default is 0; an explicit null means none. */
	if (json_is_null(json_object_get(r->object, "pad_token_id")))
		config->pad_token = -1;
	else
		PLM_TRY(plm_json_int(r, "pad_token_id", 0, config->vocab - 1, 0, &config->pad_token));
	PLM_TRY(plm_json_bool(r, "tie_word_embeddings", true, &tied));
	config->tied = tied;
	return PLM_OK;
}

/* The name of one label, which may be a number in the file. */
static PlmStatus
copy_label(const json_t *value, PlmArena *arena, PlmText *label, PlmError *err)
{
	char		number[32];
	const char *text = json_string_value(value);
	size_t		len;

	if (json_is_integer(value))
	{
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		text = number;
	}
	if (text == NULL)
		return plm_fail(err, PLM_ECORRUPT, 0, "a label in config.json is neither text nor a number");
	len = strlen(text);
	*label = (PlmText) {plm_arena_strndup(arena, text, len), len};
	return label->data != NULL ? PLM_OK : plm_arena_refused(arena, len + 1, err);
}

/* labels[id] for ids 0 .. n - 1 from {"0": "a", ...}; each id must be there. */
static PlmStatus
read_id2label(const json_t *map, int64_t n, PlmArena *arena, PlmText *labels, PlmError *err)
{
	for (int64_t i = 0; i < n; i++)
	{
		char		key[24];
		const json_t *value;

		snprintf(key, sizeof(key), "%" PRId64, i);
		value = json_object_get(map, key);
		if (value == NULL)
			return plm_fail(err, PLM_ECORRUPT, 0, "\"id2label\" in config.json has %" PRId64 " entries but none for %" PRId64, n, i);
		PLM_TRY(copy_label(value, arena, &labels[i], err));
	}
	return PLM_OK;
}

/*
 * As PretrainedConfig: the length of id2label is the number of labels, and num_labels (default 2)
 * counts only where there is no id2label; labels are then called LABEL_0, LABEL_1, ...
 */
static PlmStatus
read_labels(const PlmJsonReader *r, PlmArena *arena, PlmConfig *config, PlmText **out)
{
	const json_t *map = plm_json_member(r->object, "id2label");
	size_t		named = json_object_size(map);

	if (map != NULL && (!json_is_object(map) || named < 1 || named > PLM_MAX_LABELS))
		return plm_fail(r->err, PLM_ECORRUPT, 0, "\"id2label\" in %s must name 1 to %d labels, it has %zu",
						r->file, PLM_MAX_LABELS, named);
	PLM_TRY(plm_json_int(r, "num_labels", 1, PLM_MAX_LABELS, 2, &config->labels));
	if (map != NULL)
		config->labels = (int32_t) named;
	*out = plm_arena_array(arena, (size_t) config->labels, sizeof(PlmText));
	if (*out == NULL)
		return plm_arena_refused(arena, (size_t) config->labels * sizeof(PlmText), r->err);
	if (map != NULL)
		return read_id2label(map, config->labels, arena, *out, r->err);
	for (int32_t i = 0; i < config->labels; i++)
	{
		char		name[24];
		int			len = snprintf(name, sizeof(name), "LABEL_%d", i);

		(*out)[i] = (PlmText) {plm_arena_strndup(arena, name, (size_t) len), (size_t) len};
		if ((*out)[i].data == NULL)
			return plm_arena_refused(arena, sizeof(name), r->err);
	}
	return PLM_OK;
}

int32_t
plm_config_torch_activation(const char *name)
{
	static const ConfigName names[] = {
		{"torch.nn.modules.linear.Identity", PLM_ACT_NONE},
		{"torch.nn.modules.activation.Tanh", PLM_ACT_TANH},
		{"torch.nn.modules.activation.Sigmoid", PLM_ACT_SIGMOID},
		{"torch.nn.modules.activation.ReLU", PLM_ACT_RELU},
		{"torch.nn.modules.activation.GELU", PLM_ACT_GELU},
		{"torch.nn.modules.activation.SiLU", PLM_ACT_SILU}
	};

	return plm_config_name(names, PLM_COUNT(names), name);
}

/*
 * What a cross-encoder does to its logit: as sentence-transformers' CrossEncoder, the function that the
 * configuration names, else a sigmoid.  *named tells whether it names one.
 */
static PlmStatus
read_score_activation(const PlmJsonReader *r, PlmConfig *config, bool *named)
{
	PlmJsonReader section = {plm_json_member(r->object, "sentence_transformers"), r->file, r->err};
	const char *name;

	PLM_TRY(plm_json_string(r, "sbert_ce_default_activation_function", NULL, &name));
	PLM_TRY(plm_json_string(&section, "activation_fn", name, &name));
	*named = name != NULL;
	config->score_activation = name == NULL ? PLM_ACT_SIGMOID : plm_config_torch_activation(name);
	if (config->score_activation == PLM_ACT_NONE || config->score_activation == PLM_ACT_SIGMOID)
		return PLM_OK;
	return plm_fail(r->err, PLM_EUNSUPPORTED, 0, "score activation \"%s\" is not supported, only Identity and Sigmoid of torch.nn are",
					plm_json_show(name).text);
}

/* A sequence-classification head: labels, problem, and whether it ranks. */
static PlmStatus
read_head(const PlmJsonReader *r, PlmArena *arena, PlmConfig *config, PlmText **labels)
{
	static const ConfigName problems[] = {
		{"single_label_classification", PLM_PROBLEM_SINGLE},
		{"multi_label_classification", PLM_PROBLEM_MULTI},
		{"regression", PLM_PROBLEM_REGRESSION}
	};
	const char *name;
	bool		cross_encoder;

	PLM_TRY(read_labels(r, arena, config, labels));
	PLM_TRY(plm_json_string(r, "problem_type", NULL, &name));
	/* Without a word the library takes one label for regression and more for one class of many. */
	if (name == NULL)
		config->problem = config->labels == 1 ? PLM_PROBLEM_REGRESSION : PLM_PROBLEM_SINGLE;
	else
		config->problem = plm_config_name(problems, PLM_COUNT(problems), name);
	if (config->problem < 0)
		return plm_fail(r->err, PLM_EUNSUPPORTED, 0, "problem type \"%s\" is not supported", plm_json_show(name).text);
	if (config->labels > 1)
		return PLM_OK;
	PLM_TRY(read_score_activation(r, config, &cross_encoder));
	/* One output: a ranking score, unless the file says regression and nothing says cross-encoder. */
	if (name == NULL || config->problem != PLM_PROBLEM_REGRESSION || cross_encoder)
		config->task = PLM_TASK_RANKING;
	else
		config->score_activation = PLM_ACT_NONE;
	return PLM_OK;
}

static PlmStatus
read_root(const json_t *root, PlmArena *arena, PlmConfig *config, PlmText **labels, PlmError *err)
{
	const PlmJsonReader r = {root, "config.json", err};

	if (!json_is_object(root))
		return plm_fail(err, PLM_ECORRUPT, 0, "config.json is not a JSON object");
	PLM_TRY(read_architecture(&r, config));
	PLM_TRY(read_transformer(&r, config));
	if (config->task == PLM_TASK_CLASSIFICATION)
		return read_head(&r, arena, config, labels);
	return PLM_OK;
}

PlmStatus
plm_config_read(const PlmFileSet *set, PlmArena *arena, PlmConfig *config, PlmText **labels, PlmError *err)
{
	JsonDocument doc;
	bool		includes_prompt;
	PlmStatus	status;

	memset(config, 0, sizeof(*config));
	config->version = PLM_CONFIG_VERSION;
	*labels = NULL;
	PLM_TRY(plm_json_file(set, "config.json", 0, arena, &doc, err));
	if (doc.root == NULL)
		return plm_config_tokenizer(set, arena, config, err);
	status = read_root(doc.root, arena, config, labels, err);
	plm_json_close(&doc);
	PLM_TRY(status);
	PLM_TRY(plm_config_modules(set, arena, config, &includes_prompt, err));
	PLM_TRY(plm_config_check_case(set, arena, err));
	PLM_TRY(plm_config_max_tokens(set, arena, config, err));
	PLM_TRY(plm_config_prompts(set, arena, config, err));
	PLM_TRY(plm_config_override(set, arena, config, err));
	/* Pooling over a part of the tokens is not built; without a prompt there is nothing to leave out. */
	if (!includes_prompt && (config->prompt_query[0] != '\0' || config->prompt_document[0] != '\0'))
		return plm_fail(err, PLM_EUNSUPPORTED, 0, "\"include_prompt\" false is not supported together with prompts");
	return PLM_OK;
}
