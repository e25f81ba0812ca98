-- classify() with a trained head, classify_zero_shot() with label names alone.
-- The heads are those of tiny random models under test/golden, which the server must be able to read.
\set golden `echo "${PLM_GOLDEN:-$PWD/test/golden}"`
SET search_path = public, product_llm;
SET client_min_messages = warning;
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM product_llm.models WHERE model = 'shop-mini') THEN
		PERFORM product_llm.load_model('shop-mini');
	END IF;
END $$;
SELECT load_model('three-labels', :'golden' || '/models/bert-classify'),
	   load_model('many-labels', :'golden' || '/models/bert-multilabel'),
	   load_model('regression', :'golden' || '/models/bert-regression'),
	   load_model('ranking', :'golden' || '/models/bert-rank'),
	   load_model('ranking-sigmoid', :'golden' || '/models/bert-rank-sigmoid');

-- One of several labels: every label once, best first, sums to 1.
SELECT count(*), count(DISTINCT label), abs(sum(probability) - 1) < 1e-5 AS sums_to_one,
	   array_agg(probability ORDER BY place) = array_agg(probability ORDER BY probability DESC) AS best_first
FROM classify('three-labels', 'red dress') WITH ORDINALITY AS c(label, probability, place);
SELECT label FROM classify('three-labels', 'red dress') ORDER BY label COLLATE "C";
SELECT count(*) FROM classify('three-labels', '');
SELECT count(*) FROM classify('three-labels', NULL);

-- Several labels at once: each probability by itself.
SELECT count(*) > 1 AS several, bool_and(probability > 0 AND probability < 1) AS probabilities,
	   array_agg(probability ORDER BY place) = array_agg(probability ORDER BY probability DESC) AS best_first
FROM classify('many-labels', 'red dress') WITH ORDINALITY AS c(label, probability, place);

-- Regression: one row, the value.
SELECT count(*) FROM classify('regression', 'red dress');

-- Classes of the rows of a table.
SELECT count(*) AS rows, count(DISTINCT n) AS texts
FROM generate_series(1, 50) n, LATERAL classify('three-labels', 'dress ' || n) c;

-- A ranking model ranks and does not classify; a ranking score is that of the pair, the same alone and in a list.
SELECT * FROM classify('ranking', 'red dress');
SELECT bool_and(r.score = score('ranking', 'red dress', d)) AS same_as_score,
	   array_agg(r.score ORDER BY place) = array_agg(r.score ORDER BY r.score DESC) AS best_first
FROM (SELECT ARRAY['blue dress', 'size 42', '', 'red']::text[] AS documents) i,
	 LATERAL rerank('ranking', 'red dress', documents) WITH ORDINALITY AS r(ordinal, score, place), LATERAL (SELECT documents[r.ordinal] AS d) x;
SELECT ordinal, score IS NULL AS no_score FROM rerank('ranking', 'red', ARRAY[NULL, 'size', NULL]);
SELECT score('ranking', 'red', 'blue dress') <> score('ranking', 'blue dress', 'red') AS order_matters;
SELECT score('ranking-sigmoid', 'red', 'blue dress') BETWEEN 0 AND 1 AS activated;

-- Label names alone: every label once, best first, sums to 1.
SELECT label FROM classify_zero_shot('shop-mini', 'wireless headphones', ARRAY['shoes', 'coffee machine', 'headset']) LIMIT 1;
SELECT label FROM classify_zero_shot('shop-mini', '无线蓝牙耳机', ARRAY['鞋', '咖啡机', '耳机']) LIMIT 1;
SELECT count(*), abs(sum(probability) - 1) < 1e-5 AS sums_to_one,
	   array_agg(probability ORDER BY place) = array_agg(probability ORDER BY probability DESC) AS best_first
FROM classify_zero_shot('shop-mini', 'wireless headphones', ARRAY['shoes', '', '咖啡机', 'headset']) WITH ORDINALITY AS c(label, probability, place);
SELECT * FROM classify_zero_shot('shop-mini', 'anything', ARRAY['one label']);
SELECT count(*) FROM classify_zero_shot('shop-mini', NULL, ARRAY['one label']);
SELECT count(*) FROM classify_zero_shot('shop-mini', 'anything', NULL);

-- It is the softmax of 20 times the cosine.
SELECT bool_and(abs(probability - exp(20 * s) / total) < 1e-5) AS softmax_of_cosine
FROM (SELECT label, probability, s, sum(exp(20 * s)) OVER () AS total
	  FROM classify_zero_shot('shop-mini', 'red shoes', ARRAY['a', 'shoes', 'cup']),
		   LATERAL (SELECT similarity(embed('shop-mini', 'red shoes'), embed('shop-mini', label))::float8 AS s) x) y;

-- The labels may change from row to row.
SELECT n, label FROM generate_series(1, 2) n,
	LATERAL classify_zero_shot('shop-mini', 'red shoes', CASE n WHEN 1 THEN ARRAY['shoes', 'cup'] ELSE ARRAY['cup', 'lamp', 'shoe'] END) z
WHERE label LIKE 'shoe%';

SELECT drop_model('three-labels'), drop_model('many-labels'), drop_model('regression'), drop_model('ranking'),
	   drop_model('ranking-sigmoid');
