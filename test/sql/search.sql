-- search(), similar(), search_facets(): what each column is, modes, filters, spelling, languages, bad input.
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA searched;
SET search_path = searched, product_llm;
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM product_llm.models WHERE model = 'shop-mini') THEN
		PERFORM product_llm.load_model('shop-mini');
	END IF;
END $$;
-- What a statement says when it fails.
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

CREATE TABLE goods (id integer PRIMARY KEY, title text, body text, price numeric, brand text, tags text[], added date, "odd ""col" text);
INSERT INTO goods
	SELECT i, (ARRAY['red', 'blue', 'green', 'black', 'white', 'yellow', 'purple', 'orange'])[1 + i % 8] || ' ' ||
		(ARRAY['cup', 'shoe', 'lamp', 'chair', 'table', 'laptop', 'phone', 'jacket', 'kettle', 'pillow'])[1 + i / 8 % 10],
		'number ' || i || ' made of ' || (ARRAY['wood', 'steel', 'cotton', 'glass', 'leather', 'plastic', 'wool'])[1 + i % 7],
		i % 50, (ARRAY['Acme', 'Bolt', 'Crux', NULL])[1 + i % 4], CASE WHEN i % 5 = 0 THEN NULL ELSE ARRAY['a' || i % 3, 'b' || i % 2, 'a' || i % 3] END,
		date '2024-01-01' + i, CASE WHEN i % 2 = 0 THEN 'even' END
	FROM generate_series(1, 640) AS i;
INSERT INTO goods (id, title, body, price) VALUES
	(1001, 'Samsung 860 EVO MZ-75E500B', 'solid state drive 500 GB', 60), (1002, 'Samsung 870 MZ-76E250B', 'solid state drive 250 GB', 40),
	(1003, '无线蓝牙耳机', '降噪 头戴式', 30), (1004, '机械键盘', '红轴 游戏', 50), (1005, 'ノートパソコン 15インチ', '軽い', 700), (1006, 'ワイヤレスマウス', '静音', 20),
	(1007, '무선 이어폰', '블루투스 5.0', 30), (1008, '기계식 키보드', '청축', 60), (1009, 'หูฟังไร้สาย', 'บลูทูธ', 25), (1010, 'แป้นพิมพ์', 'เงียบ', 30),
	(1011, 'Bluetooth 耳机 wireless', 'mixed 语言', 35), (1012, 'Waschmaschinen', 'leise und sparsam', 400), (1013, NULL, NULL, 1), (1014, '', '', 1);
SELECT create_catalog('goods', 'goods', 'id', 'concat_ws('' '', title, body)', 'shop-mini', title => 'title', language => 'product_llm.shop_english');

-- Columns ----
CREATE TABLE query (query text);
INSERT INTO query VALUES ('red laptop'), ('wooden chair'), ('something to drink from'), ('leather'), ('number 77'), ('warm'), ('耳机'), ('MZ75E500B');
CREATE TABLE found AS
	SELECT m.mode, q.query, r.* FROM query AS q, (VALUES ('hybrid'), ('semantic'), ('lexical')) AS m (mode),
		LATERAL (SELECT row_number() OVER () AS n, s.* FROM search('goods', q.query, 30, mode => m.mode) AS s) AS r;
SELECT mode, count(*), count(DISTINCT (query, key)) = count(*) AS once, bool_and(semantic_rank IS NULL) AS no_semantic_rank,
	bool_and(semantic_score IS NULL) AS no_semantic_score, bool_and(lexical_rank IS NULL) AS no_lexical_rank, bool_and(lexical_score IS NULL) AS no_lexical_score
FROM found GROUP BY mode ORDER BY mode;
-- Best first, and by key where scores are equal.  A score has more digits than are returned: one that looks equal may be less, if its parts are.
SELECT count(*) FROM (
	SELECT score, key, blend, lag(score) OVER w AS score_before, lag(key) OVER w AS key_before, lag(blend) OVER w AS blend_before
	FROM (SELECT *, 0.3 * coalesce(semantic_score::float8, 0) + 0.7 * coalesce(lexical_score::float8, 0) AS blend FROM found) AS f
	WINDOW w AS (PARTITION BY mode, query ORDER BY n)) AS f
WHERE score > score_before OR score = score_before AND key COLLATE "C" < key_before AND blend >= blend_before;
-- Ranks are the order of their scores, and in a mode of its own the only order.
SELECT count(*) FROM found AS a JOIN found AS b USING (mode, query)
WHERE a.semantic_rank < b.semantic_rank AND a.semantic_score < b.semantic_score OR a.lexical_rank < b.lexical_rank AND a.lexical_score < b.lexical_score;
SELECT bool_and(semantic_rank = n AND score = semantic_score) FROM found WHERE mode = 'semantic';
SELECT bool_and(lexical_rank = n AND score = lexical_score) FROM found WHERE mode = 'lexical';
SELECT bool_and(abs(score - (0.3 * coalesce(semantic_score, 0) + 0.7 * coalesce(lexical_score, 0))) < 1e-6) AS formula,
	bool_and(lexical_score BETWEEN 0 AND 1) AS lexical_is_a_share, bool_and(semantic_score BETWEEN -1 AND 1.00001) AS semantic_is_a_cosine
FROM found WHERE mode = 'hybrid';
-- Semantic scores are cosines, and no product is nearer than those found.
SELECT bool_and(abs(f.semantic_score - similarity(embed('shop-mini', f.query, 'query'), embed('shop-mini', concat_ws(' ', g.title, g.body)))) < 1e-5)
FROM found AS f JOIN goods AS g ON g.id::text = f.key WHERE f.mode = 'semantic';
SELECT q.query, count(*) FILTER (WHERE f.key IS NULL) AS missed
FROM query AS q CROSS JOIN LATERAL (SELECT e.key FROM goods_embedding AS e ORDER BY similarity(embed('shop-mini', q.query, 'query'), e.embedding) DESC, e.key LIMIT 30) AS e
LEFT JOIN found AS f ON f.query = q.query AND f.mode = 'semantic' AND f.key = e.key GROUP BY q.query HAVING count(*) FILTER (WHERE f.key IS NULL) > 0;
-- Words find exactly the products that have some of them.
SELECT array_agg(key::int ORDER BY key::int) = (SELECT array_agg(id) FROM goods WHERE title LIKE 'red laptop%' OR title LIKE 'red %' OR title LIKE '% laptop')
FROM search('goods', 'red laptop', 10000, mode => 'lexical');
SELECT bool_and(g.title = 'red laptop') FROM search('goods', 'red laptop', 8, mode => 'lexical') AS s JOIN goods AS g ON g.id::text = s.key;
-- The same again.
SELECT count(*) AS differences FROM (
	SELECT m.mode, q.query, r.* FROM query AS q, (VALUES ('hybrid'), ('semantic'), ('lexical')) AS m (mode),
		LATERAL (SELECT row_number() OVER () AS n, s.* FROM search('goods', q.query, 30, mode => m.mode) AS s) AS r
	EXCEPT SELECT * FROM found) AS d;
-- A longer list begins like a shorter one.
SELECT bool_and(a.key = b.key) FROM (SELECT row_number() OVER () AS n, key FROM search('goods', 'red laptop', 5)) AS a
JOIN (SELECT row_number() OVER () AS n, key FROM search('goods', 'red laptop', 100)) AS b USING (n);

-- Filters ----
CREATE TABLE filters (filter text, args jsonb);
INSERT INTO filters VALUES (NULL, '{}'), ('true', '{}'), ('price < :most', '{"most": 10}'), ('price BETWEEN $1 AND $2', '[10, 20]'), ('id = :id', '{"id": 333}'),
	('id <> ALL (:ids)', '{"ids": [1, 2, 3]}'), ('brand = :brand', '{"brand": "Acme"}'), ('brand IS NULL', '{}'), ('false', '{}'), ('NULL', '{}'), ('tags @> :t', '{"t": ["a1"]}'),
	('added >= :day', '{"day": "2025-09-01"}'), ('goods.price = 7', NULL), ('id % 100 = 3', '{}'), ('"odd ""col" = :"x y"', '{"x y": "even"}'),
	('id IN (SELECT g.id FROM goods AS g WHERE g.price = 3)', '{}');
-- Never fewer than asked while enough rows match, and none that does not; whatever the depth.
CREATE FUNCTION matching(filter text, args jsonb) RETURNS SETOF integer LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE 'SELECT id FROM (SELECT id FROM goods WHERE ' || product_llm.filter_condition('goods', filter, args) || ') AS g';
END
$$;
SELECT f.filter, (SELECT count(*) FROM matching(f.filter, f.args)) AS matching,
	array_agg(r.found - least(n.n, (SELECT count(*) FROM matching(f.filter, f.args))) ORDER BY n.n, m.mode) AS missing, sum(r.wrong) AS wrong
FROM filters AS f, (VALUES (1), (10), (200), (5000)) AS n (n), (VALUES ('hybrid'), ('semantic')) AS m (mode),
	LATERAL (SELECT count(*) AS found, count(*) FILTER (WHERE s.key::int NOT IN (SELECT * FROM matching(f.filter, f.args))) AS wrong
			 FROM search('goods', 'red laptop', n.n, f.filter, f.args, m.mode) AS s) AS r
GROUP BY f.filter, f.args ORDER BY f.filter NULLS FIRST;
SELECT f.filter, (SELECT array_agg(key::int ORDER BY key::int) FROM search('goods', 'laptop', 1000, f.filter, f.args, 'lexical'))
	IS NOT DISTINCT FROM (SELECT array_agg(id ORDER BY id) FROM goods WHERE title LIKE '%laptop' AND id IN (SELECT * FROM matching(f.filter, f.args))) AS words_are_right
FROM filters AS f ORDER BY f.filter NULLS FIRST;
-- A filtered list is the long list without what the filter takes.
SELECT f.filter, (SELECT array_agg(s.key ORDER BY s.n) FROM search('goods', 'red laptop', 12, f.filter, f.args, 'semantic')
		WITH ORDINALITY AS s (key, score, semantic_rank, lexical_rank, semantic_score, lexical_score, n))
	IS NOT DISTINCT FROM (SELECT array_agg(b.key ORDER BY b.n) FROM (
		SELECT s.key, s.n FROM search('goods', 'red laptop', 10000, mode => 'semantic')
			WITH ORDINALITY AS s (key, score, semantic_rank, lexical_rank, semantic_score, lexical_score, n)
		WHERE s.key::int IN (SELECT * FROM matching(f.filter, f.args)) ORDER BY s.n LIMIT 12) AS b) AS same
FROM filters AS f ORDER BY f.filter NULLS FIRST;

-- Spelling, part numbers ----
SELECT q, (SELECT string_agg(DISTINCT split_part(g.title, ' ', 2), ' ') FROM search('goods', q, 5, mode => 'lexical') AS s JOIN goods AS g ON g.id::text = s.key) AS finds
FROM unnest(ARRAY['labtop', 'laptpo', 'lapto', 'laptopp', 'LAPTOP', 'Laptops', 'ketle', 'kettel', 'jakcet', 'pilow', 'xylophone', 'zzzz', 'cpu']) AS q;
SELECT n, (SELECT s.key FROM search('goods', q, 1) AS s) AS hybrid, (SELECT s.key FROM search('goods', q, 1, mode => 'lexical') AS s) AS lexical
FROM unnest(ARRAY['MZ-75E500B', 'mz-75e500b', 'MZ75E500B', 'mz 75e500b', 'MZ_75E500B', 'MZ/75E500B', 'samsung 75e500b', 'MZ-76E250B', 'MZ‑75E500B']) WITH ORDINALITY AS t (q, n) ORDER BY n;
-- A number that nobody has is not taken for another.
SELECT count(*) FROM search('goods', 'MZ-75E500C', 10, mode => 'lexical') WHERE key = '1001' AND score > 0.9;

-- Languages ----
SELECT n, (SELECT string_agg(s.key, ' ' ORDER BY s.n) FROM (SELECT key, row_number() OVER () AS n FROM search('goods', q, 3, mode => 'lexical')) AS s) AS words,
	(SELECT s.key FROM search('goods', q, 1) AS s) AS hybrid
FROM unnest(ARRAY['耳机', '蓝牙耳机', '键盘', 'ノートパソコン', 'マウス', 'ﾏｳｽ', '이어폰', '키보드', 'หูฟัง', 'แป้นพิมพ์', 'bluetooth 耳机', 'wireless 耳机 语言']) WITH ORDINALITY AS t (q, n) ORDER BY n;
SELECT create_catalog('deutsch', 'goods', 'id', 'concat_ws('' '', title, body)', 'shop-mini', title => 'title', language => 'german');
SELECT (SELECT key FROM search('deutsch', 'Waschmaschine', 1, mode => 'lexical')) AS stemmed, (SELECT key FROM search('deutsch', 'sparsame', 1, mode => 'lexical')) AS stemmed_too,
	(SELECT count(*) FROM search('goods', 'sparsamer', 1, mode => 'lexical') WHERE lexical_score > 0.99) AS not_in_english;
SELECT drop_catalog('deutsch');

-- Queries that say little, or much ----
SELECT n, (SELECT count(*) FROM search('goods', q, 3, mode => 'lexical')) AS lexical,
	(SELECT count(*) FROM search('goods', q, 3, mode => 'semantic')) AS semantic, (SELECT count(*) FROM search('goods', q, 3)) AS hybrid
FROM unnest(ARRAY['', ' ', E'\t\n', 'the of and', '!?.,;-()', '''', '\', '%', 'a & b | !c <-> d:*', '(((', '🎧', E'\u200b', repeat('x', 100000), repeat('laptop ', 14300),
	(SELECT string_agg('w' || i, ' ') FROM generate_series(1, 16000) AS i)]) WITH ORDINALITY AS t (q, n) ORDER BY n;
SELECT said(s) FROM unnest(ARRAY[
	'SELECT * FROM search(NULL, ''x'')', 'SELECT * FROM search(''goods'', NULL)', 'SELECT * FROM search(''goods'', ''x'', NULL)', 'SELECT * FROM search(''goods'', ''x'', mode => NULL)',
	'SELECT * FROM search(''goods'', ''x'', -1)', 'SELECT * FROM search(''goods'', ''x'', 10001)', 'SELECT * FROM search(''goods'', ''x'', 0)', 'SELECT * FROM search(''goods'', ''x'', 10000)',
	'SELECT * FROM search(''goods'', ''x'', mode => ''fast'')', 'SELECT * FROM search(''goods'', ''x'', mode => ''Hybrid'')', 'SELECT * FROM search(''none'', ''x'')', 'SELECT * FROM search('''', ''x'')',
	'SELECT * FROM search(''goods'', ''x'', filter => ''nonesuch = 1'')', 'SELECT * FROM search(''goods'', ''x'', filter => '''')', 'SELECT * FROM search(''goods'', ''x'', filter_args => ''{"x": 1}'')',
	'SELECT * FROM search(''goods'', ''x'', filter => ''price > :p'')', 'SELECT * FROM search(''goods'', ''x'', filter => ''price > :p'', filter_args => ''{"p": "many"}'')',
	'SELECT * FROM similar(''goods'', ''none'')', 'SELECT * FROM similar(''goods'', ''1'', -1)', 'SELECT * FROM similar(''goods'', ''1'', 10001)', 'SELECT * FROM similar(''none'', ''1'')',
	'SELECT * FROM similar(''goods'', '''')', 'SELECT * FROM similar(''goods'', ''1'''' OR true'')',
	'SELECT * FROM search_facets(''goods'', ''x'', NULL)', 'SELECT * FROM search_facets(''goods'', ''x'', ARRAY[NULL])', 'SELECT * FROM search_facets(''goods'', ''x'', ''{}'')', 'SELECT * FROM search_facets(''goods'', NULL, ''{brand}'')',
	'SELECT * FROM search_facets(''goods'', ''x'', ''{nonesuch}'')', 'SELECT * FROM search_facets(''goods'', ''x'', ''{ctid}'')', 'SELECT * FROM search_facets(''goods'', ''x'', ''{""}'')',
	'SELECT * FROM search_facets(''goods'', ''x'', ARRAY[''brand::text FROM goods; DROP TABLE goods; --''])', 'SELECT * FROM search_facets(''goods'', ''x'', ARRAY[''brand" FROM goods --''])',
	'SELECT * FROM search_facets(''goods'', ''x'', ''{brand}'', -1)', 'SELECT * FROM search_facets(''goods'', ''x'', ''{brand}'', depth => 10001)', 'SELECT * FROM search_facets(''none'', ''x'', ''{brand}'')']) AS s;
SELECT count(*) FROM search('goods', 'x', 0);

-- Injection: every text is only a text.
SELECT t, said(format('SELECT * FROM search(%L, %L)', t, t)) AS catalog, said(format('SELECT * FROM search(''goods'', %L)', t)) AS query,
	said(format('SELECT * FROM search(''goods'', ''x'', filter => ''title = :t'', filter_args => jsonb_build_object(''t'', %L::text))', t)) AS value,
	said(format('SELECT * FROM similar(''goods'', %L)', t)) AS key
FROM unnest(ARRAY['''; DROP TABLE goods; --', ''' OR true --', '$$; DROP TABLE goods; $$', '%s %n %1$I', '"', '\''', 'x'') UNION SELECT * FROM goods --', ':t', '$1']) AS t;
SELECT count(*) AS still_there FROM goods;

-- Filters that would do more, or fail ----
CREATE FUNCTION writes() RETURNS boolean LANGUAGE sql VOLATILE AS 'INSERT INTO goods (id) VALUES (-1); SELECT true';
CREATE FUNCTION says_stable() RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN INSERT INTO goods (id) VALUES (-1); RETURN true; END $$;
CREATE FUNCTION slow(integer) RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN true; END $$;
SELECT f, said(format('SELECT * FROM search(''goods'', ''laptop'', filter => %L)', f)) AS search,
	said(format('SELECT * FROM search_facets(''goods'', ''laptop'', ''{brand}'', filter => %L)', f)) AS facets
FROM unnest(ARRAY['1 / (price - price) > 0', 'writes()', 'says_stable()', 'pg_sleep(10) IS NULL', 'pg_terminate_backend(pg_backend_pid())', 'lo_unlink(1) = 1',
	'set_config(''search_path'', ''x'', false) IS NULL', 'EXISTS (SELECT FROM goods FOR UPDATE)', 'true; DROP TABLE goods', 'true) OR (true', 'pg_read_file(''PG_VERSION'') IS NULL']) AS f;
SELECT count(*) FROM goods WHERE id = -1;
SET statement_timeout = 300;
SELECT count(*) FROM search('goods', 'laptop', 5, 'slow(id)');
RESET statement_timeout;
CREATE ROLE regress_searcher;
GRANT USAGE ON SCHEMA searched TO regress_searcher;
GRANT SELECT ON goods TO regress_searcher;
REVOKE EXECUTE ON FUNCTION slow(integer) FROM PUBLIC;
CREATE TABLE secret AS SELECT 1 AS id;
SET ROLE regress_searcher;
SELECT count(*) FROM search('goods', 'laptop', 5);
SELECT count(*) FROM search('goods', 'laptop', 5, 'slow(id)');
SELECT count(*) FROM search('goods', 'laptop', 5, 'id IN (SELECT id FROM searched.secret)');
RESET ROLE;

-- similar() ----
SELECT count(*), count(*) FILTER (WHERE key = '77') AS itself, bool_and(n = m) AS in_order
FROM (SELECT key, row_number() OVER () AS n, row_number() OVER (ORDER BY score DESC, key COLLATE "C") AS m FROM similar('goods', '77', 50)) AS s;
SELECT bool_and(abs(s.score - similarity(a.embedding, b.embedding)) < 1e-6)
FROM similar('goods', '77', 50) AS s, goods_embedding AS a, goods_embedding AS b WHERE a.key = '77' AND b.key = s.key;
SELECT (SELECT count(*) FROM similar('goods', '77')) AS by_default, (SELECT count(*) FROM similar('goods', '77', 0)) AS none,
	(SELECT count(*) FROM similar('goods', '77', 10000)) - (SELECT count(*) - 1 FROM goods) AS all_others_missing, (SELECT count(*) FROM similar('goods', NULL)) AS null_gives_none;
-- Two products with the same text are nearest to each other; the key is still left out.
INSERT INTO goods (id, title, body) VALUES (0, 'red laptop', 'number 0'), (-5, 'red laptop', 'number 0');
SELECT key, score > 0.9999 AS the_same FROM similar('goods', '0', 1);
SELECT key FROM similar('goods', '-5', 1);
-- What has left the source without a trigger does not make a list shorter.
ALTER TABLE goods DISABLE TRIGGER USER;
DELETE FROM goods WHERE id IN (SELECT key::int FROM similar('goods', '77', 60));
SELECT count(*) FROM similar('goods', '77', 20);
SELECT count(*) FROM search('goods', (SELECT title FROM goods WHERE id = 77), 20);
SELECT said('SELECT * FROM similar(''goods'', ' || quote_literal(key) || ')') FROM goods_embedding WHERE key NOT IN (SELECT id::text FROM goods) ORDER BY key LIMIT 1;
ALTER TABLE goods ENABLE TRIGGER USER;

-- search_facets() ----
CALL refresh_catalog('goods');
CREATE FUNCTION differing_facets(query text, filter text, mode text, depth int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	EXECUTE $q$
		WITH hit AS (SELECT g.* FROM search('goods', $1, $4, $2, mode => $3) AS s JOIN goods AS g ON g.id::text = s.key),
		counted AS (SELECT 'brand' AS facet, brand AS value, count(*) FROM hit WHERE brand IS NOT NULL GROUP BY brand
			UNION ALL SELECT 'price', price::text, count(*) FROM hit WHERE price IS NOT NULL GROUP BY price
			UNION ALL SELECT 'added', added::text, count(*) FROM hit WHERE added IS NOT NULL GROUP BY added
			UNION ALL SELECT 'odd "col', "odd ""col", count(*) FROM hit WHERE "odd ""col" IS NOT NULL GROUP BY 2
			UNION ALL SELECT 'tags', t, count(DISTINCT id) FROM hit, unnest(tags) AS t GROUP BY t),
		given AS (SELECT * FROM search_facets('goods', $1, ARRAY['brand', 'price', 'added', 'odd "col', 'tags'], 10000, $2, mode => $3, depth => $4))
		SELECT (SELECT count(*) FROM (TABLE given EXCEPT ALL TABLE counted) AS a) + (SELECT count(*) FROM (TABLE counted EXCEPT ALL TABLE given) AS b)
	$q$ INTO n USING query, filter, mode, depth;
	RETURN n;
END
$$;
SELECT q.query, q.filter, differing_facets(q.query, q.filter, m.mode, d.depth) AS differing
FROM (VALUES ('red laptop', NULL), ('laptop', 'price < 10'), ('laptop', 'false'), ('xylophone', NULL), ('', NULL)) AS q (query, filter),
	(VALUES ('lexical'), ('hybrid'), ('semantic')) AS m (mode), (VALUES (1), (50), (10000)) AS d (depth)
WHERE differing_facets(q.query, q.filter, m.mode, d.depth) <> 0;
SELECT facet, count(*), bool_and(n = m) AS in_order FROM (SELECT facet, row_number() OVER (PARTITION BY facet) AS n,
	row_number() OVER (PARTITION BY facet ORDER BY products DESC, value COLLATE "C") AS m FROM search_facets('goods', 'red laptop', '{brand,tags,price}', 3)) AS f GROUP BY facet ORDER BY facet;
SELECT count(*) FROM search_facets('goods', 'red laptop', '{brand}', 0);

-- Names ----
CREATE TABLE "odd ""goods" ("the ""key" text PRIMARY KEY, "te""xt" text, value text[]);
INSERT INTO "odd ""goods" VALUES ('it''s', 'red shoes', '{x,y}'), ('a"b', 'blue shoes', '{x}'), ('back\slash', 'green hat', NULL), ('', 'yellow sock', '{}'), ('a/b,{}', 'brown sock', '{NULL}');
SELECT create_catalog('odd "cat''alog/%s', '"odd ""goods"', 'the "key', '"te""xt"', 'shop-mini');
SELECT key FROM search('odd "cat''alog/%s', 'shoes', 2, '"the ""key" <> :k', '{"k": "it''s"}');
SELECT count(*) FROM search('odd "cat''alog/%s', 'sock');
SELECT k, (SELECT count(*) FROM similar('odd "cat''alog/%s', k)) FROM unnest(ARRAY['it''s', 'a"b', 'back\slash', '', 'a/b,{}']) AS k;
SELECT * FROM search_facets('odd "cat''alog/%s', 'shoes', ARRAY['te"xt', 'value', 'the "key']);
SELECT drop_catalog('odd "cat''alog/%s');

-- Tables that inherit from the source are not in the catalog, whether rows are hidden from the caller or not ----
CREATE TABLE parent (id int PRIMARY KEY, title text);
CREATE TABLE child () INHERITS (parent);
INSERT INTO parent VALUES (1, 'red cup'), (2, 'blue cup');
INSERT INTO child VALUES (3, 'red cup'), (1, 'green cup');
SELECT create_catalog('family', 'parent', 'id', 'title', 'shop-mini', sync => 'manual');
CALL refresh_catalog('family');
SELECT products, embedded, stale FROM product_llm.catalogs WHERE catalog = 'family';
CREATE FUNCTION family() RETURNS TABLE (what text, found text) LANGUAGE sql STABLE AS $$
	SELECT 'search', string_agg(key, ' ' ORDER BY key) FROM product_llm.search('family', 'cup')
	UNION ALL SELECT 'filter', string_agg(key, ' ' ORDER BY key) FROM product_llm.search('family', 'cup', filter => 'id > 0')
	UNION ALL SELECT 'similar', string_agg(key, ' ' ORDER BY key) FROM product_llm.similar('family', '1')
	UNION ALL SELECT 'facets', string_agg(value || ' ' || products, ', ' ORDER BY value) FROM product_llm.search_facets('family', 'cup', '{title}')
	UNION ALL SELECT 'basket', string_agg(key, ' ' ORDER BY key) FROM product_llm.recommend_basket('family', '{1}')
$$;
SELECT * FROM family();
GRANT SELECT ON parent, child TO regress_searcher;
ALTER TABLE parent ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON parent USING (true);
SET ROLE regress_searcher;
SELECT * FROM family();
RESET ROLE;
SELECT drop_catalog('family');

-- The nearest by an index need pgvector ----
SELECT said('SELECT alter_catalog(''goods'', nearest => ''hnsw'')') FROM pg_catalog.pg_available_extensions WHERE name = 'plpgsql' AND NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector');
SELECT said('SELECT alter_catalog(''goods'', nearest => ''flat'')');
SELECT nearest FROM product_llm.catalogs WHERE catalog = 'goods';

SELECT drop_catalog('goods');
DROP OWNED BY regress_searcher;
DROP ROLE regress_searcher;
SET client_min_messages = warning;
DROP SCHEMA searched CASCADE;
