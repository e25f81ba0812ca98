-- Events: the shop's own table of views, carts and purchases is bound to a catalog, not copied.
--
-- What is learnt from it stands in <catalog>_pair: for two products the sum of what each visitor has contributed, whole
-- numbers all of them, so that adding a visitor and taking the same visitor away again leave exactly what was.  Each pair
-- stands under both its products: in row (a, b), "after" says how much b came after a, "before" how much before it; in row
-- (a, a), "after" is the number of a's visitors.  A row is added for each change; refresh_catalog adds them up.

CREATE FUNCTION pair_weights(items text[])
	RETURNS TABLE (a text, b text, after bigint, before bigint)
	AS 'MODULE_PATHNAME', 'product_llm_pair_weights' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000 ROWS 100;
COMMENT ON FUNCTION pair_weights(text[]) IS
	'what one visitor''s products, in order of time, contribute to the table of pairs; in row (a, a) after counts the visitor';

CREATE FUNCTION events_sync() RETURNS trigger
	AS 'MODULE_PATHNAME', 'product_llm_events_sync' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION events_sync() IS
	'trigger on a bound table of events: adds what the visitors of the statement contribute to the pairs now, less what they did before';

CREATE FUNCTION events_row(catalog text) RETURNS product_llm.catalog_events
	LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		e product_llm.catalog_events;
	BEGIN
		SELECT * INTO e FROM product_llm.catalog_events AS t WHERE t.catalog OPERATOR(pg_catalog.=) $1;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'catalog "%" has no events', $1
				USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'product_llm.bind_events tells it where they are.';
		END IF;
		RETURN e;
	END
	$$;
COMMENT ON FUNCTION events_row(text) IS 'the table of events of a catalog, or an error';

CREATE FUNCTION check_events_columns(e product_llm.catalog_events) RETURNS void
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		"column" name;
	BEGIN
		FOREACH "column" IN ARRAY pg_catalog.array_remove(ARRAY[e.visitor, e.item, e.at, e.kind], NULL)
		LOOP
			IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = e.source AND a.attname = "column"
						   AND a.attnum > 0 AND NOT a.attisdropped) THEN
				RAISE EXCEPTION 'column "%" of table % does not exist', "column", e.source USING ERRCODE = 'undefined_column',
					HINT = 'visitor, item, at and kind are names of columns, spelt as in the table.';
			END IF;
		END LOOP;
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = e.source AND a.attname = e.at
					   AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)) THEN
			RAISE EXCEPTION 'column "%" of table % is not a timestamp or date', e.at, e.source USING ERRCODE = 'datatype_mismatch',
				HINT = 'at is the column that says when the event happened.';
		END IF;
		PERFORM product_llm.check_key_type(a.attname, a.atttypid) FROM pg_catalog.pg_attribute AS a
		WHERE a.attrelid = e.source AND a.attname = ANY (ARRAY[e.visitor, e.item]);
	END
	$$;
COMMENT ON FUNCTION check_events_columns(product_llm.catalog_events) IS 'an error when the columns of a table of events are not there or of no use';

CREATE FUNCTION bind_events(catalog text, source regclass, visitor name, item name, at name, kind name DEFAULT NULL,
							weights jsonb DEFAULT NULL)
	RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog;
		e product_llm.catalog_events;
		space name;
		weight record;
	BEGIN
		IF catalog IS NULL OR source IS NULL OR visitor IS NULL OR item IS NULL OR at IS NULL THEN
			RAISE EXCEPTION 'catalog, source, visitor, item and at must not be null' USING ERRCODE = 'null_value_not_allowed';
		END IF;
		c := product_llm.own_catalog_row(catalog);
		IF EXISTS (SELECT FROM product_llm.catalog_events AS t WHERE t.catalog = c.catalog) THEN
			RAISE EXCEPTION 'catalog "%" already has events', c.catalog USING ERRCODE = 'duplicate_object',
				HINT = 'product_llm.unbind_events unbinds them.';
		END IF;
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_class AS r WHERE r.oid = source AND r.relkind IN ('r', 'p') AND r.relpersistence <> 't') THEN
			RAISE EXCEPTION '"%" is not a table of events', source USING ERRCODE = 'wrong_object_type',
				HINT = 'Name a table or a partitioned table of the shop.';
		END IF;
		IF (SELECT r.relowner FROM pg_catalog.pg_class AS r WHERE r.oid = source)
			<> (SELECT r.relowner FROM pg_catalog.pg_class AS r WHERE r.oid = c.source) THEN
			RAISE EXCEPTION 'table % and the source of catalog "%" have different owners', source, c.catalog
				USING ERRCODE = 'insufficient_privilege', HINT = 'What is learnt from events belongs to one owner.';
		END IF;
		e := (c.catalog, source, visitor, item, at, kind, weights, NULL, NULL, NULL, NULL);
		PERFORM product_llm.check_events_columns(e);
		IF weights IS NOT NULL THEN
			IF kind IS NULL OR pg_catalog.jsonb_typeof(weights) <> 'object' THEN
				RAISE EXCEPTION 'weights must be a JSON object of a number for each kind, and kind a column'
					USING ERRCODE = 'invalid_parameter_value', HINT = 'For example {"view": 1, "cart": 3, "purchase": 5}.';
			END IF;
			FOR weight IN SELECT w.key, w.value FROM pg_catalog.jsonb_each(weights) AS w
			LOOP
				IF pg_catalog.jsonb_typeof(weight.value) <> 'number' OR weight.value::pg_catalog.numeric NOT BETWEEN 0 AND 1000 THEN
					RAISE EXCEPTION 'weight of "%" must be a number between 0 and 1000', weight.key
						USING ERRCODE = 'invalid_parameter_value', HINT = '0 ignores events of that kind.';
				END IF;
			END LOOP;
		END IF;
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
					   WHERE i.indrelid = source AND a.attname = visitor AND i.indisvalid AND i.indpred IS NULL) THEN
			RAISE NOTICE 'no index of table % begins with column "%": each event, and each recommendation, reads the whole table', source, visitor
				USING HINT = pg_catalog.format('CREATE INDEX ON %s (%I);', source, visitor);
		END IF;

		SELECT n.nspname INTO space FROM pg_catalog.pg_class AS r JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
		WHERE r.oid = c.source;
		EXECUTE pg_catalog.format('CREATE TABLE %I.%I (a pg_catalog.text COLLATE "C" NOT NULL,'
			' b pg_catalog.text COLLATE "C" NOT NULL, after pg_catalog.int8 NOT NULL, before pg_catalog.int8 NOT NULL)', space, product_llm.side_name(catalog, 'pair'));
		e.pairs := pg_catalog.format('%I.%I', space, product_llm.side_name(catalog, 'pair'))::regclass;
		EXECUTE pg_catalog.format('CREATE INDEX ON %s (a) INCLUDE (b, after, before)', e.pairs);
		EXECUTE pg_catalog.format('CREATE INDEX ON %s (a) INCLUDE (after) WHERE a = b', e.pairs);
		EXECUTE pg_catalog.format('CREATE TABLE %I.%I (list pg_catalog.uuid PRIMARY KEY, at pg_catalog.timestamptz NOT NULL,'
			' visitor pg_catalog.text COLLATE "C" NOT NULL, keys pg_catalog.text[] COLLATE "C" NOT NULL, sources pg_catalog.text[] NOT NULL,'
			' parts pg_catalog.float4[] NOT NULL, shown pg_catalog.int4[] NOT NULL, explore pg_catalog.float8 NOT NULL)',
			space, product_llm.side_name(catalog, 'list'));
		e.lists := pg_catalog.format('%I.%I', space, product_llm.side_name(catalog, 'list'))::regclass;
		EXECUTE pg_catalog.format('CREATE INDEX ON %s (visitor)', e.lists);
		EXECUTE pg_catalog.format('CREATE TABLE %I.%I (list pg_catalog.uuid NOT NULL, key pg_catalog.text COLLATE "C" NOT NULL,'
			' event pg_catalog.text NOT NULL, at pg_catalog.timestamptz NOT NULL, PRIMARY KEY (list, key, event))',
			space, product_llm.side_name(catalog, 'feedback'));
		e.feedback := pg_catalog.format('%I.%I', space, product_llm.side_name(catalog, 'feedback'))::regclass;
		EXECUTE pg_catalog.format('COMMENT ON TABLE %s IS %L', e.pairs, 'what catalog "' || catalog || '" has learnt of products seen or bought together');
		EXECUTE pg_catalog.format('COMMENT ON TABLE %s IS %L', e.lists, 'lists that catalog "' || catalog || '" has recommended');
		EXECUTE pg_catalog.format('COMMENT ON TABLE %s IS %L', e.feedback, 'what became of the lists of catalog "' || catalog || '"');
		PERFORM product_llm.give_to_owner(c.source, ARRAY[e.pairs, e.lists, e.feedback]);

		INSERT INTO product_llm.catalog_events SELECT (e).*;
		IF c.sync <> 'manual' THEN
			PERFORM product_llm.watch_events(e);
		END IF;
		PERFORM product_llm.catalog_work(catalog, 'pairs', NULL);
	END
	$$;
COMMENT ON FUNCTION bind_events(text, regclass, name, name, name, name, jsonb) IS
	'learn from the shop''s own table of events; weights says how much each kind counts, 0 for not at all';

CREATE FUNCTION unbind_events(catalog text) RETURNS void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog := product_llm.own_catalog_row(catalog);
		e product_llm.catalog_events := product_llm.events_row(catalog);
	BEGIN
		PERFORM product_llm.unwatch_events(e);
		DELETE FROM product_llm.catalog_events AS t WHERE t.catalog = c.catalog;
		PERFORM product_llm.drop_sides(ARRAY[e.pairs, e.lists, e.feedback]);
	END
	$$;
COMMENT ON FUNCTION unbind_events(text) IS 'forget a catalog''s events and all that was learnt from them';

CREATE FUNCTION watch_events(e product_llm.catalog_events) RETURNS void
	LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
	AS $$
		SELECT product_llm.check_watchable((e).source);
		SELECT product_llm.watch(w, (e).catalog, 'events_sync', (e).source) FROM product_llm.watched_tables((e).source) AS w;
	$$;
COMMENT ON FUNCTION watch_events(product_llm.catalog_events) IS 'put the triggers of a catalog on its table of events';

CREATE FUNCTION unwatch_events(e product_llm.catalog_events) RETURNS void
	LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
	AS $$ SELECT product_llm.unwatch(w, (e).catalog, 'events_sync') FROM product_llm.watched_tables((e).source) AS w $$;
COMMENT ON FUNCTION unwatch_events(product_llm.catalog_events) IS 'remove the triggers of a catalog from its table of events';

CREATE FUNCTION follow_events(e product_llm.catalog_events, relation oid, attribute int, changes_rows boolean) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		name name;
		"column" text;
		old name;
		leaf regclass;
	BEGIN
		SELECT a.attname INTO name FROM pg_catalog.pg_attribute AS a
		WHERE a.attrelid = e.source AND a.attnum = attribute AND attribute > 0 AND relation = e.source::oid;
		IF FOUND THEN
			FOR "column", old IN SELECT * FROM (VALUES ('visitor', e.visitor), ('item', e.item), ('at', e.at), ('kind', e.kind)) AS v
			LOOP
				IF old IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = e.source
												   AND a.attname = old AND NOT a.attisdropped) THEN
					EXECUTE pg_catalog.format('UPDATE product_llm.catalog_events SET %I = $1 WHERE catalog = $2', "column")
						USING name, e.catalog;
				END IF;
			END LOOP;
		END IF;
		IF changes_rows THEN
			PERFORM product_llm.check_events_columns(e);
		END IF;
		IF changes_rows AND (SELECT c.sync <> 'manual' FROM product_llm.catalog AS c WHERE c.catalog = e.catalog) THEN
			PERFORM product_llm.watch_events(e);
			FOR leaf IN
				SELECT DISTINCT g.tgrelid::regclass FROM pg_catalog.pg_trigger AS g
				WHERE g.tgname = product_llm.trigger_name(e.catalog, 'events_sync_insert')
					AND g.tgrelid NOT IN (SELECT w::oid FROM product_llm.watched_tables(e.source) AS w)
			LOOP
				PERFORM product_llm.unwatch(leaf, e.catalog, 'events_sync');
			END LOOP;
			PERFORM product_llm.catalog_work(e.catalog, 'pairs', NULL);
		END IF;
	END
	$$;
COMMENT ON FUNCTION follow_events(product_llm.catalog_events, oid, int, boolean) IS
	'follows what is done to a bound table of events';

-- SQL for the events that count, as visitor, item, at, weight; from a query over the events' columns.  unforgotten: a further
-- condition with %s for the visitor's name, or an empty text.
CREATE FUNCTION events_that_count(e product_llm.catalog_events, rows text, unforgotten text) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT pg_catalog.format('SELECT product_llm.key_text(t.%1$I) AS visitor, product_llm.key_text(t.%2$I) AS item, t.%3$I::pg_catalog.timestamptz AS at, %5$s AS weight'
			' FROM %4$s AS t WHERE t.%1$I IS NOT NULL AND t.%2$I IS NOT NULL AND t.%3$I IS NOT NULL AND %5$s > 0%6$s',
			(e).visitor, (e).item, (e).at, rows,
			CASE WHEN (e).kind IS NOT NULL AND (e).weights IS NOT NULL
				THEN pg_catalog.format('coalesce((%L::pg_catalog.jsonb ->> product_llm.key_text(t.%I))::pg_catalog.float8, 1)', (e).weights, (e).kind)
				ELSE '1::pg_catalog.float8' END,
			pg_catalog.format(unforgotten, pg_catalog.format('pg_catalog.convert_to(product_llm.key_text(t.%I), ''UTF8'')', (e).visitor)))
	$$;
COMMENT ON FUNCTION events_that_count(product_llm.catalog_events, text, text) IS
	'SQL for those rows of a bound table of events that count: visitor, item, at, weight';

CREATE FUNCTION counted_events(e product_llm.catalog_events, rows text) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT product_llm.events_that_count(e, rows, coalesce(
			(SELECT pg_catalog.replace(pg_catalog.format(' AND NOT EXISTS (SELECT FROM product_llm.catalog_forgotten AS f WHERE f.catalog = %L'
				' AND f.visitor = pg_catalog.sha256(%L::pg_catalog.bytea || ', (e).catalog, k.salt), '%', '%%') || '%s))'
			 FROM product_llm.catalog_forgotten AS k WHERE k.catalog = (e).catalog LIMIT 1), ''))
	$$;
COMMENT ON FUNCTION counted_events(product_llm.catalog_events, text) IS
	'SQL for a bound table''s events that count, of visitors who are not forgotten; as the catalog''s owner, who alone knows those';

CREATE FUNCTION shown_events(e product_llm.catalog_events) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT product_llm.events_that_count(e, (e).source::text,
			' AND ($3 IS NULL OR NOT pg_catalog.sha256($2 || %s) = ANY ($3))')
	$$;
COMMENT ON FUNCTION shown_events(product_llm.catalog_events) IS
	'the same for a caller who is told by $2 and $3, a salt and hashes of visitors, who is forgotten';

CREATE FUNCTION visitor_form(e product_llm.catalog_events) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT pg_catalog.format('SELECT product_llm.key_text($1::pg_catalog.text::%s)', pg_catalog.format_type(a.atttypid, -1))
		FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = (e).source AND a.attname = (e).visitor AND NOT a.attisdropped
	$$;
COMMENT ON FUNCTION visitor_form(product_llm.catalog_events) IS
	'SQL for the one form of a visitor''s name, $1, in which it is compared and kept';

CREATE FUNCTION pairs_of_all(e product_llm.catalog_events) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT pg_catalog.format(
			'INSERT INTO %s (a, b, after, before) SELECT p.a, p.b, pg_catalog.sum(p.after)::pg_catalog.int8, pg_catalog.sum(p.before)::pg_catalog.int8'
			' FROM (SELECT pg_catalog.array_agg(v.item ORDER BY v.at, pg_catalog.md5(v.visitor || v.item), v.item COLLATE "C") AS items FROM (%s) AS v GROUP BY v.visitor) AS t'
			' CROSS JOIN LATERAL product_llm.pair_weights(t.items) AS p'
			' GROUP BY p.a, p.b ORDER BY p.a COLLATE "C", p.b COLLATE "C"',
			(e).pairs, product_llm.counted_events(e, (e).source::text))
	$$;
COMMENT ON FUNCTION pairs_of_all(product_llm.catalog_events) IS 'SQL to fill the empty table of pairs from all events';

-- Equal times, as of an invoice's lines, are ordered by a hash of visitor and product.  By anything of the product alone,
-- its key or the key's hash, one of two products would always come first, and an order be learnt that nobody has chosen.
CREATE FUNCTION items_in_order(e product_llm.catalog_events) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT pg_catalog.format(
			'SELECT pg_catalog.array_agg(o.visitor), pg_catalog.array_agg(o.item) FROM (SELECT v.visitor, v.item FROM (%s) AS v'
			' ORDER BY v.visitor COLLATE "C", v.at, pg_catalog.md5(v.visitor || v.item), v.item COLLATE "C") AS o',
			product_llm.counted_events(e, pg_catalog.format('(SELECT * FROM %s AS r WHERE %s)', (e).source,
				product_llm.among((e).source, (e).visitor, 'r', '$1'))))
	$$;
COMMENT ON FUNCTION items_in_order(product_llm.catalog_events) IS
	'SQL for the products of the visitors $1 in order of time: an array of visitors and one of products';

CREATE FUNCTION pairs_of_change(e product_llm.catalog_events) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT pg_catalog.format(
			'INSERT INTO %s (a, b, after, before) SELECT c.a, c.b, pg_catalog.sum(c.after)::pg_catalog.int8, pg_catalog.sum(c.before)::pg_catalog.int8'
			' FROM (SELECT p.a, p.b, p.after * t.sign AS after, p.before * t.sign AS before'
			'  FROM (SELECT u.sign, pg_catalog.array_agg(u.item ORDER BY u.n) AS items'
			'   FROM (SELECT 1 AS sign, n.* FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) WITH ORDINALITY AS n (visitor, item, n)'
			'    UNION ALL SELECT -1, o.* FROM ROWS FROM (pg_catalog.unnest($3), pg_catalog.unnest($4)) WITH ORDINALITY AS o (visitor, item, n)) AS u GROUP BY u.sign, u.visitor) AS t'
			'  CROSS JOIN LATERAL product_llm.pair_weights(t.items) AS p) AS c'
			' GROUP BY c.a, c.b HAVING pg_catalog.sum(c.after) <> 0 OR pg_catalog.sum(c.before) <> 0', (e).pairs)
	$$;
COMMENT ON FUNCTION pairs_of_change(product_llm.catalog_events) IS
	'SQL to add to the table of pairs what products $2 of visitors $1 contribute, less what products $4 of visitors $3 did';

CREATE FUNCTION catalog_pairs(catalog text, keys text[]) RETURNS text[]
	AS 'MODULE_PATHNAME', 'product_llm_catalog_pairs' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION catalog_pairs(text, text[]) IS 'build the table of pairs of a catalog anew from its events; run as the catalog''s owner';
