-- Catalogs over several servers: the source is a partitioned table whose partitions are foreign tables of postgres_fdw.
--
-- Each shard has a catalog of its own on its own table, kept true by its own triggers.  On the coordinator the side tables
-- are empty parents, and for each shard's side tables a foreign table inherits from them: <catalog>_shard_<n>_embedding,
-- _words and _term.  What reads a side table so reads all shards, and its conditions run there.

-- What a coordinator asks a shard.
CREATE VIEW catalog_tables AS
	SELECT c.catalog COLLATE "default" AS catalog, n.nspname::text AS source_schema, r.relname::text AS source,
		m.nspname::text AS side_schema, s.relname::text AS store, w.relname::text AS words, t.relname::text AS terms,
		encode(product_llm.model_identity(c.model), 'hex') AS identity, c.language
	FROM product_llm.catalog AS c
	JOIN pg_catalog.pg_class AS r ON r.oid = c.source JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
	JOIN pg_catalog.pg_class AS s ON s.oid = c.store JOIN pg_catalog.pg_namespace AS m ON m.oid = s.relnamespace
	JOIN pg_catalog.pg_class AS w ON w.oid = c.words
	JOIN pg_catalog.pg_class AS t ON t.oid = c.terms
	WHERE pg_catalog.has_table_privilege(s.oid, 'SELECT');
COMMENT ON VIEW catalog_tables IS 'where the side tables are of the catalogs that the caller may read: what a coordinator asks its shards';

-- ---- the partitions ----

CREATE FUNCTION shard_partitions(source regclass)
	RETURNS TABLE (partition regclass, server name, remote_schema text, remote_table text)
	LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE ROWS 10
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		p record;
	BEGIN
		FOR p IN
			SELECT t.relid, s.srvname, s.srvoptions, h.proname AS handler, n.nspname, r.relname, f.ftoptions
			FROM pg_catalog.pg_partition_tree(source) AS t
			JOIN pg_catalog.pg_class AS r ON r.oid = t.relid JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
			LEFT JOIN pg_catalog.pg_foreign_table AS f ON f.ftrelid = r.oid
			LEFT JOIN pg_catalog.pg_foreign_server AS s ON s.oid = f.ftserver
			LEFT JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw
			LEFT JOIN pg_catalog.pg_proc AS h ON h.oid = w.fdwhandler
			WHERE t.isleaf AND r.relkind <> 'p'
			ORDER BY n.nspname, r.relname
		LOOP
			IF p.handler IS DISTINCT FROM 'postgres_fdw_handler' THEN
				RAISE EXCEPTION 'partition % is not a foreign table of postgres_fdw', p.relid USING ERRCODE = 'wrong_object_type',
					HINT = 'With sync => ''shards'' every partition is another server''s table.';
			END IF;
			IF NOT EXISTS (SELECT FROM pg_catalog.pg_options_to_table(p.srvoptions) AS o,
						   pg_catalog.regexp_split_to_table(o.option_value, '\s*,\s*') AS e
						   WHERE o.option_name = 'extensions' AND pg_catalog.btrim(e) = 'product_llm') THEN
				RAISE EXCEPTION 'server "%" does not say that it has the extension product_llm', p.srvname
					USING ERRCODE = 'object_not_in_prerequisite_state',
						HINT = pg_catalog.format('ALTER SERVER %I OPTIONS (ADD extensions ''product_llm''); else every vector would travel.', p.srvname);
			END IF;
			partition := p.relid;
			server := p.srvname;
			remote_schema := coalesce((SELECT o.option_value FROM pg_catalog.pg_options_to_table(p.ftoptions) AS o WHERE o.option_name = 'schema_name'), p.nspname);
			remote_table := coalesce((SELECT o.option_value FROM pg_catalog.pg_options_to_table(p.ftoptions) AS o WHERE o.option_name = 'table_name'), p.relname);
			RETURN NEXT;
		END LOOP;
		IF partition IS NULL THEN
			RAISE EXCEPTION 'table % has no partitions', source USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'CREATE FOREIGN TABLE .. PARTITION OF .. SERVER ..; for each shard comes first.';
		END IF;
	END
	$$;
COMMENT ON FUNCTION shard_partitions(regclass) IS
	'the foreign tables that a partitioned table consists of, with their servers and names there; an error when a partition is none';

-- ---- linking ----

-- The catalog of a shard that fits: on the partition's own table, with the same model and language; of several, the one with
-- the same name.  So a shard can have a second catalog, of another model, before the coordinator changes to it.
CREATE FUNCTION ask_shard(c product_llm.catalog, server name, remote_schema text, remote_table text) RETURNS product_llm.catalog_tables
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		asked text := (SELECT pg_catalog.format('%I.%I', n.nspname, product_llm.side_name(c.catalog, 'shard_catalogs'))
					   FROM pg_catalog.pg_class AS r JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace WHERE r.oid = c.source);
		fits product_llm.catalog_tables;
		there text;
	BEGIN
		EXECUTE pg_catalog.format('CREATE FOREIGN TABLE %s (catalog pg_catalog.text, source_schema pg_catalog.text, source pg_catalog.text,'
			' side_schema pg_catalog.text, store pg_catalog.text, words pg_catalog.text, terms pg_catalog.text, identity pg_catalog.text,'
			' language pg_catalog.text) SERVER %I OPTIONS (schema_name ''product_llm'', table_name ''catalog_tables'')', asked, server);
		BEGIN
			EXECUTE pg_catalog.format('SELECT a.* FROM %s AS a WHERE a.source_schema = $1 AND a.source = $2'
				' ORDER BY a.identity = $3 AND a.language = $4 DESC, a.catalog = $5 DESC, a.catalog LIMIT 1', asked)
				INTO fits USING remote_schema, remote_table, pg_catalog.encode(product_llm.model_identity(c.model), 'hex'), c.language, c.catalog;
		EXCEPTION WHEN undefined_table OR invalid_schema_name THEN
			RAISE EXCEPTION 'server "%" does not have this version of the extension product_llm', server
				USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = SQLERRM,
					HINT = 'CREATE EXTENSION product_llm there, in the database that the server''s options name.';
		END;
		EXECUTE pg_catalog.format('DROP FOREIGN TABLE %s', asked);
		there := pg_catalog.format('table %I.%I of server "%s"', remote_schema, remote_table, server);
		IF fits.catalog IS NULL THEN
			RAISE EXCEPTION '% has no catalog that the user mapping''s role may read', there USING ERRCODE = 'undefined_object',
				HINT = 'product_llm.create_catalog there comes first; its owner''s role reads its side tables.';
		ELSIF fits.identity <> pg_catalog.encode(product_llm.model_identity(c.model), 'hex') THEN
			RAISE EXCEPTION 'catalog "%" on % has another model than "%"', fits.catalog, there, c.model
				USING ERRCODE = 'object_not_in_prerequisite_state',
					HINT = 'Vectors of different models cannot be compared.  Create a catalog with the same model there.';
		ELSIF fits.language <> c.language THEN
			RAISE EXCEPTION 'catalog "%" on % has the language %, not %', fits.catalog, there, fits.language, c.language
				USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Name the same text search configuration on all servers.';
		END IF;
		RETURN fits;
	END
	$$;
COMMENT ON FUNCTION ask_shard(product_llm.catalog, name, text, text) IS
	'the side tables that stand on a shard for one of its tables, or an error that says what is wrong there';

CREATE FUNCTION linked_shards(c product_llm.catalog) RETURNS text[]
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT pg_catalog.array_agg(l.side || ' ' || l.place ORDER BY l.side || ' ' || l.place COLLATE "C")
		FROM (SELECT i.inhparent::regclass::text AS side, pg_catalog.format('%I %s', s.srvname,
				(SELECT pg_catalog.string_agg(pg_catalog.quote_ident(o.option_value), '.' ORDER BY o.option_name)
				 FROM pg_catalog.pg_options_to_table(f.ftoptions) AS o WHERE o.option_name IN ('schema_name', 'table_name'))) AS place
			FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_foreign_table AS f ON f.ftrelid = i.inhrelid
			JOIN pg_catalog.pg_foreign_server AS s ON s.oid = f.ftserver
			WHERE i.inhparent = ANY (ARRAY[(c).store, (c).words, (c).terms]::oid[])) AS l
	$$;
COMMENT ON FUNCTION linked_shards(product_llm.catalog) IS 'a line for each foreign side table of a catalog: of which side table, where it is';

CREATE FUNCTION unlink_shards(sides regclass[]) RETURNS void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		linked regclass;
	BEGIN
		FOR linked IN
			SELECT i.inhrelid::regclass FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS r ON r.oid = i.inhrelid
			WHERE i.inhparent = ANY (sides::oid[]) AND r.relkind = 'f'
		LOOP
			EXECUTE pg_catalog.format('DROP FOREIGN TABLE %s', linked);
		END LOOP;
	END
	$$;
COMMENT ON FUNCTION unlink_shards(regclass[]) IS 'drop the foreign tables that inherit from side tables; nothing on the shards';

-- All shards are asked before anything is changed; what is right already stays.
CREATE FUNCTION catalog_link(catalog text, keys text[]) RETURNS text[]
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog := product_llm.catalog_row(catalog);
		space name := (SELECT n.nspname FROM pg_catalog.pg_class AS r JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
					   WHERE r.oid = c.source);
		p record;
		there product_llm.catalog_tables;
		wanted text[] := '{}';
		creating text[] := '{}';
		command text;
		n int := 0;
	BEGIN
		FOR p IN SELECT * FROM product_llm.shard_partitions(c.source)
		LOOP
			there := product_llm.ask_shard(c, p.server, p.remote_schema, p.remote_table);
			n := n + 1;
			SELECT wanted || pg_catalog.array_agg(pg_catalog.format('%s %I %I.%I', side, p.server, there.side_schema, remote)),
				creating || pg_catalog.array_agg(pg_catalog.format(
					'CREATE FOREIGN TABLE %I.%I () INHERITS (%s) SERVER %I OPTIONS (schema_name %L, table_name %L)',
					space, product_llm.side_name(c.catalog, pg_catalog.format('shard_%s_%s', n, what)), side, p.server, there.side_schema, remote))
				INTO wanted, creating
			FROM (VALUES ('embedding', c.store, there.store), ('words', c.words, there.words), ('term', c.terms, there.terms)) AS v (what, side, remote);
		END LOOP;
		IF (SELECT pg_catalog.array_agg(w ORDER BY w COLLATE "C") FROM pg_catalog.unnest(wanted) AS w) = product_llm.linked_shards(c) THEN
			RETURN NULL;
		END IF;
		PERFORM product_llm.unlink_shards(ARRAY[c.store, c.words, c.terms]);
		FOREACH command IN ARRAY creating
		LOOP
			EXECUTE command;
		END LOOP;
		RETURN NULL;
	END
	$$;
COMMENT ON FUNCTION catalog_link(text, text[]) IS
	'let the side tables of a catalog over shards consist of what the partitions'' servers have now; run as the catalog''s owner';

-- ---- what is done otherwise than in a catalog of one server ----

CREATE FUNCTION check_not_shards(c product_llm.catalog) RETURNS void
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	BEGIN
		IF c.sync = 'shards' THEN
			RAISE EXCEPTION 'the products of catalog "%" are embedded on its shards', c.catalog
				USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Each shard''s own catalog does it.';
		END IF;
	END
	$$;
COMMENT ON FUNCTION check_not_shards(product_llm.catalog) IS 'an error when a catalog''s side tables are on other servers';

-- The same figures as catalog_count's, from one row of each shard.
CREATE FUNCTION shards_count(c product_llm.catalog) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT pg_catalog.format('SELECT pg_catalog.jsonb_build_object(''rows'', coalesce(pg_catalog.sum(p.n), 0),'
			' ''title'', coalesce(pg_catalog.round(pg_catalog.sum(p.title) / nullif(pg_catalog.sum(p.n), 0), 2), 0),'
			' ''body'', coalesce(pg_catalog.round(pg_catalog.sum(p.body) / nullif(pg_catalog.sum(p.n), 0), 2), 0), ''bytes'', 0) FROM (%s) AS p',
			pg_catalog.string_agg(pg_catalog.format('SELECT pg_catalog.count(*) AS n, pg_catalog.sum(w.title_words) AS title, pg_catalog.sum(w.body_words) AS body FROM %s AS w',
				i.inhrelid::regclass), ' UNION ALL '))
		FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = (c).words::oid
	$$;
COMMENT ON FUNCTION shards_count(product_llm.catalog) IS 'SQL that counts the texts of a catalog over shards and their length';

CREATE FUNCTION refresh_shards(c product_llm.catalog) RETURNS void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	BEGIN
		PERFORM product_llm.catalog_work(c.catalog, 'link', NULL);
		PERFORM product_llm.catalog_work(c.catalog, 'count', NULL);
		IF EXISTS (SELECT FROM product_llm.catalog_events AS e WHERE e.catalog = c.catalog) THEN
			PERFORM product_llm.catalog_work(c.catalog, 'pairs', NULL);
		END IF;
		UPDATE product_llm.catalog AS t SET last_refresh = pg_catalog.clock_timestamp() WHERE t.catalog = c.catalog;
	END
	$$;
COMMENT ON FUNCTION refresh_shards(product_llm.catalog) IS
	'refresh a catalog over shards: partitions that have come or gone, counts, pairs; embeds nothing';

CREATE FUNCTION alter_shards(c product_llm.catalog, model text, sync text, nearest text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	BEGIN
		IF sync <> 'shards' THEN
			RAISE EXCEPTION 'catalog "%" is over shards and cannot become one of sync "%"', c.catalog, sync
				USING ERRCODE = 'feature_not_supported', HINT = 'Drop it and create it anew; the shards keep theirs.';
		END IF;
		IF nearest <> 'exact' THEN
			RAISE EXCEPTION 'nearest of a catalog over shards is always "exact"' USING ERRCODE = 'feature_not_supported',
				HINT = 'Each shard scans its own vectors; more shards make it quicker.';
		END IF;
		IF model IS NOT NULL AND model <> c.model THEN
			model := product_llm.embedding_model(model);
			UPDATE product_llm.catalog AS t SET model = alter_shards.model WHERE t.catalog = c.catalog;
			PERFORM product_llm.catalog_work(c.catalog, 'link', NULL);
			PERFORM product_llm.catalog_work(c.catalog, 'count', NULL);
		END IF;
	END
	$$;
COMMENT ON FUNCTION alter_shards(product_llm.catalog, text, text, text) IS
	'alter_catalog of a catalog over shards: a new model when every shard has a catalog of it';
