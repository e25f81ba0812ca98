-- tokenize() and count_tokens(): what the bundled model sees of a text.
SET search_path = public, product_llm;
SET client_min_messages = warning;
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM product_llm.models WHERE model = 'shop-mini') THEN
		PERFORM product_llm.load_model('shop-mini');
	END IF;
END $$;

-- Words, pieces and Chinese characters; offsets are in characters of the input, NULL for what the tokenizer adds.
SELECT * FROM tokenize('shop-mini', 'Wireless HEADPHONES, 无线耳机');
SELECT * FROM tokenize('shop-mini', 'Café 😀 keyboards');

-- Empty text is legal text: only the special tokens.
SELECT * FROM tokenize('shop-mini', '');
SELECT count_tokens('shop-mini', '');

-- NULL in, nothing out.
SELECT count(*) FROM tokenize('shop-mini', NULL);
SELECT count_tokens('shop-mini', NULL) IS NULL AS null_gives_null;

-- Truncation keeps the closing special token and stops at max_tokens; count_tokens() counts before it.
SELECT count(*) AS kept, max(token) FILTER (WHERE ordinal = 128) AS last
FROM tokenize('shop-mini', repeat('red ', 1000));
SELECT count(*) AS all_of_them FROM tokenize('shop-mini', repeat('red ', 1000), truncate => false);
SELECT count_tokens('shop-mini', repeat('red ', 1000));

-- The length of a token never passes the end of the input, and ordinals are 1, 2, 3, ...
SELECT bool_and(start_at + length - 1 <= char_length(t)) AS inside,
	   bool_and(length > 0) AS not_empty,
	   bool_and(ordinal = row_number) AS numbered
FROM (SELECT 'naïve 咖啡机 x²'::text AS t) input,
	 LATERAL (SELECT *, row_number() OVER () FROM tokenize('shop-mini', t)) tokens;

-- A word too long for the vocabulary is one unknown token.
SELECT token, length FROM tokenize('shop-mini', repeat('x', 10000)) WHERE ordinal = 2;

-- A text of 100 MB: counted in constant memory, truncated for the model.
SET product_llm.memory_limit = '64MB';
SELECT count_tokens('shop-mini', repeat('blue shoes ', 9532509)) = 2 * 9532509 + 2 AS counted;
SELECT count(*) FROM tokenize('shop-mini', repeat('blue shoes ', 9532509));
RESET product_llm.memory_limit;
