/*
 * shop.c -- definitions of product catalogs: see shop.h.
 */
#include "shop.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "sql.h"

char *
plmpg_relation_name(Oid relid)
{
	char	   *name = get_rel_name(relid);

	if (name == NULL)
		return NULL;
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name);
}

/* ---- the definition ---- */

typedef struct Reading
{
	PlmpgShop  *shop;
	MemoryContext context;
} Reading;

static Datum
field(TupleTableSlot *slot, int n)
{
	bool		null;
	Datum		value = slot_getattr(slot, n, &null);

	if (null)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("column %d of product_llm.catalog is null", n)));
	return value;
}

static void
take_definition(void *arg, TupleTableSlot *slot)
{
	Reading    *r = arg;
	MemoryContext old = MemoryContextSwitchTo(r->context);
	PlmpgShop  *shop = palloc0(sizeof(PlmpgShop));

	shop->catalog = TextDatumGetCString(field(slot, 1));
	shop->source = DatumGetObjectId(field(slot, 2));
	shop->key = pstrdup(NameStr(*DatumGetName(field(slot, 3))));
	shop->texts = DatumGetObjectId(field(slot, 4));
	shop->store = DatumGetObjectId(field(slot, 5));
	shop->words = DatumGetObjectId(field(slot, 6));
	shop->terms = DatumGetObjectId(field(slot, 7));
	shop->model = DatumGetTextPCopy(field(slot, 8));
	shop->nearest = TextDatumGetCString(field(slot, 9));
	shop->language = DatumGetObjectId(field(slot, 10));
	shop->settings = DatumGetJsonbPCopy(field(slot, 11));
	shop->next_store = DatumGetObjectId(field(slot, 12));
	r->shop = shop;
	MemoryContextSwitchTo(old);
}

/* Types whose text form no setting changes. */
static bool
plain_type(Oid type)
{
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case NAMEOID:
		case UUIDOID:
		case NUMERICOID:
			return true;
		default:
			return get_typtype(type) == TYPTYPE_ENUM;
	}
}

static PlmpgShop *
read_definition(const char *catalog)
{
	Reading		r = {.context = CurrentMemoryContext};
	PlmpgParams p = {0};

	plmpg_param_text(&p, catalog);
	plmpg_sql("SELECT catalog, source, key, texts, store, words, terms, model, nearest, language::pg_catalog.regconfig, settings,"
			  " coalesce(next_store::pg_catalog.oid, 0::pg_catalog.oid) FROM product_llm.catalog WHERE catalog OPERATOR(pg_catalog.=) $1",
			  &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_definition, &r);
	return r.shop;
}

/* As the definition is at this moment, whatever the statement's snapshot says. */
static PlmpgShop *
read_latest_definition(const char *catalog)
{
	PlmpgShop  *shop;

	PushActiveSnapshot(GetLatestSnapshot());
	shop = read_definition(catalog);
	PopActiveSnapshot();
	return shop;
}

/* Hold the table of embeddings, which a change of model drops; false when it is gone. */
static bool
hold_store(const PlmpgShop *shop)
{
	LockRelationOid(shop->store, AccessShareLock);
	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(shop->store)))
		return true;
	UnlockRelationOid(shop->store, AccessShareLock);
	return false;
}

static char *
side_name(const PlmpgShop *shop, Oid relid, const char *what)
{
	char	   *name = plmpg_relation_name(relid);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the %s of catalog \"%s\" does not exist any more", what, shop->catalog),
				 errhint("Drop the catalog and create it again.")));
	return name;
}

static void
changed_since(const char *catalog)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("catalog \"%s\" has changed since this transaction began", catalog),
			 errhint("Try the transaction again.")));
}

static void
missing(const char *catalog)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("catalog \"%s\" does not exist", catalog),
			 errhint("SELECT catalog FROM product_llm.catalogs shows those that you may use.")));
}

static void
name_source(PlmpgShop *shop)
{
	HeapTuple	tuple;

	shop->source_name = side_name(shop, shop->source, "source");
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(shop->source));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", shop->source);
	shop->owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	/* As the view of texts has it: tables that inherit from the source are not in the catalog. */
	shop->source_rows = psprintf(((Form_pg_class) GETSTRUCT(tuple))->relkind == RELKIND_RELATION ? "ONLY %s" : "%s", shop->source_name);
	ReleaseSysCache(tuple);
}

static void
name_sides(PlmpgShop *shop)
{
	AttrNumber	number;
	Oid			type;

	shop->store_name = side_name(shop, shop->store, "table of embeddings");
	shop->words_name = side_name(shop, shop->words, "table of words");
	shop->terms_name = side_name(shop, shop->terms, "table of terms");
	(void) side_name(shop, shop->texts, "view of texts");

	number = get_attnum(shop->source, shop->key);
	if (number == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\", the key of catalog \"%s\", does not exist any more",
						shop->key, get_rel_name(shop->source), shop->catalog),
				 errhint("Drop the catalog and create it again.")));
	type = getBaseType(get_atttype(shop->source, number));
	shop->key_column = pstrdup(quote_identifier(shop->key));
	/* TYPEMOD_GIVEN: "bpchar", and not "character", which is of length one. */
	shop->key_type = format_type_extended(type, -1, FORMAT_TYPE_FORCE_QUALIFY | FORMAT_TYPE_TYPEMOD_GIVEN);
	shop->array_key = OidIsValid(get_element_type(type));
	shop->plain_key = plain_type(type);
}

/* The definition as this transaction sees it; ERROR when it sees none. */
static PlmpgShop *
find_definition(const char *catalog)
{
	PlmpgShop  *shop = read_definition(catalog);

	/* A transaction with one snapshot may write to a source that has become one since. */
	if (shop == NULL && IsolationUsesXactSnapshot() && read_latest_definition(catalog) != NULL)
		changed_since(catalog);
	if (shop == NULL)
		missing(catalog);
	return shop;
}

PlmpgShop *
plmpg_shop(const char *catalog)
{
	PlmpgShop  *shop = find_definition(catalog);

	/* A statement that began before a change of model was completed may find that its definition names a table that is gone. */
	for (int i = 0; i < 8 && !hold_store(shop); i++)
	{
		PlmpgShop  *latest = read_latest_definition(catalog);

		if (latest != NULL && IsolationUsesXactSnapshot())
			changed_since(catalog);
		if (latest == NULL || latest->store == shop->store)
			break;
		shop = latest;
	}
	name_source(shop);
	name_sides(shop);
	return shop;
}

PlmpgShop *
plmpg_shop_to_write(const char *catalog)
{
	PlmpgShop  *latest = read_latest_definition(catalog);

	if (IsolationUsesXactSnapshot())
	{
		/* The SQL that writes sees the definition of the transaction's snapshot: it must name tables that still serve. */
		PlmpgShop  *shop = find_definition(catalog);

		if (latest == NULL || latest->store != shop->store ||
			(OidIsValid(shop->next_store) && latest->next_store != shop->next_store))
			changed_since(catalog);
	}
	if (latest == NULL)
		missing(catalog);
	(void) hold_store(latest);
	name_source(latest);
	name_sides(latest);
	return latest;
}

PlmpgShop *
plmpg_shop_of_source(const char *catalog)
{
	PlmpgShop  *shop = find_definition(catalog);

	name_source(shop);
	return shop;
}

char *
plmpg_shop_key_text(const PlmpgShop *shop)
{
	return psprintf(shop->plain_key ? "%s::pg_catalog.text" : "product_llm.key_text(%s)", shop->key_column);
}

char *
plmpg_shop_key_among(const PlmpgShop *shop, const char *keys)
{
	/* A list of arrays is no array. */
	if (shop->array_key)
		return psprintf("product_llm.key_text(%s) = ANY (%s::pg_catalog.text[])", shop->key_column, keys);
	return psprintf("%s = ANY (%s::pg_catalog.text[]::%s[])", shop->key_column, keys, shop->key_type);
}

double
plmpg_shop_number(const Jsonb *object, const char *name, double otherwise)
{
	JsonbValue	buffer;
	JsonbValue *value;

	/* The catalog's owner can write here what he likes. */
	if (!JB_ROOT_IS_OBJECT(object))
		return otherwise;
	value = getKeyJsonValueFromContainer((JsonbContainer *) &object->root, name, (int) strlen(name), &buffer);
	if (value == NULL || value->type != jbvNumeric)
		return otherwise;
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
}

Jsonb *
plmpg_shop_statistics(const PlmpgShop *shop)
{
	PlmpgParams p = {0};
	char	   *statistics;

	plmpg_param_text(&p, shop->catalog);
	statistics = plmpg_sql_string("SELECT statistics::pg_catalog.text FROM product_llm.catalog_statistics"
								  " WHERE catalog OPERATOR(pg_catalog.=) $1", &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(statistics != NULL ? statistics : "{}")));
}

/* ---- what the texts are made of ---- */

typedef struct ColumnsOf
{
	Index		rtindex;		/* of the source in the view's query */
	int			level;			/* of sub-queries entered */
	Bitmapset  *columns;
} ColumnsOf;

static bool
columns_walker(Node *node, void *arg)
{
	ColumnsOf  *c = arg;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		if (var->varno == c->rtindex && (int) var->varlevelsup == c->level)
			c->columns = bms_add_member(c->columns, var->varattno - FirstLowInvalidHeapAttributeNumber);
		return false;
	}
	if (IsA(node, Query))
	{
		bool		stop;

		c->level++;
		stop = query_tree_walker((Query *) node, columns_walker, c, 0);
		c->level--;
		return stop;
	}
	return expression_tree_walker(node, columns_walker, c);
}

Bitmapset *
plmpg_shop_columns(const PlmpgShop *shop)
{
	Relation	view = relation_open(shop->texts, AccessShareLock);
	Query	   *query;
	ColumnsOf	c = {0};

	if (view->rd_rel->relkind != RELKIND_VIEW)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not the view of texts of catalog \"%s\"", RelationGetRelationName(view), shop->catalog),
				 errhint("Drop the catalog and create it again.")));
	query = get_view_query(view);
	for (Index i = 1; i <= (Index) list_length(query->rtable); i++)
		if (rt_fetch(i, query->rtable)->relid == shop->source)
			c.rtindex = i;
	query_tree_walker(query, columns_walker, &c, 0);
	relation_close(view, AccessShareLock);
	return c.columns;
}

void
plmpg_shop_check_rights(const PlmpgShop *shop)
{
	Oid			user = GetUserId();
	Bitmapset  *columns;
	int			i = -1;

	if (pg_class_aclcheck(shop->source, user, ACL_SELECT) == ACLCHECK_OK)
		return;
	columns = plmpg_shop_columns(shop);
	while ((i = bms_next_member(columns, i)) >= 0)
	{
		AttrNumber	number = i + FirstLowInvalidHeapAttributeNumber;

		if (number == 0 ||
			pg_attribute_aclcheck(shop->source, number, user, ACL_SELECT) != ACLCHECK_OK)
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(shop->source));
	}
}

bool
plmpg_hidden_rows(Oid relid)
{
	return check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED;
}
