-- Catalogs: what they are made of, bad input, keys of every type, rights, odd names, what an UPDATE costs.
\set golden `echo "${PLM_GOLDEN:-$PWD/test/golden}"`
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT count(product_llm.drop_model(model)) >= 0 AS start_empty FROM product_llm.models;
SELECT product_llm.load_model('tiny', :'golden' || '/models/bert-mean');
SELECT product_llm.load_model('other', :'golden' || '/models/bert-max');
SET product_llm.default_model = 'tiny';

-- How a catalog stands: products, embedded, stale, words that agree, and what semantic search finds first for a text.
CREATE FUNCTION standing(name text, OUT products bigint, OUT embedded bigint, OUT stale bigint, OUT words bigint) LANGUAGE plpgsql AS $$
DECLARE
	c product_llm.catalog := product_llm.catalog_row(name);
BEGIN
	SELECT s.products, s.embedded, s.stale INTO products, embedded, stale FROM product_llm.catalogs AS s WHERE s.catalog = name;
	EXECUTE format('SELECT count(*) FROM %s AS w JOIN %s AS v ON product_llm.key_text(v.key) = w.key AND w.text_hash = product_llm.words_hash(v.title, v.content)',
		c.words, c.texts) INTO words;
END
$$;
-- What a statement says when it fails; its effects are undone in any case.
CREATE FUNCTION said(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text; h text; s text; d text;
BEGIN
	EXECUTE statement;
	RAISE SQLSTATE 'PLM00';
EXCEPTION WHEN SQLSTATE 'PLM00' THEN
	RETURN 'no error';
WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT, s = RETURNED_SQLSTATE, d = PG_EXCEPTION_DETAIL;
	RETURN s || ' ' || m || CASE WHEN d <> '' THEN ' | ' || d ELSE '' END || CASE WHEN h <> '' THEN ' | ' || h ELSE '' END;
END
$$;

-- ---- in step with each kind of statement ----

CREATE TABLE product (id int PRIMARY KEY, title text, body text, price numeric, changed timestamptz);
INSERT INTO product VALUES (1, 'red shoes', 'of leather', 10), (2, 'green tea', '', 3), (3, NULL, NULL, 5), (4, '', '', 5);
SELECT product_llm.create_catalog('shop', 'product', 'id', $$coalesce(title, '') || ' ' || coalesce(body, '')$$, title => 'title');
SELECT * FROM standing('shop');
INSERT INTO product VALUES (5, 'blue hat', 'of wool', 8), (6, 'white cup', 'of china', 2);
UPDATE product SET title = 'brown shoes' WHERE id = 1;
UPDATE product SET id = 20 WHERE id = 2;
DELETE FROM product WHERE id = 6;
INSERT INTO product VALUES (5, 'x', 'y', 1), (7, 'silver ring', '', 100)
	ON CONFLICT (id) DO UPDATE SET title = 'black hat';
COPY product (id, title) FROM stdin;
8	kettle
9	\N
\.
SELECT * FROM standing('shop');
SELECT key, (SELECT title FROM product WHERE id = key::int) FROM product_llm.search('shop', 'black hat', 1);
BEGIN;
DELETE FROM product;
SELECT * FROM standing('shop');
SAVEPOINT s;
INSERT INTO product VALUES (1, 'again');
SELECT * FROM standing('shop');
ROLLBACK TO s;
SELECT * FROM standing('shop');
ROLLBACK;
SELECT * FROM standing('shop');
WITH gone AS (DELETE FROM product WHERE id = 7 RETURNING *), new AS (INSERT INTO product SELECT id + 100, title FROM gone RETURNING 1)
UPDATE product SET body = 'of iron' WHERE id = 8;
SELECT * FROM standing('shop');
TRUNCATE product;
SELECT * FROM standing('shop');
SELECT count(*) AS words_left FROM shop_words;
INSERT INTO product SELECT i, 'product ' || i, repeat('word ', i % 5), i FROM generate_series(1, 50) AS i;
SELECT * FROM standing('shop');

-- ---- by hand: manual, another model, triggers that were off ----

SELECT product_llm.alter_catalog('shop', sync => 'manual');
UPDATE product SET title = 'changed' WHERE id <= 3;
DELETE FROM product WHERE id = 50;
SELECT * FROM standing('shop');
CALL product_llm.refresh_catalog('shop');
SELECT * FROM standing('shop');
SELECT product_llm.alter_catalog('shop', sync => 'trigger');
SELECT product_llm.alter_catalog('shop', model => 'other');
SELECT model, next_model FROM product_llm.catalogs;
UPDATE product SET title = 'changed again' WHERE id <= 3;
INSERT INTO product VALUES (60, 'in between');
DELETE FROM product WHERE id = 49;
CALL product_llm.refresh_catalog('shop');
SELECT model, next_model, products, embedded, stale FROM product_llm.catalogs;
SELECT bool_and(e.embedding = product_llm.embed('other', v.content)) AS embedded_by_the_other
FROM shop_text AS v, product_llm.catalog AS c, LATERAL (SELECT 1) AS one,
	LATERAL (SELECT embedding FROM shop_embedding_1 WHERE key = v.key::text) AS e;
SELECT product_llm.alter_catalog('shop', model => 'tiny');
SELECT product_llm.alter_catalog('shop', model => 'other');
SELECT model, next_model FROM product_llm.catalogs;
ALTER TABLE product DISABLE TRIGGER USER;
UPDATE product SET title = 'unseen' WHERE id = 5;
INSERT INTO product VALUES (61, 'unseen');
DELETE FROM product WHERE id = 6;
ALTER TABLE product ENABLE TRIGGER USER;
SELECT * FROM standing('shop');
CALL product_llm.refresh_catalog('shop');
SELECT * FROM standing('shop');
SELECT state, done = total AS complete FROM product_llm.refresh_progress;

-- ---- what an UPDATE of another column costs: the view of texts is not read ----

-- An expression that says when it is evaluated.
CREATE FUNCTION noisy(t text) RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RAISE WARNING 'text read'; RETURN t; END $$;
CREATE TABLE plain (id int PRIMARY KEY, dropped int, title text, price numeric, twice text GENERATED ALWAYS AS (title || title) STORED,
	per_price numeric GENERATED ALWAYS AS (price * 2) STORED);
ALTER TABLE plain DROP COLUMN dropped;
INSERT INTO plain VALUES (1, 'a', 1);
SET client_min_messages = error;
SELECT product_llm.create_catalog('by_title', 'plain', 'id', 'noisy(title)');
SET client_min_messages = warning;
INSERT INTO plain VALUES (1, 'b', 1) ON CONFLICT (id) DO UPDATE SET price = 7;
SET client_min_messages = error;
SELECT product_llm.create_catalog('by_generated', 'plain', 'id', 'noisy(twice)');
SET client_min_messages = warning;
UPDATE plain SET price = 2;
UPDATE plain SET price = 3, per_price = DEFAULT;
SET client_min_messages = error;
UPDATE plain SET title = 'b';
SELECT (standing(c)).* FROM unnest('{by_title,by_generated}'::text[]) AS c;
INSERT INTO plain VALUES (1, 'b', 1) ON CONFLICT (id) DO UPDATE SET title = 'c';
SELECT (standing(c)).* FROM unnest('{by_title,by_generated}'::text[]) AS c;
-- A BEFORE trigger may set what the statement does not name.
CREATE FUNCTION retitle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.title := 'set by a trigger'; RETURN NEW; END $$;
CREATE TRIGGER retitle BEFORE UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION retitle();
UPDATE plain SET price = 9;
SELECT (standing(c)).* FROM unnest('{by_title,by_generated}'::text[]) AS c;
-- The whole row.
SELECT product_llm.create_catalog('by_row', 'plain', 'id', 'plain::text');
UPDATE plain SET price = 10;
SELECT * FROM standing('by_row');
SET client_min_messages = warning;
SELECT product_llm.drop_catalog(catalog) FROM product_llm.catalog WHERE catalog ~ '^by_';
DROP TABLE plain;
SELECT count(*) AS left_of_them FROM pg_class WHERE relname ~ '^by_';
-- Through the root of partitions it costs nothing either, unless one has a trigger of its own.
CREATE TABLE parted (id int, part int, title text, price int, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 (price int, gone int, title text, part int NOT NULL, id int NOT NULL);
ALTER TABLE parted_2 DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
INSERT INTO parted VALUES (1, 1, 'a', 1), (2, 2, 'b', 2);
SET client_min_messages = error;
SELECT product_llm.create_catalog('parts', 'parted', 'id', 'noisy(title)');
SET client_min_messages = warning;
UPDATE parted SET price = 5;
UPDATE parted_2 SET price = 6;
SET client_min_messages = error;
CREATE TRIGGER retitle BEFORE UPDATE ON parted_2 FOR EACH ROW EXECUTE FUNCTION retitle();
UPDATE parted SET price = 7;
SELECT * FROM standing('parts');
SET client_min_messages = warning;
DROP TABLE parted CASCADE;

-- ---- bad input ----

CREATE TABLE t (id int, a text, j json, p point);
CREATE VIEW v AS SELECT * FROM t;
CREATE MATERIALIZED VIEW mv AS SELECT * FROM t;
CREATE SEQUENCE sq;
SELECT e, said('SELECT product_llm.create_catalog(' || e || ')') FROM unnest(ARRAY[
	$$NULL, 't', 'id', 'a'$$, $$'x', NULL, 'id', 'a'$$, $$'x', 't', NULL, 'a'$$, $$'x', 't', 'id', NULL$$, $$'x', 't', 'id', 'a', sync => NULL$$,
	$$'', 't', 'id', 'a'$$, $$' x', 't', 'id', 'a'$$, $$E'x\ny', 't', 'id', 'a'$$, $$repeat('x', 41), 't', 'id', 'a'$$, $$repeat('é', 21), 't', 'id', 'a'$$,
	$$'shop', 't', 'id', 'a'$$,
	$$'x', 'no_table', 'id', 'a'$$, $$'x', 0, 'id', 'a'$$, $$'x', 4294967295, 'id', 'a'$$, $$'x', 'v', 'id', 'a'$$, $$'x', 'mv', 'id', 'a'$$, $$'x', 'sq', 'id', 'a'$$,
	$$'x', 'pg_class', 'oid', 'relname'$$, $$'x', 'product_llm.model', 'model', 'task'$$,
	$$'x', 't', 'no_column', 'a'$$, $$'x', 't', 'ctid', 'a'$$, $$'x', 't', 'ID', 'a'$$, $$'x', 't', 'j', 'a'$$, $$'x', 't', 'p', 'a'$$,
	$$'x', 't', 'id', ''$$, $$'x', 't', 'id', ' -- '$$, $$'x', 't', 'id', 'no_column'$$, $$'x', 't', 'id', 'a; SELECT 1'$$, $$'x', 't', 'id', 'a;'$$,
	$$'x', 't', 'id', 'a FROM t'$$, $$'x', 't', 'id', 'a) FROM t --'$$, $$'x', 't', 'id', 'a AS b'$$, $$'x', 't', 'id', '*'$$,
	$$'x', 't', 'id', 'a), (a'$$, $$'x', 't', 'id', 'a ORDER BY 1'$$, $$'x', 't', 'id', 'DROP TABLE t'$$, $$'x', 't', 'id', '$1'$$, $$'x', 't', 'id', ':x'$$,
	$$'x', 't', 'id', 'random()'$$, $$'x', 't', 'id', 'clock_timestamp()::text'$$, $$'x', 't', 'id', 'count(*)'$$, $$'x', 't', 'id', 'row_number() OVER ()'$$,
	$$'x', 't', 'id', 'unnest(ARRAY[a])'$$, $$'x', 't', 'id', 'nextval(''sq'')'$$, $$'x', 't', 'id', '/* a'$$, $$'x', 't', 'id', '''a'$$,
	$$'x', 't', 'id', 'a', title => 'no_column'$$, $$'x', 't', 'id', 'a', title => 'a; DROP TABLE t'$$, $$'x', 't', 'id', 'a', title => 'random()'$$,
	$$'x', 't', 'id', 'a', 'no model'$$, $$'x', 't', 'id', 'a', ''$$,
	$$'x', 't', 'id', 'a', sync => 'sometimes'$$, $$'x', 't', 'id', 'a', language => 'klingon'$$
]) AS e;
-- What looks odd and is right.
SELECT e, said('SELECT product_llm.create_catalog(''odd'', ''t'', ' || e || ')') FROM unnest(ARRAY[
	$$'id', 'a -- of the product'$$, $$'id', '/* all */ a'$$, $$'id', '''x'''$$, $$'id', 'id'$$, $$'id', '(SELECT max(relname) FROM pg_class)'$$, $$'id', 'NULL'$$,
	$$'id', 'a', title => ''$$, $$'id', E'a\n'$$, $$'id', 'a, id'$$, $$'id', 'now()::text'$$, $$'id', 't.a'$$, $$'id', 'a', title => 'a -- title'$$]) AS e;
SELECT e, said('SELECT product_llm.' || e) FROM unnest(ARRAY[
	$$alter_catalog(NULL)$$, $$alter_catalog('none')$$, $$alter_catalog('shop', model => 'no model')$$,
	$$alter_catalog('shop', sync => 'never')$$, $$alter_catalog('shop', nearest => 'ivf')$$, $$alter_catalog('shop', settings => '[]')$$,
	$$alter_catalog('shop', settings => '{"colour": 1}')$$, $$alter_catalog('shop', settings => '{"semantic": "x"}')$$,
	$$alter_catalog('shop', settings => '{"semantic": -1}')$$, $$alter_catalog('shop', settings => '{"semantic": 1e400}')$$,
	$$drop_catalog('none')$$, $$drop_catalog('')$$, $$drop_catalog(NULL)$$,
	$$catalog_work(NULL, 'prune', NULL)$$, $$catalog_work('shop', NULL, NULL)$$, $$catalog_work('none', 'prune', NULL)$$,
	$$catalog_work('shop', 'drop', NULL)$$, $$catalog_work('shop', 'prune($1, $2); DROP TABLE t; SELECT x', NULL)$$,
	$$catalog_work('shop', 'reconcile', '{no number}')$$, $$catalog_work('shop', 'reconcile', '{NULL,1}')$$, $$catalog_work('shop', 'reconcile', '{}')$$,
	$$catalog_counts('none')$$, $$search('no shop', 'x')$$, $$unbind_events('shop')$$, $$unbind_events('none')$$]) AS e;
CALL product_llm.refresh_catalog('none');
CALL product_llm.refresh_catalog(NULL);
BEGIN;
CALL product_llm.refresh_catalog('shop');
ROLLBACK;
CREATE TRIGGER bogus AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION product_llm.catalog_sync('shop');
INSERT INTO t VALUES (1, 'a');
DROP TRIGGER bogus ON t;
CREATE TRIGGER bogus BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION product_llm.catalog_sync('shop');
INSERT INTO t VALUES (1, 'a');
DROP TRIGGER bogus ON t;
CREATE TRIGGER bogus AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION product_llm.events_sync('shop');
INSERT INTO t VALUES (1, 'a');
DROP TRIGGER bogus ON t;
SELECT count(*) AS half_made FROM pg_class WHERE relname ~ '^(x|odd|é+)_';
SELECT * FROM standing('shop');
-- Two rows of one key.
INSERT INTO t VALUES (1, 'a'), (1, 'b');
SELECT said($$SELECT product_llm.create_catalog('x', 't', 'id', 'a')$$);
DELETE FROM t WHERE a = 'b';
SELECT product_llm.create_catalog('x', 't', 'id', 'a');
SELECT said($$INSERT INTO t VALUES (1, 'b')$$);
SELECT * FROM standing('x');
SELECT product_llm.drop_catalog('x');
-- A transaction with one snapshot cannot see what it would have to.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT said($$SELECT product_llm.create_catalog('x', 't', 'id', 'a')$$);
SELECT product_llm.create_catalog('x', 't', 'id', 'a', sync => 'manual');
SELECT said($$SELECT product_llm.alter_catalog('x', sync => 'trigger')$$);
ROLLBACK;
CREATE TEMP TABLE passing (id int, a text);
SELECT said($$SELECT product_llm.create_catalog('x', 'passing', 'id', 'a')$$);
CREATE TABLE x_words ();
SELECT said($$SELECT product_llm.create_catalog('x', 't', 'id', 'a')$$);
DROP TABLE x_words;
-- Rows without a key are no products.
INSERT INTO t VALUES (NULL, 'a'), (NULL, 'b');
SELECT product_llm.create_catalog('x', 't', 'id', 'a');
UPDATE t SET id = 5 WHERE id IS NULL AND a = 'a';
UPDATE t SET id = NULL WHERE id = 1;
SELECT * FROM standing('x');
SELECT product_llm.drop_catalog('x');

-- ---- events: bad input ----

CREATE TABLE event (visitor text, item int, at timestamptz, kind text, note text);
CREATE INDEX ON event (visitor);
SELECT e, said('SELECT product_llm.bind_events(' || e || ')') FROM unnest(ARRAY[
	$$NULL, 'event', 'visitor', 'item', 'at'$$, $$'shop', NULL, 'visitor', 'item', 'at'$$, $$'shop', 'event', NULL, 'item', 'at'$$,
	$$'shop', 'event', 'visitor', NULL, 'at'$$, $$'shop', 'event', 'visitor', 'item', NULL$$, $$'none', 'event', 'visitor', 'item', 'at'$$,
	$$'shop', 'v', 'id', 'id', 'id'$$, $$'shop', 0, 'id', 'id', 'id'$$, $$'shop', 'event', 'x', 'item', 'at'$$, $$'shop', 'event', 'visitor', 'x', 'at'$$, $$'shop', 'event', 'visitor', 'item', 'x'$$,
	$$'shop', 'event', 'visitor', 'item', 'at', 'x'$$, $$'shop', 'event', 'visitor', 'item', 'note'$$, $$'shop', 'event', 'visitor', 'item', 'at', weights => '{"view": 1}'$$,
	$$'shop', 'event', 'visitor', 'item', 'at', 'kind', '[]'$$, $$'shop', 'event', 'visitor', 'item', 'at', 'kind', '{"view": "much"}'$$,
	$$'shop', 'event', 'visitor', 'item', 'at', 'kind', '{"view": -1}'$$, $$'shop', 'event', 'visitor', 'item', 'at', 'kind', '{"view": null}'$$,
	$$'shop', 'event', 'visitor', 'item', 'at', 'kind', '{"view''); DROP TABLE event; --": 1}'$$, $$'shop', 'event', 'visitor', 'item', 'at'$$]) AS e;
SELECT product_llm.bind_events('shop', 'event', 'visitor', 'item', 'at', 'kind', '{"view''); DROP TABLE event; --": 1}');
SELECT said($$SELECT product_llm.bind_events('shop', 'event', 'visitor', 'item', 'at')$$);
INSERT INTO event VALUES ('v', 1, now(), 'view''); DROP TABLE event; --'), ('v', 2, now(), NULL);
SELECT said($$ALTER TABLE event DROP COLUMN item$$);
SELECT product_llm.unbind_events('shop');
SELECT count(*) AS triggers_left FROM pg_trigger WHERE tgrelid = 'event'::regclass;
DROP INDEX event_visitor_idx;
SET client_min_messages = notice;
SELECT product_llm.bind_events('shop', 'event', 'visitor', 'item', 'at');
SET client_min_messages = warning;
SELECT product_llm.drop_catalog('shop');
DROP TABLE event;

-- ---- keys of every type ----

CREATE TYPE mood AS ENUM ('happy', 'sad');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN code AS text CHECK (value <> '');
CREATE DOMAIN short AS code CHECK (length(value) < 10);
CREATE FUNCTION try_key(type text, first text, second text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	keys text; found text; near text; filtered text; stale text;
BEGIN
	EXECUTE format('CREATE TABLE k (id %s, title text)', type);
	EXECUTE format('INSERT INTO k VALUES (%L, ''red shoes'')', first);
	PERFORM product_llm.create_catalog('k', 'k', 'id', 'title');
	EXECUTE format('INSERT INTO k VALUES (%L, ''green tea'')', second);
	PERFORM set_config('TimeZone', 'Asia/Tokyo', true), set_config('DateStyle', 'German', true), set_config('IntervalStyle', 'sql_standard', true),
		set_config('bytea_output', 'escape', true), set_config('extra_float_digits', '-3', true);
	UPDATE k SET title = title || ' new';
	SELECT string_agg(key, ' ' ORDER BY key) INTO keys FROM k_embedding;
	SELECT s.key INTO found FROM product_llm.search('k', 'green tea new', 1) AS s;
	SELECT s.key INTO filtered FROM product_llm.search('k', 'green tea', 1, 'title LIKE ''red%''') AS s;
	SELECT s.key INTO near FROM product_llm.similar('k', found, 1) AS s;
	DELETE FROM k WHERE title = 'red shoes new';
	SELECT s::text INTO stale FROM standing('k') AS s;
	PERFORM product_llm.drop_catalog('k');
	DROP TABLE k;
	RETURN format('keys %s | found %s | filtered %s | similar %s | left %s', keys, found, filtered, near, stale);
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
SELECT type, try_key(type, a, b) FROM (VALUES
	('smallint', '1', '-2'), ('int', '1', '-2'), ('bigint', '1', '9223372036854775807'), ('numeric', '1.50', '-0.001'), ('numeric(6,2)', '1.5', '2'),
	('text', 'a b', 'ü"'''), ('text', '', '{1,2}'), ('varchar(5)', 'a', 'NULL'), ('char(5)', 'abc', 'de'), ('"char"', 'a', 'b'), ('name', 'a', 'b'),
	('uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '00000000-0000-0000-0000-000000000001'),
	('date', '2024-02-01', '2024-01-02'), ('timestamp', '2024-02-01 10:00', '2024-01-02 11:12:13.5'), ('timestamptz', '2024-02-01 10:00+00', '2024-01-02 11:12+05'),
	('time', '10:00', '11:11'), ('interval', '1 day', '-1 mons -2 days +03:04:05'), ('bool', 't', 'f'), ('mood', 'happy', 'sad'), ('bytea', '\x00ff', '\x61'),
	('inet', '10.0.0.1/8', '::1'), ('macaddr', '08:00:2b:01:02:03', '08:00:2b:01:02:04'), ('real', '0.1', '1e30'), ('float8', '0.1', 'NaN'), ('bit(3)', '101', '111'),
	('money', '12.5', '1'), ('oid', '1', '2'), ('code', 'a', 'b'), ('short', 'a', 'b'), ('pair', '(1,x)', '(2,"y z")'), ('int[]', '{1,2}', '{3}'), ('text[]', '{a,"b c"}', '{}'),
	('int4range', '[1,5)', 'empty'), ('jsonb', '{"a": 1}', '[2]'), ('tsvector', 'a', 'b'), ('json', '1', '2'), ('point', '(1,2)', '(3,4)'), ('xml', '<a/>', '<b/>'), ('json[]', '{1}', '{2}')
) AS t (type, a, b);

-- ---- odd names ----

CREATE SCHEMA "X.y";
CREATE TABLE "X.y"."Odd ""Table" ("a b" int PRIMARY KEY, "Title'$$" text, "select" text);
SELECT product_llm.create_catalog(n, '"X.y"."Odd ""Table"', 'a b', $$"Title'$$ || '$$' || $$" || ' ' || "select"$$, title => $$"Title'$$ || '$$"')
FROM unnest(ARRAY['名前 "quoted"', 'it''s', '%s %I', 'a.b', 'shop_embedding', '$$']) AS n;
INSERT INTO "X.y"."Odd ""Table" VALUES (1, 'red shoes', 'leather'), (2, 'green tea', 'leaves');
UPDATE "X.y"."Odd ""Table" SET "Title'$$" = 'black tea' WHERE "a b" = 2;
SELECT c.catalog, s.*, (SELECT key FROM product_llm.search(c.catalog, 'black tea leaves', 1, '"select" <> :"x y"', '{"x y": "none"}')) AS found
FROM product_llm.catalogs AS c, standing(c.catalog) AS s ORDER BY 1;
CREATE TABLE "X.y"."Ev ents" ("vi si" text, "it em" int, "a t" timestamp, "k'ind" text);
CREATE INDEX ON "X.y"."Ev ents" ("vi si");
SELECT product_llm.bind_events(catalog, '"X.y"."Ev ents"', 'vi si', 'it em', 'a t', 'k''ind', '{"it''s": 0}') FROM product_llm.catalogs;
INSERT INTO "X.y"."Ev ents" VALUES ('v', 1, '2024-01-01', NULL), ('v', 2, '2024-01-02', 'x'), ('v', 3, '2024-01-03', 'it''s');
SELECT a, b, sum(after), sum(before) FROM "X.y"."it's_pair" GROUP BY 1, 2 ORDER BY 1, 2;
DO $$
DECLARE
	name text;
BEGIN
	FOR name IN SELECT catalog FROM product_llm.catalogs LOOP PERFORM product_llm.drop_catalog(name); END LOOP;
END
$$;
SELECT count(*) AS relations, (SELECT count(*) FROM pg_trigger WHERE tgrelid = '"X.y"."Odd ""Table"'::regclass) AS triggers
FROM pg_class WHERE relnamespace = '"X.y"'::regnamespace AND relkind IN ('r', 'v');
DROP SCHEMA "X.y" CASCADE;

-- ---- rights ----

CREATE ROLE plm_owner;
CREATE ROLE plm_member IN ROLE plm_owner;
CREATE ROLE plm_reader;
CREATE ROLE plm_writer;
CREATE ROLE plm_stranger;
CREATE SCHEMA store AUTHORIZATION plm_owner;
GRANT USAGE ON SCHEMA store TO plm_reader, plm_writer, plm_stranger;
SET ROLE plm_owner;
CREATE TABLE store.product (id int PRIMARY KEY, title text, secret text, hidden boolean DEFAULT false);
INSERT INTO store.product VALUES (1, 'red shoes', 'from Milan'), (2, 'green tea', 'from Assam');
RESET ROLE;
SET ROLE plm_member;
SELECT product_llm.create_catalog('store', 'store.product', 'id', $$title || ' ' || secret$$);
SET ROLE plm_owner;
SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relname ~ '^store_' AND relkind IN ('r', 'v') ORDER BY 1;
GRANT INSERT ON store.product TO plm_writer;
GRANT SELECT (id, title) ON store.product TO plm_stranger;
GRANT SELECT ON store.product TO plm_reader;
SET ROLE plm_writer;
INSERT INTO store.product VALUES (3, 'blue hat', 'from Paris');
SELECT said($$SELECT product_llm.search('store', 'x')$$);
SELECT said($$DELETE FROM store.store_words$$);
SET ROLE plm_reader;
SELECT key FROM product_llm.search('store', 'blue hat from Paris', 1);
SELECT said($$SELECT * FROM store.store_embedding$$);
SELECT e, said('SELECT product_llm.' || e) FROM unnest(ARRAY[$$drop_catalog('store')$$, $$alter_catalog('store', sync => 'manual')$$,
	$$catalog_work('store', 'prune', NULL)$$, $$create_catalog('mine', 'store.product', 'id', 'title')$$,
	$$bind_events('store', 'store.product', 'id', 'id', 'id')$$, $$create_store(product_llm.catalog_row('store'), 'x')$$]) AS e;
CALL product_llm.refresh_catalog('store');
WITH d AS (DELETE FROM product_llm.catalog RETURNING 1) SELECT count(*) AS deleted FROM d;
WITH d AS (UPDATE product_llm.catalog SET store = 'pg_class' RETURNING 1) SELECT count(*) AS changed FROM d;
SELECT said($$INSERT INTO product_llm.catalog (catalog, source, key, texts, store, words, terms, model, sync, language)
	SELECT 'mine', source, key, texts, store, words, terms, model, sync, language FROM product_llm.catalog$$);
SELECT catalog, products FROM product_llm.catalogs;
SELECT catalog FROM product_llm.refresh_progress;
SET ROLE plm_stranger;
SELECT said($$SELECT product_llm.search('store', 'x')$$);
SELECT said($$SELECT product_llm.similar('store', '1')$$);
SELECT id FROM store.product ORDER BY id;
RESET ROLE;
-- Row-level security, also where the owner submits to it.
ALTER TABLE store.product ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY visible ON store.product USING (NOT hidden);
CREATE POLICY add ON store.product FOR INSERT WITH CHECK (true);
SET ROLE plm_owner;
UPDATE store.product SET title = 'straw hat' WHERE id = 3;
INSERT INTO store.product VALUES (4, 'gold watch', 'from Bern', true);
SELECT products, embedded FROM product_llm.catalogs;
CALL product_llm.refresh_catalog('store');
RESET ROLE;
SELECT * FROM standing('store');
SELECT count(*) AS embedded FROM store.store_embedding;
SET ROLE plm_reader;
SELECT key FROM product_llm.search('store', 'gold watch from Bern', 10) ORDER BY key;
SELECT catalog, products, embedded, stale FROM product_llm.catalogs;
RESET ROLE;
-- What an owner puts into an expression runs as that owner, whoever works on the catalog.
SET ROLE plm_owner;
CREATE FUNCTION store.whoami(t text) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF current_user <> 'plm_owner' THEN
		RAISE EXCEPTION 'caught % in the function of plm_owner', current_user;
	END IF;
	RETURN t;
END
$$;
CREATE TABLE store.trap (id int PRIMARY KEY, title text);
INSERT INTO store.trap VALUES (1, 'a'), (2, 'b');
SELECT product_llm.create_catalog('trap', 'store.trap', 'id', 'store.whoami(title)');
RESET ROLE;
INSERT INTO store.trap VALUES (3, 'c');
UPDATE store.trap SET title = 'd' WHERE id = 1;
DELETE FROM store.trap WHERE id = 2;
CALL product_llm.refresh_catalog('trap');
SELECT product_llm.alter_catalog('trap', model => 'other');
CALL product_llm.refresh_catalog('trap');
SELECT product_llm.alter_catalog('trap', sync => 'manual');
SELECT product_llm.alter_catalog('trap', sync => 'trigger');
SELECT catalog, products, embedded, stale FROM product_llm.catalogs WHERE catalog = 'trap';
SELECT count(*) FROM product_llm.search('trap', 'd');
CREATE FUNCTION as_told() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TRIGGER catch BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION store.catch()',
		(SELECT store FROM product_llm.catalog WHERE catalog = 'trap'));
END
$$;
TRUNCATE store.trap;
-- Nor do triggers that the owner puts on side tables run as anybody else.
SET ROLE plm_owner;
CREATE FUNCTION store.catch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM store.whoami('x'); RETURN NEW; END $$;
SELECT as_told();
RESET ROLE;
INSERT INTO store.trap VALUES (3, 'c');
DELETE FROM store.trap;
SELECT product_llm.drop_catalog('trap');
-- An owner who lost the rights on the schema can no longer embed; the shop's statement says so.
REVOKE ALL ON SCHEMA store FROM plm_owner;
ALTER SCHEMA store OWNER TO postgres;
SELECT said($$INSERT INTO store.product VALUES (5, 'x', 'y')$$);
GRANT ALL ON SCHEMA store TO plm_owner;
SELECT said($$INSERT INTO store.product VALUES (5, 'x', 'y')$$);
SELECT product_llm.drop_catalog('store');
DROP SCHEMA store CASCADE;
DROP ROLE plm_owner, plm_member, plm_reader, plm_writer, plm_stranger;

-- ---- what is left ----

DROP VIEW v;
DROP MATERIALIZED VIEW mv;
DROP SEQUENCE sq;
DROP TABLE t, product;
SELECT * FROM product_llm.catalog;
DROP FUNCTION standing, said, noisy, retitle, try_key, as_told;
DROP TYPE mood, pair;
DROP DOMAIN short, code;
SELECT count(product_llm.drop_model(model)) FROM product_llm.models;
