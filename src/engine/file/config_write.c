/*
 * config_write.c -- config.json of a model that was trained, or that shall be: the one writer of Hugging Face's keys.
 *
 * What a base's file says is copied as it stands, byte for byte, except for the members that a head changes.
 */
#include "config_parts.h"

#include <stdio.h>
#include <string.h>

/* Text that grows in an arena-allocated buffer of a size that was computed before. */
typedef struct Writer
{
	char	   *data;
	size_t		used, size;
} Writer;

static void
put(Writer *w, const char *data, size_t len)
{
	if (len > w->size - w->used)
		len = w->size - w->used;
	memcpy(w->data + w->used, data, len);
	w->used += len;
}

static void
put_string(Writer *w, const char *s)
{
	put(w, s, strlen(s));
}

/* A JSON string with its quotes: at most 6 bytes for one. */
static void
put_quoted(Writer *w, PlmText text)
{
	put(w, "\"", 1);
	for (size_t i = 0; i < text.len; i++)
	{
		unsigned char c = (unsigned char) text.data[i];
		char		escape[8];

		if (c >= 0x20 && c != '"' && c != '\\')
		{
			put(w, text.data + i, 1);
			continue;
		}
		snprintf(escape, sizeof(escape), c < 0x20 ? "\\u%04x" : "\\%c", c);
		put_string(w, escape);
	}
	put(w, "\"", 1);
}

/* ---- members of the original, by position: the text has been parsed before, so it is valid JSON ---- */

static size_t
skip_space(PlmText t, size_t at)
{
	while (at < t.len && (t.data[at] == ' ' || t.data[at] == '\n' || t.data[at] == '\t' || t.data[at] == '\r'))
		at++;
	return at;
}

/* Past the string that begins at `at`. */
static size_t
skip_string(PlmText t, size_t at)
{
	for (at++; at < t.len && t.data[at] != '"'; at++)
		if (t.data[at] == '\\')
			at++;
	return at < t.len ? at + 1 : t.len;
}

/* Past the value that begins at `at`. */
static size_t
skip_value(PlmText t, size_t at)
{
	int			depth = 0;

	while (at < t.len)
	{
		char		c = t.data[at];

		if (c == '"')
		{
			at = skip_string(t, at);
			if (depth == 0)
				return at;
			continue;
		}
		if (depth == 0 && (c == ',' || c == '}' || c == ']'))
			return at;
		depth += (c == '{' || c == '[') - (c == '}' || c == ']');
		at++;
		if (depth == 0 && (c == '}' || c == ']'))
			return at;
	}
	return at;
}

/* What a head changes. */
static const char *const head_keys[] = {"architectures", "id2label", "label2id", "num_labels", "problem_type", "torch_dtype", "dtype", NULL};
static const char *const vocabulary_keys[] = {"vocab_size", NULL};

static bool
is_one_of(PlmText key, const char *const *keys)
{
	for (; *keys != NULL; keys++)
		if (key.len == strlen(*keys) && memcmp(key.data, *keys, key.len) == 0)
			return true;
	return false;
}

/* All members but these, each after a comma. */
static void
put_rest(Writer *w, PlmText t, const char *const *but)
{
	size_t		at = skip_space(t, 0) + 1;

	for (;;)
	{
		size_t		key = skip_space(t, at);
		size_t		end;
		size_t		value;

		if (key >= t.len || t.data[key] != '"')
			return;
		end = skip_string(t, key);
		value = skip_space(t, skip_space(t, end) + 1);
		at = skip_value(t, value);
		if (!is_one_of((PlmText) {t.data + key + 1, end - key - 2}, but))
		{
			size_t		len = at - key;

			while (len > 0 && strchr(" \n\t\r", t.data[key + len - 1]) != NULL)
				len--;
			put_string(w, ",\n  ");
			put(w, t.data + key, len);
		}
		at = skip_space(t, at);
		if (at >= t.len || t.data[at] != ',')
			return;
		at++;
	}
}

static void
put_labels(Writer *w, int32_t n, const PlmText *labels)
{
	char		number[32];

	put_string(w, ",\n  \"id2label\": {");
	for (int32_t i = 0; i < n; i++)
	{
		snprintf(number, sizeof(number), "%s\"%" PRId32 "\": ", i > 0 ? ", " : "", i);
		put_string(w, number);
		put_quoted(w, labels[i]);
	}
	put_string(w, "},\n  \"label2id\": {");
	for (int32_t i = 0; i < n; i++)
	{
		put_string(w, i > 0 ? ", " : "");
		put_quoted(w, labels[i]);
		snprintf(number, sizeof(number), ": %" PRId32, i);
		put_string(w, number);
	}
	put_string(w, "}");
}

static PlmStatus
open_writer(size_t size, PlmArena *arena, Writer *w, PlmError *err)
{
	*w = (Writer) {plm_arena_alloc(arena, size), 0, size};
	return w->data != NULL ? PLM_OK : plm_arena_refused(arena, size, err);
}

PlmStatus
plm_config_write(PlmText original, const PlmConfig *config, const PlmText *labels, const char *type, PlmArena *arena,
				 PlmText *out, PlmError *err)
{
	size_t		size = 2 * original.len + 1024;	/* a comma, a line and an indent before each member */
	Writer		w;

	for (int32_t i = 0; i < config->labels; i++)
		size += 2 * (6 * labels[i].len + 32);
	PLM_TRY(open_writer(size, arena, &w, err));
	put_string(&w, "{\n  \"architectures\": [\"");
	put_string(&w, config->architecture);
	put_string(&w, "\"]");
	put_rest(&w, original, head_keys);
	if (config->labels > 0)
		put_labels(&w, config->labels, labels);
	if (config->task == PLM_TASK_CLASSIFICATION)
		put_string(&w, config->problem == PLM_PROBLEM_MULTI ? ",\n  \"problem_type\": \"multi_label_classification\"" :
				   ",\n  \"problem_type\": \"single_label_classification\"");
	put_string(&w, ",\n  \"torch_dtype\": \"");
	put_string(&w, type);
	put_string(&w, "\"\n}\n");
	*out = (PlmText) {w.data, w.used};
	return PLM_OK;
}

PlmStatus
plm_config_resized(PlmText original, int32_t vocab, PlmArena *arena, PlmText *out, PlmError *err)
{
	char		number[32];
	Writer		w;

	PLM_TRY(open_writer(2 * original.len + 64, arena, &w, err));
	snprintf(number, sizeof(number), "{\n  \"vocab_size\": %" PRId32, vocab);
	put_string(&w, number);
	put_rest(&w, original, vocabulary_keys);
	put_string(&w, "\n}\n");
	*out = (PlmText) {w.data, w.used};
	return PLM_OK;
}

PlmStatus
plm_config_fresh(int32_t vocab, int32_t width, int32_t layers, int32_t heads, int32_t ff, int32_t positions, PlmArena *arena,
				 PlmText *out, PlmError *err)
{
	Writer		w;

	PLM_TRY(open_writer(1024, arena, &w, err));
	w.used = (size_t) snprintf(w.data, w.size,
							   "{\n  \"architectures\": [\"BertForMaskedLM\"],\n  \"model_type\": \"bert\",\n"
							   "  \"hidden_size\": %" PRId32 ",\n  \"num_hidden_layers\": %" PRId32 ",\n"
							   "  \"num_attention_heads\": %" PRId32 ",\n  \"intermediate_size\": %" PRId32 ",\n"
							   "  \"hidden_act\": \"gelu\",\n  \"vocab_size\": %" PRId32 ",\n"
							   "  \"max_position_embeddings\": %" PRId32 ",\n  \"type_vocab_size\": 2,\n"
							   "  \"layer_norm_eps\": 1e-12,\n  \"hidden_dropout_prob\": 0.0,\n"
							   "  \"attention_probs_dropout_prob\": 0.0,\n  \"pad_token_id\": 0,\n"
							   "  \"tie_word_embeddings\": true,\n  \"torch_dtype\": \"float32\"\n}\n",
							   width, layers, heads, ff, vocab, positions);
	*out = (PlmText) {w.data, w.used};
	return PLM_OK;
}

PlmStatus
plm_config_pooling(int32_t width, PlmArena *arena, PlmText *modules, PlmText *pooling, PlmError *err)
{
	static const char list[] =
		"[\n  {\"idx\": 0, \"name\": \"0\", \"path\": \"\", \"type\": \"sentence_transformers.models.Transformer\"},\n"
		"  {\"idx\": 1, \"name\": \"1\", \"path\": \"1_Pooling\", \"type\": \"sentence_transformers.models.Pooling\"},\n"
		"  {\"idx\": 2, \"name\": \"2\", \"path\": \"2_Normalize\", \"type\": \"sentence_transformers.models.Normalize\"}\n]\n";
	Writer		w;

	PLM_TRY(open_writer(512, arena, &w, err));
	w.used = (size_t) snprintf(w.data, w.size,
							   "{\n  \"word_embedding_dimension\": %" PRId32 ",\n  \"pooling_mode_cls_token\": false,\n"
							   "  \"pooling_mode_mean_tokens\": true,\n  \"pooling_mode_max_tokens\": false,\n"
							   "  \"pooling_mode_mean_sqrt_len_tokens\": false\n}\n", width);
	*modules = (PlmText) {list, sizeof(list) - 1};
	*pooling = (PlmText) {w.data, w.used};
	return PLM_OK;
}
