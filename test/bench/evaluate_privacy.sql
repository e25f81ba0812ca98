-- What a private training costs: the sentiment of Chinese reviews (zh_reviews), learnt plainly and at epsilon 3.  Run in the folder of
-- shared data, in a database that has the extension ("make evaluate-privacy").
--
-- The base is made from nothing, of public text alone (uer_zh): a vocabulary with words of several characters, vectors of its words,
-- masked words, and what readers thought of books.  No review of zh_reviews is in it; texts that are in both are taken out of the
-- public ones.
--
-- "plain" and "private" learn the same weights, adapters of rank 4, of the same rows from the same base; "plain, all weights" is what the
-- shop could have without any promise.  The settings of each were chosen on rows that none of these figures is of: a sixteenth of the
-- trained ones, held out then.  The test rows are those whose md5 begins with 0; none is trained on.  What "cost" says is the difference
-- of two accuracies on the same test rows, with 95 % bounds by the deviation of that difference.

\set ON_ERROR_STOP on
\pset footer off
SET client_min_messages = warning;
\set rows `echo "${PRIVACY_ROWS:-50000}"`

CREATE TEMPORARY TABLE row (category text, sentiment text, text text);
\copy row FROM PROGRAM 'gzip -dc zh_reviews/online_shopping_10_cats.train.csv.gz' WITH (FORMAT csv, HEADER)
CREATE TABLE review AS
	SELECT DISTINCT ON (text) text, sentiment, md5(text) AS hash FROM row WHERE length(text) >= 4 ORDER BY text, sentiment;
CREATE TABLE held AS SELECT text, sentiment FROM review WHERE hash LIKE '0%';
CREATE TABLE lesson AS SELECT text, sentiment FROM review WHERE hash NOT LIKE '0%' ORDER BY hash DESC LIMIT :rows;

-- Lines as they are: no byte of the text is a delimiter or a quote.
CREATE TEMPORARY TABLE line (line text);
\copy line FROM PROGRAM 'gzip -dc uer_zh/book_review_cls.txt.gz' WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')
CREATE TABLE opinion AS
	SELECT DISTINCT ON (text) text, label FROM (SELECT split_part(line, E'\t', 1) AS label, substr(line, strpos(line, E'\t') + 1) AS text FROM line) AS l
	WHERE NOT EXISTS (SELECT FROM review AS r WHERE r.text = l.text) ORDER BY text, label;
TRUNCATE line;
\copy line FROM PROGRAM 'gzip -dc uer_zh/CLUECorpusSmall_sampled.txt.gz' WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')
CREATE TABLE public_text AS
	SELECT text FROM opinion WHERE length(text) >= 8
	UNION SELECT btrim(s) FROM line, regexp_split_to_table(line, '(?<=[。！？])') AS s
	WHERE length(btrim(s)) >= 8
	EXCEPT SELECT text FROM review;

\echo the base: words, their vectors, masked words, what was thought of books
CALL product_llm.train_tokenizer('public-words', 'SELECT text FROM public_text', 16000, '{"cjk_pieces": true, "alphabet": 4000}');
CALL product_llm.finetune('public-vectors', 'public-words', 'retrieval',
	'SELECT left(text, length(text) / 2), substr(text, length(text) / 2 + 1) FROM public_text',
	'{"width": 128, "layers": 2, "heads": 4, "ff": 256, "positions": 128, "word_vectors": true, "epochs": 4, "batch": 512, "learning_rate": 1e-2,
	  "weight_decay": 0, "temperature": 0.05, "max_tokens": 64, "validation": 0.01}');
CALL product_llm.pretrain('public', 'SELECT text FROM public_text', 'public-vectors',
	'{"epochs": 8, "batch": 64, "learning_rate": 2e-3, "mask_rate": 0.2, "max_tokens": 64, "validation": 0.02}');
CALL product_llm.finetune('base', 'public', 'classification', 'SELECT text, label FROM opinion',
	'{"epochs": 3, "batch": 64, "learning_rate": 5e-4, "max_tokens": 64, "dropout": 0.1, "validation": 0.05}');

\echo the sentiment of reviews, plainly and privately
CALL product_llm.finetune('plain, all weights', 'base', 'classification', 'SELECT text, sentiment FROM lesson',
	'{"epochs": 3, "batch": 64, "learning_rate": 5e-4, "max_tokens": 64, "validation": 0}');
CALL product_llm.finetune('plain', 'base', 'classification', 'SELECT text, sentiment FROM lesson',
	'{"epochs": 3, "batch": 64, "learning_rate": 2e-3, "max_tokens": 64, "lora_rank": 4, "validation": 0}');
CALL product_llm.finetune('private', 'base', 'classification', 'SELECT text, sentiment FROM lesson',
	'{"privacy_epsilon": 3, "privacy_delta": 5e-6, "privacy_clip": 1, "epochs": 16, "batch": 8000, "learning_rate": 1e-2, "max_tokens": 64,
	  "lora_rank": 4, "validation": 0}');

\echo reviews that no training saw
SELECT m.model, e.metric, round(e.value::numeric, 4) AS value, round(e.low::numeric, 4) AS low, round(e.high::numeric, 4) AS high
FROM (VALUES ('base'), ('plain, all weights'), ('plain'), ('private')) AS m (model), LATERAL product_llm.evaluate(m.model, 'classification', 'SELECT text, sentiment FROM held') AS e;
\echo what privacy costs, points of accuracy on these reviews: less than what learnt plainly, row by row
WITH said AS (
	SELECT (SELECT label FROM product_llm.classify('plain', text) LIMIT 1) = sentiment AS plain,
		(SELECT label FROM product_llm.classify('plain, all weights', text) LIMIT 1) = sentiment AS plain_all,
		(SELECT label FROM product_llm.classify('private', text) LIMIT 1) = sentiment AS private
	FROM held
), differs AS (
	SELECT w.less_than, w.plain::int - private::int AS by FROM said, LATERAL (VALUES ('plain', plain), ('plain, all weights', plain_all)) AS w (less_than, plain)
), cost AS (SELECT less_than, avg(by) AS mean, stddev(by) / sqrt(count(*)) AS error FROM differs GROUP BY less_than)
SELECT less_than, round(100 * mean, 2) AS cost, round((100 * (mean - 1.96 * error))::numeric, 2) AS low, round((100 * (mean + 1.96 * error))::numeric, 2) AS high
FROM cost ORDER BY less_than;
SELECT r.model, r.steps, r.example_rows, date_trunc('second', r.updated_at - r.started_at) AS took, m.metrics -> 'privacy' AS privacy
FROM product_llm.models AS m JOIN product_llm.training_runs AS r USING (model) ORDER BY r.run;
