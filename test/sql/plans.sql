-- What the planner makes of the functions over text.
SET search_path = public, product_llm;
SET client_min_messages = warning;
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM product_llm.models WHERE model = 'shop-mini') THEN
		PERFORM product_llm.load_model('shop-mini');
	END IF;
END $$;

-- True when a line of the plan matches the pattern.
CREATE FUNCTION plan_has(query text, pattern text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	line text;
	found_it boolean := false;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (VERBOSE) ' || query LOOP
		found_it := found_it OR line ~ pattern;
	END LOOP;
	RETURN found_it;
END $$;

CREATE TABLE plan_goods (id int PRIMARY KEY, title text, embedding real[]);
INSERT INTO plan_goods
SELECT n, title, e
FROM (SELECT array_agg((ARRAY['red','blue','green'])[1 + i % 3] || ' '
					   || (ARRAY['cup','lamp','chair','shoes'])[1 + i % 4] || ' ' || i ORDER BY i) AS titles
	  FROM generate_series(1, 1000) i) t,
	 LATERAL (SELECT row_number() OVER () AS n, e FROM embed('shop-mini', titles) e) v,
	 LATERAL (SELECT titles[n] AS title) x;
ANALYZE plan_goods;

-- A constant embedding is computed by the planner, once: the plan has its value and not the call.
SELECT plan_has($$SELECT product_llm.embed('shop-mini', 'red cup')$$, 'embed\(') AS calls_embed,
	   plan_has($$SELECT product_llm.embed('shop-mini', 'red cup')$$, 'Output: ''\{-?[0-9.]+') AS has_value;
SELECT plan_has($$SELECT * FROM plan_goods WHERE similarity(embedding, embed('shop-mini', 'red cup')) > 0.9$$,
				'embed\(') AS calls_embed;

-- The form with the default model waits for the execution.
SET product_llm.default_model = 'shop-mini';
SELECT plan_has($$SELECT product_llm.embed('red cup')$$, 'embed\(') AS calls_embed;
RESET product_llm.default_model;

-- A prepared statement that embeds one text keeps its plan, whichever parameters come; not where rows, several or correlated, would each
-- embed it again.
CREATE FUNCTION keeps_plan(query text, argument text DEFAULT 'red cup') RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	kept boolean;
BEGIN
	EXECUTE 'PREPARE once(text) AS ' || query;
	FOR i IN 1..7 LOOP
		EXECUTE format('EXECUTE once(%L)', argument);
	END LOOP;
	SELECT generic_plans > 0 INTO kept FROM pg_prepared_statements WHERE name = 'once';
	DEALLOCATE once;
	RETURN kept;
END $$;
CREATE TABLE plan_embedded (embedding real[]);
SELECT keeps_plan($$SELECT embed('shop-mini', $1)$$) AS one,
	   keeps_plan($$SELECT cardinality(embed('shop-mini', $1, 'query')), embed('shop-mini', $1 || 'x') IS NULL$$) AS two,
	   keeps_plan($$INSERT INTO plan_embedded VALUES (embed('shop-mini', $1))$$) AS written;
SELECT count(*), count(DISTINCT embedding) AS same FROM plan_embedded;
SELECT keeps_plan($$SELECT id FROM plan_goods ORDER BY embedding <=> embed('shop-mini', $1) LIMIT 3$$) AS rows,
	   keeps_plan($$SELECT (SELECT embed('shop-mini', $1) <=> g.embedding) FROM plan_goods AS g$$) AS correlated,
	   keeps_plan($$SELECT embed('shop-mini', $1), generate_series(1, 3)$$) AS series;
-- And what it embeds with is the model of that moment.
SELECT quantize_model('plan-kept', 'shop-mini', 'int8') \g /dev/null
SELECT embed('plan-kept', 'red cup') AS first \gset
PREPARE kept(text, real[]) AS SELECT embed('plan-kept', $1) = $2 AS same;
EXECUTE kept('red cup', :'first');
EXECUTE kept('red cup', :'first');
EXECUTE kept('red cup', :'first');
EXECUTE kept('red cup', :'first');
EXECUTE kept('red cup', :'first');
EXECUTE kept('red cup', :'first');
EXECUTE kept('red cup', :'first');
SELECT drop_model('plan-kept') \g /dev/null
EXECUTE kept('red cup', :'first');
SELECT quantize_model('plan-kept', 'shop-mini', 'bf16') \g /dev/null
EXECUTE kept('red cup', :'first');
EXECUTE kept('red cup', embed('plan-kept', 'red cup'));
SELECT generic_plans > 3 AS kept FROM pg_prepared_statements WHERE name = 'kept';
DEALLOCATE kept;
SELECT drop_model('plan-kept') \g /dev/null
DROP TABLE plan_embedded;

-- A top-10 scan goes parallel, the score computed below the Gather.
BEGIN;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 2;
SELECT plan_has($$SELECT id FROM plan_goods ORDER BY score('shop-mini', 'red cup', embedding) DESC LIMIT 10$$,
				'Gather Merge') AS gathers,
	   plan_has($$SELECT id FROM plan_goods ORDER BY score('shop-mini', 'red cup', embedding) DESC LIMIT 10$$,
				'Parallel Seq Scan') AS scans_in_parallel;
SELECT count(*) AS ten, bool_and(title LIKE 'red cup%') AS red_cups
FROM (SELECT title FROM plan_goods ORDER BY score('shop-mini', 'red cup', embedding) DESC, id LIMIT 10) best;

-- An expensive expression is worth workers with the server's own costs.
SET LOCAL parallel_setup_cost = 1000;
SET LOCAL parallel_tuple_cost = 0.1;
SELECT plan_has($$SELECT id FROM plan_goods WHERE (embed('shop-mini', title))[1] > 0$$, 'Parallel Seq Scan') AS parallel;
COMMIT;

-- A handful of texts in a table that was never analyzed is not worth JIT.
CREATE TABLE plan_fresh (title text);
INSERT INTO plan_fresh VALUES ('red cup'), ('blue lamp');
DO $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) SELECT product_llm.embed(''shop-mini'', title) FROM plan_fresh' INTO plan;
	IF (plan->0->'Plan'->>'Total Cost')::float >= current_setting('jit_above_cost')::float THEN
		RAISE WARNING 'two texts cost %', plan->0->'Plan'->>'Total Cost';
	END IF;
END $$;

-- Rows and cost of the batch forms follow the array.
SELECT plan_has($$SELECT * FROM embed('shop-mini', array_fill('x'::text, ARRAY[7]))$$, 'rows=7 ') AS seven_rows,
	   plan_has($$SELECT * FROM rerank('shop-mini', 'q', ARRAY['a', 'b', 'c'])$$, 'rows=3 ') AS three_rows;

-- An index on an expression with embed(): built, used, kept up.
CREATE INDEX plan_goods_first ON plan_goods (((embed('shop-mini', title))[1]));
ANALYZE plan_goods;
SET enable_seqscan = off;
SELECT plan_has($$SELECT id FROM plan_goods WHERE (embed('shop-mini', title))[1] = 2$$, 'plan_goods_first') AS uses_index;
SELECT count(*) = 1 AS found FROM plan_goods
WHERE (embed('shop-mini', title))[1] = (embed('shop-mini', 'red cup 12'))[1] AND id = 12;
INSERT INTO plan_goods VALUES (2001, '全自动咖啡机', NULL);
SELECT id FROM plan_goods WHERE (embed('shop-mini', title))[1] = (embed('shop-mini', '全自动咖啡机'))[1];
RESET enable_seqscan;

-- A stored generated column.
CREATE TABLE plan_generated (title text,
	embedding real[] GENERATED ALWAYS AS (product_llm.embed('shop-mini', title)) STORED);
INSERT INTO plan_generated VALUES ('red cup'), (NULL), ('blue lamp');
UPDATE plan_generated SET title = 'green chair' WHERE title = 'blue lamp';
SELECT title, embedding IS NOT DISTINCT FROM embed('shop-mini', title) AS kept_up FROM plan_generated;

-- Honest labels: everything is parallel safe; only what reads a setting is not immutable.
SELECT p.oid::regprocedure, p.provolatile, p.proparallel
FROM pg_proc p
WHERE p.pronamespace = 'product_llm'::regnamespace
	AND p.proname IN ('tokenize', 'count_tokens', 'embed', 'similarity', 'score', 'rerank', 'classify',
					  'classify_zero_shot', 'fill_mask')
	AND (p.provolatile <> 'i' OR p.proparallel <> 's' OR NOT p.proisstrict);

DROP TABLE plan_goods, plan_generated;
DROP FUNCTION plan_has, keeps_plan;
