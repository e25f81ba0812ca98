-- differences(catalog): is what the triggers have kept equal to what building it anew gives?  One line for each side table
-- that is not; none when all is well.  For the catalog's owner; makes temporary tables.
CREATE FUNCTION public.differences(name text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	c product_llm.catalog := product_llm.catalog_row(name);
	fresh product_llm.catalog := c;
	e product_llm.catalog_events;
	keys text[];
	n bigint;
BEGIN
	EXECUTE format('CREATE TEMP TABLE fresh_store (LIKE %s INCLUDING ALL)', c.store);
	EXECUTE format('CREATE TEMP TABLE fresh_words (LIKE %s INCLUDING ALL)', c.words);
	EXECUTE format('CREATE TEMP TABLE fresh_terms (LIKE %s INCLUDING ALL)', c.terms);
	fresh.store := 'pg_temp.fresh_store';
	fresh.words := 'pg_temp.fresh_words';
	fresh.terms := 'pg_temp.fresh_terms';
	fresh.next_store := NULL;
	fresh.next_model := NULL;
	EXECUTE format('SELECT coalesce(array_agg(product_llm.key_text(key)), ''{}'') FROM %s', c.texts) INTO keys;
	PERFORM product_llm.catalog_compute(fresh, keys, false);
	FOR n IN EXECUTE format('SELECT count(*) FROM ((TABLE %1$s EXCEPT ALL TABLE %2$s) UNION ALL (TABLE %2$s EXCEPT ALL TABLE %1$s)) AS d HAVING count(*) > 0', c.store, fresh.store)
	LOOP
		RETURN NEXT format('%s: %s rows of embeddings', name, n);
	END LOOP;
	FOR n IN EXECUTE format('SELECT count(*) FROM ((TABLE %1$s EXCEPT ALL TABLE %2$s) UNION ALL (TABLE %2$s EXCEPT ALL TABLE %1$s)) AS d HAVING count(*) > 0', c.words, fresh.words)
	LOOP
		RETURN NEXT format('%s: %s rows of words', name, n);
	END LOOP;
	FOR n IN EXECUTE format('SELECT count(*) FROM (SELECT term FROM %s EXCEPT SELECT term FROM %s) AS d HAVING count(*) > 0', fresh.terms, c.terms)
	LOOP
		RETURN NEXT format('%s: %s terms missing', name, n);
	END LOOP;
	IF c.next_store IS NOT NULL THEN
		-- Not complete, but what is there is right.
		DELETE FROM fresh_store;
		fresh.model := c.next_model;
		PERFORM product_llm.catalog_compute(fresh, keys, false);
		FOR n IN EXECUTE format('SELECT count(*) FROM (TABLE %s EXCEPT ALL TABLE %s) AS d HAVING count(*) > 0', c.next_store, fresh.store)
		LOOP
			RETURN NEXT format('%s: %s rows of the next model''s embeddings', name, n);
		END LOOP;
	END IF;
	DROP TABLE fresh_store, fresh_words, fresh_terms;
	SELECT * INTO e FROM product_llm.catalog_events AS t WHERE t.catalog = name;
	IF FOUND THEN
		EXECUTE format('CREATE TEMP TABLE kept_pairs AS SELECT a, b, sum(after)::int8 AS after, sum(before)::int8 AS before FROM %s GROUP BY a, b'
			' HAVING sum(after) <> 0 OR sum(before) <> 0', e.pairs);
		EXECUTE format('CREATE TEMP TABLE fresh_pairs (LIKE %s)', e.pairs);
		e.pairs := 'pg_temp.fresh_pairs';
		EXECUTE product_llm.pairs_of_all(e);
		SELECT count(*) INTO n FROM ((TABLE kept_pairs EXCEPT ALL TABLE fresh_pairs) UNION ALL (TABLE fresh_pairs EXCEPT ALL TABLE kept_pairs)) AS d;
		IF n > 0 THEN
			RETURN NEXT format('%s: %s pairs', name, n);
		END IF;
		DROP TABLE kept_pairs, fresh_pairs;
	END IF;
END
$$;
