-- Catalogs: product rows of the shop's own tables, kept embedded and indexed.
--
-- A catalog has side tables beside its source, in the source's schema and owned by the source's owner:
--
--     <catalog>_text        view: key, title, content of every product; holds the expressions, so that renaming a column
--                           or a table keeps them right and dropping one asks for CASCADE
--     <catalog>_embedding   key, model, text_hash, embedding: as narrow as can be, because exact search scans it
--     <catalog>_words       key, text_hash, words, title_words, body_words: the lexical form, under a GIN index
--     <catalog>_term        the words that there are, for spelling
--
-- Keys are kept as text in one form that no setting changes.  Work on side tables is done as the source's owner;
-- whatever a caller is shown goes through the source with the caller's own rights.

CREATE TABLE catalog (
	catalog text COLLATE "C" PRIMARY KEY
		CONSTRAINT catalog_name_is_plain CHECK (octet_length(catalog) BETWEEN 1 AND 40
			AND catalog !~ '[[:cntrl:]]' AND catalog = btrim(catalog, ' ')),
	source regclass NOT NULL,
	key name NOT NULL,
	texts regclass NOT NULL,
	store regclass NOT NULL,
	words regclass NOT NULL,
	terms regclass NOT NULL,
	model text COLLATE "C" NOT NULL REFERENCES model,
	next_store regclass,
	next_model text COLLATE "C" REFERENCES model,
	old_stores regclass[] NOT NULL DEFAULT '{}',
	sync text NOT NULL CONSTRAINT catalog_sync_is_known CHECK (sync IN ('trigger', 'manual', 'shards')),
	language text NOT NULL,
	nearest text NOT NULL DEFAULT 'exact' CONSTRAINT catalog_nearest_is_known CHECK (nearest IN ('exact', 'hnsw')),
	settings jsonb NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now(),
	last_refresh timestamptz
);
COMMENT ON TABLE catalog IS 'the catalogs of this database';
COMMENT ON COLUMN catalog.catalog IS 'name, the first argument of every function';
COMMENT ON COLUMN catalog.source IS 'the shop''s table of products';
COMMENT ON COLUMN catalog.key IS 'its column that names a product';
COMMENT ON COLUMN catalog.texts IS 'view of key, title and content';
COMMENT ON COLUMN catalog.store IS 'table of embeddings that searches use';
COMMENT ON COLUMN catalog.words IS 'table of words';
COMMENT ON COLUMN catalog.terms IS 'table of the different words, for spelling';
COMMENT ON COLUMN catalog.model IS 'model of the embeddings';
COMMENT ON COLUMN catalog.next_store IS 'embeddings of next_model, until they are complete';
COMMENT ON COLUMN catalog.next_model IS 'the model that the catalog is changing to';
COMMENT ON COLUMN catalog.old_stores IS 'embeddings of earlier models, until nobody reads them any more and refresh_catalog has dropped them';
COMMENT ON COLUMN catalog.sync IS 'trigger: kept by every writing statement; manual: by refresh_catalog; shards: the partitions are other servers'' tables, which have catalogs of their own';
COMMENT ON COLUMN catalog.language IS 'text search configuration of its words, by its qualified name: pg_upgrade does not carry its number';
COMMENT ON COLUMN catalog.nearest IS 'how the nearest embeddings are found: exact, or hnsw with pgvector';
COMMENT ON COLUMN catalog.settings IS 'constants of ranking and blending that tune_catalog or the owner has set';
COMMENT ON COLUMN catalog.created_at IS 'when it was made';
COMMENT ON COLUMN catalog.last_refresh IS 'when refresh_catalog last came to its end';

CREATE TABLE catalog_events (
	catalog text COLLATE "C" PRIMARY KEY REFERENCES catalog ON DELETE CASCADE,
	source regclass NOT NULL,
	visitor name NOT NULL,
	item name NOT NULL,
	at name NOT NULL,
	kind name,
	weights jsonb,
	pairs regclass NOT NULL,
	lists regclass NOT NULL,
	feedback regclass NOT NULL,
	last_refresh timestamptz
);
COMMENT ON TABLE catalog_events IS 'the shop''s tables of events that catalogs learn from';
COMMENT ON COLUMN catalog_events.catalog IS 'the catalog';
COMMENT ON COLUMN catalog_events.source IS 'the shop''s table of events';
COMMENT ON COLUMN catalog_events.visitor IS 'its column that names the visitor';
COMMENT ON COLUMN catalog_events.item IS 'its column that names the product';
COMMENT ON COLUMN catalog_events.at IS 'its column that says when';
COMMENT ON COLUMN catalog_events.kind IS 'its column that says what happened: view, cart, purchase';
COMMENT ON COLUMN catalog_events.weights IS 'weight of each kind; a kind that is missing weighs 1, one of weight 0 is ignored';
COMMENT ON COLUMN catalog_events.pairs IS 'table of what was seen and bought together';
COMMENT ON COLUMN catalog_events.lists IS 'table of the lists that recommend gave';
COMMENT ON COLUMN catalog_events.feedback IS 'table of what became of them';
COMMENT ON COLUMN catalog_events.last_refresh IS 'when the table of pairs was last built or compacted';

CREATE TABLE catalog_forgotten (
	catalog text COLLATE "C" NOT NULL REFERENCES catalog ON DELETE CASCADE,
	visitor bytea NOT NULL,
	salt bytea NOT NULL,
	PRIMARY KEY (catalog, visitor)
);
COMMENT ON TABLE catalog_forgotten IS 'visitors whose events are not learnt from any more';
COMMENT ON COLUMN catalog_forgotten.catalog IS 'the catalog';
COMMENT ON COLUMN catalog_forgotten.visitor IS 'sha256 of the salt and the visitor''s name, which itself is kept nowhere';
COMMENT ON COLUMN catalog_forgotten.salt IS 'random bytes, the same for all visitors of a catalog';

CREATE TABLE catalog_progress (
	catalog text COLLATE "C" PRIMARY KEY REFERENCES catalog ON DELETE CASCADE,
	started_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL,
	done bigint NOT NULL,
	total bigint NOT NULL,
	state text NOT NULL
);
COMMENT ON TABLE catalog_progress IS 'the last refresh of each catalog';
COMMENT ON COLUMN catalog_progress.catalog IS 'the catalog';
COMMENT ON COLUMN catalog_progress.started_at IS 'when the refresh began';
COMMENT ON COLUMN catalog_progress.updated_at IS 'when its last batch was committed';
COMMENT ON COLUMN catalog_progress.done IS 'texts embedded so far';
COMMENT ON COLUMN catalog_progress.total IS 'texts that were missing or stale when it began';
COMMENT ON COLUMN catalog_progress.state IS 'running or done; a refresh that was interrupted still says running';

-- Apart from the catalog, which everybody may read: it counts rows that row-level security may hide.
CREATE TABLE catalog_statistics (
	catalog text COLLATE "C" PRIMARY KEY REFERENCES catalog ON DELETE CASCADE,
	statistics jsonb NOT NULL
);
COMMENT ON TABLE catalog_statistics IS 'what was counted of each catalog, hidden rows too: for its owner alone';
COMMENT ON COLUMN catalog_statistics.catalog IS 'the catalog';
COMMENT ON COLUMN catalog_statistics.statistics IS 'number and mean length of its texts, as last counted; ranking by words needs them roughly';

SELECT pg_catalog.pg_extension_config_dump('catalog', '');
SELECT pg_catalog.pg_extension_config_dump('catalog_statistics', '');
SELECT pg_catalog.pg_extension_config_dump('catalog_events', '');
SELECT pg_catalog.pg_extension_config_dump('catalog_forgotten', '');
SELECT pg_catalog.pg_extension_config_dump('catalog_progress', '');

-- A catalog belongs to whoever owns its source.
CREATE FUNCTION owns(relation regclass) RETURNS boolean
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT coalesce((SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class AS c
						 WHERE c.oid = relation::oid), true)
	$$;
COMMENT ON FUNCTION owns(regclass) IS 'does the caller have the rights of the relation''s owner?  What is gone belongs to everybody';

ALTER TABLE catalog ENABLE ROW LEVEL SECURITY;
ALTER TABLE catalog_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE catalog_statistics ENABLE ROW LEVEL SECURITY;
ALTER TABLE catalog_forgotten ENABLE ROW LEVEL SECURITY;
ALTER TABLE catalog_progress ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody_reads ON catalog FOR SELECT USING (true);
CREATE POLICY owner_writes ON catalog USING (product_llm.owns(source)) WITH CHECK (product_llm.owns(source));
CREATE POLICY everybody_reads ON catalog_events FOR SELECT USING (true);
CREATE POLICY owner_writes ON catalog_events
	USING (product_llm.owns((SELECT c.source FROM product_llm.catalog AS c WHERE c.catalog = catalog_events.catalog)))
	WITH CHECK (product_llm.owns((SELECT c.source FROM product_llm.catalog AS c WHERE c.catalog = catalog_events.catalog)));
CREATE POLICY owner_sees ON catalog_statistics
	USING (product_llm.owns((SELECT c.source FROM product_llm.catalog AS c WHERE c.catalog = catalog_statistics.catalog)))
	WITH CHECK (product_llm.owns((SELECT c.source FROM product_llm.catalog AS c WHERE c.catalog = catalog_statistics.catalog)));
CREATE POLICY owner_sees ON catalog_forgotten
	USING (product_llm.owns((SELECT c.source FROM product_llm.catalog AS c WHERE c.catalog = catalog_forgotten.catalog)))
	WITH CHECK (product_llm.owns((SELECT c.source FROM product_llm.catalog AS c WHERE c.catalog = catalog_forgotten.catalog)));
CREATE POLICY owner_sees ON catalog_progress
	USING (product_llm.owns((SELECT c.source FROM product_llm.catalog AS c WHERE c.catalog = catalog_progress.catalog)))
	WITH CHECK (product_llm.owns((SELECT c.source FROM product_llm.catalog AS c WHERE c.catalog = catalog_progress.catalog)));

-- ---- small helpers ----

CREATE FUNCTION key_text(key anyelement) RETURNS text
	AS 'MODULE_PATHNAME', 'product_llm_key_text' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION key_text(anyelement) IS
	'a key as text in the one form that no setting of the session changes';

CREATE FUNCTION catalog_row(catalog text) RETURNS product_llm.catalog
	LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog;
	BEGIN
		SELECT * INTO c FROM product_llm.catalog AS t WHERE t.catalog OPERATOR(pg_catalog.=) $1;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'catalog "%" does not exist', $1
				USING ERRCODE = 'undefined_object', HINT = 'SELECT catalog FROM product_llm.catalogs shows those that you may use.';
		END IF;
		RETURN c;
	END
	$$;
COMMENT ON FUNCTION catalog_row(text) IS 'the definition of a catalog, or an error';

CREATE FUNCTION own_catalog_row(catalog text) RETURNS product_llm.catalog
	LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog := product_llm.catalog_row(catalog);
	BEGIN
		IF NOT product_llm.owns(c.source) THEN
			RAISE EXCEPTION 'must be owner of catalog "%"', c.catalog
				USING ERRCODE = 'insufficient_privilege', HINT = 'A catalog belongs to the owner of its source table.';
		END IF;
		RETURN c;
	END
	$$;
COMMENT ON FUNCTION own_catalog_row(text) IS 'the definition of a catalog that the caller owns, or an error';

CREATE FUNCTION side_name(catalog text, what text) RETURNS name
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	AS $$ SELECT (catalog || '_' || what)::name $$;
COMMENT ON FUNCTION side_name(text, text) IS 'name of a side table of a catalog';

CREATE FUNCTION sides(c product_llm.catalog) RETURNS regclass[]
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	AS $$ SELECT ARRAY[(c).texts, (c).store, (c).words, (c).terms, (c).next_store] || (c).old_stores $$;
COMMENT ON FUNCTION sides(product_llm.catalog) IS 'the side tables of a catalog and its view, those of events apart';

CREATE FUNCTION language_name(language regconfig) RETURNS text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT pg_catalog.format('%I.%I', n.nspname, c.cfgname)
		FROM pg_catalog.pg_ts_config AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.cfgnamespace WHERE c.oid = language
	$$;
COMMENT ON FUNCTION language_name(regconfig) IS 'qualified name of a text search configuration';

CREATE FUNCTION embedding_model(model text) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	BEGIN
		model := coalesce(model, nullif(pg_catalog.current_setting('product_llm.default_model', true), ''));
		IF model IS NULL THEN
			RAISE EXCEPTION 'no model given' USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Name one, or set product_llm.default_model.';
		END IF;
		PERFORM product_llm.embed(model, 'x');
		RETURN model;
	END
	$$;
COMMENT ON FUNCTION embedding_model(text) IS 'the model, or the default one; an error when it cannot embed';

-- ---- create, change, drop ----

CREATE FUNCTION create_catalog(catalog text, source regclass, key name, content text, model text DEFAULT NULL,
							   sync text DEFAULT 'trigger', title text DEFAULT NULL, language regconfig DEFAULT NULL)
	RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	AS $$
	DECLARE
		kind "char";
		space name;
		key_type oid;
		c product_llm.catalog;
	BEGIN
		IF catalog IS NULL OR source IS NULL OR key IS NULL OR content IS NULL OR sync IS NULL THEN
			RAISE EXCEPTION 'catalog, source, key, content and sync must not be null' USING ERRCODE = 'null_value_not_allowed';
		END IF;
		IF NOT sync = ANY (ARRAY['trigger', 'manual', 'shards']) THEN
			RAISE EXCEPTION 'unknown sync "%"', sync USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Use ''trigger'', ''manual'' or ''shards''.';
		END IF;
		SELECT r.relkind, n.nspname INTO kind, space
		FROM pg_catalog.pg_class AS r JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
		WHERE r.oid = source::oid;
		IF kind IS NULL OR NOT kind = ANY (ARRAY['r', 'p', 'f']::"char"[]) OR space = ANY (ARRAY['pg_catalog', 'product_llm']::name[]) THEN
			RAISE EXCEPTION '"%" is not a table of products', source USING ERRCODE = 'wrong_object_type',
				HINT = 'Name a table, a partitioned table or a foreign table of the shop.';
		END IF;
		IF space LIKE 'pg\_temp%' THEN
			RAISE EXCEPTION 'table "%" is temporary', source USING ERRCODE = 'feature_not_supported',
				HINT = 'A catalog is for all sessions; make the table an ordinary one.';
		END IF;
		IF sync = 'trigger' THEN
			PERFORM product_llm.check_watchable(source);
		END IF;
		IF kind <> 'p' AND sync = 'shards' THEN
			RAISE EXCEPTION 'table "%" is not partitioned', source USING ERRCODE = 'wrong_object_type',
				HINT = 'sync => ''shards'' is for a partitioned table whose partitions are foreign tables on servers with catalogs of their own.';
		END IF;
		IF NOT product_llm.owns(source) THEN
			RAISE EXCEPTION 'must be owner of table %', source USING ERRCODE = 'insufficient_privilege',
				HINT = 'A catalog belongs to the owner of its source table.';
		END IF;
		IF EXISTS (SELECT FROM product_llm.catalog AS t WHERE t.catalog = create_catalog.catalog) THEN
			RAISE EXCEPTION 'catalog "%" already exists', catalog USING ERRCODE = 'duplicate_object',
				HINT = 'product_llm.drop_catalog forgets it, product_llm.alter_catalog changes it.';
		END IF;
		SELECT a.atttypid INTO key_type FROM pg_catalog.pg_attribute AS a
		WHERE a.attrelid = source::oid AND a.attname = key AND a.attnum > 0 AND NOT a.attisdropped;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'column "%" of table % does not exist', key, source USING ERRCODE = 'undefined_column',
				HINT = 'The key is the column that names a product, spelt as in the table.';
		END IF;
		PERFORM product_llm.check_key_type(key, key_type);
		PERFORM product_llm.check_text_expression(source, content, 'content');
		IF title IS NOT NULL THEN
			PERFORM product_llm.check_text_expression(source, title, 'title');
		END IF;
		model := product_llm.embedding_model(model);
		PERFORM product_llm.check_catalog_name(catalog);
		PERFORM product_llm.check_side_names(catalog, space);
		IF sync = 'trigger' THEN
			PERFORM product_llm.check_isolation();
		END IF;

		c.catalog := catalog;
		c.source := source;
		c.key := key;
		c.model := model;
		c.sync := sync;
		c.language := product_llm.language_name(coalesce(language, CASE pg_catalog.get_current_ts_config()
			WHEN 'pg_catalog.english'::regconfig THEN 'product_llm.shop_english'::regconfig ELSE pg_catalog.get_current_ts_config() END));
		c.nearest := 'exact';
		c.settings := '{}';
		c.old_stores := '{}';
		c.created_at := pg_catalog.now();
		EXECUTE pg_catalog.format(
			'CREATE VIEW %I.%I AS SELECT %I AS key, coalesce((%s'
			'%s)::pg_catalog.text, '''') AS title, coalesce((%s'
			'%s)::pg_catalog.text, '''') AS content FROM %s%s WHERE %I IS NOT NULL',
			space, product_llm.side_name(catalog, 'text'), key, coalesce(title, ''''''), E'\n', content, E'\n',
			-- Rows of tables that inherit from this one change without it.
			CASE kind WHEN 'r' THEN 'ONLY ' ELSE '' END, source, key);
		c.texts := pg_catalog.format('%I.%I', space, product_llm.side_name(catalog, 'text'))::regclass;
		c.store := product_llm.create_store(c, product_llm.side_name(catalog, 'embedding'));
		EXECUTE pg_catalog.format(
			'CREATE TABLE %I.%I (key pg_catalog.text COLLATE "C" PRIMARY KEY, text_hash pg_catalog.uuid NOT NULL,'
			' title_words pg_catalog.int4 NOT NULL, body_words pg_catalog.int4 NOT NULL, words pg_catalog.tsvector NOT NULL)',
			space, product_llm.side_name(catalog, 'words'));
		c.words := pg_catalog.format('%I.%I', space, product_llm.side_name(catalog, 'words'))::regclass;
		EXECUTE pg_catalog.format('CREATE INDEX ON %s USING gin (words)', c.words);
		EXECUTE pg_catalog.format('CREATE TABLE %I.%I (term pg_catalog.text COLLATE "C" NOT NULL,'
			' grams pg_catalog.text[] COLLATE "C" NOT NULL)', space, product_llm.side_name(catalog, 'term'));
		c.terms := pg_catalog.format('%I.%I', space, product_llm.side_name(catalog, 'term'))::regclass;
		EXECUTE pg_catalog.format('CREATE INDEX ON %s (term)', c.terms);
		EXECUTE pg_catalog.format('CREATE INDEX ON %s USING gin (grams)', c.terms);
		PERFORM product_llm.give_to_owner(source, ARRAY[c.texts, c.store, c.words, c.terms]);
		EXECUTE pg_catalog.format('COMMENT ON VIEW %s IS %L', c.texts, 'texts of catalog "' || catalog || '"');
		EXECUTE pg_catalog.format('COMMENT ON TABLE %s IS %L', c.words, 'words of catalog "' || catalog || '"');
		EXECUTE pg_catalog.format('COMMENT ON TABLE %s IS %L', c.terms, 'different words of catalog "' || catalog || '"');

		INSERT INTO product_llm.catalog SELECT (c).*;
		IF sync = 'trigger' THEN
			PERFORM product_llm.watch_source(c);
			PERFORM product_llm.catalog_work(catalog, 'reconcile', NULL);
			UPDATE product_llm.catalog AS t SET last_refresh = pg_catalog.now() WHERE t.catalog = create_catalog.catalog;
		ELSIF sync = 'shards' THEN
			PERFORM product_llm.catalog_work(catalog, 'link', NULL);
			PERFORM product_llm.catalog_work(catalog, 'count', NULL);
			UPDATE product_llm.catalog AS t SET last_refresh = pg_catalog.now() WHERE t.catalog = create_catalog.catalog;
		END IF;
	END
	$$;
COMMENT ON FUNCTION create_catalog(text, regclass, name, text, text, text, text, regconfig) IS
	'keep the rows of a table embedded and searchable; content and title are SQL expressions over its columns';

CREATE FUNCTION check_catalog_name(catalog text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	BEGIN
		IF pg_catalog.octet_length(catalog) NOT BETWEEN 1 AND 40 OR catalog ~ '[[:cntrl:]]'
			OR catalog <> pg_catalog.btrim(catalog, ' ') THEN
			RAISE EXCEPTION 'name of a catalog must have between 1 and 40 bytes, no control characters, and no space at either end'
				USING ERRCODE = 'invalid_parameter_value', HINT = 'Its side tables are named after it.';
		END IF;
	END
	$$;
COMMENT ON FUNCTION check_catalog_name(text) IS 'an error when a catalog cannot have that name';

CREATE FUNCTION check_side_names(catalog text, space name) RETURNS void
	LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		taken text;
	BEGIN
		SELECT r.relname INTO taken FROM pg_catalog.pg_class AS r JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
		WHERE n.nspname = space AND r.relname = ANY (ARRAY(
			SELECT product_llm.side_name(catalog, what) FROM pg_catalog.unnest(ARRAY['text', 'embedding', 'words', 'term']) AS what))
		ORDER BY 1 LIMIT 1;
		IF FOUND THEN
			RAISE EXCEPTION 'relation "%" already exists in schema "%"', taken, space USING ERRCODE = 'duplicate_table',
				HINT = 'A side table of the catalog needs that name: name the catalog otherwise, or drop what an earlier one has left.';
		END IF;
	END
	$$;
COMMENT ON FUNCTION check_side_names(text, name) IS 'an error when a side table of a catalog would find its name taken';

CREATE FUNCTION check_key_type(key name, type oid) RETURNS void
	LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	BEGIN
		EXECUTE pg_catalog.format('SELECT FROM (SELECT NULL::%s AS key) AS k GROUP BY k.key', pg_catalog.format_type(type, -1));
	EXCEPTION WHEN undefined_function THEN
		RAISE EXCEPTION 'key column "%" is of type %, which has no equality', key, pg_catalog.format_type(type, NULL)
			USING ERRCODE = 'datatype_mismatch', HINT = 'A key must tell products apart.';
	END
	$$;
COMMENT ON FUNCTION check_key_type(name, oid) IS 'an error when a column of this type cannot be a key';

-- Triggers are put on a table after waiting for its writers: what they have written must be seen then.
CREATE FUNCTION check_isolation() RETURNS void
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	BEGIN
		IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
			RAISE EXCEPTION 'a catalog cannot begin to follow its source in a transaction of isolation level "%"',
				pg_catalog.current_setting('transaction_isolation')
				USING ERRCODE = 'invalid_transaction_state', HINT = 'Use READ COMMITTED, or sync => ''manual'' and refresh_catalog.';
		END IF;
	END
	$$;
COMMENT ON FUNCTION check_isolation() IS 'an error when the transaction might not see what was written before triggers watch a table';

CREATE FUNCTION check_watchable(source regclass) RETURNS void
	LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		far regclass := (SELECT r.oid FROM pg_catalog.pg_class AS r
						 WHERE r.relkind = 'f' AND (r.oid = source OR r.oid IN (SELECT t.relid FROM pg_catalog.pg_partition_tree(source) AS t))
						 ORDER BY r.oid LIMIT 1);
	BEGIN
		IF far IS NOT NULL THEN
			RAISE EXCEPTION 'foreign table % cannot be watched by triggers', far USING ERRCODE = 'feature_not_supported',
				HINT = 'Use sync => ''manual'' and CALL product_llm.refresh_catalog.';
		END IF;
	END
	$$;
COMMENT ON FUNCTION check_watchable(regclass) IS 'an error when a table, or a partition of it, is a foreign one';

CREATE FUNCTION check_text_expression(source regclass, expression text, what text) RETURNS void
	LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
	AS $$
	DECLARE
		sqlstate_ text;
		message_ text;
		hint_ text;
	BEGIN
		PERFORM product_llm.filter_condition(source, 'pg_catalog.textlen((' || expression || E'\n)::pg_catalog.text) >= 0', '{}');
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS sqlstate_ = RETURNED_SQLSTATE, message_ = MESSAGE_TEXT, hint_ = PG_EXCEPTION_HINT;
		RAISE EXCEPTION '% is not an expression over the columns of %', what, source
			USING ERRCODE = sqlstate_, DETAIL = message_,
				HINT = 'For example: title || '' '' || description.  Functions in it must not be volatile.';
	END
	$$;
COMMENT ON FUNCTION check_text_expression(regclass, text, text) IS
	'an error when a text is not one SQL expression over the columns of a table';

-- A side table belongs to the source's owner, whichever member of that role has made it.
CREATE FUNCTION give_to_owner(source regclass, relations regclass[]) RETURNS void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		owner oid := (SELECT r.relowner FROM pg_catalog.pg_class AS r WHERE r.oid = source);
		relation regclass;
	BEGIN
		FOR relation IN
			SELECT r.oid FROM pg_catalog.pg_class AS r
			WHERE r.relowner <> owner AND (r.oid = ANY (relations)
				OR r.oid IN (SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = ANY (relations)))
		LOOP
			EXECUTE pg_catalog.format('ALTER TABLE %s OWNER TO %I', relation, pg_catalog.pg_get_userbyid(owner));
		END LOOP;
	END
	$$;
COMMENT ON FUNCTION give_to_owner(regclass, regclass[]) IS 'side tables belong to the owner of the source';

CREATE FUNCTION create_store(c product_llm.catalog, name name) RETURNS regclass
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		place text := (SELECT pg_catalog.format('%I.%I', n.nspname, create_store.name)
					   FROM pg_catalog.pg_class AS r JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
					   WHERE r.oid = c.source);
	BEGIN
		EXECUTE pg_catalog.format(
			'CREATE TABLE %s (key pg_catalog.text COLLATE "C" PRIMARY KEY, text_hash pg_catalog.uuid NOT NULL,'
			' model pg_catalog.bytea NOT NULL, embedding pg_catalog.float4[] NOT NULL)', place);
		-- A vector does not compress, and one in the row is read without a second look-up.
		EXECUTE pg_catalog.format('ALTER TABLE %s ALTER embedding SET STORAGE EXTERNAL, ALTER embedding SET STATISTICS 0', place);
		EXECUTE pg_catalog.format('CREATE INDEX ON %s USING product_flat (embedding)', place);
		EXECUTE pg_catalog.format('COMMENT ON TABLE %s IS %L', place, 'embeddings of catalog "' || c.catalog || '"');
		RETURN place::regclass;
	END
	$$;
COMMENT ON FUNCTION create_store(product_llm.catalog, name) IS 'make an empty table of embeddings for a catalog';

CREATE FUNCTION next_store_name(c product_llm.catalog) RETURNS name
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	AS $$
		SELECT product_llm.side_name((c).catalog, 'embedding_' || i) FROM pg_catalog.generate_series(1, 1000) AS i
		WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class AS r JOIN pg_catalog.pg_class AS s ON s.relnamespace = r.relnamespace
						  WHERE s.oid = (c).source AND r.relname = product_llm.side_name((c).catalog, 'embedding_' || i))
		ORDER BY i LIMIT 1
	$$;
COMMENT ON FUNCTION next_store_name(product_llm.catalog) IS 'a free name for another model''s table of embeddings';

CREATE FUNCTION drop_sides(relations regclass[]) RETURNS void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		kind "char";
		relation regclass;
	BEGIN
		FOREACH relation IN ARRAY relations
		LOOP
			SELECT r.relkind INTO kind FROM pg_catalog.pg_class AS r WHERE r.oid = relation;
			IF FOUND THEN
				EXECUTE pg_catalog.format('DROP %s %s', CASE kind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, relation);
			END IF;
		END LOOP;
	END
	$$;
COMMENT ON FUNCTION drop_sides(regclass[]) IS 'drop those of a catalog''s side tables and view that are still there';

CREATE FUNCTION drop_catalog(catalog text) RETURNS void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog := product_llm.own_catalog_row(catalog);
	BEGIN
		IF EXISTS (SELECT FROM product_llm.catalog_events AS e WHERE e.catalog = c.catalog) THEN
			PERFORM product_llm.unbind_events(c.catalog);
		END IF;
		DELETE FROM product_llm.catalog AS t WHERE t.catalog = c.catalog;
		PERFORM product_llm.unwatch_source(c);
		PERFORM product_llm.unlink_shards(ARRAY[c.store, c.words, c.terms]);
		PERFORM product_llm.drop_sides(product_llm.sides(c));
	END
	$$;
COMMENT ON FUNCTION drop_catalog(text) IS 'forget a catalog and its side tables; the shop''s own tables stay as they are';

CREATE FUNCTION alter_catalog(catalog text, model text DEFAULT NULL, sync text DEFAULT NULL, nearest text DEFAULT NULL,
							  settings jsonb DEFAULT NULL)
	RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		c product_llm.catalog;
	BEGIN
		IF catalog IS NULL THEN
			RAISE EXCEPTION 'catalog must not be null' USING ERRCODE = 'null_value_not_allowed';
		END IF;
		c := product_llm.own_catalog_row(catalog);
		SELECT * INTO STRICT c FROM product_llm.catalog AS t WHERE t.catalog = c.catalog FOR UPDATE;
		IF settings IS NOT NULL THEN
			PERFORM product_llm.check_catalog_settings(settings);
			UPDATE product_llm.catalog AS t SET settings = pg_catalog.jsonb_strip_nulls(t.settings || alter_catalog.settings)
			WHERE t.catalog = c.catalog;
		END IF;
		IF c.sync = 'shards' THEN
			PERFORM product_llm.alter_shards(c, model, sync, nearest);
			RETURN;
		END IF;
		IF model IS NOT NULL AND model IS DISTINCT FROM coalesce(c.next_model, c.model) THEN
			model := product_llm.embedding_model(model);
			IF c.next_store IS NOT NULL THEN
				-- Writers are embedding into it.
				IF (SELECT r.relkind <> 'f' FROM pg_catalog.pg_class AS r WHERE r.oid = c.source) THEN
					EXECUTE pg_catalog.format('LOCK TABLE %s IN SHARE MODE', c.source);
				END IF;
				EXECUTE pg_catalog.format('DROP TABLE %s', c.next_store);
				c.next_store := NULL;
				c.next_model := NULL;
			END IF;
			IF model <> c.model THEN
				c.next_model := model;
				c.next_store := product_llm.create_store(c, product_llm.next_store_name(c));
				PERFORM product_llm.give_to_owner(c.source, ARRAY[c.next_store]);
				IF c.nearest = 'hnsw' THEN
					-- While it is empty: the switch holds writers up and must not take long.
					PERFORM product_llm.create_hnsw(c.next_store, model);
				END IF;
			END IF;
			UPDATE product_llm.catalog AS t SET next_store = c.next_store, next_model = c.next_model WHERE t.catalog = c.catalog;
		END IF;
		IF sync IS NOT NULL AND sync <> c.sync THEN
			IF sync = 'trigger' THEN
				PERFORM product_llm.check_isolation();
				UPDATE product_llm.catalog AS t SET sync = 'trigger' WHERE t.catalog = c.catalog;
				PERFORM product_llm.watch_source(c);
				PERFORM product_llm.watch_events(e) FROM product_llm.catalog_events AS e WHERE e.catalog = c.catalog;
				PERFORM product_llm.catalog_work(c.catalog, 'reconcile', NULL);
				IF EXISTS (SELECT FROM product_llm.catalog_events AS e WHERE e.catalog = c.catalog) THEN
					PERFORM product_llm.catalog_work(c.catalog, 'pairs', NULL);
				END IF;
			ELSIF sync = 'manual' THEN
				PERFORM product_llm.unwatch_source(c);
				PERFORM product_llm.unwatch_events(e) FROM product_llm.catalog_events AS e WHERE e.catalog = c.catalog;
				UPDATE product_llm.catalog AS t SET sync = 'manual' WHERE t.catalog = c.catalog;
			ELSE
				RAISE EXCEPTION 'unknown sync "%"', sync USING ERRCODE = 'invalid_parameter_value',
					HINT = 'Use ''trigger'' or ''manual''.';
			END IF;
		END IF;
		IF nearest IS NOT NULL AND nearest <> c.nearest THEN
			IF nearest = 'hnsw' THEN
				PERFORM product_llm.create_hnsw(c.store, c.model), product_llm.create_hnsw(c.next_store, c.next_model);
			ELSIF nearest = 'exact' THEN
				PERFORM product_llm.drop_hnsw(c.store), product_llm.drop_hnsw(c.next_store);
			ELSE
				RAISE EXCEPTION 'unknown way to find the nearest "%"', nearest USING ERRCODE = 'invalid_parameter_value',
					HINT = 'Use ''exact'' or ''hnsw''.';
			END IF;
			UPDATE product_llm.catalog AS t SET nearest = alter_catalog.nearest WHERE t.catalog = c.catalog;
		END IF;
	END
	$$;
COMMENT ON FUNCTION alter_catalog(text, text, text, text, jsonb) IS
	'change what is not null: the model (searches use the old one until refresh_catalog has embedded all), sync, nearest (exact or hnsw), settings';

CREATE FUNCTION create_hnsw(store regclass, model text) RETURNS void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		space name := (SELECT n.nspname FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n
					   ON n.oid = e.extnamespace WHERE e.extname = 'vector');
		dimensions int := (SELECT m.dimensions FROM product_llm.model AS m WHERE m.model = create_hnsw.model);
	BEGIN
		IF space IS NULL THEN
			RAISE EXCEPTION 'extension "vector" is not installed' USING ERRCODE = 'undefined_object',
				HINT = 'CREATE EXTENSION vector, from pgvector 0.8 or later; or keep nearest => ''exact''.';
		END IF;
		EXECUTE pg_catalog.format('CREATE INDEX ON %s USING hnsw ((embedding::%I.vector(%s)) %I.vector_cosine_ops)',
								  store, space, dimensions, space);
	END
	$$;
COMMENT ON FUNCTION create_hnsw(regclass, text) IS 'index a table of embeddings with pgvector';

CREATE FUNCTION drop_hnsw(store regclass) RETURNS void
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		index regclass;
	BEGIN
		FOR index IN
			SELECT i.indexrelid FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS r ON r.oid = i.indexrelid
				JOIN pg_catalog.pg_am AS a ON a.oid = r.relam
			WHERE i.indrelid = store AND a.amname = 'hnsw'
		LOOP
			EXECUTE pg_catalog.format('DROP INDEX %s', index);
		END LOOP;
	END
	$$;
COMMENT ON FUNCTION drop_hnsw(regclass) IS 'drop the pgvector index of a table of embeddings';

CREATE FUNCTION check_catalog_settings(settings jsonb) RETURNS void
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		known CONSTANT text[] := '{semantic,feedback,recency,damping,content,popular,personal,explore,keep_lists}';
		setting record;
	BEGIN
		IF pg_catalog.jsonb_typeof(settings) <> 'object' THEN
			RAISE EXCEPTION 'settings must be a JSON object' USING ERRCODE = 'invalid_parameter_value';
		END IF;
		FOR setting IN SELECT s.key, s.value FROM pg_catalog.jsonb_each(settings) AS s
		LOOP
			IF NOT setting.key = ANY (known) THEN
				RAISE EXCEPTION 'unknown setting "%"', setting.key USING ERRCODE = 'invalid_parameter_value',
					HINT = 'There are: ' || pg_catalog.array_to_string(known, ', ') || '.';
			END IF;
			IF pg_catalog.jsonb_typeof(setting.value) NOT IN ('number', 'null')
				OR (pg_catalog.jsonb_typeof(setting.value) = 'number' AND setting.value::pg_catalog.numeric NOT BETWEEN 0 AND 1000) THEN
				RAISE EXCEPTION 'setting "%" must be a number between 0 and 1000', setting.key
					USING ERRCODE = 'invalid_parameter_value';
			END IF;
		END LOOP;
	END
	$$;
COMMENT ON FUNCTION check_catalog_settings(jsonb) IS 'an error when a catalog''s settings are not known numbers';
