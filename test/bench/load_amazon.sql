-- The products and events of Amazon reviews 2018, industrial and scientific, as tables; included by scripts that run in the folder of shared data.
CREATE TABLE amazon_product (item_id int PRIMARY KEY, title text, brand text, categories text, description text);
\copy amazon_product FROM 'amazon18_industrial/items.csv' WITH (FORMAT csv, HEADER)
CREATE TEMPORARY TABLE line (line text);
\copy line FROM 'amazon18_industrial/sequences.jsonl' WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
CREATE TABLE amazon_event (visitor text, item int, at timestamptz);
INSERT INTO amazon_event
	SELECT l.line::jsonb ->> 'user', i.item::int, timestamptz '2018-01-01' + i.n * interval '1 hour'
	FROM line AS l, jsonb_array_elements_text(l.line::jsonb -> 'items') WITH ORDINALITY AS i (item, n);
DROP TABLE line;
