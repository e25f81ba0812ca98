/*
 * fresh.c -- files of a model that has no weights yet: a BERT of some shape around a vocabulary.
 */
#include "internal.h"

#include <string.h>

static int32_t
lines_of(PlmText text)
{
	int64_t		n = text.len > 0 && text.data[text.len - 1] != '\n';

	for (size_t i = 0; i < text.len; i++)
		n += text.data[i] == '\n';
	return n > INT32_MAX ? INT32_MAX : (int32_t) n;
}

static PlmStatus
check_shape(const PlmShape *s, PlmError *err)
{
	const struct
	{
		const char *what;
		int32_t		value, low, high;
	}			sizes[] = {
		{"the width", s->width, 1, 4096}, {"the number of layers", s->layers, 1, 64}, {"the number of heads", s->heads, 1, 64},
		{"the feed-forward width", s->ff, 1, 16384}, {"the number of positions", s->positions, 4, 8192}
	};

	for (int64_t i = 0; i < PLM_COUNT(sizes); i++)
		if (sizes[i].value < sizes[i].low || sizes[i].value > sizes[i].high)
		{
			plm_fail(err, PLM_EARG, 0, "%s must be between %" PRId32 " and %" PRId32 ", not %" PRId32, sizes[i].what, sizes[i].low,
					 sizes[i].high, sizes[i].value);
			return plm_hint(err, "Leave the option out for a model of width 256, 4 layers and 4 heads.");
		}
	if (s->width % s->heads != 0)
	{
		plm_fail(err, PLM_EARG, 0, "a width of %" PRId32 " is not a multiple of %" PRId32 " heads", s->width, s->heads);
		return plm_hint(err, "Heads of 32 or 64 are usual: option \"heads\" is then the width over that.");
	}
	return PLM_OK;
}

PlmStatus
plm_fresh_files(const PlmShape *shape, PlmText vocab_txt, PlmText tokenizer_config_json, PlmArena *arena, PlmFileSet *out,
				PlmError *err)
{
	PlmText		config;
	PlmSource  *files;

	PLM_TRY(check_shape(shape, err));
	PLM_TRY(plm_config_fresh(lines_of(vocab_txt), shape->width, shape->layers, shape->heads, shape->ff, shape->positions, arena,
							 &config, err));
	PLM_TRY(plm_take(arena, 3, sizeof(PlmSource), &files, err));
	files[0] = plm_source_memory("config.json", config.data, config.len);
	files[1] = plm_source_memory("vocab.txt", vocab_txt.data, vocab_txt.len);
	files[2] = plm_source_memory("tokenizer_config.json", tokenizer_config_json.data, tokenizer_config_json.len);
	*out = (PlmFileSet) {files, tokenizer_config_json.data != NULL ? 3 : 2};
	return PLM_OK;
}
