/*
 * digest.c -- who a model is: sha256 of its content, and the list of digests that comes with bundled models.
 */
#include "catalog.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/fd.h"

#define PIECE (1024 * 1024)

typedef struct Digest
{
	pg_cryptohash_ctx *ctx;
} Digest;

static void
failed(const Digest *d)
{
	elog(ERROR, "could not compute a sha256: %s", plmpg_cryptohash_error(d->ctx));
}

static Digest
digest_begin(void)
{
	Digest		d = {pg_cryptohash_create(PG_SHA256)};

	if (pg_cryptohash_init(d.ctx) < 0)
		failed(&d);
	return d;
}

static void
digest_add(Digest *d, const void *data, size_t n)
{
	if (pg_cryptohash_update(d->ctx, data, n) < 0)
		failed(d);
}

static void
digest_end(Digest *d, unsigned char out[PLM_KEY_BYTES])
{
	if (pg_cryptohash_final(d->ctx, out, PLM_KEY_BYTES) < 0)
		failed(d);
	pg_cryptohash_free(d->ctx);
}

char *
plmpg_hex(const unsigned char *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	char	   *hex = palloc(2 * n + 1);

	for (size_t i = 0; i < n; i++)
	{
		hex[2 * i] = digits[bytes[i] >> 4];
		hex[2 * i + 1] = digits[bytes[i] & 15];
	}
	hex[2 * n] = '\0';
	return hex;
}

static void
digest_file(PlmpgStoredFile *file, char *buffer)
{
	uint64		size = file->start[file->parts];
	Digest		d = digest_begin();

	for (uint64 at = 0; at < size;)
	{
		size_t		n = Min((uint64) PIECE, size - at);

		plmpg_store_read(file, at, n, buffer);
		digest_add(&d, buffer, n);
		at += n;
	}
	digest_end(&d, file->sha256);
}

void
plmpg_store_digest(PlmpgStore *store, unsigned char out[PLM_KEY_BYTES])
{
	char	   *buffer = palloc(PIECE);
	Digest		d = digest_begin();

	for (int i = 0; i < store->n; i++)
	{
		char	   *line;

		digest_file(&store->files[i], buffer);
		line = psprintf("%s  %s\n", plmpg_hex(store->files[i].sha256, PLM_KEY_BYTES), store->files[i].name);
		digest_add(&d, line, strlen(line));
		pfree(line);
	}
	digest_end(&d, out);
	pfree(buffer);
}

void
plmpg_key(const unsigned char sha256[PLM_KEY_BYTES], PlmPrecision precision, unsigned char out[PLM_KEY_BYTES])
{
	const char *name = plm_precision_name(precision);
	Digest		d = digest_begin();

	digest_add(&d, sha256, PLM_KEY_BYTES);
	digest_add(&d, name, strlen(name));
	digest_end(&d, out);
}

bool
plmpg_content_matches(const PlmpgRow *row, const unsigned char content[PLM_KEY_BYTES])
{
	unsigned char derived[PLM_KEY_BYTES];

	if (strcmp(row->model, row->files_of) == 0)
		return memcmp(row->sha256, content, PLM_KEY_BYTES) == 0;
	plmpg_key(content, row->precision, derived);
	return memcmp(row->sha256, derived, PLM_KEY_BYTES) == 0;
}

/* ---- manifest ---- */

/* The next line of a manifest: "<64 hex digits><space><space or *><path>"; false at the end. */
static bool
manifest_line(FILE *f, StringInfo line, char **hex, char **path)
{
	int			c;

	for (;;)
	{
		resetStringInfo(line);
		while ((c = getc(f)) != EOF && c != '\n')
			if (line->len < MAXPGPATH)
				appendStringInfoChar(line, (char) c);
		if (line->len > 66 && strspn(line->data, "0123456789abcdef") == 64 && line->data[64] == ' ')
		{
			line->data[64] = '\0';
			*hex = line->data;
			*path = line->data + 66;
			if (strncmp(*path, "./", 2) == 0)
				*path += 2;
			return true;
		}
		if (c == EOF)
			return false;
	}
}

static const PlmpgStoredFile *
find_stored(const PlmpgStore *store, const char *name)
{
	for (int i = 0; i < store->n; i++)
		if (strcmp(store->files[i].name, name) == 0)
			return &store->files[i];
	return NULL;
}

void
plmpg_manifest_check(const char *path, const char *folder, const PlmpgStore *store)
{
	size_t		prefix = strlen(folder);
	FILE	   *f = AllocateFile(path, "r");
	StringInfoData line;
	char	   *hex;
	char	   *name;
	int			seen = 0;

	if (f == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", path)));
	initStringInfo(&line);
	while (manifest_line(f, &line, &hex, &name))
	{
		const PlmpgStoredFile *file;

		if (strncmp(name, folder, prefix) != 0 || name[prefix] != '/' || !plm_file_is_wanted(name + prefix + 1))
			continue;
		file = find_stored(store, name + prefix + 1);
		if (file == NULL || strcmp(hex, plmpg_hex(file->sha256, PLM_KEY_BYTES)) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("file \"%s\" of the bundled model \"%s\" %s", name + prefix + 1, folder,
							file == NULL ? "is missing" : "is not what its manifest says"),
					 errhint("Install the extension again.")));
		seen++;
	}
	FreeFile(f);
	if (seen != store->n)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the bundled model \"%s\" has %d files, its manifest names %d", folder, store->n, seen),
				 errhint("Install the extension again.")));
}
