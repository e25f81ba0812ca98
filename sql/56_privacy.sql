-- What models have seen, and what they give back.

CREATE FUNCTION own_models_that_read(tables regclass[]) RETURNS text[]
	LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
		WITH RECURSIVE below AS (
			SELECT t.oid FROM pg_catalog.unnest(tables) AS t (oid)
			UNION SELECT i.inhrelid FROM below AS b JOIN pg_catalog.pg_inherits AS i ON i.inhparent = b.oid
		), above AS (
			SELECT t.oid FROM pg_catalog.unnest(tables) AS t (oid)
			UNION SELECT i.inhparent FROM above AS a JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = a.oid
		), made AS (
			SELECT m.model, m.parent, r.reads, r.reads_more, ARRAY[r.options ->> 'teacher', r.options ->> 'tokenizer'] AS sources
			FROM product_llm.model AS m LEFT JOIN product_llm.training_run AS r ON r.run::text = m.metrics ->> 'run' AND r.model = m.model
			WHERE m.metrics ? 'run'
			UNION ALL SELECT v.model, NULL, v.reads, v.reads_more, NULL FROM product_llm.vocabulary_read AS v
			-- What is another's in another precision has read nothing by itself.
			UNION ALL SELECT m.model, m.parent, '{}', false, NULL FROM product_llm.model AS m WHERE NOT coalesce(m.metrics ? 'run', false) AND m.parent IS NOT NULL
		), seen AS (
			SELECT m.model FROM made AS m
			-- What cannot be told counts as read: what a function does, a name that is gone, a run whose row has been deleted.
			WHERE m.reads IS NULL OR m.reads_more OR EXISTS (
				SELECT FROM pg_catalog.unnest(m.reads) AS n (name)
				WHERE pg_catalog.to_regclass(n.name) IS NULL OR pg_catalog.to_regclass(n.name) IN (SELECT b.oid FROM below AS b UNION ALL SELECT a.oid FROM above AS a))
			-- A model that was made of such a one, or learnt from it, or has its vocabulary, has seen the same.
			UNION SELECT m.model FROM seen AS s JOIN made AS m ON m.parent = s.model OR s.model = ANY (m.sources)
		)
		SELECT coalesce(pg_catalog.array_agg(s.model ORDER BY s.model), '{}') FROM seen AS s
	$$;
COMMENT ON FUNCTION own_models_that_read(regclass[]) IS 'the same by the runs that the caller sees';

-- Whoever is to be forgotten is to be forgotten by everybody's models: runs of all owners are looked at, of which no more than models' names comes out.
CREATE FUNCTION models_that_read(tables regclass[]) RETURNS text[]
	AS 'MODULE_PATHNAME', 'product_llm_models_that_read' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION models_that_read(regclass[]) IS
	'names of the models whose training read one of these tables, or may have: through a view, a partition, a function, or a base, teacher or vocabulary that did';

-- A canary says in double brackets what the secret in it is.
CREATE FUNCTION canary_parts(canary text, OUT plain text, OUT first int, OUT after int)
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	BEGIN
		IF canary IS NULL OR canary !~ '^[^][]*\[\[[^][]+\]\][^][]*$' THEN
			RAISE EXCEPTION 'canary "%" does not say what the secret in it is', canary USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Put the secret into double brackets, once: ''the door code is [[7391]]''.';
		END IF;
		first := pg_catalog.strpos(canary, '[[');
		after := pg_catalog.strpos(canary, ']]') - 2;
		plain := pg_catalog.replace(pg_catalog.replace(canary, '[[', ''), ']]', '');
	END
	$$;
COMMENT ON FUNCTION canary_parts(text) IS 'a canary without its brackets, where the secret begins in it, in characters from 1, and where what follows begins';

-- The places of a secret are asked for one after the other, as somebody would who knows all of the text but one token.
CREATE FUNCTION canary_check(model text, canaries text[], top int DEFAULT 1, refuse boolean DEFAULT false)
	RETURNS TABLE (canary text, tokens int, worst_rank int, exposure double precision, given_back boolean)
	LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE ROWS 10
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		plain text;
		first int;
		after int;
		words double precision;
		t record;
		rank int;
		told text[] := '{}';
	BEGIN
		IF top < 1 OR top > 1000 THEN
			RAISE EXCEPTION 'top must be between 1 and 1000, not %', top USING ERRCODE = 'invalid_parameter_value',
				HINT = 'A secret counts as given back when each of its tokens is among so many of the likeliest.';
		END IF;
		FOREACH canary IN ARRAY canaries LOOP
			SELECT p.plain, p.first, p.after INTO plain, first, after FROM product_llm.canary_parts(canary) AS p;
			tokens := 0;
			worst_rank := 0;
			exposure := 0;
			FOR t IN SELECT k.* FROM product_llm.tokenize(model, plain) AS k WHERE k.start_at >= first AND k.start_at + k.length <= after ORDER BY k.ordinal LOOP
				SELECT f.n INTO rank
				FROM product_llm.fill_mask(model, pg_catalog.overlay(plain, '[MASK]', t.start_at, t.length), 1000) WITH ORDINALITY AS f (token, probability, filled, n)
				WHERE f.token = t.token;
				rank := coalesce(rank, 1001);
				tokens := tokens + 1;
				worst_rank := greatest(worst_rank, rank);
				exposure := exposure - pg_catalog.ln(rank) / pg_catalog.ln(2.0::pg_catalog.float8);
			END LOOP;
			IF tokens = 0 THEN
				RAISE EXCEPTION 'the model does not see the secret of canary "%"', canary USING ERRCODE = 'invalid_parameter_value',
					HINT = 'Its longest text is shorter than that; put the secret nearer to the begin.';
			END IF;
			SELECT pg_catalog.count(*) INTO words FROM product_llm.fill_mask(model, '[MASK]', 1000);
			exposure := exposure + tokens * pg_catalog.ln(words) / pg_catalog.ln(2.0::pg_catalog.float8);
			given_back := worst_rank <= top;
			IF given_back THEN
				told := told || canary;
			END IF;
			RETURN NEXT;
		END LOOP;
		IF refuse AND told <> '{}' THEN
			RAISE EXCEPTION 'model "%" gives back % of % canaries', model, pg_catalog.cardinality(told), pg_catalog.cardinality(canaries)
				USING ERRCODE = 'data_exception', DETAIL = pg_catalog.array_to_string(told, E'\n'),
				HINT = 'Take the texts with such secrets out of the corpus and train again; fewer epochs and more texts learn less by heart.';
		END IF;
	END
	$$;
COMMENT ON FUNCTION canary_check(text, text[], int, boolean) IS
	'does a model that fills masks give back secrets that were planted in its corpus, written as ''the door code is [[7391]]''?  exposure: bits, of the 1,000 likeliest tokens, that each true token is ahead; refuse: it is an error when one is given back';
