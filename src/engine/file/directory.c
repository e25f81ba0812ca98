/*
 * directory.c -- a directory of the operating system as a PlmFileSet, read with pread.
 *
 * Only files that plm_file_is_wanted() accepts are opened.  Symbolic links are followed (the hub's
 * cache is made of them), anything but a regular file is passed over.
 */
#include "plm_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILES 1024

static PlmStatus
directory_read(void *arg, uint64_t offset, size_t len, void *dst, PlmError *err)
{
	int			fd = (int) (intptr_t) arg;
	size_t		done = 0;

	while (done < len)
	{
		ssize_t		n = pread(fd, (char *) dst + done, len - done, (off_t) (offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return plm_fail(err, PLM_EIO, (int64_t) (offset + done), "could not read a model file: %s", strerror(errno));
		if (n == 0)
			return plm_fail(err, PLM_ECORRUPT, (int64_t) (offset + done),
							"a model file ended at byte %" PRIu64 " while it was read", offset + done);
		done += (size_t) n;
	}
	return PLM_OK;
}

typedef struct Listing
{
	int			root;			/* descriptor of the directory */
	PlmSource  *files;
	int			n;
} Listing;

/* Add one file if it is wanted and regular. */
static PlmStatus
add_file(Listing *list, const char *name, PlmError *err)
{
	struct stat st;
	int			fd;

	if (!plm_file_is_wanted(name))
		return PLM_OK;
	fd = openat(list->root, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);	/* a FIFO must not make it wait */
	if (fd < 0)
		return plm_fail(err, PLM_EIO, 0, "could not open \"%s\": %s", name, strerror(errno));
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
	{
		close(fd);
		return PLM_OK;
	}
	if (list->n == MAX_FILES)
	{
		close(fd);
		return plm_fail(err, PLM_ELIMIT, 0, "the directory has more than %d model files", MAX_FILES);
	}
	list->files[list->n] = (PlmSource) {.size = (uint64_t) st.st_size, .read = directory_read, .arg = (void *) (intptr_t) fd};
	snprintf(list->files[list->n].name, sizeof(list->files[list->n].name), "%s", name);
	list->n++;
	return PLM_OK;
}

/* Files of `folder` ("" for the root, whose folders are then looked into once). */
static PlmStatus
add_folder(Listing *list, const char *folder, PlmError *err)
{
	int			fd = openat(list->root, folder[0] == '\0' ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR		   *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	PlmStatus	status = PLM_OK;

	if (dir == NULL)
	{
		status = plm_fail(err, PLM_EIO, 0, "could not read the directory \"%s\": %s", folder, strerror(errno));
		if (fd >= 0)
			close(fd);
		return status;
	}
	while (status == PLM_OK && (entry = readdir(dir)) != NULL)
	{
		char		name[sizeof(((PlmSource *) 0)->name)];
		struct stat st;

		if (entry->d_name[0] == '.')
			continue;
		if (snprintf(name, sizeof(name), "%s%s%s", folder, folder[0] == '\0' ? "" : "/", entry->d_name) >= (int) sizeof(name))
			continue;
		if (folder[0] == '\0' && entry->d_name[0] >= '0' && entry->d_name[0] <= '9' &&
			fstatat(list->root, name, &st, 0) == 0 && S_ISDIR(st.st_mode))
			status = add_folder(list, name, err);
		else
			status = add_file(list, name, err);
	}
	closedir(dir);
	return status;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const PlmSource *) a)->name, ((const PlmSource *) b)->name);
}

PlmStatus
plm_directory_open(const char *path, PlmArena *arena, PlmFileSet *set, PlmError *err)
{
	Listing		list = {.root = -1};
	PlmStatus	status;

	*set = (PlmFileSet) {NULL, 0};
	list.files = plm_arena_array(arena, MAX_FILES, sizeof(PlmSource));
	if (list.files == NULL)
		return plm_arena_refused(arena, MAX_FILES * sizeof(PlmSource), err);
	list.root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (list.root < 0)
		return plm_fail(err, errno == ENOENT ? PLM_ENOTFOUND : PLM_EIO, 0, "could not open the directory \"%s\": %s",
						path, strerror(errno));
	status = add_folder(&list, "", err);
	close(list.root);
	*set = (PlmFileSet) {list.files, list.n};
	if (status != PLM_OK)
	{
		plm_directory_close(set);
		return status;
	}
	qsort(list.files, (size_t) list.n, sizeof(PlmSource), by_name);
	return PLM_OK;
}

void
plm_directory_close(PlmFileSet *set)
{
	for (int i = 0; i < set->n; i++)
		close((int) (intptr_t) set->files[i].arg);
	*set = (PlmFileSet) {NULL, 0};
}
