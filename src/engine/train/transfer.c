/*
 * transfer.c -- a base with other words: the files of a model that has the weights of one and the tokenizer of another.
 *
 * A piece that the base's vocabulary has too keeps its row; any other begins as the mean of the rows of those that the base cuts it
 * into (fast vocabulary transfer, Gee et al. 2022).
 */
#include "internal.h"

#include <string.h>

#define CONFIG_BYTES ((size_t) 1 << 20)

/* ---- files ---- */

static bool
is_tokenizer_file(const char *name)
{
	static const char *const names[] = {"vocab.txt", "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json",
	"special_tokens_map.json", "added_tokens.json"};

	for (int64_t i = 0; i < PLM_COUNT(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

PlmStatus
plm_transfer_files(const PlmFileSet *base, const PlmFileSet *words, int32_t tokens, PlmArena *arena, PlmFileSet **out, PlmError *err)
{
	PlmText		original;
	PlmText		config;
	PlmSource  *files;
	int			n = 0;

	PLM_TRY(plm_file_text(base, "config.json", CONFIG_BYTES, arena, &original, err));
	PLM_TRY(plm_config_resized(original, tokens, arena, &config, err));
	PLM_TRY(plm_take(arena, base->n + words->n, sizeof(PlmSource), &files, err));
	for (int i = 0; i < base->n; i++)
		if (!is_tokenizer_file(base->files[i].name))
			files[n++] = strcmp(base->files[i].name, "config.json") == 0 ?
				plm_source_memory("config.json", config.data, config.len) : base->files[i];
	for (int i = 0; i < words->n; i++)
		if (is_tokenizer_file(words->files[i].name))
			files[n++] = words->files[i];
	PLM_TRY(plm_take(arena, 1, sizeof(PlmFileSet), out, err));
	**out = (PlmFileSet) {files, n};
	return PLM_OK;
}

/* ---- rows ---- */

/* The base's id of the piece `id`, -1 when it has none: special tokens by what they are for, whatever their text. */
static int32_t
same_piece(const PlmTokenizer *former, const PlmTokenizer *now, int32_t id)
{
	const struct
	{
		int32_t		now, former;
	}			roles[] = {
		{now->cls, former->cls}, {now->sep, former->sep}, {now->pad, former->pad}, {now->unk, former->unk}, {now->mask, former->mask}
	};

	for (int64_t i = 0; i < PLM_COUNT(roles); i++)
		if (id == roles[i].now && roles[i].former >= 0)
			return roles[i].former;
	return plm_token_id(former, plm_token_text(now, id));
}

/* Into out's ids, n: the base's pieces of the piece `id`; unknown ones do not count. */
static PlmStatus
former_pieces(const PlmTransfer *f, const PlmTokenizer *now, int32_t id, PlmWorker *worker, PlmArena *arena, PlmEncoding *out, PlmError *err)
{
	PlmText		piece = plm_token_text(now, id);
	int32_t		same = same_piece(&f->tokenizer, now, id);
	int64_t		n = 0;

	if (same >= 0)
	{
		PLM_TRY(plm_take(arena, 1, sizeof(int32_t), &out->ids, err));
		out->ids[0] = same;
		out->n = 1;
		return PLM_OK;
	}
	if (piece.len > 2 && memcmp(piece.data, "##", 2) == 0)
		piece = (PlmText) {piece.data + 2, piece.len - 2};
	PLM_TRY(plm_encode(&f->tokenizer, piece, NULL, 0, worker, arena, out, err));
	for (int64_t i = 0; i < out->n; i++)
		if (out->start[i] >= 0 && out->ids[i] != f->tokenizer.unk)
			out->ids[n++] = out->ids[i];
	out->n = n;
	return PLM_OK;
}

PlmStatus
plm_transfer_open(const PlmFileSet *base, PlmConfig *config, const PlmTokenizer *now, const PlmHook *hook, PlmArena *arena, PlmTransfer *out,
				  PlmError *err)
{
	PlmRun		run;
	PlmWorker	worker = plm_main_worker(&run, hook);
	void	   *blob;
	size_t		bytes;

	PLM_TRY(plm_model_tokenizer_compile(base, config, arena, &blob, &bytes, err));
	PLM_TRY(plm_tokenizer_open(blob, bytes, &out->tokenizer, err));
	out->vocab = config->vocab;
	out->tokens = now->tokens;
	PLM_TRY(plm_take(arena, (int64_t) now->tokens + 1, sizeof(int64_t), &out->at, err));
	out->at[0] = 0;
	for (int pass = 0; pass < 2; pass++)	/* first counts, then ids */
	{
		if (pass == 1)
			PLM_TRY(plm_take(arena, out->at[now->tokens] + 1, sizeof(int32_t), &out->ids, err));
		for (int32_t id = 0; id < now->tokens; id++)
		{
			PlmMark		mark = plm_arena_mark(arena);
			PlmEncoding e = {.n = 0};

			PLM_TRY(former_pieces(out, now, id, &worker, arena, &e, err));
			if (pass == 1 && e.n > 0)
				memcpy(out->ids + out->at[id], e.ids, (size_t) e.n * sizeof(int32_t));
			out->at[id + 1] = out->at[id] + e.n;
			plm_arena_rewind(arena, mark);
		}
	}
	return PLM_OK;
}

PlmStatus
plm_transfer_rows(const PlmTransfer *f, const PlmParam *from, PlmArena *arena, float *to, PlmError *err)
{
	int64_t		C = from->rank == 2 ? from->cols : 1;
	PlmMark		mark = plm_arena_mark(arena);
	float	   *rows;

	PLM_TRY(plm_take(arena, f->vocab * C, sizeof(float), &rows, err));
	PLM_TRY(plm_param_read(from, rows, arena, err));
	for (int64_t i = 0; i < f->tokens; i++)
	{
		int64_t		n = f->at[i + 1] - f->at[i];

		if (n == 0)
			continue;
		for (int64_t c = 0; c < C; c++)
		{
			double		sum = 0;

			for (int64_t k = f->at[i]; k < f->at[i + 1]; k++)
				sum += rows[f->ids[k] * C + c];
			to[i * C + c] = (float) (sum / (double) n);
		}
	}
	plm_arena_rewind(arena, mark);
	return PLM_OK;
}
