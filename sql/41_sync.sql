-- Staying true: triggers, reconciling, refreshing, and following what is done to the source.
--
-- One thing is done in all cases: given some keys (or all), compare the side tables with what the source says now,
-- delete what is gone and compute what differs.  So it does not matter which statement has changed a row, or how often.

CREATE FUNCTION catalog_sync() RETURNS trigger
	AS 'MODULE_PATHNAME', 'product_llm_catalog_sync' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION catalog_sync() IS
	'trigger on a catalog''s source: reconciles the keys that the statement (or, in logical replication, the row) has touched';

CREATE FUNCTION catalog_work(catalog text, work text, keys text[]) RETURNS text[]
	AS 'MODULE_PATHNAME', 'product_llm_catalog_work' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000;
COMMENT ON FUNCTION catalog_work(text, text, text[]) IS
	'do a piece of work on a catalog as its owner, whose rights the caller must have: reconcile, refresh, stale, pending, prune, count, switch, discard, pairs or forget';

CREATE FUNCTION changes_rows(command pg_ddl_command) RETURNS boolean
	AS 'MODULE_PATHNAME', 'product_llm_changes_rows' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION changes_rows(pg_ddl_command) IS 'does a DDL command attach, detach or create a partition, or change the type of a column?';

-- ---- reconciling; these run as the owner, with a bare search path ----

-- In the column's own type, so that its index serves.  A list of arrays is no array.
CREATE FUNCTION among(relation regclass, "column" name, prefix text, parameter text) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT pg_catalog.format(CASE WHEN b.typelem <> 0 AND b.typsubscript = 'pg_catalog.array_subscript_handler'::regproc
				THEN 'product_llm.key_text(%s.%I) = ANY (%s::pg_catalog.text[])' ELSE '%s.%I = ANY (%s::pg_catalog.text[]::%s[])' END,
			prefix, a.attname, parameter, pg_catalog.format_type(b.oid, -1))
		FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
		JOIN pg_catalog.pg_type AS b ON b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
		WHERE a.attrelid = relation AND a.attname = "column" AND NOT a.attisdropped
	$$;
COMMENT ON FUNCTION among(regclass, name, text, text) IS 'SQL condition that a column''s value is in an array of texts';

CREATE FUNCTION key_condition(c product_llm.catalog, parameter text) RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE
	AS $$ SELECT product_llm.among((c).texts, 'key', 'v', parameter) $$;
COMMENT ON FUNCTION key_condition(product_llm.catalog, text) IS 'SQL condition that a product''s key is in an array of texts';

CREATE FUNCTION catalog_reconcile(catalog text, keys text[]) RETURNS text[]
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog := product_llm.catalog_row(catalog);
		stale text[];
	BEGIN
		IF keys IS NULL THEN
			LOOP
				stale := product_llm.catalog_stale(catalog, stale[pg_catalog.cardinality(stale):]);
				EXIT WHEN stale IS NULL;
				FOR i IN 1 .. pg_catalog.cardinality(stale) BY 4096
				LOOP
					PERFORM product_llm.catalog_compute(c, stale[i : i + 4095], false);
				END LOOP;
			END LOOP;
			PERFORM product_llm.catalog_count(catalog, NULL);
		ELSE
			PERFORM product_llm.catalog_compute(c, keys, false);
			-- The statistics follow the table in steps, so that writers do not queue for one row.
			IF pg_catalog.pg_relation_size(c.words) > 2 * coalesce((SELECT (s.statistics ->> 'bytes')::pg_catalog.int8
					FROM product_llm.catalog_statistics AS s WHERE s.catalog = c.catalog), 0)
				AND pg_catalog.current_setting('transaction_isolation') = 'read committed' THEN
				PERFORM product_llm.catalog_count(catalog, NULL);
			END IF;
		END IF;
		RETURN NULL;
	END
	$$;
COMMENT ON FUNCTION catalog_reconcile(text, text[]) IS
	'compute what the side tables of a catalog lack of its source, for these keys or, with NULL, for all; after catalog_prune';

CREATE FUNCTION catalog_prune(catalog text, keyed boolean) RETURNS text[]
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog := product_llm.catalog_row(catalog);
	BEGIN
		PERFORM product_llm.check_not_shards(c);
		RETURN ARRAY(
			SELECT CASE WHEN keyed THEN pg_catalog.format(
				'DELETE FROM %s AS s WHERE s.key = ANY ($1) AND NOT s.key = ANY (ARRAY('
				'SELECT product_llm.key_text(v.key) FROM %s AS v WHERE %s))', side, c.texts, product_llm.key_condition(c, '$1'))
			ELSE pg_catalog.format(
				'DELETE FROM %s AS s WHERE NOT EXISTS (SELECT FROM %s AS v WHERE product_llm.key_text(v.key) = s.key)', side, c.texts) END
			FROM pg_catalog.unnest(ARRAY[c.store, c.next_store, c.words]) AS side WHERE side IS NOT NULL);
	END
	$$;
COMMENT ON FUNCTION catalog_prune(text, boolean) IS
	'SQL to delete from the side tables what the source does not have any more: of the keys $1, or of all';

-- As t.key; $1 and $2 are the identities of the model and of the next one.
CREATE FUNCTION stale_rows(c product_llm.catalog) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT pg_catalog.format(
			'(SELECT product_llm.key_text(v.key) COLLATE "C" AS key, v.title, v.content FROM %1$s AS v) AS t'
			' LEFT JOIN %2$s AS s ON s.key = t.key AND s.text_hash = pg_catalog.md5(t.content)::pg_catalog.uuid AND s.model = $1'
			' LEFT JOIN %4$s AS n ON n.key = t.key AND n.text_hash = pg_catalog.md5(t.content)::pg_catalog.uuid AND n.model = $2'
			' LEFT JOIN %3$s AS w ON w.key = t.key AND w.text_hash = product_llm.words_hash(t.title, t.content)'
			' WHERE (s.key IS NULL OR w.key IS NULL OR (%5$L AND n.key IS NULL))',
			(c).texts, (c).store, (c).words, coalesce((c).next_store, (c).store), (c).next_store IS NOT NULL)
	$$;
COMMENT ON FUNCTION stale_rows(product_llm.catalog) IS 'SQL, to stand after FROM, for the products whose side rows are missing or out of date';

CREATE FUNCTION catalog_stale(catalog text, keys text[]) RETURNS text[]
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog := product_llm.catalog_row(catalog);
		stale text[];
	BEGIN
		PERFORM product_llm.check_not_shards(c);
		EXECUTE pg_catalog.format(
			'SELECT pg_catalog.array_agg(k.key ORDER BY k.key COLLATE "C") FROM (SELECT t.key FROM %s AND ($3 IS NULL OR t.key > $3)'
			' ORDER BY t.key LIMIT 100000) AS k', product_llm.stale_rows(c))
			INTO stale
			USING product_llm.model_identity(c.model), product_llm.model_identity(c.next_model), keys[1];
		RETURN stale;
	END
	$$;
COMMENT ON FUNCTION catalog_stale(text, text[]) IS
	'keys of products whose side rows are missing or out of date, in order after the given key, at most 100,000';

CREATE FUNCTION catalog_pending(catalog text, keys text[]) RETURNS text[]
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog := product_llm.catalog_row(catalog);
		n bigint;
	BEGIN
		EXECUTE 'SELECT pg_catalog.count(*) FROM ' || product_llm.stale_rows(c)
			INTO n USING product_llm.model_identity(c.model), product_llm.model_identity(c.next_model);
		RETURN ARRAY[n::text];
	END
	$$;
COMMENT ON FUNCTION catalog_pending(text, text[]) IS 'the number of products whose side rows are missing or out of date';

CREATE FUNCTION model_identity(model text) RETURNS bytea
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$ SELECT m.sha256 FROM product_llm.model AS m WHERE m.model = $1 $$;
COMMENT ON FUNCTION model_identity(text) IS 'what a model is known by, whatever its name';

CREATE FUNCTION words_hash(title text, content text) RETURNS uuid
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	AS $$ SELECT pg_catalog.md5(title || E'\x01' || content)::pg_catalog.uuid $$;
COMMENT ON FUNCTION words_hash(text, text) IS 'changes when the words of a product change';

CREATE FUNCTION check_keys(c product_llm.catalog, keys text[]) RETURNS void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		twice text;
	BEGIN
		PERFORM product_llm.check_not_shards(c);
		EXECUTE pg_catalog.format(
			'SELECT pg_catalog.min(k.key) FROM (SELECT product_llm.key_text(v.key) AS key FROM %s AS v WHERE %s'
			' GROUP BY 1 HAVING pg_catalog.count(*) > 1) AS k', c.texts, product_llm.key_condition(c, '$1'))
			INTO twice USING keys;
		IF twice IS NOT NULL THEN
			RAISE EXCEPTION 'key "%" of catalog "%" stands for more than one row', twice, c.catalog
				USING ERRCODE = 'unique_violation', HINT = 'A key must name one product of the source.';
		END IF;
	END
	$$;
COMMENT ON FUNCTION check_keys(product_llm.catalog, text[]) IS 'an error when one of these keys names several products';

CREATE FUNCTION catalog_compute(c product_llm.catalog, keys text[], online boolean) RETURNS void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	BEGIN
		IF online THEN
			PERFORM product_llm.check_keys(c, keys);
		END IF;
		-- Vectors first: they take long, and until they are there no row is locked.
		PERFORM product_llm.catalog_compute_vectors(c, c.store, c.model, keys, online);
		IF c.next_store IS NOT NULL THEN
			PERFORM product_llm.catalog_compute_vectors(c, c.next_store, c.next_model, keys, online);
		END IF;
		PERFORM product_llm.catalog_compute_words(c, keys, online);
		IF NOT online THEN
			-- Now that whoever was writing the same keys has ended.
			PERFORM product_llm.check_keys(c, keys);
		END IF;
	END
	$$;
COMMENT ON FUNCTION catalog_compute(product_llm.catalog, text[], boolean) IS
	'compute what is missing or stale of these products; online: leave out rows that somebody is changing at the moment';

CREATE FUNCTION catalog_compute_vectors(c product_llm.catalog, store regclass, model text, keys text[], online boolean)
	RETURNS void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	BEGIN
		EXECUTE pg_catalog.format(
			'WITH stale AS MATERIALIZED ('
			'  SELECT pg_catalog.array_agg(t.key) AS keys, pg_catalog.array_agg(t.hash) AS hashes, pg_catalog.array_agg(t.content) AS contents'
			'  FROM (SELECT DISTINCT ON (1) product_llm.key_text(v.key) AS key, pg_catalog.md5(v.content)::pg_catalog.uuid AS hash, v.content FROM %1$s AS v WHERE %3$s) AS t'
			'  LEFT JOIN %2$s AS s ON s.key = t.key'
			'  WHERE s.key IS NULL OR s.text_hash <> t.hash OR s.model <> $3'
			'), embedded AS MATERIALIZED ('
			'  SELECT r.key, r.hash, r.embedding FROM stale,'
			'  ROWS FROM (pg_catalog.unnest(stale.keys), pg_catalog.unnest(stale.hashes), product_llm.embed($2, stale.contents)) AS r (key, hash, embedding)'
			') %4$s'
			' INSERT INTO %2$s AS s (key, text_hash, model, embedding)'
			' SELECT e.key, e.hash, $3, e.embedding FROM %5$s'
			' ON CONFLICT (key) DO UPDATE SET text_hash = excluded.text_hash, model = excluded.model, embedding = excluded.embedding',
			c.texts, store, product_llm.key_condition(c, '$1'),
			-- Embedding takes time in which others may write.  What they have changed since, or are changing, is left out.
			CASE WHEN online THEN pg_catalog.format(
				', locked AS MATERIALIZED (SELECT product_llm.key_text(v.key) AS key, pg_catalog.md5(v.content)::pg_catalog.uuid AS hash'
				' FROM %s AS v WHERE %s AND EXISTS (SELECT FROM embedded) FOR SHARE SKIP LOCKED)',
				c.texts, product_llm.key_condition(c, '$1')) ELSE '' END,
			CASE WHEN online THEN 'embedded AS e JOIN locked AS l ON l.key = e.key AND l.hash = e.hash' ELSE 'embedded AS e' END)
			USING keys, model, product_llm.model_identity(model);
	END
	$$;
COMMENT ON FUNCTION catalog_compute_vectors(product_llm.catalog, regclass, text, text[], boolean) IS
	'embed what is missing or stale of these products, as one batch';

-- The body is what the content says beyond the title.
CREATE FUNCTION catalog_compute_words(c product_llm.catalog, keys text[], online boolean) RETURNS void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	BEGIN
		EXECUTE pg_catalog.format(
			'WITH current AS MATERIALIZED ('
			'  SELECT product_llm.key_text(v.key) AS key, product_llm.words_hash(v.title, v.content) AS hash, v.title, v.content'
			'  FROM %1$s AS v WHERE %3$s%4$s'
			'), written AS ('
			'  INSERT INTO %2$s (key, text_hash, title_words, body_words, words)'
			'  SELECT t.key, t.hash, product_llm.count_words(f.title), product_llm.count_words(f.body),'
			'    pg_catalog.setweight(pg_catalog.to_tsvector($2, f.title), ''A'') || pg_catalog.setweight(pg_catalog.to_tsvector($2, f.body), ''B'')'
			'  FROM (SELECT DISTINCT ON (c.key) c.* FROM current AS c LEFT JOIN %2$s AS w ON w.key = c.key'
			'        WHERE w.key IS NULL OR w.text_hash <> c.hash) AS t'
			'  CROSS JOIN LATERAL (SELECT product_llm.segment(t.title) AS title, product_llm.segment(pg_catalog.replace(t.content, t.title, '' '')) AS body OFFSET 0) AS f'
			'  ON CONFLICT (key) DO UPDATE SET text_hash = excluded.text_hash, title_words = excluded.title_words,'
			'    body_words = excluded.body_words, words = excluded.words'
			'  RETURNING words'
			'), used AS ('
			'  SELECT DISTINCT u.lexeme COLLATE "C" AS term FROM written, pg_catalog.unnest(written.words) AS u'
			'  WHERE pg_catalog.length(u.lexeme) BETWEEN 3 AND 40'
			')'
			' INSERT INTO %5$s (term, grams) SELECT u.term, product_llm.term_grams(u.term) FROM used AS u'
			' WHERE NOT EXISTS (SELECT FROM %5$s AS t WHERE t.term = u.term) ORDER BY u.term',
			c.texts, c.words, product_llm.key_condition(c, '$1'),
			CASE WHEN online THEN ' FOR SHARE SKIP LOCKED' ELSE '' END, c.terms)
			USING keys, c.language::regconfig;
	END
	$$;
COMMENT ON FUNCTION catalog_compute_words(product_llm.catalog, text[], boolean) IS
	'index the words of what is missing or stale of these products';

CREATE FUNCTION count_words(segmented text) RETURNS integer
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	AS $$
		SELECT CASE WHEN segmented = '' THEN 0
			ELSE 1 + pg_catalog.length(segmented) - pg_catalog.length(pg_catalog.replace(segmented, ' ', '')) END
	$$;
COMMENT ON FUNCTION count_words(text) IS 'number of terms that segment() has made';

-- Terms that have gone out of use stay until here: they cost a row, and nobody finds what no product has.
CREATE FUNCTION catalog_count(catalog text, keys text[]) RETURNS text[]
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog;
		counted jsonb;
	BEGIN
		SELECT * INTO c FROM product_llm.catalog AS t WHERE t.catalog = catalog_count.catalog FOR UPDATE SKIP LOCKED;
		IF FOUND AND c.sync = 'shards' THEN
			EXECUTE product_llm.shards_count(c) INTO counted;
		ELSIF FOUND THEN
			EXECUTE pg_catalog.format(
				'SELECT pg_catalog.jsonb_build_object(''rows'', pg_catalog.count(*), ''title'', coalesce(pg_catalog.round(pg_catalog.avg(title_words), 2), 0),'
				' ''body'', coalesce(pg_catalog.round(pg_catalog.avg(body_words), 2), 0), ''bytes'', pg_catalog.pg_relation_size(%L)) FROM %s',
				c.words, c.words) INTO counted;
		END IF;
		IF counted IS NOT NULL THEN
			INSERT INTO product_llm.catalog_statistics AS s (catalog, statistics) VALUES (c.catalog, counted)
				ON CONFLICT ON CONSTRAINT catalog_statistics_pkey DO UPDATE SET statistics = EXCLUDED.statistics;
		END IF;
		RETURN NULL;
	END
	$$;
COMMENT ON FUNCTION catalog_count(text, text[]) IS 'count the texts of a catalog and their length';

CREATE FUNCTION catalog_refresh(catalog text, keys text[]) RETURNS text[]
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog := product_llm.catalog_row(catalog);
	BEGIN
		PERFORM product_llm.catalog_compute(c, keys,
			(SELECT r.relkind <> 'f' FROM pg_catalog.pg_class AS r WHERE r.oid = c.source));
		RETURN NULL;
	EXCEPTION WHEN serialization_failure OR deadlock_detected THEN
		-- A row that has moved to another partition meanwhile.  These products stay stale, for the next round.
		RETURN NULL;
	END
	$$;
COMMENT ON FUNCTION catalog_refresh(text, text[]) IS 'compute what is missing or stale of these products while others write';

-- The new model's vectors are complete but for what was written in the last moment: stop writers for that moment.
CREATE FUNCTION catalog_switch(catalog text, keys text[]) RETURNS text[]
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog;
	BEGIN
		-- The definition before the source: a writer may hold the definition to count, and none ever waits for it.
		SELECT * INTO c FROM product_llm.catalog AS t WHERE t.catalog = catalog_switch.catalog AND t.next_store IS NOT NULL FOR UPDATE;
		IF NOT FOUND THEN
			RETURN NULL;
		END IF;
		IF (SELECT r.relkind <> 'f' FROM pg_catalog.pg_class AS r WHERE r.oid = c.source) THEN
			EXECUTE pg_catalog.format('LOCK TABLE %s IN SHARE MODE', c.source);
		END IF;
		PERFORM product_llm.catalog_work(catalog, 'reconcile', NULL);
		UPDATE product_llm.catalog AS t SET store = c.next_store, model = c.next_model, next_store = NULL, next_model = NULL,
			old_stores = t.old_stores || c.store
		WHERE t.catalog = c.catalog;
		RETURN NULL;
	END
	$$;
COMMENT ON FUNCTION catalog_switch(text, text[]) IS 'let searches use the vectors of the new model';

-- Never waits: whoever has searched in an open transaction holds the old vectors, and others would queue behind this.
CREATE FUNCTION catalog_discard(catalog text, keys text[]) RETURNS text[]
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog;
		old regclass;
	BEGIN
		SELECT * INTO c FROM product_llm.catalog AS t WHERE t.catalog = catalog_discard.catalog FOR UPDATE SKIP LOCKED;
		FOREACH old IN ARRAY coalesce(c.old_stores, '{}')
		LOOP
			BEGIN
				IF EXISTS (SELECT FROM pg_catalog.pg_class AS r WHERE r.oid = old) THEN
					EXECUTE pg_catalog.format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', old);
				END IF;
				UPDATE product_llm.catalog AS t SET old_stores = pg_catalog.array_remove(t.old_stores, old) WHERE t.catalog = c.catalog;
				PERFORM product_llm.drop_sides(ARRAY[old]);
			EXCEPTION WHEN lock_not_available THEN
				-- The next refresh_catalog tries again.
				NULL;
			END;
		END LOOP;
		RETURN NULL;
	END
	$$;
COMMENT ON FUNCTION catalog_discard(text, text[]) IS 'drop those embeddings of earlier models that nobody holds';

-- Each step sees what was committed before it, whatever the session's default.
CREATE PROCEDURE refresh_step(catalog text)
	LANGUAGE plpgsql
	AS $$
	BEGIN
		COMMIT;
		SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
		PERFORM product_llm.own_catalog_row(catalog);
		IF NOT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext('product_llm.refresh_catalog'), pg_catalog.hashtext(catalog)) THEN
			RAISE EXCEPTION 'catalog "%" is being refreshed by another session', catalog USING ERRCODE = 'lock_not_available',
				HINT = 'product_llm.refresh_progress shows how far it is.';
		END IF;
	END
	$$;
COMMENT ON PROCEDURE refresh_step(text) IS 'commit, and begin the next transaction of refresh_catalog; an error when another session refreshes the catalog';

CREATE PROCEDURE refresh_catalog(catalog text)
	LANGUAGE plpgsql
	AS $$
	DECLARE
		batch CONSTANT int := 1024;
		stale text[];
		keys text[];
		pending bigint;
		worked bigint := 0;
	BEGIN
		IF catalog IS NULL THEN
			RAISE EXCEPTION 'catalog must not be null' USING ERRCODE = 'null_value_not_allowed';
		END IF;
		CALL product_llm.refresh_step(catalog);
		IF (product_llm.own_catalog_row(catalog)).sync = 'shards' THEN
			PERFORM product_llm.refresh_shards(product_llm.own_catalog_row(catalog));
			COMMIT;
			RETURN;
		END IF;
		PERFORM product_llm.catalog_work(catalog, 'prune', NULL);
		stale := product_llm.catalog_work(catalog, 'stale', NULL);
		pending := coalesce(pg_catalog.cardinality(stale), 0);
		IF pending >= 100000 THEN
			pending := (product_llm.catalog_work(catalog, 'pending', NULL))[1];
		END IF;
		INSERT INTO product_llm.catalog_progress AS p (catalog, started_at, updated_at, done, total, state)
		VALUES (refresh_catalog.catalog, pg_catalog.clock_timestamp(), pg_catalog.clock_timestamp(), 0, pending, 'running')
		ON CONFLICT ON CONSTRAINT catalog_progress_pkey DO UPDATE
		SET started_at = excluded.started_at, updated_at = excluded.updated_at, done = 0, total = excluded.total, state = 'running';

		-- Twice, because the first round leaves out what somebody was changing.
		FOR round IN 1 .. 2
		LOOP
			WHILE stale IS NOT NULL
			LOOP
				FOR i IN 1 .. pg_catalog.cardinality(stale) BY batch
				LOOP
					CALL product_llm.refresh_step(catalog);
					keys := stale[i : i + batch - 1];
					PERFORM product_llm.catalog_work(catalog, 'refresh', keys);
					worked := worked + pg_catalog.cardinality(keys);
					UPDATE product_llm.catalog_progress AS p SET done = worked, total = greatest(p.total, worked),
						updated_at = pg_catalog.clock_timestamp()
					WHERE p.catalog = refresh_catalog.catalog;
				END LOOP;
				CALL product_llm.refresh_step(catalog);
				stale := product_llm.catalog_work(catalog, 'stale', stale[pg_catalog.cardinality(stale):]);
			END LOOP;
			stale := product_llm.catalog_work(catalog, 'stale', NULL);
			EXIT WHEN stale IS NULL;
		END LOOP;

		CALL product_llm.refresh_step(catalog);
		IF (SELECT c.next_store IS NOT NULL FROM product_llm.catalog AS c WHERE c.catalog = refresh_catalog.catalog) THEN
			PERFORM product_llm.catalog_work(catalog, 'switch', NULL);
			CALL product_llm.refresh_step(catalog);
		END IF;
		IF (SELECT c.old_stores <> '{}' FROM product_llm.catalog AS c WHERE c.catalog = refresh_catalog.catalog) THEN
			PERFORM product_llm.catalog_work(catalog, 'discard', NULL);
			CALL product_llm.refresh_step(catalog);
		END IF;
		IF EXISTS (SELECT FROM product_llm.catalog_events AS e WHERE e.catalog = refresh_catalog.catalog) THEN
			PERFORM product_llm.catalog_work(catalog, 'pairs', NULL);
			CALL product_llm.refresh_step(catalog);
		END IF;
		PERFORM product_llm.catalog_work(catalog, 'count', NULL);
		UPDATE product_llm.catalog AS t SET last_refresh = pg_catalog.clock_timestamp() WHERE t.catalog = refresh_catalog.catalog;
		UPDATE product_llm.catalog_progress AS p SET state = 'done', updated_at = pg_catalog.clock_timestamp()
		WHERE p.catalog = refresh_catalog.catalog;
		COMMIT;
	END
	$$;
COMMENT ON PROCEDURE refresh_catalog(text) IS
	'embed what is missing or stale, in batches, committing after each; can be stopped and called again; completes a change of model';

CREATE VIEW refresh_progress WITH (security_barrier) AS
	SELECT p.catalog COLLATE "default" AS catalog, p.state, p.done, p.total, p.started_at, p.updated_at,
		round((p.done / nullif(extract(epoch FROM p.updated_at - p.started_at), 0))::numeric, 1) AS rows_per_second,
		CASE WHEN p.state = 'running' AND p.done > 0
			THEN (p.updated_at - p.started_at) * ((p.total - p.done)::float8 / p.done) END AS eta
	FROM product_llm.catalog_progress AS p
	WHERE product_llm.owns((SELECT c.source FROM product_llm.catalog AS c WHERE c.catalog = p.catalog));
COMMENT ON VIEW refresh_progress IS 'how far refresh_catalog is, for the catalogs that one owns';

-- ---- triggers ----

CREATE FUNCTION watched_tables(source regclass) RETURNS SETOF regclass
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT source
		UNION
		SELECT t.relid FROM pg_catalog.pg_partition_tree(source) AS t JOIN pg_catalog.pg_class AS r ON r.oid = t.relid
		WHERE r.relkind IN ('r', 'p')
	$$;
COMMENT ON FUNCTION watched_tables(regclass) IS 'a table and its partitions';

CREATE FUNCTION trigger_name(catalog text, what text) RETURNS name
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	AS $$ SELECT ('product_llm_' || catalog || '_' || what)::name $$;
COMMENT ON FUNCTION trigger_name(text, text) IS 'name of a catalog''s trigger';

-- Statements fire the triggers of the table that they name: hence each partition has its own.
CREATE FUNCTION watch(relation regclass, catalog text, function text, watched regclass) RETURNS void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		event text;
		what text := pg_catalog.replace(function, 'catalog_', '');
	BEGIN
		FOREACH event IN ARRAY ARRAY['insert', 'update', 'delete', 'truncate']
		LOOP
			CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = relation
								  AND t.tgname = product_llm.trigger_name(catalog, what || '_' || event));
			EXECUTE pg_catalog.format('CREATE TRIGGER %I AFTER %s ON %s %s FOR EACH STATEMENT EXECUTE FUNCTION product_llm.%I(%L)',
				product_llm.trigger_name(catalog, what || '_' || event), event, relation,
				CASE event WHEN 'insert' THEN 'REFERENCING NEW TABLE AS new_rows'
					WHEN 'update' THEN 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows'
					WHEN 'delete' THEN 'REFERENCING OLD TABLE AS old_rows' ELSE '' END, function, catalog);
			IF event = 'truncate' THEN
				EXECUTE pg_catalog.format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', relation,
										  product_llm.trigger_name(catalog, what || '_' || event));
			END IF;
		END LOOP;
		-- Logical replication fires no statement triggers.  The partitions inherit this one.
		IF relation = watched AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = relation
											  AND t.tgname = product_llm.trigger_name(catalog, what || '_replica')) THEN
			EXECUTE pg_catalog.format('CREATE TRIGGER %I AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION product_llm.%I(%L)',
				product_llm.trigger_name(catalog, what || '_replica'), relation, function, catalog);
			EXECUTE pg_catalog.format('ALTER TABLE %s ENABLE REPLICA TRIGGER %I', relation,
									  product_llm.trigger_name(catalog, what || '_replica'));
		END IF;
	END
	$$;
COMMENT ON FUNCTION watch(regclass, text, text, regclass) IS 'put the triggers of a catalog on a table or one of its partitions';

CREATE FUNCTION unwatch(relation regclass, catalog text, function text) RETURNS void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		name name;
	BEGIN
		FOR name IN
			SELECT t.tgname FROM pg_catalog.pg_trigger AS t
			WHERE t.tgrelid = relation AND t.tgparentid = 0
				AND t.tgname = ANY (ARRAY(SELECT product_llm.trigger_name(catalog, pg_catalog.replace(function, 'catalog_', '') || '_' || e)
					FROM pg_catalog.unnest(ARRAY['insert', 'update', 'delete', 'truncate', 'replica']) AS e))
		LOOP
			EXECUTE pg_catalog.format('DROP TRIGGER %I ON %s', name, relation);
		END LOOP;
	END
	$$;
COMMENT ON FUNCTION unwatch(regclass, text, text) IS 'remove the triggers of a catalog from a table';

CREATE FUNCTION watch_source(c product_llm.catalog) RETURNS void
	LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
	AS $$
		SELECT product_llm.check_watchable((c).source);
		SELECT product_llm.watch(w, (c).catalog, 'catalog_sync', (c).source) FROM product_llm.watched_tables((c).source) AS w;
	$$;
COMMENT ON FUNCTION watch_source(product_llm.catalog) IS 'put the triggers of a catalog on its source';

CREATE FUNCTION unwatch_source(c product_llm.catalog) RETURNS void
	LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
	AS $$ SELECT product_llm.unwatch(w, (c).catalog, 'catalog_sync') FROM product_llm.watched_tables((c).source) AS w $$;
COMMENT ON FUNCTION unwatch_source(product_llm.catalog) IS 'remove the triggers of a catalog from its source';

-- ---- following DDL ----

CREATE FUNCTION catalog_follow() RETURNS event_trigger
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		d record;
		c product_llm.catalog;
		e product_llm.catalog_events;
		name name;
		leaf regclass;
		root oid;
	BEGIN
		FOR d IN SELECT * FROM pg_catalog.pg_event_trigger_ddl_commands() AS t WHERE t.classid = 'pg_catalog.pg_class'::regclass
		LOOP
			root := coalesce(pg_catalog.pg_partition_root(d.objid)::oid, d.objid);
			FOR c IN SELECT * FROM product_llm.catalog AS t WHERE t.source::oid IN (d.objid, root)
			LOOP
				SELECT a.attname INTO name FROM pg_catalog.pg_attribute AS a
				WHERE a.attrelid = c.source AND a.attnum = d.objsubid AND d.objsubid > 0 AND d.objid = c.source::oid;
				IF FOUND AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
										 WHERE a.attrelid = c.source AND a.attname = c.key AND NOT a.attisdropped) THEN
					UPDATE product_llm.catalog AS t SET key = name WHERE t.catalog = c.catalog;
				END IF;
				PERFORM product_llm.give_to_owner(c.source, product_llm.sides(c));
				PERFORM product_llm.give_to_owner(c.source, ARRAY[b.pairs, b.lists, b.feedback])
				FROM product_llm.catalog_events AS b WHERE b.catalog = c.catalog;
				IF product_llm.changes_rows(d.command) AND c.sync = 'trigger' THEN
					PERFORM product_llm.watch_source(c);
					FOR leaf IN
						SELECT DISTINCT g.tgrelid::regclass FROM pg_catalog.pg_trigger AS g
						WHERE g.tgname = product_llm.trigger_name(c.catalog, 'sync_insert')
							AND g.tgrelid NOT IN (SELECT w::oid FROM product_llm.watched_tables(c.source) AS w)
					LOOP
						PERFORM product_llm.unwatch(leaf, c.catalog, 'catalog_sync');
					END LOOP;
					PERFORM product_llm.catalog_work(c.catalog, 'reconcile', NULL);
				END IF;
			END LOOP;
			FOR e IN SELECT * FROM product_llm.catalog_events AS t WHERE t.source::oid IN (d.objid, root)
			LOOP
				PERFORM product_llm.follow_events(e, d.objid, d.objsubid, product_llm.changes_rows(d.command));
			END LOOP;
		END LOOP;
	END
	$$;
COMMENT ON FUNCTION catalog_follow() IS
	'follows what is done to sources: renamed columns, other owners, partitions that come and go';

CREATE FUNCTION catalog_dropped() RETURNS event_trigger
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		gone oid[] := ARRAY(SELECT d.objid FROM pg_catalog.pg_event_trigger_dropped_objects() AS d
							WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objsubid = 0);
		lost record;
		c product_llm.catalog;
		e product_llm.catalog_events;
	BEGIN
		IF pg_catalog.to_regclass('product_llm.catalog') IS NULL OR pg_catalog.to_regclass('product_llm.catalog_events') IS NULL THEN
			RETURN;
		END IF;
		-- No view holds the columns of events.
		FOR lost IN
			SELECT t.catalog, t.source, d.address_names[3] AS "column" FROM pg_catalog.pg_event_trigger_dropped_objects() AS d JOIN product_llm.catalog_events AS t
				ON t.source::oid = d.objid AND d.address_names[3] = ANY (ARRAY[t.visitor, t.item, t.at, t.kind]::text[])
			WHERE d.object_type = 'table column'
		LOOP
			RAISE EXCEPTION 'cannot drop column "%" of table %: catalog "%" learns from it', lost."column", lost.source, lost.catalog
				USING ERRCODE = 'dependent_objects_still_exist', HINT = 'product_llm.unbind_events unbinds the table first.';
		END LOOP;
		-- A partition goes with its triggers, and no statement of theirs has fired.
		FOR lost IN
			SELECT DISTINCT t.catalog, d.address_names[3]::name = product_llm.trigger_name(t.catalog, 'events_sync_truncate') AS of_events
			FROM pg_catalog.pg_event_trigger_dropped_objects() AS d
			JOIN product_llm.catalog AS t ON d.address_names[3]::name IN
				(product_llm.trigger_name(t.catalog, 'sync_truncate'), product_llm.trigger_name(t.catalog, 'events_sync_truncate'))
			LEFT JOIN product_llm.catalog_events AS b ON b.catalog = t.catalog
			WHERE d.object_type = 'trigger' AND NOT d.original AND product_llm.owns(t.source)
				AND NOT (ARRAY[t.source, t.texts, t.store, t.words, t.terms, b.source, b.pairs, b.lists, b.feedback]::oid[]) && gone
		LOOP
			PERFORM product_llm.catalog_work(lost.catalog, CASE WHEN lost.of_events THEN 'pairs' ELSE 'prune' END, NULL);
		END LOOP;
		FOR e IN DELETE FROM product_llm.catalog_events AS t
				 WHERE (ARRAY[t.source, t.pairs, t.lists, t.feedback]::oid[]) && gone
				 OR t.catalog IN (SELECT k.catalog FROM product_llm.catalog AS k
								  WHERE (ARRAY[k.source, k.texts, k.store, k.words, k.terms]::oid[]) && gone)
				 RETURNING *
		LOOP
			PERFORM product_llm.drop_sides(ARRAY[e.pairs, e.lists, e.feedback]);
			IF EXISTS (SELECT FROM pg_catalog.pg_class AS r WHERE r.oid = e.source) THEN
				PERFORM product_llm.unwatch_events(e);
			END IF;
		END LOOP;
		UPDATE product_llm.catalog AS t SET next_store = NULL, next_model = NULL WHERE t.next_store::oid = ANY (gone);
		UPDATE product_llm.catalog AS t SET old_stores = ARRAY(SELECT o FROM pg_catalog.unnest(t.old_stores) AS o WHERE NOT o::oid = ANY (gone))
		WHERE t.old_stores::oid[] && gone;
		FOR c IN DELETE FROM product_llm.catalog AS t
				 WHERE (ARRAY[t.source, t.texts, t.store, t.words, t.terms]::oid[]) && gone
				 RETURNING *
		LOOP
			IF EXISTS (SELECT FROM pg_catalog.pg_class AS r WHERE r.oid = c.source) THEN
				PERFORM product_llm.unwatch_source(c);
			END IF;
			PERFORM product_llm.unlink_shards(ARRAY[c.store, c.words, c.terms]);
			PERFORM product_llm.drop_sides(product_llm.sides(c));
		END LOOP;
	END
	$$;
COMMENT ON FUNCTION catalog_dropped() IS 'forgets the catalogs whose source or side tables are dropped, and what was in dropped partitions';

CREATE EVENT TRIGGER product_llm_follow ON ddl_command_end WHEN TAG IN ('ALTER TABLE', 'CREATE TABLE', 'CREATE FOREIGN TABLE')
	EXECUTE FUNCTION product_llm.catalog_follow();
COMMENT ON EVENT TRIGGER product_llm_follow IS 'follows what is done to the sources of catalogs';
CREATE EVENT TRIGGER product_llm_dropped ON sql_drop EXECUTE FUNCTION product_llm.catalog_dropped();
COMMENT ON EVENT TRIGGER product_llm_dropped IS 'forgets the catalogs whose source is dropped';

-- ---- what there is ----

CREATE FUNCTION catalog_counts(catalog text, OUT products bigint, OUT embedded bigint, OUT stale bigint)
	AS 'MODULE_PATHNAME', 'product_llm_catalog_counts' LANGUAGE C STABLE STRICT PARALLEL UNSAFE COST 100000;
COMMENT ON FUNCTION catalog_counts(text) IS
	'products that the caller sees; to callers from whom no row is hidden, also how many are embedded and how many of those are out of date';

CREATE VIEW catalogs AS
	SELECT c.catalog COLLATE "default" AS catalog, c.source, c.model COLLATE "default" AS model,
		n.products, n.embedded, n.stale, c.last_refresh, c.sync, c.nearest, c.next_model COLLATE "default" AS next_model,
		c.language, c.key, c.settings, c.created_at
	FROM product_llm.catalog AS c
	CROSS JOIN LATERAL product_llm.catalog_counts(c.catalog) AS n
	WHERE EXISTS (SELECT FROM pg_catalog.pg_class AS r WHERE r.oid = c.source)
		AND pg_catalog.has_any_column_privilege(c.source, 'SELECT');
COMMENT ON VIEW catalogs IS 'the catalogs whose products the caller may see';
