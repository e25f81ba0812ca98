-- On what the stress runs, after test/bench/catalog_setup.sql: two catalogs of one table, one kept by triggers and with events,
-- one by refresh_catalog; a model to change to; 20 rows to COPY.
\set ON_ERROR_STOP on
SELECT product_llm.quantize_model('shop-mini-small', 'shop-mini', 'int8') \g /dev/null
SELECT product_llm.create_catalog('kept', 'product', 'id', 'title || '' '' || description', 'shop-mini', title => 'title', language => 'english'),
	product_llm.create_catalog('refreshed', 'product', 'id', 'title', 'shop-mini', 'manual', language => 'simple') \g /dev/null
SELECT product_llm.bind_events('kept', 'event', 'visitor', 'item', 'at', 'kind', '{"view": 1, "cart": 3, "purchase": 5, "ignored": 0}'),
	product_llm.alter_catalog('kept', settings => '{"explore": 0.2}') \g /dev/null
CALL product_llm.refresh_catalog('refreshed');
COPY (SELECT 900000 + i, 'copied ' || w.word, 'in a batch ' || i, i, i FROM generate_series(1, 20) AS i JOIN word AS w ON w.id = i) TO :'copy';
VACUUM ANALYZE;
