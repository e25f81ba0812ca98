-- fill_mask(): the bundled model's masked-word head is untrained, so this tests the shape of the answer.
SET search_path = public, product_llm;
SET client_min_messages = warning;
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM product_llm.models WHERE model = 'shop-mini') THEN
		PERFORM product_llm.load_model('shop-mini');
	END IF;
END $$;

SELECT count(*) AS five_by_default, count(DISTINCT token) AS different,
	   bool_and(probability BETWEEN 0 AND 1) AS probabilities,
	   array_agg(probability) = array_agg(probability ORDER BY probability DESC) AS best_first,
	   bool_and(filled NOT LIKE '%[MASK]%') AS filled
FROM fill_mask('shop-mini', 'A red [MASK] of shoes.');

SELECT bool_and(filled = 'red ' || token || ' shoes') AS token_in_place
FROM fill_mask('shop-mini', 'Red [MASK] shoes', 300) WHERE token NOT LIKE '##%' AND token ~ '^[a-z]+$';

SELECT count(*) FROM fill_mask('shop-mini', '[MASK]', 1000);
SELECT count(*) FROM fill_mask('shop-mini', '[MASK]', 1);
SELECT count(*) FROM fill_mask('shop-mini', NULL);
SELECT sum(probability) <= 1.0001 AS at_most_one FROM fill_mask('shop-mini', '一[MASK]耳机', 1000);
