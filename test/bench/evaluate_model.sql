-- The table of a model card: the model :model on public data without any fine-tuning.  Run in the folder of shared data, in a database
-- that has it ("make evaluate" does).

\set ON_ERROR_STOP on
\pset footer off
SET client_min_messages = warning;

\ir load_icecat.sql
\ir load_stsb.sql

CREATE FUNCTION pg_temp.card_search(model text, content text) RETURNS TABLE (value float8, low float8, high float8) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM product_llm.create_catalog('card', 'product', 'id', content, model, sync => 'manual', title => 'title', language => 'english');
	PERFORM product_llm.catalog_work('card', 'reconcile', NULL);
	RETURN QUERY SELECT e.value, e.low, e.high FROM product_llm.evaluate_search('card', 'SELECT query, docid, rating FROM judgment') AS e
		WHERE e.system = 'semantic' AND lower(e.metric) = 'ndcg@10';
	PERFORM product_llm.drop_catalog('card');
END
$$;
\echo model cards: rows without fine-tuning
SELECT t.task, round(f.value::numeric, 3) AS value, round(f.low::numeric, 3) AS low, round(f.high::numeric, 3) AS high
FROM (VALUES ('icecat, semantic nDCG@10, title', 'title'), ('icecat, semantic nDCG@10, title and description', 'concat_ws('' '', title, description)')) AS t (task, content),
	LATERAL pg_temp.card_search(:'model', t.content) AS f
UNION ALL
SELECT 'stsb dev, ' || s.language || ', Spearman', round(e.value::numeric, 3), round(e.low::numeric, 3), round(e.high::numeric, 3)
FROM (VALUES ('English'), ('Chinese')) AS s (language), LATERAL product_llm.evaluate(:'model', 'similarity',
	format('SELECT a, b, score FROM sentence WHERE part = ''dev'' AND language = %L', s.language)) AS e
WHERE e.metric = 'spearman';
