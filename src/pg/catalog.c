/*
 * catalog.c -- the rows of the model store: reading by the table access layer, writing by SQL.
 *
 * catalog.h says why reading does without SPI.  Statements that write are fixed and fully qualified, run as the
 * tables' owner with a bare search path, and carry values as parameters only.  The caller's identity comes back
 * on return; after an ERROR, when the (sub)transaction ends.
 */
#include "catalog.h"
#include "sql.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

char *
plmpg_model_name(text *name)
{
	char	   *s = text_to_cstring(name);
	size_t		len = strlen(s);

	if (len == 0 || len >= PLMPG_NAME_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name of a model must have between 1 and %d bytes", PLMPG_NAME_BYTES - 1)));
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) s[i];

		if (c < 0x20 || c == 0x7f || ((i == 0 || i == len - 1) && c == ' '))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("name of a model must not contain control characters or begin or end with a space")));
	}
	return s;
}

Oid
plmpg_relation(const char *name)
{
	Oid			relid = get_relname_relid(name, get_namespace_oid("product_llm", false));

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"product_llm.%s\" does not exist", name)));
	return relid;
}

bool
plmpg_store_exists(void)
{
	Oid			schema = get_namespace_oid("product_llm", true);

	return OidIsValid(schema) && OidIsValid(get_relname_relid("model", schema));
}

void
plmpg_catalog_lock(const char *model, LOCKMODE mode)
{
	/* Two names with one hash would wait for each other, and nothing more. */
	uint32		hash = DatumGetUInt32(hash_any((const unsigned char *) model, (int) strlen(model)));

	LockDatabaseObject(plmpg_relation("model"), hash, 0, mode);
}

/* A scan of one of the two tables by the first n columns of its primary key. */
typedef struct KeyScan
{
	Relation	table;
	SysScanDesc scan;
	Snapshot	snapshot;
} KeyScan;

static KeyScan
key_scan_begin(const char *table, const char *pkey, Snapshot snapshot, int n, ScanKey keys)
{
	KeyScan		s;

	if (snapshot == NULL)
		snapshot = ActiveSnapshotSet() ? GetActiveSnapshot() : GetTransactionSnapshot();
	s.snapshot = RegisterSnapshot(snapshot);
	s.table = table_open(plmpg_relation(table), AccessShareLock);
	s.scan = systable_beginscan(s.table, plmpg_relation(pkey), true, s.snapshot, n, keys);
	return s;
}

static void
key_scan_end(KeyScan *s)
{
	systable_endscan(s->scan);
	table_close(s->table, AccessShareLock);
	UnregisterSnapshot(s->snapshot);
}

static Datum
column(const KeyScan *s, HeapTuple tuple, int number)
{
	bool		null;
	Datum		value = heap_getattr(tuple, number, RelationGetDescr(s->table), &null);

	if (null)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("column %d of relation \"%s\" is null", number, RelationGetRelationName(s->table))));
	return value;
}

static PlmPrecision
precision_from(const char *name, const char *model)
{
	for (int p = 0; p < PLM_PRECISIONS; p++)
		if (strcmp(name, plm_precision_name(p)) == 0)
			return p;
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("model \"%s\" has unknown precision \"%s\"", model, name)));
}

static void
read_row(const KeyScan *s, HeapTuple tuple, PlmpgRow *row)
{
	bytea	   *sha256 = DatumGetByteaPP(column(s, tuple, COL_SHA256));
	bool		no_parent;
	Datum		parent = heap_getattr(tuple, COL_PARENT, RelationGetDescr(s->table), &no_parent);

	row->model = TextDatumGetCString(column(s, tuple, COL_MODEL));
	row->precision = precision_from(TextDatumGetCString(column(s, tuple, COL_PRECISION)), row->model);
	row->files_of = TextDatumGetCString(column(s, tuple, COL_FILES_OF));
	row->parent = no_parent ? NULL : TextDatumGetCString(parent);
	row->owner = pstrdup(NameStr(*DatumGetName(column(s, tuple, COL_OWNER))));
	if (VARSIZE_ANY_EXHDR(sha256) != PLM_KEY_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("model \"%s\" has a sha256 of %d bytes", row->model, (int) VARSIZE_ANY_EXHDR(sha256))));
	memcpy(row->sha256, VARDATA_ANY(sha256), PLM_KEY_BYTES);
}

bool
plmpg_catalog_find(const char *model, Snapshot snapshot, PlmpgRow *row)
{
	ScanKeyData key;
	KeyScan		s;
	HeapTuple	tuple;

	ScanKeyInit(&key, COL_MODEL, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(model));
	s = key_scan_begin("model", "model_pkey", snapshot, 1, &key);
	tuple = systable_getnext(s.scan);
	if (tuple != NULL)
		read_row(&s, tuple, row);
	key_scan_end(&s);
	return tuple != NULL;
}

static int
by_name(const ListCell *a, const ListCell *b)
{
	return strcmp(((PlmpgRow *) lfirst(a))->model, ((PlmpgRow *) lfirst(b))->model);
}

List *
plmpg_catalog_rows(Snapshot snapshot, int most)
{
	List	   *rows = NIL;
	KeyScan		s = key_scan_begin("model", "model_pkey", snapshot, 0, NULL);
	HeapTuple	tuple;

	while (list_length(rows) < most && (tuple = systable_getnext(s.scan)) != NULL)
	{
		PlmpgRow   *row = palloc(sizeof(PlmpgRow));

		read_row(&s, tuple, row);
		rows = lappend(rows, row);
	}
	key_scan_end(&s);
	list_sort(rows, by_name);
	return rows;
}

void
plmpg_catalog_missing(const char *model)
{
	List	   *rows = plmpg_catalog_rows(NULL, 10);
	StringInfoData names;
	ListCell   *cell;

	initStringInfo(&names);
	foreach(cell, rows)
		appendStringInfo(&names, "%s\"%s\"", names.len > 0 ? ", " : "", ((PlmpgRow *) lfirst(cell))->model);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("model \"%s\" does not exist", model),
			 rows == NIL ?
			 errhint("There are no models; product_llm.load_model('shop-mini') loads the bundled one.") :
			 errhint("There are: %s%s.", names.data, list_length(rows) == 10 ? ", and perhaps more" : "")));
}

List *
plmpg_catalog_grants(const char *model, Snapshot snapshot)
{
	ScanKeyData key;
	KeyScan		s;
	HeapTuple	tuple;
	List	   *roles = NIL;

	ScanKeyInit(&key, GRANT_MODEL, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(model));
	s = key_scan_begin("model_grant", "model_grant_pkey", snapshot, 1, &key);
	while ((tuple = systable_getnext(s.scan)) != NULL)
		roles = lappend(roles, pstrdup(NameStr(*DatumGetName(column(&s, tuple, GRANT_ROLE)))));
	key_scan_end(&s);
	return roles;
}

static bool
has_role(Oid role, const char *name)
{
	Oid			wanted = get_role_oid(name, true);

	return OidIsValid(wanted) && has_privs_of_role(role, wanted);
}

bool
plmpg_may_use(const List *grants, const char *owner, Oid role)
{
	ListCell   *cell;

	if (grants == NIL || has_role(role, owner))
		return true;
	foreach(cell, grants)
		if (strcmp(lfirst(cell), PLMPG_PUBLIC) == 0 || has_role(role, lfirst(cell)))
			return true;
	return superuser_arg(role);
}

void
plmpg_use_denied(const char *model)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for model \"%s\"", model),
			 errhint("Its owner or an administrator may say who uses it, with product_llm.grant_model().")));
}

void
plmpg_catalog_usable(const char *model, Snapshot snapshot, PlmpgRow *row)
{
	if (!plmpg_catalog_find(model, snapshot, row))
		plmpg_catalog_missing(model);
	if (!plmpg_may_use(plmpg_catalog_grants(model, snapshot), row->owner, GetUserId()))
		plmpg_use_denied(model);
}

char *
plmpg_catalog_uploader(const char *model, Snapshot snapshot)
{
	ScanKeyData key;
	KeyScan		s;
	HeapTuple	tuple;
	char	   *owner = NULL;

	ScanKeyInit(&key, FILE_MODEL, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(model));
	s = key_scan_begin("model_file", "model_file_pkey", snapshot, 1, &key);
	tuple = systable_getnext(s.scan);
	if (tuple != NULL)
		owner = pstrdup(NameStr(*DatumGetName(column(&s, tuple, FILE_OWNER))));
	key_scan_end(&s);
	return owner;
}

/* ---- writing ---- */

static Oid
owner_of(Oid relid)
{
	Relation	rel = table_open(relid, RowExclusiveLock);
	Oid			owner = rel->rd_rel->relowner;

	table_close(rel, NoLock);
	return owner;
}

/* Run one statement as the owner of product_llm.model; returns the rows it touched. */
static uint64
execute(const char *sql, PlmpgParams *p)
{
	Oid			model = plmpg_relation("model");
	PlmpgIdentity caller = plmpg_become(owner_of(model));
	uint64		rows = plmpg_sql(sql, p, 0, NULL, NULL, NULL);

	plmpg_return_to(&caller);

	/* The trigger says so too, unless somebody has disabled it. */
	CacheInvalidateRelcacheByRelid(model);
	return rows;
}

void
plmpg_write_model(const PlmpgNewModel *m)
{
	PlmpgParams p = {0};

	plmpg_param_text(&p, m->model);
	plmpg_param_text(&p, m->architecture);
	plmpg_param_text(&p, m->task);
	plmpg_param_text(&p, plm_precision_name(m->precision));
	plmpg_param(&p, INT4OID, Int32GetDatum(m->dimensions), false);
	plmpg_param(&p, INT4OID, Int32GetDatum(m->max_tokens), false);
	plmpg_param(&p, INT8OID, Int64GetDatum(m->parameters), false);
	plmpg_param(&p, INT8OID, Int64GetDatum(m->bytes), false);
	plmpg_param(&p, JSONBOID, m->config, false);
	plmpg_param(&p, TEXTARRAYOID, m->labels, m->labels == (Datum) 0);
	plmpg_param_bytes(&p, m->sha256, PLM_KEY_BYTES);
	plmpg_param_text(&p, m->parent);
	plmpg_param_text(&p, m->files_of);
	plmpg_param(&p, JSONBOID, m->metrics, m->metrics == (Datum) 0);
	plmpg_param_text(&p, GetUserNameFromId(GetUserId(), false));
	execute("INSERT INTO product_llm.model (model, architecture, task, precision, dimensions, max_tokens, parameters,"
			" bytes, config, labels, sha256, parent, files_of, metrics, owner)"
			" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15::pg_catalog.name)", &p);
}

void
plmpg_write_derived(const PlmpgNewModel *m, const char *base)
{
	PlmpgParams p = {0};

	plmpg_param_text(&p, m->model);
	plmpg_param_text(&p, base);
	plmpg_param_text(&p, plm_precision_name(m->precision));
	plmpg_param(&p, INT8OID, Int64GetDatum(m->bytes), false);
	plmpg_param_bytes(&p, m->sha256, PLM_KEY_BYTES);
	plmpg_param(&p, JSONBOID, m->metrics, false);
	plmpg_param_text(&p, GetUserNameFromId(GetUserId(), false));
	if (execute("INSERT INTO product_llm.model (model, architecture, task, precision, dimensions, max_tokens, parameters,"
				" bytes, config, labels, sha256, parent, files_of, metrics, owner)"
				" SELECT $1, architecture, task, $3, dimensions, max_tokens, parameters, $4, config, labels, $5, model,"
				" files_of, $6, $7::pg_catalog.name"
				" FROM product_llm.model WHERE model OPERATOR(pg_catalog.=) $2", &p) != 1)
		plmpg_catalog_missing(base);
}

void
plmpg_write_part(const char *model, const char *file, int32 part, struct varlena *data)
{
	PlmpgParams p = {0};

	plmpg_param_text(&p, model);
	plmpg_param_text(&p, file);
	plmpg_param(&p, INT4OID, Int32GetDatum(part), false);
	plmpg_param(&p, BYTEAOID, PointerGetDatum(data), false);
	plmpg_param_text(&p, GetUserNameFromId(GetUserId(), false));
	execute("INSERT INTO product_llm.model_file (model, file, part, data, owner)"
			" VALUES ($1, $2, $3, $4, $5::pg_catalog.name)"
			" ON CONFLICT (model, file, part) DO UPDATE SET data = EXCLUDED.data, owner = EXCLUDED.owner", &p);
}

void
plmpg_write_reads(const char *model, Datum reads, bool more)
{
	PlmpgParams p = {0};

	plmpg_param_text(&p, model);
	plmpg_param(&p, TEXTARRAYOID, reads, false);
	plmpg_param(&p, BOOLOID, BoolGetDatum(more), false);
	execute("INSERT INTO product_llm.vocabulary_read (model, reads, reads_more) VALUES ($1, $2, $3)", &p);
}

/* ---- who may use it ---- */

static void
on_grants(const char *sql, const char *model, const char *other, const char *role)
{
	PlmpgParams p = {0};

	plmpg_param_text(&p, model);
	plmpg_param_text(&p, other);
	if (role != NULL)
		plmpg_param_text(&p, role);
	execute(sql, &p);
}

#define RESTRICTED(model) \
	"(EXISTS (SELECT FROM product_llm.model_grant AS r WHERE r.model OPERATOR(pg_catalog.=) " model ")" \
	" AND NOT EXISTS (SELECT FROM product_llm.model_grant AS r WHERE r.model OPERATOR(pg_catalog.=) " model \
	" AND r.role OPERATOR(pg_catalog.=) '" PLMPG_PUBLIC "'))"

void
plmpg_inherit_grants(const char *model, const char *from)
{
	const char *owner = GetUserNameFromId(GetUserId(), false);

	/* What is for some roles already stays with those of them that this one is for too. */
	on_grants("DELETE FROM product_llm.model_grant AS g WHERE g.model OPERATOR(pg_catalog.=) $1 AND " RESTRICTED("$2")
			  " AND g.role OPERATOR(pg_catalog.<>) $3::pg_catalog.name AND NOT EXISTS (SELECT FROM product_llm.model_grant AS f"
			  " WHERE f.model OPERATOR(pg_catalog.=) $2 AND f.role OPERATOR(pg_catalog.=) g.role)", model, from, owner);
	on_grants("INSERT INTO product_llm.model_grant (model, role) SELECT $1, f.role FROM product_llm.model_grant AS f"
			  " WHERE f.model OPERATOR(pg_catalog.=) $2 AND " RESTRICTED("$2")
			  " AND NOT EXISTS (SELECT FROM product_llm.model_grant AS g WHERE g.model OPERATOR(pg_catalog.=) $1)"
			  " UNION SELECT $1, $3::pg_catalog.name WHERE " RESTRICTED("$2") " ON CONFLICT DO NOTHING", model, from, owner);
}

/* Say what no row means, before one says something else. */
static void
spell_out(const char *model, const char *owner)
{
	on_grants("INSERT INTO product_llm.model_grant (model, role) SELECT $1, n.name"
			  " FROM (VALUES ($2::pg_catalog.name), ('" PLMPG_PUBLIC "')) AS n (name)"
			  " WHERE NOT EXISTS (SELECT FROM product_llm.model_grant AS g WHERE g.model OPERATOR(pg_catalog.=) $1)",
			  model, owner, NULL);
}

void
plmpg_write_grant(const char *model, const char *owner, const char *role)
{
	spell_out(model, owner);
	on_grants("INSERT INTO product_llm.model_grant (model, role) VALUES ($1, $2::pg_catalog.name) ON CONFLICT DO NOTHING",
			  model, role, NULL);
}

void
plmpg_delete_grant(const char *model, const char *owner, const char *role)
{
	spell_out(model, owner);
	on_grants("DELETE FROM product_llm.model_grant AS g WHERE g.model OPERATOR(pg_catalog.=) $1"
			  " AND g.role OPERATOR(pg_catalog.=) $2::pg_catalog.name", model, role, NULL);
}

void
plmpg_delete_model(const char *model)
{
	PlmpgParams p = {0};

	plmpg_param_text(&p, model);
	execute("DELETE FROM product_llm.model WHERE model OPERATOR(pg_catalog.=) $1", &p);
	execute("DELETE FROM product_llm.model_file WHERE model OPERATOR(pg_catalog.=) $1", &p);
}
