/*
 * safetensors.c -- headers of safetensors files, single or sharded, checked before anything is believed.
 *
 * A file is: 8 bytes little-endian length N of the header, N bytes of JSON {"name": {"dtype", "shape",
 * "data_offsets": [begin, end)}, ..., "__metadata__": {...}}, then the data that the offsets count in.
 * The format demands that the tensors cover the data without gap or overlap; so do we.
 */
#include "json_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_LIMIT UINT64_C(100000000)	/* as the reference implementation */
#define HEADER_VALUE_LIMIT ((size_t) 1000000)
#define INDEX_NAME "model.safetensors.index.json"
#define MAX_SHARDS 1024
#define READ_CHUNK ((size_t) 256 * 1024)	/* bytes converted at a time */

static bool
type_from_name(const char *name, PlmType *type)
{
	static const struct
	{
		const char *name;
		PlmType		type;
	}			types[] = {
		{"F32", PLM_F32}, {"F16", PLM_F16}, {"BF16", PLM_BF16}, {"F64", PLM_F64}, {"I8", PLM_I8},
		{"U8", PLM_U8}, {"I16", PLM_I16}, {"I32", PLM_I32}, {"I64", PLM_I64}, {"BOOL", PLM_BOOL}
	};

	for (int64_t i = 0; i < PLM_COUNT(types); i++)
		if (strcmp(types[i].name, name) == 0)
		{
			*type = types[i].type;
			return true;
		}
	return false;
}

/* [low, high] in *out; false when the value is no integer in that range. */
static bool
bounded(const json_t *value, int64_t low, int64_t high, int64_t *out)
{
	if (!json_is_integer(value))
		return false;
	*out = json_integer_value(value);
	return *out >= low && *out <= high;
}

/* shape and elements from the JSON array; the product is kept within int64. */
static PlmStatus
read_shape(const json_t *shape, const char *shown, PlmTensor *tensor, PlmError *err)
{
	size_t		rank = json_array_size(shape);

	if (!json_is_array(shape))
		return plm_fail(err, PLM_ECORRUPT, 0, "tensor \"%s\" has no shape", shown);
	if (rank > PLM_MAX_RANK)
		return plm_fail(err, PLM_EUNSUPPORTED, 0, "tensor \"%s\" has %zu dimensions, more than %d", shown, rank, PLM_MAX_RANK);
	tensor->rank = (int) rank;
	tensor->elements = 1;
	for (size_t i = 0; i < rank; i++)
	{
		if (!bounded(json_array_get(shape, i), 0, INT64_MAX, &tensor->shape[i]))
			return plm_fail(err, PLM_ECORRUPT, 0, "dimension %zu of tensor \"%s\" is not a count", i, shown);
		if (__builtin_mul_overflow(tensor->elements, tensor->shape[i], &tensor->elements))
			return plm_fail(err, PLM_ECORRUPT, 0, "the shape of tensor \"%s\" overflows 64 bits", shown);
	}
	return PLM_OK;
}

/* One entry of the header.  data: where the data begins in the source; room: bytes from there to the end. */
static PlmStatus
read_entry(const char *name, const json_t *entry, uint64_t data, uint64_t room, PlmTensor *tensor, PlmError *err)
{
	PlmJsonShown shown = plm_json_show(name);
	const json_t *offsets = json_object_get(entry, "data_offsets");
	const char *type = json_string_value(json_object_get(entry, "dtype"));
	int64_t		begin;
	int64_t		end;
	uint64_t	bytes;

	if (!json_is_object(entry))
		return plm_fail(err, PLM_ECORRUPT, 0, "the header's entry for tensor \"%s\" is not an object", shown.text);
	if (type == NULL)
		return plm_fail(err, PLM_ECORRUPT, 0, "tensor \"%s\" has no type", shown.text);
	if (!type_from_name(type, &tensor->type))
		return plm_fail(err, PLM_EUNSUPPORTED, 0, "tensor \"%s\" has the unknown type \"%s\"",
						shown.text, plm_json_show(type).text);
	PLM_TRY(read_shape(json_object_get(entry, "shape"), shown.text, tensor, err));
	if (json_array_size(offsets) != 2 ||
		!bounded(json_array_get(offsets, 0), 0, INT64_MAX, &begin) ||
		!bounded(json_array_get(offsets, 1), 0, INT64_MAX, &end) || begin > end)
		return plm_fail(err, PLM_ECORRUPT, 0, "tensor \"%s\" has no valid data_offsets", shown.text);
	if ((uint64_t) end > room)
		return plm_fail(err, PLM_ECORRUPT, 0, "tensor \"%s\" ends at byte %" PRId64 " of the data, which has %" PRIu64 " bytes",
						shown.text, end, room);
	bytes = (uint64_t) (end - begin);
	if (__builtin_mul_overflow((uint64_t) tensor->elements, (uint64_t) plm_type_bytes(tensor->type), &tensor->bytes) ||
		tensor->bytes != bytes)
		return plm_fail(err, PLM_ECORRUPT, 0, "tensor \"%s\" of %" PRId64 " elements of type %s cannot have %" PRIu64 " bytes",
						shown.text, tensor->elements, type, bytes);
	tensor->offset = data + (uint64_t) begin;
	return PLM_OK;
}

static int
by_offset(const void *a, const void *b)
{
	const PlmTensor *x = a;
	const PlmTensor *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const PlmTensor *) a)->name, ((const PlmTensor *) b)->name);
}

/* Sorts by offset; the tensors must cover [data, end) exactly. */
static PlmStatus
check_cover(PlmTensor *tensors, int64_t n, uint64_t data, uint64_t end, PlmError *err)
{
	uint64_t	at = data;

	qsort(tensors, (size_t) n, sizeof(PlmTensor), by_offset);
	for (int64_t i = 0; i < n; i++)
	{
		const PlmTensor *t = &tensors[i];

		if (t->offset < at)
			return plm_fail(err, PLM_ECORRUPT, (int64_t) t->offset, "tensors \"%s\" and \"%s\" overlap by %" PRIu64 " bytes",
							plm_json_show(tensors[i - 1].name).text, plm_json_show(t->name).text, at - t->offset);
		if (t->offset > at)
			return plm_fail(err, PLM_ECORRUPT, (int64_t) at, "%" PRIu64 " bytes before tensor \"%s\" belong to no tensor",
							t->offset - at, plm_json_show(t->name).text);
		at += t->bytes;
	}
	if (at != end)
		return plm_fail(err, PLM_ECORRUPT, (int64_t) at, "%" PRIu64 " bytes after the last tensor belong to no tensor", end - at);
	return PLM_OK;
}

/* "__metadata__" has no meaning here, but a file where it is not an object of strings is not a safetensors file. */
static PlmStatus
check_metadata(json_t *metadata, PlmError *err)
{
	const char *key;
	json_t	   *value;

	if (!json_is_object(metadata))
		return plm_fail(err, PLM_ECORRUPT, 0, "the header's __metadata__ is not an object");
	json_object_foreach(metadata, key, value)
		if (!json_is_string(value))
			return plm_fail(err, PLM_ECORRUPT, 0, "\"%s\" in the header's __metadata__ is not a string", plm_json_show(key).text);
	return PLM_OK;
}

/* Room for the header's entries, and all their names in one piece of memory. */
static PlmStatus
allocate_entries(json_t *header, PlmArena *arena, PlmTensor **tensors, char **names, PlmError *err)
{
	size_t		n = json_object_size(header);
	size_t		bytes = 1;
	const char *key;
	json_t	   *value;

	json_object_foreach(header, key, value)
		bytes += strlen(key) + 1;
	*tensors = plm_arena_array(arena, n + 1, sizeof(PlmTensor));
	*names = plm_arena_alloc(arena, bytes);
	if (*tensors == NULL || *names == NULL)
		return plm_arena_refused(arena, *tensors == NULL ? (n + 1) * sizeof(PlmTensor) : bytes, err);
	return PLM_OK;
}

static PlmStatus
read_header(const PlmSource *source, json_t *header, uint64_t data, PlmArena *arena, PlmTensorSet *out, PlmError *err)
{
	char	   *names;
	const char *key;
	json_t	   *value;

	if (!json_is_object(header))
		return plm_fail(err, PLM_ECORRUPT, 8, "the header is not a JSON object");
	PLM_TRY(allocate_entries(header, arena, &out->tensors, &names, err));
	out->n = 0;
	json_object_foreach(header, key, value)
	{
		PlmTensor  *tensor = &out->tensors[out->n];
		size_t		len = strlen(key) + 1;

		if (strcmp(key, "__metadata__") == 0)
		{
			PLM_TRY(check_metadata(value, err));
			continue;
		}
		*tensor = (PlmTensor) {.source = source, .name = memcpy(names, key, len)};
		names += len;
		PLM_TRY(read_entry(key, value, data, source->size - data, tensor, err));
		out->n++;
	}
	return check_cover(out->tensors, out->n, data, source->size, err);
}

/* The tensors of one file, in the order of their offsets. */
static PlmStatus
open_shard(const PlmSource *source, PlmArena *arena, PlmTensorSet *out, PlmError *err)
{
	unsigned char prefix[8];
	uint64_t	bytes = 0;
	JsonDocument header;
	char	   *text;
	PlmStatus	status;

	if (source->size < sizeof(prefix))
		return plm_fail(err, PLM_ECORRUPT, 0, "file of %" PRIu64 " bytes is too short for a header", source->size);
	PLM_TRY(source->read(source->arg, 0, sizeof(prefix), prefix, err));
	for (int i = 7; i >= 0; i--)
		bytes = bytes << 8 | prefix[i];
	if (bytes > source->size - sizeof(prefix))
		return plm_fail(err, PLM_ECORRUPT, 0, "the header should have %" PRIu64 " bytes, the file has %" PRIu64 " after its length",
						bytes, source->size - sizeof(prefix));
	if (bytes > HEADER_LIMIT)
		return plm_fail(err, PLM_ELIMIT, 0, "the header has %" PRIu64 " bytes, more than %" PRIu64, bytes, HEADER_LIMIT);
	plm_json_open(&header, arena);
	text = plm_arena_alloc(&header.memory, (size_t) bytes + 1);
	if (text == NULL)
		return plm_arena_refused(&header.memory, (size_t) bytes + 1, err);
	status = source->read(source->arg, sizeof(prefix), (size_t) bytes, text, err);
	if (status == PLM_OK)
		status = plm_json_parse((PlmText) {text, (size_t) bytes}, "the header", HEADER_VALUE_LIMIT, 0,
								&header.memory, &header.root, err);
	if (status == PLM_OK)
		status = read_header(source, header.root, sizeof(prefix) + bytes, arena, out, err);
	plm_json_close(&header);
	return status;
}

/* The distinct files that the index names, checked and present. */
static PlmStatus
find_shards(const PlmFileSet *set, json_t *map, const PlmSource **shards, int *n, PlmError *err)
{
	const char *key;
	json_t	   *value;

	*n = 0;
	json_object_foreach(map, key, value)
	{
		const char *name = json_string_value(value);
		const PlmSource *shard;
		int			i = 0;

		if (name == NULL || !plm_path_is_safe(name))
			return plm_fail(err, PLM_ECORRUPT, 0, "tensor \"%s\" is in \"%s\", which is not a plain relative file name",
							plm_json_show(key).text, plm_json_show(name != NULL ? name : "").text);
		shard = plm_file_find(set, name);
		if (shard == NULL)
			return plm_fail(err, PLM_ENOTFOUND, 0, "file \"%s\" with tensor \"%s\" is missing",
							plm_json_show(name).text, plm_json_show(key).text);
		while (i < *n && shards[i] != shard)
			i++;
		if (i < *n)
			continue;
		if (*n == MAX_SHARDS)
			return plm_fail(err, PLM_ELIMIT, 0, "more than %d files of weights", MAX_SHARDS);
		shards[(*n)++] = shard;
	}
	return PLM_OK;
}

/* Sort by name; a name that two shards give is refused. */
static PlmStatus
sort_by_name(PlmTensorSet *set, PlmError *err)
{
	qsort(set->tensors, (size_t) set->n, sizeof(PlmTensor), by_name);
	for (int64_t i = 1; i < set->n; i++)
		if (strcmp(set->tensors[i - 1].name, set->tensors[i].name) == 0)
			return plm_fail(err, PLM_ECORRUPT, 0, "tensor \"%s\" is in both \"%s\" and \"%s\"",
							plm_json_show(set->tensors[i].name).text, set->tensors[i - 1].source->name,
							set->tensors[i].source->name);
	return PLM_OK;
}

/* All shards into one set. */
static PlmStatus
merge_shards(const PlmSource **shards, int n, PlmArena *arena, PlmTensorSet *out, PlmError *err)
{
	PlmTensorSet *parts = plm_arena_array(arena, (size_t) n + 1, sizeof(PlmTensorSet));
	int64_t		total = 0;

	if (parts == NULL)
		return plm_arena_refused(arena, ((size_t) n + 1) * sizeof(PlmTensorSet), err);
	for (int i = 0; i < n; i++)
	{
		PlmStatus	status = open_shard(shards[i], arena, &parts[i], err);

		if (status != PLM_OK)
		{
			plm_prefix(err, "%s", shards[i]->name);
			return status;
		}
		total += parts[i].n;
	}
	*out = (PlmTensorSet) {0, plm_arena_array(arena, (size_t) total + 1, sizeof(PlmTensor))};
	if (out->tensors == NULL)
		return plm_arena_refused(arena, ((size_t) total + 1) * sizeof(PlmTensor), err);
	for (int i = 0; i < n; i++)
	{
		if (parts[i].n > 0)
			memcpy(out->tensors + out->n, parts[i].tensors, (size_t) parts[i].n * sizeof(PlmTensor));
		out->n += parts[i].n;
	}
	return sort_by_name(out, err);
}

/* Every tensor of the index must be where the index says. */
static PlmStatus
check_index(const PlmTensorSet *set, const PlmFileSet *files, json_t *map, PlmError *err)
{
	const char *key;
	json_t	   *value;

	json_object_foreach(map, key, value)
	{
		const PlmTensor *tensor = plm_tensor_find(set, key);

		if (tensor == NULL || tensor->source != plm_file_find(files, json_string_value(value)))
			return plm_fail(err, PLM_ECORRUPT, 0, "tensor \"%s\" is not in \"%s\", where the index has it",
							plm_json_show(key).text, plm_json_show(json_string_value(value)).text);
	}
	return PLM_OK;
}

static PlmStatus
open_sharded(const PlmFileSet *set, PlmArena *arena, PlmTensorSet *out, PlmError *err)
{
	const PlmSource *shards[MAX_SHARDS];
	JsonDocument index;
	json_t	   *map;
	PlmStatus	status;
	int			n = 0;

	PLM_TRY(plm_json_file(set, INDEX_NAME, 0, arena, &index, err));
	map = json_object_get(index.root, "weight_map");
	if (json_is_object(map))
		status = find_shards(set, map, shards, &n, err);
	else
		status = plm_fail(err, PLM_ECORRUPT, 0, INDEX_NAME " has no \"weight_map\"");
	if (status == PLM_OK)
		status = merge_shards(shards, n, arena, out, err);
	if (status == PLM_OK)
		status = check_index(out, set, map, err);
	plm_json_close(&index);
	return status;
}

PlmStatus
plm_tensors_open(const PlmFileSet *set, PlmArena *arena, PlmTensorSet *out, PlmError *err)
{
	const PlmSource *whole = plm_file_find(set, "model.safetensors");

	*out = (PlmTensorSet) {0, NULL};
	if (whole != NULL)
		return merge_shards(&whole, 1, arena, out, err);
	if (plm_file_find(set, INDEX_NAME) != NULL)
		return open_sharded(set, arena, out, err);
	plm_fail(err, PLM_ENOTFOUND, 0, "there is no model.safetensors");
	plm_hint(err, "Weights are read from safetensors files only; convert pytorch_model.bin with save_pretrained(..., safe_serialization=True).");
	return PLM_ENOTFOUND;
}

const PlmTensor *
plm_tensor_find(const PlmTensorSet *set, const char *name)
{
	const PlmTensor key = {.name = name};

	if (set->n == 0)
		return NULL;
	return bsearch(&key, set->tensors, (size_t) set->n, sizeof(PlmTensor), by_name);
}

PlmStatus
plm_tensor_read(const PlmTensor *tensor, int64_t first, int64_t count, float *dst, PlmArena *arena, PlmError *err)
{
	const PlmSource *source = tensor->source;
	size_t		size = plm_type_bytes(tensor->type);
	PlmMark		mark = plm_arena_mark(arena);
	int64_t		step = (int64_t) (READ_CHUNK / size);
	PlmStatus	status = PLM_OK;
	void	   *raw;

	if (first < 0 || count < 0 || first > tensor->elements || count > tensor->elements - first)
		return plm_fail(err, PLM_EARG, 0, "elements %" PRId64 " to %" PRId64 " are outside tensor \"%s\" of %" PRId64,
						first, first + (count < INT64_MAX - first ? count : 0), plm_json_show(tensor->name).text,
						tensor->elements);
	if (count < step)
		step = count;
	raw = plm_arena_alloc(arena, (size_t) step * size);
	if (raw == NULL)
		return plm_arena_refused(arena, (size_t) step * size, err);
	for (int64_t done = 0; done < count && status == PLM_OK; done += step)
	{
		int64_t		n = count - done < step ? count - done : step;

		status = source->read(source->arg, tensor->offset + (uint64_t) (first + done) * size, (size_t) n * size, raw, err);
		if (status == PLM_OK && !plm_to_f32(tensor->type, raw, dst + done, n))
			status = plm_fail(err, PLM_EUNSUPPORTED, 0, "tensor \"%s\" has the type %s, which holds no weights",
							  plm_json_show(tensor->name).text, plm_type_name(tensor->type));
	}
	plm_arena_rewind(arena, mark);
	return status;
}
