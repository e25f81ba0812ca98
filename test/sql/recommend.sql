-- recommend(), recommend_basket(), feedback: the blend as it is defined, reasons, what is left out, lists, the estimate.
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA recommended;
SET search_path = recommended, product_llm;
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM product_llm.models WHERE model = 'shop-mini') THEN
		PERFORM product_llm.load_model('shop-mini');
	END IF;
END $$;
CREATE FUNCTION said(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text; h text; s text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT, s = RETURNED_SQLSTATE;
	RETURN s || ' ' || m || CASE WHEN h <> '' THEN ' | ' || h ELSE '' END;
END
$$;

CREATE TABLE goods (sku text PRIMARY KEY, title text, stock int);
INSERT INTO goods
	SELECT 'p' || i, (ARRAY['red', 'blue', 'green', 'black'])[1 + i % 4] || ' ' || (ARRAY['cup', 'shoe', 'lamp', 'chair', 'laptop', 'kettle'])[1 + i / 4 % 6] || ' no ' || i, i % 3
	FROM generate_series(1, 120) AS i;
SELECT create_catalog('goods', 'goods', 'sku', 'title', 'shop-mini', language => 'product_llm.shop_english');
CREATE TABLE event (who int, item text, at timestamptz, kind text);
CREATE INDEX ON event (who);
INSERT INTO event
	SELECT v, 'p' || 1 + (v * 7 + n * (1 + v % 3) * 5) % 60, timestamptz '2024-01-01' + v * interval '1 day' + n * interval '1 minute',
		(ARRAY['view', 'view', 'cart', 'purchase'])[1 + (v + n) % 4]
	FROM generate_series(1, 60) AS v, generate_series(1, 3 + v % 5) AS n;
-- Unknown products, future times, duplicates, what weighs nothing, nulls.
INSERT INTO event VALUES (1, 'unknown', '2024-02-01', 'view'), (1, 'p40', '2999-01-01', 'purchase'), (2, 'unknown', '2024-02-01', 'purchase'), (3, 'p77', '2024-02-01', 'bounce'),
	(4, NULL, '2024-02-01', 'view'), (NULL, 'p1', '2024-02-01', 'view'), (5, 'p9', NULL, 'view');
INSERT INTO event SELECT * FROM event WHERE who = 6;
SELECT bind_events('goods', 'event', 'who', 'item', 'at', 'kind', '{"view": 1, "cart": 3, "purchase": 5, "bounce": 0}');

-- The formula of blend.h in plain SQL ----
CREATE MATERIALIZED VIEW counted AS
	SELECT who::text AS who, item, at, CASE kind WHEN 'cart' THEN 3 WHEN 'purchase' THEN 5 WHEN 'view' THEN 1 END AS weight
	FROM event WHERE who IS NOT NULL AND item IS NOT NULL AND at IS NOT NULL AND kind <> 'bounce';
CREATE MATERIALIZED VIEW first_come AS
	SELECT who, item, row_number() OVER (PARTITION BY who ORDER BY first) AS place
	FROM (SELECT who, item, min(o) AS first FROM (SELECT *, row_number() OVER (PARTITION BY who ORDER BY at, md5(who || item), item COLLATE "C") AS o FROM counted) AS c GROUP BY who, item) AS f;
CREATE MATERIALIZED VIEW visitors AS SELECT item, count(DISTINCT who)::float8 AS n FROM counted GROUP BY item;
CREATE MATERIALIZED VIEW pair AS
	SELECT x.item AS a, y.item AS b, sum(round(65536 / sqrt(abs(y.place - x.place))) / 65536 * CASE WHEN y.place > x.place THEN 1 ELSE 0.5 END)::float8 AS w
	FROM first_come AS x JOIN first_come AS y ON y.who = x.who AND y.place <> x.place AND abs(y.place - x.place) <= 10 GROUP BY x.item, y.item;
CREATE INDEX ON pair (a, b);
CREATE FUNCTION recent(visitor text) RETURNS TABLE (item text, r bigint, u float8) LANGUAGE sql STABLE AS $$
	SELECT item, row_number() OVER (ORDER BY max(at) DESC, md5(visitor || item) DESC, item COLLATE "C" DESC), max(weight) / 5.0
	FROM counted WHERE who = visitor AND at <= now() GROUP BY item ORDER BY 2 LIMIT 20
$$;
CREATE FUNCTION by_formula(visitor text, ex text[] DEFAULT NULL) RETURNS TABLE (key text, score float8, together float8, content float8) LANGUAGE sql STABLE AS $$
	WITH own AS MATERIALIZED (SELECT * FROM recent(visitor)),
	part AS (
		SELECT g.sku,
			coalesce((SELECT sum(o.u * o.r ^ -0.5::float8 * p.w / ((SELECT n FROM visitors AS v WHERE v.item = o.item) ^ 0.75 * greatest(coalesce((SELECT n FROM visitors AS v WHERE v.item = g.sku), 1), 1) ^ 0.3 + 3))
				FROM own AS o JOIN pair AS p ON p.a = o.item AND p.b = g.sku), 0) AS together,
			coalesce((SELECT max(o.u * o.r ^ -0.2::float8 * greatest(similarity(m.embedding, c.embedding), 0)) FROM own AS o JOIN goods_embedding AS m ON m.key = o.item, goods_embedding AS c WHERE c.key = g.sku), 0) AS content,
			coalesce((SELECT n FROM visitors AS v WHERE v.item = g.sku), 0) AS n
		FROM goods AS g WHERE NOT EXISTS (SELECT FROM own AS o WHERE o.item = g.sku AND ex IS NULL)),
	candidate AS (SELECT * FROM part WHERE together > 0 OR content > 0)
	SELECT sku, together / nullif(max(together) OVER (), 0) + 0.4 * content / nullif(max(content) OVER (), 0) + 0.01 * CASE WHEN together > 0 THEN n ELSE 0 END
		/ nullif(max(CASE WHEN together > 0 THEN n END) OVER (), 0), together, content FROM candidate
$$;
SELECT count(*) AS compared, count(*) FILTER (WHERE abs(r.score - f.score) > 1e-5) AS other_score,
	count(*) FILTER (WHERE r.source <> CASE WHEN f.together / mt >= 0.4 * f.content / mc THEN 'together' ELSE 'content' END AND abs(f.together / mt - 0.4 * f.content / mc) > 1e-6) AS other_source
FROM generate_series(1, 60, 3) AS v,
	LATERAL (SELECT * FROM recommend('goods', v::text, 50)) AS r
	LEFT JOIN LATERAL (SELECT *, max(together) OVER () AS mt, max(content) OVER () AS mc FROM by_formula(v::text)) AS f ON f.key = r.key;
SELECT count(*) AS not_in_order FROM generate_series(1, 60, 3) AS v,
	LATERAL (SELECT n, row_number() OVER (ORDER BY score DESC, key COLLATE "C") AS m FROM recommend('goods', v::text, 50) WITH ORDINALITY AS r (key, score, source, because, list, n)) AS r WHERE n <> m;
SELECT count(*) AS missed FROM generate_series(1, 60, 3) AS v, LATERAL (SELECT key FROM by_formula(v::text) ORDER BY score DESC, key COLLATE "C" LIMIT 10) AS f
WHERE NOT EXISTS (SELECT FROM recommend('goods', v::text, 10) AS r WHERE r.key = f.key);
-- Reasons are the visitor's own products in the catalog, and one of them has to do with the result.
SELECT bool_and(cardinality(because) BETWEEN 1 AND 3) AS some, bool_and(b.own) AS own, bool_and(b.linked) AS linked
FROM generate_series(1, 60, 3) AS v, LATERAL recommend('goods', v::text) AS r,
	LATERAL (SELECT bool_and(EXISTS (SELECT FROM recent(v::text) AS o WHERE o.item = k) AND EXISTS (SELECT FROM goods AS g WHERE g.sku = k)) AS own,
		r.source = 'content' OR bool_or(EXISTS (SELECT FROM pair AS p WHERE p.a = k AND p.b = r.key)) OR r.because = '{}' AS linked FROM unnest(r.because) AS k) AS b;
SELECT count(*) FROM generate_series(1, 60, 3) AS v, LATERAL recommend('goods', v::text, 100) AS r WHERE r.key = 'unknown' OR 'unknown' = ANY (r.because);

-- What is left out ----
SELECT count(*) FILTER (WHERE own) AS all_by_default, count(*) FILTER (WHERE bought) AS bought,
	(SELECT count(*) > 0 FROM recommend('goods', '7', 120, exclude_kinds => '{purchase}') AS r WHERE r.key IN (SELECT item FROM recent('7'))) AS seen_comes_again,
	(SELECT count(*) FROM recommend('goods', '7', 120, exclude_kinds => '{purchase}') AS r WHERE r.key IN (SELECT item FROM event WHERE who = 7 AND kind = 'purchase')) AS owned_does_not,
	(SELECT count(*) FROM recommend('goods', '7', 120, exclude_kinds => '{}') AS r) AS nothing_is_left_out,
	(SELECT count(*) FROM recommend('goods', '7', 120, exclude_kinds => ARRAY[NULL, 'none']) AS r) AS nothing_of_these_kinds
FROM (SELECT r.key IN (SELECT item FROM recent('7')) AS own, r.key IN (SELECT item FROM event WHERE who = 7 AND kind = 'purchase') AS bought FROM recommend('goods', '7', 120) AS r) AS r;
SELECT count(*), bool_and(g.stock > 0) FROM generate_series(1, 60, 3) AS v, LATERAL recommend('goods', v::text, 20, filter => 'stock > :s', filter_args => '{"s": 0}') AS r JOIN goods AS g ON g.sku = r.key;
SELECT array_agg(key ORDER BY key) FROM recommend('goods', '7', 20, filter => 'sku IN (''p99'', ''p100'', ''p3'')');
SELECT count(*) FROM recommend('goods', '7', 20, filter => 'false');

-- Diversity is maximal marginal relevance ----
CREATE FUNCTION mmr(visitor text, diversity float8) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	chosen text[] := '{}';
	next text;
BEGIN
	CREATE TEMP TABLE pool ON COMMIT DROP AS SELECT r.key, r.score::float8 / max(r.score) OVER () AS score, e.embedding
		FROM (SELECT * FROM recommend('goods', visitor, 25)) AS r JOIN goods_embedding AS e USING (key);
	FOR i IN 1 .. 5 LOOP
		SELECT p.key INTO next FROM pool AS p WHERE p.key <> ALL (chosen)
		ORDER BY (1 - diversity) * p.score - diversity * coalesce((SELECT max(greatest(similarity(p.embedding, c.embedding), 0)) FROM pool AS c WHERE c.key = ANY (chosen)), 0) DESC, p.score DESC, p.key COLLATE "C" LIMIT 1;
		chosen := chosen || next;
	END LOOP;
	DROP TABLE pool;
	RETURN chosen;
END
$$;
SELECT d, count(*) FILTER (WHERE mmr(v::text, d) = (SELECT array_agg(r.key ORDER BY r.n) FROM recommend('goods', v::text, 5, diversity => d::real) WITH ORDINALITY AS r (key, score, source, because, list, n))) AS the_same, count(*)
FROM unnest(ARRAY[0.0, 0.3, 0.7]) AS d, generate_series(1, 60, 10) AS v GROUP BY d ORDER BY d;

-- A search of one's own ----
SELECT count(*), bool_and(key IN (SELECT key FROM search('goods', 'red laptop', 200))) AS found_by_the_query, bool_or(key IN (SELECT item FROM recent('7'))) AS own
FROM recommend('goods', '7', 20, query => 'red laptop');
SELECT abs(r.score - (0.5 * s.score / max(s.score) OVER () + 0.5 * 0)) < 1e-5 AS only_the_query FROM recommend('goods', '7777', 3, query => 'red laptop') AS r JOIN search('goods', 'red laptop', 200) AS s USING (key);
SELECT count(DISTINCT k.keys) AS different_for_different_visitors FROM generate_series(1, 10) AS v, LATERAL (SELECT array_agg(r.key) AS keys FROM recommend('goods', v::text, 10, query => 'red laptop') AS r) AS k;
SELECT count(*) FROM recommend('goods', '7', 1000, query => 'red laptop');
SELECT count(*) FROM recommend('goods', '7', 20, query => 'red laptop', filter => 'stock = 0', diversity => 0.5) AS r JOIN goods AS g ON g.sku = r.key WHERE g.stock <> 0;
SELECT count(*) FROM recommend('goods', '7', 5, query => '');

-- New products and new visitors ----
CREATE TABLE liked AS SELECT item FROM recent('7') ORDER BY u * r ^ -0.2::float8 DESC LIMIT 1;
INSERT INTO goods SELECT 'new', title || ' again', 1 FROM goods WHERE sku = (SELECT item FROM liked);
-- Among those that nobody has.
SELECT source, because = ARRAY[(SELECT item FROM liked)] AS by_the_like, n FROM recommend('goods', '7', 100, filter => 'sku !~ ''^p([1-5]?[0-9]|60)$''')
	WITH ORDINALITY AS r (key, score, source, because, list, n) WHERE key = 'new';
CREATE TABLE popular AS SELECT v.item, row_number() OVER (ORDER BY v.n DESC, v.item COLLATE "C") AS n FROM visitors AS v JOIN goods AS g ON g.sku = v.item;
SELECT visitor, count(*), bool_and(r.key = p.item) AS the_popular_ones, bool_and(source = 'popular' AND because = '{}') AS and_says_so
FROM unnest(ARRAY['777', '0', '-5']) AS visitor, LATERAL recommend('goods', visitor, 15) WITH ORDINALITY AS r (key, score, source, because, list, n) LEFT JOIN popular AS p ON p.n = r.n GROUP BY visitor ORDER BY visitor;
SELECT count(*), count(DISTINCT key) FROM recommend('goods', '777', 1000);
-- Whose only product is unknown, or still to come, or worth nothing.
INSERT INTO event VALUES (100, 'unknown', '2024-01-01', 'view'), (101, 'p1', '2999-01-01', 'view'), (102, 'p1', '2024-01-01', 'bounce');
SELECT v, (SELECT string_agg(DISTINCT source, ' ') FROM recommend('goods', v::text, 100)) FROM unnest(ARRAY[101, 102]) AS v;
SELECT source, count(*) > 0, bool_and(because = '{}') AS nothing_to_name FROM recommend('goods', '100', 100) GROUP BY source ORDER BY source;
-- A shop without any event; a product from the first row.
CREATE TABLE little (id int PRIMARY KEY, title text);
CREATE TABLE quiet (who text, item text, at timestamptz);
SELECT create_catalog('little', 'little', 'id', 'title', 'shop-mini'), bind_events('little', 'quiet', 'who', 'item', 'at');
SELECT count(*) FROM recommend('little', 'x');
INSERT INTO little VALUES (1, 'cup');
SELECT key, score, source, because FROM recommend('little', 'x');
INSERT INTO little SELECT i, 'cup ' || i FROM generate_series(2, 30) AS i;
-- Events of keys that cannot be keys of the products.
INSERT INTO quiet VALUES ('x', 'no number', '2024-01-01'), ('x', '5', '2024-01-02'), ('y', 'no number', '2024-01-01'), ('y', '7', '2024-01-02'), ('z', 'none', '2024-01-02');
SELECT (SELECT key FROM recommend('little', 'x', 1)) AS x, (SELECT because FROM recommend('little', 'x', 1)) AS because, (SELECT count(*) FROM recommend('little', 'z')) AS z, (SELECT count(*) FROM recommend('little', 'none', 30)) AS nobody,
	(SELECT count(*) FROM recommend('little', 'x', filter => 'id > 5')) AS filtered, (SELECT count(*) FROM recommend_basket('little', '{no number,5,none}')) AS basket;
-- A search of one's own looks as deep as the list is long.
INSERT INTO little SELECT i, 'cup ' || i FROM generate_series(101, 500) AS i;
SELECT count(*) FROM recommend('little', 'none', 1000, query => 'cup');
SELECT count(*) FROM recommend('little', 'x', 1000, query => 'cup', filter => 'id > 100');

-- Baskets ----
REFRESH MATERIALIZED VIEW counted;
REFRESH MATERIALIZED VIEW first_come;
REFRESH MATERIALIZED VIEW visitors;
REFRESH MATERIALIZED VIEW pair;
SELECT count(*) AS compared, count(*) FILTER (WHERE abs(r.score - f.score) > 1e-5) AS other_score FROM (VALUES ('p1'), ('p8'), ('p15'), ('p33')) AS b (a), (VALUES ('p22'), ('p29')) AS c (a),
	LATERAL recommend_basket('goods', ARRAY[b.a, c.a, NULL, b.a, 'none'], 20) AS r
	LEFT JOIN LATERAL (
		WITH own AS (SELECT unnest(ARRAY[b.a, c.a]) AS item),
		part AS (SELECT g.sku, coalesce((SELECT sum(p.w / ((SELECT n FROM visitors AS v WHERE v.item = o.item) ^ 0.75 * greatest(coalesce((SELECT n FROM visitors AS v WHERE v.item = g.sku), 1), 1) ^ 0.3 + 3))
				FROM own AS o JOIN pair AS p ON p.a = o.item AND p.b = g.sku), 0) AS together,
			(SELECT max(greatest(similarity(m.embedding, e.embedding), 0)) FROM own AS o JOIN goods_embedding AS m ON m.key = o.item, goods_embedding AS e WHERE e.key = g.sku) AS content,
			coalesce((SELECT n FROM visitors AS v WHERE v.item = g.sku), 0) AS n
			FROM goods AS g WHERE g.sku NOT IN (SELECT item FROM own))
		SELECT sku, together / max(together) OVER () + 0.4 * content / max(content) OVER () + 0.01 * CASE WHEN together > 0 THEN n ELSE 0 END / max(CASE WHEN together > 0 THEN n END) OVER () AS score
		FROM part WHERE together > 0 OR content > 0) AS f ON f.sku = r.key;
SELECT bool_and(because <@ '{p1,p8}' AND cardinality(because) > 0) FROM recommend_basket('goods', '{p1,p8}');
SELECT (SELECT array_agg(key) FROM recommend_basket('goods', '{p1,p8}')) = (SELECT array_agg(key) FROM recommend_basket('goods', '{p1,p8,p1,p8,none}')) AS twice_is_once;
SELECT keys, (SELECT count(*) FROM recommend_basket('goods', keys)), (SELECT string_agg(DISTINCT source, ' ') FROM recommend_basket('goods', keys)) FROM unnest(ARRAY['{}', '{NULL}', '{none}', '{{p1,p2},{p3,p4}}', '{""}']) AS t, LATERAL CAST(t AS text[]) AS keys;
SELECT count(*), count(*) FILTER (WHERE key IN (SELECT 'p' || i FROM generate_series(1, 100) AS i)) AS in_the_basket
FROM recommend_basket('goods', (SELECT array_agg('p' || 1 + i % 100) FROM generate_series(1, 10000) AS i), 1000);
SELECT count(*) FROM recommend_basket('goods', NULL);
SELECT create_catalog('plain', 'goods', 'sku', 'title', 'shop-mini');
SELECT count(*), string_agg(DISTINCT source, ' ') FROM recommend_basket('plain', '{p1,p8}');
SELECT said('SELECT * FROM recommend(''plain'', ''7'')');
SELECT drop_catalog('plain');

-- What cannot be asked ----
SELECT said(s) FROM unnest(ARRAY['SELECT * FROM recommend(NULL, ''1'')', 'SELECT * FROM recommend(''goods'', NULL)', 'SELECT * FROM recommend(''goods'', ''1'', NULL)', 'SELECT * FROM recommend(''goods'', ''1'', diversity => NULL)',
	'SELECT * FROM recommend(''goods'', ''1'', -1)', 'SELECT * FROM recommend(''goods'', ''1'', 1001)', 'SELECT * FROM recommend(''goods'', ''1'', 0)', 'SELECT * FROM recommend(''goods'', ''1'', diversity => 1.5)', 'SELECT * FROM recommend(''goods'', ''1'', diversity => ''NaN'')',
	'SELECT * FROM recommend(''goods'', ''1'', diversity => -0.1)', 'SELECT * FROM recommend(''goods'', ''1'', diversity => 1)', 'SELECT * FROM recommend(''none'', ''1'')', 'SELECT * FROM recommend(''goods'', ''nobody'')', 'SELECT * FROM recommend(''goods'', ''1'', filter => ''price > 1'')',
	'SELECT * FROM recommend(''goods'', ''1'', filter => ''1 / stock > 0'')', 'SELECT * FROM recommend(''goods'', ''1'', filter => ''random() < 1'')', 'SELECT * FROM recommend(''goods'', ''1 OR true'')', 'SELECT * FROM recommend(''goods'', ''1'', query => '''''' OR true --'')',
	'SELECT * FROM recommend(''goods'', ''1'', exclude_kinds => ARRAY[''x'''') OR true --''])', 'SELECT * FROM recommend_basket(''goods'', ARRAY[''x'''') OR true --''])', 'SELECT * FROM recommend_basket(''goods'', ''{}'', 1001)', 'SELECT * FROM recommend_basket(''none'', ''{}'')',
	'SELECT record_feedback(''goods/x'', ''p1'')', 'SELECT record_feedback(''goods'', ''p1'')', 'SELECT record_feedback(''goods/------------------------------------'', ''p1'')', 'SELECT record_feedback(''none/00000000-0000-4000-8000-000000000000'', ''p1'')',
	'SELECT record_feedback(''goods/00000000-0000-4000-8000-000000000000'', ''p1'')', 'SELECT record_feedback(''goods/00000000-0000-4000-8000-000000000000'', ''p1'', '''')', 'SELECT record_feedback(''goods/00000000-0000-4000-8000-000000000000'', ''p1'', repeat(''x'', 101))',
	'SELECT estimate_blend(''goods'', ''{"speed": 1}'')', 'SELECT estimate_blend(''goods'', ''{"content": "x"}'')', 'SELECT estimate_blend(''none'', ''{}'')', 'SELECT * FROM forget(''none'', ''1'')', 'SELECT * FROM forget(''goods'', ''1 OR true'')']) AS s;

-- Lists and feedback ----
DELETE FROM goods_list;
CREATE TABLE shown AS SELECT * FROM recommend('goods', ' 07', 6) WITH ORDINALITY AS r (key, score, source, because, list, n);
SELECT count(DISTINCT list) AS lists, bool_and(list ~ '^goods/[-0-9a-f]{36}$') AS named FROM shown;
SELECT visitor, keys = (SELECT array_agg(key ORDER BY n) FROM shown) AS keys, sources = (SELECT array_agg(source ORDER BY n) FROM shown) AS sources, shown, explore, cardinality(parts) FROM goods_list;
SELECT bool_and(record_feedback(list, key) IS NOT NULL) FROM shown WHERE n <= 2;
SELECT bool_and(record_feedback(list, key) IS NOT NULL) FROM shown WHERE n <= 2;
SELECT bool_and(record_feedback(list, key, 'purchase') IS NOT NULL) FROM shown WHERE n = 1;
SELECT regexp_replace(said(format('SELECT record_feedback(%L, ''p120'')', (SELECT min(list) FROM shown))), '/[-0-9a-f]{36}', '/..');
SELECT said(format('SELECT record_feedback(%L, %L)', (SELECT min(list) FROM shown), 'x''); DROP TABLE goods; --')) ~ '^P0002' AS not_shown;
SELECT event, count(*) FROM goods_feedback GROUP BY event ORDER BY event;
SELECT count(*) AS differing FROM (
	(SELECT source, event, shown, events, rate FROM feedback WHERE catalog = 'goods')
	EXCEPT SELECT s.source, k.event, count(*), count(*) FILTER (WHERE s.n <= k.most), count(*) FILTER (WHERE s.n <= k.most)::float8 / count(*)
	FROM shown AS s, (VALUES ('click', 2), ('purchase', 1)) AS k (event, most) GROUP BY s.source, k.event) AS d;
BEGIN READ ONLY;
SELECT count(*), count(list) AS kept FROM recommend('goods', '7');
COMMIT;
SELECT alter_catalog('goods', settings => '{"keep_lists": 0}');
SELECT count(*), count(list) AS kept FROM recommend('goods', '7');
SELECT alter_catalog('goods', settings => '{"keep_lists": 1}');

-- The estimate is unbiased where the truth is known: visitors click with a probability that the product decides.  With the
-- list of another blend logged under exploration, the estimate is near what that blend gets when it is really used: within twice its interval, which errs once in 10,000.
CREATE FUNCTION clicks(key text, visitor int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT ('x' || left(md5(key || '/' || visitor), 4))::bit(16)::int < 65536 * CASE WHEN key ~ '[02468]$' THEN 0.6 ELSE 0.1 END $$;
CREATE TABLE truth AS SELECT 'logged' AS policy, avg(c) AS clicks FROM (SELECT v, count(*) FILTER (WHERE clicks(r.key, v)) AS c FROM generate_series(1, 60) AS v, LATERAL recommend('goods', v::text, 5) AS r GROUP BY v) AS t;
SELECT alter_catalog('goods', settings => '{"content": 3}');
INSERT INTO truth SELECT 'changed', avg(c) FROM (SELECT v, count(*) FILTER (WHERE clicks(r.key, v)) AS c FROM generate_series(1, 60) AS v, LATERAL recommend('goods', v::text, 5) AS r GROUP BY v) AS t;
SELECT alter_catalog('goods', settings => '{"content": 0.4, "explore": 1}');
DELETE FROM goods_list;
DELETE FROM goods_feedback;
CREATE TABLE logged AS SELECT v, t, r.* FROM generate_series(1, 60) AS v, generate_series(1, 10) AS t, LATERAL recommend('goods', v::text, 5 + 0 * t) AS r;
SELECT bool_and(record_feedback(list, key) IS NOT NULL) FROM logged WHERE clicks(key, v);
-- Exploration shows each place and each reserve equally often: expected 120 and 30 of 600 lists,
-- and 5 deviations (of 9.8 and 5.3) more or less.
SELECT bool_and(CASE WHEN k <= 5 THEN abs(600 - n - 120) < 50 ELSE abs(n - 30) < 27 END) AS even, count(*) AS places
FROM (SELECT k, count(*) FILTER (WHERE k = ANY (l.shown)) AS n FROM goods_list AS l, generate_series(1, 25) AS k GROUP BY k) AS p;
SELECT e.policy, e.lists, CASE e.policy WHEN 'changed' THEN abs(t.clicks - e.events_per_list) < e.high - e.low ELSE abs(e.events_per_list - (SELECT avg(c) FROM (SELECT count(*) FILTER (WHERE clicks(key, v)) AS c FROM logged GROUP BY list) AS l)) < 1e-9 END AS as_it_is, high - low < 1.5 AS says_something
FROM estimate_blend('goods', '{"content": 3}') AS e JOIN truth AS t USING (policy) ORDER BY e.policy;
-- Only the blend alone is explored.
CREATE TABLE unexplored AS SELECT list FROM recommend('goods', '7', query => 'cup') UNION SELECT list FROM recommend('goods', '7', diversity => 0.2);
SELECT count(*), bool_and(explore = 0) FROM goods_list WHERE list::text IN (SELECT split_part(list, '/', 2) FROM unexplored);
SELECT alter_catalog('goods', settings => '{"explore": 0}');

-- What cancels out in the table of pairs leaves nothing behind, compacted or not.
CREATE TABLE before AS SELECT v, r.key, r.score, r.source, r.because FROM generate_series(1, 60, 3) AS v, LATERAL recommend('goods', v::text, 50) AS r;
INSERT INTO event SELECT v, 'p' || 61 + (v * n) % 60, timestamptz '2024-06-01' + n * interval '1 hour', 'purchase' FROM generate_series(1, 90) AS v, generate_series(1, 4) AS n;
DELETE FROM event WHERE at BETWEEN '2024-06-01' AND '2024-07-01';
SELECT count(*) AS differing FROM (SELECT v, r.key, r.score, r.source, r.because FROM generate_series(1, 60, 3) AS v, LATERAL recommend('goods', v::text, 50) AS r EXCEPT TABLE before) AS d;
CALL refresh_catalog('goods');
SELECT count(*) AS differing FROM (SELECT v, r.key, r.score, r.source, r.because FROM generate_series(1, 60, 3) AS v, LATERAL recommend('goods', v::text, 50) AS r EXCEPT TABLE before) AS d;

-- More products than are compared one by one: with the exact index, which spares most of them, as without.  Some events name no product;
-- products that have left the source may still be embedded.
CREATE TABLE many AS SELECT i AS id, (SELECT string_agg((ARRAY['cup', 'lamp', 'laptop', 'mouse', 'shirt', 'tent', 'red', 'blue', 'small', 'large', 'steel', 'cotton', 'travel', 'office'])[1 + ('x' || substr(md5(i || '.' || k), 1, 6))::bit(24)::int % 14], ' ') FROM generate_series(1, 5) AS k) AS title FROM generate_series(1, 2500) AS i;
CREATE TABLE many_event AS SELECT v, (1 + power(('x' || substr(md5(v || ' ' || k), 1, 6))::bit(24)::int / 16777216.0, 2) * 2600 + v % 13 * 200)::int % 2600 AS id, timestamptz '2024-01-01' + k * interval '1 hour' AS at FROM generate_series(1, 1200) AS v, generate_series(1, 2 + v % 23) AS k;
SELECT create_catalog('many', 'many', 'id', 'title', 'shop-mini', sync => 'manual');
CALL refresh_catalog('many');
SELECT bind_events('many', 'many_event', 'v', 'id', 'at');
DELETE FROM many WHERE id % 10 = 3;
CREATE FUNCTION of_many() RETURNS TABLE (settings jsonb, v int, key text, score real, source text, because text[]) LANGUAGE plpgsql AS $$
BEGIN
	FOREACH settings IN ARRAY ARRAY['{"content": 0.4, "popular": 0.01}', '{"content": 0.01, "popular": 2}', '{"content": 5, "popular": 0}']::jsonb[] LOOP
		PERFORM alter_catalog('many', settings => of_many.settings);
		RETURN QUERY SELECT of_many.settings, g.v, r.key, r.score, r.source, r.because FROM generate_series(1, 120) AS g (v), LATERAL recommend('many', g.v::text, CASE WHEN g.v % 7 = 0 THEN 150 ELSE 10 END) AS r;
		RETURN QUERY SELECT of_many.settings, g.v, r.key, r.score, r.source, r.because FROM generate_series(1, 60) AS g (v), LATERAL recommend('many', g.v::text, 10, query => 'red travel cup') AS r;
		RETURN QUERY SELECT of_many.settings, g.v, r.key, r.score, r.source, r.because FROM generate_series(1, 60) AS g (v), LATERAL recommend('many', g.v::text, 10, filter => 'id % 50 = 1') AS r;
		RETURN QUERY SELECT of_many.settings, g.v, r.key, r.score, r.source, r.because FROM generate_series(1, 60) AS g (v), LATERAL recommend_basket('many', ARRAY[g.v, g.v + 100]::text[], 10) AS r;
	END LOOP;
	RETURN QUERY SELECT NULL::jsonb, s.semantic_rank, s.key, s.score, m.mode, ARRAY[q.query, s.semantic_score::text]
		FROM (VALUES ('hybrid'), ('semantic')) AS m (mode), (VALUES ('red travel cup'), ('something to sleep in outdoors'), ('laptop')) AS q (query),
			(VALUES (NULL), ('id % 50 = 1')) AS f (filter), LATERAL search('many', q.query, 150, filter => f.filter, mode => m.mode) AS s;
END
$$;
CREATE TABLE with_index AS SELECT * FROM of_many();
DROP INDEX many_embedding_embedding_idx;
CREATE TABLE without_index AS SELECT * FROM of_many();
SELECT count(*) > 5000 AS enough, (SELECT count(*) FROM (TABLE with_index EXCEPT ALL TABLE without_index) AS d) AS differing, (SELECT count(*) FROM without_index) = count(*) AS as_many FROM with_index;

SELECT drop_catalog('goods'), drop_catalog('little'), drop_catalog('many');
DROP SCHEMA recommended CASCADE;
