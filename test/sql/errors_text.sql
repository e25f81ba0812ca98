-- Wrong input to the functions over text: a clear error each time, and the session goes on.
SET search_path = public, product_llm;
SET client_min_messages = warning;
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM product_llm.models WHERE model = 'shop-mini') THEN
		PERFORM product_llm.load_model('shop-mini');
	END IF;
END $$;

-- Kinds, models, defaults.
SELECT embed('shop-mini', 'cup', 'passage');
SELECT count(*) FROM embed('shop-mini', ARRAY['cup'], 'passage');
-- (The hint names the models that there are, which other tests change.)
\set VERBOSITY terse
SELECT embed('no such model', 'cup') IS NULL;
SELECT count_tokens('', 'cup');
\set VERBOSITY default
RESET product_llm.default_model;
SELECT embed('cup') IS NULL;
\set VERBOSITY terse
SET product_llm.default_model = 'no such model';
SELECT embed('cup') IS NULL;
RESET product_llm.default_model;
\set VERBOSITY default

-- Vectors.
SELECT similarity('{1,2}', '{1,2,3}');
SELECT similarity('{1,NULL}', '{1,2}');
SELECT similarity('{{1,2}}', '{{1,2}}');
SELECT similarity('{0,0}', '{1,2}');
SELECT similarity('{}', '{}');
SELECT similarity('{NaN,1}', '{1,2}');
SELECT similarity('{1,Infinity}', '{1,2}');
SELECT score('shop-mini', 'cup', '{1,2,3}'::real[]);
SELECT score('shop-mini', 'cup', array_fill(0::real, ARRAY[256]));
SELECT score('shop-mini', 'cup', array_fill(NULL::real, ARRAY[256]));

-- Heads that the model does not have, labels that make no sense.
SELECT * FROM classify('shop-mini', 'cup');
SELECT * FROM classify_zero_shot('shop-mini', 'cup', '{}');
SELECT * FROM classify_zero_shot('shop-mini', 'cup', ARRAY['a', NULL]);
SELECT * FROM classify_zero_shot('shop-mini', 'cup', ARRAY['a', 'b', 'a']);
SELECT * FROM classify_zero_shot('shop-mini', 'cup', (SELECT array_agg(i::text) FROM generate_series(1, 5000) i));

-- Masks.
SELECT * FROM fill_mask('shop-mini', 'no mask here');
SELECT * FROM fill_mask('shop-mini', '');
SELECT count(*) FROM fill_mask('shop-mini', '[MASK] and [MASK]');
SELECT count(*) FROM fill_mask('shop-mini', repeat('red ', 500) || '[MASK]');
SELECT * FROM fill_mask('shop-mini', 'a [MASK]', 0);
SELECT * FROM fill_mask('shop-mini', 'a [MASK]', 1001);

-- Memory: a text whose tokens do not fit the limit is refused, not half done.
SET product_llm.memory_limit = '16MB';
\set VERBOSITY sqlstate
SELECT count(*) FROM tokenize('shop-mini', repeat('red ', 10000000), truncate => false);
\set VERBOSITY default
RESET product_llm.memory_limit;

-- A set where none is possible.
SELECT 1 WHERE embed('shop-mini', ARRAY['a', 'b']) IS NOT NULL;

-- A cancel in the middle of a batch, after which the session works.
SET statement_timeout = '300ms';
SELECT count(*) FROM embed('shop-mini', (SELECT array_agg('item number ' || i) FROM generate_series(1, 200000) i));
RESET statement_timeout;
SELECT array_length(embed('shop-mini', 'cup'), 1);
