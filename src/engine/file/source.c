/*
 * source.c -- files as sources: finding, reading small ones whole, memory, and which names are welcome.
 * The contract is in plm_file.h; directories of the operating system are in directory.c.
 */
#include "plm_file.h"

#include <stdio.h>
#include <string.h>

const PlmSource *
plm_file_find(const PlmFileSet *set, const char *name)
{
	for (int i = 0; i < set->n; i++)
		if (strcmp(set->files[i].name, name) == 0)
			return &set->files[i];
	return NULL;
}

PlmStatus
plm_file_text(const PlmFileSet *set, const char *name, size_t limit, PlmArena *arena, PlmText *out, PlmError *err)
{
	const PlmSource *source = plm_file_find(set, name);
	PlmMark		mark = plm_arena_mark(arena);
	PlmStatus	status;
	size_t		len;
	char	   *data;

	*out = (PlmText) {NULL, 0};
	if (source == NULL)
		return PLM_OK;
	if (source->size > limit)
		return plm_fail(err, PLM_ELIMIT, 0, "%s has %" PRIu64 " bytes, more than the %zu allowed for it",
						name, source->size, limit);
	len = (size_t) source->size;
	data = plm_arena_alloc(arena, len + 1);
	if (data == NULL)
		return plm_arena_refused(arena, len + 1, err);
	status = source->read(source->arg, 0, len, data, err);
	if (status != PLM_OK)
	{
		plm_arena_rewind(arena, mark);
		return status;
	}
	data[len] = '\0';
	*out = (PlmText) {data, len};
	return PLM_OK;
}

static PlmStatus
memory_read(void *arg, uint64_t offset, size_t len, void *dst, PlmError *err)
{
	(void) err;
	if (len > 0)
		memcpy(dst, (const char *) arg + offset, len);
	return PLM_OK;
}

PlmSource
plm_source_memory(const char *name, const void *data, size_t bytes)
{
	PlmSource	source = {.size = bytes, .read = memory_read, .arg = (void *) data};

	snprintf(source.name, sizeof(source.name), "%s", name);
	return source;
}

bool
plm_path_is_safe(const char *path)
{
	size_t		len = strlen(path);
	const char *segment = path;

	if (len == 0 || len > 255)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char) path[i] < 0x20 || path[i] == 0x7F || path[i] == '\\')
			return false;
	for (;;)
	{
		size_t		n = strcspn(segment, "/");

		if (n == 0 || (n == 1 && segment[0] == '.') || (n == 2 && memcmp(segment, "..", 2) == 0))
			return false;
		if (segment[n] == '\0')
			return true;
		segment += n + 1;
	}
}

static bool
has_prefix(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool
has_suffix(const char *s, const char *suffix)
{
	size_t		n = strlen(s);
	size_t		m = strlen(suffix);

	return n >= m && strcmp(s + n - m, suffix) == 0;
}

/* "1_Pooling": how sentence-transformers names the folder of a module. */
static bool
is_module_folder(const char *path, const char *slash)
{
	const char *p = path;

	while (p < slash && *p >= '0' && *p <= '9')
		p++;
	return p > path && p < slash && *p == '_';
}

bool
plm_file_is_wanted(const char *path)
{
	static const char *const names[] = {
		"config.json", "generation_config.json", "modules.json", "config_sentence_transformers.json",
		"product_llm.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
		"added_tokens.json", "vocab.txt", "vocab.json", "merges.txt", "model.safetensors.index.json",
		"README.md", "NOTICE", "NOTICE.txt", "LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING"
	};
	const char *slash = strchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;

	if (!plm_path_is_safe(path))
		return false;
	if (slash != NULL && (strchr(name, '/') != NULL || !is_module_folder(path, slash)))
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	if (has_prefix(name, "sentence_") && has_suffix(name, "_config.json"))
		return true;
	return has_prefix(name, "model") && has_suffix(name, ".safetensors");
}
