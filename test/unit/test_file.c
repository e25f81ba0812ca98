/*
 * test_file.c -- sources, paths, safetensors and the packed cache file: round trips and refusals.
 */
#include "failing_hook.h"
#include "unit.h"

#include "../../src/engine/file/plm_file.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static PlmArena arena;
static PlmError err;

/* ---- sources and paths ---- */

static void
test_paths(void)
{
	static const char *const safe[] = {"config.json", "1_Pooling/config.json", "a..b", "...", "a b", "\xE6\xA8\xA1"};
	static const char *const unsafe[] = {"", "/etc/passwd", "..", "../a", "a/../b", "a/..", ".", "./a", "a//b", "a/", "a\\b", "a\nb", "a\x7F"};
	static const char *const wanted[] = {"config.json", "model.safetensors", "model-00001-of-00002.safetensors", "vocab.txt", "1_Pooling/config.json",
		"2_Dense/model.safetensors", "sentence_bert_config.json", "product_llm.json", "README.md", "tokenizer.json",
	"model.safetensors.index.json"};
	static const char *const unwanted[] = {"pytorch_model.bin", "onnx/model.onnx", "onnx/config.json", "tf_model.h5", ".git/config.json", "../config.json",
	"reference.json", "1_Pooling/a/config.json", "1_/../config.json", "train.py"};
	char		longest[300];
	const char *bad = NULL;

	for (int64_t i = 0; i < PLM_COUNT(safe); i++)
		bad = plm_path_is_safe(safe[i]) ? bad : safe[i];
	CHECK("plain_relative_paths_are_safe", bad == NULL, "\"%s\"", bad);
	for (int64_t i = 0; i < PLM_COUNT(unsafe); i++)
		bad = plm_path_is_safe(unsafe[i]) ? unsafe[i] : bad;
	CHECK("paths_that_climb_or_confuse_are_not", bad == NULL, "\"%s\"", bad);
	memset(longest, 'a', sizeof(longest));
	longest[256] = '\0';
	CHECK("a_path_of_256_bytes_is_not_safe", !plm_path_is_safe(longest), "it was");
	CHECK("a_path_of_255_bytes_is_safe", plm_path_is_safe(longest + 1), "it was not");
	for (int64_t i = 0; i < PLM_COUNT(wanted); i++)
		bad = plm_file_is_wanted(wanted[i]) ? bad : wanted[i];
	CHECK("files_of_a_model_are_wanted", bad == NULL, "\"%s\"", bad);
	for (int64_t i = 0; i < PLM_COUNT(unwanted); i++)
		bad = plm_file_is_wanted(unwanted[i]) ? unwanted[i] : bad;
	CHECK("other_files_are_not", bad == NULL, "\"%s\"", bad);
}

static void
write_file(const char *folder, const char *name, const void *data, size_t bytes)
{
	char		path[512];
	FILE	   *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "wb");
	if (file == NULL || fwrite(data, 1, bytes, file) != bytes || fclose(file) != 0)
		perror(path);
}

static void
make_folder(const char *folder, const char *name)
{
	char		path[512];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (mkdir(path, 0700) != 0)
		perror(path);
}

static void
remove_all(const char *folder)
{
	char		command[600];

	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	if (system(command) != 0)
		perror(folder);
}

static void
test_sources(const char *scratch)
{
	PlmSource	memory = plm_source_memory("a.txt", "hello", 5);
	PlmFileSet	set = {&memory, 1};
	PlmText		text;
	char		path[512];

	CHECK("text_is_whole_and_terminated", plm_file_text(&set, "a.txt", 5, &arena, &text, &err) == PLM_OK && text.len == 5 &&
		  strcmp(text.data, "hello") == 0, "%s", err.message);
	CHECK("an_absent_text_is_null", plm_file_text(&set, "b.txt", 5, &arena, &text, &err) == PLM_OK && text.data == NULL, "%s", err.message);
	CHECK("text_over_its_limit_is_refused", plm_file_text(&set, "a.txt", 4, &arena, &text, &err) == PLM_ELIMIT, "%s", err.message);

	make_folder(scratch, "model");
	make_folder(scratch, "model/1_Pooling");
	make_folder(scratch, "model/onnx");
	write_file(scratch, "model/config.json", "{}", 2);
	write_file(scratch, "model/pytorch_model.bin", "x", 1);
	write_file(scratch, "model/1_Pooling/config.json", "{\"a\": 1}", 8);
	write_file(scratch, "model/onnx/config.json", "{}", 2);
	snprintf(path, sizeof(path), "%s/model/vocab.txt", scratch);
	if (mkfifo(path, 0600) != 0 && errno != EEXIST)
		perror(path);
	snprintf(path, sizeof(path), "%s/model", scratch);
	CHECK("a_directory_opens", plm_directory_open(path, &arena, &set, &err) == PLM_OK, "%s", err.message);
	CHECK("only_wanted_regular_files_in_order", set.n == 2 && strcmp(set.files[0].name, "1_Pooling/config.json") == 0 &&
		  strcmp(set.files[1].name, "config.json") == 0, "%d files", set.n);
	CHECK("a_file_of_a_directory_reads", plm_file_text(&set, "1_Pooling/config.json", 100, &arena, &text, &err) == PLM_OK &&
		  text.len == 8 && strcmp(text.data, "{\"a\": 1}") == 0, "%s", err.message);
	write_file(scratch, "model/1_Pooling/config.json", "{", 1);
	CHECK("a_file_that_shrank_is_an_error", plm_file_text(&set, "1_Pooling/config.json", 100, &arena, &text, &err) == PLM_ECORRUPT,
		  "%s", err.message);
	plm_directory_close(&set);
	snprintf(path, sizeof(path), "%s/nowhere", scratch);
	CHECK("a_missing_directory_is_not_found", plm_directory_open(path, &arena, &set, &err) == PLM_ENOTFOUND && set.n == 0, "%s", err.message);
}

/* ---- safetensors ---- */

/* A file of this header and `bytes` bytes of data, byte i being i. */
static PlmSource
tensor_file(const char *name, const char *header, size_t bytes)
{
	size_t		n = strlen(header);
	unsigned char *file = plm_arena_alloc(&arena, 8 + n + bytes);

	for (int i = 0; i < 8; i++)
		file[i] = (unsigned char) ((uint64_t) n >> (8 * i));
	memcpy(file + 8, header, n);
	for (size_t i = 0; i < bytes; i++)
		file[8 + n + i] = (unsigned char) i;
	return plm_source_memory(name, file, 8 + n + bytes);
}

static PlmStatus
open_one(PlmSource file, PlmTensorSet *out)
{
	static PlmSource kept;		/* tensors point to it */
	PlmFileSet	set = {&kept, 1};

	kept = file;
	return plm_tensors_open(&set, &arena, out, &err);
}

static void
test_tensors(void)
{
	/* An odd header length: the data has no alignment at all. */
	static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[12,16]},"
		"\"a\":{\"dtype\":\"F32\",\"shape\":[3,1],\"data_offsets\":[0,12]},\"i\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[16,24]},"
		"\"h\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[24,26]},\"e\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[26,26]}} ";
	PlmSource	file = tensor_file("model.safetensors", header, 26);
	unsigned char *data = (unsigned char *) file.arg + 8 + strlen(header);
	const float a[3] = {1.5f, -2.0f, 3.25f};
	const uint16_t b[2] = {0x3FC0, 0xC000};	/* 1.5, -2 */
	const uint16_t h = 0x3E00;	/* 1.5 */
	PlmTensorSet set;
	float		out[3] = {0};
	size_t		before = arena.taken;

	memcpy(data, a, 12);
	memcpy(data + 12, b, 4);
	memcpy(data + 24, &h, 2);
	CHECK("a_sound_file_opens", open_one(file, &set) == PLM_OK && set.n == 5, "%s", err.message);
	CHECK("tensors_are_sorted_by_name", strcmp(set.tensors[0].name, "a") == 0 && strcmp(set.tensors[4].name, "i") == 0, "%s", set.tensors[0].name);
	CHECK("shape_and_size_are_kept", set.tensors[0].rank == 2 && set.tensors[0].shape[0] == 3 && set.tensors[0].elements == 3 &&
		  set.tensors[0].bytes == 12, "rank %d", set.tensors[0].rank);
	CHECK("f32_reads", plm_tensor_read(plm_tensor_find(&set, "a"), 0, 3, out, &arena, &err) == PLM_OK && memcmp(out, a, 12) == 0, "%g", out[0]);
	CHECK("a_part_reads", plm_tensor_read(plm_tensor_find(&set, "a"), 2, 1, out, &arena, &err) == PLM_OK && out[0] == 3.25f, "%g", out[0]);
	CHECK("bf16_reads", plm_tensor_read(plm_tensor_find(&set, "b"), 0, 2, out, &arena, &err) == PLM_OK && out[0] == 1.5f && out[1] == -2.0f,
		  "%g", out[0]);
	CHECK("a_scalar_f16_reads", plm_tensor_read(plm_tensor_find(&set, "h"), 0, 1, out, &arena, &err) == PLM_OK && out[0] == 1.5f, "%g", out[0]);
	CHECK("an_empty_tensor_reads", plm_tensor_read(plm_tensor_find(&set, "e"), 0, 0, out, &arena, &err) == PLM_OK, "%s", err.message);
	CHECK("integers_are_not_weights", plm_tensor_read(plm_tensor_find(&set, "i"), 0, 1, out, &arena, &err) == PLM_EUNSUPPORTED, "%s", err.message);
	CHECK("reading_past_the_end_is_refused", plm_tensor_read(plm_tensor_find(&set, "a"), 2, 2, out, &arena, &err) == PLM_EARG, "%s", err.message);
	CHECK("an_absent_tensor_is_null", plm_tensor_find(&set, "c") == NULL, "found");
	CHECK("reading_takes_no_lasting_memory", arena.taken <= before + 65536, "%zu bytes", arena.taken - before);
	CHECK("an_empty_file_of_tensors_opens", open_one(tensor_file("model.safetensors", "{}", 0), &set) == PLM_OK && set.n == 0 &&
		  plm_tensor_find(&set, "a") == NULL, "%s", err.message);
}

/* More than one chunk of conversion, at an odd offset. */
static void
test_long_tensor(void)
{
	enum {N = 300001};
	static float out[N];
	char		header[128];
	PlmSource	file;
	PlmTensorSet set;
	int64_t		wrong = -1;

	snprintf(header, sizeof(header), "{\"w\":{\"dtype\":\"BF16\",\"shape\":[%d],\"data_offsets\":[0,%d]}}", N, 2 * N);
	file = tensor_file("model.safetensors", header, 2 * N);
	for (int i = 0; i < N; i++)
		memcpy((unsigned char *) file.arg + 8 + strlen(header) + 2 * i, &(uint16_t) {(uint16_t) (0x3F80 + i % 100)}, 2);
	CHECK("a_long_tensor_opens", open_one(file, &set) == PLM_OK, "%s", err.message);
	CHECK("a_long_tensor_reads", plm_tensor_read(&set.tensors[0], 1, N - 1, out, &arena, &err) == PLM_OK, "%s", err.message);
	for (int64_t i = 0; i < N - 1 && wrong < 0; i++)
	{
		uint32_t	bits = (uint32_t) (0x3F80 + (i + 1) % 100) << 16;

		wrong = memcmp(&out[i], &bits, 4) == 0 ? -1 : i;
	}
	CHECK("every_element_of_a_long_tensor_is_right", wrong < 0, "element %" PRId64, wrong);
}

#define T(name, type, shape, begin, end) "\"" name "\":{\"dtype\":\"" type "\",\"shape\":[" shape "],\"data_offsets\":[" begin "," end "]}"

static void
test_tensor_refusals(void)
{
	static const struct
	{
		const char *name;
		const char *header;
		size_t		bytes;
		PlmStatus	status;
		const char *says;
	}			cases[] = {
		{"unknown_type", "{" T("a", "F8_E4M3", "4", "0", "4") "}", 4, PLM_EUNSUPPORTED, "F8_E4M3"},
		{"shape_against_bytes", "{" T("a", "F32", "3", "0", "8") "}", 8, PLM_ECORRUPT, "3 elements of type F32 cannot have 8 bytes"},
		{"overlap", "{" T("a", "F32", "2", "0", "8") "," T("b", "F32", "2", "4", "12") "}", 12, PLM_ECORRUPT, "overlap by 4 bytes"},
		{"same_place", "{" T("a", "F32", "2", "0", "8") "," T("b", "F32", "2", "0", "8") "}", 8, PLM_ECORRUPT, "overlap by 8 bytes"},
		{"hole", "{" T("a", "F32", "1", "0", "4") "," T("b", "F32", "1", "8", "12") "}", 12, PLM_ECORRUPT, "4 bytes before tensor \"b\""},
		{"hole_at_the_start", "{" T("a", "F32", "1", "4", "8") "}", 8, PLM_ECORRUPT, "4 bytes before"},
		{"bytes_at_the_end", "{" T("a", "F32", "1", "0", "4") "}", 9, PLM_ECORRUPT, "5 bytes after"},
		{"data_cut", "{" T("a", "F32", "4", "0", "16") "}", 15, PLM_ECORRUPT, "16"},
		{"offsets_reversed", "{" T("a", "F32", "0", "4", "0") "}", 4, PLM_ECORRUPT, "data_offsets"},
		{"negative_offset", "{" T("a", "F32", "1", "-4", "0") "}", 4, PLM_ECORRUPT, "data_offsets"},
		{"offset_is_real", "{" T("a", "F32", "1", "0", "4.0") "}", 4, PLM_ECORRUPT, "data_offsets"},
		{"huge_offset", "{" T("a", "F32", "1", "0", "9223372036854775807") "}", 4, PLM_ECORRUPT, "9223372036854775807"},
		{"offset_beyond_64_bits", "{" T("a", "F32", "1", "0", "18446744073709551616") "}", 4, PLM_ECORRUPT, "too big"},
		{"shape_overflows", "{" T("a", "F32", "4294967296,4294967296", "0", "0") "}", 0, PLM_ECORRUPT, "overflows"},
		{"bytes_overflow", "{" T("a", "F32", "4611686018427387904", "0", "0") "}", 0, PLM_ECORRUPT, "cannot have"},
		{"negative_dimension", "{" T("a", "F32", "-1,-1", "0", "4") "}", 4, PLM_ECORRUPT, "not a count"},
		{"nine_dimensions", "{" T("a", "F32", "1,1,1,1,1,1,1,1,1", "0", "4") "}", 4, PLM_EUNSUPPORTED, "9 dimensions"},
		{"name_twice", "{" T("a", "F32", "1", "0", "4") "," T("a", "F32", "1", "4", "8") "}", 8, PLM_ECORRUPT, "duplicate"},
		{"no_shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, PLM_ECORRUPT, "no shape"},
		{"no_type", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, PLM_ECORRUPT, "no type"},
		{"no_offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, PLM_ECORRUPT, "data_offsets"},
		{"entry_is_a_list", "{\"a\":[]}", 0, PLM_ECORRUPT, "not an object"},
		{"metadata_is_a_list", "{\"__metadata__\":[]}", 0, PLM_ECORRUPT, "__metadata__"},
		{"metadata_holds_a_number", "{\"__metadata__\":{\"a\":1}}", 0, PLM_ECORRUPT, "__metadata__"},
		{"header_is_a_list", "[]", 0, PLM_ECORRUPT, "object"},
		{"header_is_empty", "", 0, PLM_ECORRUPT, "JSON"},
		{"header_is_cut", "{\"a\":{\"dtype\"", 0, PLM_ECORRUPT, "JSON"},
		{"header_with_a_tail", "{} {}", 0, PLM_ECORRUPT, "JSON"}
	};
	PlmTensorSet set;
	PlmSource	file;

	for (int64_t i = 0; i < PLM_COUNT(cases); i++)
	{
		char		name[96];
		PlmStatus	status = open_one(tensor_file("model.safetensors", cases[i].header, cases[i].bytes), &set);

		snprintf(name, sizeof(name), "refused_%s", cases[i].name);
		CHECK(name, status == cases[i].status && strstr(err.message, cases[i].says) != NULL &&
			  strncmp(err.message, "model.safetensors: ", 19) == 0, "status %d: %s", status, err.message);
	}
	for (size_t n = 0; n < 8; n++)
		if (open_one(plm_source_memory("model.safetensors", "\1\0\0\0\0\0\0\0", n), &set) != PLM_ECORRUPT)
			CHECK("refused_file_shorter_than_its_length", false, "%zu bytes", n);
	file = tensor_file("model.safetensors", "{}", 0);
	memset(file.arg, 0xFF, 8);
	CHECK("refused_header_of_2_to_the_64", open_one(file, &set) == PLM_ECORRUPT && strstr(err.message, "18446744073709551615") != NULL, "%s", err.message);
	file = tensor_file("model.safetensors", "{}", 0);
	file.size = UINT64_C(1) << 40;	/* never read: the header is refused by its length */
	memcpy(file.arg, "\1\xE1\xF5\5\0\0\0\0", 8);
	CHECK("refused_header_of_more_than_100_mb", open_one(file, &set) == PLM_ELIMIT && strstr(err.message, "100000001") != NULL, "%s", err.message);
}

static void
test_no_weights(void)
{
	PlmSource	bin = plm_source_memory("pytorch_model.bin", "x", 1);
	PlmFileSet	set = {&bin, 1};
	PlmTensorSet out;

	CHECK("pytorch_files_are_refused_with_advice", plm_tensors_open(&set, &arena, &out, &err) == PLM_ENOTFOUND &&
		  strstr(err.hint, "safe_serialization") != NULL, "%s / %s", err.message, err.hint);
}

/* ---- shards ---- */

static PlmStatus
open_shards(const char *index, const char *second, PlmTensorSet *out)
{
	static PlmSource files[3];
	PlmFileSet	set = {files, 3};

	files[0] = plm_source_memory("model.safetensors.index.json", index, strlen(index));
	files[1] = tensor_file("model-1.safetensors", "{" T("a", "F32", "1", "0", "4") "," T("b", "F32", "1", "4", "8") "}", 8);
	files[2] = tensor_file("model-2.safetensors", second, 4);
	return plm_tensors_open(&set, &arena, out, &err);
}

static void
test_shards(void)
{
	static const char index[] = "{\"metadata\":{\"total_size\":12},\"weight_map\":{\"c\":\"model-2.safetensors\",\"a\":\"model-1.safetensors\","
		"\"b\":\"model-1.safetensors\"}}";
	static const char c[] = "{" T("c", "F32", "1", "0", "4") "}";
	PlmTensorSet set;
	PlmStatus	status;

	CHECK("shards_open_as_one_set", open_shards(index, c, &set) == PLM_OK && set.n == 3 &&
		  strcmp(plm_tensor_find(&set, "c")->source->name, "model-2.safetensors") == 0, "%s", err.message);
	status = open_shards("{\"weight_map\":{\"a\":\"model-3.safetensors\"}}", c, &set);
	CHECK("refused_missing_shard", status == PLM_ENOTFOUND && strstr(err.message, "model-3") != NULL, "%s", err.message);
	status = open_shards(index, "{" T("a", "F32", "1", "0", "4") "}", &set);
	CHECK("refused_tensor_in_two_shards", status == PLM_ECORRUPT && strstr(err.message, "both") != NULL, "%s", err.message);
	status = open_shards("{\"weight_map\":{\"c\":\"model-1.safetensors\",\"a\":\"model-2.safetensors\"}}", c, &set);
	CHECK("refused_tensor_in_another_shard", status == PLM_ECORRUPT && strstr(err.message, "where the index has it") != NULL, "%s", err.message);
	status = open_shards("{\"weight_map\":{\"a\":\"../model-1.safetensors\"}}", c, &set);
	CHECK("refused_shard_that_climbs", status == PLM_ECORRUPT && strstr(err.message, "../model-1") != NULL, "%s", err.message);
	status = open_shards("{\"weight_map\":{\"a\":7}}", c, &set);
	CHECK("refused_shard_name_that_is_a_number", status == PLM_ECORRUPT, "%s", err.message);
	status = open_shards("{}", c, &set);
	CHECK("refused_index_without_a_map", status == PLM_ECORRUPT && strstr(err.message, "weight_map") != NULL, "%s", err.message);
}

/* ---- bombs and allocation failures ---- */

static void
test_header_bombs(void)
{
	size_t		n = (size_t) 20 << 20;
	char	   *header = plm_arena_alloc(&arena, n + 1);
	PlmTensorSet set;

	memset(header, '[', n);
	header[n] = '\0';
	CHECK("deep_header_is_refused", open_one(tensor_file("model.safetensors", header, 0), &set) == PLM_ELIMIT, "%s", err.message);
	for (size_t i = 0; i < n; i++)
		header[i] = "0,"[i % 2];
	header[0] = '[';
	header[1] = ' ';
	CHECK("header_of_millions_of_values_is_refused", open_one(tensor_file("model.safetensors", header, 0), &set) == PLM_ELIMIT &&
		  strstr(err.message, "values") != NULL, "%s", err.message);
}

static void
test_allocation_failures(void)
{
	const PlmHook hook = {failing_alloc, counted_release, NULL, NULL};
	PlmArena	kept = arena;
	PlmSource	files[3];
	PlmFileSet	set = {files, 3};
	PlmStatus	status;
	bool		sound = true;
	int			n = 0;
	static const char index[] = "{\"weight_map\":{\"a\":\"model-1.safetensors\",\"b\":\"model-2.safetensors\"}}";

	files[0] = plm_source_memory("model.safetensors.index.json", index, sizeof(index) - 1);
	files[1] = tensor_file("model-1.safetensors", "{" T("a", "F16", "1000", "0", "2000") "}", 2000);
	files[2] = tensor_file("model-2.safetensors", "{" T("b", "F16", "9", "0", "18") "}", 18);
	kept = arena;
	do
	{
		PlmTensorSet out;
		float		values[1000];

		plm_arena_init(&arena, &hook, 0);
		countdown = ++n;
		status = plm_tensors_open(&set, &arena, &out, &err);
		if (status == PLM_OK)
			status = plm_tensor_read(&out.tensors[0], 0, 1000, values, &arena, &err);
		sound = status == PLM_OK || status == PLM_ENOMEM;
		plm_arena_free(&arena);
		sound = sound && held == 0;
	} while (sound && countdown == 0 && n < 10000);
	arena = kept;
	CHECK("each_failed_allocation_is_an_error_that_leaks_nothing", sound && status == PLM_OK && n >= 5, "allocation %d, status %d, %d held",
		  n, status, held);
}

static void
test_shop_seed(void)
{
	const char *shared = getenv("PLM_SHARED");
	char		path[512];
	PlmFileSet	files;
	PlmTensorSet set;
	const PlmTensor *tensor;
	float		x[4];

	snprintf(path, sizeof(path), "%s/data/models/shop-seed", shared != NULL ? shared : "../shared");
	if (plm_directory_open(path, &arena, &files, &err) != PLM_OK)
	{
		SKIP("shop_seed_weights_open", "the model is not there");
		return;
	}
	CHECK("shop_seed_weights_open", plm_tensors_open(&files, &arena, &set, &err) == PLM_OK && set.n == 74, "%s", err.message);
	tensor = plm_tensor_find(&set, "embeddings.word_embeddings.weight");
	/* read with numpy: rows as float16 */
	CHECK("shop_seed_weights_read", tensor != NULL && plm_tensor_read(tensor, 1000, 4, x, &arena, &err) == PLM_OK &&
		  x[0] == 0.115966796875f && x[1] == 0.1783447265625f && x[2] == -0.11785888671875f, "%.9g %.9g %.9g", x[0], x[1], x[2]);
	plm_directory_close(&files);
}

int
main(void)
{
	char		scratch[] = "/tmp/plm-test-file-XXXXXX";

	plm_arena_init(&arena, &plm_libc_hook, 0);
	if (mkdtemp(scratch) == NULL)
	{
		perror(scratch);
		return 1;
	}
	test_paths();
	test_sources(scratch);
	test_tensors();
	test_long_tensor();
	test_tensor_refusals();
	test_no_weights();
	test_shards();
	test_header_bombs();
	test_allocation_failures();
	test_shop_seed();
	remove_all(scratch);
	plm_arena_free(&arena);
	return unit_done();
}
