-- What may befall a catalog's source, its events and its side tables: dropped, renamed, moved, altered, given away.
\set golden `echo "${PLM_GOLDEN:-$PWD/test/golden}"`
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT count(product_llm.drop_model(model)) >= 0 AS start_empty FROM product_llm.models;
SELECT product_llm.load_model('tiny', :'golden' || '/models/bert-mean');
SELECT product_llm.load_model('other', :'golden' || '/models/bert-max');
SET product_llm.default_model = 'tiny';

CREATE FUNCTION said(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text; h text; s text;
BEGIN
	EXECUTE statement;
	RAISE SQLSTATE 'PLM00';
EXCEPTION WHEN SQLSTATE 'PLM00' THEN
	RETURN 'no error';
WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT, s = RETURNED_SQLSTATE;
	RETURN s || ' ' || m || CASE WHEN h <> '' THEN ' | ' || h ELSE '' END;
END
$$;
-- A catalog as it is: counts, what search finds, and whether the pairs are those of all events.
CREATE FUNCTION standing(name text, OUT products bigint, OUT embedded bigint, OUT stale bigint, OUT best text, OUT pairs_agree boolean) LANGUAGE plpgsql AS $$
DECLARE
	e product_llm.catalog_events;
BEGIN
	SELECT s.products, s.embedded, s.stale INTO products, embedded, stale FROM product_llm.catalogs AS s WHERE s.catalog = name;
	SELECT key INTO best FROM product_llm.search(name, 'red shoes of leather', 1);
	SELECT * INTO e FROM product_llm.catalog_events AS t WHERE t.catalog = name;
	IF FOUND THEN
		EXECUTE format('CREATE TEMP TABLE kept AS SELECT a, b, sum(after)::int8 AS after, sum(before)::int8 AS before FROM %s GROUP BY a, b HAVING sum(after) <> 0 OR sum(before) <> 0', e.pairs);
		CREATE TEMP TABLE fresh (LIKE kept);
		e.pairs := 'pg_temp.fresh';
		EXECUTE product_llm.pairs_of_all(e);
		SELECT NOT EXISTS ((TABLE kept EXCEPT TABLE fresh) UNION ALL (TABLE fresh EXCEPT TABLE kept)) INTO pairs_agree;
		DROP TABLE kept, fresh;
	END IF;
END
$$;
CREATE FUNCTION left_over() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT relname FROM pg_class WHERE relname ~ '^(goods|parts)_' AND relkind IN ('r', 'v')
	UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgname ~ '^product_llm_'
	UNION ALL SELECT 'definition ' || catalog FROM product_llm.catalog
	UNION ALL SELECT 'events of ' || catalog FROM product_llm.catalog_events
	ORDER BY 1
$$;
CREATE FUNCTION make_goods() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CREATE TABLE product (id int PRIMARY KEY, title text, body text, price int);
	CREATE TABLE event (visitor text, item int, at timestamptz, kind text, note text);
	CREATE INDEX ON event (visitor);
	INSERT INTO product VALUES (1, 'red shoes', 'of leather', 1), (2, 'green tea', NULL, 2), (3, 'blue hat', 'of wool', 3);
	INSERT INTO event SELECT 'v' || i % 3, 1 + i % 4, '2024-01-01'::timestamptz + i * interval '1 hour', 'view' FROM generate_series(1, 20) AS i;
	PERFORM product_llm.create_catalog('goods', 'product', 'id', 'concat_ws('' '', title, body)', title => 'title', language => 'simple');
	PERFORM product_llm.bind_events('goods', 'event', 'visitor', 'item', 'at', 'kind', '{"view": 1}');
END
$$;

-- ---- renamed and moved: everything goes on ----

SELECT make_goods();
SELECT * FROM standing('goods');
CREATE SCHEMA elsewhere;
ALTER TABLE product RENAME TO ware;
ALTER TABLE ware RENAME COLUMN id TO number;
ALTER TABLE ware RENAME COLUMN title TO name;
ALTER TABLE ware SET SCHEMA elsewhere;
ALTER SCHEMA elsewhere RENAME TO "else where";
ALTER TABLE event RENAME TO happened;
ALTER TABLE happened RENAME COLUMN visitor TO who;
ALTER TABLE happened RENAME COLUMN item TO what;
ALTER TABLE happened RENAME COLUMN at TO "when";
ALTER TABLE happened RENAME COLUMN kind TO how;
ALTER TABLE happened SET SCHEMA "else where";
ALTER TABLE goods_embedding RENAME TO goods_vectors;
ALTER VIEW goods_text SET SCHEMA "else where";
SELECT source, key FROM product_llm.catalogs;
SELECT source, visitor, item, at, kind FROM product_llm.catalog_events;
UPDATE "else where".ware SET name = 'brown shoes' WHERE number = 1;
INSERT INTO "else where".ware VALUES (4, 'red shoes', 'of leather', 4);
INSERT INTO "else where".happened VALUES ('v1', 4, '2024-02-01', 'view', '');
SELECT * FROM standing('goods');
-- Another model's table is beside the source as it is now.
SELECT product_llm.alter_catalog('goods', model => 'other');
CALL product_llm.refresh_catalog('goods');
SELECT model, embedded, stale, (SELECT store FROM product_llm.catalog) FROM product_llm.catalogs;
SELECT product_llm.alter_catalog('goods', model => 'tiny');
-- Other columns come and go.
ALTER TABLE "else where".ware ADD COLUMN weight numeric DEFAULT 1, DROP COLUMN price;
ALTER TABLE "else where".happened DROP COLUMN note, ADD COLUMN session uuid;
ALTER TABLE "else where".ware ALTER COLUMN weight TYPE text;
INSERT INTO "else where".ware VALUES (5, 'tin box', NULL, 'much');
CALL product_llm.refresh_catalog('goods');
SELECT * FROM standing('goods');

-- ---- what would break it is refused, by PostgreSQL or here ----

SELECT s, said(s) FROM unnest(ARRAY[
	'ALTER TABLE "else where".ware DROP COLUMN number', 'ALTER TABLE "else where".ware DROP COLUMN name', 'ALTER TABLE "else where".ware ALTER COLUMN number TYPE text',
	'ALTER TABLE "else where".ware ALTER COLUMN body TYPE varchar(10)', 'DROP TABLE "else where".ware',
	'ALTER TABLE "else where".happened DROP COLUMN who', 'ALTER TABLE "else where".happened DROP COLUMN how CASCADE',
	'ALTER TABLE "else where".happened ALTER COLUMN what TYPE json USING to_json(what)', 'ALTER TABLE "else where".happened ALTER COLUMN who TYPE point USING NULL',
	'ALTER TABLE "else where".happened ALTER COLUMN "when" TYPE text',
	'CREATE TABLE sub () INHERITS ("else where".ware)']) AS s;
-- The primary key may go; two rows of one key are told when they come.
ALTER TABLE "else where".ware DROP CONSTRAINT product_pkey;
SELECT said('INSERT INTO "else where".ware VALUES (1, ''double'')');
-- Types of events' columns change.
ALTER TABLE "else where".happened ALTER COLUMN who TYPE int USING substr(who, 2)::int;
ALTER TABLE "else where".happened ALTER COLUMN what TYPE text;
ALTER TABLE "else where".happened ALTER COLUMN "when" TYPE date;
INSERT INTO "else where".happened VALUES (1, '3', '2024-03-01', 'view'), (77, '1', '2024-03-01', 'view'), (77, '2', '2024-03-02', 'view');
DELETE FROM "else where".happened WHERE who = 2;
SELECT * FROM standing('goods');
SELECT count(*) > 0 AS recommends FROM product_llm.recommend('goods', '77');
-- The visitor's type becomes one whose text has another form.
ALTER TABLE "else where".happened ALTER COLUMN who TYPE numeric(6, 2);
INSERT INTO "else where".happened VALUES (77, '3', '2024-03-03', 'view');
SELECT pairs_agree FROM standing('goods');
SELECT count(*) > 0 AS recommends FROM product_llm.recommend('goods', '77.00');

-- ---- dropped ----

DROP TABLE "else where".happened;
SELECT * FROM left_over() WHERE left_over ~ 'event|pair|list|feedback';
SELECT said($$SELECT product_llm.recommend('goods', '77')$$);
DROP TABLE "else where".ware CASCADE;
SELECT * FROM left_over();
DROP SCHEMA "else where";
SELECT said($$SELECT product_llm.search('goods', 'x')$$);
-- By hand: each side table takes the catalog with it, the shop's tables stay.
SELECT make_goods();
DO $$
DECLARE
	relation text;
BEGIN
	FOREACH relation IN ARRAY '{goods_embedding,goods_words,goods_term,goods_text}'::text[]
	LOOP
		EXECUTE format('DROP %s %s', CASE relation WHEN 'goods_text' THEN 'VIEW' ELSE 'TABLE' END, relation);
		IF EXISTS (SELECT FROM left_over()) THEN
			RAISE WARNING '% left %', relation, (SELECT array_agg(l) FROM left_over() AS l);
		END IF;
		UPDATE product SET title = 'unwatched';
		INSERT INTO event VALUES ('v', 1, now(), 'view');
		PERFORM product_llm.create_catalog('goods', 'product', 'id', 'title'), product_llm.bind_events('goods', 'event', 'visitor', 'item', 'at');
	END LOOP;
END
$$;
DROP TABLE goods_pair;
SELECT * FROM left_over() WHERE left_over !~ 'sync';
INSERT INTO event VALUES ('v', 1, now(), 'view');
SELECT product_llm.bind_events('goods', 'event', 'visitor', 'item', 'at');
-- The table of the next model: the change is called off.
SELECT product_llm.alter_catalog('goods', model => 'other');
SELECT s, said(s) FROM unnest(ARRAY[$$SELECT product_llm.drop_model('tiny')$$, $$SELECT product_llm.drop_model('other')$$]) AS s;
DROP TABLE goods_embedding_1;
SELECT model, next_model FROM product_llm.catalogs;
UPDATE product SET title = 'red shoes of leather' WHERE id = 3;
SELECT * FROM standing('goods');
-- Unseen by the event triggers: writers are told, and the catalog can still be dropped.
ALTER EVENT TRIGGER product_llm_dropped DISABLE;
DROP TABLE goods_words;
-- What is learnt from events needs no words: above all, a visitor can be forgotten.
INSERT INTO event VALUES ('v', 2, now());
SELECT what, erased > 0 AS erased FROM product_llm.forget('goods', 'v', delete_events => true);
DROP TABLE goods_list;
SELECT what, erased > 0 AS erased FROM product_llm.forget('goods', 'v1');
DROP TABLE goods_pair;
SELECT s, said(s) FROM unnest(ARRAY[$$INSERT INTO product VALUES (9, 'x')$$, $$INSERT INTO event VALUES ('v', 1, now())$$, $$SELECT product_llm.search('goods', 'x')$$,
	$$SELECT product_llm.recommend('goods', 'v')$$, $$SELECT product_llm.forget('goods', 'v')$$]) AS s;
CALL product_llm.refresh_catalog('goods');
SELECT product_llm.drop_catalog('goods');
SELECT * FROM left_over();
SELECT product_llm.create_catalog('goods', 'product', 'id', 'title');
DROP TABLE product CASCADE;
SELECT catalog FROM product_llm.catalogs;
SELECT s, said(s) FROM unnest(ARRAY[$$SELECT product_llm.search('goods', 'x')$$, $$SELECT product_llm.alter_catalog('goods', sync => 'manual')$$]) AS s;
SELECT product_llm.drop_catalog('goods');
ALTER EVENT TRIGGER product_llm_dropped ENABLE;
DROP TABLE event;
SELECT * FROM left_over();

-- ---- given away ----

CREATE ROLE plm_old;
CREATE ROLE plm_new;
CREATE SCHEMA lent;
GRANT ALL ON SCHEMA lent TO plm_old, plm_new;
SELECT make_goods();
SELECT product_llm.drop_catalog('goods');
ALTER TABLE product SET SCHEMA lent;
ALTER TABLE event SET SCHEMA lent;
ALTER TABLE lent.product OWNER TO plm_old;
ALTER TABLE lent.event OWNER TO plm_old;
SET ROLE plm_old;
SELECT product_llm.create_catalog('goods', 'lent.product', 'id', 'title || '' '' || body', 'tiny'), product_llm.bind_events('goods', 'lent.event', 'visitor', 'item', 'at');
SELECT product_llm.alter_catalog('goods', model => 'other');
RESET ROLE;
ALTER TABLE lent.product OWNER TO plm_new;
SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relname ~ '^goods_' AND relkind IN ('r', 'v') ORDER BY 1;
-- The events are still another's: whoever writes them is told.
SELECT said($$INSERT INTO lent.event VALUES ('v1', 1, '2024-02-01')$$);
ALTER TABLE lent.event OWNER TO plm_new;
INSERT INTO lent.event VALUES ('v1', 3, '2024-02-01');
UPDATE lent.product SET title = 'red shoes of leather' WHERE id = 3;
SET ROLE plm_new;
SELECT * FROM standing('goods');
CALL product_llm.refresh_catalog('goods');
SET ROLE plm_old;
SELECT said($$SELECT product_llm.drop_catalog('goods')$$), said($$SELECT product_llm.search('goods', 'x')$$);
RESET ROLE;
SELECT model FROM product_llm.catalogs;
REASSIGN OWNED BY plm_new TO plm_old;
INSERT INTO lent.product VALUES (7, 'red shoes of leather', '');
INSERT INTO lent.event VALUES ('v2', 7, '2024-02-01');
SELECT * FROM standing('goods');
-- An owner without rights on what a text needs.
CREATE FUNCTION lent.spell(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper(t)';
REVOKE EXECUTE ON FUNCTION lent.spell FROM PUBLIC;
CREATE TABLE lent.spelt (id int PRIMARY KEY, title text);
ALTER TABLE lent.spelt OWNER TO plm_old;
INSERT INTO lent.spelt VALUES (1, 'a');
SELECT said($$SELECT product_llm.create_catalog('parts', 'lent.spelt', 'id', 'lent.spell(title)')$$);
GRANT EXECUTE ON FUNCTION lent.spell TO plm_old;
SELECT product_llm.create_catalog('parts', 'lent.spelt', 'id', 'lent.spell(title)');
REVOKE EXECUTE ON FUNCTION lent.spell FROM plm_old;
SELECT said($$INSERT INTO lent.spelt VALUES (2, 'b')$$);
SELECT said('DROP FUNCTION lent.spell');
-- The owner of the schema may drop what is in it; the owner of the catalog can clear up.
CREATE ROLE plm_landlord;
ALTER SCHEMA lent OWNER TO plm_landlord;
SET ROLE plm_landlord;
DROP TABLE lent.goods_words;
SET ROLE plm_old;
SELECT said($$UPDATE lent.product SET title = 'x'$$);
SELECT product_llm.drop_catalog('goods');
RESET ROLE;
DROP SCHEMA lent CASCADE;
SELECT * FROM left_over();
DROP ROLE plm_old, plm_new, plm_landlord;

-- ---- odd events ----

SELECT make_goods();
INSERT INTO event VALUES ('odd', 1, '2999-01-01', 'view'), ('odd', 2, 'infinity', 'view'), ('odd', 3, '-infinity', 'view'), ('odd', 4711, '2024-01-01', 'view'),
	('odd', 1, '2999-01-01', 'view'), ('odd', 1, '2999-01-01', 'view'), (NULL, 1, '2024-01-01', 'view'), ('odd', NULL, '2024-01-01', 'view'), ('odd', 1, NULL, 'view'),
	('', 1, '2024-01-01', NULL), ('', 2, '2024-01-01', 'never heard of'), (repeat('long ', 1000), 1, '2024-01-01', 'view');
SELECT pairs_agree FROM standing('goods');
SELECT left(v, 10) AS visitor, (SELECT count(*) FROM product_llm.recommend('goods', v)) AS recommended FROM unnest(ARRAY['odd', '', 'nobody', repeat('long ', 1000)]) AS v;
SELECT key FROM product_llm.recommend('goods', 'odd', exclude_kinds => '{}') WHERE key NOT IN (SELECT id::text FROM product);
UPDATE event SET visitor = NULL WHERE visitor = 'odd' AND item = 1;
UPDATE event SET visitor = 'odd', item = 2, at = '0001-01-01 BC' WHERE visitor IS NULL;
SELECT pairs_agree FROM standing('goods');
DELETE FROM event WHERE ctid = (SELECT min(ctid) FROM event WHERE visitor = 'odd');
SELECT pairs_agree FROM standing('goods');
INSERT INTO event SELECT 'many', 1 + i % 500, '2024-01-01'::timestamptz + i * interval '1 minute', 'view' FROM generate_series(1, 5000) AS i;
SELECT pairs_agree FROM standing('goods');
TRUNCATE event;
SELECT pairs_agree, (SELECT count(*) FROM goods_pair) AS pairs FROM standing('goods');
DROP TABLE product, event CASCADE;

-- ---- partitions ----

CREATE TABLE parted (id int, part int, title text) PARTITION BY LIST (part);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 (title text, part int, id int);
CREATE TABLE parted_3 (LIKE parted) PARTITION BY RANGE (id);
CREATE TABLE parted_3_low PARTITION OF parted_3 FOR VALUES FROM (0) TO (100);
INSERT INTO parted VALUES (1, 1, 'red shoes of leather');
INSERT INTO parted_2 (id, part, title) VALUES (2, 2, 'green tea');
INSERT INTO parted_3 VALUES (3, 3, 'blue hat');
SELECT product_llm.create_catalog('parts', 'parted', 'id', 'title');
SELECT products, embedded, stale FROM standing('parts');
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
ALTER TABLE parted ATTACH PARTITION parted_3 FOR VALUES IN (3);
CREATE TABLE parted_3_high PARTITION OF parted_3 FOR VALUES FROM (100) TO (200);
CREATE TABLE parted_4 PARTITION OF parted FOR VALUES IN (4);
SELECT products, embedded, stale FROM standing('parts');
INSERT INTO parted_2 (id, part, title) VALUES (20, 2, 'x');
INSERT INTO parted_3_high VALUES (130, 3, 'y');
INSERT INTO parted VALUES (40, 4, 'z');
SELECT products, embedded, stale FROM standing('parts');
BEGIN;
ALTER TABLE parted DETACH PARTITION parted_1;
SELECT products, embedded, stale FROM standing('parts');
ROLLBACK;
ALTER TABLE parted DETACH PARTITION parted_2;
ALTER TABLE parted DETACH PARTITION parted_3 CONCURRENTLY;
INSERT INTO parted_2 (id, part, title) VALUES (21, 2, 'x');
INSERT INTO parted_3 VALUES (131, 3, 'y');
SELECT products, embedded, stale FROM standing('parts');
SELECT tgrelid::regclass, count(*) FROM pg_trigger WHERE tgname ~ '^product_llm_' GROUP BY tgrelid ORDER BY tgrelid::regclass::text COLLATE "C";
DROP TABLE parted_4;
CREATE TABLE when_parted (visitor int, item int, at date) PARTITION BY RANGE (at);
CREATE TABLE when_2024 PARTITION OF when_parted FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE when_2025 (at date, item int, visitor int);
CREATE INDEX ON when_parted (visitor);
INSERT INTO when_2025 SELECT '2025-02-01'::date + i, i, 1 FROM generate_series(1, 5) AS i;
SELECT product_llm.bind_events('parts', 'when_parted', 'visitor', 'item', 'at');
INSERT INTO when_parted SELECT 1, i, '2024-02-01'::date + i FROM generate_series(3, 8) AS i;
SELECT pairs_agree, (SELECT count(*) > 0 FROM parts_pair WHERE a = '1') AS learnt FROM standing('parts');
ALTER TABLE when_parted ATTACH PARTITION when_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
SELECT pairs_agree, (SELECT count(*) > 0 FROM parts_pair WHERE a = '1') AS learnt FROM standing('parts');
DROP TABLE when_2024;
SELECT pairs_agree, (SELECT count(*) > 0 FROM parts_pair WHERE a = '8') AS learnt FROM standing('parts');
ALTER TABLE when_parted DETACH PARTITION when_2025;
SELECT pairs_agree, (SELECT count(*) FROM parts_pair) AS pairs FROM standing('parts');
DROP TABLE when_parted, when_2025;
SELECT products, embedded, stale FROM standing('parts');
-- A partition on another server cannot be watched.
CREATE FOREIGN DATA WRAPPER far;
CREATE SERVER far FOREIGN DATA WRAPPER far;
CREATE FOREIGN TABLE lone (id int, part int, title text) SERVER far;
SELECT s, said(s) FROM unnest(ARRAY['CREATE FOREIGN TABLE parted_far PARTITION OF parted FOR VALUES IN (9) SERVER far',
	'ALTER TABLE parted ATTACH PARTITION lone FOR VALUES IN (9)', $$SELECT product_llm.create_catalog('lone', 'lone', 'id', 'title')$$]) AS s;
SELECT product_llm.alter_catalog('parts', sync => 'manual');
CREATE FOREIGN TABLE parted_far PARTITION OF parted FOR VALUES IN (9) SERVER far;
SELECT said($$SELECT product_llm.alter_catalog('parts', sync => 'trigger')$$);
DROP TABLE parted, parted_2, parted_3 CASCADE;
DROP FOREIGN DATA WRAPPER far CASCADE;
SELECT * FROM left_over();

-- ---- more rows than are looked through at a time ----

CREATE TABLE many (id int PRIMARY KEY, title text);
INSERT INTO many SELECT i, 'x' FROM generate_series(1, 100100) AS i;
SELECT product_llm.create_catalog('goods', 'many', 'id', 'title');
SELECT products, embedded, stale FROM product_llm.catalogs;
DROP TABLE many CASCADE;

DROP FUNCTION said, standing, left_over, make_goods;
SELECT count(product_llm.drop_model(model)) FROM product_llm.models;
