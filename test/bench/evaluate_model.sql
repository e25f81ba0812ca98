-- The table of a model card: models :models (a text[]) on public data without any fine-tuning.  Run in the folder of shared data, in a
-- database that has them ("make evaluate" does).

\set ON_ERROR_STOP on
\pset footer off
SET client_min_messages = warning;

CREATE TEMPORARY TABLE line (line text);
\copy line FROM PROGRAM 'gzip -dc icecat/products.jsonl.gz' WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
CREATE TABLE card_product (id bigint PRIMARY KEY, title text, description text);
INSERT INTO card_product SELECT (l.line::jsonb ->> 'id')::bigint, l.line::jsonb ->> 'title', l.line::jsonb ->> 'short_description' FROM line AS l;
TRUNCATE line;
CREATE TABLE card_judgment (query text, docid bigint, rating int);
\copy card_judgment FROM 'icecat/judgments.csv' WITH (FORMAT csv, HEADER)
CREATE TABLE card_sentence (language text, a text, b text, score float8);
CREATE TEMPORARY TABLE pair (a text, b text, score float8);
\copy pair FROM 'stsb/stsb-en-dev.csv' WITH (FORMAT csv)
INSERT INTO card_sentence SELECT 'English', * FROM pair; TRUNCATE pair;
\copy pair FROM 'stsb/stsb-zh-dev.csv' WITH (FORMAT csv)
INSERT INTO card_sentence SELECT 'Chinese', * FROM pair;

CREATE FUNCTION pg_temp.card_search(model text, content text) RETURNS TABLE (value float8, low float8, high float8) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM product_llm.create_catalog('card', 'card_product', 'id', content, model, sync => 'manual', title => 'title', language => 'english');
	PERFORM product_llm.catalog_work('card', 'reconcile', NULL);
	RETURN QUERY SELECT e.value, e.low, e.high FROM product_llm.evaluate_search('card', 'SELECT query, docid, rating FROM card_judgment') AS e
		WHERE e.system = 'semantic' AND lower(e.metric) = 'ndcg@10';
	PERFORM product_llm.drop_catalog('card');
END
$$;
\echo model cards: rows without fine-tuning
SELECT t.task, m.model, round(f.value::numeric, 3) AS value, round(f.low::numeric, 3) AS low, round(f.high::numeric, 3) AS high
FROM (VALUES ('icecat, semantic nDCG@10, title', 'title'), ('icecat, semantic nDCG@10, title and description', 'concat_ws('' '', title, description)')) AS t (task, content),
	unnest(:'models'::text[]) AS m (model), LATERAL pg_temp.card_search(m.model, t.content) AS f
UNION ALL
SELECT 'stsb dev, ' || s.language || ', Spearman', m.model, round(e.value::numeric, 3), round(e.low::numeric, 3), round(e.high::numeric, 3)
FROM (VALUES ('English'), ('Chinese')) AS s (language), unnest(:'models'::text[]) AS m (model), LATERAL product_llm.evaluate(m.model, 'similarity',
	format('SELECT a, b, score FROM card_sentence WHERE language = %L', s.language)) AS e
WHERE e.metric = 'spearman';
