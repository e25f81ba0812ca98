-- Search over the icecat products, by human judgments: all systems, all bounds.  Run in the folder of shared data, in a
-- database that has the extension and the model :model ("make evaluate" does).

\set ON_ERROR_STOP on
\pset footer off
SET client_min_messages = warning;

\ir load_icecat.sql

SELECT product_llm.create_catalog('icecat', 'product', 'id', 'concat_ws('' '', title, description)', model => :'model',
	sync => 'manual', title => 'title', language => 'product_llm.shop_english') \g /dev/null
CALL product_llm.refresh_catalog('icecat');

\echo icecat, retrieval from all products, settings as they are without fitting
SELECT system, metric, round(value::numeric, 4) AS value, round(low::numeric, 4) AS low, round(high::numeric, 4) AS high,
	round(difference::numeric, 4) AS difference, round(difference_low::numeric, 4) AS low, round(difference_high::numeric, 4) AS high
FROM product_llm.evaluate_search('icecat', 'SELECT query, docid, rating FROM judgment', samples => 10000);
