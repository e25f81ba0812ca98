/*
 * fuzz_safetensors.c -- headers of safetensors files and their index; whatever is accepted can be read.
 */
#include "files.h"

#include <stdlib.h>

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const char *const fuzz_words[] = {
	"\"dtype\"", "\"shape\"", "\"data_offsets\"", "\"__metadata__\"", "\"F32\"", "\"F16\"", "\"BF16\"", "\"I64\"", "\"BOOL\"",
	"\"F8_E4M3\"", "{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}", "[0,0]", "[0,24]", "\"weight_map\"",
	"\"model-00001-of-00002.safetensors\"", "=== model.safetensors.index.json\n", "=== model-00001-of-00002.safetensors\n", NULL
};

/* The first, the last and some middle elements; the numbers must lie in the file. */
static void
read_some(const PlmTensor *tensor, PlmArena *arena)
{
	float		values[64];
	PlmError	err;
	int64_t		n = tensor->elements < 64 ? tensor->elements : 64;

	if (tensor->offset > tensor->source->size || tensor->bytes > tensor->source->size - tensor->offset)
		abort();
	plm_tensor_read(tensor, 0, n, values, arena, &err);
	plm_tensor_read(tensor, tensor->elements - n, n, values, arena, &err);
	if (plm_tensor_read(tensor, tensor->elements, 1, values, arena, &err) == PLM_OK)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	PlmArena	arena;
	PlmError	err;
	PlmTensorSet set;
	FuzzFiles	files;
	PlmStatus	status;

	plm_arena_init(&arena, &plm_libc_hook, (size_t) 64 << 20);
	fuzz_files(data, size, "model.safetensors", &files);
	status = plm_tensors_open(&files.set, &arena, &set, &err);
	if (status == PLM_EINTERNAL)
		abort();
	if (status == PLM_OK)
		for (int64_t i = 0; i < set.n; i++)
		{
			if (plm_tensor_find(&set, set.tensors[i].name) != &set.tensors[i])
				abort();
			read_some(&set.tensors[i], &arena);
		}
	plm_arena_free(&arena);
	return 0;
}
