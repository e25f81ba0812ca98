/*
 * packfile.c -- the packed file of a model in the server's area of temporary files.
 *
 * Its name follows from content, precision and layout, so it is the same for every database and never changes
 * its meaning.  Base backups skip the area and a restart clears it.  A file is only ever replaced by rename:
 * whoever has the old one mapped keeps it.
 */
#include "catalog.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_utils.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/wait_event.h"

#define AREA "base/" PG_TEMP_FILES_DIR
#define LOCK_POLL_MS 10

/* Relative to the data directory, which is every backend's working directory. */
static char *
packfile_path(const unsigned char key[PLM_KEY_BYTES])
{
	return psprintf(AREA "/" PG_TEMP_FILE_PREFIX "_product_llm.%s.%d.%d",
					plmpg_hex(key, PLM_KEY_BYTES / 2), PLM_PACK_VERSION, PLM_CONFIG_VERSION);
}

/*
 * One builder at a time, by a lock on a file: a server in recovery has no other lock that a reader may take.
 * The system gives it up when the process ends, and PostgreSQL when the (sub)transaction fails.
 */
static int
lock_builders(const char *path)
{
	char	   *lock = psprintf("%s.lock", path);
	int			fd;

	if (MakePGDirectory(AREA) < 0 && errno != EEXIST)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", AREA)));
	fd = OpenTransientFile(lock, O_RDWR | O_CREAT | PG_BINARY);
	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", lock)));
	while (flock(fd, LOCK_EX | LOCK_NB) != 0)
	{
		if (errno != EWOULDBLOCK && errno != EINTR)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not lock file \"%s\": %m", lock)));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOCK_POLL_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return fd;
}

static void
build(const PlmpgRow *row, const unsigned char key[PLM_KEY_BYTES], const char *path)
{
	PlmpgStore *store = plmpg_store_open(row->files_of, NULL);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "product_llm pack", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	unsigned char content[PLM_KEY_BYTES];
	PlmHook		hook;
	PlmArena	arena;
	PlmError	err = {0};

	/* Embeddings are promised never to change: somebody may have written to the table by hand, or lost a part. */
	plmpg_store_digest(store, content);
	if (!plmpg_content_matches(row, content))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the stored files of model \"%s\" are not those that were installed", row->model),
				 errhint("Drop the model and load it again.")));

	old = MemoryContextSwitchTo(context);
	plmpg_arena(&arena, &hook);
	plmpg_store_check(store,
					  plm_model_pack(&store->set, row->precision, key, psprintf("%s.%d.tmp", path, MyProcPid), path,
									 &arena, &err), &err);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	plmpg_store_close(store);
}

void
plmpg_packfile_open(const PlmpgRow *row, PlmPackedFile *file)
{
	unsigned char key[PLM_KEY_BYTES];
	char	   *path;
	PlmError	err = {0};
	PlmStatus	status;
	int			lock;

	plmpg_key(row->sha256, row->precision, key);
	path = packfile_path(key);
	status = plm_packed_open(path, key, file, &err);
	if (status == PLM_ENOTFOUND || status == PLM_ECORRUPT)
	{
		lock = lock_builders(path);
		status = plm_packed_open(path, key, file, &err);
		if (status == PLM_ECORRUPT)
			ereport(LOG,
					(errmsg("rebuilding the damaged packed file \"%s\" of model \"%s\"", path, row->model),
					 errdetail_internal("%s", err.message)));
		if (status == PLM_ENOTFOUND || status == PLM_ECORRUPT)
		{
			build(row, key, path);
			status = plm_packed_open(path, key, file, &err);
		}
		CloseTransientFile(lock);
	}
	plmpg_check(status, &err);
}

char *
plmpg_packfile_path(const PlmpgRow *row)
{
	unsigned char key[PLM_KEY_BYTES];

	plmpg_key(row->sha256, row->precision, key);
	return packfile_path(key);
}

void
plmpg_packfile_unlink(const char *path)
{
	char		lock[MAXPGPATH];

	(void) unlink(path);
	snprintf(lock, sizeof(lock), "%s.lock", path);
	(void) unlink(lock);
}
