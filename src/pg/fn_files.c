/*
 * fn_files.c -- models from and to directories of the server: load_model, export_model.
 */
#include "catalog.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#define MAX_DEPTH 2				/* of folders: modules of sentence-transformers directories and what they hold */
#define MAX_FILES 1000

/* An absolute path that the caller may use with this role. */
static char *
checked_directory(text *directory, Oid role, const char *verb)
{
	char	   *path = text_to_cstring(directory);

	if (!has_privs_of_role(GetUserId(), role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to %s a directory of the server", verb),
				 errhint("Only roles with privileges of role \"%s\" may do that.",
						 GetUserNameFromId(role, false))));
	canonicalize_path(path);
	if (!is_absolute_path(path))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("path \"%s\" of a directory of the server must be absolute", path)));
	return path;
}

/* ---- loading ---- */

/*
 * Names (char *) below root/below of files that belong to a model.  Hub snapshots link their files to a store
 * beside them, so a link to a regular file is a file; folders are never followed through links.
 */
static List *
list_files(const char *root, const char *below, int depth, List *names)
{
	char	   *folder = below[0] == '\0' ? pstrdup(root) : psprintf("%s/%s", root, below);
	DIR		   *dir = AllocateDir(folder);
	struct dirent *entry;

	while ((entry = ReadDir(dir, folder)) != NULL)
	{
		char	   *name = below[0] == '\0' ? pstrdup(entry->d_name) : psprintf("%s/%s", below, entry->d_name);
		char	   *path = psprintf("%s/%s", root, name);
		struct stat st;

		CHECK_FOR_INTERRUPTS();
		if (entry->d_name[0] == '.')
			continue;
		if (lstat(path, &st) < 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not stat file \"%s\": %m", path)));
		if (S_ISDIR(st.st_mode) && depth < MAX_DEPTH)
			names = list_files(root, name, depth + 1, names);
		else if (plmpg_file_is_wanted(name) &&
				 (S_ISREG(st.st_mode) || (S_ISLNK(st.st_mode) && stat(path, &st) == 0 && S_ISREG(st.st_mode))))
			names = lappend(names, name);
		if (list_length(names) > MAX_FILES)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("directory \"%s\" has more than %d files of a model", root, MAX_FILES)));
	}
	FreeDir(dir);
	return names;
}

/* Up to PLMPG_PART_BYTES of a file; fewer only at its end. */
static size_t
read_some(int fd, const char *path, char *to)
{
	size_t		n = 0;

	while (n < PLMPG_PART_BYTES)
	{
		ssize_t		got = read(fd, to + n, PLMPG_PART_BYTES - n);

		CHECK_FOR_INTERRUPTS();
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not read file \"%s\": %m", path)));
		if (got == 0)
			break;
		n += (size_t) got;
	}
	return n;
}

/* Store one file in parts counted from 1; an empty one has one empty part. */
static void
store_file(const char *model, const char *root, const char *name)
{
	char	   *path = psprintf("%s/%s", root, name);
	int			fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "product_llm part", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	struct varlena *data = palloc(VARHDRSZ + PLMPG_PART_BYTES);
	size_t		n;
	int32		part = 1;

	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", path)));
	old = MemoryContextSwitchTo(context);
	do
	{
		n = read_some(fd, path, VARDATA(data));
		if (n > 0 || part == 1)
		{
			SET_VARSIZE(data, VARHDRSZ + n);
			plmpg_write_part(model, name, part++, data);
		}
		MemoryContextReset(context);
	} while (n == PLMPG_PART_BYTES);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	pfree(data);
	CloseTransientFile(fd);
}

static void
load_directory(const char *model, const char *root, const char *manifest)
{
	List	   *names;
	ListCell   *cell;

	plmpg_claim(model, "product_llm.load_model()", PLMPG_CLAIM_NEW);
	names = list_files(root, "", 0, NIL);
	if (names == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("directory \"%s\" holds no files of a model", root),
				 errhint("A Hugging Face directory has config.json, model.safetensors and vocab.txt or tokenizer.json.")));
	foreach(cell, names)
		store_file(model, root, lfirst(cell));
	plmpg_install(model, manifest, NULL, (Datum) 0);
}

/* ERROR: there is no such bundled model; the hint names those there are. */
static void
no_bundled_model(const char *model, const char *models)
{
	DIR		   *dir = AllocateDir(models);
	struct dirent *entry;
	StringInfoData names;

	initStringInfo(&names);
	while (dir != NULL && (entry = ReadDir(dir, models)) != NULL)
	{
		struct stat st;

		if (entry->d_name[0] != '.' && stat(psprintf("%s/%s", models, entry->d_name), &st) == 0 && S_ISDIR(st.st_mode))
			appendStringInfo(&names, "%s\"%s\"", names.len > 0 ? ", " : "", entry->d_name);
	}
	if (dir != NULL)
		FreeDir(dir);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("no model \"%s\" comes with the extension", model),
			 names.len > 0 ?
			 errhint("These do: %s.  load_model(model, directory) loads others.", names.data) :
			 errhint("None is installed; load_model(model, directory) loads one from a directory.")));
}

PG_FUNCTION_INFO_V1(product_llm_load_model);

/* load_model(model): needs no right on files, because the server's administrator put these there. */
Datum
product_llm_load_model(PG_FUNCTION_ARGS)
{
	char	   *model = plmpg_model_name(PG_GETARG_TEXT_PP(0));
	char		share[MAXPGPATH];
	char	   *models;
	char	   *root;
	struct stat st;

	get_share_path(my_exec_path, share);
	models = psprintf("%s/product_llm/models", share);
	root = psprintf("%s/%s", models, model);
	if (model[0] == '.' || strpbrk(model, "/\\") != NULL || stat(root, &st) != 0 || !S_ISDIR(st.st_mode))
		no_bundled_model(model, models);
	load_directory(model, root, psprintf("%s/MANIFEST", models));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(product_llm_load_model_directory);

/* load_model(model, directory) */
Datum
product_llm_load_model_directory(PG_FUNCTION_ARGS)
{
	char	   *model = plmpg_model_name(PG_GETARG_TEXT_PP(0));
	char	   *root = checked_directory(PG_GETARG_TEXT_PP(1), ROLE_PG_READ_SERVER_FILES, "read");
	struct stat st;

	if (stat(root, &st) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open directory \"%s\": %m", root)));
	if (!S_ISDIR(st.st_mode))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a directory", root)));
	load_directory(model, root, NULL);
	PG_RETURN_VOID();
}

/* ---- exporting ---- */

/* Make the folders that a file's name names, below root. */
static void
make_folders(const char *root, const char *name)
{
	for (const char *slash = strchr(name, '/'); slash != NULL; slash = strchr(slash + 1, '/'))
	{
		char	   *folder = psprintf("%s/%.*s", root, (int) (slash - name), name);

		if (MakePGDirectory(folder) < 0 && errno != EEXIST)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not create directory \"%s\": %m", folder)));
	}
}

static void
write_all(int fd, const char *path, const char *data, size_t n)
{
	while (n > 0)
	{
		ssize_t		put;

		errno = 0;
		put = write(fd, data, n);
		CHECK_FOR_INTERRUPTS();
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
		{
			if (errno == 0)
				errno = ENOSPC;
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not write file \"%s\": %m", path)));
		}
		data += put;
		n -= (size_t) put;
	}
}

/* Write a file that must not exist: the stored one, or, when text.data is not NULL, the text. */
static void
export_file(const char *root, const char *name, PlmpgStoredFile *file, PlmText text)
{
	char	   *path = psprintf("%s/%s", root, name);
	uint64		size = text.data != NULL ? text.len : file->start[file->parts];
	char	   *buffer = palloc(PLMPG_PART_BYTES);
	int			fd;

	make_folders(root, name);
	fd = OpenTransientFile(path, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY);
	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", path)));
	if (text.data != NULL)
		write_all(fd, path, text.data, text.len);
	else
		for (uint64 at = 0; at < size;)
		{
			size_t		n = Min((uint64) PLMPG_PART_BYTES, size - at);

			plmpg_store_read(file, at, n, buffer);
			write_all(fd, path, buffer, n);
			at += n;
		}
	if (pg_fsync(fd) != 0 || CloseTransientFile(fd) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not fsync file \"%s\": %m", path)));
	fsync_fname(path, false);
	pfree(buffer);
}

/* product_llm.json of a quantized model: its base's, with the precision set. */
static PlmText
precision_json(PlmpgStore *store, PlmPrecision precision)
{
	PlmText		base = plmpg_store_text(store, "product_llm.json");
	Datum		ours = plmpg_jsonb(base.data != NULL ? base : PLM_TEXT("{}"));
	char	   *set = psprintf("{\"precision\": \"%s\"}", plm_precision_name(precision));
	Datum		merged = DirectFunctionCall2(jsonb_concat, ours, plmpg_jsonb((PlmText) {set, strlen(set)}));

	return plmpg_utf8(cstring_to_text(DatumGetCString(DirectFunctionCall1(jsonb_out, merged))));
}

static void
export_files(const PlmpgRow *row, PlmpgStore *store, const char *root)
{
	bool		derived = strcmp(row->model, row->files_of) != 0;
	const PlmText none = {NULL, 0};

	for (int i = 0; i < store->n; i++)
		if (!derived || strcmp(store->files[i].name, "product_llm.json") != 0)
			export_file(root, store->files[i].name, &store->files[i], none);
	if (derived)
		export_file(root, "product_llm.json", NULL, precision_json(store, row->precision));
	fsync_fname(root, true);
}

/* Create root, or accept an empty directory; true when it was created. */
static bool
prepare_directory(const char *root)
{
	int			state;

	if (MakePGDirectory(root) == 0)
		return true;
	if (errno != EEXIST)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", root)));
	state = pg_check_dir(root);
	if (state < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open directory \"%s\": %m", root)));
	if (state != 1)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_FILE),
				 errmsg("directory \"%s\" is not empty", root),
				 errhint("Nothing is ever overwritten; name a new directory.")));
	return false;
}

PG_FUNCTION_INFO_V1(product_llm_export_model);

/* export_model(model, directory): all files or, after an error, none. */
Datum
product_llm_export_model(PG_FUNCTION_ARGS)
{
	char	   *model = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *root = checked_directory(PG_GETARG_TEXT_PP(1), ROLE_PG_WRITE_SERVER_FILES, "write");
	PlmpgStore *store;
	PlmpgRow	row;
	bool		created;

	plmpg_catalog_usable(model, NULL, &row);
	store = plmpg_store_open(row.files_of, NULL);
	created = prepare_directory(root);
	PG_TRY();
	{
		export_files(&row, store, root);
	}
	PG_CATCH();
	{
		rmtree(root, created);
		PG_RE_THROW();
	}
	PG_END_TRY();
	plmpg_store_close(store);
	PG_RETURN_VOID();
}
