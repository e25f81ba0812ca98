-- score() in its two forms, and rerank().
SET search_path = public, product_llm;
SET client_min_messages = warning;
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM product_llm.models WHERE model = 'shop-mini') THEN
		PERFORM product_llm.load_model('shop-mini');
	END IF;
END $$;

CREATE TEMP TABLE goods AS
SELECT n, title, embed('shop-mini', title) AS embedding
FROM unnest(ARRAY['wireless headphones with microphone', 'electric coffee maker', 'leather running shoes',
				  'office chair', '无线蓝牙耳机', '全自动咖啡机', '真皮跑步鞋']) WITH ORDINALITY AS t(title, n);

-- The score of a stored row is the similarity to the query's embedding, bit for bit; of a text, too.
SELECT bool_and(score('shop-mini', 'headphones', embedding)
				= similarity(embed('shop-mini', 'headphones', 'query'), embedding)) AS is_similarity,
	   bool_and(score('shop-mini', 'headphones', title) = score('shop-mini', 'headphones', embedding)) AS text_as_row
FROM goods;

-- Best first.
SELECT title FROM goods ORDER BY score('shop-mini', 'coffee', embedding) DESC LIMIT 2;
SELECT title FROM goods ORDER BY score('shop-mini', '跑步鞋', embedding) DESC LIMIT 1;

-- The query may change from row to row; so may the length of the stored vector.
SELECT bool_and(score('shop-mini', q.title, g.embedding) = similarity(q.embedding, g.embedding)) AS any_query
FROM goods q, goods g;
SELECT bool_and(abs(score('shop-mini', title, ARRAY(SELECT x * 3::real FROM unnest(embedding) x)) - 1) < 1e-5) AS cosine
FROM goods;

-- Toasted vectors give the same.
CREATE TEMP TABLE wide (n int, filler text, embedding real[]);
ALTER TABLE wide ALTER filler SET STORAGE PLAIN, ALTER embedding SET STORAGE EXTERNAL;
INSERT INTO wide SELECT n, repeat('x', 1500), embedding FROM goods;
SELECT bool_and(score('shop-mini', 'chair', w.embedding) = score('shop-mini', 'chair', g.embedding)) AS toasted
FROM wide w JOIN goods g USING (n);

SELECT score('shop-mini', 'chair', NULL::real[]) IS NULL AS null_gives_null;

-- rerank(): every document once, best first, ordinals as in the array, the scores those of score().
SELECT ordinal, (ARRAY['office chair', 'coffee cup', 'coffee machine'])[ordinal] AS document
FROM rerank('shop-mini', 'coffee machine', ARRAY['office chair', 'coffee cup', 'coffee machine']);
SELECT bool_and(score = score('shop-mini', 'shoes', (SELECT title FROM goods WHERE n = ordinal))) AS same_as_score,
	   count(*), count(DISTINCT ordinal), min(ordinal), max(ordinal),
	   array_agg(score ORDER BY place) = array_agg(score ORDER BY score DESC) AS best_first
FROM rerank('shop-mini', 'shoes', (SELECT array_agg(title ORDER BY n) FROM goods)) WITH ORDINALITY AS r(ordinal, score, place);

-- NULL documents last without a score; equal documents in the order of the array; an empty array.
SELECT ordinal, score IS NULL AS no_score FROM rerank('shop-mini', 'cup', ARRAY[NULL, 'cup', NULL, 'cup']);
SELECT count(*) FROM rerank('shop-mini', 'cup', '{}');

-- More than one slice.
SELECT count(*), min(score) = max(score) AS all_equal, array_agg(ordinal) = array_agg(ordinal ORDER BY ordinal) AS in_order
FROM rerank('shop-mini', 'cup', array_fill('blue cup'::text, ARRAY[2100]));
