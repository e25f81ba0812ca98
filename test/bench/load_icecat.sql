-- The icecat products and judgments as tables; included by scripts that run in the folder of shared data.
CREATE TEMPORARY TABLE line (line text);
\copy line FROM PROGRAM 'gzip -dc icecat/products.jsonl.gz' WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
CREATE TABLE product AS
	SELECT (l.line::jsonb ->> 'id')::bigint AS id, l.line::jsonb ->> 'title' AS title, l.line::jsonb ->> 'short_description' AS description,
		l.line::jsonb ->> 'supplier' AS supplier, l.line::jsonb ->> 'attr_t_product_type' AS type,
		(SELECT string_agg(replace(substr(a.key, 8), '_', ' ') || ' ' || a.value, ', ' ORDER BY a.key)
		 FROM jsonb_each_text(l.line::jsonb) AS a WHERE a.key LIKE 'attr\_t\_%' AND length(a.value) < 60) AS attributes
	FROM line AS l;
ALTER TABLE product ADD PRIMARY KEY (id);
DROP TABLE line;
CREATE TABLE judgment (query text, docid bigint, rating int);
\copy judgment FROM 'icecat/judgments.csv' WITH (FORMAT csv, HEADER)
