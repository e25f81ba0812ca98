/*
 * random_model.c -- the contract is in random_model.h.
 *
 * Tensor names are written down here once more, on purpose: what the engine takes for a BERT file is
 * tested against a second reading of the format.
 */
#include "random_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_FILES 16
#define MOST_TENSORS(spec) (32 + 16 * (int64_t) (spec)->layers)

typedef struct Maker
{
	const RandomModel *spec;
	PlmArena   *arena;
	PlmSource  *files;
	int			n_files;
	RandomTensor *tensors;
	int64_t		n;
	bool		failed;			/* memory was refused */
} Maker;

RandomModel
random_model_defaults(void)
{
	return (RandomModel) {
		.model_type = "bert", .architecture = "BertModel",
		.vocab = 160, .width = 48, .layers = 2, .heads = 4, .ff = 96, .positions = 64, .types = 2, .act = "gelu",
		.type = PLM_F32, .shards = 1, .seed = 1, .deviation = 0.1, .tied = true,
		.pooling = {"mean_tokens"},
	};
}

/* ---- vocabulary ---- */

int
random_token(int32_t id, char *out, size_t size)
{
	static const char *const special[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
	char		letters[4];

	if (id < 5)
		return snprintf(out, size, "%s", special[id]);
	if (id < 5 + 26)
		return snprintf(out, size, "%c", 'a' + (id - 5));
	if (id < 5 + 52)
		return snprintf(out, size, "##%c", 'a' + (id - 31));
	if (id < 57 + 16)
		return snprintf(out, size, "\xe4\xb8%c", 0x80 + (id - 57));
	id -= 73;
	for (int i = 0; i < 4; i++, id /= 26)
		letters[i] = (char) ('a' + id % 26);
	return snprintf(out, size, "%.4s", letters);
}

/* ---- files ---- */

static void *
need(Maker *m, size_t bytes)
{
	void	   *ptr = m->failed ? NULL : plm_arena_zero(m->arena, bytes);

	if (ptr == NULL)
		m->failed = true;
	return ptr;
}

static void
add_file(Maker *m, const char *name, const void *data, size_t bytes)
{
	if (!m->failed && m->n_files < MOST_FILES)
		m->files[m->n_files++] = plm_source_memory(name, data, bytes);
}

static void add_text(Maker *m, const char *name, const char *fmt,...) __attribute__((format(printf, 3, 4)));

static void
add_text(Maker *m, const char *name, const char *fmt,...)
{
	char	   *text = need(m, 8192);
	va_list		ap;

	if (text == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, 8192, fmt, ap);
	va_end(ap);
	add_file(m, name, text, strlen(text));
}

static void
add_vocab(Maker *m)
{
	char	   *text = need(m, (size_t) m->spec->vocab * 16);
	size_t		used = 0;

	if (text == NULL)
		return;
	for (int32_t id = 0; id < m->spec->vocab; id++)
	{
		used += (size_t) random_token(id, text + used, 15);
		text[used++] = '\n';
	}
	add_file(m, "vocab.txt", text, used);
	add_text(m, "tokenizer_config.json", "{\"tokenizer_class\": \"BertTokenizer\", \"do_lower_case\": true}");
}

static void
labels_text(const RandomModel *s, char *out, size_t size)
{
	size_t		used = (size_t) snprintf(out, size, "{");

	for (int i = 0; i < s->labels && used < size; i++)
		used += (size_t) snprintf(out + used, size - used, "%s\"%d\": \"label %d\"", i > 0 ? ", " : "", i, i);
	if (used < size)
		snprintf(out + used, size - used, "}");
}

static void
add_config(Maker *m)
{
	const RandomModel *s = m->spec;
	bool		distil = strcmp(s->model_type, "distilbert") == 0;
	char		labels[4096];
	char		problem[64] = "";
	char		rest[4400] = "";

	if (s->problem != NULL)
		snprintf(problem, sizeof(problem), ", \"problem_type\": \"%s\"", s->problem);
	labels_text(s, labels, sizeof(labels));
	if (s->labels > 0)
		snprintf(rest, sizeof(rest), ", \"id2label\": %s%s", labels, problem);
	add_text(m, "config.json", distil ?
			 "{\"architectures\": [\"%s\"], \"model_type\": \"%s\", \"dim\": %d, \"n_layers\": %d, \"n_heads\": %d, "
			 "\"hidden_dim\": %d, \"activation\": \"%s\", \"vocab_size\": %d, \"max_position_embeddings\": %d, "
			 "\"pad_token_id\": 0, \"tie_word_embeddings\": %s%s}" :
			 "{\"architectures\": [\"%s\"], \"model_type\": \"%s\", \"hidden_size\": %d, \"num_hidden_layers\": %d, "
			 "\"num_attention_heads\": %d, \"intermediate_size\": %d, \"hidden_act\": \"%s\", \"vocab_size\": %d, "
			 "\"max_position_embeddings\": %d, \"layer_norm_eps\": 1e-12, \"pad_token_id\": 0, \"type_vocab_size\": 2, "
			 "\"tie_word_embeddings\": %s%s}",
			 s->architecture, s->model_type, s->width, s->layers, s->heads, s->ff, s->act, s->vocab, s->positions,
			 s->tied ? "true" : "false", rest);
}

static bool
pools(const RandomModel *s, const char *mode)
{
	for (int i = 0; i < 4; i++)
		if (s->pooling[i] != NULL && strcmp(s->pooling[i], mode) == 0)
			return true;
	return false;
}

static int
pooled_modes(const RandomModel *s)
{
	int			n = 0;

	while (n < 4 && s->pooling[n] != NULL)
		n++;
	return n;
}

static void
add_modules(Maker *m)
{
	static const char *const modes[] = {"cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "lasttoken"};
	const RandomModel *s = m->spec;
	char		list[1024];
	char		config[1024];
	size_t		used;
	int32_t		width = s->width * pooled_modes(s);

	if (s->product_llm != NULL)
		add_text(m, "product_llm.json", "%s", s->product_llm);
	if (s->pooling[0] == NULL || pools(s, "pooler"))
		return;
	used = (size_t) snprintf(config, sizeof(config), "{\"word_embedding_dimension\": %d", s->width);
	for (int i = 0; i < 5; i++)
		used += (size_t) snprintf(config + used, sizeof(config) - used, ", \"pooling_mode_%s\": %s", modes[i],
								  pools(s, modes[i]) ? "true" : "false");
	add_text(m, "1_Pooling/config.json", "%s}", config);
	used = (size_t) snprintf(list, sizeof(list),
							 "[{\"idx\": 0, \"name\": \"0\", \"path\": \"\", \"type\": \"sentence_transformers.models.Transformer\"}, "
							 "{\"idx\": 1, \"name\": \"1\", \"path\": \"1_Pooling\", \"type\": \"sentence_transformers.models.Pooling\"}");
	for (int i = 0; i < 2 && s->dense[i] > 0; i++)
	{
		char		name[32];

		used += (size_t) snprintf(list + used, sizeof(list) - used, ", {\"idx\": %d, \"name\": \"%d\", \"path\": "
								  "\"%d_Dense\", \"type\": \"sentence_transformers.models.Dense\"}", i + 2, i + 2, i + 2);
		snprintf(name, sizeof(name), "%d_Dense/config.json", i + 2);
		add_text(m, name, "{\"in_features\": %d, \"out_features\": %d, \"bias\": %s, \"activation_function\": "
				 "\"torch.nn.modules.%s\"}", width, s->dense[i], s->dense_bias ? "true" : "false",
				 strcmp(s->dense_act, "Identity") == 0 ? "linear.Identity" : "activation.Tanh");
		width = s->dense[i];
	}
	add_text(m, "modules.json", "%s]", list);
	if (s->prompt_query != NULL || s->prompt_document != NULL)
		add_text(m, "config_sentence_transformers.json", "{\"prompts\": {\"query\": \"%s\", \"document\": \"%s\"}}",
				 s->prompt_query != NULL ? s->prompt_query : "", s->prompt_document != NULL ? s->prompt_document : "");
}

/* ---- tensors ---- */

static void
add_tensor(Maker *m, int folder, bool encoder, double mean, int64_t rows, int64_t cols, const char *base)
{
	const RandomModel *s = m->spec;
	RandomTensor *t;
	const char *norm = s->old_norms ? strstr(base, "LayerNorm.") : NULL;

	if (m->failed || (s->omit != NULL && strcmp(s->omit, base) == 0))
		return;
	t = &m->tensors[m->n++];
	snprintf(t->base, sizeof(t->base), "%s", base);
	snprintf(t->name, sizeof(t->name), "%s%s%.*s%s", s->prefix && encoder ? s->model_type : "",
			 s->prefix && encoder ? "." : "", norm != NULL ? (int) (norm - base + 10) : (int) strlen(base), base,
			 norm == NULL ? "" : strcmp(norm + 10, "weight") == 0 ? "gamma" : "beta");
	t->folder = folder;
	t->rank = cols > 0 ? 2 : 1;
	t->shape[0] = rows + (s->reshape != NULL && strcmp(s->reshape, base) == 0);
	t->shape[1] = cols;
	t->type = s->type;
	t->mean = mean;
	t->deviation = s->deviation;
	t->key = plm_checksum(base, strlen(base), s->seed + (uint64_t) folder);
	t->nan = s->nan != NULL && strcmp(s->nan, base) == 0;
}

/* weight and bias of a linear layer (or of a norm, when in is 0). */
static void
add_pair(Maker *m, bool encoder, int64_t out, int64_t in, const char *fmt, int layer)
{
	char		stem[64];
	char		name[96];

	snprintf(stem, sizeof(stem), fmt, layer);
	snprintf(name, sizeof(name), "%s.weight", stem);
	add_tensor(m, 0, encoder, in == 0 ? 1.0 : 0.0, out, in, name);
	snprintf(name, sizeof(name), "%s.bias", stem);
	add_tensor(m, 0, encoder, 0.0, out, 0, name);
}

static void
add_encoder(Maker *m, bool distil)
{
	const RandomModel *s = m->spec;
	static const char *const bert[] = {
		"encoder.layer.%d.attention.self.query", "encoder.layer.%d.attention.self.key",
		"encoder.layer.%d.attention.self.value", "encoder.layer.%d.attention.output.dense",
		"encoder.layer.%d.attention.output.LayerNorm", "encoder.layer.%d.intermediate.dense",
	"encoder.layer.%d.output.dense", "encoder.layer.%d.output.LayerNorm"};
	static const char *const distilbert[] = {
		"transformer.layer.%d.attention.q_lin", "transformer.layer.%d.attention.k_lin",
		"transformer.layer.%d.attention.v_lin", "transformer.layer.%d.attention.out_lin",
		"transformer.layer.%d.sa_layer_norm", "transformer.layer.%d.ffn.lin1",
	"transformer.layer.%d.ffn.lin2", "transformer.layer.%d.output_layer_norm"};
	const char *const *names = distil ? distilbert : bert;

	add_tensor(m, 0, true, 0, s->vocab, s->width, "embeddings.word_embeddings.weight");
	add_tensor(m, 0, true, 0, s->positions, s->width, "embeddings.position_embeddings.weight");
	if (!distil)
		add_tensor(m, 0, true, 0, s->types, s->width, "embeddings.token_type_embeddings.weight");
	add_pair(m, true, s->width, 0, "embeddings.LayerNorm", 0);
	for (int l = 0; l < s->layers; l++)
	{
		for (int i = 0; i < 4; i++)
			add_pair(m, true, s->width, s->width, names[i], l);
		add_pair(m, true, s->width, 0, names[4], l);
		add_pair(m, true, s->ff, s->width, names[5], l);
		add_pair(m, true, s->width, s->ff, names[6], l);
		add_pair(m, true, s->width, 0, names[7], l);
	}
	/* Published files have tensors that nobody needs. */
	add_tensor(m, 0, true, 0, s->positions, 0, "embeddings.position_ids");
}

static void
add_heads(Maker *m, bool distil)
{
	const RandomModel *s = m->spec;

	if (s->pooler)
		add_pair(m, true, s->width, s->width, "pooler.dense", 0);
	if (s->labels > 0)
	{
		if (distil)
			add_pair(m, false, s->width, s->width, "pre_classifier", 0);
		add_pair(m, false, s->labels, s->width, "classifier", 0);
	}
	if (s->mask_head)
	{
		add_pair(m, false, s->width, s->width, distil ? "vocab_transform" : "cls.predictions.transform.dense", 0);
		add_pair(m, false, s->width, 0, distil ? "vocab_layer_norm" : "cls.predictions.transform.LayerNorm", 0);
		add_tensor(m, 0, false, 0, s->vocab, 0, distil ? "vocab_projector.bias" : "cls.predictions.bias");
		if (!s->tied)
			add_tensor(m, 0, false, 0, s->vocab, s->width,
					   distil ? "vocab_projector.weight" : "cls.predictions.decoder.weight");
	}
	for (int i = 0, width = s->width * pooled_modes(s); i < 2 && s->dense[i] > 0; i++)
	{
		add_tensor(m, i + 1, false, 0, s->dense[i], width, "linear.weight");
		if (s->dense_bias)
			add_tensor(m, i + 1, false, 0, s->dense[i], 0, "linear.bias");
		width = s->dense[i];
	}
}

/* ---- safetensors ---- */

/* Round to nearest even, as the format's other writers do; only ordinary magnitudes occur here. */
static uint16_t
to_f16(float x)
{
	int			e;
	double		f = frexp(fabs((double) x), &e);	/* |x| = f * 2^e, f in [0.5, 1) */
	uint16_t	sign = signbit(x) ? 0x8000 : 0;

	if (isnan(x))
		return 0x7e00;
	if (x == 0.0f)
		return sign;
	if (e < -13)
		return sign | (uint16_t) nearbyint(ldexp(f, e + 24));	/* subnormal: units of 2^-24 */
	return sign | (uint16_t) (((e + 14) << 10) + (int) nearbyint(ldexp(f, 11)) - 1024);
}

static float
from_f16(uint16_t h)
{
	int			e = (h >> 10) & 31;
	double		f = h & 1023;
	double		v = e == 31 ? NAN : e == 0 ? ldexp(f, -24) : ldexp(1024 + f, e - 25);

	return (float) ((h & 0x8000) ? -v : v);
}

static uint16_t
to_bf16(float x)
{
	uint32_t	u;

	memcpy(&u, &x, 4);
	if (isnan(x))
		return 0x7fc0;
	return (uint16_t) ((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

static float
from_bf16(uint16_t h)
{
	uint32_t	u = (uint32_t) h << 16;
	float		x;

	memcpy(&x, &u, 4);
	return x;
}

/* Uniform, with the deviation asked for: a normal number costs ten times as much, and models are large. */
static float
raw_value(const RandomTensor *t, int64_t i)
{
	if (t->nan && i == 3)
		return NAN;
	return (float) (t->mean + t->deviation * sqrt(12.0) * (plm_random_uniform(t->key, (uint64_t) i) - 0.5));
}

float
random_tensor_value(const RandomTensor *t, int64_t i)
{
	float		x = raw_value(t, i);

	return t->type == PLM_F16 ? from_f16(to_f16(x)) : t->type == PLM_BF16 ? from_bf16(to_bf16(x)) : x;
}

static int64_t
elements(const RandomTensor *t)
{
	return t->shape[0] * (t->rank == 2 ? t->shape[1] : 1);
}

static void
write_values(const RandomTensor *t, unsigned char *to)
{
	for (int64_t i = 0; i < elements(t); i++)
	{
		float		x = raw_value(t, i);
		uint16_t	h = t->type == PLM_F16 ? to_f16(x) : to_bf16(x);

		if (t->type == PLM_F32)
			memcpy(to + 4 * i, &x, 4);
		else
			memcpy(to + 2 * i, &h, 2);
	}
}

static bool
in_file(const Maker *m, int64_t i, int folder, int shard)
{
	return m->tensors[i].folder == folder && (folder > 0 || i % m->spec->shards == shard);
}

/* One safetensors file with the tensors of a folder, or of a shard of the model. */
static void
add_safetensors(Maker *m, const char *name, int folder, int shard)
{
	size_t		header = 64;
	size_t		bytes = 0;
	size_t		used;
	size_t		offset = 0;
	unsigned char *file;

	for (int64_t i = 0; i < m->n; i++)
		if (in_file(m, i, folder, shard))
		{
			header += sizeof(m->tensors[i].name) + 128;
			bytes += (size_t) elements(&m->tensors[i]) * plm_type_bytes(m->tensors[i].type);
		}
	header = plm_align(header, 64);
	file = need(m, 8 + header + bytes);
	if (file == NULL)
		return;
	memset(file + 8, ' ', header);
	for (int i = 0; i < 8; i++)
		file[i] = (unsigned char) ((uint64_t) header >> (8 * i));
	used = (size_t) sprintf((char *) file + 8, "{\"__metadata__\": {\"format\": \"pt\"}");
	for (int64_t i = 0; i < m->n; i++)
	{
		RandomTensor *t = &m->tensors[i];
		size_t		size = (size_t) elements(t) * plm_type_bytes(t->type);
		char		second[32] = "";

		if (!in_file(m, i, folder, shard))
			continue;
		if (t->rank == 2)
			snprintf(second, sizeof(second), ", %" PRId64, t->shape[1]);
		used += (size_t) sprintf((char *) file + 8 + used, ", \"%s\": {\"dtype\": \"%s\", \"shape\": [%" PRId64 "%s], "
								 "\"data_offsets\": [%zu, %zu]}", t->name, plm_type_name(t->type), t->shape[0], second,
								 offset, offset + size);
		write_values(t, file + 8 + header + offset);
		offset += size;
	}
	file[8 + used++] = '}';
	file[8 + used] = ' ';		/* over sprintf's NUL */
	add_file(m, name, file, 8 + header + bytes);
}

static void
add_shards(Maker *m)
{
	const RandomModel *s = m->spec;
	size_t		size = (size_t) m->n * 200 + 100;
	char	   *index = need(m, size);
	size_t		used;
	char		name[64];

	if (index == NULL)
		return;
	used = (size_t) snprintf(index, size, "{\"metadata\": {\"total_size\": 0}, \"weight_map\": {");
	for (int64_t i = 0, first = 1; i < m->n; i++)
		if (m->tensors[i].folder == 0)
		{
			used += (size_t) snprintf(index + used, size - used, "%s\"%s\": \"model-%05d-of-%05d.safetensors\"",
									  first ? "" : ", ", m->tensors[i].name, (int) (i % s->shards) + 1, s->shards);
			first = 0;
		}
	used += (size_t) snprintf(index + used, size - used, "}}");
	add_file(m, "model.safetensors.index.json", index, used);
	for (int i = 0; i < s->shards; i++)
	{
		snprintf(name, sizeof(name), "model-%05d-of-%05d.safetensors", i + 1, s->shards);
		add_safetensors(m, name, 0, i);
	}
}

bool
random_model_files(const RandomModel *spec, PlmArena *arena, RandomFiles *out)
{
	Maker		m = {.spec = spec, .arena = arena};
	bool		distil = strcmp(spec->model_type, "distilbert") == 0;

	m.files = need(&m, MOST_FILES * sizeof(PlmSource));
	m.tensors = need(&m, (size_t) MOST_TENSORS(spec) * sizeof(RandomTensor));
	if (m.failed)
		return false;
	add_config(&m);
	add_vocab(&m);
	add_modules(&m);
	add_encoder(&m, distil);
	add_heads(&m, distil);
	if (spec->shards > 1)
		add_shards(&m);
	else
		add_safetensors(&m, "model.safetensors", 0, 0);
	for (int i = 0; i < 2 && spec->dense[i] > 0; i++)
	{
		char		name[64];

		snprintf(name, sizeof(name), "%d_Dense/model.safetensors", i + 2);
		add_safetensors(&m, name, i + 1, 0);
	}
	*out = (RandomFiles) {{m.files, m.n_files}, m.tensors, m.n};
	return !m.failed;
}

const RandomTensor *
random_tensor_find(const RandomFiles *files, const char *base)
{
	for (int64_t i = 0; i < files->n; i++)
		if (strcmp(files->tensors[i].base, base) == 0)
			return &files->tensors[i];
	return NULL;
}

/* ---- opening ---- */

PlmStatus
test_model_open(const PlmFileSet *set, PlmPrecision precision, PlmArena *arena, TestModel *out, PlmError *err)
{
	static const unsigned char key[PLM_KEY_BYTES] = "a unit test";
	static int	number;
	const char *folder = getenv("TMPDIR");
	char		path[512];
	char		temporary[528];
	PlmStatus	status;

	memset(out, 0, sizeof(*out));
	snprintf(path, sizeof(path), "%s/plm_test_%ld_%d", folder != NULL ? folder : "/tmp", (long) getpid(), number++);
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	PLM_TRY(plm_model_pack(set, precision, key, temporary, path, arena, err));
	status = plm_packed_open(path, key, &out->file, err);
	unlink(path);
	if (status != PLM_OK)
		return status;
	status = plm_model_open(&out->file, arena, &out->model, err);
	if (status != PLM_OK)
		plm_packed_close(&out->file);
	return status;
}

void
test_model_close(TestModel *m)
{
	plm_packed_close(&m->file);
}
