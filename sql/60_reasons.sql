-- Reasons: which words a score comes from, what would have to go for another order, and what a recommendation is made of.

-- ---- tokens and words ----

CREATE FUNCTION explain_score(model text, query text, document text, method text DEFAULT 'empty', steps integer DEFAULT 0,
							  truncate boolean DEFAULT false)
	RETURNS TABLE (side text, ordinal integer, token text, start_at integer, length integer, contribution double precision,
				   error double precision)
	AS 'MODULE_PATHNAME', 'product_llm_explain_score' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 3000000 ROWS 60;
COMMENT ON FUNCTION explain_score(text, text, text, text, integer, boolean) IS
	'what each token adds to score(model, query, document) over that of an empty query or document, by integrated gradients; error: by how much the sum is off';

-- What stands for a word: a token with the pieces that continue it.  Tokens without a place in the text (word NULL) come as one row.
CREATE FUNCTION explain_words(model text, query text, document text, method text DEFAULT 'empty', steps integer DEFAULT 0,
							  truncate boolean DEFAULT false, phrases text[] DEFAULT '{}')
	RETURNS TABLE (side text, ordinal integer, word text, start_at integer, length integer, contribution double precision,
				   error double precision)
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 3000000 ROWS 30
	SET search_path = pg_catalog, pg_temp
	AS $$
		WITH token AS (
			SELECT e.*, CASE e.side WHEN 'query' THEN query ELSE document END AS input,
				coalesce(e.token LIKE '##%' AND e.start_at = lag(e.start_at + e.length) OVER (PARTITION BY e.side ORDER BY e.ordinal),
						 false) AS continues
			FROM product_llm.explain_score(model, query, document, method, steps, truncate) AS e),
		part AS (
			SELECT t.*, CASE WHEN t.start_at IS NOT NULL
				THEN count(*) FILTER (WHERE NOT t.continues) OVER (PARTITION BY t.side ORDER BY t.ordinal) END AS place
			FROM token AS t),
		single AS (
			SELECT p.side, p.place, p.input, min(p.start_at) AS start_at, max(p.start_at + p.length) AS end_at,
				sum(p.contribution) AS contribution, max(p.error) AS error
			FROM part AS p GROUP BY p.side, p.place, p.input),
		span AS (
			SELECT s.side, s.start_at AS from_at, s.start_at + pg_catalog.length(f.phrase) AS to_at
			FROM single AS s, unnest(phrases) AS f (phrase)
			WHERE f.phrase <> '' AND lower(substr(s.input, s.start_at, pg_catalog.length(f.phrase))) = lower(f.phrase)),
		grouped AS (
			SELECT s.*, coalesce((SELECT min(a.from_at) FROM span AS a
								  WHERE a.side = s.side AND s.start_at >= a.from_at AND s.start_at < a.to_at), s.start_at) AS from_at
			FROM single AS s)
		SELECT g.side, row_number() OVER (PARTITION BY g.side ORDER BY g.from_at NULLS LAST)::integer,
			substr(min(g.input), g.from_at, max(g.end_at) - g.from_at), g.from_at, max(g.end_at) - g.from_at, sum(g.contribution),
			max(g.error)
		FROM grouped AS g GROUP BY g.side, g.from_at
		ORDER BY g.side DESC, g.from_at NULLS LAST
	$$;
COMMENT ON FUNCTION explain_words(text, text, text, text, integer, boolean, text[]) IS
	'explain_score() by words, and by the phrases that are given; a row without a word holds what special tokens add';

-- ---- to look at ----

-- Both texts cut into words and what stands between them (contribution NULL), in order; strength: of the largest, -1 to 1.
CREATE FUNCTION explain_pieces(model text, query text, document text, method text, truncate boolean, phrases text[])
	RETURNS TABLE (side text, place integer, piece text, contribution double precision, strength double precision)
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 3000000 ROWS 60
	SET search_path = pg_catalog, pg_temp
	AS $$
		WITH word AS MATERIALIZED (
			SELECT e.side, e.ordinal, e.word, e.start_at, e.start_at + e.length AS end_at, e.contribution,
				CASE e.side WHEN 'query' THEN query ELSE document END AS input,
				lag(e.start_at + e.length, 1, 1) OVER (PARTITION BY e.side ORDER BY e.start_at) AS from_at,
				e.contribution / nullif(max(abs(e.contribution)) OVER (), 0) AS strength
			FROM product_llm.explain_words(model, query, document, method, 0, truncate, phrases) AS e WHERE e.word IS NOT NULL)
		SELECT w.side, 2 * w.ordinal - 1, substr(w.input, w.from_at, greatest(w.start_at - w.from_at, 0)), NULL::float8, NULL::float8 FROM word AS w
		UNION ALL
		SELECT w.side, 2 * w.ordinal, w.word, w.contribution, coalesce(w.strength, 0) FROM word AS w
		UNION ALL
		SELECT w.side, 2 * max(w.ordinal) + 1, substr(min(w.input), max(w.end_at)), NULL, NULL FROM word AS w GROUP BY w.side
	$$;
COMMENT ON FUNCTION explain_pieces(text, text, text, text, boolean, text[]) IS 'what explain_html() and explain_ansi() show: words with their share, and what stands between them';

CREATE FUNCTION html_escape(input text) RETURNS text
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$ SELECT replace(replace(replace(replace(replace(input, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;') $$;
COMMENT ON FUNCTION html_escape(text) IS 'a text as it stands in HTML, in an element or a quoted attribute';

-- White to the sky blue or the orange that Okabe and Ito chose for all eyes; black text has a contrast of 9 on either.
CREATE FUNCTION reason_colour(strength double precision) RETURNS text
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
		SELECT '#' || string_agg(lpad(to_hex(255 - round((255 - c.part) * abs(strength))::integer), 2, '0'), '' ORDER BY c.i)
		FROM unnest(CASE WHEN strength >= 0 THEN ARRAY[86, 180, 233] ELSE ARRAY[230, 159, 0] END) WITH ORDINALITY AS c (part, i)
	$$;
COMMENT ON FUNCTION reason_colour(double precision) IS 'background of a word whose share of the largest is between -1 and 1';

CREATE FUNCTION explain_html(model text, query text, document text, method text DEFAULT 'empty', truncate boolean DEFAULT false,
							 phrases text[] DEFAULT '{}') RETURNS text
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 3000000
	SET search_path = pg_catalog, pg_temp
	AS $$
		WITH line AS (
			SELECT p.side, string_agg(CASE
				WHEN p.strength IS NULL OR abs(p.strength) < 0.02 THEN product_llm.html_escape(p.piece)
				ELSE format('<span style="background:%s;border-bottom:2px %s" title="%s">%s</span>', product_llm.reason_colour(p.strength),
							CASE WHEN p.strength > 0 THEN 'solid #0072b2' ELSE 'dashed #a34700' END,
							to_char(p.contribution, 'SG0.0000'), product_llm.html_escape(p.piece)) END, '' ORDER BY p.place) AS words
			FROM product_llm.explain_pieces(model, query, document, method, truncate, phrases) AS p GROUP BY p.side)
		SELECT '<div style="color:#000;background:#fff;font:1em/1.8 sans-serif;padding:.5em">'
			|| coalesce((SELECT string_agg(format('<p style="margin:.2em 0"><b>%s</b> %s</p>', l.side, l.words), '' ORDER BY l.side DESC) FROM line AS l), '')
			|| CASE WHEN EXISTS (SELECT FROM line AS l WHERE l.side = 'document') THEN ''
				ELSE format('<p style="margin:.2em 0"><b>label</b> %s</p>', product_llm.html_escape(document)) END
			|| '<p style="margin:.2em 0;font-size:.8em">blue, underlined: raises the score; orange, dashed: lowers it; the title of a word says by how much</p></div>'
	$$;
COMMENT ON FUNCTION explain_html(text, text, text, text, boolean, text[]) IS
	'explain_score() as a fragment of HTML that needs nothing else: words coloured by what they add';

CREATE FUNCTION explain_ansi(model text, query text, document text, method text DEFAULT 'empty', truncate boolean DEFAULT false,
							 phrases text[] DEFAULT '{}') RETURNS text
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 3000000
	SET search_path = pg_catalog, pg_temp
	AS $$
		WITH piece AS (
			-- A text must not bring control sequences of its own.
			SELECT p.side, p.place, regexp_replace(p.piece, E'[\\x01-\\x1f\\x7f-\\x9f]', ' ', 'g') AS piece, p.strength
			FROM product_llm.explain_pieces(model, query, document, method, truncate, phrases) AS p),
		line AS (
			SELECT p.side, string_agg(CASE
				WHEN p.strength IS NULL OR abs(p.strength) < 0.02 THEN p.piece
				ELSE format(E'\x1b[%s38;5;16;48;5;%sm%s\x1b[0m', CASE WHEN p.strength < 0 THEN '4;' END,
							(CASE WHEN p.strength > 0 THEN ARRAY[195, 159, 117, 75] ELSE ARRAY[230, 229, 221, 214] END)
								[greatest(1, ceil(abs(p.strength) * 4)::integer)], p.piece) END, '' ORDER BY p.place) AS words
			FROM piece AS p GROUP BY p.side)
		SELECT string_agg(format('%s: %s', l.side, l.words), E'\n' ORDER BY l.side DESC) FROM line AS l
	$$;
COMMENT ON FUNCTION explain_ansi(text, text, text, text, boolean, text[]) IS
	'explain_score() in the colours of a terminal, lowering words underlined; in psql with \g (format=unaligned tuples_only)';

-- ---- what would have to go ----

CREATE FUNCTION without_words(input text, starts integer[], lengths integer[]) RETURNS text
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		place record;
	BEGIN
		FOR place IN SELECT * FROM unnest(starts, lengths) AS u (start_at, length) ORDER BY u.start_at DESC LOOP
			input := pg_catalog.substr(input, 1, place.start_at - 1) || pg_catalog.substr(input, place.start_at + place.length);
		END LOOP;
		RETURN input;
	END
	$$;
COMMENT ON FUNCTION without_words(text, integer[], integer[]) IS 'a text without some stretches of it, counted in characters from 1';

-- score(first) - score(second) for each of some sets of words that are left out; of_first: whose word each is.
CREATE FUNCTION swap_margins(model text, query text, first text, second text, of_first boolean[], starts integer[], lengths integer[],
							 sets jsonb) RETURNS double precision[]
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 3000000
	SET search_path = pg_catalog, pg_temp
	AS $$
		WITH cut AS MATERIALIZED (
			SELECT s.i, (SELECT product_llm.without_words(first, coalesce(array_agg(starts[m.w::integer]) FILTER (WHERE of_first[m.w::integer]), '{}'),
														   coalesce(array_agg(lengths[m.w::integer]) FILTER (WHERE of_first[m.w::integer]), '{}'))
						 FROM jsonb_array_elements_text(s.words) AS m (w)) AS first,
				(SELECT product_llm.without_words(second, coalesce(array_agg(starts[m.w::integer]) FILTER (WHERE NOT of_first[m.w::integer]), '{}'),
												  coalesce(array_agg(lengths[m.w::integer]) FILTER (WHERE NOT of_first[m.w::integer]), '{}'))
				 FROM jsonb_array_elements_text(s.words) AS m (w)) AS second
			FROM jsonb_array_elements(sets) WITH ORDINALITY AS s (words, i)),
		scored AS (
			SELECT r.ordinal, r.score FROM product_llm.rerank(model, query,
				(SELECT array_agg(c.first ORDER BY c.i) || array_agg(c.second ORDER BY c.i) FROM cut AS c)) AS r)
		SELECT array_agg(a.score::float8 - b.score ORDER BY a.ordinal)
		FROM scored AS a JOIN scored AS b ON b.ordinal = a.ordinal + jsonb_array_length(sets)
	$$;
COMMENT ON FUNCTION swap_margins(text, text, text, text, boolean[], integer[], integer[], jsonb) IS
	'by how much one document is ahead of another without some words of both, for several sets of words';

-- All sets of so many of the first `among` words.
CREATE FUNCTION word_sets(among integer, size integer) RETURNS jsonb
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
		WITH RECURSIVE part AS (
			SELECT ARRAY[i] AS words FROM generate_series(1, among) AS i
			UNION ALL
			SELECT p.words || i FROM part AS p, generate_series(p.words[cardinality(p.words)] + 1, among) AS i WHERE cardinality(p.words) < size)
		SELECT coalesce(jsonb_agg(to_jsonb(p.words) ORDER BY p.words), '[]') FROM part AS p WHERE cardinality(p.words) = size
	$$;
COMMENT ON FUNCTION word_sets(integer, integer) IS 'the sets of some of the first words, as swap_margins() takes them';

CREATE FUNCTION counterfactual(model text, query text, document_a text, document_b text, truncate boolean DEFAULT false)
	RETURNS TABLE (document text, word text, start_at integer, length integer, contribution double precision, score_a real, score_b real)
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 30000000 ROWS 3
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		a_leads boolean := product_llm.score(model, query, document_a) > product_llm.score(model, query, document_b);
		first text := CASE WHEN a_leads THEN document_a ELSE document_b END;
		second text := CASE WHEN a_leads THEN document_b ELSE document_a END;
		of_first boolean[];
		words text[];
		starts integer[];
		lengths integer[];
		gains double precision[];
		chosen integer[];
		trial jsonb;
		margins double precision[];
		best integer;
		among integer;
	BEGIN
		IF product_llm.score(model, query, document_a) = product_llm.score(model, query, document_b) THEN
			RAISE EXCEPTION USING errcode = 'invalid_parameter_value', message = 'the two documents have one score: there is nothing to swap',
				hint = 'product_llm.explain_score says where each has its score from.';
		END IF;
		SELECT pg_catalog.array_agg(e.of_first ORDER BY e.gain DESC, e.of_first, e.start_at), pg_catalog.array_agg(e.word ORDER BY e.gain DESC, e.of_first, e.start_at),
			pg_catalog.array_agg(e.start_at ORDER BY e.gain DESC, e.of_first, e.start_at), pg_catalog.array_agg(e.length ORDER BY e.gain DESC, e.of_first, e.start_at),
			pg_catalog.array_agg(e.gain ORDER BY e.gain DESC, e.of_first, e.start_at)
		INTO of_first, words, starts, lengths, gains
		FROM (SELECT true AS of_first, w.word, w.start_at, w.length, w.contribution AS gain
			  FROM product_llm.explain_words(model, query, first, truncate => truncate) AS w WHERE w.side = 'document' AND w.word IS NOT NULL
			  UNION ALL
			  SELECT false, w.word, w.start_at, w.length, - w.contribution
			  FROM product_llm.explain_words(model, query, second, truncate => truncate) AS w WHERE w.side = 'document' AND w.word IS NOT NULL) AS e
		WHERE e.gain > 0;
		-- Greedy: the fewest of the words that tell most, sixteen tries at a time.
		FOR done IN 0 .. coalesce(pg_catalog.cardinality(words), 0) - 1 BY 16 LOOP
			SELECT pg_catalog.jsonb_agg((SELECT pg_catalog.jsonb_agg(i) FROM pg_catalog.generate_series(1, k) AS i) ORDER BY k) INTO trial
			FROM pg_catalog.generate_series(done + 1, least(done + 16, pg_catalog.cardinality(words))) AS k;
			margins := product_llm.swap_margins(model, query, first, second, of_first, starts, lengths, trial);
			SELECT pg_catalog.array_agg(i) INTO chosen FROM pg_catalog.generate_series(1, done + (SELECT pg_catalog.min(m.k)::integer
				FROM pg_catalog.unnest(margins) WITH ORDINALITY AS m (margin, k) WHERE m.margin < 0)) AS i;
			EXIT WHEN chosen IS NOT NULL;
		END LOOP;
		IF chosen IS NULL THEN
			RETURN;
		END IF;
		-- What need not go stays.
		WHILE pg_catalog.cardinality(chosen) > 1 LOOP
			SELECT pg_catalog.jsonb_agg(pg_catalog.array_remove(chosen, c) ORDER BY k) INTO trial FROM pg_catalog.unnest(chosen) WITH ORDINALITY AS u (c, k);
			margins := product_llm.swap_margins(model, query, first, second, of_first, starts, lengths, trial);
			SELECT m.k INTO best FROM pg_catalog.unnest(margins) WITH ORDINALITY AS m (margin, k) WHERE m.margin < 0 ORDER BY m.margin LIMIT 1;
			EXIT WHEN NOT FOUND;
			chosen := pg_catalog.array_remove(chosen, chosen[best]);
		END LOOP;
		-- Exact for few words: no smaller set of the dozen that tell most, or of single words of all.
		FOR size IN 1 .. least(pg_catalog.cardinality(chosen) - 1, 3) LOOP
			among := CASE WHEN size = 1 THEN pg_catalog.cardinality(words) ELSE least(12, pg_catalog.cardinality(words)) END;
			trial := product_llm.word_sets(among, size);
			margins := product_llm.swap_margins(model, query, first, second, of_first, starts, lengths, trial);
			SELECT m.k INTO best FROM pg_catalog.unnest(margins) WITH ORDINALITY AS m (margin, k) WHERE m.margin < 0 ORDER BY m.margin LIMIT 1;
			IF FOUND THEN
				SELECT pg_catalog.array_agg(w::integer) INTO chosen FROM pg_catalog.jsonb_array_elements_text(trial -> best - 1) AS w;
				EXIT;
			END IF;
		END LOOP;
		score_a := product_llm.score(model, query, product_llm.without_words(document_a,
			ARRAY(SELECT starts[c] FROM pg_catalog.unnest(chosen) AS c WHERE of_first[c] = a_leads),
			ARRAY(SELECT lengths[c] FROM pg_catalog.unnest(chosen) AS c WHERE of_first[c] = a_leads)));
		score_b := product_llm.score(model, query, product_llm.without_words(document_b,
			ARRAY(SELECT starts[c] FROM pg_catalog.unnest(chosen) AS c WHERE of_first[c] <> a_leads),
			ARRAY(SELECT lengths[c] FROM pg_catalog.unnest(chosen) AS c WHERE of_first[c] <> a_leads)));
		RETURN QUERY SELECT CASE WHEN of_first[c] = a_leads THEN 'a' ELSE 'b' END, words[c], starts[c], lengths[c],
			CASE WHEN of_first[c] THEN gains[c] ELSE - gains[c] END, score_a, score_b
			FROM pg_catalog.unnest(chosen) AS c ORDER BY gains[c] DESC;
	END
	$$;
COMMENT ON FUNCTION counterfactual(text, text, text, text, boolean) IS
	'the fewest words without which the other of two documents would be ahead, with both scores then; no rows when no such words are found';

-- ---- recommendations ----

CREATE FUNCTION explain_recommendation(catalog text, visitor text, key text)
	RETURNS TABLE (part text, item text, amount double precision)
	AS 'MODULE_PATHNAME', 'product_llm_explain_recommendation' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 1000000 ROWS 5;
COMMENT ON FUNCTION explain_recommendation(text, text, text) IS
	'what the score of a recommended product is made of: amounts by part (together, content, popular) and the visitor''s own product behind each, which add up to the score of recommend()';
