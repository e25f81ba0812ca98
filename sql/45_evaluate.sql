-- How good search and recommendations are, and fitting what can be fitted to a shop's own data.

CREATE FUNCTION evaluate_search(catalog text, judgments text, max_results integer DEFAULT 10, samples integer DEFAULT 1000)
	RETURNS TABLE (system text, metric text, value double precision, low double precision, high double precision,
				   difference double precision, difference_low double precision, difference_high double precision)
	AS 'MODULE_PATHNAME', 'product_llm_evaluate_search' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 10000000 ROWS 32;
COMMENT ON FUNCTION evaluate_search(text, text, integer, integer) IS
	'search measured by judgments, a SELECT of query, key and grade, beside BM25, PostgreSQL''s full-text search and a random order, with 95 % bootstrap bounds; difference is that of hybrid less the system';

-- SQL for all events that count and are not of the future, by visitor and time: visitor, item, weight, the largest weight
-- there is, and a hash that says which visitors are chosen when not all are.  The clock tells what the future is, as in recommend().
CREATE FUNCTION evaluated_events(e product_llm.catalog_events, counted text) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT pg_catalog.format('SELECT v.visitor, v.item, v.weight, %s::pg_catalog.float8,'
			' (''x'' || pg_catalog.left(pg_catalog.md5(v.visitor), 16))::pg_catalog.bit(64)::pg_catalog.int8'
			' FROM (%s) AS v WHERE v.at <= (SELECT pg_catalog.clock_timestamp())'
			' ORDER BY v.visitor COLLATE "C", v.at, pg_catalog.md5(v.visitor || v.item), v.item COLLATE "C"',
			coalesce((SELECT pg_catalog.max(w.value::pg_catalog.float8) FROM pg_catalog.jsonb_each_text((e).weights) AS w WHERE w.value::pg_catalog.float8 > 0), 1),
			counted)
	$$;
COMMENT ON FUNCTION evaluated_events(product_llm.catalog_events, text) IS
	'SQL for a bound table''s events in the order in which they are evaluated: visitor, item, weight, largest weight, hash';

CREATE FUNCTION evaluate_recommendations(catalog text, visitors integer DEFAULT NULL, samples integer DEFAULT 1000)
	RETURNS TABLE (system text, metric text, value double precision, low double precision, high double precision,
				   difference double precision, difference_low double precision, difference_high double precision)
	AS 'MODULE_PATHNAME', 'product_llm_evaluate_recommendations' LANGUAGE C STABLE PARALLEL RESTRICTED COST 10000000 ROWS 28;
COMMENT ON FUNCTION evaluate_recommendations(text, integer, integer) IS
	'recommendations measured on each visitor''s last product, left out, against the whole catalogue, beside simple systems, with 95 % bootstrap bounds; difference is that of the blend less the system; visitors: so many are chosen, null for all';

CREATE FUNCTION fit_catalog(catalog text, judgments text DEFAULT NULL)
	RETURNS TABLE (setting text, old double precision, new double precision, metric text,
				   before double precision, after double precision)
	AS 'MODULE_PATHNAME', 'product_llm_fit_catalog' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000000 ROWS 5;
COMMENT ON FUNCTION fit_catalog(text, text) IS
	'what tune_catalog would set, and what it would gain; changes nothing';

CREATE FUNCTION tune_catalog(catalog text, judgments text DEFAULT NULL)
	RETURNS TABLE (setting text, old double precision, new double precision, metric text,
				   before double precision, after double precision)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE COST 100000000 ROWS 5
	AS $$
	DECLARE
		c product_llm.catalog;
		changed jsonb := '{}';
	BEGIN
		IF catalog IS NULL THEN
			RAISE EXCEPTION 'catalog must not be null' USING ERRCODE = 'null_value_not_allowed';
		END IF;
		c := product_llm.own_catalog_row(catalog);
		FOR setting, old, new, metric, before, after IN
			SELECT f.setting, f.old, f.new, f.metric, f.before, f.after FROM product_llm.fit_catalog(c.catalog, judgments) AS f
		LOOP
			IF before IS NOT NULL THEN
				changed := changed || pg_catalog.jsonb_build_object(setting, new);
			END IF;
			RETURN NEXT;
		END LOOP;
		IF changed <> '{}' THEN
			PERFORM product_llm.alter_catalog(c.catalog, settings => changed);
		END IF;
	END
	$$;
COMMENT ON FUNCTION tune_catalog(text, text) IS
	'fit the weight of meaning in search, on judgments or on queries made from the titles, and the constants of recommendations, on each visitor''s last product but one, and keep them in the catalog''s settings';
