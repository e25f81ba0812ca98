-- A tour of product_llm on a small bilingual shop.
--
-- "make demo" runs this file in a fresh database.  By hand, from the top of the source:
--
--     createdb shop
--     psql -X -d shop -v demo_dir=sql/demo -v connect='psql -d shop' -f sql/demo/demo.sql
--
-- Every figure and every row that it prints is computed here and now.

\set ON_ERROR_STOP on
\encoding UTF8
\if :{?demo_dir}
\else
	\set demo_dir .
\endif
\if :{?connect}
\else
	\set connect 'psql -d ' :DBNAME
\endif
\set QUIET on
\pset border 1
\pset footer off
\pset linestyle unicode
\pset null ''
SET client_min_messages = warning;
\cd :demo_dir

\echo
\echo '1. A model in the database'
\echo

CREATE EXTENSION product_llm;
SELECT product_llm.load_model('shop-mini') \gset

SELECT model, task, dimensions, max_tokens, to_char(parameters / 1e6, 'FM990.0" M"') AS parameters,
       pg_size_pretty(bytes::numeric) AS size, left(sha256::text, 12) || '...' AS sha256
FROM product_llm.models;

\echo 'What the model sees of a text: word pieces, Chinese characters one by one.'
\echo

SELECT ordinal, id, token, start_at, length
FROM product_llm.tokenize('shop-mini', 'Waterproof picnic blanket 野餐垫');

\echo
\echo '2. A shop: ordinary tables, and one for the embeddings'
\echo

CREATE SCHEMA shop;
ALTER DATABASE :"DBNAME" SET search_path = shop, public;
ALTER DATABASE :"DBNAME" SET product_llm.default_model = 'shop-mini';
SET search_path = shop, public;
SET product_llm.default_model = 'shop-mini';

CREATE TABLE category (
	category text PRIMARY KEY,
	name_en  text NOT NULL,
	name_zh  text NOT NULL
);

CREATE TABLE product (
	sku         text PRIMARY KEY,
	title       text NOT NULL,
	description text NOT NULL,
	category    text NOT NULL REFERENCES category,
	brand       text NOT NULL,
	price       numeric(10, 2) NOT NULL CHECK (price >= 0),
	stock       integer NOT NULL CHECK (stock >= 0),
	language    text NOT NULL CHECK (language IN ('en', 'zh')),
	attributes  jsonb NOT NULL
);
COMMENT ON COLUMN product.price IS 'euros';

CREATE TABLE event (
	visitor text NOT NULL,
	sku     text NOT NULL REFERENCES product,
	kind    text NOT NULL CHECK (kind IN ('view', 'cart', 'purchase')),
	at      timestamp NOT NULL
);

CREATE TABLE product_embedding (
	sku       text PRIMARY KEY REFERENCES product,
	embedding real[] NOT NULL
);

\copy category FROM 'categories.csv' WITH (FORMAT csv, HEADER)
\copy product FROM 'products.csv' WITH (FORMAT csv, HEADER)
\copy event FROM 'events.csv' WITH (FORMAT csv, HEADER)

-- The visits of the file end on a fixed day: move them by whole days, so that they end yesterday.
UPDATE event
SET at = at + (current_date - 1 - (SELECT max(at)::date FROM event)) * interval '1 day';

CREATE INDEX ON event (sku, kind, at);
CREATE INDEX ON event (visitor, at);

-- The text that stands for a product.  This small model knows product words better than prose, so it reads the title and
-- the category, in the language of the product; a larger one would read the description as well.
CREATE VIEW product_text AS
	SELECT p.sku, p.title || ', ' || CASE p.language WHEN 'zh' THEN c.name_zh ELSE c.name_en END AS content
	FROM product AS p
	JOIN category AS c USING (category);

SELECT count(*) AS products, count(*) FILTER (WHERE language = 'en') AS english,
       count(*) FILTER (WHERE language = 'zh') AS chinese, count(DISTINCT category) AS categories,
       (SELECT count(DISTINCT visitor) FROM event) AS visitors, (SELECT count(*) FROM event) AS events,
       (SELECT max(at)::date FROM event) AS "last event"
FROM product;

\echo 'Embed the whole catalogue, in batches of 256, with one INSERT:'
\echo
\echo '    INSERT INTO product_embedding (sku, embedding)'
\echo '    SELECT r.sku, r.embedding'
\echo '    FROM batch, ROWS FROM (unnest(skus), product_llm.embed(''shop-mini'', contents)) AS r (sku, embedding)'
\echo

SELECT clock_timestamp() AS started \gset

WITH numbered AS (
	SELECT sku, content, (row_number() OVER (ORDER BY sku) - 1) / 256 AS batch
	FROM product_text
), batch AS (
	SELECT array_agg(sku ORDER BY sku) AS skus, array_agg(content ORDER BY sku) AS contents
	FROM numbered
	GROUP BY batch
)
INSERT INTO product_embedding (sku, embedding)
SELECT r.sku, r.embedding
FROM batch, ROWS FROM (unnest(skus), product_llm.embed('shop-mini', contents)) AS r (sku, embedding);

WITH spent AS (SELECT extract(epoch FROM clock_timestamp() - :'started') AS seconds)
SELECT count(*) AS rows, round(seconds * 1000) AS "ms", round(count(*) / seconds) AS "rows/s"
FROM product_embedding, spent
GROUP BY seconds;

ANALYZE category, product, event, product_embedding;

\echo
\echo '3. Search by meaning: words that no title contains'
\echo
\echo '    SELECT title, price, product_llm.score(''shop-mini'', :''query'', embedding) AS score'
\echo '    FROM product JOIN product_embedding USING (sku)'
\echo '    ORDER BY score DESC LIMIT 5'
\echo

PREPARE found_by_words (text) AS
	SELECT count(*) AS "matches of full-text search"
	FROM product
	WHERE to_tsvector('english', title || ' ' || description) @@ plainto_tsquery('english', $1);

PREPARE search (text) AS
	SELECT round(product_llm.score('shop-mini', $1, embedding)::numeric, 2) AS score, sku, left(title, 52) AS title, price
	FROM product
	JOIN product_embedding USING (sku)
	ORDER BY product_llm.score('shop-mini', $1, embedding) DESC
	LIMIT 5;

\set query 'stylish loafers'
\echo Query: :query
EXECUTE found_by_words (:'query');
EXECUTE search (:'query');
\set query 'haircare'
\echo Query: :query
EXECUTE found_by_words (:'query');
EXECUTE search (:'query');

\echo
\echo '4. The same in Chinese'
\echo

PREPARE found_by_characters (text) AS
	SELECT count(*) AS "titles that contain it"
	FROM product
	WHERE strpos(title, $1) > 0;

\set query 旅游
\echo Query: :query (tourism)
EXECUTE found_by_characters (:'query');
EXECUTE search (:'query');
\set query 喝茶
\echo Query: :query (to have tea)
EXECUTE found_by_characters (:'query');
EXECUTE search (:'query');

\echo
\echo '5. Across the two languages: the query in one, the products in the other'
\echo

WITH asked (n, query, answers) AS (
	VALUES (1, 'dog', 'zh'), (2, 'baby', 'zh'), (3, 'camera', 'zh'), (4, '吉他', 'en'), (5, '咖啡', 'en'), (6, '行李箱', 'en')
)
SELECT CASE WHEN f.rank = 1 THEN a.query END AS query, round(f.score::numeric, 2) AS score, f.sku, left(f.title, 52) AS title
FROM asked AS a
CROSS JOIN LATERAL (
	SELECT p.sku, p.title, s.score, row_number() OVER (ORDER BY s.score DESC) AS rank
	FROM product AS p
	JOIN product_embedding AS e USING (sku)
	CROSS JOIN LATERAL product_llm.similarity(product_llm.embed('shop-mini', a.query, 'query'), e.embedding) AS s (score)
	WHERE p.language = a.answers
	ORDER BY s.score DESC
	LIMIT 3
) AS f
ORDER BY a.n, f.rank;

\echo
\echo '6. Together with the rest of SQL'
\echo
\echo 'Coffee for less than 40 euros, in stock, and how often it was looked at and bought in four weeks:'
\echo
\echo '    WHERE p.price < 40 AND p.stock > 0 AND p.category = ''tea'' ... ORDER BY score DESC'
\echo

SELECT round(product_llm.score('shop-mini', 'coffee', e.embedding)::numeric, 2) AS score, left(p.title, 40) AS title,
       p.price, p.stock, v.views, v.purchases
FROM product AS p
JOIN product_embedding AS e USING (sku)
CROSS JOIN LATERAL (
	SELECT count(*) FILTER (WHERE kind = 'view') AS views, count(*) FILTER (WHERE kind = 'purchase') AS purchases
	FROM event
	WHERE event.sku = p.sku AND event.at >= current_date - 28
) AS v
WHERE p.price < 40 AND p.stock > 0 AND p.category = 'tea'
ORDER BY product_llm.score('shop-mini', 'coffee', e.embedding) DESC
LIMIT 6;

\echo
\echo '7. Into which category?  Nobody trained a classifier; the labels are the names of the categories'
\echo
\echo '    SELECT label, probability'
\echo '    FROM product_llm.classify_zero_shot(''shop-mini'', title, (SELECT array_agg(name_en) FROM category))'
\echo

WITH label AS (
	SELECT array_agg(name_en) AS en, array_agg(name_zh) AS zh FROM category
)
SELECT left(p.title, 42) AS title, c.label AS "best label", round(c.probability::numeric, 2) AS probability,
       CASE p.language WHEN 'zh' THEN own.name_zh ELSE own.name_en END AS "the shop's own"
FROM product AS p
JOIN category AS own USING (category)
CROSS JOIN label AS l
CROSS JOIN LATERAL (
	SELECT label, probability
	FROM product_llm.classify_zero_shot('shop-mini', p.title, CASE p.language WHEN 'zh' THEN l.zh ELSE l.en END)
	ORDER BY probability DESC
	LIMIT 1
) AS c
WHERE p.sku IN ('AUD-001', 'CAM-012', 'CAR-011', 'GAR-016', 'KIT-025', 'MUS-018', 'SHO-005', 'SPO-016', 'TEA-007', 'TOO-020')
ORDER BY p.language, c.probability DESC;

\echo 'How often is the best label the right one, of 25?  (Guessing: 4 %.)'
\echo

WITH label AS (
	SELECT array_agg(name_en) AS en, array_agg(name_zh) AS zh FROM category
), best AS (
	SELECT p.language, z.label = CASE p.language WHEN 'zh' THEN c.name_zh ELSE c.name_en END AS hit
	FROM product AS p
	JOIN category AS c USING (category)
	CROSS JOIN label AS l
	CROSS JOIN LATERAL (
		SELECT label
		FROM product_llm.classify_zero_shot('shop-mini', p.title, CASE p.language WHEN 'zh' THEN l.zh ELSE l.en END)
		ORDER BY probability DESC
		LIMIT 1
	) AS z
)
SELECT CASE language WHEN 'zh' THEN 'Chinese' ELSE 'English' END AS titles, count(*) AS products,
       count(*) FILTER (WHERE hit) AS correct, to_char(100 * avg(hit::int), 'FM990" %"') AS share
FROM best
GROUP BY language
ORDER BY language;

\echo
\echo '8. What is like this product?'
\echo

WITH asked AS (
	SELECT p.sku, p.title, e.embedding
	FROM product AS p
	JOIN product_embedding AS e USING (sku)
	WHERE p.sku IN ('TEA-007', 'TRA-001')
)
SELECT CASE WHEN f.rank = 1 THEN left(a.title, 36) END AS product, round(f.score::numeric, 2) AS likeness,
       left(f.title, 48) AS neighbour
FROM asked AS a
CROSS JOIN LATERAL (
	SELECT p.title, s.score, row_number() OVER (ORDER BY s.score DESC) AS rank
	FROM product AS p
	JOIN product_embedding AS e USING (sku)
	CROSS JOIN LATERAL product_llm.similarity(a.embedding, e.embedding) AS s (score)
	WHERE p.sku <> a.sku
	ORDER BY s.score DESC
	LIMIT 5
) AS f
ORDER BY a.sku, f.rank;

\echo
\echo '9. A catalog: product rows that keep themselves embedded and indexed'
\echo
\echo '    SELECT product_llm.create_catalog(''goods'', ''product'', ''sku'', $$title || ''. '' || description$$, title => ''title'')'
\echo

SELECT clock_timestamp() AS started \gset
SELECT product_llm.create_catalog('goods', 'product', 'sku', 'title || ''. '' || description', title => 'title', language => 'english') \g /dev/null
SELECT c.catalog, c.source, c.products, c.embedded, c.stale, round(extract(epoch FROM clock_timestamp() - :'started') * 1000) AS ms
FROM product_llm.catalogs AS c;

PREPARE find (text, int) AS
	SELECT round(s.score::numeric, 2) AS score, s.semantic_rank AS "by meaning", s.lexical_rank AS "by words", s.key AS sku,
	       left(p.title, 48) AS title, p.price
	FROM product_llm.search('goods', $1, $2) AS s
	JOIN product AS p ON p.sku = s.key
	ORDER BY s.score DESC;

\echo 'Meaning and words together, spelling slips and all:  SELECT * FROM product_llm.search(''goods'', ''hedphones for runing'', 4)'
\echo
EXECUTE find ('hedphones for runing', 4);
\echo 'Chinese, without a segmenter:'
\echo
EXECUTE find ('无线耳机', 4);

\echo 'A new row is there at once, in the same transaction, and a part number finds it however it is written:'
\echo
BEGIN;
INSERT INTO product VALUES ('NEW-001', 'Solid state drive MZ-75E500B', 'Half a terabyte for a quick notebook', 'computers', 'Samson', 59, 5, 'en', '{}')
ON CONFLICT DO NOTHING;
EXECUTE find ('mz75e500b', 1);
ROLLBACK;

\echo 'A filter is a SQL condition; values come apart from it:'
\echo
\echo '    search(''goods'', ''tools for a gardener'', 4, ''price < :most AND stock > 0'', ''{"most": 30}'')'
\echo
SELECT round(s.score::numeric, 2) AS score, p.sku, left(p.title, 48) AS title, p.price, p.stock
FROM product_llm.search('goods', 'tools for a gardener', 4, 'price < :most AND stock > 0', '{"most": 30}') AS s
JOIN product AS p ON p.sku = s.key ORDER BY s.score DESC;

\echo
\echo '10. Recommendations, with their reasons'
\echo
\echo '    SELECT product_llm.bind_events(''goods'', ''event'', ''visitor'', ''sku'', ''at'', ''kind'', ''{"view": 1, "cart": 3, "purchase": 5}'')'
\echo

SELECT product_llm.bind_events('goods', 'event', 'visitor', 'sku', 'at', 'kind', '{"view": 1, "cart": 3, "purchase": 5}') \g /dev/null

\echo 'For clara:'
\echo
SELECT left(p.title, 40) AS title, r.source, (SELECT string_agg(left(b.title, 26), '; ' ORDER BY o.n) FROM unnest(r.because) WITH ORDINALITY AS o (sku, n) JOIN product AS b USING (sku)) AS because
FROM product_llm.recommend('goods', 'clara', 5) AS r
JOIN product AS p ON p.sku = r.key ORDER BY r.score DESC;

\echo 'For somebody who has never been here:'
\echo
SELECT left(p.title, 40) AS title, r.source FROM product_llm.recommend('goods', 'somebody new', 3) AS r
JOIN product AS p ON p.sku = r.key ORDER BY r.score DESC;

\echo 'To go with a basket of TEA-007 and KIT-025:'
\echo
SELECT left(p.title, 40) AS title, r.because, r.source FROM product_llm.recommend_basket('goods', '{TEA-007,KIT-025}', 4) AS r
JOIN product AS p ON p.sku = r.key ORDER BY r.score DESC;

\echo 'clara asks to be forgotten:  SELECT * FROM product_llm.forget(''goods'', ''clara'')'
\echo
BEGIN;
SELECT * FROM product_llm.forget('goods', 'clara');
ROLLBACK;

\echo
\echo '11. How long does it take?'
\echo

CREATE TEMPORARY TABLE timing (
	what text NOT NULL,
	ms   double precision NOT NULL
);

-- One short query at a time in a warm session, each another text.
DO $$
DECLARE
	query   text;
	started timestamptz;
BEGIN
	FOR query IN SELECT title FROM shop.product ORDER BY sku LIMIT 300
	LOOP
		started := clock_timestamp();
		PERFORM product_llm.embed('shop-mini', query, 'query');
		INSERT INTO timing VALUES ('embed', extract(epoch FROM clock_timestamp() - started) * 1000);
	END LOOP;
END
$$;

SELECT round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 2) AS "one title: ms, median",
       round(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)::numeric, 2) AS "99 of 100 below, ms"
FROM timing;

SELECT array_agg(title || '. ' || description) AS texts FROM (SELECT * FROM product ORDER BY sku LIMIT 500) AS p \gset
SELECT clock_timestamp() AS started \gset
SELECT count(*) AS embedded FROM product_llm.embed('shop-mini', :'texts'::text[] || :'texts'::text[]) \gset
SELECT :embedded AS "titles with descriptions", round(seconds * 1000) AS "ms", round(:embedded / seconds) AS "texts/s"
FROM extract(epoch FROM clock_timestamp() - :'started') AS seconds;

-- A hundred such catalogues, searched by an exact scan.
CREATE TEMPORARY TABLE large AS
	SELECT sku, embedding FROM product_embedding, generate_series(1, 100);
ANALYZE large;
SELECT clock_timestamp() AS started \gset
SELECT count(*) AS found
FROM (SELECT sku FROM large ORDER BY product_llm.score('shop-mini', 'wireless headphones', embedding) DESC LIMIT 10) AS s \gset
SELECT (SELECT count(*) FROM large) AS "rows scanned for the top 10", round(seconds * 1000) AS "ms"
FROM extract(epoch FROM clock_timestamp() - :'started') AS seconds;

\echo
\echo '12. Your turn'
\echo
\echo 'Connect with:' :connect
\echo 'Then try these five (the default model and the search path are set for this database):'
\echo
\pset tuples_only on
\pset format unaligned
SELECT $$-- Chinese teas for an English query, below 20 euros and in stock
SELECT title, price, stock
FROM product JOIN product_embedding USING (sku)
WHERE language = 'zh' AND price < 20 AND stock > 0
ORDER BY product_llm.score('shop-mini', 'tea', embedding) DESC LIMIT 5;

-- What to put before clara, who last bought ...
SELECT bought.title AS bought, p.title AS "and perhaps"
FROM (SELECT sku, title FROM event JOIN product USING (sku)
      WHERE visitor = 'clara' AND kind = 'purchase' ORDER BY at DESC LIMIT 1) AS bought
JOIN product_embedding AS b USING (sku), product AS p JOIN product_embedding AS e USING (sku)
WHERE p.sku <> b.sku AND p.stock > 0
ORDER BY product_llm.similarity(b.embedding, e.embedding) DESC LIMIT 5;

-- A new product: which shelf?
SELECT * FROM product_llm.classify_zero_shot('shop-mini', 'Ceramic coffee cups',
                                             (SELECT array_agg(name_en) FROM category)) LIMIT 3;

-- Any list of texts, best first, nothing stored
SELECT ordinal, score, texts[ordinal] AS text
FROM (SELECT ARRAY['garden hose', 'hiking boots', 'raincoat with hood', '防水登山鞋']) AS t (texts),
     product_llm.rerank('shop-mini', 'waterproof rain jacket', texts);

-- What the model costs: shared by every session, and of this session alone
SELECT * FROM product_llm.model_memory;
$$;
