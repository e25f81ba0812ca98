/*
 * files.h -- several files in one fuzz input, as text that a person can read:
 *
 *     === config.json
 *     {...}
 *     === modules.json
 *     [...]
 *
 * Without such a line at the start the whole input is one file, whose name the target gives.
 */
#ifndef FUZZ_FILES_H
#define FUZZ_FILES_H

#include "../../src/engine/file/plm_file.h"

#include <stdio.h>
#include <string.h>

#define FUZZ_MAX_FILES 16

typedef struct FuzzFiles
{
	PlmSource	sources[FUZZ_MAX_FILES];
	PlmFileSet	set;
} FuzzFiles;

/* The next line that begins with "=== ", or the end. */
static const char *
next_mark(const char *at, const char *end)
{
	while (at < end)
	{
		const char *line = memchr(at, '\n', (size_t) (end - at));

		if (end - at >= 4 && memcmp(at, "=== ", 4) == 0)
			return at;
		if (line == NULL)
			return end;
		at = line + 1;
	}
	return end;
}

static inline void
fuzz_files(const uint8_t *data, size_t size, const char *single, FuzzFiles *files)
{
	const char *at = (const char *) data;
	const char *end = at + size;

	files->set = (PlmFileSet) {files->sources, 0};
	if (size < 4 || memcmp(at, "=== ", 4) != 0)
	{
		files->sources[files->set.n++] = plm_source_memory(single, data, size);
		return;
	}
	while (at < end && files->set.n < FUZZ_MAX_FILES)
	{
		const char *name = at + 4;
		const char *line = memchr(name, '\n', (size_t) (end - name));
		char		copy[256];

		if (line == NULL)
			return;
		at = next_mark(line + 1, end);
		snprintf(copy, sizeof(copy), "%.*s", (int) (line - name < 255 ? line - name : 255), name);
		files->sources[files->set.n++] = plm_source_memory(copy, line + 1, (size_t) (at - line - 1));
	}
}

#endif							/* FUZZ_FILES_H */
