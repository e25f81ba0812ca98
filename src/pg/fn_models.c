/*
 * fn_models.c -- models come and go: put_model_file, install_model, drop_model, prewarm.
 *
 * Loading from a directory (fn_files.c) is the same as sending the parts and installing.  All that changes what
 * a name means takes the name's lock first and then looks at what is committed, however old the transaction's
 * snapshot: of two sessions with one name the second waits, and fails early when the first commits.
 */
#include "catalog.h"

#include <limits.h>

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "sql.h"

bool
plmpg_file_is_wanted(const char *name)
{
	for (const char *p = name; *p != '\0'; p++)
		if ((unsigned char) *p >= 0x80)
			return false;
	return plm_file_is_wanted(name);
}

Datum
plmpg_jsonb(PlmText json)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text_to_cstring(plmpg_text(json))));
}

/* May the caller act for the role that began an upload?  Roles that are gone own nothing. */
static bool
acts_for(const char *owner)
{
	Oid			role = get_role_oid(owner, true);

	return !OidIsValid(role) || has_privs_of_role(GetUserId(), role);
}

void
plmpg_claim(const char *model, const char *command, PlmpgClaim claim)
{
	PlmpgRow	row;
	char	   *uploader;

	PreventCommandIfReadOnly(command);
	PreventCommandIfParallelMode(command);
	plmpg_catalog_lock(model, ExclusiveLock);
	if (plmpg_catalog_find(model, GetLatestSnapshot(), &row))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("model \"%s\" already exists", model),
				 errhint("A model never changes; choose another name, or drop it first with product_llm.drop_model().")));
	uploader = plmpg_catalog_uploader(model, GetLatestSnapshot());
	if (uploader == NULL)
		return;
	if (claim == PLMPG_CLAIM_NEW)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("role \"%s\" is uploading a model \"%s\"", uploader, model),
				 errhint("Finish with product_llm.install_model(), or discard it with product_llm.drop_model().")));
	if (!acts_for(uploader))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" is uploading a model \"%s\"", uploader, model),
				 errhint("Choose another name.")));
}

/* ---- installing ---- */

static Datum
label_array(const PlmModelInfo *info)
{
	Datum	   *labels;

	if (info->labels <= 0)
		return (Datum) 0;
	labels = palloc(info->labels * sizeof(Datum));
	for (int64 i = 0; i < info->labels; i++)
		labels[i] = PointerGetDatum(plmpg_text(info->label[i]));
	return PointerGetDatum(construct_array(labels, (int) info->labels, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
write_row(PlmpgStore *store, const PlmModelInfo *info, const unsigned char sha256[PLM_KEY_BYTES], const char *parent, Datum metrics)
{
	PlmpgNewModel row = {
		.model = store->model,
		.architecture = text_to_cstring(plmpg_text((PlmText) {info->config.architecture,
															  strlen(info->config.architecture)})),
		.task = plm_task_name(info->config.task),
		.precision = info->precision,
		.dimensions = info->config.dimensions,
		.max_tokens = info->config.max_tokens,
		.parameters = info->parameters,
		.bytes = (int64) store->bytes,
		.config = plmpg_jsonb(plmpg_store_text(store, info->config.task == PLM_TASK_TOKENIZER ? "product_llm.json" : "config.json")),
		.labels = label_array(info),
		.files_of = store->model,
		.parent = parent,
		.metrics = metrics,
	};

	memcpy(row.sha256, sha256, PLM_KEY_BYTES);
	plmpg_write_model(&row);
}

void
plmpg_install(const char *model, const char *manifest, const char *parent, Datum metrics)
{
	PlmpgStore *store = plmpg_store_open(model, GetLatestSnapshot());
	unsigned char sha256[PLM_KEY_BYTES];
	PlmModelInfo info = {0};
	PlmHook		hook;
	PlmArena	arena;
	PlmError	err = {0};

	if (store->n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("no files of a model \"%s\" have been sent", model),
				 errhint("Send them with product_llm.put_model_file().")));
	plmpg_store_digest(store, sha256);
	if (manifest != NULL)
		plmpg_manifest_check(manifest, model, store);
	plmpg_arena(&arena, &hook);
	plmpg_store_check(store, plm_model_check(&store->set, &arena, &info, &err), &err);
	plmpg_packfile_doubt(sha256, info.precision, true);
	write_row(store, &info, sha256, parent, metrics);
	plm_arena_free(&arena);
	plmpg_store_close(store);
}

PG_FUNCTION_INFO_V1(product_llm_put_model_file);

/* put_model_file(model, file, part, data): parts count from 1 (or from 0); the same part again replaces the first. */
Datum
product_llm_put_model_file(PG_FUNCTION_ARGS)
{
	char	   *model = plmpg_model_name(PG_GETARG_TEXT_PP(0));
	char	   *file = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int32		part = PG_GETARG_INT32(2);
	Datum		data = PG_GETARG_DATUM(3);
	Size		bytes = toast_raw_datum_size(data) - VARHDRSZ;

	if (!plm_path_is_safe(file))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("file name \"%s\" is not a plain relative path", file)));
	if (part < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("part %d of file \"%s\" cannot be: parts count from 1", part, file)));
	if (bytes > PLMPG_MAX_PART_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("part of %zu bytes is larger than %d MB", bytes, PLMPG_MAX_PART_BYTES / (1024 * 1024)),
				 errhint("Send the file in smaller parts.")));
	plmpg_claim(model, "product_llm.put_model_file()", PLMPG_CLAIM_UPLOAD);
	if (plmpg_file_is_wanted(file))
		plmpg_write_part(model, file, part, (struct varlena *) DatumGetPointer(data));
	else
		ereport(NOTICE,
				(errmsg("file \"%s\" is none that a model is made of and was not stored", file)));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(product_llm_install_model);

Datum
product_llm_install_model(PG_FUNCTION_ARGS)
{
	char	   *model = plmpg_model_name(PG_GETARG_TEXT_PP(0));

	plmpg_claim(model, "product_llm.install_model()", PLMPG_CLAIM_UPLOAD);
	plmpg_install(model, NULL, NULL, (Datum) 0);
	PG_RETURN_VOID();
}

/* ---- dropping ---- */

static void
refuse_if_needed(const char *model)
{
	ListCell   *cell;

	foreach(cell, plmpg_catalog_rows(GetLatestSnapshot(), INT_MAX))
	{
		PlmpgRow   *row = lfirst(cell);

		if (strcmp(row->model, model) == 0)
			continue;
		if (strcmp(row->files_of, model) == 0 || (row->parent != NULL && strcmp(row->parent, model) == 0))
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("cannot drop model \"%s\" because model \"%s\" is built on it", model, row->model),
					 errhint("Drop \"%s\" first.", row->model)));
	}
}

/* A foreign key guards it too, but can only say that some row is there. */
static void
refuse_if_used(const char *model)
{
	PlmpgParams p = {0};
	char	   *catalog;

	plmpg_param_text(&p, model);
	PushActiveSnapshot(GetLatestSnapshot());
	catalog = plmpg_sql_string("SELECT c.catalog FROM product_llm.catalog AS c WHERE c.model OPERATOR(pg_catalog.=) $1"
							   " OR c.next_model OPERATOR(pg_catalog.=) $1 ORDER BY 1 LIMIT 1", &p, PLMPG_SQL_READ);
	PopActiveSnapshot();
	if (catalog != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot drop model \"%s\" because catalog \"%s\" uses it", model, catalog),
				 errhint("Change the catalog's model with product_llm.alter_catalog() and product_llm.refresh_catalog(), or drop it with product_llm.drop_catalog().")));
}

PG_FUNCTION_INFO_V1(product_llm_drop_model);

/* drop_model(model): a model, or what has been sent of one that was never installed. */
Datum
product_llm_drop_model(PG_FUNCTION_ARGS)
{
	char	   *model = plmpg_model_name(PG_GETARG_TEXT_PP(0));
	char	   *uploader = NULL;
	PlmpgRow	row;

	PreventCommandIfReadOnly("product_llm.drop_model()");
	PreventCommandIfParallelMode("product_llm.drop_model()");
	plmpg_catalog_lock(model, ExclusiveLock);
	if (plmpg_catalog_find(model, GetLatestSnapshot(), &row))
	{
		refuse_if_needed(model);
		refuse_if_used(model);
		plmpg_packfile_doubt(row.sha256, row.precision, false);
	}
	else
	{
		uploader = plmpg_catalog_uploader(model, GetLatestSnapshot());
		if (uploader == NULL)
			plmpg_catalog_missing(model);
		if (!acts_for(uploader))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("role \"%s\" is uploading a model \"%s\"", uploader, model)));
	}
	plmpg_delete_model(model);
	PG_RETURN_VOID();
}

/* ---- warming ---- */

PG_FUNCTION_INFO_V1(product_llm_prewarm);

/* prewarm(model): the bytes that are now mapped; verifying their checksums has touched every page. */
Datum
product_llm_prewarm(PG_FUNCTION_ARGS)
{
	const PlmpgMapping *mapping = (const PlmpgMapping *) plmpg_model_get(PG_GETARG_TEXT_PP(0));

	PG_RETURN_INT64((int64) mapping->file.bytes);
}
