-- train_tokenizer(): a vocabulary from the shop's own texts, and a model that is a tokenizer alone.
SET search_path = public, product_llm;
CREATE TABLE goods (sku int, title text, price numeric);
INSERT INTO goods VALUES (1, 'Green tea, green tea', 3), (2, 'Black tea', 4), (3, 'Teapot for green tea', 20), (4, NULL, 1), (5, '绿茶 红茶 绿茶', 5);

CALL train_tokenizer('words', 'SELECT title FROM goods', 40, '{"min_frequency": 1}');
SELECT model, architecture, task, dimensions, max_tokens, parameters, precision, parent, metrics FROM models WHERE model = 'words';
SELECT ordinal, id, token, start_at FROM tokenize('words', 'Green TEA 绿茶 [MASK]');
SELECT count_tokens('words', 'green tea');
SELECT file FROM model_file WHERE model = 'words' ORDER BY file COLLATE "C";
SELECT convert_from(data, 'UTF8') FROM model_file WHERE model = 'words' AND file <> 'vocab.txt' ORDER BY file COLLATE "C";

-- Runs of Chinese as words; case kept.
CREATE VIEW goods_titles AS SELECT title::varchar FROM goods ORDER BY sku DESC;
CALL train_tokenizer('runs', 'TABLE goods_titles', 60, '{"min_frequency": 1, "cjk_pieces": true, "lowercase": false}');
SELECT token FROM tokenize('runs', '绿茶, Green');

-- The rows' order does not matter: the same bytes, the same model.
CALL train_tokenizer('again', 'SELECT title FROM goods ORDER BY sku DESC; -- newest first', 40, '{"min_frequency": 1}');
SELECT count(DISTINCT sha256) AS identities FROM models WHERE model IN ('words', 'again');

-- It travels as every model does.
SELECT current_setting('data_directory') || '/exported_words' AS exported \gset
SELECT export_model('words', :'exported');
SELECT load_model('loaded', :'exported');
SELECT count(DISTINCT sha256) AS identities FROM models WHERE model IN ('words', 'loaded');
SELECT prewarm('loaded') > 0 AS mapped;

-- Without weights there is nothing to compute.
SELECT embed('words', 'tea');
SELECT count(*) FROM embed('words', ARRAY['tea']);
SELECT score('words', 'tea', 'green tea');
SELECT score('words', 'tea', ARRAY[1.0]::real[]);
SELECT * FROM rerank('words', 'tea', ARRAY['green tea']);
SELECT * FROM classify('words', 'tea');
SELECT * FROM classify_zero_shot('words', 'tea', ARRAY['a', 'b']);
SELECT * FROM fill_mask('words', 'green [MASK]');
SELECT quantize_model('small', 'words', 'int8');
\set VERBOSITY terse
SELECT create_catalog('goods', 'goods', 'sku', 'title', model => 'words');

-- What is refused.
\set VERBOSITY default
CALL train_tokenizer('bad', 'SELECT title FROM goods WHERE false');
CALL train_tokenizer('bad', 'SELECT title FROM goods WHERE sku = 4');
CALL train_tokenizer('bad', $$SELECT '  '$$);
CALL train_tokenizer('bad', 'SELECT title, title FROM goods');
CALL train_tokenizer('bad', 'SELECT FROM goods');
CALL train_tokenizer('bad', 'SELECT price FROM goods');
CALL train_tokenizer('bad', 'SELECT ARRAY[title] FROM goods');
CALL train_tokenizer('bad', '');
CALL train_tokenizer('bad', 'SELECT 1; SELECT 2');
CALL train_tokenizer('bad', 'INSERT INTO goods VALUES (9) RETURNING title');
CALL train_tokenizer('bad', 'WITH w AS (DELETE FROM goods RETURNING title) SELECT title FROM w');
CALL train_tokenizer('bad', 'SELECT title FROM goods FOR UPDATE');
CALL train_tokenizer('bad', 'SELECT title INTO t FROM goods');
CALL train_tokenizer('bad', 'SELECT title FROM nowhere');
CALL train_tokenizer('bad', 'SELECT title) FROM goods');
CALL train_tokenizer('bad', 'SELECT title FROM goods WHERE 1 / (sku - 3) > 5');
CALL train_tokenizer('bad', 'SELECT title FROM goods', 5);
CALL train_tokenizer('bad', 'SELECT title FROM goods', -1);
CALL train_tokenizer('bad', 'SELECT title FROM goods', 1000001);
CALL train_tokenizer('bad', 'SELECT title FROM goods', 100, '{"vocab": 5}');
CALL train_tokenizer('bad', 'SELECT title FROM goods', 100, '{"lowercase": "yes"}');
CALL train_tokenizer('bad', 'SELECT title FROM goods', 100, '{"alphabet": 1.5}');
CALL train_tokenizer('bad', 'SELECT title FROM goods', 100, '{"alphabet": 0}');
CALL train_tokenizer('bad', 'SELECT title FROM goods', 100, '{"alphabet": [1]}');
CALL train_tokenizer('bad', 'SELECT title FROM goods', 100, '{"min_frequency": 0}');
CALL train_tokenizer('bad', 'SELECT title FROM goods', 100, '{"min_frequency": 3000000000}');
CALL train_tokenizer('bad', 'SELECT title FROM goods', 100, '[]');
CALL train_tokenizer('bad', 'SELECT title FROM goods', 100, '"lowercase"');
CALL train_tokenizer('bad', NULL);
CALL train_tokenizer('words', 'SELECT title FROM goods');
\set VERBOSITY terse
SET product_llm.memory_limit = '1MB';
CALL train_tokenizer('bad', 'SELECT md5(i::text) FROM generate_series(1, 100000) AS i');
RESET product_llm.memory_limit;
BEGIN READ ONLY;
CALL train_tokenizer('bad', 'SELECT title FROM goods');
ROLLBACK;
SELECT count(*) AS half_made FROM model_file WHERE model = 'bad';
SELECT count(*) AS goods FROM goods;

-- The caller's rights: rows that are hidden teach nothing; who is not allowed to may not make models.
CREATE ROLE learner;
CALL train_tokenizer('bad', 'SELECT 1');
GRANT SELECT ON goods TO learner;
ALTER TABLE goods ENABLE ROW LEVEL SECURITY;
CREATE POLICY cheap ON goods TO learner USING (price < 4);
SET ROLE learner;
CALL train_tokenizer('theirs', 'SELECT title FROM goods');
RESET ROLE;
GRANT EXECUTE ON PROCEDURE train_tokenizer(text, text, int, jsonb) TO learner;
SET ROLE learner;
CALL train_tokenizer('theirs', 'SELECT title FROM goods', 40, '{"min_frequency": 1}');
CALL train_tokenizer('bad', 'SELECT proname::text FROM product_llm.model_file, pg_proc');
SELECT metrics ->> 'texts' AS texts, owner FROM models WHERE model = 'theirs';
SELECT token FROM tokenize('theirs', 'black');
RESET ROLE;

SELECT drop_model(model) FROM unnest(ARRAY['words', 'runs', 'again', 'loaded', 'theirs']) AS model;
DROP TABLE goods CASCADE;
REVOKE ALL ON PROCEDURE train_tokenizer(text, text, int, jsonb) FROM learner;
DROP ROLE learner;
