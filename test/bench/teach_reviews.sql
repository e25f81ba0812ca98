-- Teach a model the ten categories and the sentiment of Chinese reviews: zh_reviews.  Run in the folder of shared data, in a database
-- that has the extension and the model :model ("make teach").
--
-- The test rows are those whose text's md5 begins with 0 (a sixteenth); they are read by evaluate() alone.  Baselines on a split of the
-- same kind (../shared/QUALITY.md): character 1-2-grams, categories, accuracy 0.900 and macro-F1 0.89, 0.854 with 5,018 labels;
-- 1-3-grams, sentiment, accuracy 0.932.
--
-- The labels' trainings hold nothing out: two rows in a hundred choose among a run's weights worse than its end, whose learning rate is 0.

\set ON_ERROR_STOP on
\pset footer off
SET client_min_messages = warning;

CREATE TEMPORARY TABLE row (category text, sentiment text, text text);
\copy row FROM PROGRAM 'gzip -dc zh_reviews/online_shopping_10_cats.train.csv.gz' WITH (FORMAT csv, HEADER)
CREATE TABLE review AS
	SELECT DISTINCT ON (text) text, category, sentiment, md5(text) AS hash, md5(text) LIKE '0%' AS held FROM row WHERE btrim(text) <> '' ORDER BY text, category;

\echo reviews: words of their own, of several characters
CALL product_llm.train_tokenizer('reviews-words', 'SELECT text FROM review WHERE NOT held', 20000, '{"cjk_pieces": true, "alphabet": 4000}');
\echo reviews: what belongs together, the halves of a text
CALL product_llm.finetune('reviews-vectors', :'model', 'retrieval',
	'SELECT left(text, length(text) / 2), substr(text, length(text) / 2 + 1) FROM review WHERE NOT held AND length(text) >= 8',
	'{"tokenizer": "reviews-words", "word_vectors": true, "epochs": 3, "batch": 512, "learning_rate": 1e-2, "weight_decay": 0, "temperature": 0.05,
	  "max_tokens": 80, "validation": 0.01}');
\echo reviews: masked words
CALL product_llm.pretrain('reviews', 'SELECT text FROM review WHERE NOT held', 'reviews-vectors',
	'{"epochs": 5, "batch": 64, "learning_rate": 1e-3, "mask_rate": 0.2, "validation": 0, "max_tokens": 80}');

\echo reviews: ten categories
CALL product_llm.finetune('reviews-category', 'reviews', 'classification', 'SELECT text, category FROM review WHERE NOT held',
	'{"epochs": 3, "batch": 64, "learning_rate": 5e-4, "max_tokens": 96, "dropout": 0.1, "validation": 0}');
\echo reviews: ten categories from 5,018 labels
CALL product_llm.finetune('reviews-category-5018', 'reviews', 'classification',
	'SELECT text, category FROM (SELECT * FROM review WHERE NOT held ORDER BY hash DESC LIMIT 5018) AS r',
	'{"epochs": 6, "batch": 32, "learning_rate": 5e-4, "max_tokens": 96, "dropout": 0.1, "validation": 0}');
\echo reviews: sentiment, by a model that knows the categories: what is praised differs between them
CALL product_llm.finetune('reviews-sentiment', 'reviews-category', 'classification', 'SELECT text, sentiment FROM review WHERE NOT held',
	'{"epochs": 3, "batch": 64, "learning_rate": 5e-4, "max_tokens": 128, "dropout": 0.1, "validation": 0}');

\echo zh_reviews, rows that no training saw
SELECT t.what, e.metric, round(e.value::numeric, 4) AS value, round(e.low::numeric, 4) AS low, round(e.high::numeric, 4) AS high
FROM (VALUES ('categories', 'reviews-category', 'category'), ('categories, 5,018 labels', 'reviews-category-5018', 'category'),
		('sentiment', 'reviews-sentiment', 'sentiment')) AS t (what, model, label),
	LATERAL product_llm.evaluate(t.model, 'classification', format('SELECT text, %I FROM review WHERE held', t.label)) AS e;
SELECT model, example_rows, steps, date_trunc('second', updated_at - started_at) AS took, round(best_value::numeric, 4) AS best, best_metric
FROM product_llm.training_runs ORDER BY run;
