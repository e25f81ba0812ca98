/*
 * fn_evaluate_search.c -- evaluate_search().
 *
 * Systems are run as anybody would run them: search() in its three modes and PostgreSQL's own full-text search by SQL.
 * BM25 (Robertson, Zaragoza 2009) over one field, title and content, is computed here, in two forms: "bm25" cuts texts at
 * everything that is neither letter nor digit, without stemming or stop words; "bm25_words" takes the catalog's own terms,
 * in its language.
 */
#include "evaluate.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "utils/builtins.h"

#include "fn.h"
#include "sql.h"

/* ---- systems ---- */

enum
{
	HYBRID, SEMANTIC, LEXICAL, BM25, BM25_WORDS, FULL_TEXT, FULL_TEXT_OR, RANDOM_ORDER, SEARCH_SYSTEMS
};

static const char *const search_systems[] = {
	"hybrid", "semantic", "lexical", "bm25", "bm25_words", "full_text", "full_text_or", "random"
};

enum
{
	NDCG, JUDGED, RECALL, MRR, SEARCH_METRICS
};

typedef struct SearchRun
{
	PlmpgBudget *budget;
	PlmpgShop  *shop;
	const PlmpgJudgments *judgments;
	PlmpgKeys  *among;			/* products that the caller sees, when others are hidden; else NULL */
	int			depth;
	PlmpgFigures figures;
} SearchRun;

static void
measure(SearchRun *run, int64 query, int system, const char *const *keys, int n)
{
	const PlmpgJudged *judged = &run->judgments->queries[query];
	int			known = 0,
				relevant = 0,
				first = 0;

	for (int i = 0; i < n; i++)
	{
		double		grade = plmpg_grade(judged, keys[i]);

		known += grade >= 0;
		relevant += grade > 0;
		if (grade > 0 && first == 0)
			first = i + 1;
	}
	*plmpg_figure(&run->figures, query, system, NDCG) = (float) plmpg_ndcg(judged, keys, n, run->depth);
	*plmpg_figure(&run->figures, query, system, JUDGED) = (float) known / run->depth;
	*plmpg_figure(&run->figures, query, system, RECALL) = (float) relevant / judged->relevant;
	*plmpg_figure(&run->figures, query, system, MRR) = first > 0 ? 1.0f / first : 0;
}

/* Rows (key) or (number of the query from 1, key), best first within a query. */
typedef struct ListRows
{
	SearchRun  *run;
	MemoryContext context;
	int			system;
	int64		query;
	const char **keys;
	int			n;
} ListRows;

static void
end_list(ListRows *r)
{
	if (r->query >= 0)
		measure(r->run, r->query, r->system, r->keys, r->n);
	r->n = 0;
}

static void
take_ranked(void *arg, TupleTableSlot *slot)
{
	ListRows   *r = arg;
	MemoryContext old = MemoryContextSwitchTo(r->context);
	bool		null;
	int64		query = DatumGetInt64(slot_getattr(slot, 1, &null)) - 1;

	if (query != r->query)
	{
		end_list(r);
		r->query = query;
	}
	if (r->n < r->run->depth)
		r->keys[r->n++] = TextDatumGetCString(slot_getattr(slot, 2, &null));
	MemoryContextSwitchTo(old);
}

static ListRows
list_rows(SearchRun *run, int system)
{
	return (ListRows) {
		.run = run, .context = CurrentMemoryContext, .system = system, .query = -1, .keys = palloc(run->depth * sizeof(char *))
	};
}

/* search() as the caller calls it. */
static void
run_search(SearchRun *run, int system)
{
	for (int64 q = 0; q < run->judgments->n; q++)
	{
		ListRows	r = list_rows(run, system);
		PlmpgParams p = {0};

		plmpg_param_text(&p, run->shop->catalog);
		plmpg_param_text(&p, run->judgments->queries[q].query);
		plmpg_param(&p, INT4OID, Int32GetDatum(run->depth), false);
		plmpg_param_text(&p, search_systems[system]);
		plmpg_param(&p, INT8OID, Int64GetDatum(q + 1), false);
		plmpg_sql("SELECT $5, s.key FROM product_llm.search($1, $2, $3, mode => $4) WITH ORDINALITY"
				  " AS s (key, score, semantic_rank, lexical_rank, semantic_score, lexical_score, n) ORDER BY s.n",
				  &p, PLMPG_SQL_READ | PLMPG_SQL_KEEP, NULL, take_ranked, &r);
		end_list(&r);
	}
}

static ArrayType *
queries_array(const PlmpgJudgments *j)
{
	const char **queries = palloc(Max(j->n, 1) * sizeof(char *));

	for (int64 q = 0; q < j->n; q++)
		queries[q] = j->queries[q].query;
	return plmpg_text_array(queries, j->n);
}

/* Texts, query lists and keys that count as parameters: $1 language, $2 queries, $3 depth, $4 keys or NULL. */
static PlmpgParams
text_params(const SearchRun *run)
{
	PlmpgParams p = {0};

	plmpg_param(&p, REGCONFIGOID, ObjectIdGetDatum(run->shop->language), false);
	plmpg_param(&p, TEXTARRAYOID, PointerGetDatum(queries_array(run->judgments)), false);
	plmpg_param(&p, INT4OID, Int32GetDatum(run->depth), false);
	plmpg_param(&p, TEXTARRAYOID, run->among != NULL ? PointerGetDatum(plmpg_keys_array(run->among)) : (Datum) 0,
				run->among == NULL);
	return p;
}

/* What the database does without this extension. */
static void
run_full_text(SearchRun *run, int system, const char *tsquery)
{
	ListRows	r = list_rows(run, system);
	PlmpgParams p = text_params(run);
	PlmpgIdentity caller;

	/* Who does not have this extension does not have its configuration. */
	if (run->shop->language == get_ts_config_oid(list_make2(makeString("product_llm"), makeString("shop_english")), true))
		p.values[0] = ObjectIdGetDatum(get_ts_config_oid(list_make2(makeString("pg_catalog"), makeString("english")), false));
	caller = plmpg_become(run->shop->owner);
	plmpg_sql(psprintf("WITH text AS MATERIALIZED (SELECT product_llm.key_text(v.key) AS key,"
					   "   pg_catalog.setweight(pg_catalog.to_tsvector($1, v.title), 'A') || pg_catalog.setweight(pg_catalog.to_tsvector($1, v.content), 'B') AS words"
					   "   FROM %s AS v WHERE $4 IS NULL OR product_llm.key_text(v.key) = ANY ($4))"
					   " SELECT q.n, t.key FROM pg_catalog.unnest($2) WITH ORDINALITY AS q (query, n)"
					   " CROSS JOIN LATERAL (SELECT %s AS query) AS w"
					   " CROSS JOIN LATERAL (SELECT t.key, pg_catalog.ts_rank_cd(t.words, w.query) AS score FROM text AS t"
					   "   WHERE t.words @@ w.query ORDER BY 2 DESC, t.key COLLATE \"C\" LIMIT $3) AS t ORDER BY q.n, t.score DESC, t.key COLLATE \"C\"",
					   plmpg_relation_name(run->shop->texts), tsquery),
			  &p, PLMPG_SQL_READ, NULL, take_ranked, &r);
	plmpg_return_to(&caller);
	end_list(&r);
}

/* ---- BM25 over one field ---- */

typedef struct Posting
{
	int32		text;
	int32		count;
} Posting;

typedef struct Term
{
	Posting    *postings;
	int64		n;
	int64		room;
} Term;

typedef struct Bm25
{
	PlmpgBudget *budget;
	PlmpgKeys  *names;			/* of the queries' terms; number: place in terms */
	Term	   *terms;
	int64		n_terms;
	int64		terms_room;
	const char **keys;
	int64		keys_room;
	int32	   *lengths;
	int64		lengths_room;
	int64		n;				/* texts */
	double		length;			/* of all */
	int32	  **queries;		/* terms of each, ended by -1 */
} Bm25;

static void
take_query_tokens(void *arg, TupleTableSlot *slot)
{
	Bm25	   *b = arg;
	MemoryContext old = MemoryContextSwitchTo(b->budget->context);
	bool		null;
	int64		query = DatumGetInt64(slot_getattr(slot, 1, &null)) - 1;
	PlmpgTexts	tokens = plmpg_texts(DatumGetArrayTypeP(slot_getattr(slot, 2, &null)));
	int			n = 0;

	b->queries[query] = palloc((tokens.n + 1) * sizeof(int32));
	for (int i = 0; i < tokens.n; i++)
	{
		char	   *token = tokens.nulls[i] ? NULL : TextDatumGetCString(tokens.values[i]);
		int64	   *place;

		if (token == NULL || token[0] == '\0')
			continue;
		place = plmpg_keys_find(b->names, token, false);
		if (place == NULL)
		{
			if (b->n_terms == b->terms_room)
				b->terms = plmpg_double(b->budget, b->terms, &b->terms_room, sizeof(Term));
			memset(&b->terms[b->n_terms], 0, sizeof(Term));
			place = plmpg_keys_find(b->names, token, true);
			*place = b->n_terms++;
		}
		b->queries[query][n++] = (int32) *place;
	}
	b->queries[query][n] = -1;
	MemoryContextSwitchTo(old);
}

/* Rows come by key. */
static void
take_text_tokens(void *arg, TupleTableSlot *slot)
{
	Bm25	   *b = arg;
	bool		null;
	Datum		array = slot_getattr(slot, 2, &null);
	PlmpgTexts	tokens = plmpg_texts(DatumGetArrayTypeP(array));
	MemoryContext scratch;

	if (b->n == b->keys_room)
		b->keys = plmpg_double(b->budget, b->keys, &b->keys_room, sizeof(char *));
	if (b->n == b->lengths_room)
		b->lengths = plmpg_double(b->budget, b->lengths, &b->lengths_room, sizeof(int32));
	scratch = MemoryContextSwitchTo(b->budget->context);
	b->keys[b->n] = TextDatumGetCString(slot_getattr(slot, 1, &null));
	MemoryContextSwitchTo(scratch);
	plmpg_pay(b->budget, strlen(b->keys[b->n]) + 16);
	b->lengths[b->n] = 0;
	for (int i = 0; i < tokens.n; i++)
	{
		char	   *token;
		int64	   *place;
		Term	   *term;

		if (tokens.nulls[i] || VARSIZE_ANY_EXHDR(DatumGetPointer(tokens.values[i])) == 0)
			continue;
		token = TextDatumGetCString(tokens.values[i]);
		b->lengths[b->n]++;
		place = plmpg_keys_find(b->names, token, false);
		pfree(token);
		if (place == NULL)
			continue;
		term = &b->terms[*place];
		if (term->n > 0 && term->postings[term->n - 1].text == b->n)
		{
			term->postings[term->n - 1].count++;
			continue;
		}
		if (term->n == term->room)
			term->postings = plmpg_double(b->budget, term->postings, &term->room, sizeof(Posting));
		term->postings[term->n++] = (Posting) {.text = (int32) b->n, .count = 1};
	}
	b->length += b->lengths[b->n];
	b->n++;
}

#define BM25_K1 1.2
#define BM25_B 0.75

static void
score_bm25(const Bm25 *b, int64 query, float *scores)
{
	memset(scores, 0, b->n * sizeof(float));
	for (const int32 *t = b->queries[query]; *t >= 0; t++)
	{
		const Term *term = &b->terms[*t];
		double		idf = log(1 + (b->n - term->n + 0.5) / (term->n + 0.5));

		for (int64 i = 0; i < term->n; i++)
		{
			const Posting *p = &term->postings[i];
			double		norm = 1 - BM25_B + BM25_B * b->lengths[p->text] * b->n / Max(b->length, 1);

			scores[p->text] += (float) (idf * p->count * (BM25_K1 + 1) / (p->count + BM25_K1 * norm));
		}
	}
}

/* query_tokens: SQL of an array of tokens of q.query; texts: SQL of key and array of tokens. */
static Bm25 *
read_bm25(SearchRun *run, const char *query_tokens, const char *texts)
{
	Bm25	   *b = palloc0(sizeof(Bm25));
	PlmpgParams p = text_params(run);
	PlmpgIdentity caller;

	b->budget = run->budget;
	b->names = plmpg_keys();
	b->queries = plmpg_take(run->budget, run->judgments->n, sizeof(int32 *));
	caller = plmpg_become(run->shop->owner);
	plmpg_sql(psprintf("SELECT q.n, %s FROM pg_catalog.unnest($2) WITH ORDINALITY AS q (query, n)", query_tokens),
			  &p, PLMPG_SQL_READ, NULL, take_query_tokens, b);
	plmpg_sql(psprintf("SELECT t.key, t.tokens FROM (%s) AS t WHERE $4 IS NULL OR t.key = ANY ($4)"
					   " ORDER BY t.key COLLATE \"C\"", texts),
			  &p, PLMPG_SQL_READ, NULL, take_text_tokens, b);
	plmpg_return_to(&caller);
	return b;
}

/* Everything that scores all texts; random: so that nothing decides. */
static void
run_bm25(SearchRun *run, int system, const Bm25 *b, bool random)
{
	float	   *scores = plmpg_take(run->budget, b->n, sizeof(float));
	int64	   *places = plmpg_take(run->budget, run->depth, sizeof(int64));
	const char **keys = palloc(run->depth * sizeof(char *));

	for (int64 q = 0; q < run->judgments->n; q++)
	{
		int			n;
		int			kept = 0;

		CHECK_FOR_INTERRUPTS();
		if (random)
			for (int64 i = 0; i < b->n; i++)
				scores[i] = 1 + (float) (plmpg_mix(plmpg_mix(q) ^ (uint64) i) >> 40);
		else
			score_bm25(b, q, scores);
		n = plmpg_top(scores, NULL, b->n, run->depth, places);
		for (int i = 0; i < n && scores[places[i]] > 0; i++)
			keys[kept++] = b->keys[places[i]];
		measure(run, q, system, keys, kept);
	}
}

static void
run_baselines(SearchRun *run)
{
	Bm25	   *b;

	run_full_text(run, FULL_TEXT, "pg_catalog.websearch_to_tsquery($1, q.query)");
	run_full_text(run, FULL_TEXT_OR,
				  "pg_catalog.replace(pg_catalog.plainto_tsquery($1, q.query)::pg_catalog.text, ' & ', ' | ')::pg_catalog.tsquery");
	b = read_bm25(run, "pg_catalog.regexp_split_to_array(pg_catalog.lower(q.query), '[^[:alnum:]]+')",
				  psprintf("SELECT product_llm.key_text(v.key) AS key, pg_catalog.regexp_split_to_array(pg_catalog.lower("
						   "CASE WHEN pg_catalog.strpos(v.content, v.title) > 0 THEN v.content ELSE v.title || ' ' || v.content END),"
						   " '[^[:alnum:]]+') AS tokens FROM %s AS v", plmpg_relation_name(run->shop->texts)));
	run_bm25(run, BM25, b, false);
	run_bm25(run, RANDOM_ORDER, b, true);
	b = read_bm25(run, "ARRAY(SELECT u.lexeme FROM pg_catalog.unnest(pg_catalog.to_tsvector($1, product_llm.segment(q.query, 'query'))) AS u)",
				  psprintf("SELECT w.key, ARRAY(SELECT u.lexeme FROM pg_catalog.unnest(w.words) AS u, pg_catalog.unnest(u.positions)) AS tokens"
						   " FROM %s AS w", run->shop->words_name));
	run_bm25(run, BM25_WORDS, b, false);
}

/* evaluate_search(catalog, judgments, max_results, samples) */
PG_FUNCTION_INFO_V1(product_llm_evaluate_search);
Datum
product_llm_evaluate_search(PG_FUNCTION_ARGS)
{
	PlmpgBudget budget = plmpg_budget();
	SearchRun	run = {.budget = &budget, .shop = plmpg_shop(text_to_cstring(PG_GETARG_TEXT_PP(0))), .depth = PG_GETARG_INT32(2)};
	int			samples = plmpg_samples(PG_GETARG_INT32(3));
	static const char *const names[] = {"nDCG", "judged", "recall", "MRR"};
	char	  **metrics = palloc(SEARCH_METRICS * sizeof(char *));

	if (run.depth < 1 || run.depth > 1000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_results must be between 1 and 1000")));
	plmpg_shop_check_rights(run.shop);
	run.judgments = plmpg_judgments(&budget, PG_GETARG_TEXT_PP(1));
	if (run.judgments->n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("no query of the judgments has a relevant product"),
				 errhint("A product is relevant when its grade is above 0.")));
	if (plmpg_hidden_rows(run.shop->source))
		run.among = plmpg_visible_rows(run.shop, NULL);
	for (int m = 0; m < SEARCH_METRICS; m++)
		metrics[m] = psprintf("%s@%d", names[m], run.depth);
	run.figures = plmpg_figures(&budget, search_systems, SEARCH_SYSTEMS, metrics, SEARCH_METRICS, run.judgments->n);

	for (int system = HYBRID; system <= LEXICAL; system++)
		run_search(&run, system);
	run_baselines(&run);
	plmpg_return_figures(fcinfo, &budget, &run.figures, samples);
	return (Datum) 0;
}
