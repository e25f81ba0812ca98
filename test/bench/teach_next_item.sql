-- Teach a model what people take next: amazon18_industrial.  Pairs of a product's text and that of the product which the same person took
-- after it, without each person's last two: the last is what is asked for, and the one before is what tune_catalog fits on.  Run in the folder of shared data, in a database that has the
-- extension and the model :model ("make teach").

\set ON_ERROR_STOP on
\pset footer off
SET client_min_messages = warning;

\ir load_amazon.sql

-- A product's text as the catalog embeds it; what was taken before, up to three steps back, belongs to what was taken then.
CREATE TABLE pair AS
	WITH known AS (SELECT *, row_number() OVER (PARTITION BY visitor ORDER BY at) AS n, count(*) OVER (PARTITION BY visitor) AS items FROM amazon_event)
	SELECT concat_ws(' ', p.title, p.brand) AS query, concat_ws(' ', q.title, q.brand) AS positive
	FROM known AS a JOIN known AS b ON b.visitor = a.visitor AND b.n - a.n BETWEEN 1 AND 3 AND b.n < b.items - 1
	JOIN amazon_product AS p ON p.item_id = a.item JOIN amazon_product AS q ON q.item_id = b.item
	WHERE a.item <> b.item;

CALL product_llm.finetune('next', :'model', 'retrieval', 'SELECT query, positive FROM pair',
	'{"epochs": 4, "batch": 256, "learning_rate": 3e-4, "temperature": 0.05, "max_tokens": 48, "validation": 0.02}');

SELECT product_llm.create_catalog('before', 'amazon_product', 'item_id', 'concat_ws('' '', title, brand)', :'model', sync => 'manual', title => 'title', language => 'english'),
	product_llm.create_catalog('after', 'amazon_product', 'item_id', 'concat_ws('' '', title, brand)', 'next', sync => 'manual', title => 'title', language => 'english') \g /dev/null
SELECT product_llm.bind_events('before', 'amazon_event', 'visitor', 'item', 'at'), product_llm.bind_events('after', 'amazon_event', 'visitor', 'item', 'at') \g /dev/null
CALL product_llm.refresh_catalog('before');
CALL product_llm.refresh_catalog('after');
SELECT product_llm.tune_catalog('before') \g /dev/null
SELECT product_llm.tune_catalog('after') \g /dev/null

\echo amazon18_industrial, next item among all products; difference: of the blend less the system
SELECT c.catalog, e.system, e.metric, round(e.value::numeric, 4) AS value, round(e.low::numeric, 4) AS low, round(e.high::numeric, 4) AS high,
	round(e.difference::numeric, 4) AS difference, round(e.difference_low::numeric, 4) AS low, round(e.difference_high::numeric, 4) AS high
FROM (VALUES ('before'), ('after')) AS c (catalog), LATERAL product_llm.evaluate_recommendations(c.catalog) AS e
WHERE lower(e.metric) IN ('hr@10', 'ndcg@10');
