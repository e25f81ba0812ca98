/*
 * catalog.h -- the model store as the glue sees it: rows of product_llm.model and model_file, and packed files.
 *
 * Readers need no right on the tables (who may call embed() may use models, but for those that model_grant keeps for some
 * roles) and use no SPI, so that they work in parallel workers, index expressions, read-only transactions and on a standby.
 * Writers act as the tables' owner: the right to write is the right to execute load_model() and the others.
 */
#ifndef PLMPG_CATALOG_H
#define PLMPG_CATALOG_H

#include "plmpg.h"

#include "nodes/pg_list.h"
#include "storage/lockdefs.h"
#include "utils/snapshot.h"

#define PLMPG_NAME_BYTES 256	/* of a model's name, with its NUL */
#define PLMPG_PART_BYTES (8 * 1024 * 1024)	/* of a part of a file, as load_model() cuts them */
#define PLMPG_MAX_PART_BYTES (64 * 1024 * 1024)	/* of a part that a client may send */

/* Columns, in the order of sql/10_schema.sql; an upgrade may add columns at the end only. */
typedef enum PlmpgModelColumn
{
	COL_MODEL = 1, COL_ARCHITECTURE, COL_TASK, COL_PRECISION, COL_DIMENSIONS, COL_MAX_TOKENS, COL_PARAMETERS,
	COL_BYTES, COL_CONFIG, COL_LABELS, COL_SHA256, COL_PARENT, COL_FILES_OF, COL_METRICS, COL_OWNER, COL_CREATED_AT
} PlmpgModelColumn;

typedef enum PlmpgFileColumn
{
	FILE_MODEL = 1, FILE_FILE, FILE_PART, FILE_DATA, FILE_OWNER
} PlmpgFileColumn;

typedef enum PlmpgGrantColumn
{
	GRANT_MODEL = 1, GRANT_ROLE
} PlmpgGrantColumn;

#define PLMPG_PUBLIC "public"	/* in place of a role: all of them.  No role can have that name. */

/* ---- names and locks: catalog.c ---- */

/* A name that a model may have, or ERROR. */
char	   *plmpg_model_name(text *name);

/* Lock a name until the end of the transaction: ExclusiveLock to change what it means, ShareLock to build on it. */
void		plmpg_catalog_lock(const char *model, LOCKMODE mode);

/* The Oid of a relation in schema product_llm. */
Oid			plmpg_relation(const char *name);

/* False once the extension has been dropped. */
bool		plmpg_store_exists(void);

/* ---- reading: catalog.c; snapshot NULL: what the running statement sees ---- */

typedef struct PlmpgRow
{
	char	   *model;
	PlmPrecision precision;
	unsigned char sha256[PLM_KEY_BYTES];
	char	   *files_of;		/* the model whose model_file rows hold the content */
	char	   *parent;			/* NULL: none */
	char	   *owner;
} PlmpgRow;

/* The row of that name, in the current context; false: there is none. */
bool		plmpg_catalog_find(const char *model, Snapshot snapshot, PlmpgRow *row);

/* Every row (PlmpgRow *), by name; at most `most`. */
List	   *plmpg_catalog_rows(Snapshot snapshot, int most);

/* ERROR: no such model; the hint names those there are. */
void		plmpg_catalog_missing(const char *model) pg_attribute_noreturn();

/* The names of model_grant's rows of a model, in the current context; an empty list: everybody may use it. */
List	   *plmpg_catalog_grants(const char *model, Snapshot snapshot);

/*
 * May a role use the model?  Roles are looked up here and now, so a list of names can be kept.  Its owner may, and so may who
 * has the privileges of a role that is named; a name that no role has lets nobody in.  Cheap: no table is read.
 */
bool		plmpg_may_use(const List *grants, const char *owner, Oid role);

/* ERROR: permission denied. */
void		plmpg_use_denied(const char *model) pg_attribute_noreturn();

/* The row of a model that the caller may use; ERROR when there is none, or the caller may not. */
void		plmpg_catalog_usable(const char *model, Snapshot snapshot, PlmpgRow *row);

/* Who uploaded the parts of a model that is not installed; NULL: nobody did. */
char	   *plmpg_catalog_uploader(const char *model, Snapshot snapshot);

/* ---- writing: catalog.c ---- */

typedef struct PlmpgNewModel
{
	const char *model;
	const char *architecture;
	const char *task;
	PlmPrecision precision;
	int32		dimensions;
	int32		max_tokens;
	int64		parameters;
	int64		bytes;
	Datum		config;			/* jsonb */
	Datum		labels;			/* text[], 0: none */
	unsigned char sha256[PLM_KEY_BYTES];
	const char *parent;			/* NULL: none */
	const char *files_of;
	Datum		metrics;		/* jsonb, 0: none */
} PlmpgNewModel;

void		plmpg_write_model(const PlmpgNewModel *model);
void		plmpg_write_part(const char *model, const char *file, int32 part, struct varlena *data);
/* As a copy of base's row under another name, with its own precision, identity, size and metrics. */
void		plmpg_write_derived(const PlmpgNewModel *model, const char *base);
/* What a vocabulary's corpus was read from: text[], and whether functions may have read more. */
void		plmpg_write_reads(const char *model, Datum reads, bool more);
/* What was made of another model is for those who may use that one: of each model that it was made of, in turn. */
void		plmpg_inherit_grants(const char *model, const char *from);
void		plmpg_write_grant(const char *model, const char *owner, const char *role);
void		plmpg_delete_grant(const char *model, const char *owner, const char *role);
/* The row, if there is one, and its files. */
void		plmpg_delete_model(const char *model);

/* ---- files of a model: store.c ---- */

typedef struct PlmpgStore PlmpgStore;

typedef struct PlmpgStoredFile
{
	PlmpgStore *store;
	char	   *name;
	int32		first;			/* number of the first part */
	int			parts;
	uint64	   *start;			/* (parts+1) offsets of the parts in the file */
	unsigned char sha256[PLM_KEY_BYTES];	/* once plmpg_store_digest() has run */
} PlmpgStoredFile;

struct PlmpgStore
{
	char	   *model;
	Snapshot	snapshot;		/* registered */
	MemoryContext context;		/* of all that hangs here */
	MemoryContext scratch;		/* of one read */
	int			n;
	PlmpgStoredFile *files;		/* by name, bytewise */
	PlmSource  *sources;
	PlmFileSet	set;
	uint64		bytes;
	ErrorData  *error;			/* what a read threw while the engine was running */
};

/* The files of a model as sources for the engine.  ERROR when parts are missing.  n is 0 when there are none. */
PlmpgStore *plmpg_store_open(const char *model, Snapshot snapshot);
void		plmpg_store_close(PlmpgStore *store);

/* plmpg_check() for engine calls that read from the store: what a read threw is thrown on. */
void		plmpg_store_check(PlmpgStore *store, PlmStatus status, const PlmError *err);

/* The whole of a small file (at most 64 MB), NUL-terminated; data NULL: absent. */
PlmText		plmpg_store_text(PlmpgStore *store, const char *name);

/* Copy a range of a file; ERROR on failure. */
void		plmpg_store_read(PlmpgStoredFile *file, uint64 offset, size_t len, void *dst);

/* ---- identity: digest.c ---- */

/*
 * sha256 over the lines "<sha256 in hex>  <file>\n" in bytewise order of the files: what
 * "sha256sum FILES | sha256sum" prints.  Fills the files' own digests too.
 */
void		plmpg_store_digest(PlmpgStore *store, unsigned char out[PLM_KEY_BYTES]);

/* Identity of content at a precision: of a quantized model, and of a packed file. */
void		plmpg_key(const unsigned char sha256[PLM_KEY_BYTES], PlmPrecision precision, unsigned char out[PLM_KEY_BYTES]);

/* Is the content what the row says?  A quantized model's identity follows from its base's. */
bool		plmpg_content_matches(const PlmpgRow *row, const unsigned char content[PLM_KEY_BYTES]);

char	   *plmpg_hex(const unsigned char *bytes, size_t n);

/* A file of sha256sum lines; the content must have all files below <folder>/ that it names, and no others. */
void		plmpg_manifest_check(const char *path, const char *folder, const PlmpgStore *store);

/* ---- packed files: packfile.c ---- */

/* Map the packed file of a model; builds it first, once, however many backends ask, when it is absent or damaged. */
void		plmpg_packfile_open(const PlmpgRow *row, PlmPackedFile *file);

/* Where it is, relative to the data directory, whether it is there or not. */
char	   *plmpg_packfile_path(const PlmpgRow *row);

/* Remove it.  Whoever has it mapped keeps it.  Cannot fail or allocate. */
void		plmpg_packfile_unlink(const char *path);

/* ---- models of this backend: cache.c ---- */

/* A mapped model. */
typedef struct PlmpgMapping
{
	PlmpgModel	model;
	PlmPrecision precision;
	MemoryContext context;		/* this struct lives there */
	PlmHook		hook;
	PlmArena	arena;
	PlmPackedFile file;
	uint64		generation;		/* when it was last known to be right */
	MemoryContext rights;		/* of what follows */
	char	   *owner;
	List	   *grants;			/* as plmpg_catalog_grants() */
	struct PlmpgMapping *next;
} PlmpgMapping;

/* Map a model that has no row yet, or none any more; the caller unmaps it. */
PlmpgMapping *plmpg_mapping_open(const PlmpgRow *row);
void		plmpg_mapping_close(PlmpgMapping *mapping);

/* What this backend has mapped by name, newest first. */
const PlmpgMapping *plmpg_mappings(void);

/*
 * At the transaction's end, remove the packed file of that content unless a row of this database has it.  `made`: said
 * before the row of a new model is written, so that an abort leaves none, unless there was one before.
 */
void		plmpg_packfile_doubt(const unsigned char sha256[PLM_KEY_BYTES], PlmPrecision precision, bool made);

/* ---- shared by the functions: fn_models.c ---- */

/* How a model of this name is about to be made. */
typedef enum PlmpgClaim
{
	PLMPG_CLAIM_NEW,			/* at once: neither a model nor an upload may be there */
	PLMPG_CLAIM_UPLOAD			/* by parts: an upload of this role's own may be there */
} PlmpgClaim;

/* Lock the name until the transaction's end; ERROR when the model exists, or an upload is in the way. */
void		plmpg_claim(const char *model, const char *command, PlmpgClaim claim);

/*
 * Check the stored files of a claimed model and make it visible.  manifest: of bundled models, else NULL.  parent, metrics (jsonb; 0: none): of
 * models that were made here, of what and what was measured.
 */
void		plmpg_install(const char *model, const char *manifest, const char *parent, Datum metrics);

/* Is it a file that models are made of, with a name that every encoding can hold? */
bool		plmpg_file_is_wanted(const char *name);

/* A jsonb from JSON text. */
Datum		plmpg_jsonb(PlmText json);

#endif							/* PLMPG_CATALOG_H */
