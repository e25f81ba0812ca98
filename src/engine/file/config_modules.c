/*
 * config_modules.c -- what sentence-transformers puts around a transformer: the module list with its
 * Pooling, Dense and Normalize folders, the maximum length, prompts; and our own product_llm.json.
 */
#include "config_parts.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_POSITIONS 512	/* BERT's: of a tokenizer that does not say how long a text may be */

static PlmStatus
not_object(const char *file, PlmError *err)
{
	return plm_fail(err, PLM_ECORRUPT, 0, "%s is not a JSON object", file);
}

/* Read "<folder>/config.json" as an object; the caller's to close. */
static PlmStatus
folder_config(const PlmFileSet *set, const char *folder, PlmArena *arena, char name[256], JsonDocument *doc, PlmError *err)
{
	snprintf(name, 256, "%s/config.json", folder);
	PLM_TRY(plm_json_file(set, name, 0, arena, doc, err));
	if (doc->root == NULL)
		return plm_fail(err, PLM_ENOTFOUND, 0, "there is no \"%s\", which modules.json asks for", name);
	if (json_is_object(doc->root))
		return PLM_OK;
	plm_json_close(doc);
	return not_object(name, err);
}

/* The flags of a Pooling module, in the order in which its results are concatenated. */
static PlmStatus
read_pooling_flags(const PlmJsonReader *r, PlmConfig *config)
{
	static const struct
	{
		const char *key;
		int32_t		pooling;
		bool		absent;
	}			modes[] = {
		{"pooling_mode_cls_token", PLM_POOL_CLS, false},
		{"pooling_mode_max_tokens", PLM_POOL_MAX, false},
		{"pooling_mode_mean_tokens", PLM_POOL_MEAN, true},
		{"pooling_mode_mean_sqrt_len_tokens", PLM_POOL_MEAN_SQRT, false},
		{"pooling_mode_weightedmean_tokens", -1, false},
		{"pooling_mode_lasttoken", PLM_POOL_LAST, false}
	};
	bool		on;

	config->n_pooling = 0;
	for (int64_t i = 0; i < PLM_COUNT(modes); i++)
	{
		PLM_TRY(plm_json_bool(r, modes[i].key, modes[i].absent, &on));
		if (on && modes[i].pooling < 0)
			return plm_fail(r->err, PLM_EUNSUPPORTED, 0, "\"%s\" in %s is not supported", modes[i].key, r->file);
		if (on)
			config->pooling[config->n_pooling++] = modes[i].pooling;
	}
	if (config->n_pooling == 0)
		return plm_fail(r->err, PLM_ECORRUPT, 0, "%s turns every pooling mode off", r->file);
	return PLM_OK;
}

/* "mean", "cls", ... as Pooling's pooling_mode and our own product_llm.json write it. */
static PlmStatus
read_pooling_name(const PlmJsonReader *r, const char *key, const char *name, PlmConfig *config)
{
	static const ConfigName names[] = {
		{"mean", PLM_POOL_MEAN}, {"cls", PLM_POOL_CLS}, {"max", PLM_POOL_MAX},
		{"mean_sqrt_len", PLM_POOL_MEAN_SQRT}, {"mean_sqrt_len_tokens", PLM_POOL_MEAN_SQRT},
		{"last", PLM_POOL_LAST}, {"lasttoken", PLM_POOL_LAST}, {"pooler", PLM_POOL_POOLER}
	};

	config->pooling[0] = plm_config_name(names, PLM_COUNT(names), name);
	config->n_pooling = 1;
	if (config->pooling[0] >= 0)
		return PLM_OK;
	plm_fail(r->err, PLM_EUNSUPPORTED, 0, "\"%s\" in %s is \"%s\", which is not supported", key, r->file,
			 plm_json_show(name).text);
	plm_hint(r->err, "Supported are mean, cls, max, mean_sqrt_len, last and pooler.");
	return PLM_EUNSUPPORTED;
}

/* "word_embedding_dimension" (newer files: "embedding_dimension") must be the transformer's width. */
static PlmStatus
check_pooling_width(const PlmJsonReader *r, const PlmConfig *config)
{
	static const char *const keys[] = {"word_embedding_dimension", "embedding_dimension"};
	int32_t		width;

	for (int64_t i = 0; i < PLM_COUNT(keys); i++)
	{
		PLM_TRY(plm_json_int(r, keys[i], 1, INT32_MAX, config->width, &width));
		if (width != config->width)
			return plm_fail(r->err, PLM_ECORRUPT, 0, "\"%s\" in %s is %d, the transformer's width is %d",
							keys[i], r->file, width, config->width);
	}
	return PLM_OK;
}

/* include_prompt false takes the prompt's tokens out of the pooling; *includes says which. */
static PlmStatus
read_pooling(const PlmFileSet *set, const char *folder, PlmArena *arena, PlmConfig *config, bool *includes, PlmError *err)
{
	char		file[256];
	JsonDocument doc;
	PlmJsonReader r;
	PlmStatus	status;

	PLM_TRY(folder_config(set, folder, arena, file, &doc, err));
	r = (PlmJsonReader) {doc.root, file, err};
	status = check_pooling_width(&r, config);
	if (status == PLM_OK && json_is_string(json_object_get(doc.root, "pooling_mode")))
		status = read_pooling_name(&r, "pooling_mode", json_string_value(json_object_get(doc.root, "pooling_mode")), config);
	else if (status == PLM_OK && plm_json_member(doc.root, "pooling_mode") != NULL)
		status = plm_fail(err, PLM_EUNSUPPORTED, 0, "\"pooling_mode\" in %s is not a single name", file);
	else if (status == PLM_OK)
		status = read_pooling_flags(&r, config);
	if (status == PLM_OK)
		status = plm_json_bool(&r, "include_prompt", true, includes);
	config->dimensions = config->width * config->n_pooling;
	plm_json_close(&doc);
	return status;
}

static PlmStatus
read_dense_keys(const PlmJsonReader *r, int32_t dimensions, PlmDense *dense)
{
	const char *activation;
	const char *name;
	bool		bias;

	PLM_TRY(plm_json_int(r, "in_features", 1, 1 << 20, 0, &dense->in));
	PLM_TRY(plm_json_int(r, "out_features", 1, 16384, 0, &dense->out));
	if (dense->in == 0 || dense->out == 0)
		return plm_fail(r->err, PLM_ECORRUPT, 0, "%s lacks in_features or out_features", r->file);
	if (dense->in != dimensions)
		return plm_fail(r->err, PLM_ECORRUPT, 0, "\"in_features\" in %s is %d, what comes in has %d", r->file, dense->in, dimensions);
	PLM_TRY(plm_json_bool(r, "bias", true, &bias));
	dense->bias = bias;
	PLM_TRY(plm_json_string(r, "activation_function", "torch.nn.modules.activation.Tanh", &activation));
	dense->activation = plm_config_torch_activation(activation);
	if (dense->activation < 0)
		return plm_fail(r->err, PLM_EUNSUPPORTED, 0, "\"activation_function\" in %s is \"%s\", which is not supported",
						r->file, plm_json_show(activation).text);
	PLM_TRY(plm_json_string(r, "module_input_name", "sentence_embedding", &name));
	PLM_TRY(plm_json_string(r, "module_output_name", name, &activation));
	if (strcmp(name, "sentence_embedding") != 0 || strcmp(activation, "sentence_embedding") != 0)
		return plm_fail(r->err, PLM_EUNSUPPORTED, 0, "%s works on \"%s\" to give \"%s\"; only sentence_embedding is supported",
						r->file, plm_json_show(name).text, plm_json_show(activation).text);
	return PLM_OK;
}

static PlmStatus
read_dense(const PlmFileSet *set, const char *folder, PlmArena *arena, PlmConfig *config, PlmError *err)
{
	PlmDense   *dense = &config->dense[config->n_dense];
	char		file[256];
	JsonDocument doc;
	PlmStatus	status;

	if (config->n_dense == PLM_MAX_DENSE)
		return plm_fail(err, PLM_ELIMIT, 0, "modules.json has more than %d Dense modules", PLM_MAX_DENSE);
	if (strlen(folder) >= sizeof(dense->folder))
		return plm_fail(err, PLM_ELIMIT, 0, "the folder name \"%s\" in modules.json is longer than %zu bytes",
						plm_json_show(folder).text, sizeof(dense->folder) - 1);
	PLM_TRY(folder_config(set, folder, arena, file, &doc, err));
	strcpy(dense->folder, folder);
	status = read_dense_keys(&(PlmJsonReader) {doc.root, file, err}, config->dimensions, dense);
	plm_json_close(&doc);
	PLM_TRY(status);
	config->dimensions = dense->out;
	config->n_dense++;
	return PLM_OK;
}

typedef struct ModuleState
{
	const PlmFileSet *set;
	PlmArena   *arena;
	PlmConfig  *config;
	bool		pooled;			/* a Pooling module was seen */
	bool		includes_prompt;
} ModuleState;

/* The class name at the end of "sentence_transformers.models.Pooling". */
static const char *
class_name(const char *type)
{
	const char *dot = strrchr(type, '.');

	return strncmp(type, "sentence_transformers.", strlen("sentence_transformers.")) == 0 ? dot + 1 : type;
}

/* Module `index` of modules.json. */
static PlmStatus
read_module(ModuleState *state, size_t index, const json_t *module, PlmError *err)
{
	const PlmJsonReader r = {module, "modules.json", err};
	PlmConfig  *config = state->config;
	const char *type;
	const char *path;
	const char *name;

	PLM_TRY(plm_json_string(&r, "type", "", &type));
	PLM_TRY(plm_json_string(&r, "path", "", &path));
	name = class_name(type);
	if ((index == 0) != (strcmp(name, "Transformer") == 0))
		return plm_fail(err, PLM_EUNSUPPORTED, 0, "module %zu in modules.json is \"%s\"; the first, and only the first, must be a Transformer",
						index, plm_json_show(type).text);
	if (index == 0 && path[0] == '\0')
		return PLM_OK;
	if (index == 0)
		return plm_fail(err, PLM_EUNSUPPORTED, 0, "a Transformer module in the folder \"%s\" is not supported, only beside modules.json",
						plm_json_show(path).text);
	if (strcmp(name, "Dropout") == 0)
		return PLM_OK;			/* does nothing outside training */
	if (config->normalize && strcmp(name, "Normalize") != 0)
		return plm_fail(err, PLM_EUNSUPPORTED, 0, "module \"%s\" after Normalize is not supported", plm_json_show(type).text);
	if (strcmp(name, "Normalize") == 0 && state->pooled)
	{
		config->normalize = 1;
		return PLM_OK;
	}
	if (!plm_path_is_safe(path) || strlen(path) > 200)
		return plm_fail(err, PLM_ECORRUPT, 0, "module %zu in modules.json has the path \"%s\", which is not a plain relative path",
						index, plm_json_show(path).text);
	if (strcmp(name, "Pooling") == 0 && !state->pooled)
	{
		state->pooled = true;
		return read_pooling(state->set, path, state->arena, config, &state->includes_prompt, err);
	}
	if (strcmp(name, "Dense") == 0 && state->pooled)
		return read_dense(state->set, path, state->arena, config, err);
	plm_fail(err, PLM_EUNSUPPORTED, 0, "module %zu of type \"%s\" in modules.json is not supported there", index, plm_json_show(type).text);
	return plm_hint(err, "Supported are Transformer, one Pooling, Dense modules and Normalize, in this order.");
}

static PlmStatus
read_modules(ModuleState *state, const json_t *list, PlmError *err)
{
	PlmConfig  *config = state->config;
	bool		classifier = config->labels > 0;

	if (!json_is_array(list) || json_array_size(list) == 0)
		return plm_fail(err, PLM_ECORRUPT, 0, "modules.json is not a list of modules");
	if (json_array_size(list) > 32)
		return plm_fail(err, PLM_ELIMIT, 0, "modules.json has %zu modules, more than 32", json_array_size(list));
	for (size_t i = 0; i < json_array_size(list); i++)
	{
		if (!json_is_object(json_array_get(list, i)))
			return plm_fail(err, PLM_ECORRUPT, 0, "module %zu in modules.json is not an object", i);
		PLM_TRY(read_module(state, i, json_array_get(list, i), err));
	}
	if (state->pooled)
	{
		config->task = PLM_TASK_EMBEDDING;
		config->labels = 0;
	}
	else if (!classifier)		/* a cross-encoder may list its transformer alone */
		return plm_fail(err, PLM_EUNSUPPORTED, 0, "modules.json has no Pooling module");
	return PLM_OK;
}

PlmStatus
plm_config_modules(const PlmFileSet *set, PlmArena *arena, PlmConfig *config, bool *includes_prompt, PlmError *err)
{
	ModuleState state = {set, arena, config, false, true};
	JsonDocument doc;
	PlmStatus	status;

	config->pooling[0] = PLM_POOL_MEAN;
	config->n_pooling = 1;
	config->dimensions = config->width;
	*includes_prompt = true;
	PLM_TRY(plm_json_file(set, "modules.json", 0, arena, &doc, err));
	if (doc.root == NULL)
		return PLM_OK;
	status = read_modules(&state, doc.root, err);
	*includes_prompt = state.includes_prompt;
	plm_json_close(&doc);
	return status;
}

/* A positive length under `key`; 0 when absent or so large that it says nothing (tokenizers write 1e30). */
static PlmStatus
read_length(const PlmFileSet *set, const char *file, const char *key, PlmArena *arena, int32_t *out, PlmError *err)
{
	JsonDocument doc;
	PlmJsonReader r;
	double		length;
	PlmStatus	status;

	*out = 0;
	PLM_TRY(plm_json_file(set, file, PLM_JSON_BIG_NUMBERS, arena, &doc, err));
	if (doc.root == NULL)
		return PLM_OK;
	r = (PlmJsonReader) {doc.root, file, err};
	status = json_is_object(doc.root) ? plm_json_real(&r, key, 0.0, &length) : not_object(file, err);
	if (status == PLM_OK && plm_json_member(doc.root, key) != NULL && !(length >= 2.0))
		status = plm_fail(err, PLM_ECORRUPT, 0, "\"%s\" in %s is %g, less than the 2 special tokens", key, file, length);
	if (status == PLM_OK && length < 1e9)
		*out = (int32_t) length;
	plm_json_close(&doc);
	return status;
}

/* A flag of a file, or `absent` when the file or the flag is not there. */
static PlmStatus
read_flag(const PlmFileSet *set, const char *file, const char *key, bool absent, PlmArena *arena, bool *out, PlmError *err)
{
	JsonDocument doc;
	PlmStatus	status = PLM_OK;

	*out = absent;
	PLM_TRY(plm_json_file(set, file, PLM_JSON_BIG_NUMBERS, arena, &doc, err));
	if (doc.root != NULL)
		status = plm_json_bool(&(PlmJsonReader) {doc.root, file, err}, key, absent, out);
	plm_json_close(&doc);
	return status;
}

PlmStatus
plm_config_check_case(const PlmFileSet *set, PlmArena *arena, PlmError *err)
{
	bool		before;
	bool		within;

	PLM_TRY(read_flag(set, "sentence_bert_config.json", "do_lower_case", false, arena, &before, err));
	PLM_TRY(read_flag(set, "tokenizer_config.json", "do_lower_case", true, arena, &within, err));
	if (before && !within)
		return plm_fail(err, PLM_EUNSUPPORTED, 0,
						"sentence_bert_config.json lower-cases the text for a tokenizer that does not; this is not supported");
	return PLM_OK;
}

PlmStatus
plm_config_max_tokens(const PlmFileSet *set, PlmArena *arena, PlmConfig *config, PlmError *err)
{
	/* Older sentence-transformers named the file after the model's family. */
	static const char *const files[] = {"sentence_bert_config.json", "sentence_distilbert_config.json"};
	int32_t		length = 0;

	for (int64_t i = 0; i < PLM_COUNT(files) && length == 0; i++)
		PLM_TRY(read_length(set, files[i], "max_seq_length", arena, &length, err));
	if (length == 0)
		PLM_TRY(read_length(set, "tokenizer_config.json", "model_max_length", arena, &length, err));
	config->max_tokens = length == 0 || length > config->positions ? config->positions : length;
	return PLM_OK;
}

/* Copy the prompt into a field of `room` bytes. */
static PlmStatus
copy_prompt(const char *file, const char *key, const char *prompt, char *field, size_t room, PlmError *err)
{
	if (strlen(prompt) >= room)
		return plm_fail(err, PLM_ELIMIT, 0, "prompt \"%s\" in %s has %zu bytes, more than %zu",
						plm_json_show(key).text, file, strlen(prompt), room - 1);
	memset(field, 0, room);
	strcpy(field, prompt);
	return PLM_OK;
}

/*
 * The first of keys (up to a NULL) that "prompts" has, else the one that default_prompt_name names, else
 * leave the field: what encode_query() and encode_document() of sentence-transformers do.
 */
static PlmStatus
read_prompt(const PlmJsonReader *r, const char *const *keys, char *field, size_t room)
{
	PlmJsonReader prompts = {plm_json_member(r->object, "prompts"), r->file, r->err};
	const char *key = NULL;
	const char *prompt;

	if (prompts.object != NULL && !json_is_object(prompts.object))
		return plm_fail(r->err, PLM_ECORRUPT, 0, "\"prompts\" in %s is not an object", r->file);
	while (*keys != NULL && key == NULL)
	{
		if (plm_json_member(prompts.object, *keys) != NULL)
			key = *keys;
		keys++;
	}
	if (key == NULL)
		PLM_TRY(plm_json_string(r, "default_prompt_name", NULL, &key));
	if (key == NULL)
		return PLM_OK;
	PLM_TRY(plm_json_string(&prompts, key, NULL, &prompt));
	if (prompt == NULL)
		return plm_fail(r->err, PLM_ECORRUPT, 0, "default_prompt_name \"%s\" in %s names no prompt",
						plm_json_show(key).text, r->file);
	return copy_prompt(r->file, key, prompt, field, room, r->err);
}

static PlmStatus
read_prompts(const PlmJsonReader *r, PlmConfig *config)
{
	static const char *const query[] = {"query", NULL};
	static const char *const document[] = {"document", "passage", "corpus", NULL};

	if (!json_is_object(r->object))
		return not_object(r->file, r->err);
	PLM_TRY(read_prompt(r, query, config->prompt_query, sizeof(config->prompt_query)));
	return read_prompt(r, document, config->prompt_document, sizeof(config->prompt_document));
}

PlmStatus
plm_config_prompts(const PlmFileSet *set, PlmArena *arena, PlmConfig *config, PlmError *err)
{
	JsonDocument doc;
	PlmStatus	status;

	PLM_TRY(plm_json_file(set, "config_sentence_transformers.json", 0, arena, &doc, err));
	if (doc.root == NULL)
		return PLM_OK;
	status = read_prompts(&(PlmJsonReader) {doc.root, "config_sentence_transformers.json", err}, config);
	plm_json_close(&doc);
	return status;
}

static PlmStatus
read_override(const PlmJsonReader *r, PlmConfig *config)
{
	const char *pooling;

	PLM_TRY(read_prompts(r, config));
	PLM_TRY(plm_json_string(r, "pooling", NULL, &pooling));
	if (pooling == NULL)
		return PLM_OK;
	PLM_TRY(read_pooling_name(r, "pooling", pooling, config));
	if (config->n_dense > 0)
		return plm_fail(r->err, PLM_EUNSUPPORTED, 0, "\"pooling\" in %s cannot replace the pooling before a Dense module", r->file);
	config->dimensions = config->width;
	return PLM_OK;
}

PlmStatus
plm_config_override(const PlmFileSet *set, PlmArena *arena, PlmConfig *config, PlmError *err)
{
	JsonDocument doc;
	PlmStatus	status = PLM_OK;

	PLM_TRY(plm_json_file(set, "product_llm.json", 0, arena, &doc, err));
	if (doc.root != NULL)
		status = read_override(&(PlmJsonReader) {doc.root, "product_llm.json", err}, config);
	plm_json_close(&doc);
	return status;
}

PlmStatus
plm_config_tokenizer(const PlmFileSet *set, PlmArena *arena, PlmConfig *config, PlmError *err)
{
	JsonDocument doc;
	const char *task = NULL;
	PlmStatus	status = PLM_OK;
	bool		alone;

	PLM_TRY(plm_json_file(set, "product_llm.json", 0, arena, &doc, err));
	if (doc.root != NULL)
		status = plm_json_string(&(PlmJsonReader) {doc.root, "product_llm.json", err}, "task", NULL, &task);
	alone = task != NULL && strcmp(task, "tokenizer") == 0;
	plm_json_close(&doc);
	PLM_TRY(status);
	if (!alone)
		return plm_fail(err, PLM_ENOTFOUND, 0, "there is no config.json");
	config->task = PLM_TASK_TOKENIZER;
	strcpy(config->architecture, "BertTokenizer");
	config->positions = DEFAULT_POSITIONS;
	return plm_config_max_tokens(set, arena, config, err);
}

PlmStatus
plm_config_precision(const PlmFileSet *set, PlmArena *arena, PlmPrecision *precision, PlmError *err)
{
	static const ConfigName names[] = {{"f32", PLM_PREC_F32}, {"bf16", PLM_PREC_BF16}, {"int8", PLM_PREC_INT8}};
	JsonDocument doc;
	const char *name;
	int32_t		value;
	PlmStatus	status;

	*precision = PLM_PREC_F32;
	PLM_TRY(plm_json_file(set, "product_llm.json", 0, arena, &doc, err));
	if (doc.root == NULL)
		return PLM_OK;
	status = plm_json_string(&(PlmJsonReader) {doc.root, "product_llm.json", err}, "precision", "f32", &name);
	value = status == PLM_OK ? plm_config_name(names, PLM_COUNT(names), name) : 0;
	if (value < 0)
		status = plm_fail(err, PLM_EUNSUPPORTED, 0, "precision \"%s\" in product_llm.json is not one of f32, bf16 and int8",
						  plm_json_show(name).text);
	else
		*precision = (PlmPrecision) value;
	plm_json_close(&doc);
	return status;
}
