-- :rows vectors of 384 numbers, as embeddings of a shop's texts lie: mixtures of two of 2,000 that gather around 50 centres.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS product_llm;
SELECT setseed(0.42) \g /dev/null
CREATE TABLE centre AS SELECT c AS id, array_agg(random() + random() + random() - 1.5) AS v
	FROM generate_series(1, 50) AS c, generate_series(1, 384) AS i GROUP BY c;
CREATE TABLE base AS SELECT b AS id, array_agg((x + (random() + random() + random() - 1.5))::real ORDER BY i) AS v
	FROM generate_series(1, 2000) AS b JOIN centre AS c ON c.id = 1 + b % 50, unnest(c.v) WITH ORDINALITY AS u (x, i) GROUP BY b;
ALTER TABLE base ADD PRIMARY KEY (id);
CREATE TABLE item (id int, kind int, embedding real[]);
ALTER TABLE item ALTER embedding SET STORAGE EXTERNAL, ALTER embedding SET STATISTICS 0;
INSERT INTO item SELECT i, abs(hashint4(i) % 100), (SELECT array_agg(u.x * 0.8::real + u.y * 0.6::real) FROM unnest(a.v, b.v) AS u (x, y))
	FROM generate_series(1, :rows) AS i JOIN base AS a ON a.id = 1 + (i * 7919::bigint) % 2000 JOIN base AS b ON b.id = 1 + (i * 31::bigint + i / 2000) % 2000;
CREATE TABLE query AS SELECT q AS id, (SELECT array_agg((x + 0.3 * (random() - 0.5))::real ORDER BY o) FROM unnest(i.embedding) WITH ORDINALITY AS u (x, o)) AS v
	FROM generate_series(1, 200) AS q JOIN item AS i ON i.id = q * (:rows / 200) GROUP BY q, i.embedding;
ALTER TABLE query ADD PRIMARY KEY (id);
VACUUM ANALYZE;
