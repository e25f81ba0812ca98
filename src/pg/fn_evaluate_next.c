/*
 * fn_evaluate_next.c -- next-item data in memory: events, histories, what is learnt from them, the scores of blend.h.
 *
 * A visitor's different items stand in the order in which each came first; the last ones are held back, and nothing is learnt
 * from them, of anybody: what <catalog>_pair would hold if no visitor had come as far yet is built here, exactly.
 */
#include "evaluate.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "sql.h"
#include "together.h"

#define COSINE_SHRINK 10

/* ---- reading ---- */

/* An item while items are read: numbered as they come. */
typedef struct Reading
{
	PlmpgBudget *budget;
	PlmpgSequences *s;
	PlmpgKeys  *numbers;
	PlmpgKeys  *among;			/* products that the caller sees; NULL: all */
	int64		keys_room;
	int64		vectors_room;	/* floats */
	int64		n_vectors;
	int64		event_room;
	int64		weight_room;
	int64		start_room;
	int64		order_room;
	int64		events;
	char	   *visitor;		/* whose events are read */
	int64		visitor_room;
	double		most;			/* largest weight of an event */
} Reading;

static int32
number_of(Reading *r, const char *key)
{
	int64	   *place = plmpg_keys_find(r->numbers, key, false);

	if (place == NULL)
	{
		if (r->s->items == r->keys_room)
			r->s->keys = plmpg_double(r->budget, r->s->keys, &r->keys_room, sizeof(char *));
		plmpg_pay(r->budget, (int64) strlen(key) + 64);
		place = plmpg_keys_find(r->numbers, key, true);
		*place = r->s->items;
		r->s->keys[r->s->items++] = MemoryContextStrdup(r->budget->context, key);
	}
	return (int32) *place;
}

static void
take_vector(void *arg, TupleTableSlot *slot)
{
	Reading    *r = arg;
	bool		null;
	char	   *key = TextDatumGetCString(slot_getattr(slot, 1, &null));
	ArrayType  *array = DatumGetArrayTypeP(slot_getattr(slot, 2, &null));
	int64		n;
	const float *vector = plmpg_real_values(array, r->s->dimensions > 0 ? r->s->dimensions : -1, "embedding", &n);

	if (r->among != NULL && plmpg_keys_find(r->among, key, false) == NULL)
		return;
	r->s->dimensions = n;
	number_of(r, key);
	while ((r->n_vectors + 1) * n > r->vectors_room)
		r->s->vectors = plmpg_double(r->budget, r->s->vectors, &r->vectors_room, sizeof(float));
	memcpy(r->s->vectors + r->n_vectors++ * n, vector, n * sizeof(float));
}

static void
begin_visitor(Reading *r, const char *visitor, int64 order)
{
	int64		need = (int64) strlen(visitor) + 1;

	if (r->s->visitors + 2 > r->start_room)
		r->s->start = plmpg_double(r->budget, r->s->start, &r->start_room, sizeof(int64));
	if (r->s->visitors == r->order_room)
		r->s->visitor_order = plmpg_double(r->budget, r->s->visitor_order, &r->order_room, sizeof(uint64));
	r->s->start[r->s->visitors] = r->events;
	r->s->visitor_order[r->s->visitors++] = (uint64) order;
	while (need > r->visitor_room)
		r->visitor = plmpg_double(r->budget, r->visitor, &r->visitor_room, 1);
	strcpy(r->visitor, visitor);
}

/* Rows visitor, item, weight, largest weight, hash of the visitor; by visitor and time. */
static void
take_event(void *arg, TupleTableSlot *slot)
{
	Reading    *r = arg;
	bool		null;
	char	   *visitor = TextDatumGetCString(slot_getattr(slot, 1, &null));
	char	   *item = TextDatumGetCString(slot_getattr(slot, 2, &null));

	if (r->s->visitors == 0 || strcmp(r->visitor, visitor) != 0)
		begin_visitor(r, visitor, DatumGetInt64(slot_getattr(slot, 5, &null)));
	if (r->events == r->event_room)
		r->s->event = plmpg_double(r->budget, r->s->event, &r->event_room, sizeof(int32));
	if (r->events == r->weight_room)
		r->s->weight = plmpg_double(r->budget, r->s->weight, &r->weight_room, sizeof(float));
	r->s->event[r->events] = number_of(r, item);
	r->s->weight[r->events++] = (float) (DatumGetFloat8(slot_getattr(slot, 3, &null)) / DatumGetFloat8(slot_getattr(slot, 4, &null)));
	pfree(visitor);
	pfree(item);
}

static int
by_key(const void *a, const void *b, void *keys)
{
	return strcmp(((const char **) keys)[*(const int32 *) a], ((const char **) keys)[*(const int32 *) b]);
}

/* Number the items anew, by key. */
static void
number_by_key(Reading *r)
{
	PlmpgSequences *s = r->s;
	int32	   *old = plmpg_take(r->budget, s->items, sizeof(int32));	/* of each new number */
	int32	   *new = plmpg_take(r->budget, s->items, sizeof(int32));	/* of each old one */
	const char **keys = plmpg_take(r->budget, s->items, sizeof(char *));
	float	   *vectors = plmpg_take(r->budget, s->items * s->dimensions, sizeof(float));

	for (int64 i = 0; i < s->items; i++)
		old[i] = (int32) i;
	qsort_arg(old, s->items, sizeof(int32), by_key, s->keys);
	for (int64 i = 0; i < s->items; i++)
	{
		new[old[i]] = (int32) i;
		keys[i] = s->keys[old[i]];
		if (old[i] < r->n_vectors)
			memcpy(vectors + i * s->dimensions, s->vectors + old[i] * s->dimensions, s->dimensions * sizeof(float));
	}
	for (int64 i = 0; i < r->events; i++)
		s->event[i] = new[s->event[i]];
	if (s->vectors != NULL)
	{
		pfree(s->vectors);
		r->budget->used -= r->vectors_room * (int64) sizeof(float);
	}
	s->keys = keys;
	s->vectors = vectors;
}

/* How many different items each visitor has. */
static void
count_distinct(PlmpgBudget *budget, PlmpgSequences *s)
{
	int32	   *seen_by = plmpg_take(budget, s->items, sizeof(int32));

	s->distinct = plmpg_take(budget, s->visitors, sizeof(int32));
	for (int64 v = 0; v < s->visitors; v++)
		for (int64 e = s->start[v]; e < s->start[v + 1]; e++)
			if (seen_by[s->event[e]] != v + 1)
			{
				seen_by[s->event[e]] = (int32) v + 1;
				s->distinct[v]++;
			}
}

/*
 * Who may read the whole table has it read as the catalog's owner, who knows which visitors are forgotten; else row-level
 * security or missing rights decide.
 */
static void
read_events(const PlmpgShop *shop, const PlmpgEvents *events, Reading *r)
{
	bool		whole = pg_class_aclcheck(events->source, GetUserId(), ACL_SELECT) == ACLCHECK_OK && !plmpg_hidden_rows(events->source);
	PlmpgIdentity caller;
	PlmpgParams p = {0};
	char	   *sql;

	plmpg_param_text(&p, shop->catalog);
	if (!whole)
		plmpg_param_text(&p, events->counted);
	if (whole)
		caller = plmpg_become(shop->owner);
	sql = plmpg_sql_string(psprintf("SELECT product_llm.evaluated_events(e, %s) FROM product_llm.catalog_events AS e"
									" WHERE e.catalog OPERATOR(pg_catalog.=) $1",
									whole ? "product_llm.counted_events(e, e.source::pg_catalog.text)" : "$2"),
						   &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP);
	if (whole)
	{
		plmpg_sql(sql, NULL, PLMPG_SQL_READ, NULL, take_event, r);
		plmpg_return_to(&caller);
	}
	else
		plmpg_events_sql(events, sql, TEXTOID, PointerGetDatum(NULL), take_event, r);
}

PlmpgSequences *
plmpg_sequences(PlmpgBudget *budget, const PlmpgShop *shop)
{
	PlmpgSequences *s = palloc0(sizeof(PlmpgSequences));
	Reading		r = {.budget = budget, .s = s, .numbers = plmpg_keys()};
	PlmpgIdentity caller;
	const PlmpgEvents *events = plmpg_events(shop);

	if (events == NULL)
		return NULL;
	s->budget = budget;
	if (plmpg_hidden_rows(shop->source))
		r.among = plmpg_visible_rows(shop, NULL);
	caller = plmpg_become(shop->owner);
	plmpg_sql(psprintf("SELECT s.key, s.embedding FROM %s AS s", shop->store_name), NULL, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL,
			  take_vector, &r);
	plmpg_return_to(&caller);
	read_events(shop, events, &r);
	if (s->visitors == 0)
		s->start = plmpg_double(budget, NULL, &r.start_room, sizeof(int64));
	s->start[s->visitors] = r.events;
	number_by_key(&r);
	count_distinct(budget, s);
	s->cosines = plmpg_take(budget, s->items, sizeof(float *));
	s->spare = plmpg_take(budget, s->items * PLMPG_RECENT, sizeof(float));
	return s;
}

/* ---- histories ---- */

/*
 * End of the events of a visitor before the place-th different item, from 0, first comes, and that item; with fewer
 * different items, all events.  stamps: (items), any values but this mark.
 */
static int64
end_before(const PlmpgSequences *s, int64 visitor, int place, int32 *stamps, int32 mark, int32 *target)
{
	int			seen = 0;

	for (int64 e = s->start[visitor]; e < s->start[visitor + 1]; e++)
	{
		if (stamps[s->event[e]] == mark)
			continue;
		if (seen == place)
		{
			*target = s->event[e];
			return e;
		}
		stamps[s->event[e]] = mark;
		seen++;
	}
	return s->start[visitor + 1];
}

PlmpgBefore
plmpg_before_room(PlmpgBudget *budget, const PlmpgSequences *s)
{
	return (PlmpgBefore)
	{
		.item = plmpg_take(budget, s->items, sizeof(int32)),
			.weight = plmpg_take(budget, s->items, sizeof(float)),
			.stamps = plmpg_take(budget, s->items, sizeof(int32)),
			.most = plmpg_take(budget, s->items, sizeof(float))
	};
}

bool
plmpg_before(const PlmpgSequences *s, int64 visitor, int held, PlmpgBefore *before)
{
	int32		mark = (int32) (2 * visitor + 1);
	int64		end;

	if (s->distinct[visitor] < held + 1)
		return false;
	end = end_before(s, visitor, s->distinct[visitor] - held, before->stamps, mark++, &before->target);
	before->n = 0;
	for (int64 e = end - 1; e >= s->start[visitor]; e--)
	{
		int32		item = s->event[e];

		if (before->stamps[item] != mark)
		{
			before->stamps[item] = mark;
			before->item[before->n++] = item;
			before->most[item] = 0;
		}
		before->most[item] = Max(before->most[item], s->weight[e]);
	}
	for (int i = 0; i < before->n; i++)
		before->weight[i] = before->most[before->item[i]];
	return true;
}

typedef struct Chosen
{
	uint64		order;
	int64		visitor;
} Chosen;

static int
by_order(const void *a, const void *b)
{
	const Chosen *x = a,
			   *y = b;

	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	return x->visitor < y->visitor ? -1 : x->visitor > y->visitor;
}

static int
by_number(const void *a, const void *b)
{
	int64		x = *(const int64 *) a,
				y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

int64 *
plmpg_choose_visitors(PlmpgBudget *budget, const PlmpgSequences *s, int held, int64 most, int64 *n)
{
	Chosen	   *all = plmpg_take(budget, s->visitors, sizeof(Chosen));
	int64	   *chosen = plmpg_take(budget, s->visitors, sizeof(int64));
	int64		usable = 0;

	for (int64 v = 0; v < s->visitors; v++)
		if (s->distinct[v] >= held + 1)
			all[usable++] = (Chosen) {.order = s->visitor_order[v], .visitor = v};
	if (usable > 0)
		qsort(all, usable, sizeof(Chosen), by_order);
	*n = Min(usable, most);
	for (int64 i = 0; i < *n; i++)
		chosen[i] = all[i].visitor;
	if (*n > 0)
		qsort(chosen, *n, sizeof(int64), by_number);
	return chosen;
}

/* ---- what is learnt ---- */

/* Histories of all visitors one after another, and where each item stands in them. */
typedef struct Histories
{
	int64	   *start;			/* (visitors + 1) */
	int32	   *item;			/* each visitor's different items, in the order in which each came first */
	int32	   *visitor;		/* of each place */
	int64	   *found;			/* (items + 1) of places */
	int64	   *places;
	int64		weights[PLMPG_WINDOW + 1];	/* of pairs */
} Histories;

static Histories
histories(PlmpgBudget *budget, const PlmpgSequences *s, int held)
{
	Histories	h = {0};
	int64		events = s->start[s->visitors];
	int32	   *stamps = plmpg_take(budget, s->items, sizeof(int32));
	int64	   *next = plmpg_take(budget, s->items, sizeof(int64));
	int64		n = 0;

	for (int d = 1; d <= PLMPG_WINDOW; d++)
		h.weights[d] = plmpg_pair_weight(d);
	h.start = plmpg_take(budget, s->visitors + 1, sizeof(int64));
	h.item = plmpg_take(budget, events, sizeof(int32));
	h.visitor = plmpg_take(budget, events, sizeof(int32));
	h.found = plmpg_take(budget, s->items + 1, sizeof(int64));
	for (int64 v = 0; v < s->visitors; v++)
	{
		/* Who has no more than is held back keeps one: it is nobody's target. */
		int			most = Max(s->distinct[v] - held, 1);
		int			had = 0;

		h.start[v] = n;
		for (int64 e = s->start[v]; e < s->start[v + 1] && had < most; e++)
			if (stamps[s->event[e]] != v + 1)
			{
				stamps[s->event[e]] = (int32) v + 1;
				h.visitor[n] = (int32) v;
				h.item[n++] = s->event[e];
				h.found[s->event[e] + 1]++;
				had++;
			}
	}
	h.start[s->visitors] = n;
	for (int64 i = 0; i < s->items; i++)
	{
		h.found[i + 1] += h.found[i];
		next[i] = h.found[i];
	}
	h.places = plmpg_take(budget, n, sizeof(int64));
	for (int64 p = 0; p < n; p++)
		h.places[next[h.item[p]]++] = p;
	return h;
}

/* One row while it is added up. */
typedef struct Row
{
	double	   *sum;			/* (items) */
	int32	   *item;			/* (n) those with a sum */
	int64		n;
} Row;

static inline void
add(Row *row, int32 item, double value)
{
	if (row->sum[item] == 0)
		row->item[row->n++] = item;
	row->sum[item] += value;
}

/* Adds what one place of an item gives to the items around it. */
typedef void (*Give) (const Histories *h, int64 place, Row *row);

static void
give_pairs(const Histories *h, int64 place, Row *row)
{
	int64		first = h->start[h->visitor[place]];
	int64		end = h->start[h->visitor[place] + 1];

	for (int64 q = place + 1; q < end && q - place <= PLMPG_WINDOW; q++)
		add(row, h->item[q], (double) h->weights[q - place] / 65536);
	for (int64 q = place - 1; q >= first && place - q <= PLMPG_WINDOW; q--)
		add(row, h->item[q], 0.5 * (double) h->weights[place - q] / 65536);
}

static void
give_markov(const Histories *h, int64 place, Row *row)
{
	int64		end = h->start[h->visitor[place] + 1];

	for (int64 q = place + 1; q < end && q - place <= PLMPG_WINDOW; q++)
		add(row, h->item[q], 1.0 / (double) (q - place));
}

static void
give_together(const Histories *h, int64 place, Row *row)
{
	int64		first = h->start[h->visitor[place]];
	int64		end = h->start[h->visitor[place] + 1];

	for (int64 q = first; q < end; q++)
		if (q != place)
			add(row, h->item[q], 1);
}

static PlmpgItemRows
item_rows(PlmpgBudget *budget, const PlmpgSequences *s, const Histories *h, Give give)
{
	PlmpgItemRows rows = {0};
	Row			row = {.sum = plmpg_take(budget, s->items, sizeof(double)), .item = plmpg_take(budget, s->items, sizeof(int32))};
	int64		item_room = 0,
				value_room = 0;
	int64		n = 0;

	rows.start = plmpg_take(budget, s->items + 1, sizeof(int64));
	for (int64 i = 0; i < s->items; i++)
	{
		row.n = 0;
		for (int64 f = h->found[i]; f < h->found[i + 1]; f++)
		{
			CHECK_FOR_INTERRUPTS();
			give(h, h->places[f], &row);
		}
		for (int64 k = 0; k < row.n; k++)
		{
			if (n == item_room)
				rows.item = plmpg_double(budget, rows.item, &item_room, sizeof(int32));
			if (n == value_room)
				rows.value = plmpg_double(budget, rows.value, &value_room, sizeof(float));
			rows.item[n] = row.item[k];
			rows.value[n++] = (float) row.sum[row.item[k]];
			row.sum[row.item[k]] = 0;
		}
		rows.start[i + 1] = n;
	}
	return rows;
}

PlmpgTraining *
plmpg_training(PlmpgBudget *budget, const PlmpgSequences *s, int held, bool baselines)
{
	PlmpgTraining *t = palloc0(sizeof(PlmpgTraining));
	Histories	h = histories(budget, s, held);

	t->sequences = s;
	t->held = held;
	t->visitors = plmpg_take(budget, s->items, sizeof(double));
	t->learnt_from = s->visitors;
	for (int64 i = 0; i < s->items; i++)
	{
		t->visitors[i] = (double) (h.found[i + 1] - h.found[i]);
		t->most_visitors = Max(t->most_visitors, t->visitors[i]);
	}
	t->pairs = item_rows(budget, s, &h, give_pairs);
	if (!baselines)
		return t;
	t->cosine = item_rows(budget, s, &h, give_together);
	t->markov = item_rows(budget, s, &h, give_markov);
	for (int64 i = 0; i < s->items; i++)
	{
		double		whole = 0;

		for (int64 k = t->cosine.start[i]; k < t->cosine.start[i + 1]; k++)
			t->cosine.value[k] /= (float) (sqrt(t->visitors[i] * t->visitors[t->cosine.item[k]]) + COSINE_SHRINK);
		for (int64 k = t->markov.start[i]; k < t->markov.start[i + 1]; k++)
			whole += t->markov.value[k];
		for (int64 k = t->markov.start[i]; k < t->markov.start[i + 1]; k++)
			t->markov.value[k] /= (float) whole;
	}
	return t;
}

/* ---- scores ---- */

void
plmpg_damped(const PlmpgTraining *t, double damping, double *damped)
{
	for (int64 i = 0; i < t->sequences->items; i++)
		damped[i] = pow(Max(t->visitors[i], 1), damping);
}

void
plmpg_score_together(const PlmpgTraining *t, const PlmpgBlend *blend, const double *damped, const PlmpgBefore *before,
					 float *scores)
{
	memset(scores, 0, t->sequences->items * sizeof(float));
	for (int r = 0; r < Min(before->n, PLMPG_RECENT); r++)
	{
		int32		item = before->item[r];
		double		weight = before->weight[r] * plmpg_blend_recency(blend, r + 1);
		double		visitors = pow(Max(t->visitors[item], 1), 0.75);

		for (int64 k = t->pairs.start[item]; k < t->pairs.start[item + 1]; k++)
			scores[t->pairs.item[k]] += (float) (weight * plmpg_blend_pair(t->pairs.value[k], 0, visitors, damped[t->pairs.item[k]]));
	}
}

/* Cosines of an item to all: kept when there is memory for it, else put into the slot. */
static const float *
cosines_of(PlmpgSequences *s, int32 item, int slot)
{
	const float *vector = s->vectors + item * s->dimensions;
	float	   *row = s->cosines[item];

	if (row != NULL)
		return row;
	if (s->items * (int64) sizeof(float) < plmpg_budget_left(s->budget) / 2)
		row = s->cosines[item] = plmpg_take(s->budget, s->items, sizeof(float));
	else
		row = s->spare + slot * s->items;
	for (int64 i = 0; i < s->items; i++)
	{
		row[i] = Max(plm_dot(vector, s->vectors + i * s->dimensions, s->dimensions), 0);
		if (i % 8192 == 0)
			CHECK_FOR_INTERRUPTS();
	}
	return row;
}

void
plmpg_score_content(PlmpgTraining *t, const PlmpgBefore *before, float *scores)
{
	PlmpgSequences *s = (PlmpgSequences *) t->sequences;

	memset(scores, 0, s->items * sizeof(float));
	for (int r = 0; s->dimensions > 0 && r < Min(before->n, PLMPG_RECENT); r++)
	{
		const float *cosines = cosines_of(s, before->item[r], r);
		float		weight = (float) (before->weight[r] * plmpg_blend_content(r + 1, 1));

		for (int64 i = 0; i < s->items; i++)
			scores[i] = Max(scores[i], weight * cosines[i]);
	}
}

float
plmpg_scale(float *scores, const bool *seen, int64 n)
{
	float		most = 0;

	for (int64 i = 0; i < n; i++)
		if (!seen[i])
			most = Max(most, scores[i]);
	if (most > 0)
		for (int64 i = 0; i < n; i++)
			scores[i] /= most;
	return most;
}
