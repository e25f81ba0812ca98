-- similarity() over all rows, which is what score() computes of each once its query is embedded, without an index, the ten best: the
-- median of nine scans of a table that is in memory, on one core and with two workers, and its bar for a million rows of 384 numbers.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
-- Vectors within the rows, as CREATE TABLE has them when one row fits a page: a copy, for the other table keeps them outside.
CREATE TABLE stored (id int, embedding real[]) WITH (toast_tuple_target = 8160);
ALTER TABLE stored ALTER embedding SET STORAGE MAIN, ALTER embedding SET STATISTICS 0;
INSERT INTO stored SELECT id, embedding FROM item;
VACUUM ANALYZE stored;

CREATE FUNCTION pg_temp.scan_ms(workers int) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz;
	took float8[];
BEGIN
	PERFORM set_config('max_parallel_workers_per_gather', workers::text, true);
	FOR i IN 1 .. 10 LOOP
		began := clock_timestamp();
		-- Planned anew: a plan that is kept would be the one without workers.
		EXECUTE 'SELECT id FROM stored ORDER BY product_llm.similarity(embedding, (SELECT v FROM query WHERE query.id = 1)) DESC LIMIT 10';
		took := took || extract(epoch FROM clock_timestamp() - began)::float8 * 1000;
	END LOOP;
	RETURN (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY t) FROM unnest(took[2:]) AS t);
END
$$;
SELECT format('similarity of all rows, %s: %s ms, bar %s ms %s (table %s)', s.how, round(f.took), round(s.bar * n.rows / 1e6),
	CASE WHEN f.took <= s.bar * n.rows / 1e6 THEN 'met' ELSE 'MISSED' END, pg_size_pretty(pg_relation_size('stored')))
FROM (VALUES (0, 'one core', 550), (2, 'two workers', 360)) AS s (workers, how, bar), pg_temp.scan_ms(s.workers) AS f (took),
	(SELECT count(*) AS rows FROM stored) AS n ORDER BY s.workers;
