/*
 * filter.c -- a caller's condition becomes an SQL fragment that can do no more than a condition.
 *
 * The server's scanner finds the placeholders, so that strings, quoted names, comments, casts and slices are
 * left alone; each becomes a literal in parentheses of its own, so that it can touch no other token.  The
 * server's parser must then see one expression in parentheses, which no other parenthesis closes, and the
 * analyser a boolean one over the relation.  The text that is returned is the text that was analysed.
 */
#include "filter.h"

#include "access/relation.h"
#include "common/keywords.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/analyze.h"
#include "parser/parse_node.h"
#include "parser/parser.h"
#include "parser/scanner.h"
#include "parser/scansup.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"

#define PREFIX "SELECT "		/* makes a statement of a fragment */

/* The scanner's codes for tokens that are no keywords; hard-wired in it, as plpgsql's grammar notes. */
enum
{
	TOKEN_IDENT = 258, TOKEN_UIDENT, TOKEN_FCONST, TOKEN_SCONST, TOKEN_USCONST, TOKEN_BCONST, TOKEN_XCONST, TOKEN_OP,
	TOKEN_ICONST, TOKEN_PARAM, TOKEN_TYPECAST, TOKEN_DOT_DOT, TOKEN_COLON_EQUALS, TOKEN_EQUALS_GREATER,
	TOKEN_LESS_EQUALS, TOKEN_GREATER_EQUALS, TOKEN_NOT_EQUALS
};

/* ---- arguments ---- */

typedef struct Argument
{
	const char *key;			/* of an object's member */
	int			key_bytes;
	char	   *literal;
	bool		used;
} Argument;

typedef struct Arguments
{
	bool		by_name;
	int			n;
	Argument   *list;			/* members in the order of JSONB: by length, then bytes */
} Arguments;

static void
append_element(StringInfo out, const char *data, int bytes)
{
	appendStringInfoChar(out, '"');
	for (int i = 0; i < bytes; i++)
	{
		if (data[i] == '"' || data[i] == '\\')
			appendStringInfoChar(out, '\\');
		appendStringInfoChar(out, data[i]);
	}
	appendStringInfoChar(out, '"');
}

/* Text of a scalar, not NULL. */
static char *
scalar_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			elog(ERROR, "unexpected JSON value of type %d", (int) value->type);
			return NULL;
	}
}

/* A JSON array as the text of an SQL array. */
static void
append_array(StringInfo out, JsonbContainer *array)
{
	JsonbIterator *it = JsonbIteratorInit(array);
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		first = true;

	check_stack_depth();
	appendStringInfoChar(out, '{');
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (!first)
			appendStringInfoChar(out, ',');
		first = false;
		if (value.type == jbvNull)
			appendStringInfoString(out, "NULL");
		else if (value.type != jbvBinary)
		{
			char	   *element = scalar_text(&value);

			append_element(out, element, strlen(element));
		}
		else if (JsonContainerIsArray(value.val.binary.data))
			append_array(out, value.val.binary.data);
		else
		{
			char	   *element = JsonbToCString(NULL, value.val.binary.data, value.val.binary.len);

			append_element(out, element, strlen(element));
		}
	}
	appendStringInfoChar(out, '}');
}

/* A JSON value as an SQL literal, which takes its type from where it stands. */
static char *
json_literal(const JsonbValue *value)
{
	StringInfoData array;

	if (value->type == jbvNull)
		return "NULL";
	if (value->type != jbvBinary)
		return quote_literal_cstr(scalar_text(value));
	if (!JsonContainerIsArray(value->val.binary.data))
		return quote_literal_cstr(JsonbToCString(NULL, value->val.binary.data, value->val.binary.len));
	initStringInfo(&array);
	append_array(&array, value->val.binary.data);
	return quote_literal_cstr(array.data);
}

static void
read_arguments(Jsonb *args, Arguments *arguments)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	int			at = 0;

	*arguments = (Arguments) {.by_name = true};
	if (args == NULL)
		return;
	if (JB_ROOT_IS_SCALAR(args))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("filter arguments must be a JSON object or array"),
				 errhint("Give {\"name\": value, ...} for :name, or [value, ...] for $1.")));
	arguments->by_name = JB_ROOT_IS_OBJECT(args);
	arguments->n = JB_ROOT_COUNT(args);
	arguments->list = palloc0(Max(arguments->n, 1) * sizeof(Argument));
	it = JsonbIteratorInit(&args->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if (token == WJB_KEY)
		{
			arguments->list[at].key = value.val.string.val;
			arguments->list[at].key_bytes = value.val.string.len;
		}
		else if (token == WJB_VALUE || token == WJB_ELEM)
			arguments->list[at++].literal = json_literal(&value);
	}
}

/* The member of that name, or NULL. */
static Argument *
argument_named(const Arguments *arguments, const char *name, int bytes)
{
	int			lo = 0,
				hi = arguments->by_name ? arguments->n : 0;

	while (lo < hi)
	{
		int			mid = lo + (hi - lo) / 2;
		Argument   *a = &arguments->list[mid];
		int			order = a->key_bytes != bytes ? a->key_bytes - bytes : memcmp(a->key, name, bytes);

		if (order == 0)
			return a;
		if (order < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static void
refuse_unused(const Arguments *arguments)
{
	for (int i = 0; i < arguments->n; i++)
	{
		const Argument *a = &arguments->list[i];

		if (a->used)
			continue;
		if (arguments->by_name)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("filter does not use the argument \"%.*s\"", a->key_bytes, a->key),
					 errhint("Write :name, or :\"any name\", where the value belongs.")));
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("filter does not use the argument $%d", i + 1),
				 errhint("Write $%d where the value belongs.", i + 1)));
	}
}

/* ---- placeholders ---- */

static inline bool
begins_name(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

/* Bytes of the name at p, quotes included; the name itself in *name. */
static int
name_at(const char *p, StringInfo name)
{
	const char *start = p;

	resetStringInfo(name);
	if (*p != '"')
	{
		while (begins_name((unsigned char) *p) || (*p >= '0' && *p <= '9') || *p == '$')
			appendStringInfoChar(name, *p++);
		return (int) (p - start);
	}
	for (p++; *p != '\0' && (*p != '"' || p[1] == '"'); p++)
	{
		appendStringInfoChar(name, *p);
		if (*p == '"')
			p++;
	}
	return (int) (p - start) + 1;
}

/* Is the token, which begins at p, a name as it stands there: no string with a prefix, no U&"..."? */
static bool
is_name(int token, const core_YYSTYPE *value, const char *p)
{
	if (!begins_name((unsigned char) *p) && *p != '"')
		return false;
	if (token == TOKEN_IDENT)
		return true;
	if (token <= TOKEN_NOT_EQUALS)
		return false;
	/* The scanner makes the keyword "nchar" of the N before a string. */
	return pg_strncasecmp(p, value->keyword, strlen(value->keyword)) == 0;
}

static void
refuse(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("filter is not a condition"),
			 errdetail("%s", why),
			 errhint("Give one SQL condition, as it could stand after WHERE.")));
}

/* In parentheses a query is an expression too; without its own it is not meant as one. */
static bool
begins_query(int token, const core_YYSTYPE *value)
{
	return token > TOKEN_NOT_EQUALS &&
		(strcmp(value->keyword, "select") == 0 || strcmp(value->keyword, "values") == 0 ||
		 strcmp(value->keyword, "table") == 0 || strcmp(value->keyword, "with") == 0);
}

/* The filter with literals for placeholders.  Parentheses must be in pairs: others could close the caller's. */
static void
put_arguments(const char *filter, Arguments *arguments, StringInfo out)
{
	core_yy_extra_type extra;
	core_yyscan_t scanner = scanner_init(filter, &extra, &ScanKeywords, ScanKeywordTokens);
	StringInfoData name;
	core_YYSTYPE value;
	YYLTYPE		at;
	int			token;
	int			colon = -1;		/* where the token before this one, a colon, stands */
	int			copied = 0;
	int			depth = 0;
	int			brackets = 0;
	int64		tokens = 0;

	initStringInfo(&name);
	while ((token = core_yylex(&value, &at, scanner)) != 0)
	{
		Argument   *argument = NULL;
		int			start = at;
		int			bytes = 0;

		CHECK_FOR_INTERRUPTS();
		if (token == '(')
			depth++;
		else if (token == ')' && --depth < 0)
			refuse("Its parentheses are not in pairs.");
		else if (token == '[')
			brackets++;
		else if (token == ']')
			brackets--;
		else if (token == ';')
			refuse("It has a semicolon.");
		else if (tokens == 0 && begins_query(token, &value))
			refuse("It is a query.");
		tokens++;
		if (token == TOKEN_PARAM)
		{
			int			number = 0;

			for (bytes = 1; filter[at + bytes] >= '0' && filter[at + bytes] <= '9'; bytes++)
				if (number <= arguments->n)
					number = number * 10 + (filter[at + bytes] - '0');
			if (arguments->by_name || number < 1 || number > arguments->n)
				ereport(ERROR,
						(errcode(ERRCODE_UNDEFINED_PARAMETER),
						 errmsg("filter has no argument for %.*s", bytes, filter + at),
						 errhint("Values for $1, $2 and so on come from filter arguments that are a JSON array.")));
			argument = &arguments->list[number - 1];
		}
		else if (colon >= 0 && colon + 1 == at && is_name(token, &value, filter + at))
		{
			start = colon;
			bytes = 1 + name_at(filter + at, &name);
			argument = argument_named(arguments, name.data, name.len);
			if (argument == NULL && brackets == 0)
				ereport(ERROR,
						(errcode(ERRCODE_UNDEFINED_PARAMETER),
						 errmsg("filter has no argument for :%s", name.data),
						 errhint("Give a value for each :name in filter arguments that are a JSON object, as {\"name\": value}.")));
		}
		colon = token == ':' ? at : -1;
		if (argument == NULL)
			continue;
		argument->used = true;
		appendBinaryStringInfo(out, filter + copied, start - copied);
		appendStringInfo(out, " (%s)", argument->literal);
		copied = start + bytes;
	}
	appendStringInfoString(out, filter + copied);
	scanner_finish(scanner);
	if (depth > 0)
		refuse("Its parentheses are not in pairs.");
	if (tokens == 0)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("filter is empty"),
				 errhint("Give NULL to have no filter.")));
}

/* ---- what kind of statement it is ---- */

/* The one expression that "SELECT (filter)" consists of. */
static Node *
only_expression(List *statements)
{
	if (list_length(statements) == 1)
	{
		Node	   *statement = linitial_node(RawStmt, statements)->stmt;

		if (IsA(statement, SelectStmt))
		{
			SelectStmt *select = (SelectStmt *) statement;

			if (list_length(select->targetList) == 1 && select->op == SETOP_NONE && select->distinctClause == NIL &&
				select->intoClause == NULL && select->fromClause == NIL && select->whereClause == NULL &&
				select->groupClause == NIL && select->havingClause == NULL && select->windowClause == NIL &&
				select->valuesLists == NIL && select->sortClause == NIL && select->limitOffset == NULL &&
				select->limitCount == NULL && select->lockingClause == NIL && select->withClause == NULL)
			{
				ResTarget  *target = linitial_node(ResTarget, select->targetList);

				if (target->name == NULL && target->indirection == NIL)
					return target->val;
			}
		}
	}
	refuse("It goes on behind an expression.");
	return NULL;
}

/* Anything but plain reading, at any depth? */
static bool
does_more_than_read(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;

		if (query->commandType != CMD_SELECT || query->utilityStmt != NULL || query->hasModifyingCTE ||
			query->hasForUpdate || query->rowMarks != NIL)
			return true;
		return query_tree_walker(query, does_more_than_read, context, 0);
	}
	return expression_tree_walker(node, does_more_than_read, context);
}

/* "SELECT FROM relation WHERE condition", analysed with the caller's rights; the condition's locations are in source. */
static Query *
analyse(Node *condition, Relation relation, const char *source)
{
	RangeVar   *from = makeRangeVar(get_namespace_name(RelationGetNamespace(relation)),
									pstrdup(RelationGetRelationName(relation)), -1);
	SelectStmt *select = makeNode(SelectStmt);
	RawStmt    *statement = makeNode(RawStmt);
	ParseState *pstate = make_parsestate(NULL);
	Query	   *query;

	select->fromClause = list_make1(from);
	select->whereClause = condition;
	statement->stmt = (Node *) select;
	pstate->p_sourcetext = source;
	query = transformTopLevelStmt(pstate, statement);
	free_parsestate(pstate);
	return query;
}

/* ---- errors say where in the filter ---- */

typedef struct Place
{
	const char *text;			/* what is being read */
	int			skip;			/* characters that stand before it in what is parsed */
	const char *relation;
} Place;

/* A position belongs to the filter and not to the statement that the client sent. */
static void
say_where(void *arg)
{
	const Place *place = arg;
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(Max(position - place->skip, 1));
		internalerrquery(place->text);
	}
	errcontext("filter on \"%s\"", place->relation);
}

char *
plmpg_filter_sql(text *filter, Jsonb *args, Oid relation)
{
	Relation	rel = try_relation_open(relation, AccessShareLock);
	Place		place = {"", 0, NULL};
	ErrorContextCallback callback = {error_context_stack, say_where, &place};
	Arguments	arguments;
	StringInfoData body;
	char	   *plain;
	char	   *statement;
	Node	   *condition;
	Query	   *query;

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relation)));
	place.relation = pstrdup(RelationGetRelationName(rel));
	error_context_stack = &callback;

	read_arguments(args, &arguments);
	plain = filter == NULL ? pstrdup("true") : text_to_cstring(filter);
	initStringInfo(&body);
	place.text = plain;
	put_arguments(plain, &arguments, &body);
	refuse_unused(&arguments);

	/* What may be a comment must not reach behind the filter. */
	statement = psprintf(PREFIX "(%s%s)", body.data, strstr(plain, "--") != NULL ? "\n" : "");
	place.text = body.data;
	place.skip = strlen(PREFIX) + 1;
	condition = only_expression(raw_parser(statement, RAW_PARSE_DEFAULT));
	query = analyse(condition, rel, statement);
	if (does_more_than_read((Node *) query, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("filter must not write or lock rows"),
				 errhint("A filter may only read.")));
	if (contain_volatile_functions((Node *) query))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("filter must not call volatile functions"),
				 errhint("Compute the value first and give it in the filter arguments.")));

	error_context_stack = callback.previous;
	relation_close(rel, NoLock);
	return filter == NULL ? plain : statement + strlen(PREFIX);
}

/* filter_condition(source, filter, filter_args) -> text */
PG_FUNCTION_INFO_V1(product_llm_filter_condition);
Datum
product_llm_filter_condition(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation of a filter must not be null")));
	PG_RETURN_TEXT_P(cstring_to_text(plmpg_filter_sql(PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1),
													  PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2),
													  PG_GETARG_OID(0))));
}
