-- Are explanations complete, true to the model, and cheap?  Run in the folder of shared data, in a database that has the extension and
-- the model :model ("make evaluate-reasons").
--
-- Complete: the error that explain_score() reports, relative to the score's difference, over pairs of icecat's queries and products.
-- True: deletion is the mean of the score as the words that tell most are taken away, a tenth of them at a time (lower is better),
-- insertion as they are put into the empty text (higher is better); beside ten random orders, leave-one-out, the order of what
-- the score loses without each word, and attention, the order of attention rollout.  A text is won when the order's figure is better than
-- the mean of the random ones.  What counts is both, insertion less deletion: by one alone an order can win that knows only one end, what
-- is enough or what cannot be missed; each alone is printed too.
-- Cheap: time over that of score() of the same pairs.

\set ON_ERROR_STOP on
\pset footer off
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
\set pairs `echo "${REASONS_PAIRS:-500}"`
SET bench.model = :'model';

\ir load_icecat.sql

CREATE TABLE pair AS
	SELECT j.query, p.title, concat_ws(' ', p.title, p.description) AS document, row_number() OVER (ORDER BY md5(j.query || p.id)) AS n
	FROM judgment AS j JOIN product AS p ON p.id = j.docid WHERE btrim(p.title) <> '' ORDER BY n LIMIT 1000;

CREATE TABLE timed (what text, seconds double precision);
CREATE TABLE explained (n bigint, side text, error double precision, difference double precision);
DO $$
DECLARE
	begin_at timestamptz;
	model text := current_setting('bench.model');
BEGIN
	PERFORM product_llm.prewarm(model);
	begin_at := clock_timestamp();
	PERFORM product_llm.score(model, p.query || ' ' || p.n, p.document) FROM pair AS p;
	INSERT INTO timed VALUES ('score', extract(epoch FROM clock_timestamp() - begin_at));
	begin_at := clock_timestamp();
	INSERT INTO explained SELECT p.n, e.side, max(e.error), sum(e.contribution)
		FROM pair AS p, LATERAL product_llm.explain_score(model, p.query || ' ' || p.n, p.document, truncate => true) AS e GROUP BY p.n, e.side;
	INSERT INTO timed VALUES ('explain', extract(epoch FROM clock_timestamp() - begin_at));
END
$$;
\echo completeness error of explain_score, in percent of the difference of scores
SELECT e.side, count(*) AS pairs, round((100 * percentile_cont(0.5) WITHIN GROUP (ORDER BY e.error))::numeric, 4) AS median,
	round((100 * percentile_cont(0.99) WITHIN GROUP (ORDER BY e.error))::numeric, 4) AS p99, round((100 * max(e.error))::numeric, 4) AS most
FROM explained AS e GROUP BY e.side ORDER BY e.side DESC;
\echo time of one pair, both sides explained
SELECT round((1000 * max(t.seconds) FILTER (WHERE t.what = 'score') / (SELECT count(*) FROM pair))::numeric, 2) AS score_ms,
	round((1000 * max(t.seconds) FILTER (WHERE t.what = 'explain') / (SELECT count(*) FROM pair))::numeric, 2) AS explain_ms,
	round((max(t.seconds) FILTER (WHERE t.what = 'explain') / max(t.seconds) FILTER (WHERE t.what = 'score'))::numeric, 1) AS forward_passes FROM timed AS t;

-- Scores of texts: for a query, or a classifier's probability of a label.
CREATE FUNCTION scores(model text, query text, label text, texts text[]) RETURNS double precision[] LANGUAGE sql AS $$
	SELECT CASE WHEN label IS NULL
		THEN (SELECT array_agg(r.score::float8 ORDER BY r.ordinal) FROM product_llm.rerank(model, query, texts) AS r)
		ELSE (SELECT array_agg((SELECT c.probability::float8 FROM product_llm.classify(model, t.text) AS c WHERE c.label = scores.label) ORDER BY t.i)
			  FROM unnest(texts) WITH ORDINALITY AS t (text, i)) END
$$;

-- Both figures of one text by each order of its words.
CREATE FUNCTION faith(model text, query text, document text, label text)
	RETURNS TABLE (by text, deletion double precision, insertion double precision) LANGUAGE plpgsql AS $$
DECLARE
	starts int[];
	lengths int[];
	n int;
	by_contribution int[];
	by_attention int[];
	by_leaving_out int[];
	lost double precision[];
	first text := CASE WHEN label IS NULL THEN query ELSE document END;
	second text := coalesce(label, document);
	explained text := CASE WHEN label IS NULL THEN 'document' ELSE 'query' END;
BEGIN
	SELECT array_agg(w.start_at ORDER BY w.ordinal), array_agg(w.length ORDER BY w.ordinal), count(*), array_agg(w.ordinal ORDER BY w.contribution DESC)
	INTO starts, lengths, n, by_contribution
	FROM product_llm.explain_words(model, first, second, truncate => true) AS w WHERE w.side = explained AND w.word IS NOT NULL;
	SELECT array_agg(w.ordinal ORDER BY w.contribution DESC) INTO by_attention
	FROM product_llm.explain_words(model, first, second, 'attention', truncate => true) AS w WHERE w.side = explained AND w.word IS NOT NULL;
	lost := scores(model, query, label, ARRAY(SELECT product_llm.without_words(document, starts[i : i], lengths[i : i]) FROM generate_series(1, n) AS i ORDER BY i));
	by_leaving_out := ARRAY(SELECT i FROM generate_series(1, n) AS i ORDER BY lost[i]);
	RETURN QUERY
	WITH orders AS (
		SELECT 'explanation' AS by, by_contribution AS words UNION ALL SELECT 'leave one out', by_leaving_out UNION ALL SELECT 'attention', by_attention
		UNION ALL SELECT 'random ' || r, ARRAY(SELECT i FROM generate_series(1, n) AS i ORDER BY md5(document || r || ' ' || i)) FROM generate_series(1, 10) AS r),
	texts AS MATERIALIZED (
		SELECT o.by, s.deleting, product_llm.without_words(document,
			ARRAY(SELECT starts[x.w] FROM unnest(o.words) WITH ORDINALITY AS x (w, place) WHERE (x.place <= n * tenth / 10.0) = s.deleting ORDER BY x.w),
			ARRAY(SELECT lengths[x.w] FROM unnest(o.words) WITH ORDINALITY AS x (w, place) WHERE (x.place <= n * tenth / 10.0) = s.deleting ORDER BY x.w)) AS text
		FROM orders AS o, generate_series(0, 10) AS tenth, (VALUES (true), (false)) AS s (deleting)),
	once AS MATERIALIZED (SELECT array_agg(DISTINCT t.text) AS texts FROM texts AS t),
	scored AS MATERIALIZED (SELECT s.text, s.score FROM once AS o, LATERAL unnest(o.texts, scores(model, query, label, o.texts)) AS s (text, score))
	SELECT t.by, avg(s.score) FILTER (WHERE t.deleting), avg(s.score) FILTER (WHERE NOT t.deleting)
	FROM texts AS t JOIN scored AS s USING (text) GROUP BY t.by;
END
$$;

CREATE TABLE told (task text, n bigint, by text, deletion double precision, insertion double precision);
CREATE VIEW verdict AS
	SELECT t.task, regexp_replace(t.by, ' \d+$', '') AS by, round(avg(t.deletion)::numeric, 4) AS deletion, round(avg(t.insertion)::numeric, 4) AS insertion,
		CASE WHEN t.by !~ 'random' THEN round(100.0 * count(*) FILTER (WHERE t.deletion < r.deletion) / count(*), 1) END AS deletion_won,
		CASE WHEN t.by !~ 'random' THEN round(100.0 * count(*) FILTER (WHERE t.insertion > r.insertion) / count(*), 1) END AS insertion_won,
		CASE WHEN t.by !~ 'random' THEN round(100.0 * count(*) FILTER (WHERE t.insertion - t.deletion > r.insertion - r.deletion) / count(*), 1) END AS both_won
	FROM told AS t JOIN (SELECT task, n, avg(deletion) AS deletion, avg(insertion) AS insertion FROM told WHERE by ~ 'random' GROUP BY task, n) AS r USING (task, n)
	GROUP BY t.task, regexp_replace(t.by, ' \d+$', ''), t.by !~ 'random' ORDER BY 1, 2;

INSERT INTO told
	SELECT 'search', p.n, f.* FROM (SELECT * FROM pair WHERE product_llm.count_tokens(:'model', title) BETWEEN 6 AND 60 ORDER BY n LIMIT :pairs) AS p,
		LATERAL faith(:'model', p.query, p.title, NULL) AS f;

CREATE TEMPORARY TABLE row (category text, sentiment text, text text);
\copy row FROM PROGRAM 'gzip -dc zh_reviews/online_shopping_10_cats.train.csv.gz' WITH (FORMAT csv, HEADER)
CREATE TABLE review AS
	SELECT DISTINCT ON (text) text, category, md5(text) AS hash FROM row WHERE length(text) BETWEEN 8 AND 60 ORDER BY text, category;
CALL product_llm.finetune('reasons', :'model', 'classification', 'SELECT text, category FROM (SELECT * FROM review ORDER BY hash LIMIT 4000) AS r',
	'{"epochs": 3, "batch": 32, "learning_rate": 4e-4, "max_tokens": 64, "validation": 0.05}');
INSERT INTO told
	SELECT 'classification', p.n, f.* FROM (SELECT text, row_number() OVER (ORDER BY hash DESC) AS n FROM review ORDER BY hash DESC LIMIT :pairs) AS p,
		LATERAL (SELECT label FROM product_llm.classify('reasons', p.text) LIMIT 1) AS c, LATERAL faith('reasons', '', p.text, c.label) AS f;
\echo taking words away and putting them in, in the order of each; won: percent of texts better than random
SELECT * FROM verdict;
