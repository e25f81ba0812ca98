/*
 * pass.c -- a micro-batch: laid end to end, cut into chunks by lengths alone, its forward run chunk by chunk in parallel.
 */
#include "internal.h"

#include <string.h>

#define CHUNK_TOKENS 512		/* rows enough for full speed */
#define CHUNK_TOKENS_LEAST 128	/* what a small micro-batch is cut into, so that threads share it */

static void
lay_texts(PlmSpace *s, PlmMicro *m)
{
	int64_t		at = 0;

	for (int64_t i = 0; i < m->n; i++)
	{
		const PlmSequence *q = &m->texts->text[m->first + i];

		s->offsets[i] = at;
		memcpy(s->ids + at, q->ids, (size_t) q->n * sizeof(int32_t));
		for (int32_t k = 0; k < q->n; k++)
			s->types[at + k] = k >= q->second;
		at += q->n;
		if (q->n > m->batch.longest)
			m->batch.longest = q->n;
	}
	s->offsets[m->n] = at;
	m->batch.texts = m->n;
	m->batch.tokens = at;
	m->batch.offsets = s->offsets;
	m->batch.ids = s->ids;
	m->batch.types = s->types;
}

/* Texts first .. end - 1 of the micro-batch as a chunk; its offsets count from its own first token. */
static void
add_chunk(PlmSpace *s, PlmMicro *m, int64_t first, int64_t end)
{
	int64_t	   *offsets = s->chunk_offsets + first + m->chunks;
	PlmChunk   *c = &m->chunk[m->chunks++];

	*c = (PlmChunk) {.first = s->offsets[first], .first_text = first};
	for (int64_t i = first; i <= end; i++)
		offsets[i - first] = s->offsets[i] - c->first;
	for (int64_t i = first; i < end; i++)
		if (s->offsets[i + 1] - s->offsets[i] > c->batch.longest)
			c->batch.longest = s->offsets[i + 1] - s->offsets[i];
	c->batch.texts = end - first;
	c->batch.tokens = offsets[end - first];
	c->batch.offsets = offsets;
	c->batch.ids = s->ids + c->first;
	c->batch.types = s->types + c->first;
}

/*
 * Which numbers drop out goes by their place in the step; in a private step by the example's own tokens, since its gradient must
 * not depend on which others are drawn: each of theirs would change when one example more is.
 */
static void
settle_dropout(const PlmTrainer *t, const PlmMicro *m, PlmChunk *c)
{
	c->dropout_seed = m->texts->seed;
	c->dropout_token = m->first_token + c->first;
	c->dropout_text = m->first + c->first_text;
	if (!plm_private(t))
		return;
	c->dropout_seed = plm_checksum(c->batch.ids, (size_t) c->batch.tokens * sizeof(int32_t), m->texts->seed);
	c->dropout_token = c->dropout_text = 0;
}

/* In a private step each text is a chunk: its numbers depend on no other. */
static void
cut_chunks(const PlmTrainer *t, PlmSpace *s, PlmMicro *m)
{
	int64_t		texts = plm_private(t) && m->texts->training ? 1 : PLM_CHUNK_TEXTS;
	int64_t		most = m->batch.tokens / 8;
	int64_t		first = 0;

	if (most < CHUNK_TOKENS_LEAST)
		most = CHUNK_TOKENS_LEAST;
	if (most > CHUNK_TOKENS)
		most = CHUNK_TOKENS;
	for (int64_t i = 1; i <= m->n; i++)
	{
		if (i < m->n && i - first < texts && s->offsets[i + 1] - s->offsets[first] <= most)
			continue;
		add_chunk(s, m, first, i);
		settle_dropout(t, m, &m->chunk[m->chunks - 1]);
		first = i;
	}
}

void
plm_micro_drop(const PlmTrainer *t, const PlmMicro *m, int64_t width, uint64_t use, float *x)
{
	for (int64_t i = 0; m->texts->training && i < m->chunks; i++)
	{
		const PlmChunk *c = &m->chunk[i];

		plm_dropout(x + c->first_text * width, c->batch.texts * width, t->options.dropout,
					plm_stream(c->dropout_seed, PLM_STREAM_DROPOUT, use), (uint64_t) (c->dropout_text * width));
	}
}

PlmStatus
plm_micro_lay(PlmTrainer *t, const PlmTexts *texts, int64_t i, PlmMicro *m, PlmError *err)
{
	PlmSpace   *s = &t->space;

	*m = (PlmMicro) {.texts = texts, .first = texts->micro[i], .n = texts->micro[i + 1] - texts->micro[i]};
	m->first_token = texts->at[m->first];
	m->chunk = s->chunk;
	m->hidden = s->last;
	if (texts->at[texts->micro[i + 1]] - m->first_token > s->tokens || m->n > s->texts)
		return plm_fail(err, PLM_EINTERNAL, 0, "a micro-batch is larger than its memory");
	lay_texts(s, m);
	cut_chunks(t, s, m);
	return PLM_OK;
}

/* The rows of one chunk in the tape of a layer. */
static PlmBlockTape
tape_at(const PlmTrainer *t, const PlmBlockTape *b, int64_t row)
{
	int64_t		C = t->model.config.width;

	return (PlmBlockTape) {
		.x = b->x + row * C, .qkv = b->qkv + row * 3 * C, .mix = b->mix + row * C, .attn_sum = b->attn_sum + row * C,
		.attn_save = b->attn_save + row * 2, .up = b->up + row * t->model.config.ff, .ff_sum = b->ff_sum + row * C,
		.ff_save = b->ff_save + row * 2
	};
}

PlmTape
plm_chunk_tape(const PlmTrainer *t, const PlmMicro *m, int64_t chunk, bool inputs, PlmBlockTape *blocks)
{
	const PlmSpace *s = &t->space;
	int64_t		row = m->chunk[chunk].first;

	for (int32_t l = 0; l < plm_tapes(t); l++)
	{
		blocks[l] = tape_at(t, &s->blocks[l], row);
		if (!inputs || t->model.config.layers == 0)
			blocks[l].x = s->last + row * t->model.config.width;
	}
	return (PlmTape) {
		.blocks = blocks, .last = s->last + row * t->model.config.width,
		.dropout = m->texts->training ? t->options.dropout : 0,
		.seed = plm_stream(m->chunk[chunk].dropout_seed, PLM_STREAM_DROPOUT, 0), .first = (uint64_t) m->chunk[chunk].dropout_token
	};
}

typedef struct Forward
{
	PlmTrainer *t;
	PlmMicro   *m;
	bool		tape;
	PlmBlockTape *blocks;		/* (chunks,L) */
} Forward;

static PlmStatus
forward_chunk(void *arg, int64_t chunk, PlmWorker *worker, PlmError *err)
{
	Forward    *f = arg;
	PlmBlockTape *blocks = f->blocks + chunk * plm_tapes(f->t);
	PlmTape		tape = plm_chunk_tape(f->t, f->m, chunk, f->tape, blocks);
	PlmWorkspace *ws = plm_space_borrow(f->t);
	PlmStatus	status = plm_encoder_forward_taped(&f->t->model, &f->m->chunk[chunk].batch, &tape, ws, worker, err);

	plm_space_return(ws);
	return status;
}

PlmStatus
plm_micro_forward(PlmTrainer *t, PlmMicro *m, bool tape, PlmError *err)
{
	PlmMark		mark = plm_arena_mark(&t->step);
	Forward		f = {t, m, tape, NULL};
	PlmStatus	status;

	PLM_TRY(plm_take(&t->step, m->chunks * plm_tapes(t), sizeof(PlmBlockTape), &f.blocks, err));
	status = plm_parallel(t->threads, m->chunks, forward_chunk, &f, t->options.hook, err);
	plm_arena_rewind(&t->step, mark);
	return status;
}
