-- Row-level security: every verb gives what a catalog of the visible rows alone gives.  forget(): no trace is left.
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA private;
SET search_path = private, product_llm;
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM product_llm.models WHERE model = 'shop-mini') THEN
		PERFORM product_llm.load_model('shop-mini');
	END IF;
END $$;
CREATE FUNCTION said(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text; h text; s text; d text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT, s = RETURNED_SQLSTATE, d = PG_EXCEPTION_DETAIL;
	RETURN s || ' ' || m || CASE WHEN d <> '' THEN ' | ' || d ELSE '' END || CASE WHEN h <> '' THEN ' | ' || h ELSE '' END;
END
$$;

-- 900 products, of which 300 may be seen; the hidden ones have words of their own, near to others in spelling, and are
-- nearer to what is asked for.  600 events, of which two thirds may be seen.
CREATE TABLE goods (id int PRIMARY KEY, title text, body text, brand text, hidden boolean);
INSERT INTO goods
	SELECT i, (ARRAY['red', 'blue', 'green', 'black'])[1 + i % 4] || ' ' || (ARRAY['cup', 'shoe', 'lamp', 'chair', 'table', 'jacket', 'kettle'])[1 + i / 4 % 7] || CASE WHEN i % 3 <> 0 THEN ' ' || (ARRAY['cup', 'shoe'])[i % 3] || ' lamb' || chr(97 + i % 26) ELSE '' END,
		'item ' || i % 50 || repeat(' more words', i % 5), (ARRAY['Acme', 'Bolt', 'Crux'])[1 + i / 3 % 3], i % 3 <> 0
	FROM generate_series(1, 900) AS i;
-- Words that queries are made of by fit_catalog: one of titles that are seen, one of hidden ones.
UPDATE goods SET title = title || CASE WHEN hidden THEN ' yak' ELSE ' zebra' END || repeat(' of', 25) WHERE id % 75 IN (0, 25);
UPDATE goods SET brand = 'Secret' WHERE hidden AND id % 7 = 0;
CREATE TABLE event (who text, item int, at timestamptz, hidden boolean);
INSERT INTO event
	SELECT 'v' || v % 60, 1 + (v * 37 + (v % 60) * 11) % 900, timestamptz '2024-01-01' + v * interval '1 hour', v % 3 = 0 FROM generate_series(1, 600) AS v;
INSERT INTO event SELECT 'v' || v % 60, 3 * (1 + (v * 7) % 40), timestamptz '2024-03-01' + v * interval '1 hour', v % 4 = 0 FROM generate_series(1, 400) AS v;
INSERT INTO event VALUES ('v1', 9999, '2024-06-01', false);
CREATE INDEX ON event (who);
CREATE TABLE seen_goods AS SELECT * FROM goods WHERE NOT hidden;
ALTER TABLE seen_goods ADD PRIMARY KEY (id);
CREATE TABLE seen_event AS SELECT * FROM event WHERE NOT hidden;
SELECT create_catalog('goods', 'goods', 'id', 'concat_ws('' '', title, body)', 'shop-mini', title => 'title', language => 'english');
SELECT create_catalog('seen', 'seen_goods', 'id', 'concat_ws('' '', title, body)', 'shop-mini', title => 'title', language => 'english');
CREATE TABLE seen_goods2 AS TABLE seen_goods;
ALTER TABLE seen_goods2 ADD PRIMARY KEY (id);
CREATE TABLE event2 AS TABLE event;
SELECT create_catalog('goods_only', 'seen_goods2', 'id', 'concat_ws('' '', title, body)', 'shop-mini', title => 'title', language => 'english');
SET client_min_messages = error;
SELECT bind_events('goods', 'event', 'who', 'item', 'at'), bind_events('seen', 'seen_event', 'who', 'item', 'at'), bind_events('goods_only', 'event2', 'who', 'item', 'at');
SET client_min_messages = warning;
-- One of the visitors is forgotten: for everybody.
SELECT what, erased > 0 AS some FROM forget('goods', 'v7') WHERE what = 'pairs';
SELECT count(*) FROM (SELECT forget('seen', 'v7') UNION ALL SELECT forget('goods_only', 'v7')) AS f;
CALL refresh_catalog('goods');
CALL refresh_catalog('seen');
CALL refresh_catalog('goods_only');
CREATE ROLE regress_customer;
GRANT USAGE ON SCHEMA private TO regress_customer;
GRANT SELECT ON goods, event, seen_goods, seen_event, seen_goods2, event2 TO regress_customer;
ALTER TABLE goods ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON goods TO regress_customer USING (NOT hidden);

-- Every verb's answers of a catalog, as rows of text.
CREATE FUNCTION answers(name text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	rows text := CASE name WHEN 'goods' THEN 'goods' WHEN 'seen' THEN 'seen_goods' ELSE 'seen_goods2' END;
BEGIN
	RETURN QUERY SELECT concat_ws(' ', 'search', m, q, f, s.*) FROM unnest(ARRAY['hybrid', 'semantic', 'lexical']) AS m,
		unnest(ARRAY['red cup', 'lamba', 'lambq', 'lamr', 'jaket', 'item 7', 'Secret', '']) AS q, unnest(ARRAY[NULL, 'id < 200', 'brand = ''Secret''', 'hidden']) AS f,
		LATERAL search(name, q, 20, f, mode => m) WITH ORDINALITY AS s;
	RETURN QUERY SELECT concat_ws(' ', 'similar', k, s.*) FROM unnest(ARRAY['3', '300', '699']) AS k, LATERAL similar(name, k, 30) WITH ORDINALITY AS s;
	RETURN QUERY SELECT concat_ws(' ', 'facets', m, q, s.*) FROM unnest(ARRAY['hybrid', 'lexical']) AS m, unnest(ARRAY['red cup', 'shoe', 'lamba']) AS q, LATERAL search_facets(name, q, '{brand,hidden}', mode => m, depth => 500) AS s;
	RETURN QUERY SELECT concat_ws(' ', 'recommend', v, q, f, d, r.key, r.score, r.source, r.because, r.n) FROM unnest(ARRAY['v1', 'v7', 'v33', 'nobody']) AS v, unnest(ARRAY[NULL, 'red cup']) AS q, unnest(ARRAY[NULL, 'id % 2 = 0']) AS f, unnest(ARRAY[0, 0.5]) AS d,
		LATERAL recommend(name, v, 40, q, f, diversity => d::real) WITH ORDINALITY AS r (key, score, source, because, list, n);
	RETURN QUERY SELECT concat_ws(' ', 'basket', k, r.*) FROM unnest(ARRAY['3,6,9', '3,4,5', '4,5', '9999', '']) AS k, LATERAL recommend_basket(name, string_to_array(k, ','), 30) WITH ORDINALITY AS r;
	RETURN QUERY SELECT concat_ws(' ', 'evaluate', r.*) FROM evaluate_recommendations(name, samples => 10) AS r;
	RETURN QUERY SELECT concat_ws(' ', 'evaluate', r.*) FROM evaluate_search(name, format('SELECT title, id, 1 FROM %I WHERE id %% 40 = 0', rows), samples => 10) AS r;
	RETURN QUERY SELECT concat_ws(' ', 'fit', r.*) FROM fit_catalog(name) AS r;
	RETURN QUERY SELECT concat_ws(' ', 'count', products) FROM catalogs WHERE catalog = name;
	RETURN QUERY SELECT concat_ws(' ', 'error', c, replace(said(format(c, name)), name, '..')) FROM unnest(ARRAY['SELECT * FROM similar(%L, ''4'')', 'SELECT * FROM similar(%L, ''7777'')', 'SELECT * FROM search(%L, ''cup'', filter => ''1 / (id %% 3) > 0'')',
		'SELECT * FROM search(%L, ''cup'', filter => ''brand::int > 0'')', 'SELECT * FROM recommend(%L, ''v1'', filter => ''title::int > 0'')', 'SELECT record_feedback(%L || ''/00000000-0000-4000-8000-000000000000'', ''4'')']) AS c;
	RETURN QUERY SELECT concat_ws(' ', 'score', q, t.id, score('shop-mini', q, title)) FROM unnest(ARRAY['red cup']) AS q, LATERAL (SELECT key::int AS id FROM search(name, q, 5)) AS t JOIN seen_goods AS g USING (id);
END
$$;
GRANT EXECUTE ON FUNCTION answers(text), said(text) TO regress_customer;
CREATE TABLE answer (catalog text, n bigint, line text);
GRANT INSERT ON answer TO regress_customer;

-- Products are hidden, events are not.
SET ROLE regress_customer;
INSERT INTO answer SELECT 'goods', row_number() OVER (), a FROM answers('goods') AS a;
INSERT INTO answer SELECT 'goods_only', row_number() OVER (), a FROM answers('goods_only') AS a;
RESET ROLE;
SELECT split_part(line, ' ', 1) AS verb, count(*) > 0 AS some FROM answer WHERE catalog = 'goods' GROUP BY verb ORDER BY verb;
SELECT split_part(line, ' ', 1) AS verb, count(*) AS differing, min(line) FROM (
	(SELECT line FROM answer WHERE catalog = 'goods' EXCEPT ALL SELECT line FROM answer WHERE catalog = 'goods_only')
	UNION ALL (SELECT line FROM answer WHERE catalog = 'goods_only' EXCEPT ALL SELECT line FROM answer WHERE catalog = 'goods')) AS d GROUP BY verb ORDER BY verb;
TRUNCATE answer;
-- Both are.
ALTER TABLE event ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON event TO regress_customer USING (NOT hidden);
SET ROLE regress_customer;
INSERT INTO answer SELECT 'goods', row_number() OVER (), a FROM answers('goods') AS a;
INSERT INTO answer SELECT 'seen', row_number() OVER (), a FROM answers('seen') AS a;
RESET ROLE;
SELECT split_part(line, ' ', 1) AS verb, count(*) AS differing, min(line) FROM (
	(SELECT line FROM answer WHERE catalog = 'goods' EXCEPT ALL SELECT line FROM answer WHERE catalog = 'seen')
	UNION ALL (SELECT line FROM answer WHERE catalog = 'seen' EXCEPT ALL SELECT line FROM answer WHERE catalog = 'goods')) AS d GROUP BY verb ORDER BY verb;

-- Nothing is read directly, and no plan or message tells what the owner's statements have read.
SET ROLE regress_customer;
SELECT said(s) FROM unnest(ARRAY['SELECT * FROM goods_embedding', 'SELECT * FROM goods_words', 'SELECT * FROM goods_term', 'SELECT * FROM goods_text', 'SELECT * FROM goods_pair', 'SELECT * FROM goods_list', 'SELECT * FROM goods_feedback']) AS s;
SELECT count(*) FROM catalog_forgotten;
SELECT count(*) FROM feedback;
EXPLAIN (COSTS OFF) SELECT * FROM search('goods', 'lambc');
SELECT said('SELECT * FROM forget(''goods'', ''v2'')') AS forget, said('SELECT * FROM feedback_counts(''goods'')') AS feedback, said('SELECT * FROM estimate_blend(''goods'', ''{}'')') AS estimate,
	said('SELECT * FROM tune_catalog(''goods'')') AS tune, said('SELECT catalog_forget(''goods'', ''{v2,false}'')') AS work;
SELECT said('SELECT catalog_work(''goods'', ''forget'', ''{v2,false}'')');
-- Who may not read the events gets nothing that comes of them.
RESET ROLE;
REVOKE SELECT ON event FROM regress_customer;
SET ROLE regress_customer;
SELECT string_agg(DISTINCT source, ' ') FROM recommend_basket('goods', '{3,6,9}', 30);
SELECT said('SELECT * FROM recommend(''goods'', ''v1'')');
SELECT said('SELECT * FROM evaluate_recommendations(''goods'')');
SET row_security = off;
SELECT said('SELECT * FROM search(''goods'', ''cup'')');
RESET row_security;
RESET ROLE;
GRANT SELECT (who, item, at) ON event TO regress_customer;
REVOKE SELECT ON goods FROM regress_customer;
GRANT SELECT (id, title) ON goods TO regress_customer;
SET ROLE regress_customer;
SELECT said('SELECT * FROM search(''goods'', ''cup'')') AS search, said('SELECT * FROM similar(''goods'', ''3'')') AS similar, said('SELECT * FROM recommend(''goods'', ''v1'')') AS recommend,
	said('SELECT * FROM recommend_basket(''goods'', ''{3}'')') AS basket, said('SELECT * FROM search_facets(''goods'', ''cup'', ''{id}'')') AS facets;
RESET ROLE;
GRANT SELECT (body) ON goods TO regress_customer;
ALTER TABLE goods DISABLE ROW LEVEL SECURITY;
SET ROLE regress_customer;
SELECT count(*) FROM search('goods', 'cup');
SELECT said('SELECT * FROM search(''goods'', ''cup'', filter => ''brand = ''''Acme'''''')') AS filter, said('SELECT * FROM search_facets(''goods'', ''cup'', ''{brand}'')') AS facets;
SELECT count(*) FROM recommend('goods', 'v1');
RESET ROLE;
SELECT drop_catalog('goods'), drop_catalog('seen'), drop_catalog('goods_only');
DROP OWNED BY regress_customer;
DROP ROLE regress_customer;
DROP TABLE goods, event, seen_goods, seen_event, seen_goods2, event2, answer;

-- forget() ----
CREATE TABLE goods (id int PRIMARY KEY, title text);
INSERT INTO goods SELECT i, 'product ' || i FROM generate_series(1, 60) AS i;
CREATE TABLE event (who text, item int, at timestamptz);
CREATE INDEX ON event (who);
INSERT INTO event SELECT 'v' || v, 1 + (v * 7 + n * 5) % 60, timestamptz '2024-01-01' + v * interval '1 day' + n * interval '1 minute' FROM generate_series(1, 20) AS v, generate_series(1, 6) AS n;
INSERT INTO event SELECT w, i * 3, timestamptz '2024-02-01' + i * interval '1 minute' FROM unnest(ARRAY['it''s "me"', '', 'a\b', '%s', '$$x$$']) AS w, generate_series(1, 5) AS i;
SELECT create_catalog('goods', 'goods', 'id', 'title', 'shop-mini'), bind_events('goods', 'event', 'who', 'item', 'at');
CREATE TABLE event_without (LIKE event);
CREATE INDEX ON event_without (who);
-- All that is kept beside the products: which tables there are is asked of the catalog, so that none is missed.
SELECT attname FROM pg_attribute WHERE attrelid = 'catalog_events'::regclass AND atttypid = 'regclass'::regtype AND attnum > 0 ORDER BY attnum;
SELECT attname FROM pg_attribute WHERE attrelid = 'catalog'::regclass AND atttypid = 'regclass'::regtype AND attnum > 0 ORDER BY attnum;
SELECT relname FROM pg_class WHERE relnamespace = 'product_llm'::regnamespace AND relkind = 'r' ORDER BY relname;
-- Of a catalog, its side tables' whole contents; names of lists are random.
CREATE FUNCTION kept(name text) RETURNS TABLE (what text, line text) LANGUAGE plpgsql AS $$
DECLARE
	e product_llm.catalog_events := product_llm.events_row(name);
	c product_llm.catalog := product_llm.catalog_row(name);
BEGIN
	RETURN QUERY EXECUTE format('SELECT ''pairs'', t::text FROM %s AS t', e.pairs);
	RETURN QUERY EXECUTE format('SELECT ''lists'', concat_ws(''|'', t.visitor, t.keys, t.sources, t.parts, t.shown, t.explore) FROM %s AS t', e.lists);
	RETURN QUERY EXECUTE format('SELECT ''feedback'', concat_ws(''|'', t.key, t.event) FROM %s AS t', e.feedback);
	RETURN QUERY EXECUTE format('SELECT ''embeddings'', t::text FROM %s AS t', c.store);
	RETURN QUERY EXECUTE format('SELECT ''words'', t::text FROM %s AS t', c.words);
	RETURN QUERY EXECUTE format('SELECT ''terms'', t::text FROM %s AS t', c.terms);
	RETURN QUERY SELECT 'catalog', concat_ws('|', (SELECT s.statistics - 'bytes' FROM product_llm.catalog_statistics AS s WHERE s.catalog = c.catalog), c.settings);
END
$$;
CREATE FUNCTION live(name text, visitors text[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	v text; l record; n bigint := 0;
BEGIN
	FOREACH v IN ARRAY visitors LOOP
		FOR l IN SELECT * FROM product_llm.recommend(name, v, 5) LOOP
			n := n + 1;
			PERFORM product_llm.record_feedback(l.list, l.key, 'click');
		END LOOP;
	END LOOP;
	RETURN n;
END
$$;
-- For each visitor: what is kept afterwards is what a shop without that visitor keeps, with the events left in place or not.
CREATE FUNCTION forgotten(given text, delete_events boolean, OUT said text, OUT differing bigint, OUT named bigint, OUT again text, OUT marks bigint, OUT events bigint) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM live('goods', ARRAY['v1', given, 'v2']);
	SELECT string_agg(f.what || ' ' || f.erased, ', ' ORDER BY f.n) INTO said FROM product_llm.forget('goods', given, delete_events) WITH ORDINALITY AS f (what, erased, n);
	SELECT string_agg(f.what || ' ' || f.erased, ', ' ORDER BY f.n) INTO again FROM product_llm.forget('goods', given, delete_events) WITH ORDINALITY AS f (what, erased, n);
	TRUNCATE private.event_without;
	INSERT INTO private.event_without SELECT * FROM private.event AS e WHERE e.who <> given;
	PERFORM product_llm.create_catalog('without', 'goods', 'id', 'title', 'shop-mini');
	PERFORM product_llm.bind_events('without', 'event_without', 'who', 'item', 'at');
	PERFORM product_llm.catalog_work('goods', 'count', NULL), product_llm.catalog_work('without', 'count', NULL);
	-- The others' lists were made before: they are copied.
	INSERT INTO private.without_list SELECT * FROM private.goods_list AS l WHERE l.visitor <> given;
	INSERT INTO private.without_feedback SELECT f.* FROM private.goods_feedback AS f JOIN private.without_list AS l USING (list);
	SELECT count(*) INTO differing FROM ((SELECT * FROM kept('goods') EXCEPT ALL SELECT * FROM kept('without')) UNION ALL (SELECT * FROM kept('without') EXCEPT ALL SELECT * FROM kept('goods'))) AS d;
	SELECT count(*) INTO named FROM kept('goods') AS k WHERE k.what = 'lists' AND split_part(k.line, '|', 1) = given;
	SELECT count(*) INTO marks FROM product_llm.catalog_forgotten AS f WHERE f.catalog = 'goods';
	SELECT count(*) INTO events FROM private.event AS e WHERE e.who = given;
	PERFORM product_llm.drop_catalog('without');
	RAISE SQLSTATE 'PLM00' USING DETAIL = jsonb_build_array(said, differing, named, again, marks, events)::text;
EXCEPTION WHEN SQLSTATE 'PLM00' THEN
	GET STACKED DIAGNOSTICS said = PG_EXCEPTION_DETAIL;
	SELECT j ->> 0, j ->> 1, j ->> 2, j ->> 3, j ->> 4, j ->> 5 INTO said, differing, named, again, marks, events FROM (SELECT said::jsonb AS j) AS s;
END
$$;
SELECT v AS visitor, d AS delete_events, f.* FROM unnest(ARRAY['v3', 'v20', 'it''s "me"', 'a\b', '%s', '$$x$$', 'nobody']) AS v, unnest(ARRAY[false, true]) AS d, LATERAL forgotten(v, d) AS f;

-- A visitor who is forgotten and comes back is a new one: nothing is learnt from new events, no list has the name.
SELECT live('goods', ARRAY['v5']) > 0 AS lived;
SELECT what, erased FROM forget('goods', 'v5');
CREATE TABLE before AS SELECT * FROM kept('goods') WHERE what = 'pairs';
INSERT INTO event SELECT 'v5', i, '2024-05-01' FROM generate_series(1, 9) AS i;
UPDATE event SET at = at + interval '1 day' WHERE who = 'v5';
CALL refresh_catalog('goods');
SELECT count(*) AS learnt FROM ((SELECT * FROM kept('goods') WHERE what = 'pairs' EXCEPT ALL TABLE before) UNION ALL (TABLE before EXCEPT ALL SELECT * FROM kept('goods') WHERE what = 'pairs')) AS d;
SELECT string_agg(DISTINCT source, ' ') AS as_a_new_one, count(DISTINCT list) AS lists FROM recommend('goods', 'v5', 20);
SELECT count(*) AS named FROM goods_list WHERE visitor = 'v5';
SELECT count(*) AS named FROM catalog_forgotten AS f WHERE f::text LIKE '%' || encode('v5', 'hex') || '%';
-- Then with the events: no mark is left either.
SELECT what, erased FROM forget('goods', 'v5', delete_events => true);
SELECT count(*) AS marks FROM catalog_forgotten WHERE catalog = 'goods';
SELECT count(*) AS events FROM event WHERE who = 'v5';
SELECT count(*) FROM forget('goods', NULL);
-- Names in another form than the events have them.
CREATE TABLE numbered (who int, item int, at timestamptz);
CREATE TABLE padded (who char(5), item int, at timestamptz);
INSERT INTO numbered SELECT v, i, '2024-01-01' FROM generate_series(1, 5) AS v, generate_series(1, 5) AS i;
INSERT INTO padded SELECT 'abc' || v, i + v, '2024-01-01' FROM generate_series(1, 5) AS v, generate_series(1, 5) AS i;
SET client_min_messages = error;
SELECT create_catalog('numbered', 'goods', 'id', 'title', 'shop-mini'), bind_events('numbered', 'numbered', 'who', 'item', 'at');
SELECT create_catalog('padded', 'goods', 'id', 'title', 'shop-mini'), bind_events('padded', 'padded', 'who', 'item', 'at');
SELECT string_agg(DISTINCT source, ' ') FROM recommend('padded', 'abc1', 5);
SELECT string_agg(what || ' ' || erased, ', ') FROM forget('padded', 'abc1 ');
SELECT live('numbered', ARRAY['3', '03', ' 3']);
SELECT string_agg(what || ' ' || erased, ', ') FROM forget('numbered', '003');
SELECT count(*) FROM numbered_list;
SELECT said('SELECT * FROM forget(''numbered'', ''three'')');
SELECT said('SELECT * FROM forget(''none'', ''v1'')');
SELECT drop_catalog('goods'), drop_catalog('numbered'), drop_catalog('padded');
DROP SCHEMA private CASCADE;
