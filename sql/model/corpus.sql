-- What a model learns from: texts, and pairs of texts that belong together.  Run by psql in the folder of data sets.
-- :without is icecat for a model that shall not have read that catalogue, or empty.
--
-- Only sets whose licence allows it: icecat (Apache-2.0, Open Icecat), bestbuy (Apache-2.0), flipkart (CC BY-SA 4.0), online_retail
-- (CC0), webshop (MIT), litemall_zh (MIT), google_taxonomy, uer_zh (Apache-2.0).  No relevance judgement and no test part is read.

\set ON_ERROR_STOP on
SET client_min_messages = warning;

-- A file of one text in each line, or of one JSON value, as rows: quote and delimiter are bytes that no text has.
CREATE TEMPORARY TABLE line (n bigint GENERATED ALWAYS AS IDENTITY, line text);

\copy line (line) FROM PROGRAM 'gzip -dc icecat/products.jsonl.gz' WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
CREATE TABLE icecat AS
	SELECT l.line::jsonb ->> 'id' AS id, l.line::jsonb ->> 'title' AS title, coalesce(l.line::jsonb ->> 'short_description', '') AS description,
		l.line::jsonb ->> 'supplier' AS supplier, l.line::jsonb ->> 'attr_t_product_type' AS type,
		(SELECT string_agg(replace(substr(a.key, 8), '_', ' ') || ' ' || a.value, ', ' ORDER BY a.key)
		 FROM jsonb_each_text(l.line::jsonb) AS a WHERE a.key LIKE 'attr\_t\_%' AND length(a.value) < 60) AS attributes
	FROM line AS l;
TRUNCATE line;
DELETE FROM icecat WHERE :'without' = 'icecat';

CREATE TEMPORARY TABLE flipkart_file (id text, name text, tree text);
\copy flipkart_file FROM PROGRAM 'gzip -dc flipkart/flipkart_20k.csv.gz' WITH (FORMAT csv, HEADER)
CREATE TABLE flipkart AS
	SELECT id, name, replace(btrim(tree, '[]"'), ' >> ', ', ') AS path FROM flipkart_file WHERE name <> '' AND tree <> '';

\copy line (line) FROM PROGRAM 'gzip -dc bestbuy/ecommerce.json.gz | tr -d "\n"' WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
CREATE TABLE bestbuy AS
	SELECT p ->> 'name' AS name, coalesce(p ->> 'description', '') AS description, p ->> 'brand' AS brand,
		(SELECT string_agg(c, ', ' ORDER BY n) FROM jsonb_array_elements_text(p -> 'categories') WITH ORDINALITY AS t (c, n)) AS categories
	FROM line AS l, jsonb_array_elements(l.line::jsonb) AS p;
TRUNCATE line;

\copy line (line) FROM 'google_taxonomy/taxonomy-with-ids.en-GB.txt' WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
CREATE TABLE taxonomy_en AS
	SELECT split_part(l.line, ' - ', 1)::int AS id, replace(substr(l.line, strpos(l.line, ' - ') + 3), ' > ', ', ') AS path FROM line AS l WHERE l.line !~ '^#';
TRUNCATE line;
\copy line (line) FROM 'google_taxonomy/taxonomy-with-ids.zh-CN.txt' WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
CREATE TABLE taxonomy_zh AS
	SELECT split_part(l.line, ' - ', 1)::int AS id, replace(substr(l.line, strpos(l.line, ' - ') + 3), ' > ', ', ') AS path FROM line AS l WHERE l.line !~ '^#';
TRUNCATE line;

CREATE TEMPORARY TABLE retail_line (invoice text, code text, description text, quantity text, at text, price text, customer text, country text);
\copy retail_line FROM PROGRAM 'gzip -dc online_retail/online_retail.csv.gz' WITH (FORMAT csv, HEADER)

\copy line (line) FROM PROGRAM 'tr -d "\n" < webshop/human_goals.json' WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
CREATE TABLE request AS SELECT DISTINCT r AS text FROM line AS l, jsonb_array_elements_text(l.line::jsonb) AS r;
TRUNCATE line;

CREATE TABLE goods_zh (id int, name text, category_id int, brand_id int, keywords text, brief text, unit text, counter_price text, retail_price text, detail text,
	category text, parent_category text);
\copy goods_zh FROM 'litemall_zh/litemall_goods.csv' WITH (FORMAT csv, HEADER)
CREATE TEMPORARY TABLE comment_zh (id int, value_id int, type text, content text, admin_content text, user_id text, has_picture text, pic_urls text, star text,
	add_time text, update_time text, deleted text);
\copy comment_zh FROM 'litemall_zh/litemall_comment.csv' WITH (FORMAT csv, HEADER)

-- Documents of several lines, one empty line between them.
\copy line (line) FROM PROGRAM 'gzip -dc uer_zh/CLUECorpusSmall_bert_sampled.txt.gz' WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
CREATE TABLE article AS
	SELECT n, count(*) FILTER (WHERE coalesce(line, '') = '') OVER (ORDER BY n) AS document, left(line, 400) AS line FROM line;
DELETE FROM article WHERE coalesce(btrim(line), '') = '';
TRUNCATE line;
\copy line (line) FROM PROGRAM 'gzip -dc uer_zh/CLUECorpusSmall_sampled.txt.gz' WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
CREATE TABLE posting AS SELECT left(line, 400) AS text FROM line WHERE btrim(line) <> '';
TRUNCATE line;
\copy line (line) FROM PROGRAM 'gzip -dc uer_zh/book_review_cls.txt.gz' WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
CREATE TABLE review AS SELECT split_part(line, E'\t', 2) AS text FROM line WHERE length(line) > 12;
TRUNCATE line;
\copy line (line) FROM PROGRAM 'gzip -dc uer_zh/news-commentary-v13-en-zh_sampled.txt.gz' WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
CREATE TABLE translation AS SELECT split_part(line, E'\t', 1) AS en, split_part(line, E'\t', 2) AS zh FROM line WHERE line LIKE E'%\t%';
TRUNCATE line;

-- Two or three words of a text in their order, as a customer might type them: chosen by a hash, so the same in every run.
CREATE FUNCTION typed(text text, seed text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg(w.word, ' ' ORDER BY w.n)
	FROM (SELECT t.word, t.n FROM regexp_split_to_table(text, '[\s,;()/]+') WITH ORDINALITY AS t (word, n)
		  WHERE length(t.word) > 1 AND t.n <= 16 ORDER BY md5(t.word || t.n || seed) LIMIT 1 + ascii(md5(text || seed)) % 3) AS w
$$;

-- ---- texts ----

CREATE TABLE corpus AS
	SELECT concat_ws('. ', title, nullif(description, '')) AS text FROM icecat
	UNION ALL SELECT title || '. ' || attributes FROM icecat WHERE attributes IS NOT NULL
	UNION ALL SELECT name || '. ' || path FROM flipkart
	UNION ALL SELECT name || '. ' || description || '. ' || categories FROM bestbuy
	UNION ALL SELECT path FROM taxonomy_en
	UNION ALL SELECT path FROM taxonomy_zh
	UNION ALL SELECT DISTINCT lower(description) FROM retail_line WHERE length(description) > 3
	UNION ALL SELECT text FROM request
	UNION ALL SELECT concat_ws('，', name, brief, keywords, category, parent_category) FROM goods_zh
	UNION ALL SELECT content FROM comment_zh WHERE length(content) > 3
	UNION ALL SELECT line FROM article
	UNION ALL SELECT text FROM posting
	UNION ALL SELECT text FROM review
	UNION ALL SELECT en FROM translation
	UNION ALL SELECT zh FROM translation;
DELETE FROM corpus WHERE coalesce(btrim(text), '') = '';

-- ---- pairs ----

-- What is left of a text's beginning when every word (Chinese: character) is thrown away with a chance of one half: chosen by a hash.
-- Two such remains of one text are a pair: they share words by chance alone, so what they have in common is what the text is about.
CREATE FUNCTION thinned(text text, seed text, most int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg(w.word[1], '' ORDER BY w.n)
	FROM regexp_matches(left(text, most), '[a-zA-Z0-9]+\s*|.', 'g') WITH ORDINALITY AS w (word, n)
	WHERE ('x' || left(md5(w.n || seed || text), 2))::bit(8)::int >= 128
$$;
-- General texts, cut into windows.
CREATE TEMPORARY TABLE windowed AS
	SELECT substr(t.text, k * 40 + 1, 40) AS text, substr(t.text, k * 40 + 41, 40) AS next, k
	FROM (SELECT text FROM posting UNION ALL SELECT text FROM review UNION ALL SELECT line FROM article) AS t, generate_series(0, 8) AS k
	WHERE length(substr(t.text, k * 40 + 1, 40)) >= 8;

CREATE TABLE pair (query text, positive text);
INSERT INTO pair
	SELECT title, description FROM icecat WHERE length(description) > 10
	UNION ALL SELECT typed(title, s), concat_ws(' ', title, description) FROM icecat, (VALUES ('a'), ('b'), ('c'), ('d'), ('g'), ('h'), ('i')) AS v (s)
	UNION ALL SELECT typed(description, s), concat_ws(' ', title, description) FROM icecat, (VALUES ('e'), ('m')) AS v (s) WHERE length(description) > 10
	UNION ALL SELECT typed(title, s), title FROM icecat, (VALUES ('f'), ('j'), ('k'), ('l')) AS v (s)
	UNION ALL SELECT concat_ws(' ', supplier, type), concat_ws(' ', title, description) FROM icecat WHERE type IS NOT NULL
	UNION ALL SELECT type, concat_ws(' ', title, description) FROM icecat WHERE type IS NOT NULL
	UNION ALL SELECT type, title FROM icecat WHERE type IS NOT NULL
	UNION ALL SELECT concat_ws(' ', supplier, type), title FROM icecat WHERE type IS NOT NULL
	UNION ALL SELECT attributes, concat_ws(' ', title, description) FROM icecat WHERE attributes IS NOT NULL
	UNION ALL SELECT attributes, title FROM icecat WHERE attributes IS NOT NULL
	UNION ALL SELECT name, path FROM flipkart
	UNION ALL SELECT typed(name, 'a'), name FROM flipkart
	UNION ALL SELECT typed(path, 'b'), name FROM flipkart
	UNION ALL SELECT name, description FROM bestbuy WHERE length(description) > 10
	UNION ALL SELECT typed(name, s), concat_ws(' ', name, description) FROM bestbuy, (VALUES ('a'), ('b')) AS v (s)
	UNION ALL SELECT categories, concat_ws(' ', name, description) FROM bestbuy
	UNION ALL SELECT e.path, z.path FROM taxonomy_en AS e JOIN taxonomy_zh AS z USING (id)
	UNION ALL SELECT regexp_replace(e.path, '^.*, ', ''), regexp_replace(z.path, '^.*, ', '') FROM taxonomy_en AS e JOIN taxonomy_zh AS z USING (id)
	UNION ALL SELECT regexp_replace(path, '^.*, ', ''), path FROM taxonomy_en
	UNION ALL SELECT regexp_replace(path, '^.*, ', ''), path FROM taxonomy_zh
	UNION ALL SELECT typed(text, 'a'), text FROM request
	UNION ALL SELECT name, concat_ws('，', brief, category) FROM goods_zh
	UNION ALL SELECT category, name || '，' || brief FROM goods_zh
	UNION ALL SELECT c.content, g.name FROM comment_zh AS c JOIN goods_zh AS g ON g.id = c.value_id WHERE length(c.content) > 3
	UNION ALL SELECT en, zh FROM translation
	UNION ALL SELECT thinned(en, 'a', 160), thinned(en, 'b', 160) FROM translation
	UNION ALL SELECT thinned(zh, 'a', 40), thinned(zh, 'b', 40) FROM translation
	UNION ALL SELECT thinned(path, 'a', 40), thinned(path, 'b', 40) FROM taxonomy_zh
	UNION ALL SELECT a.line, b.line FROM article AS a JOIN article AS b ON b.n = a.n + 1 AND b.document = a.document
	UNION ALL SELECT left(text, length(text) / 2), substr(text, length(text) / 2 + 1) FROM review WHERE length(text) >= 20
	UNION ALL SELECT text, next FROM windowed WHERE length(next) > 10
	UNION ALL SELECT thinned(text, 'a', 40), thinned(text, 'b', 40) FROM windowed WHERE k < 2;
DELETE FROM pair WHERE coalesce(btrim(query), '') = '' OR coalesce(btrim(positive), '') = '' OR query = positive;

SELECT (SELECT count(*) FROM corpus) AS texts, (SELECT sum(length(text)) FROM corpus) AS characters, (SELECT count(*) FROM pair) AS pairs;
