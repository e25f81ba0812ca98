/*
 * learn_arrays.c -- memory of learning a vocabulary: arrays and a map that grow under one limit.
 */
#include "learn_private.h"

#include <string.h>

PlmStatus
plm_learn_room(LearnMemory *memory, LearnArray *array, int64_t more, size_t size, PlmError *err)
{
	int64_t		cap = array->cap < 256 ? 256 : array->cap * 2;
	size_t		taken = memory->taken + memory->beside->taken;
	PlmArena	grown;
	size_t		bytes;
	void	   *data;

	if (array->cap - array->n >= more)
		return PLM_OK;
	if (cap - array->n < more)
		cap = array->n + more;
	if (!plm_mul((size_t) cap, size, &bytes))
		return plm_fail(err, PLM_ELIMIT, 0, "an array of %" PRId64 " elements is too large", cap);
	/* Old and new are there together for a moment. */
	plm_arena_init(&grown, memory->hook, memory->limit == 0 ? 0 : memory->limit > taken ? memory->limit - taken : 1);
	data = plm_arena_alloc(&grown, bytes);
	if (data == NULL)
	{
		if (plm_arena_refused(&grown, bytes, err) != PLM_ELIMIT)
			return PLM_ENOMEM;
		plm_fail(err, PLM_ELIMIT, 0, "learning a vocabulary from these texts needs more than %zu kB of memory", memory->limit / 1024);
		if (err != NULL)
			err->over_arena = true;
		return PLM_ELIMIT;
	}
	if (array->n > 0)
		memcpy(data, array->data, (size_t) array->n * size);
	memory->taken += grown.taken;
	memory->taken -= array->cap > 0 ? array->arena.taken : 0;
	if (array->cap > 0)
		plm_arena_free(&array->arena);
	array->arena = grown;
	array->data = data;
	array->cap = cap;
	return PLM_OK;
}

void
plm_learn_release(LearnMemory *memory, LearnArray *array)
{
	if (array->cap > 0)
	{
		memory->taken -= array->arena.taken;
		plm_arena_free(&array->arena);
	}
	memset(array, 0, sizeof(*array));
}

/* ---- the map ---- */

#define FREE UINT64_MAX

static int64_t
place(const LearnMap *map, uint64_t key)
{
	const LearnSlot *slots = map->slots.data;
	uint64_t	mask = (uint64_t) map->slots.n - 1;
	uint64_t	h = (key ^ (key >> 32)) * UINT64_C(0x9e3779b97f4a7c15);
	uint64_t	at = (h ^ (h >> 29)) & mask;

	while (slots[at].key != key && slots[at].key != FREE)
		at = (at + 1) & mask;
	return (int64_t) at;
}

int64_t *
plm_learn_find(const LearnMap *map, uint64_t key)
{
	LearnSlot  *slots = map->slots.data;
	int64_t		at;

	if (map->n == 0)
		return NULL;
	at = place(map, key);
	return slots[at].key == key ? &slots[at].value : NULL;
}

static PlmStatus
grow_map(LearnMemory *memory, LearnMap *map, PlmError *err)
{
	LearnMap	grown = {.n = map->n};
	int64_t		cap = map->slots.n == 0 ? 256 : map->slots.n * 2;
	const LearnSlot *old = map->slots.data;
	LearnSlot  *slots;

	PLM_TRY(plm_learn_room(memory, &grown.slots, cap, sizeof(LearnSlot), err));
	grown.slots.n = cap;
	slots = grown.slots.data;
	for (int64_t i = 0; i < cap; i++)
		slots[i].key = FREE;
	for (int64_t i = 0; i < map->slots.n; i++)
		if (old[i].key != FREE)
			slots[place(&grown, old[i].key)] = old[i];
	plm_learn_release(memory, &map->slots);
	*map = grown;
	return PLM_OK;
}

PlmStatus
plm_learn_put(LearnMemory *memory, LearnMap *map, uint64_t key, int64_t fresh, int64_t **value, PlmError *err)
{
	LearnSlot  *slots;
	int64_t		at;

	if (map->n >= map->slots.n / 3 * 2)
		PLM_TRY(grow_map(memory, map, err));
	slots = map->slots.data;
	at = place(map, key);
	if (slots[at].key == FREE)
	{
		slots[at] = (LearnSlot) {key, fresh};
		map->n++;
	}
	*value = &slots[at].value;
	return PLM_OK;
}

/* ---- texts ---- */

#define MAX_TEXTS INT32_MAX

/* Twice the slots; texts know their hashes. */
static PlmStatus
grow_slots(LearnMemory *memory, LearnTexts *table, PlmError *err)
{
	const LearnText *texts = table->texts.data;
	int64_t		cap = table->slots.n == 0 ? 256 : table->slots.n * 2;
	LearnArray	grown = {.n = 0};
	uint32_t   *slots;

	PLM_TRY(plm_learn_room(memory, &grown, cap, sizeof(uint32_t), err));
	grown.n = cap;
	slots = grown.data;
	memset(slots, 0, (size_t) cap * sizeof(uint32_t));
	for (int64_t i = 0; i < table->texts.n; i++)
	{
		uint32_t	at = texts[i].hash & (uint32_t) (cap - 1);

		while (slots[at] != 0)
			at = (at + 1) & (uint32_t) (cap - 1);
		slots[at] = (uint32_t) i + 1;
	}
	plm_learn_release(memory, &table->slots);
	table->slots = grown;
	return PLM_OK;
}

static bool
is_text(const LearnTexts *table, const LearnText *t, uint32_t hash, bool inner, PlmText first, PlmText second)
{
	const char *s = (const char *) table->pool.data + t->offset;

	return t->hash == hash && t->inner == inner && t->len == first.len + second.len &&
		memcmp(s, first.data, first.len) == 0 && memcmp(s + first.len, second.data, second.len) == 0;
}

PlmStatus
plm_learn_text(LearnMemory *memory, LearnTexts *table, bool inner, PlmText first, PlmText second, int32_t *at, PlmError *err)
{
	uint64_t	h = plm_hash_byte(PLM_HASH_START, inner);
	uint32_t	hash = plm_hash_end(plm_hash_bytes(plm_hash_bytes(h, first.data, first.len), second.data, second.len));
	uint32_t	mask;
	uint32_t	place;
	uint32_t   *slots;
	char	   *pool;

	if (table->texts.n >= table->slots.n / 3 * 2)
		PLM_TRY(grow_slots(memory, table, err));
	slots = table->slots.data;
	mask = (uint32_t) table->slots.n - 1;
	for (place = hash & mask; slots[place] != 0; place = (place + 1) & mask)
		if (is_text(table, plm_learn_at(table, slots[place] - 1), hash, inner, first, second))
		{
			*at = (int32_t) slots[place] - 1;
			return PLM_OK;
		}
	if (table->texts.n >= MAX_TEXTS / 2)
		return plm_fail(err, PLM_ELIMIT, 0, "more than %d different words", MAX_TEXTS / 2);
	PLM_TRY(plm_learn_room(memory, &table->texts, 1, sizeof(LearnText), err));
	PLM_TRY(plm_learn_room(memory, &table->pool, (int64_t) (first.len + second.len), 1, err));
	pool = (char *) table->pool.data + table->pool.n;
	memcpy(pool, first.data, first.len);
	if (second.len > 0)
		memcpy(pool + first.len, second.data, second.len);
	*plm_learn_at(table, table->texts.n) = (LearnText) {
		.offset = (uint64_t) table->pool.n, .hash = hash, .len = (uint32_t) (first.len + second.len), .inner = inner
	};
	table->pool.n += (int64_t) (first.len + second.len);
	*at = (int32_t) table->texts.n++;
	slots[place] = (uint32_t) *at + 1;
	return PLM_OK;
}

void
plm_learn_texts_release(LearnMemory *memory, LearnTexts *table)
{
	plm_learn_release(memory, &table->pool);
	plm_learn_release(memory, &table->texts);
	plm_learn_release(memory, &table->slots);
}
