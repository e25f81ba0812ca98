/*
 * encode.c -- texts to ids: truncation, special tokens, counting.
 */
#include "text_private.h"

#include <string.h>

/* The tokens of one text that are to be kept: `n` of them from `from` on in the sink's order. */
typedef struct Kept
{
	const PlmSink *sink;
	int64_t		n;
	int64_t		from;
} Kept;

static PlmStatus
run(const PlmBlob *b, PlmText text, PlmSink *sink, PlmWorker *worker, PlmArena *arena, PlmError *err)
{
	PlmRunState r;

	PLM_TRY(plm_run_init(&r, b, sink, worker, arena, err));
	plm_run_text(&r, text);
	return r.status;
}

/* Tokens of the text, at most stop_after + 1 (-1: all); scratch goes back to the arena. */
static PlmStatus
count(const PlmBlob *b, PlmText text, int64_t stop_after, PlmWorker *worker, PlmArena *arena, int64_t *n, PlmError *err)
{
	PlmSink		sink = {.limit = 0,.stop_after = stop_after};
	PlmMark		mark = plm_arena_mark(arena);
	PlmStatus	status = run(b, text, &sink, worker, arena, err);

	plm_arena_rewind(arena, mark);
	*n = sink.n;
	return status;
}

static int64_t
template_tokens(const PlmTemplate *t)
{
	int64_t		n = 0;

	for (uint32_t i = 0; i < t->n; i++)
		n += t->pieces[i].kind == PLM_PIECE_TOKEN;
	return n;
}

/*
 * How many tokens of each text stay when both may have `room` together.  n: tokens seen, exact up to
 * room, else only known to be more.  longer: which text is longer when both are more and room is odd.
 */
static PlmStatus
share(const PlmBlob *b, bool pair, const int64_t n[2], int longer, int64_t room, int64_t keep[2], PlmError *err)
{
	int			low = n[0] > n[1] || longer == 0 ? 1 : 0;	/* index of the shorter */
	int64_t		less;
	int64_t		more;

	keep[0] = n[0];
	keep[1] = n[1];
	if (n[0] + n[1] <= room)
		return PLM_OK;
	if (room == 0 || (!pair && b->truncate_strategy != PLM_ONLY_SECOND))
	{
		keep[0] = room;
		keep[1] = 0;
		return PLM_OK;
	}
	if (b->truncate_strategy != PLM_LONGEST_FIRST)
	{
		int			cut = b->truncate_strategy == PLM_ONLY_SECOND;

		if (!pair || n[1 - cut] >= room)
			return plm_fail(err, PLM_EARG, 0,
							"the tokenizer truncates only the %s text, which is %s to leave at most %" PRId64 " tokens",
							cut ? "second" : "first", pair ? "too short" : "absent", room);
		keep[cut] = room - n[1 - cut];
		return PLM_OK;
	}
	less = n[low];
	more = less > room ? less : less > room - less ? less : room - less;
	if (less + more > room)
	{
		less = room / 2;
		more = less + room % 2;
	}
	keep[low] = less < n[low] ? less : n[low];
	keep[1 - low] = more < n[1 - low] ? more : n[1 - low];
	return PLM_OK;
}

/* Both texts are over an odd room: 0 when the first has more tokens than the second, else 1. */
static PlmStatus
find_longer(const PlmBlob *b, PlmText first, PlmText second, PlmWorker *worker, PlmArena *arena, int *longer, PlmError *err)
{
	bool		swap = first.len > second.len;
	int64_t		n[2];

	/* The one with fewer bytes first: the other need only be counted until it has more. */
	PLM_TRY(count(b, swap ? second : first, -1, worker, arena, &n[swap], err));
	PLM_TRY(count(b, swap ? first : second, n[swap], worker, arena, &n[!swap], err));
	*longer = n[0] > n[1] ? 0 : 1;
	return PLM_OK;
}

static PlmStatus
allocate(PlmEncoding *out, int64_t n, PlmArena *arena, PlmError *err)
{
	size_t		room = n > 0 ? (size_t) n : 1;

	out->n = n;
	out->ids = plm_arena_array(arena, room, sizeof(int32_t));
	out->types = plm_arena_array(arena, room, sizeof(int32_t));
	out->start = plm_arena_array(arena, room, sizeof(int64_t));
	out->end = plm_arena_array(arena, room, sizeof(int64_t));
	if (out->ids == NULL || out->types == NULL || out->start == NULL || out->end == NULL)
		return plm_arena_refused(arena, room * 24, err);
	return PLM_OK;
}

static PlmStatus
assemble(const PlmTemplate *t, const Kept kept[2], PlmArena *arena, PlmEncoding *out, PlmError *err)
{
	int64_t		n = 0;

	for (uint32_t i = 0; i < t->n; i++)
		n += t->pieces[i].kind == PLM_PIECE_TOKEN ? 1 : kept[t->pieces[i].kind == PLM_PIECE_SECOND].n;
	PLM_TRY(allocate(out, n, arena, err));
	n = 0;
	for (uint32_t i = 0; i < t->n; i++)
	{
		const PlmPiece *piece = &t->pieces[i];
		const Kept *k = &kept[piece->kind == PLM_PIECE_SECOND];

		if (piece->kind == PLM_PIECE_TOKEN)
		{
			out->ids[n] = piece->id;
			out->types[n] = piece->type;
			out->start[n] = out->end[n] = -1;
			n++;
			continue;
		}
		for (int64_t j = 0; j < k->n; j++, n++)
		{
			int64_t		slot = k->sink->left && k->sink->limit > 0 ? (k->from + j) % k->sink->limit : k->from + j;

			out->ids[n] = k->sink->ids[slot];
			out->types[n] = piece->type;
			out->start[n] = k->sink->start[slot];
			out->end[n] = k->sink->end[slot];
		}
	}
	return PLM_OK;
}

PlmStatus
plm_encode(const PlmTokenizer *tokenizer, PlmText text, const PlmText *pair, int64_t max_tokens,
		   PlmWorker *worker, PlmArena *arena, PlmEncoding *out, PlmError *err)
{
	const PlmBlob *b = plm_blob(tokenizer);
	const PlmTemplate *t = pair != NULL ? &b->pair : &b->single;
	int64_t		room = max_tokens - template_tokens(t);
	PlmSink		sinks[2] = {{0}, {0}};
	int64_t		n[2] = {0, 0},
				keep[2];
	int			longer = -1;
	Kept		kept[2];

	memset(out, 0, sizeof(*out));
	if (max_tokens < 0 || (max_tokens > 0 && room < 0))
		return plm_fail(err, PLM_EARG, 0, "%" PRId64 " tokens leave no room for the special tokens", max_tokens);
	for (int i = 0; i < (pair != NULL ? 2 : 1); i++)
	{
		bool		left = max_tokens > 0 && b->truncate_left != 0;

		sinks[i] = (PlmSink) {.limit = max_tokens > 0 ? room : -1,.left = left,
		.stop_after = max_tokens > 0 && !left ? room : -1};
		PLM_TRY(run(b, i == 0 ? text : *pair, &sinks[i], worker, arena, err));
		n[i] = sinks[i].n;
	}
	keep[0] = n[0];
	keep[1] = n[1];
	if (max_tokens > 0)
	{
		if (pair != NULL && n[0] > room && n[1] > room && room % 2 == 1 && b->truncate_strategy == PLM_LONGEST_FIRST &&
			b->truncate_left == 0)
			PLM_TRY(find_longer(b, text, *pair, worker, arena, &longer, err));
		PLM_TRY(share(b, pair != NULL, n, longer, room, keep, err));
	}
	for (int i = 0; i < 2; i++)
		kept[i] = (Kept) {&sinks[i], keep[i], max_tokens > 0 && b->truncate_left ? n[i] - keep[i] : 0};
	out->truncated = keep[0] < n[0] || keep[1] < n[1];
	return assemble(t, kept, arena, out, err);
}

PlmStatus
plm_count_tokens(const PlmTokenizer *tokenizer, PlmText text, PlmWorker *worker,
				 PlmArena *arena, int64_t *count_out, PlmError *err)
{
	const PlmBlob *b = plm_blob(tokenizer);
	int64_t		n = 0;

	PLM_TRY(count(b, text, -1, worker, arena, &n, err));
	*count_out = n + template_tokens(&b->single);
	return PLM_OK;
}
