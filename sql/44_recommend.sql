-- Recommendations: for a visitor, for a basket; what became of them; and forgetting a visitor.

CREATE FUNCTION recommend(catalog text, visitor text, max_results integer DEFAULT 10, query text DEFAULT NULL,
						  filter text DEFAULT NULL, filter_args jsonb DEFAULT '{}', diversity real DEFAULT 0.0,
						  exclude_kinds text[] DEFAULT NULL)
	RETURNS TABLE (key text, score real, source text, because text[], list text)
	AS 'MODULE_PATHNAME', 'product_llm_recommend' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 10;
COMMENT ON FUNCTION recommend(text, text, integer, text, text, jsonb, real, text[]) IS
	'products for a visitor, best first; source says what carried each (together, content or popular), because names the visitor''s own products behind it; products of the visitor''s events are left out, or only those of exclude_kinds';

CREATE FUNCTION recommend_basket(catalog text, keys text[], max_results integer DEFAULT 10)
	RETURNS TABLE (key text, score real, because text[], source text)
	AS 'MODULE_PATHNAME', 'product_llm_recommend_basket' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 1000000 ROWS 10;
COMMENT ON FUNCTION recommend_basket(text, text[], integer) IS
	'products that go with those in a basket, best first; because names which of them';

CREATE FUNCTION record_feedback(list text, key text, event text DEFAULT 'click') RETURNS void
	AS 'MODULE_PATHNAME', 'product_llm_record_feedback' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION record_feedback(text, text, text) IS
	'say that a product of a recommended list was clicked, bought or the like; saying it twice counts once';

-- SQL for one visitor's events that count and are not of the future, with what each weighs; the visitor is $1.  The clock tells what the
-- future is: by now() an event that this transaction has written with the clock's time would not have happened yet.
CREATE FUNCTION weighed_events(e product_llm.catalog_events) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT pg_catalog.format('SELECT product_llm.key_text(t.%1$I) AS item, t.%2$I::pg_catalog.timestamptz AS at,'
			' %3$s AS weight, %4$s AS kind, %5$s::pg_catalog.float8 AS most FROM %6$s AS t'
			' WHERE t.%7$I = $1::pg_catalog.text::%8$s AND t.%1$I IS NOT NULL AND t.%2$I IS NOT NULL AND t.%2$I <= (SELECT pg_catalog.clock_timestamp()) AND %3$s > 0',
			(e).item, (e).at,
			CASE WHEN (e).kind IS NOT NULL AND (e).weights IS NOT NULL
				THEN pg_catalog.format('coalesce((%L::pg_catalog.jsonb ->> product_llm.key_text(t.%I))::pg_catalog.float8, 1)', (e).weights, (e).kind)
				ELSE '1::pg_catalog.float8' END,
			CASE WHEN (e).kind IS NOT NULL THEN pg_catalog.format('product_llm.key_text(t.%I)', (e).kind) ELSE 'NULL::pg_catalog.text' END,
			coalesce((SELECT pg_catalog.max(w.value::pg_catalog.float8) FROM pg_catalog.jsonb_each_text((e).weights) AS w WHERE w.value::pg_catalog.float8 > 0), 1),
			(e).source,
			(e).visitor,
			(SELECT pg_catalog.format_type(a.atttypid, -1) FROM pg_catalog.pg_attribute AS a
			 WHERE a.attrelid = (e).source AND a.attname = (e).visitor AND NOT a.attisdropped))
	$$;
COMMENT ON FUNCTION weighed_events(product_llm.catalog_events) IS
	'SQL for one visitor''s events that count: item, at, weight, kind, and the largest weight there is';

CREATE FUNCTION catalog_feedback(catalog text, list text, key text, event text) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		e product_llm.catalog_events := product_llm.events_row(catalog);
		shown boolean;
	BEGIN
		EXECUTE pg_catalog.format('SELECT EXISTS (SELECT FROM %s AS l WHERE l.list = $1::pg_catalog.uuid'
			' AND $2 = ANY (ARRAY(SELECT l.keys[s] FROM pg_catalog.unnest(l.shown) AS s)))', e.lists) INTO shown USING list, key;
		IF shown THEN
			EXECUTE pg_catalog.format('INSERT INTO %s (list, key, event, at) VALUES ($1::pg_catalog.uuid, $2, $3, pg_catalog.now())'
				' ON CONFLICT DO NOTHING', e.feedback) USING list, key, event;
		END IF;
		RETURN shown;
	END
	$$;
COMMENT ON FUNCTION catalog_feedback(text, text, text, text) IS 'write feedback, as the catalog''s owner; false when the list did not show the product';

CREATE FUNCTION feedback_counts(catalog text)
	RETURNS TABLE (source text, event text, shown bigint, events bigint, rate double precision)
	LANGUAGE plpgsql STABLE STRICT PARALLEL UNSAFE ROWS 10
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		e product_llm.catalog_events;
	BEGIN
		PERFORM product_llm.own_catalog_row(catalog);
		e := product_llm.events_row(catalog);
		RETURN QUERY EXECUTE pg_catalog.format(
			'WITH shown AS (SELECT l.list, l.keys[s] AS key, l.sources[s] AS source FROM %1$s AS l, pg_catalog.unnest(l.shown) AS s),'
			' total AS (SELECT t.source, pg_catalog.count(*) AS shown FROM shown AS t GROUP BY t.source)'
			' SELECT t.source, k.event, t.shown, pg_catalog.count(f.key), pg_catalog.count(f.key)::pg_catalog.float8 / t.shown'
			' FROM total AS t CROSS JOIN (SELECT DISTINCT f.event FROM %2$s AS f) AS k'
			' LEFT JOIN (SELECT f.key, f.event, s.source FROM %2$s AS f JOIN shown AS s ON s.list = f.list AND s.key = f.key) AS f'
			'   ON f.source = t.source AND f.event = k.event'
			' GROUP BY t.source, k.event, t.shown ORDER BY t.source, k.event', e.lists, e.feedback);
	END
	$$;
COMMENT ON FUNCTION feedback_counts(text) IS 'for each source and event, how many products were shown and on how many the event was recorded';

CREATE VIEW feedback WITH (security_barrier) AS
	SELECT c.catalog COLLATE "default" AS catalog, f.source, f.event, f.shown, f.events, f.rate
	FROM product_llm.catalog AS c
	JOIN product_llm.catalog_events AS e USING (catalog)
	CROSS JOIN LATERAL product_llm.feedback_counts(c.catalog) AS f
	WHERE product_llm.owns(c.source);
COMMENT ON VIEW feedback IS 'click-through of recommended products by what carried them, for the catalogs that one owns';

-- Inverse propensity: each logged product that the other blend would have shown counts its events divided by the
-- probability with which it was shown.  Lists without exploration tell only of themselves.
CREATE FUNCTION estimate_blend(catalog text, settings jsonb, event text DEFAULT 'click')
	RETURNS TABLE (policy text, lists bigint, events_per_list double precision, low double precision, high double precision)
	LANGUAGE plpgsql STABLE STRICT PARALLEL UNSAFE ROWS 2
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog := product_llm.own_catalog_row(catalog);
		e product_llm.catalog_events := product_llm.events_row(catalog);
		changed jsonb;
	BEGIN
		PERFORM product_llm.check_catalog_settings(settings);
		changed := '{"content": 0.4, "popular": 0.01}'::jsonb || c.settings || settings;
		RETURN QUERY EXECUTE pg_catalog.format(
			'WITH explored AS (SELECT l.*, pg_catalog.cardinality(l.shown) AS n, pg_catalog.cardinality(l.keys) AS pool FROM %1$s AS l'
			'   WHERE l.explore > 0 AND pg_catalog.cardinality(l.keys) > pg_catalog.cardinality(l.shown)),'
			' place AS (SELECT x.list, x.n, k AS place, x.keys[k] AS key, k = ANY (x.shown) AS shown,'
			'   CASE WHEN k <= x.n THEN 1 - x.explore / x.n ELSE x.explore / (x.pool - x.n) END AS chance,'
			'   pg_catalog.rank() OVER (PARTITION BY x.list ORDER BY x.parts[3 * k - 2] + $1 * x.parts[3 * k - 1] + $2 * x.parts[3 * k] DESC, k) AS other'
			'   FROM explored AS x, pg_catalog.generate_series(1, x.pool) AS k),'
			' value AS (SELECT p.list,'
			'   coalesce(pg_catalog.sum(1) FILTER (WHERE p.shown AND f.key IS NOT NULL), 0)::pg_catalog.float8 AS logged,'
			'   coalesce(pg_catalog.sum(1 / p.chance) FILTER (WHERE p.shown AND p.other <= p.n AND f.key IS NOT NULL), 0)::pg_catalog.float8 AS other'
			'   FROM place AS p LEFT JOIN %2$s AS f ON f.list = p.list AND f.key = p.key AND f.event = $3 GROUP BY p.list),'
			' both_ AS (SELECT ''logged'' AS policy, v.logged AS value FROM value AS v UNION ALL SELECT ''changed'', v.other FROM value AS v)'
			' SELECT b.policy, pg_catalog.count(*), pg_catalog.avg(b.value),'
			'   pg_catalog.avg(b.value) - 1.96 * coalesce(pg_catalog.stddev_samp(b.value), 0) / pg_catalog.sqrt(pg_catalog.count(*)),'
			'   pg_catalog.avg(b.value) + 1.96 * coalesce(pg_catalog.stddev_samp(b.value), 0) / pg_catalog.sqrt(pg_catalog.count(*))'
			' FROM both_ AS b GROUP BY b.policy ORDER BY b.policy DESC', e.lists, e.feedback)
			USING (changed ->> 'content')::pg_catalog.float8, (changed ->> 'popular')::pg_catalog.float8, event;
	END
	$$;
COMMENT ON FUNCTION estimate_blend(text, jsonb, text) IS
	'events per list under the blend that was logged and, by inverse propensity, under changed weights of content and popular; needs lists with the setting explore above 0';

-- ---- forgetting ----

CREATE FUNCTION forget(catalog text, visitor text, delete_events boolean DEFAULT false)
	RETURNS TABLE (what text, erased bigint)
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE ROWS 5
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog := product_llm.own_catalog_row(catalog);
		done text[];
	BEGIN
		PERFORM product_llm.events_row(c.catalog);
		done := product_llm.catalog_work(c.catalog, 'forget', ARRAY[visitor, delete_events::pg_catalog.text]);
		RETURN QUERY SELECT n.what, n.erased::pg_catalog.int8
			FROM ROWS FROM (pg_catalog.unnest(ARRAY['pairs', 'lists', 'feedback', 'events', 'models']), pg_catalog.unnest(done[1:5])) AS n (what, erased);
		-- Models are not erased: they are named.
		RETURN QUERY SELECT 'model ' || m.model, 0::pg_catalog.int8 FROM pg_catalog.unnest(done[6:]) AS m (model);
	END
	$$;
COMMENT ON FUNCTION forget(text, text, boolean) IS
	'erase what the catalog keeps of a visitor, and say how much it was; the shop''s own events are deleted too when delete_events says so, and else not learnt from any more';

CREATE FUNCTION catalog_forget(catalog text, keys text[]) RETURNS text[]
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		e product_llm.catalog_events := product_llm.events_row(catalog);
		name text;				-- as events and lists have it, however the caller has written it
		salt bytea;
		pairs bigint;
		lists bigint := 0;
		answers bigint := 0;
		events bigint := 0;
		known boolean;
		models text[] := '{}';
	BEGIN
		EXECUTE product_llm.visitor_form(e) INTO name USING keys[1];
		EXECUTE pg_catalog.format('SELECT EXISTS (SELECT FROM %s AS t WHERE product_llm.key_text(t.%I) = $1)', e.source, e.visitor) INTO known USING name;
		IF known THEN
			models := product_llm.models_that_read(ARRAY[e.source, e.pairs, e.lists, e.feedback]::pg_catalog.regclass[]);
		END IF;
		-- In the order in which writers of events do: the rows, then the table of pairs; and that at once as strongly as it will
		-- be needed, because two that hold it weakly and then want more wait for each other.
		IF keys[2]::boolean THEN
			EXECUTE pg_catalog.format('SELECT pg_catalog.count(*) FROM (SELECT FROM %s AS t WHERE product_llm.key_text(t.%I) = $1 FOR UPDATE) AS l',
				e.source, e.visitor) USING name;
		END IF;
		IF EXISTS (SELECT FROM pg_catalog.pg_class AS r WHERE r.oid = e.pairs) THEN
			EXECUTE pg_catalog.format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', e.pairs);
		END IF;
		EXECUTE pg_catalog.format('SELECT pg_catalog.count(*) FROM product_llm.pair_weights(ARRAY('
			'SELECT v.item FROM (%s) AS v WHERE v.visitor = $1)) AS p', product_llm.counted_events(e, e.source::text)) INTO pairs USING name;
		-- What is gone keeps nothing.
		IF EXISTS (SELECT FROM pg_catalog.pg_class AS r WHERE r.oid = e.lists) THEN
			IF EXISTS (SELECT FROM pg_catalog.pg_class AS r WHERE r.oid = e.feedback) THEN
				EXECUTE pg_catalog.format('DELETE FROM %s AS f USING %s AS l WHERE l.list = f.list AND l.visitor = $1', e.feedback, e.lists) USING name;
				GET DIAGNOSTICS answers = ROW_COUNT;
			END IF;
			EXECUTE pg_catalog.format('DELETE FROM %s AS l WHERE l.visitor = $1', e.lists) USING name;
			GET DIAGNOSTICS lists = ROW_COUNT;
		END IF;
		IF keys[2]::boolean THEN
			EXECUTE pg_catalog.format('DELETE FROM %s AS t WHERE product_llm.key_text(t.%I) = $1', e.source, e.visitor) USING name;
			GET DIAGNOSTICS events = ROW_COUNT;
			-- There is nothing left that would have to be passed over.
			DELETE FROM product_llm.catalog_forgotten AS f
			WHERE f.catalog = e.catalog AND f.visitor = pg_catalog.sha256(f.salt || pg_catalog.convert_to(name, 'UTF8'));
		ELSE
			salt := coalesce((SELECT f.salt FROM product_llm.catalog_forgotten AS f WHERE f.catalog = e.catalog LIMIT 1),
							 pg_catalog.decode(pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''), 'hex'));
			INSERT INTO product_llm.catalog_forgotten AS f (catalog, visitor, salt)
			VALUES (e.catalog, pg_catalog.sha256(salt || pg_catalog.convert_to(name, 'UTF8')), salt)
			ON CONFLICT DO NOTHING;
		END IF;
		PERFORM product_llm.catalog_pairs(catalog, NULL);
		RETURN ARRAY[pairs, lists, answers, events, pg_catalog.cardinality(models)]::pg_catalog.text[] || models;
	END
	$$;
COMMENT ON FUNCTION catalog_forget(text, text[]) IS 'erase what a catalog keeps of a visitor; run as the catalog''s owner';
