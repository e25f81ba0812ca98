/*
 * cache.c -- the models that this backend has mapped, and what a transaction's end does to them.
 *
 * A mapping is good as long as the generation stands still: every change of product_llm.model makes a relcache
 * invalidation, here, in every other backend and on standbys, and that raises the generation.  Then the row is
 * read again under the running snapshot, which also gets savepoints right.  A mapping whose model has gone or
 * has other content may still be in use below on the stack: it is unmapped when the transaction ends.
 */
#include "catalog.h"

#include <limits.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static PlmpgMapping *mappings;	/* by name */
static PlmpgMapping *doomed;	/* replaced, to be unmapped at the transaction's end */
static uint64 generation = 1;
static uint64 generation_at_end;	/* when the last transaction ended */
static Oid	model_relid;		/* InvalidOid: not known, then every invalidation counts */

/* A packed file that this transaction may leave without a row, in TopTransactionContext. */
typedef struct Doubtful
{
	PlmpgRow	row;			/* its content alone: sha256 and precision */
	bool		made;			/* no row had that content before this transaction */
	char	   *path;
} Doubtful;

static List *doubtful;			/* Doubtful * */
static List *to_unlink;			/* paths, decided before commit */

/* ---- one mapping ---- */

PlmpgMapping *
plmpg_mapping_open(const PlmpgRow *row)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "product_llm model", ALLOCSET_SMALL_SIZES);
	PlmpgMapping *m = MemoryContextAllocZero(context, sizeof(PlmpgMapping));
	PlmModel   *model = NULL;
	PlmError	err = {0};
	PlmStatus	status;

	m->context = context;
	m->model.name = MemoryContextStrdup(context, row->model);
	memcpy(m->model.sha256, row->sha256, PLM_KEY_BYTES);
	m->precision = row->precision;
	m->hook = plmpg_hook(context);
	plm_arena_init(&m->arena, &m->hook, 0);
	plmpg_packfile_open(row, &m->file);

	/* From here on until the caller has it nothing throws, or the file would stay mapped. */
	status = plm_model_open(&m->file, &m->arena, &model, &err);
	if (status != PLM_OK)
	{
		plm_packed_close(&m->file);
		plmpg_check(status, &err);
	}
	m->model.model = model;
	m->model.config = plm_model_config(model);
	MemoryContextSetParent(context, TopMemoryContext);
	return m;
}

void
plmpg_mapping_close(PlmpgMapping *mapping)
{
	plm_packed_close(&mapping->file);
	MemoryContextDelete(mapping->context);
}

const PlmpgMapping *
plmpg_mappings(void)
{
	return mappings;
}

/* ---- the end of a transaction ---- */

static bool
same_content(const PlmpgRow *a, const PlmpgRow *b)
{
	return a->precision == b->precision && memcmp(a->sha256, b->sha256, PLM_KEY_BYTES) == 0;
}

static bool
any_row_has(List *rows, const PlmpgRow *content)
{
	ListCell   *cell;

	foreach(cell, rows)
		if (same_content(lfirst(cell), content))
			return true;
	return false;
}

/*
 * Which files has no row left?  Asked before commit, when savepoints have been decided and the catalog can still
 * be read.
 */
static void
decide_unlinks(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	List	   *rows = NIL;
	ListCell   *cell;

	/* The same transaction may have dropped the extension. */
	if (plmpg_store_exists())
		rows = plmpg_catalog_rows(GetLatestSnapshot(), INT_MAX);
	foreach(cell, doubtful)
	{
		Doubtful   *d = lfirst(cell);

		if (!any_row_has(rows, &d->row))
			to_unlink = lappend(to_unlink, d->path);
	}
	MemoryContextSwitchTo(old);
}

/* What was dropped is there again, what was made is not. */
static void
unlink_made(void)
{
	ListCell   *cell;

	foreach(cell, doubtful)
	{
		Doubtful   *d = lfirst(cell);

		if (d->made)
			plmpg_packfile_unlink(d->path);
	}
}

static void
transaction_event(XactEvent event, void *arg)
{
	ListCell   *cell;

	if (event == XACT_EVENT_PRE_COMMIT && doubtful != NIL)
		decide_unlinks();
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PARALLEL_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
		return;

	if (event == XACT_EVENT_COMMIT)
		foreach(cell, to_unlink)
			plmpg_packfile_unlink(lfirst(cell));
	if (event == XACT_EVENT_ABORT)
		unlink_made();
	doubtful = to_unlink = NIL;
	while (doomed != NULL)
	{
		PlmpgMapping *m = doomed;

		doomed = m->next;
		plmpg_mapping_close(m);
	}

	/*
	 * What was found again during this transaction was found under snapshots that may be older than the change
	 * they were asked about: ask once more in the next one.
	 */
	if (generation != generation_at_end)
		generation++;
	generation_at_end = generation;
}

/* ---- invalidation ---- */

static void
relation_changed(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || !OidIsValid(model_relid) || relid == model_relid)
		generation++;
}

static void
listen(void)
{
	static bool listening;

	if (listening)
		return;
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	RegisterXactCallback(transaction_event, NULL);
	listening = true;
}

void
plmpg_packfile_doubt(const unsigned char sha256[PLM_KEY_BYTES], PlmPrecision precision, bool made)
{
	PlmpgRow	row = {.precision = precision};
	MemoryContext old;
	Doubtful   *d;
	ListCell   *cell;

	listen();
	memcpy(row.sha256, sha256, PLM_KEY_BYTES);
	made = made && !any_row_has(plmpg_catalog_rows(GetLatestSnapshot(), INT_MAX), &row);
	foreach(cell, doubtful)
	{
		Doubtful   *before = lfirst(cell);

		if (same_content(&before->row, &row))
			made = made && before->made;
	}
	old = MemoryContextSwitchTo(TopTransactionContext);
	d = palloc(sizeof(Doubtful));
	*d = (Doubtful) {.row = row, .made = made, .path = plmpg_packfile_path(&row)};
	doubtful = lappend(doubtful, d);
	MemoryContextSwitchTo(old);
}

uint64
plmpg_model_generation(void)
{
	return generation;
}

PG_FUNCTION_INFO_V1(product_llm_model_changed);

/* AFTER trigger on product_llm.model and model_grant: tell every backend, also when somebody writes the table by hand. */
Datum
product_llm_model_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"model_changed\" was not called by a trigger")));
	CacheInvalidateRelcacheByRelid(plmpg_relation("model"));
	return PointerGetDatum(NULL);
}

/* ---- by name ---- */

/* Take a mapping out of the list of names.  The new generation makes those who remember it ask again. */
static void
doom(PlmpgMapping **link)
{
	PlmpgMapping *m = *link;

	*link = m->next;
	m->next = doomed;
	doomed = m;
	generation++;
}

/* Who may use it, as the rows say now. */
static void
take_rights(PlmpgMapping *m, const PlmpgRow *row)
{
	MemoryContext old;

	if (m->rights == NULL)
		m->rights = AllocSetContextCreate(m->context, "product_llm model rights", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(m->rights);
	m->grants = NIL;
	old = MemoryContextSwitchTo(m->rights);
	m->owner = pstrdup(row->owner);
	m->grants = plmpg_catalog_grants(row->model, NULL);
	MemoryContextSwitchTo(old);
}

/*
 * Read the rows of all mapped models again; those that have gone or have other content are doomed.  Backends
 * that keep many models for long would otherwise hold on to the disk space of dropped ones.
 */
static void
revalidate(void)
{
	uint64		now = generation;
	PlmpgMapping **link = &mappings;

	model_relid = plmpg_relation("model");
	while (*link != NULL)
	{
		PlmpgMapping *m = *link;
		PlmpgRow	row;
		bool		found = plmpg_catalog_find(m->model.name, NULL, &row);

		if (found && memcmp(row.sha256, m->model.sha256, PLM_KEY_BYTES) == 0 && row.precision == m->precision)
		{
			take_rights(m, &row);
			m->generation = now;
			link = &m->next;
			continue;
		}

		/* A standby has nobody else who would remove the file of a model that the primary has dropped. */
		if (!found && RecoveryInProgress())
		{
			row = (PlmpgRow) {.precision = m->precision};
			memcpy(row.sha256, m->model.sha256, PLM_KEY_BYTES);
			plmpg_packfile_unlink(plmpg_packfile_path(&row));
		}
		doom(link);
	}
}

static PlmpgMapping *
find_mapping(const char *name, size_t len)
{
	for (PlmpgMapping *m = mappings; m != NULL; m = m->next)
		if (strncmp(m->model.name, name, len) == 0 && m->model.name[len] == '\0')
			return m;
	return NULL;
}

/* The mapping of that name under the running snapshot, for whoever asks. */
static PlmpgMapping *
current_mapping(text *name)
{
	PlmpgMapping *m = find_mapping(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	char	   *wanted;
	PlmpgRow	row;

	if (m != NULL && m->generation == generation)
		return m;

	listen();
	wanted = text_to_cstring(name);
	revalidate();
	m = find_mapping(wanted, strlen(wanted));
	if (m == NULL)
	{
		uint64		now = generation;

		if (strlen(wanted) >= PLMPG_NAME_BYTES || !plmpg_catalog_find(wanted, NULL, &row))
			plmpg_catalog_missing(wanted);
		m = plmpg_mapping_open(&row);
		m->next = mappings;
		mappings = m;
		take_rights(m, &row);
		m->generation = now;
	}
	return m;
}

const PlmpgModel *
plmpg_model_get_as(text *name, Oid role)
{
	PlmpgMapping *m = current_mapping(name);

	if (!plmpg_may_use(m->grants, m->owner, role))
		plmpg_use_denied(m->model.name);
	return &m->model;
}

const PlmpgModel *
plmpg_model_get(text *name)
{
	return plmpg_model_get_as(name, GetUserId());
}

text *
plmpg_default_model_name(void)
{
	if (plmpg_default_model == NULL || plmpg_default_model[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no model was named and there is no default"),
				 errhint("Set product_llm.default_model, or name a model as the first argument.")));
	return cstring_to_text(plmpg_default_model);
}
