/*
 * packed.c -- writing and mapping the packed cache file.  Its bytes are described in packed_layout.h.
 *
 * A writer fills a mapping of a file whose space the file system has already promised; a reader maps
 * what has been renamed into place and never changes again.  Files are only ever replaced: truncating
 * one would raise SIGBUS in every process that maps it.
 */
#include "packed_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTE_ORDER_MARK UINT32_C(0x01020304)

struct PlmPackedWriter
{
	int			fd;
	char	   *path;
	unsigned char *base;
	size_t		bytes;
	int64_t		n;
	PlmSection *sections;		/* in the mapping */
};

static PlmStatus
system_error(const char *what, const char *path, int error, PlmError *err)
{
	bool		full = error == ENOSPC || error == EDQUOT || error == EFBIG;

	return plm_fail(err, full ? PLM_EDISKFULL : error == ENOMEM ? PLM_ENOMEM : PLM_EIO, 0, "could not %s \"%s\": %s",
					what, path, strerror(error));
}

/* Offset of each section and the size of the file; false when a number is out of range. */
static bool
lay_out(const PlmSection *sections, int64_t n, uint64_t *offsets, size_t *total)
{
	size_t		at = packed_front((uint64_t) n);

	for (int64_t i = 0; i < n; i++)
	{
		size_t		padded;

		if (!plm_add(sections[i].bytes, PACKED_ALIGN - 1, &padded))
			return false;
		padded = padded / PACKED_ALIGN * PACKED_ALIGN;
		offsets[i] = at;
		if (!plm_add(at, padded, &at) || at > (size_t) INT64_MAX)
			return false;
	}
	*total = at;
	return true;
}

static size_t
padded_bytes(const PlmSection *section)
{
	return plm_align(section->bytes, PACKED_ALIGN);
}

/* A name to sort by, with its section's index. */
typedef struct SortName
{
	const char *name;
	uint32_t	index;
} SortName;

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const SortName *) a)->name, ((const SortName *) b)->name);
}

/* The directory's sorted indices; names must be terminated and differ. */
static PlmStatus
sort_sections(const PlmSection *sections, int64_t n, PlmArena *arena, SortName **out, PlmError *err)
{
	SortName   *names = plm_arena_array(arena, (size_t) n + 1, sizeof(SortName));

	if (names == NULL)
		return plm_arena_refused(arena, ((size_t) n + 1) * sizeof(SortName), err);
	for (int64_t i = 0; i < n; i++)
	{
		if (memchr(sections[i].name, '\0', sizeof(sections[i].name)) == NULL)
			return plm_fail(err, PLM_EINTERNAL, 0, "the name of section %" PRId64 " is not terminated", i);
		names[i] = (SortName) {sections[i].name, (uint32_t) i};
	}
	qsort(names, (size_t) n, sizeof(SortName), by_name);
	for (int64_t i = 1; i < n; i++)
		if (strcmp(names[i - 1].name, names[i].name) == 0)
			return plm_fail(err, PLM_EINTERNAL, 0, "two sections are called \"%s\"", names[i].name);
	*out = names;
	return PLM_OK;
}

/*
 * A pass over a model reads all its weights: in pages of 2 MB a session's page tables for them take nothing, and few misses of the TLB
 * are left.  The file's first reader decides what pages the system keeps it in, so writer and readers both ask.  Only advice.
 */
static void
advise_huge_pages(void *base, size_t bytes)
{
#ifdef MADV_HUGEPAGE
	(void) madvise(base, bytes, MADV_HUGEPAGE);
#endif
}

/* Create the file with its space allocated, and map it; on failure nothing is left. */
static PlmStatus
create_mapping(PlmPackedWriter *writer, PlmError *err)
{
	int			error;
	void	   *base = MAP_FAILED;

	writer->fd = open(writer->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (writer->fd < 0)
		return system_error("create", writer->path, errno, err);
	do
		error = posix_fallocate(writer->fd, 0, (off_t) writer->bytes);
	while (error == EINTR);
	if (error == 0)
	{
		base = mmap(NULL, writer->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, writer->fd, 0);
		error = base == MAP_FAILED ? errno : 0;
		if (error == 0)
			advise_huge_pages(base, writer->bytes);
	}
	if (error != 0)
	{
		close(writer->fd);
		unlink(writer->path);
		return system_error("allocate", writer->path, error, err);
	}
	writer->base = base;
	return PLM_OK;
}

/* Header and directory; the checksums come when the data is there. */
static void
write_front(PlmPackedWriter *writer, const unsigned char *key, const PlmSection *sections, const SortName *names)
{
	PackedHeader header = {.magic = PACKED_MAGIC, .version = PACKED_VERSION, .pack_version = PLM_PACK_VERSION,
		.config_version = PLM_CONFIG_VERSION, .order = BYTE_ORDER_MARK, .bytes = writer->bytes,
	.n = (uint64_t) writer->n};
	uint32_t   *sorted;

	memcpy(header.key, key, PLM_KEY_BYTES);
	memcpy(writer->base, &header, sizeof(header));
	writer->sections = (PlmSection *) (writer->base + sizeof(header));
	sorted = (uint32_t *) (writer->sections + writer->n);
	for (int64_t i = 0; i < writer->n; i++)
	{
		writer->sections[i] = sections[i];
		sorted[i] = names[i].index;
	}
}

PlmStatus
plm_packed_create(const char *path, const unsigned char key[PLM_KEY_BYTES], PlmSection *sections, int64_t n,
				  PlmArena *arena, PlmPackedWriter **out, PlmError *err)
{
	PlmPackedWriter *writer = plm_arena_zero(arena, sizeof(PlmPackedWriter));
	uint64_t   *offsets;
	SortName   *names = NULL;

	*out = NULL;
	if (n < 0 || n > PACKED_MAX_SECTIONS)
		return plm_fail(err, PLM_ELIMIT, 0, "a packed file cannot have %" PRId64 " sections", n);
	offsets = plm_arena_array(arena, (size_t) n + 1, sizeof(uint64_t));
	if (writer == NULL || offsets == NULL)
		return plm_arena_refused(arena, sizeof(PlmPackedWriter) + ((size_t) n + 1) * sizeof(uint64_t), err);
	writer->path = plm_arena_strndup(arena, path, strlen(path));
	if (writer->path == NULL)
		return plm_arena_refused(arena, strlen(path) + 1, err);
	PLM_TRY(sort_sections(sections, n, arena, &names, err));
	if (!lay_out(sections, n, offsets, &writer->bytes))
		return plm_fail(err, PLM_ELIMIT, 0, "the sections of a packed file are too large");
	for (int64_t i = 0; i < n; i++)
	{
		sections[i].offset = offsets[i];
		sections[i].checksum = 0;
	}
	writer->n = n;
	PLM_TRY(create_mapping(writer, err));
	write_front(writer, key, sections, names);
	*out = writer;
	return PLM_OK;
}

void *
plm_packed_data(PlmPackedWriter *writer, int64_t section)
{
	return writer->base + writer->sections[section].offset;
}

/* Force name's directory entry to disk. */
static int
sync_folder(const char *name)
{
	char		folder[4096];
	const char *slash = strrchr(name, '/');
	size_t		len = slash == NULL ? 0 : (size_t) (slash - name);
	int			fd;
	int			error = 0;

	if (len >= sizeof(folder))
		return ENAMETOOLONG;
	memcpy(folder, name, len);
	snprintf(folder + len, sizeof(folder) - len, "%s", slash == NULL ? "." : len == 0 ? "/" : "");
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (fsync(fd) != 0 && errno != EINVAL)	/* EINVAL: this file system has no such thing */
		error = errno;
	close(fd);
	return error;
}

void
plm_packed_abort(PlmPackedWriter *writer)
{
	munmap(writer->base, writer->bytes);
	close(writer->fd);
	unlink(writer->path);
}

PlmStatus
plm_packed_finish(PlmPackedWriter *writer, const char *final, PlmError *err)
{
	PackedHeader *header = (PackedHeader *) writer->base;
	int			error = 0;

	for (int64_t i = 0; i < writer->n; i++)
	{
		PlmSection *section = &writer->sections[i];

		section->checksum = plm_checksum(writer->base + section->offset, padded_bytes(section), 0);
	}
	header->checksum = packed_front_checksum(writer->base, header->n);
	if (msync(writer->base, writer->bytes, MS_SYNC) != 0 || fsync(writer->fd) != 0)
	{
		error = errno;
		plm_packed_abort(writer);
		return system_error("write", writer->path, error, err);
	}
	munmap(writer->base, writer->bytes);
	close(writer->fd);
	if (rename(writer->path, final) != 0)
	{
		error = errno;
		unlink(writer->path);
		return system_error("rename to", final, error, err);
	}
	error = sync_folder(final);
	if (error != 0)
	{
		unlink(final);
		return system_error("write the folder of", final, error, err);
	}
	return PLM_OK;
}

static PlmStatus
corrupt(PlmError *err, const char *what)
{
	return plm_fail(err, PLM_ECORRUPT, 0, "the packed file is damaged: %s", what);
}

/* Header fields; the file has at least sizeof(PackedHeader) bytes. */
static PlmStatus
check_header(const PlmPackedFile *file, const unsigned char *key, PlmError *err)
{
	const PackedHeader *header = (const PackedHeader *) file->base;

	if (memcmp(header->magic, PACKED_MAGIC, sizeof(header->magic)) != 0 || header->order != BYTE_ORDER_MARK)
		return corrupt(err, "it is not a packed file of this machine");
	if (header->version != PACKED_VERSION || header->pack_version != PLM_PACK_VERSION ||
		header->config_version != PLM_CONFIG_VERSION)
		return plm_fail(err, PLM_ECORRUPT, 0, "the packed file has the versions %u, %u, %u instead of %u, %u, %u",
						header->version, header->pack_version, header->config_version,
						PACKED_VERSION, PLM_PACK_VERSION, PLM_CONFIG_VERSION);
	if (memcmp(header->key, key, PLM_KEY_BYTES) != 0)
		return corrupt(err, "it belongs to another model");
	if (header->bytes != file->bytes)
		return plm_fail(err, PLM_ECORRUPT, 0, "the packed file should have %" PRIu64 " bytes, it has %zu", header->bytes, file->bytes);
	if (header->n > PACKED_MAX_SECTIONS || packed_front(header->n) > file->bytes)
		return corrupt(err, "its directory does not fit");
	if (header->checksum != packed_front_checksum(file->base, header->n))
		return corrupt(err, "the checksum of its directory differs");
	return PLM_OK;
}

static const uint32_t *
sorted_indices(const PlmPackedFile *file)
{
	return (const uint32_t *) (file->sections + file->n);
}

/* The directory: each section where the layout has it, inside the file; names terminated and in order. */
static PlmStatus
check_directory(const PlmPackedFile *file, PlmError *err)
{
	const uint32_t *sorted = sorted_indices(file);
	size_t		at = packed_front((uint64_t) file->n);

	for (int64_t i = 0; i < file->n; i++)
	{
		const PlmSection *s = &file->sections[i];

		if (memchr(s->name, '\0', sizeof(s->name)) == NULL)
			return corrupt(err, "a section's name is not terminated");
		if (s->offset != at || s->bytes > file->bytes - at || padded_bytes(s) > file->bytes - at)
			return corrupt(err, "a section lies outside its place");
		if (s->packed < 0 || s->packed > 1 || s->precision < 0 || s->precision >= PLM_PRECISIONS ||
			s->rows < 0 || s->cols < 0)
			return corrupt(err, "a section's shape makes no sense");
		at += padded_bytes(s);
	}
	if (at != file->bytes)
		return corrupt(err, "bytes follow its last section");
	for (int64_t i = 0; i < file->n; i++)
		if (sorted[i] >= (uint64_t) file->n ||
			(i > 0 && strcmp(file->sections[sorted[i - 1]].name, file->sections[sorted[i]].name) >= 0))
			return corrupt(err, "its names are not in order");
	return PLM_OK;
}

static PlmStatus
check_file(PlmPackedFile *file, const unsigned char *key, PlmError *err)
{
	PLM_TRY(check_header(file, key, err));
	file->n = (int64_t) ((const PackedHeader *) file->base)->n;
	file->sections = (const PlmSection *) (file->base + sizeof(PackedHeader));
	PLM_TRY(check_directory(file, err));
	for (int64_t i = 0; i < file->n; i++)
	{
		const PlmSection *s = &file->sections[i];

		if (plm_checksum(file->base + s->offset, padded_bytes(s), 0) != s->checksum)
			return plm_fail(err, PLM_ECORRUPT, (int64_t) s->offset, "the packed file is damaged: the checksum of section \"%s\" differs",
							s->name);
	}
	return PLM_OK;
}

PlmStatus
plm_packed_open(const char *path, const unsigned char key[PLM_KEY_BYTES], PlmPackedFile *file, PlmError *err)
{
	int			fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void	   *base;
	PlmStatus	status;
	int			error;

	memset(file, 0, sizeof(*file));
	if (fd < 0 && errno == ENOENT)
		return plm_fail(err, PLM_ENOTFOUND, 0, "there is no packed file \"%s\"", path);
	if (fd < 0)
		return system_error("open", path, errno, err);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < (off_t) sizeof(PackedHeader))
	{
		close(fd);
		return corrupt(err, "it is too short for a header");
	}
	base = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	error = errno;
	close(fd);
	if (base == MAP_FAILED)
		return system_error("map", path, error, err);
	advise_huge_pages(base, (size_t) st.st_size);
	/* Populated at once: all of it is about to be read for its checksums, and faults would cost as much as the reading. */
#ifdef MADV_POPULATE_READ
	(void) madvise(base, (size_t) st.st_size, MADV_POPULATE_READ);
#endif
	file->base = base;
	file->bytes = (size_t) st.st_size;
	status = check_file(file, key, err);
	if (status != PLM_OK)
		plm_packed_close(file);
	return status;
}

void
plm_packed_close(PlmPackedFile *file)
{
	if (file->base != NULL)
		munmap((void *) file->base, file->bytes);
	memset(file, 0, sizeof(*file));
}

const PlmSection *
plm_packed_find(const PlmPackedFile *file, const char *name)
{
	const uint32_t *sorted = sorted_indices(file);
	int64_t		low = 0;
	int64_t		high = file->n;

	while (low < high)
	{
		int64_t		middle = low + (high - low) / 2;
		const PlmSection *s = &file->sections[sorted[middle]];
		int			order = strcmp(name, s->name);

		if (order == 0)
			return s;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}
