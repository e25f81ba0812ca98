-- Properties of the functions over text that hold for any input; the inputs are made from a fixed seed.
BEGIN;
SELECT plan(15);
SET search_path = public, product_llm;
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM product_llm.models WHERE model = 'shop-mini') THEN
		PERFORM product_llm.load_model('shop-mini');
	END IF;
END $$;

-- 300 texts of 0 to 60 words: English, Chinese, pieces, accents, emoji, spaces, punctuation.
CREATE TABLE inputs AS
SELECT n, coalesce(string_agg(words[1 + (hashint8(n * 1009 + w) & 2147483647) % array_length(words, 1)],
							  CASE WHEN (n + w) % 5 = 0 THEN '' ELSE ' ' END ORDER BY w), '') AS input
FROM generate_series(1, 300) AS n
	 CROSS JOIN (VALUES (ARRAY['red', 'Blue', 'shoes', 'café', 'keyboards', '耳机', '无线', '咖', 'x1-200/b', '!?', '...',
							   'über', '😀', E'\t', E'\u00A0', 'e' || U&'\0301', '価格', 'ﬁne', '½', 'electroencephalograph',
							   '한국', 'привет', '２０００', 'Ωmega', U&'\200D'])) v (words)
	 LEFT JOIN LATERAL generate_series(1, (hashint8(n) & 2147483647) % 61) AS w ON true
GROUP BY n;

CREATE TABLE single AS SELECT n, embed('shop-mini', input) AS embedding FROM inputs;
CREATE TABLE batch AS
SELECT row_number() OVER () AS n, e AS embedding
FROM embed('shop-mini', (SELECT array_agg(input ORDER BY n) FROM inputs)) e;

SELECT is((SELECT count(*)::int FROM inputs), 300, 'the inputs are there');

SELECT is_empty($$SELECT n, input FROM single JOIN batch USING (n) JOIN inputs USING (n)
				  WHERE single.embedding IS DISTINCT FROM batch.embedding$$,
				'embed_batch_equals_single');

SELECT is_empty($$SELECT n, s FROM single, LATERAL (SELECT sum(x::float8 * x) AS s FROM unnest(embedding) x) v
				  WHERE abs(s - 1) > 1e-5$$,	-- 256 squares of rounding 6e-8 each
				'embed_has_unit_length');

SET product_llm.threads = 1;
CREATE TABLE one_thread AS
SELECT row_number() OVER () AS n, e AS embedding
FROM embed('shop-mini', (SELECT array_agg(input ORDER BY n) FROM inputs)) e;
SET product_llm.threads = 4;
CREATE TABLE four_threads AS
SELECT row_number() OVER () AS n, e AS embedding
FROM embed('shop-mini', (SELECT array_agg(input ORDER BY n DESC) FROM inputs)) e;
RESET product_llm.threads;
SELECT is_empty($$SELECT n FROM batch JOIN one_thread USING (n) WHERE batch.embedding <> one_thread.embedding$$,
				'embed_does_not_depend_on_threads: 1');
SELECT is_empty($$SELECT b.n FROM batch b JOIN four_threads f ON f.n = 301 - b.n WHERE b.embedding <> f.embedding$$,
				'embed_does_not_depend_on_threads_or_neighbours: 4, reversed');

-- In a parallel worker.
ANALYZE inputs;
ALTER TABLE inputs SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
SET parallel_leader_participation = off;
CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		plan := plan || line || E'\n';
	END LOOP;
	RETURN plan;
END $$;
SELECT matches(plan_of($$SELECT bit_xor(hashtextextended(embed('shop-mini', input)::text, n)) FROM inputs$$),
			   'Finalize Aggregate.*Gather.*Partial Aggregate', 'the next query embeds in workers');
SELECT is((SELECT bit_xor(hashtextextended(embed('shop-mini', input)::text, n)) FROM inputs),
		  (SELECT bit_xor(hashtextextended(embedding::text, n)) FROM single),
		  'embed_in_a_worker_equals_embed_alone');
SELECT is((SELECT array_agg(n ORDER BY score('shop-mini', 'red shoes', input) DESC, n) FROM inputs),
		  (SELECT array_agg(n ORDER BY score('shop-mini', 'red shoes', embedding) DESC, n) FROM single),
		  'score_of_text_orders_as_score_of_embedding');
RESET parallel_leader_participation;
RESET max_parallel_workers_per_gather;

-- Tokens.
CREATE TABLE tokens AS
SELECT n, input, t.* FROM inputs, LATERAL tokenize('shop-mini', input, truncate => false) t;
SELECT is_empty($$SELECT n, count_tokens('shop-mini', input), count(*) FROM tokens GROUP BY n, input
				  HAVING count_tokens('shop-mini', input) <> count(*)$$,
				'count_tokens_counts_what_tokenize_shows');
SELECT is_empty($$SELECT n, ordinal, token, substr(input, start_at, length) FROM tokens
				  WHERE token ~ '^(##)?[!-~]+$' AND substr(input, start_at, length) ~ '^[ -~]+$'
						AND lower(substr(input, start_at, length)) <> regexp_replace(token, '^##', '')$$,
				'offsets_give_back_the_token');
SELECT is_empty($$SELECT n, ordinal FROM tokens WHERE start_at < 1 OR length < 1 OR start_at + length - 1 > char_length(input)$$,
				'offsets_lie_inside_the_input');
SELECT is_empty($$SELECT n, ordinal, start_at FROM
				  (SELECT *, lag(start_at + length) OVER (PARTITION BY n ORDER BY ordinal) AS before FROM tokens) t
				  WHERE start_at < before AND token <> '[UNK]'$$,
				'tokens_do_not_overlap');
SELECT is_empty($$SELECT n FROM inputs WHERE
				  (SELECT array_agg(id ORDER BY ordinal) FROM tokenize('shop-mini', input)) <>
				  (SELECT array_agg(id ORDER BY ordinal) FROM tokens t WHERE t.n = inputs.n)
				  AND count_tokens('shop-mini', input) <= 128$$,
				'short_texts_are_not_truncated');

-- Labels.
SELECT is_empty($$SELECT n, s, c FROM inputs, LATERAL (SELECT sum(probability) AS s, count(*) AS c,
					array_agg(probability) = array_agg(probability ORDER BY probability DESC) AS sorted
					FROM classify_zero_shot('shop-mini', input, ARRAY['shoes', '耳机', 'keyboard', ''])) z
				  WHERE abs(s - 1) > 1e-5 OR c <> 4 OR NOT sorted$$,
				'zero_shot_sums_to_one_best_first');
SELECT is_empty($$SELECT n FROM inputs, LATERAL (SELECT label FROM
					classify_zero_shot('shop-mini', input, ARRAY['shoes', '耳机', 'keyboard']) LIMIT 1) z
				  WHERE similarity(embed('shop-mini', input), embed('shop-mini', label)) <
					(SELECT max(similarity(embed('shop-mini', input), embed('shop-mini', l)))
					 FROM unnest(ARRAY['shoes', '耳机', 'keyboard']) l)$$,
				'zero_shot_picks_the_nearest_label');

SELECT * FROM finish();
ROLLBACK;
