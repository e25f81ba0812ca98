-- The exact index, product_flat: whatever it answers, a scan of all rows answers, too.
SET search_path = public, product_llm;
SET client_min_messages = warning;

-- ---- the operator ----
SELECT '{1,0}'::real[] <=> '{1,0}' AS same, '{1,0}'::real[] <=> '{0,2}' AS across, '{1,0}'::real[] <=> '{-3,0}' AS opposite,
	('{0.3,0.7,0.1}'::real[] <=> '{0.2,0.1,0.9}') = 1 - similarity('{0.3,0.7,0.1}', '{0.2,0.1,0.9}') AS bits_of_similarity,
	NULL::real[] <=> '{1}' IS NULL AS null_for_null;
SELECT '{1,0}'::real[] <=> '{1,0,0}';
SELECT '{0,0}'::real[] <=> '{1,0}';

-- ---- rows: groups that lie near each other, many equal, every tenth twice ----
CREATE FUNCTION vector(seed int, n int, spread float8 DEFAULT 1) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg((sin(seed % 7 * 1000 + i * 7.31) + spread * sin(seed * 91.7 + i * i * 0.37 + seed * i * 1.13))::real ORDER BY i)
	FROM generate_series(1, n) AS i $$;
CREATE TABLE item (id int PRIMARY KEY, kind int, embedding real[]);
INSERT INTO item SELECT i, i % 100, vector(i - i % 10 / 9, 70, 0.3) FROM generate_series(1, 9000) AS i;
CREATE INDEX item_flat ON item USING product_flat (embedding);
VACUUM ANALYZE item;

-- The k nearest by the index and by a sort: the same distances in the same order, and rows that have them.
CREATE FUNCTION differ(source text, query real[], most int, filter text DEFAULT 'true') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	by_index float8[];
	by_sort float8[];
	rows int[];
	wrong int;
	plan text;
BEGIN
	PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true);
	FOR plan IN EXECUTE format('EXPLAIN SELECT id FROM %s WHERE %s ORDER BY embedding <=> $1 LIMIT %s', source, filter, most) USING query
	LOOP
		EXIT WHEN plan LIKE '%Order By: (embedding <=>%';
	END LOOP;
	IF plan IS NULL OR plan NOT LIKE '%Order By: (embedding <=>%' THEN
		RETURN 'not by the index: ' || plan;
	END IF;
	EXECUTE format('SELECT array_agg(d), array_agg(id) FROM (SELECT id, embedding <=> $1 AS d FROM %s WHERE %s ORDER BY embedding <=> $1 LIMIT %s) AS t',
				   source, filter, most) INTO by_index, rows USING query;
	PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true), set_config('enable_indexscan', 'off', true);
	EXECUTE format('SELECT array_agg(d) FROM (SELECT embedding <=> $1 AS d FROM %s WHERE %s ORDER BY 1 LIMIT %s) AS t',
				   source, filter, most) INTO by_sort USING query;
	PERFORM set_config('enable_indexscan', 'on', true);
	EXECUTE format('SELECT count(*) FROM unnest($1, $2) AS a (id, d) LEFT JOIN %s AS s ON s.id = a.id WHERE s.embedding <=> $3 IS DISTINCT FROM a.d', source)
		INTO wrong USING rows, by_index, query;
	IF by_index IS DISTINCT FROM by_sort OR wrong > 0 OR cardinality(rows) <> (SELECT count(DISTINCT r) FROM unnest(rows) AS r) THEN
		RETURN format('differ: %s rows, %s, %s wrong', cardinality(by_index), cardinality(by_sort), wrong);
	END IF;
	RETURN NULL;
END
$$;

SELECT q, most, differ('item', vector(q, 70, 0.5), most) FROM unnest('{1,17,8999,77777}'::int[]) AS q, unnest('{1,10,400}'::int[]) AS most
WHERE differ('item', vector(q, 70, 0.5), most) IS NOT NULL;
-- a row that is there, many equal, more than there are, more than a batch
SELECT differ('item', (SELECT embedding FROM item WHERE id = 1239), 30), differ('item', vector(5, 70), 20000), differ('item', vector(5, 70), 8999);
SELECT differ('item', vector(6, 70), 10, 'kind = 42'), differ('item', vector(6, 70), 10, 'kind < 0'),
	differ('item', vector(6, 70), 30, 'id % 500 = 3');
-- the same on each level of instructions
DO $$
DECLARE
	level text;
	was text;
BEGIN
	FOREACH level IN ARRAY '{portable,avx2,avx2_vnni,avx512,avx512_vnni,avx512_bf16,neon,neon_dot}'::text[]
	LOOP
		BEGIN
			PERFORM set_config('product_llm.simd', level, true);
			was := differ('item', vector(8, 70), 50);
			IF was IS NOT NULL THEN
				RAISE WARNING '%: %', level, was;
			END IF;
		EXCEPTION WHEN invalid_parameter_value THEN
			NULL;
		END;
	END LOOP;
END
$$;

-- ---- the plan ----
EXPLAIN (COSTS OFF) SELECT id FROM item ORDER BY embedding <=> '{1,2}' LIMIT 5;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM item WHERE kind = 3 ORDER BY embedding <=> '{1,2}' LIMIT 5;
-- not without the operator, nor the other way round
EXPLAIN (COSTS OFF) SELECT id FROM item ORDER BY embedding <=> '{1,2}' DESC LIMIT 5;
EXPLAIN (COSTS OFF) SELECT count(*) FROM item WHERE embedding IS NOT NULL;
RESET enable_seqscan;

-- ---- rows come and go ----
DELETE FROM item WHERE id % 3 = 0;
UPDATE item SET embedding = vector(id + 5, 70, 0.2) WHERE id % 7 = 0;
INSERT INTO item SELECT i, i % 100, vector(i, 70, 0.4) FROM generate_series(10001, 10900) AS i;
SELECT differ('item', vector(q, 70), 60), differ('item', vector(q, 70), 20000) FROM unnest('{3,9}'::int[]) AS q;
SELECT pg_relation_size('item_flat') AS size \gset
VACUUM item;
SELECT differ('item', vector(q, 70), 60), differ('item', vector(q, 70), 20000) FROM unnest('{3,9}'::int[]) AS q;
-- what was freed is used
INSERT INTO item SELECT i, i % 100, vector(i, 70, 0.4) FROM generate_series(11001, 13900) AS i;
SELECT pg_relation_size('item_flat') = :size AS same_size, differ('item', vector(3, 70), 60), differ('item', vector(3, 70), 20000);
BEGIN;
DELETE FROM item WHERE id > 11000;
SELECT differ('item', vector(3, 70), 60);
ROLLBACK;
SELECT differ('item', vector(3, 70), 60);
REINDEX INDEX item_flat;
SELECT differ('item', vector(3, 70), 60), differ('item', vector(3, 70), 20000);
REINDEX INDEX CONCURRENTLY item_flat;
SELECT differ('item', vector(3, 70), 60), amvalidate(o.oid) FROM pg_opclass AS o WHERE opcname = 'real_cosine_ops';

-- ---- cursors: batches follow each other without gap or repeat, whatever happens meanwhile ----
SET enable_seqscan = off;
SET enable_sort = off;
BEGIN;
CREATE TEMP TABLE seen (id int, d float8, place serial);
DECLARE c CURSOR FOR SELECT id, embedding <=> vector(4, 70) FROM item ORDER BY embedding <=> vector(4, 70);
CREATE FUNCTION fetch_some(n int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	c refcursor := 'c';
	r record;
BEGIN
	FOR i IN 1..n LOOP
		FETCH c INTO r;
		EXIT WHEN NOT FOUND;
		INSERT INTO seen VALUES (r.id, r."?column?");
	END LOOP;
END
$$;
SELECT count(*) AS there FROM item \gset
SELECT fetch_some(700);
DELETE FROM item WHERE id % 2 = 0;
INSERT INTO item SELECT i, 1, vector(4, 70) FROM generate_series(17001, 17100) AS i;
SELECT fetch_some(20000);
SELECT count(*) = :there AS all_seen, count(DISTINCT id) = :there AS once, bool_and(d >= before) AS in_order
FROM (SELECT id, d, coalesce(lag(d) OVER (ORDER BY place), 0) AS before FROM seen) AS s;
ROLLBACK;
RESET enable_seqscan;
RESET enable_sort;

-- all equally near, more than a batch
CREATE TABLE alike AS SELECT i AS id, '{1,2,3}'::real[] AS embedding FROM generate_series(1, 9500) AS i;
CREATE INDEX ON alike USING product_flat (embedding);
SELECT differ('alike', '{3,2,1}', 9400), differ('alike', '{3,2,1}', 20000), differ('alike', '{3,2,1}', 3, 'id % 9001 = 9000');

-- ---- rows that have no distance: as without the index ----
CREATE TABLE odd (id int, embedding real[]);
CREATE INDEX ON odd USING product_flat (embedding);
SELECT differ('odd', '{1,2}', 5);
INSERT INTO odd VALUES (1, NULL);
SELECT differ('odd', '{1,2}', 5);
INSERT INTO odd VALUES (2, '{1,0}'), (3, NULL), (4, '{0,1}'), (5, '{3,4}');
-- NULL comes last, and a null query orders nothing
SELECT differ('odd', '{1,2}', 50);
SET enable_seqscan = off;
SET enable_sort = off;
SELECT id FROM odd WHERE id <> 3 ORDER BY embedding <=> '{1,0.5}';
SELECT count(*) FROM (SELECT id FROM odd ORDER BY embedding <=> NULL LIMIT 9) AS t;
INSERT INTO odd VALUES (6, '{0,0}'), (7, '{1,2,3}'), (8, '{NaN,1}'), (9, '{}'), (10, '{{1,2}}'), (11, '{NULL,1}'), (12, '{3,2,2}');
SELECT id FROM odd WHERE id < 6 ORDER BY embedding <=> '{1,0.5}';
SELECT id FROM odd WHERE id IN (7, 12) ORDER BY embedding <=> '{3,2,1}';
SELECT id FROM odd WHERE id = 6 ORDER BY embedding <=> '{1,0.5}';
SELECT id FROM odd WHERE id = 7 ORDER BY embedding <=> '{1,0.5}';
SELECT id FROM odd WHERE id = 8 ORDER BY embedding <=> '{1,0.5}';
SELECT id FROM odd WHERE id = 9 ORDER BY embedding <=> '{1,0.5}';
SELECT id FROM odd WHERE id = 10 ORDER BY embedding <=> '{1,0.5}';
SELECT id FROM odd WHERE id = 11 ORDER BY embedding <=> '{1,0.5}';
SELECT id FROM odd WHERE id = 2 ORDER BY embedding <=> '{0,0}';
SELECT id FROM odd WHERE id = 2 ORDER BY embedding <=> '{1,NULL}';
SELECT id FROM odd WHERE id = 2 ORDER BY embedding <=> array_fill(1::real, ARRAY[20000]);
SELECT count(*) FROM (SELECT id FROM odd WHERE id < 0 ORDER BY embedding <=> '{0,0}') AS t;
REINDEX TABLE odd;
SELECT id FROM odd WHERE id < 6 ORDER BY embedding <=> '{1,0.5}';
SELECT id FROM odd WHERE id IN (7, 12) ORDER BY embedding <=> '{3,2,1}';
-- lengths that single precision cannot hold
INSERT INTO odd VALUES (20, '{1e30,3e38}'), (21, '{1e-38,-1e-40}'), (22, '{2e-45,1e-38}');
SELECT id FROM odd WHERE id >= 20 OR id IN (2, 4) ORDER BY embedding <=> '{1e-30,2e-30}';
RESET enable_seqscan;
RESET enable_sort;

-- ---- what an index cannot be ----
INSERT INTO odd VALUES (30, array_fill(1::real, ARRAY[9000]));
CREATE INDEX ON odd USING product_flat (embedding) WITH (fillfactor = 70);
CREATE UNIQUE INDEX ON odd USING product_flat (embedding);
CREATE INDEX ON odd USING product_flat (id);
CREATE INDEX ON odd USING product_flat (embedding, embedding);
CREATE TABLE kept_apart (e real[], EXCLUDE USING product_flat (e WITH <=>));

-- ---- partitions, partial, unlogged and temporary ----
CREATE TABLE part (id int, embedding real[]) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (500);
CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (500) TO (5000);
INSERT INTO part SELECT i, vector(i, 20) FROM generate_series(1, 1200) AS i;
CREATE INDEX ON part USING product_flat (embedding);
CREATE TABLE part_3 PARTITION OF part FOR VALUES FROM (5000) TO (6000);
INSERT INTO part SELECT i, vector(i, 20) FROM generate_series(5001, 5300) AS i;
ANALYZE part;
SELECT differ('part', vector(3, 20), 25), differ('part', vector(3, 20), 5000);
CREATE UNLOGGED TABLE quick (id int, embedding real[]);
CREATE INDEX ON quick USING product_flat (embedding) WHERE id % 2 = 0;
INSERT INTO quick SELECT i, vector(i, 1500) FROM generate_series(1, 300) AS i;
SELECT differ('quick', vector(2, 1500), 25, 'id % 2 = 0'), differ('quick', vector(2, 1500), 500, 'id % 2 = 0 AND id > 7');
CREATE TEMP TABLE passing (id int, embedding real[]);
INSERT INTO passing SELECT i, vector(i, 8) FROM generate_series(1, 300) AS i;
CREATE INDEX ON passing USING product_flat (embedding);
INSERT INTO passing SELECT i, vector(i, 8) FROM generate_series(301, 600) AS i;
SELECT differ('passing', vector(2, 8), 25), differ('passing', vector(2, 8), 500);
-- one scan for each row of another table
SELECT count(*) FROM (SELECT q.id, n.id AS near, n.d, row_number() OVER (PARTITION BY q.id ORDER BY n.d) AS place FROM passing AS q,
	LATERAL (SELECT p.id, p.embedding <=> q.embedding AS d FROM passing AS p ORDER BY p.embedding <=> q.embedding LIMIT 3) AS n WHERE q.id <= 50) AS t
WHERE place = 1 AND d > 1e-6;

-- ---- CREATE INDEX by several processes: the pages of one, in another order ----
CREATE TABLE built (id int, note int, embedding real[]) WITH (parallel_workers = 2, fillfactor = 60, autovacuum_enabled = off);
INSERT INTO built SELECT i, 1, CASE WHEN i % 9 = 4 THEN NULL WHEN i % 50 = 7 THEN '{1,2,3}' ELSE vector(i, 70, 0.3) END FROM generate_series(1, 6000) AS i;
-- chains of versions, dead rows, and rows that are gone
UPDATE built SET note = 2 WHERE id % 3 = 0;
UPDATE built SET note = 3 WHERE id % 6 = 0;
DELETE FROM built WHERE id % 11 = 0;
-- While somebody who began before may still see the old versions, as autovacuum's ANALYZE of another table may, a new index serves nobody older.
DO $$
BEGIN
	WHILE EXISTS (SELECT FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()) LOOP
		PERFORM pg_sleep(0.05), pg_stat_clear_snapshot();
	END LOOP;
END
$$;
CREATE FUNCTION build(workers int, OUT pages bigint, OUT answers text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('max_parallel_maintenance_workers', workers::text, true);
	DROP INDEX IF EXISTS built_flat;
	CREATE INDEX built_flat ON built USING product_flat (embedding);
	pages := pg_relation_size('built_flat') / 8192;
	answers := concat(differ('built', vector(3, 70), 60, 'id % 50 <> 7'), differ('built', vector(9, 70), 20000, 'id % 50 <> 7'));
END
$$;
SELECT a.answers AS alone, t.answers AS together, a.pages = t.pages AS same_pages FROM build(0) AS a, build(2) AS t;
-- rows are added where the leader has ended, and removed from everywhere
INSERT INTO built SELECT i, 1, vector(i, 70, 0.4) FROM generate_series(6001, 6900) AS i;
DELETE FROM built WHERE id % 5 = 0;
SELECT differ('built', vector(3, 70), 60, 'id % 50 <> 7'), differ('built', vector(9, 70), 20000, 'id % 50 <> 7');
VACUUM built;
SELECT differ('built', vector(3, 70), 60, 'id % 50 <> 7'), differ('built', vector(9, 70), 20000, 'id % 50 <> 7');
REINDEX INDEX built_flat;
SELECT differ('built', vector(3, 70), 60, 'id % 50 <> 7'), differ('built', vector(9, 70), 20000, 'id % 50 <> 7');
DROP INDEX built_flat;
CREATE INDEX CONCURRENTLY built_flat ON built USING product_flat (embedding) WHERE id % 2 = 0;
SELECT differ('built', vector(3, 70), 60, 'id % 2 = 0 AND id % 50 <> 7'), differ('built', vector(9, 70), 20000, 'id % 2 = 0 AND id % 50 <> 7');
REINDEX INDEX CONCURRENTLY built_flat;
SELECT differ('built', vector(3, 70), 60, 'id % 2 = 0 AND id % 50 <> 7');
-- nothing but rows without a direction, and nothing at all
UPDATE built SET embedding = NULL;
REINDEX INDEX built_flat;
SELECT differ('built', vector(3, 70), 60, 'id % 2 = 0');
TRUNCATE built;
SELECT differ('built', vector(3, 70), 60, 'id % 2 = 0');
DROP INDEX built_flat;
ALTER TABLE built SET UNLOGGED;
INSERT INTO built SELECT i, 1, vector(i, 70) FROM generate_series(1, 400) AS i;
SELECT answers FROM build(2);
-- who reads the rows?  While the leader waits, a worker meets one.
CREATE FUNCTION read_by(embedding real[]) RETURNS real[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	IF (SELECT backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid()) = 'parallel worker' THEN
		RAISE EXCEPTION 'a worker has met a row';
	END IF;
	PERFORM pg_sleep(0.002);
	RETURN embedding;
END
$$;
\set VERBOSITY terse
CREATE INDEX by_workers ON built USING product_flat (read_by(embedding));
SET max_parallel_maintenance_workers = 0;
CREATE INDEX by_none ON built USING product_flat (read_by(embedding));
RESET max_parallel_maintenance_workers;
ALTER TABLE built SET (parallel_workers = 0);
CREATE INDEX by_none_either ON built USING product_flat (read_by(embedding));
ALTER TABLE built SET (parallel_workers = 2);
ALTER FUNCTION read_by PARALLEL RESTRICTED;
CREATE INDEX by_the_leader ON built USING product_flat (read_by(embedding));
-- an error in whichever process, and a timeout
DROP INDEX built_flat, by_none, by_none_either, by_the_leader;
INSERT INTO built VALUES (1, 1, array_fill(1::real, ARRAY[9000]));
CREATE INDEX too_long ON built USING product_flat (embedding);
DELETE FROM built WHERE cardinality(embedding) = 9000;
CREATE FUNCTION slow(embedding real[]) RETURNS real[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	PERFORM pg_sleep(0.1);
	RETURN embedding;
END
$$;
SET statement_timeout = '500ms';
CREATE INDEX too_slow ON built USING product_flat (slow(embedding));
RESET statement_timeout;
\set VERBOSITY default
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker';
SELECT count(*) FROM pg_index WHERE indrelid = 'built'::regclass;
SELECT answers FROM build(2);

DROP TABLE item, alike, odd, part, quick, passing, built;
DROP FUNCTION differ, vector, build, read_by, slow;
