-- What int8 costs: the cosines of :model in int8 with itself on 10,000 texts in two languages, and icecat's search with both.  Run in the
-- folder of shared data, in a database that has the model ("make evaluate" does).

\set ON_ERROR_STOP on
\pset footer off
SET client_min_messages = warning;

\ir load_icecat.sql
CREATE TEMPORARY TABLE chinese (split text, title text, entities text);
\copy chinese FROM 'zh_titles/taobao_titles.csv' WITH (FORMAT csv, HEADER)

SELECT product_llm.quantize_model('int8', :'model', 'int8') \g /dev/null
CREATE TEMPORARY TABLE sample AS
	(SELECT concat_ws(' ', title, description) AS body FROM product WHERE title <> '' ORDER BY id LIMIT 5000)
	UNION ALL
	(SELECT title FROM chinese WHERE title <> '' ORDER BY md5(title) LIMIT 5000);

\echo int8 beside fp32: cosines of one text each way (bar: 0.995 for every one)
SELECT count(*) AS texts, round(min(c)::numeric, 5) AS least, round((percentile_cont(0.001) WITHIN GROUP (ORDER BY c))::numeric, 5) AS p0_1,
	round(avg(c)::numeric, 5) AS mean, count(*) FILTER (WHERE c < 0.995) AS below, CASE WHEN min(c) >= 0.995 THEN 'met' ELSE 'MISSED' END AS bar
FROM (SELECT array_agg(body) AS bodies FROM sample) AS s,
	LATERAL (SELECT product_llm.similarity(a, b) AS c
		FROM ROWS FROM (product_llm.embed(:'model', bodies), product_llm.embed('int8', bodies)) AS e (a, b)) AS t;

CREATE FUNCTION pg_temp.semantic_ndcg(model text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	found_value float8;
BEGIN
	PERFORM product_llm.create_catalog('goods', 'product', 'id', 'concat_ws('' '', title, description)', model, sync => 'manual',
		title => 'title', language => 'english');
	PERFORM product_llm.catalog_work('goods', 'reconcile', NULL);
	SELECT e.value INTO found_value FROM product_llm.evaluate_search('goods', 'SELECT query, docid, rating FROM judgment') AS e
		WHERE e.system = 'semantic' AND lower(e.metric) = 'ndcg@10';
	PERFORM product_llm.drop_catalog('goods');
	RETURN found_value;
END
$$;
\echo icecat, semantic nDCG@10 (bar: int8 within 0.5 % of fp32)
SELECT round(f::numeric, 4) AS fp32, round(i::numeric, 4) AS int8, round((100 * (i / f - 1))::numeric, 2) AS percent,
	CASE WHEN abs(i / f - 1) <= 0.005 THEN 'met' ELSE 'MISSED' END AS bar
FROM pg_temp.semantic_ndcg(:'model') AS f, pg_temp.semantic_ndcg('int8') AS i;
