-- embed() in its four forms, and similarity().
SET search_path = public, product_llm;
SET client_min_messages = warning;
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM product_llm.models WHERE model = 'shop-mini') THEN
		PERFORM product_llm.load_model('shop-mini');
	END IF;
END $$;

SELECT array_length(embed('shop-mini', 'red shoes'), 1) AS dimensions;
SELECT abs(sum(x * x) - 1) < 1e-5 AS unit_length FROM unnest(embed('shop-mini', 'red shoes')) x;
SELECT abs(sum(x * x) - 1) < 1e-5 AS empty_text_is_text FROM unnest(embed('shop-mini', '')) x;
SELECT embed('shop-mini', NULL::text) IS NULL AS null_gives_null;
SELECT embed('shop-mini', 'red shoes') = embed('shop-mini', 'red shoes', 'document') AS document_is_the_default;
SELECT embed('shop-mini', 'Red SHOES') = embed('shop-mini', 'red shoes') AS this_model_ignores_case;

-- The default model.
SET product_llm.default_model = 'shop-mini';
SELECT embed('red shoes') = embed('shop-mini', 'red shoes') AS default_model;
RESET product_llm.default_model;

-- Many: in order, NULL for NULL, the same as one by one; dimensions of the array do not matter.
SELECT n, e IS NULL AS is_null, e IS NOT DISTINCT FROM embed('shop-mini', (ARRAY['a','b',NULL,'','b'])[n]) AS same
FROM (SELECT row_number() OVER () AS n, e FROM embed('shop-mini', ARRAY['a','b',NULL,'','b']) e) rows;
SELECT count(*) FROM embed('shop-mini', '{}'::text[]);
SELECT count(*) FROM embed('shop-mini', NULL::text[]);
SELECT count(*) AS nulls FROM embed('shop-mini', ARRAY[NULL, NULL]::text[]) e WHERE e IS NULL;
SELECT count(*), count(DISTINCT e) FROM embed('shop-mini', ARRAY[['a','b'],['c','d']]) e;
SELECT array_agg(e ORDER BY n) = array_agg(embed('shop-mini', t) ORDER BY n) AS in_a_select_list
FROM (SELECT n, t, embed('shop-mini', ARRAY[t]) AS e FROM unnest(ARRAY['cup','lamp']) WITH ORDINALITY AS u(t, n)) s;

-- More than one slice: 2,500 texts with a NULL in the second.
SELECT count(*) AS rows, count(e) AS embedded,
	   bool_and(e = embed('shop-mini', 'item ' || n % 7)) FILTER (WHERE n % 400 = 0) AS same_as_single
FROM (SELECT row_number() OVER () AS n, e
	  FROM embed('shop-mini', (SELECT array_agg(CASE WHEN i <> 1500 THEN 'item ' || i % 7 END ORDER BY i)
							   FROM generate_series(1, 2500) i)) e) rows;

-- Meaning, roughly: things of one kind are nearer to each other.
SELECT similarity(embed('shop-mini', 'wireless headphones'), embed('shop-mini', 'bluetooth headset'))
	 > similarity(embed('shop-mini', 'wireless headphones'), embed('shop-mini', 'coffee machine')) AS english,
	   similarity(embed('shop-mini', '蓝牙耳机'), embed('shop-mini', '无线耳机'))
	 > similarity(embed('shop-mini', '蓝牙耳机'), embed('shop-mini', '咖啡机')) AS chinese;

-- similarity() is the cosine, also of vectors that are not of unit length.
SELECT similarity('{1,0}', '{0,3}') AS right_angle, similarity('{1,2}', '{2,4}') AS same_direction,
	   similarity('{1,1}', '{-5,-5}') AS opposite, round(similarity('{3,4}', '{4,3}')::numeric, 4) AS between;
SELECT similarity('{1e-30,0}', '{1e30,0}') AS very_short_and_very_long;
SELECT similarity(NULL, '{1}') IS NULL AS null_gives_null;

-- 100 MB of text: truncated like any other.
SELECT embed('shop-mini', repeat('blue shoes ', 9532509)) = embed('shop-mini', repeat('blue shoes ', 500)) AS truncated;
