-- A shop of :products products with texts of 8 and 24 words drawn from those of the demo shop's sql/demo/products.csv on standard input, a few of
-- them in many texts and most in few; :visitors (20,000) visitors and ten times as many events, from
-- two or three of most visitors to a hundred of the busiest.
\set ON_ERROR_STOP on
\if :{?visitors}
\else
	\set visitors 20000
\endif
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS product_llm;
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM product_llm.models WHERE model = 'shop-mini') THEN
		PERFORM product_llm.load_model('shop-mini');
	END IF;
END $$;
SELECT setseed(0.42) \g /dev/null
CREATE TABLE demo (sku text, title text, description text, category text, brand text, price numeric, stock int, language text, attributes jsonb);
\copy demo FROM PSTDIN WITH (FORMAT csv, HEADER)
CREATE TABLE word AS
	SELECT row_number() OVER (ORDER BY count(*) DESC, w) AS id, w AS word
	FROM demo, regexp_split_to_table(lower(title || ' ' || description), '[^a-z0-9]+') AS w
	WHERE language = 'en' AND length(w) > 2 GROUP BY w;
INSERT INTO word SELECT (SELECT max(id) FROM word) + i, chr(97 + i % 26) || chr(97 + i % 7) || '-' || 100 + i FROM generate_series(1, 4000) AS i;
ALTER TABLE word ADD PRIMARY KEY (id);
CREATE TABLE product (id int PRIMARY KEY, title text, description text, price numeric, stock int);
-- A word's number falls off as the square of a uniform number: the first is in 32 % of the texts, the tenth in 6 %, the hundredth in
-- 1.9 %, as in a real catalogue (icecat: 22, 11 and 2.3 %).
INSERT INTO product
	SELECT p, string_agg(w.word, ' ') FILTER (WHERE t.k <= 8), string_agg(w.word, ' ') FILTER (WHERE t.k > 8),
		round((5 + random() * 500)::numeric, 2), floor(random() * 20)
	FROM (SELECT p, k, 1 + floor(power(random(), 2) * (SELECT max(id) FROM word))::int AS id
		  FROM generate_series(1, :products) AS p, generate_series(1, 32) AS k) AS t
	JOIN word AS w USING (id) GROUP BY p;
CREATE TABLE event (visitor int, item int, at timestamptz, kind text);
INSERT INTO event
	SELECT 1 + floor(power(random(), 2) * :visitors), 1 + (floor(power(random(), 3) * :products)::int + v.home) % :products,
		now() - random() * interval '90 days', (ARRAY['view', 'view', 'cart', 'purchase'])[1 + floor(random() * 4)::int]
	FROM generate_series(1, 10 * :visitors) AS i, LATERAL (SELECT (i % 37) * :products / 37 AS home) AS v;
CREATE INDEX ON event (visitor);
CREATE TABLE query AS
	SELECT i AS id, (SELECT string_agg(x.word, ' ') FROM (SELECT word FROM regexp_split_to_table(p.title, ' ') AS word LIMIT 1 + i % 3) AS x) AS query
	FROM generate_series(1, 500) AS i JOIN product AS p ON p.id = i * (:products / 500);
ALTER TABLE query ADD PRIMARY KEY (id);
ANALYZE;
