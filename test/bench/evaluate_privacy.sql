-- What a private training costs: the sentiment of Chinese reviews (zh_reviews), learnt plainly and at epsilon 3.  Run in the folder of
-- shared data, in a database that has the extension and the model :model ("make evaluate-privacy").
--
-- Both learn the same weights of the same rows: the head and the upper half of the layers.  The test rows are those whose text's md5
-- begins with 0; none is trained on, and no figure of theirs chooses anything.

\set ON_ERROR_STOP on
\pset footer off
SET client_min_messages = warning;
\set rows `echo "${PRIVACY_ROWS:-20000}"`

CREATE TEMPORARY TABLE row (category text, sentiment text, text text);
\copy row FROM PROGRAM 'gzip -dc zh_reviews/online_shopping_10_cats.train.csv.gz' WITH (FORMAT csv, HEADER)
CREATE TABLE review AS
	SELECT DISTINCT ON (text) text, sentiment, md5(text) AS hash FROM row WHERE length(text) >= 4 ORDER BY text, sentiment;
CREATE TABLE held AS SELECT text, sentiment FROM review WHERE hash LIKE '0%';
CREATE TABLE lesson AS SELECT text, sentiment FROM review WHERE hash NOT LIKE '0%' ORDER BY hash DESC LIMIT :rows;

CALL product_llm.finetune('plain', :'model', 'classification', 'SELECT text, sentiment FROM lesson',
	'{"epochs": 3, "batch": 64, "learning_rate": 4e-4, "max_tokens": 64, "frozen_layers": 2, "validation": 0}');
CALL product_llm.finetune('private', :'model', 'classification', 'SELECT text, sentiment FROM lesson',
	'{"privacy_epsilon": 3, "privacy_delta": 5e-6, "privacy_clip": 1, "epochs": 5, "batch": 512, "learning_rate": 1e-3, "max_tokens": 64, "frozen_layers": 2,
	  "dropout": 0, "validation": 0}');

\echo sentiment of reviews that no training saw
SELECT m.model, e.metric, round(e.value::numeric, 4) AS value, round(e.low::numeric, 4) AS low, round(e.high::numeric, 4) AS high
FROM (VALUES ('plain'), ('private')) AS m (model), LATERAL product_llm.evaluate(m.model, 'classification', 'SELECT text, sentiment FROM held') AS e;
SELECT m.model, r.steps, r.example_rows, date_trunc('second', r.updated_at - r.started_at) AS took, m.metrics -> 'privacy' AS privacy
FROM product_llm.models AS m JOIN product_llm.training_runs AS r USING (model) ORDER BY m.model;
