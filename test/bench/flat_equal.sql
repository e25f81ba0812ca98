-- Ten queries by the index and by a sort, without a filter and with one: distances must be equal.
\set ON_ERROR_STOP on
CREATE TEMP TABLE answer (way text, query int, filtered bool, distances float8[]);
SET enable_sort = off;
INSERT INTO answer SELECT 'index', q.id, false, ARRAY(SELECT embedding OPERATOR(product_llm.<=>) q.v FROM item ORDER BY embedding OPERATOR(product_llm.<=>) q.v LIMIT 10) FROM query AS q WHERE q.id <= 10;
INSERT INTO answer SELECT 'index', q.id, true, ARRAY(SELECT embedding OPERATOR(product_llm.<=>) q.v FROM item WHERE kind = q.id ORDER BY embedding OPERATOR(product_llm.<=>) q.v LIMIT 10) FROM query AS q WHERE q.id <= 10;
RESET enable_sort;
SET enable_indexscan = off;
INSERT INTO answer SELECT 'sort', q.id, false, ARRAY(SELECT embedding OPERATOR(product_llm.<=>) q.v FROM item ORDER BY 1 LIMIT 10) FROM query AS q WHERE q.id <= 10;
INSERT INTO answer SELECT 'sort', q.id, true, ARRAY(SELECT embedding OPERATOR(product_llm.<=>) q.v FROM item WHERE kind = q.id ORDER BY 1 LIMIT 10) FROM query AS q WHERE q.id <= 10;
SELECT format('answers equal to those of a sort: %s of %s', count(*) FILTER (WHERE i.distances = s.distances), count(*))
FROM answer AS i JOIN answer AS s USING (query, filtered) WHERE i.way = 'index' AND s.way = 'sort';
