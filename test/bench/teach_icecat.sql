-- Teach a model a catalogue by its own text: icecat.  Pairs of title, description, type, brand and attributes; no judgement is read
-- but by evaluate_search().  Run in the folder of shared data, in a database that has the extension and the model :model ("make teach").

\set ON_ERROR_STOP on
\pset footer off
SET client_min_messages = warning;

\ir load_icecat.sql

-- Two or three words of a text in their order, as a customer might type them: chosen by a hash.
CREATE FUNCTION typed(text text, seed text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg(w.word, ' ' ORDER BY w.n)
	FROM (SELECT t.word, t.n FROM regexp_split_to_table(lower(text), '[\s,;()/]+') WITH ORDINALITY AS t (word, n)
		  WHERE length(t.word) > 1 AND t.n <= 16 ORDER BY md5(t.word || t.n || seed) LIMIT 1 + ascii(md5(text || seed)) % 3) AS w
$$;
CREATE TABLE pair AS
	SELECT * FROM (
		SELECT typed(title, s), concat_ws(' ', title, description) FROM product, (VALUES ('a'), ('b'), ('c')) AS v (s)
		UNION ALL SELECT lower(concat_ws(' ', supplier, type)), concat_ws(' ', title, description) FROM product WHERE type IS NOT NULL
		UNION ALL SELECT lower(type), concat_ws(' ', title, description) FROM product WHERE type IS NOT NULL
		UNION ALL SELECT attributes, concat_ws(' ', title, description) FROM product WHERE attributes IS NOT NULL
	) AS t (query, positive) WHERE btrim(query) <> '' AND btrim(positive) <> '';

CALL product_llm.finetune('icecat', :'model', 'retrieval', 'SELECT query, positive FROM pair',
	'{"epochs": 1, "batch": 256, "learning_rate": 3e-4, "temperature": 0.05, "max_tokens": 64, "validation": 0.01}');

SELECT product_llm.create_catalog('before', 'product', 'id', 'concat_ws('' '', title, description)', :'model',
	sync => 'manual', title => 'title', language => 'product_llm.shop_english'),
	product_llm.create_catalog('after', 'product', 'id', 'concat_ws('' '', title, description)', 'icecat',
	sync => 'manual', title => 'title', language => 'product_llm.shop_english') \g /dev/null
CALL product_llm.refresh_catalog('before');
CALL product_llm.refresh_catalog('after');

\echo icecat, retrieval from all products
SELECT c.catalog, e.system, e.metric, round(e.value::numeric, 4) AS value, round(e.low::numeric, 4) AS low, round(e.high::numeric, 4) AS high
FROM (VALUES ('before'), ('after')) AS c (catalog),
	LATERAL product_llm.evaluate_search(c.catalog, 'SELECT query, docid, rating FROM judgment', samples => 10000) AS e
WHERE e.system IN ('hybrid', 'semantic') AND lower(e.metric) = 'ndcg@10';

-- The same queries, paired.
CREATE FUNCTION ndcg(catalog text, mode text) RETURNS TABLE (query text, ndcg float8) LANGUAGE sql AS $$
	WITH q AS (SELECT j.query, max(j.rating) AS best FROM judgment AS j GROUP BY j.query HAVING max(j.rating) > 0),
	ideal AS (SELECT r.query, sum((power(2, r.rating) - 1) / (ln(r.place + 1) / ln(2))) AS gain
		FROM (SELECT j.query, j.rating, row_number() OVER (PARTITION BY j.query ORDER BY j.rating DESC) AS place FROM judgment AS j) AS r
		WHERE r.place <= 10 GROUP BY r.query)
	SELECT q.query, coalesce(sum((power(2, j.rating) - 1) / (ln(f.place + 1) / ln(2))), 0) / i.gain
	FROM q JOIN ideal AS i USING (query)
	CROSS JOIN LATERAL (SELECT s.key, row_number() OVER () AS place FROM product_llm.search(catalog, q.query, 10, mode => mode) AS s) AS f
	LEFT JOIN judgment AS j ON j.query = q.query AND j.docid = f.key::bigint
	GROUP BY q.query, i.gain
$$;
CREATE TABLE paired AS
	SELECT m.mode, b.query, a.ndcg - b.ndcg AS gain
	FROM (VALUES ('semantic'), ('hybrid')) AS m (mode), LATERAL ndcg('before', m.mode) AS b, LATERAL ndcg('after', m.mode) AS a
	WHERE a.query = b.query;
-- 2,000 samples of the queries with replacement, drawn by a hash.
\echo icecat, nDCG@10 after less before, over the queries with a relevant product
WITH numbered AS (SELECT *, row_number() OVER (PARTITION BY mode ORDER BY query) - 1 AS n, count(*) OVER (PARTITION BY mode) AS queries FROM paired),
sampled AS (
	SELECT s.sample, d.mode, avg(d.gain) AS gain
	FROM generate_series(1, 2000) AS s (sample), generate_series(0, (SELECT max(queries) - 1 FROM numbered)::int) AS k,
		LATERAL (SELECT ('x' || left(md5(s.sample || ',' || k), 7))::bit(28)::int AS dice) AS h JOIN numbered AS d ON d.n = h.dice % d.queries
	GROUP BY s.sample, d.mode
)
SELECT p.mode, round(avg(p.gain)::numeric, 4) AS gain,
	(SELECT round(percentile_cont(0.025) WITHIN GROUP (ORDER BY s.gain)::numeric, 4) FROM sampled AS s WHERE s.mode = p.mode) AS low,
	(SELECT round(percentile_cont(0.975) WITHIN GROUP (ORDER BY s.gain)::numeric, 4) FROM sampled AS s WHERE s.mode = p.mode) AS high
FROM paired AS p GROUP BY p.mode ORDER BY p.mode DESC;
