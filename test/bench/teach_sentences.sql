-- Teach a model how alike two sentences are: stsb, English and Chinese.  Run in the folder of shared data, in a database that has
-- the extension and the model :model ("make teach").

\set ON_ERROR_STOP on
\pset footer off
SET client_min_messages = warning;

\ir load_stsb.sql

CALL product_llm.finetune('sentences', :'model', 'similarity', 'SELECT a, b, score FROM sentence WHERE part = ''train''',
	'{"epochs": 4, "batch": 32, "learning_rate": 2e-4, "dropout": 0.1, "validation": 0.05}');

\echo stsb, dev part
SELECT s.language, m.model, e.metric, round(e.value::numeric, 4) AS value, round(e.low::numeric, 4) AS low, round(e.high::numeric, 4) AS high
FROM (VALUES ('English'), ('Chinese')) AS s (language), (VALUES (:'model'), ('sentences')) AS m (model),
	LATERAL product_llm.evaluate(m.model, 'similarity',
		format('SELECT a, b, score FROM sentence WHERE part = ''dev'' AND language = %L', s.language)) AS e;
