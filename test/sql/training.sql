-- Training: each task from a query to a model, its row, its course, and what is refused.
\set golden `echo "${PLM_GOLDEN:-$PWD/test/golden}"`
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT count(product_llm.drop_model(model)) >= 0 AS start_empty FROM product_llm.models;
SELECT product_llm.load_model('tiny', :'golden' || '/models/bert-mean');
CREATE TABLE lesson AS
	SELECT i AS id, c.colour || ' ' || t.thing || ' ' || (i % 7) AS body, t.kind AS label, ARRAY[t.kind, c.colour] AS labels, c.colour, t.thing
	FROM generate_series(1, 240) AS i
	CROSS JOIN LATERAL (SELECT (ARRAY['red', 'blue', 'green'])[i % 3 + 1] AS colour) AS c
	CROSS JOIN LATERAL (SELECT (ARRAY['dress', 'boot', 'camera', 'keyboard'])[i / 3 % 4 + 1] AS thing,
						(ARRAY['wear', 'wear', 'device', 'device'])[i / 3 % 4 + 1] AS kind) AS t;

-- ---- classification ----
CALL product_llm.finetune('kinds', 'tiny', 'classification', 'SELECT body, label FROM lesson',
	'{"epochs": 8, "batch": 16, "learning_rate": 0.003, "validation": 0.2, "dropout": 0}');
SELECT model, architecture, task, parent, labels, metrics ->> 'task' AS learnt, (metrics ->> 'rows')::int + (metrics ->> 'held_out_rows')::int AS rows,
	(metrics #>> '{accuracy,value}')::float8 > 0.9 AS good
FROM product_llm.models WHERE model = 'kinds';
SELECT label, probability > 0.5 AS sure FROM product_llm.classify('kinds', 'blue camera 3') LIMIT 1;
SELECT label, probability > 0.5 AS sure FROM product_llm.classify('kinds', 'red dress') LIMIT 1;
SELECT metric, value > 0.95 AS good, low <= value AND value <= high AS bounded
FROM product_llm.evaluate('kinds', 'classification', 'SELECT body, label FROM lesson');
SELECT model, base, task, step = steps AS whole, state, seed, loss < 0.5 AS learnt, learning_rate < 0.0003 AS at_the_end, eta IS NULL AS no_eta,
	tokens_per_second > 0 AS speed, example_rows + held_out_rows AS rows, error, checkpoint_step, best_metric IS NOT NULL AS best
FROM product_llm.training_runs WHERE model = 'kinds';
SELECT metric, count(*) > 3 AS points, min(step) >= 0 AS steps FROM product_llm.training_metrics
WHERE run = (SELECT run FROM product_llm.training_runs WHERE model = 'kinds') AND metric IN ('training_loss', 'accuracy') GROUP BY 1 ORDER BY 1;
SELECT count(*) AS parts_left FROM product_llm.training_checkpoint;

-- Reproducible from the seed, whatever the order of the rows and the number of threads.
SET product_llm.threads = 1;
CALL product_llm.finetune('again', 'tiny', 'classification', 'SELECT body, label FROM lesson ORDER BY id DESC',
	'{"epochs": 8, "batch": 16, "learning_rate": 0.003, "validation": 0.2, "dropout": 0}');
RESET product_llm.threads;
SELECT count(DISTINCT sha256) AS same_bits FROM product_llm.models WHERE model IN ('kinds', 'again');
CALL product_llm.finetune('otherwise', 'tiny', 'classification', 'SELECT body, label FROM lesson',
	'{"epochs": 8, "batch": 16, "learning_rate": 0.003, "validation": 0.2, "dropout": 0, "seed": 2}');
SELECT count(DISTINCT sha256) AS other_bits FROM product_llm.models WHERE model IN ('kinds', 'otherwise');

-- Several labels.
CALL product_llm.finetune('both', 'tiny', 'classification', 'SELECT body, labels FROM lesson',
	'{"epochs": 12, "batch": 16, "learning_rate": 0.003, "validation_query": "SELECT body, labels FROM lesson WHERE id <= 60"}');
SELECT labels, (metrics ->> 'held_out_rows')::int AS held_out, metrics ? 'micro_f1' AS micro FROM product_llm.models WHERE model = 'both';
SELECT metric, value > 0.9 AS good FROM product_llm.evaluate('both', 'classification', 'SELECT body, labels FROM lesson');

-- ---- the other tasks ----
CALL product_llm.finetune('finder', 'tiny', 'retrieval', 'SELECT DISTINCT thing || '' '' || colour, colour || '' '' || thing FROM lesson',
	'{"epochs": 30, "batch": 12, "learning_rate": 0.002, "validation": 0}');
SELECT task, metrics ->> 'held_out_rows' AS none FROM product_llm.models WHERE model = 'finder';
SELECT metric, value >= low AND value <= high AS bounded,
	value >= (SELECT value FROM product_llm.evaluate('tiny', 'retrieval', 'SELECT DISTINCT thing || '' '' || colour, colour || '' '' || thing FROM lesson') AS b
			  WHERE b.metric = f.metric) AS not_worse_than_base
FROM product_llm.evaluate('finder', 'retrieval', 'SELECT DISTINCT thing || '' '' || colour, colour || '' '' || thing FROM lesson') AS f;

-- Word vectors, from a vocabulary alone: what is learnt without layers holds with them, until they learn too.
CALL product_llm.train_tokenizer('letters', 'SELECT body FROM lesson', 60);
CALL product_llm.finetune('bag', 'letters', 'retrieval', 'SELECT DISTINCT thing || '' '' || colour, colour || '' '' || thing FROM lesson',
	'{"word_vectors": true, "width": 32, "layers": 2, "heads": 2, "ff": 64, "positions": 32, "epochs": 40, "batch": 12, "learning_rate": 0.01,
	  "validation_query": "SELECT DISTINCT thing || '' '' || colour, colour || '' '' || thing FROM lesson"}');
SELECT e.metric, abs(e.value - r.best_value) < 1e-6 AS as_while_training, e.value > 0.99 AS learnt
FROM product_llm.evaluate('bag', 'retrieval', 'SELECT DISTINCT thing || '' '' || colour, colour || '' '' || thing FROM lesson') AS e,
	product_llm.training_runs AS r WHERE r.model = 'bag' AND lower(e.metric) = lower(r.best_metric);

-- A base with another vocabulary: the pieces that both have keep their vectors, the others begin as what they were cut into.
CALL product_llm.finetune('own_words', 'tiny', 'retrieval', 'SELECT body, body FROM lesson', '{"tokenizer": "tiny", "steps": 1, "learning_rate": 1e-9, "validation": 0, "precision": "f32"}');
SELECT max(abs(a - b)) < 1e-5 AS as_before FROM lesson, unnest(product_llm.embed('own_words', body), product_llm.embed('tiny', body)) AS t (a, b);
CALL product_llm.finetune('in_letters', 'tiny', 'retrieval', 'SELECT DISTINCT thing || '' '' || colour, colour || '' '' || thing FROM lesson',
	'{"tokenizer": "letters", "epochs": 80, "batch": 12, "learning_rate": 0.01, "validation": 0}');
SELECT m.parent, m.dimensions, array(SELECT token FROM product_llm.tokenize('in_letters', 'a red boot')) = array(SELECT token FROM product_llm.tokenize('letters', 'a red boot'))
	AS their_pieces, r.options ->> 'tokenizer' AS tokenizer FROM product_llm.models AS m, product_llm.training_runs AS r WHERE m.model = 'in_letters' AND r.model = m.model;
SELECT metric, value > 0.6 AS learnt FROM product_llm.evaluate('in_letters', 'retrieval', 'SELECT DISTINCT thing || '' '' || colour, colour || '' '' || thing FROM lesson');
CALL product_llm.finetune('ranker', 'tiny', 'ranking',
	'SELECT DISTINCT a.colour, b.colour || '' '' || b.thing, CASE WHEN a.colour = b.colour THEN 3 ELSE 0 END FROM lesson AS a, lesson AS b',
	'{"epochs": 40, "batch": 12, "learning_rate": 0.003, "validation": 0}');
SELECT task FROM product_llm.models WHERE model = 'ranker';
SELECT metric, value >= low AND value <= high AS bounded FROM product_llm.evaluate('ranker', 'ranking',
	'SELECT DISTINCT a.colour, b.colour || '' '' || b.thing, CASE WHEN a.colour = b.colour THEN 3 ELSE 0 END FROM lesson AS a, lesson AS b');
CALL product_llm.finetune('alike', 'tiny', 'similarity',
	'SELECT DISTINCT a.thing, b.thing, CASE WHEN a.label = b.label THEN 5 ELSE 0 END FROM lesson AS a, lesson AS b',
	'{"epochs": 60, "batch": 8, "learning_rate": 0.003, "validation": 0}');
SELECT metric, value > 0.5 AS good FROM product_llm.evaluate('alike', 'similarity',
	'SELECT DISTINCT a.thing, b.thing, CASE WHEN a.label = b.label THEN 5 ELSE 0 END FROM lesson AS a, lesson AS b');
CALL product_llm.finetune('pupil', 'tiny', 'distillation', 'SELECT body FROM lesson', '{"teacher": "finder", "epochs": 10, "learning_rate": 0.002}');
SELECT task, metrics ->> 'task' AS learnt FROM product_llm.models WHERE model = 'pupil';
CALL product_llm.pretrain('words', 'SELECT body FROM lesson', NULL,
	'{"tokenizer": "tiny", "width": 32, "layers": 1, "heads": 2, "ff": 64, "positions": 32, "epochs": 3, "batch": 16}');
SELECT architecture, task, parent, dimensions FROM product_llm.models WHERE model = 'words';
SELECT count(*) FROM product_llm.fill_mask('words', 'red [MASK] 3', 3);
CALL product_llm.pretrain('more_words', 'SELECT body FROM lesson', 'words', '{"steps": 5, "batch": 16}');
SELECT parent, dimensions FROM product_llm.models WHERE model = 'more_words';

-- In a transaction block: all or nothing.
BEGIN;
CALL product_llm.finetune('maybe', 'tiny', 'classification', 'SELECT body, label FROM lesson', '{"steps": 3}');
SELECT count(*) FROM product_llm.classify('maybe', 'red dress');
ROLLBACK;
SELECT count(*) AS gone FROM product_llm.models WHERE model = 'maybe';
SELECT count(*) AS gone FROM product_llm.training_runs WHERE model = 'maybe';

-- ---- what is refused, and leaves no model ----
CREATE PROCEDURE refused(examples text, options jsonb DEFAULT '{}', task text DEFAULT 'classification', base text DEFAULT 'tiny')
LANGUAGE plpgsql AS $$
DECLARE
	message text;
	hint text;
BEGIN
	CALL product_llm.finetune('never', base, task, examples, options);
	RAISE WARNING 'was not refused';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	RAISE WARNING '% % -- %', SQLSTATE, regexp_replace(message, '[0-9]{5,}', 'N', 'g'), left(hint, 70);
END $$;
CALL refused('SELECT body, label FROM lesson WHERE false');
CALL refused('SELECT body FROM lesson');
CALL refused('SELECT id, label FROM lesson');
CALL refused('DELETE FROM lesson');
CALL refused('SELECT body, label FROM nowhere');
CALL refused('SELECT body, CASE WHEN id <> 7 THEN label END FROM lesson');
CALL refused('SELECT CASE WHEN id <> 7 THEN body END, label FROM lesson');
CALL refused('SELECT body, ''one'' FROM lesson');
CALL refused('SELECT i::text, i FROM generate_series(1, 1000000) AS i');
CALL refused('SELECT body, labels FROM lesson', '{"multi_label": false}');
CALL refused('SELECT body, label FROM lesson', '{"learning_rate": -1}');
CALL refused('SELECT body, label FROM lesson', '{"learning_rate": 0}');
CALL refused('SELECT body, label FROM lesson', '{"learning_rat": 1}');
CALL refused('SELECT body, label FROM lesson', '{"temperature": 1}');
CALL refused('SELECT body, label FROM lesson', '{"batch": "many"}');
CALL refused('SELECT body, label FROM lesson', '{"batch": 1.5}');
CALL refused('SELECT body, label FROM lesson', '{"schedule": "none"}');
CALL refused('SELECT body, label FROM lesson', '{"max_tokens": 100000}');
CALL refused('SELECT body, label FROM lesson', '[]');
CALL refused('SELECT body, label FROM lesson', '{"memory_limit": "100kB"}');
CALL refused('SELECT body, label FROM lesson', '{"validation_query": "SELECT body, ''other'' FROM lesson"}');
CALL refused('SELECT body, label FROM lesson', '{"background": true}');
CALL refused('SELECT body, label FROM lesson', task => 'guessing');
CALL refused('SELECT body, label FROM lesson', base => 'nothing');
CALL refused('SELECT body, colour, -1 FROM lesson', task => 'ranking');
CALL refused('SELECT body FROM lesson', task => 'distillation');
CALL refused(NULL);
-- Rows.
CALL refused('SELECT body, labels FROM lesson WHERE id < 0', '{"multi_label": true}');
CALL refused('SELECT body, ARRAY[label, NULL] FROM lesson');
CALL refused('SELECT body, '''' FROM lesson');
CALL refused('SELECT body, ''{}''::text[] FROM lesson');
CALL refused('SELECT body, label, id FROM lesson');
CALL refused('SELECT FROM lesson');
CALL refused('SELECT NULL, NULL FROM lesson');
CALL refused('SELECT body, NULL::text FROM lesson', task => 'retrieval');
CALL refused('SELECT body, colour, NULL::int FROM lesson', task => 'ranking');
CALL refused('SELECT body, colour, label FROM lesson', task => 'ranking');
CALL refused('SELECT body, colour, ''NaN''::float8 FROM lesson', task => 'ranking');
CALL refused('SELECT body, colour, -2 FROM lesson', task => 'similarity');
CALL refused('SELECT body, colour, ''infinity''::float8 FROM lesson', task => 'similarity');
CALL refused('SELECT body, colour, 1 FROM lesson', '{"validation_query": "SELECT body, colour, 3 FROM lesson"}', 'similarity');
CALL refused('SELECT body, label FROM lesson', '{"validation_query": "SELECT body FROM lesson"}');
CALL refused('SELECT body, label FROM lesson', '{"validation_query": "SELECT body, label FROM lesson WHERE false"}');
CALL refused('SELECT body, label FROM lesson', '{"validation_query": "DELETE FROM lesson"}');
CALL refused('SELECT body, label FROM lesson', '{"validation_query": "SELECT body, label FROM lesson", "validation": 0.2}');
-- Options.
CALL refused('SELECT body, label FROM lesson', '{"steps": -1}');
CALL refused('SELECT body, label FROM lesson', '{"epochs": 0}');
CALL refused('SELECT body, label FROM lesson', '{"seed": 1e300}');
CALL refused('SELECT body, label FROM lesson', '{"warmup": 2}');
CALL refused('SELECT body, label FROM lesson', '{"learning_rate": "0.1"}');
CALL refused('SELECT body, label FROM lesson', '{"learning_rate": 10, "weight_decay": 1}');
CALL refused('SELECT body, label FROM lesson', '{"frozen_layers": 99}');
CALL refused('SELECT body, label FROM lesson', '{"threads": [1]}');
CALL refused('SELECT body, label FROM lesson', '{"memory_limit": "much"}');
CALL refused('SELECT body, label FROM lesson', '{"class_weights": 1}');
CALL refused('SELECT body, colour FROM lesson', '{"matryoshka": [4096]}', 'retrieval');
CALL refused('SELECT body, colour FROM lesson', '{"matryoshka": [1, 2, 3, 4, 5]}', 'retrieval');
-- Heads and bases: a tokenizer alone teaches nothing, vectors of another width neither.
SELECT product_llm.load_model('distil', :'golden' || '/models/distilbert-mlm');
CALL refused('SELECT body FROM lesson', '{"teacher": "nothing"}', 'distillation');
CALL refused('SELECT body FROM lesson', '{"teacher": "letters"}', 'distillation');
CALL product_llm.pretrain('narrow', 'SELECT body FROM lesson', NULL, '{"tokenizer": "tiny", "width": 16, "layers": 1, "heads": 2, "ff": 16, "steps": 1}');
CALL refused('SELECT body FROM lesson', '{"teacher": "finder"}', 'distillation', 'narrow');
CALL product_llm.pretrain('never', 'SELECT body, body FROM lesson', 'distil');
CALL product_llm.pretrain('never', 'SELECT body FROM lesson', 'words', '{"next_sentence": true}');
CALL product_llm.pretrain('never', 'SELECT body, body FROM lesson', 'words', '{"next_sentence": false}');
CALL product_llm.pretrain('never', 'SELECT body FROM lesson', NULL, '{"tokenizer": "tiny", "width": 30, "heads": 4}');
CALL product_llm.pretrain('never', 'SELECT body FROM lesson', NULL, '{"tokenizer": "tiny", "width": 16384, "heads": 64}');
CALL product_llm.pretrain('never', 'SELECT body FROM lesson', NULL, '{"tokenizer": "nothing"}');
CALL product_llm.pretrain('never', 'SELECT body FROM lesson', 'words', '{"tokenizer": "nothing"}');
SELECT product_llm.load_model('json_words', :'golden' || '/models/bert-json');
CALL product_llm.pretrain('never', 'SELECT body FROM lesson', 'words', '{"tokenizer": "json_words"}');
CALL product_llm.pretrain('never', $$SELECT '' FROM lesson$$, 'words');
CALL refused('SELECT body, label FROM lesson', '{"word_vectors": true}');
CALL refused('SELECT body, colour FROM lesson', '{"word_vectors": true, "lora_rank": 2}', 'retrieval');
-- At once, not after a long time: a million classes, and what the memory does not hold.
SET statement_timeout = '20s';
CALL refused('SELECT ''x'', array_agg(i) FROM generate_series(1, 1000000) AS i');
CALL refused('SELECT body, label FROM lesson', '{"validation_query": "SELECT i::text, i FROM generate_series(1, 1000000) AS i"}');
CALL refused('SELECT i::text, i % 2 FROM generate_series(1, 200000) AS i', '{"memory_limit": "4MB"}');
CALL refused('SELECT body, label FROM lesson', '{"memory_limit": "64kB"}');
\set VERBOSITY sqlstate
CALL product_llm.pretrain('never', 'SELECT body FROM lesson', NULL, '{"tokenizer": "tiny", "width": 4096, "layers": 64, "heads": 64, "ff": 16384}');
SET product_llm.memory_limit = '1MB';
CALL product_llm.finetune('never', 'tiny', 'classification', 'SELECT body, label FROM lesson');
CALL product_llm.pretrain('never', 'SELECT body FROM lesson', 'words');
SELECT * FROM product_llm.evaluate('tiny', 'retrieval', 'SELECT i::text, i::text FROM generate_series(1, 100000) AS i');
RESET product_llm.memory_limit;
\set VERBOSITY terse
SELECT * FROM product_llm.evaluate('kinds', 'classification', 'SELECT i::text, i FROM generate_series(1, 1000000) AS i');
RESET statement_timeout;
SELECT * FROM product_llm.evaluate('tiny', 'similarity', 'SELECT body, colour, ''NaN''::float8 FROM lesson');
SELECT * FROM product_llm.evaluate('tiny', 'ranking', 'SELECT body, colour, 31 FROM lesson');
SELECT * FROM product_llm.evaluate('tiny', 'ranking', 'SELECT body, colour, 0 FROM lesson');
SELECT * FROM product_llm.evaluate('tiny', 'distillation', 'SELECT body FROM lesson');
SELECT * FROM product_llm.evaluate('tiny', 'similarity', 'SELECT body, colour, 1 FROM lesson', '{"samples": 1}');
SELECT * FROM product_llm.evaluate('tiny', 'similarity', 'SELECT body, colour, 1 FROM lesson', '{"sample": 100}');
SELECT metric, value IS NULL AS undefined FROM product_llm.evaluate('tiny', 'similarity', 'SELECT body, colour, 1 FROM lesson', '{"samples": 10}');
-- At the top level a run has a row, which says so; there is nothing else.
CALL product_llm.finetune('never', 'tiny', 'classification', 'SELECT body, label FROM lesson WHERE false');
CALL product_llm.finetune('never', 'tiny', 'classification', 'SELECT body, ''one'' FROM lesson');
CALL product_llm.finetune('never', 'tiny', 'classification', 'SELECT i::text, i FROM generate_series(1, 1000000) AS i');
CALL product_llm.finetune('never', 'tiny', 'classification', 'SELECT body, label FROM lesson', '{"learning_rate": -1}');
CALL product_llm.finetune('never', 'tiny', 'classification', 'SELECT id FROM lesson');
SELECT DISTINCT state, step, checkpoint_step, split_part(error, ' of ', 1) ~ '^[0-9]' AS bytes FROM product_llm.training_runs WHERE model = 'never' ORDER BY 4;
SELECT regexp_replace(error, '[0-9]{5,}', 'N', 'g') AS error FROM product_llm.training_runs WHERE model = 'never' AND error !~ 'bytes' ORDER BY run;
SELECT (SELECT count(*) FROM product_llm.models WHERE model = 'never') AS models, (SELECT count(*) FROM product_llm.model_file WHERE model = 'never') AS files,
	(SELECT count(*) FROM product_llm.training_checkpoint) AS parts, (SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND mode = 'ExclusiveLock') AS locks;
CALL product_llm.finetune('kinds', 'tiny', 'classification', 'SELECT body, label FROM lesson');
CALL product_llm.pretrain('never', 'SELECT body FROM lesson');
CALL product_llm.pretrain('never', 'SELECT body, label, id FROM lesson', 'words');
CALL product_llm.resume_training(-1);
SELECT product_llm.cancel_training(-1);
SELECT * FROM product_llm.evaluate('kinds', 'classification', 'SELECT body, colour FROM lesson');
SELECT * FROM product_llm.evaluate('tiny', 'classification', 'SELECT body, label FROM lesson');
SELECT * FROM product_llm.evaluate('kinds', 'classification', 'SELECT body, label FROM lesson WHERE false');
SELECT count(*) AS none FROM product_llm.models WHERE model = 'never';

-- Texts without tokens are legal texts.
CALL product_llm.finetune('empty', 'tiny', 'classification', $$SELECT '', label FROM lesson$$, '{"steps": 2, "validation": 0}');
SELECT count(*) FROM product_llm.classify('empty', '');
CALL product_llm.finetune('empty_pairs', 'tiny', 'retrieval', $$SELECT '', CASE WHEN id > 5 THEN body ELSE '' END FROM lesson WHERE id < 50$$, '{"steps": 2}');
CALL product_llm.finetune('empty_scores', 'tiny', 'similarity', $$SELECT '', CASE WHEN id > 5 THEN body ELSE '' END, 0 FROM lesson WHERE id < 50$$, '{"steps": 2}');
CALL product_llm.finetune('empty_grades', 'tiny', 'ranking', $$SELECT '', CASE WHEN id > 5 THEN body ELSE '' END, id FROM lesson WHERE id < 50$$, '{"steps": 2}');
CALL product_llm.pretrain('few_words', $$SELECT CASE WHEN id > 5 THEN body ELSE '' END FROM lesson WHERE id < 50$$, 'words', '{"steps": 5, "batch": 2}');
SELECT count(*) FROM product_llm.models WHERE model LIKE 'empty%' OR model = 'few_words';

-- An error while it runs is in the run's row, and leaves nothing else.
CALL product_llm.finetune('never', 'tiny', 'classification', 'SELECT body, CASE WHEN 1 / (id - 50) <= 1 THEN label END FROM lesson');
SELECT state, error, step, checkpoint_step FROM product_llm.training_runs WHERE model = 'never' ORDER BY run DESC LIMIT 1;
SELECT count(*) AS none FROM product_llm.models WHERE model = 'never';

-- ---- rights ----
CREATE ROLE plm_trainer;
CREATE ROLE plm_other;
GRANT SELECT ON lesson TO plm_trainer;
SET ROLE plm_trainer;
CALL product_llm.finetune('mine', 'tiny', 'classification', 'SELECT body, label FROM lesson', '{"steps": 2}');
RESET ROLE;
GRANT EXECUTE ON PROCEDURE product_llm.finetune(text, text, text, text, jsonb) TO plm_trainer;
ALTER TABLE lesson ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON lesson FOR SELECT TO plm_trainer USING (id <= 100);
SET ROLE plm_trainer;
CALL product_llm.finetune('mine', 'tiny', 'classification', 'SELECT body, label FROM public.lesson', '{"steps": 2}');
SELECT model, example_rows + held_out_rows AS rows, owner FROM product_llm.training_runs;
SELECT count(*) > 0 AS course FROM product_llm.training_metrics;
UPDATE product_llm.training_run SET state = 'done';
SET ROLE plm_other;
SELECT count(*) FROM product_llm.training_runs;
SELECT count(*) FROM product_llm.training_metrics;
SELECT product_llm.training_svg((SELECT max(1)));
RESET ROLE;
-- A query that writes by a function is stopped.
CREATE FUNCTION writes() RETURNS text LANGUAGE plpgsql AS $$ BEGIN DELETE FROM lesson; RETURN 'x'; END $$;
CALL refused('SELECT writes(), label FROM lesson');
SELECT count(*) FROM lesson;

-- ---- charts ----
SELECT run AS kinds FROM product_llm.training_runs WHERE model = 'kinds' \gset
SELECT count(*) AS lines, bool_and(length(c) <= 72) AS narrow, count(*) FILTER (WHERE c ~ '[⠁-⣿]') > 5 AS drawn
FROM product_llm.training_chart(:kinds, 72, 12) AS c;
SELECT xml_is_well_formed_document(s) AS well_formed, s LIKE '%<polyline%<polyline%' AS two_series, s NOT LIKE '%script%' AS no_script
FROM product_llm.training_svg(:kinds) AS s;
SELECT product_llm.training_chart(:kinds, 5);

DELETE FROM product_llm.training_run;
SELECT count(*) AS none FROM product_llm.training_metrics;
REVOKE ALL ON PROCEDURE product_llm.finetune(text, text, text, text, jsonb) FROM plm_trainer;
DROP TABLE lesson;
DROP FUNCTION writes();
DROP PROCEDURE refused(text, jsonb, text, text);
DROP ROLE plm_trainer, plm_other;
SELECT count(product_llm.drop_model(model)) > 0 AS dropped FROM product_llm.models WHERE parent IS NOT NULL;
SELECT count(product_llm.drop_model(model)) > 0 AS dropped FROM product_llm.models;
