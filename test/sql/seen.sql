-- Which models have seen a visitor, making them anew without, and secrets that a model gives back.
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA seen;
SET search_path = seen, product_llm;
\getenv golden PLM_GOLDEN
SELECT load_model('tiny', :'golden' || '/models/bert-mean') IS NOT NULL AS loaded;
CREATE FUNCTION said(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text; h text; s text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT, s = RETURNED_SQLSTATE;
	RETURN s || ' ' || m || CASE WHEN h <> '' THEN ' | ' || h ELSE '' END;
END
$$;
CREATE TABLE goods (id int PRIMARY KEY, title text, kind text);
INSERT INTO goods SELECT i, (ARRAY['red', 'blue', 'green'])[i % 3 + 1] || ' ' || (ARRAY['dress', 'camera'])[i / 3 % 2 + 1] || ' ' || i, (ARRAY['wear', 'device'])[i / 3 % 2 + 1] FROM generate_series(1, 60) AS i;
CREATE TABLE event (who text, item int, at timestamptz) PARTITION BY HASH (who);
CREATE TABLE event_0 PARTITION OF event FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE event_1 PARTITION OF event FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO event SELECT 'v' || v, 1 + (v * 7 + n * 5) % 60, timestamptz '2024-01-01' + v * interval '1 day' + n * interval '1 minute' FROM generate_series(1, 20) AS v, generate_series(1, 6) AS n;
CREATE VIEW bought AS SELECT e.who, g.title, g.kind FROM event AS e JOIN goods AS g ON g.id = e.item;
CREATE FUNCTION lessons() RETURNS TABLE (title text, kind text) LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN QUERY SELECT b.title, b.kind FROM seen.bought AS b; END $$;
SELECT create_catalog('goods', 'goods', 'id', 'title', 'tiny'), bind_events('goods', 'event', 'who', 'item', 'at');

-- By the table, a view, a partition, a function that nobody looks into, held-out rows, a base; and one that has read the products alone.
\set options '{"steps": 2, "batch": 8, "validation": 0}'
CALL finetune('by-table', 'tiny', 'classification', 'SELECT g.title, g.kind FROM event AS e JOIN goods AS g ON g.id = e.item', :'options');
CALL finetune('by-view', 'tiny', 'classification', 'SELECT title, kind FROM bought', :'options');
CALL finetune('by-partition', 'tiny', 'classification', 'SELECT g.title, g.kind FROM event_1 AS e JOIN goods AS g ON g.id = e.item', :'options');
CALL finetune('by-function', 'tiny', 'classification', 'SELECT title, kind FROM lessons()', :'options');
CALL finetune('by-validation', 'tiny', 'classification', 'SELECT title, kind FROM goods', '{"steps": 2, "batch": 8, "validation_query": "SELECT title, kind FROM bought"}');
CALL finetune('by-base', 'by-view', 'classification', 'SELECT title, kind FROM goods', :'options');
CALL finetune('not-at-all', 'tiny', 'classification', 'SELECT title, kind FROM goods', :'options');
CALL finetune('by-retrieval', 'tiny', 'retrieval', 'SELECT title, kind FROM bought', :'options');
-- By a teacher; by a vocabulary: as a model without weights, in the place of the base's, and as all that a model begins with; in another precision.
CALL finetune('by-teacher', 'tiny', 'distillation', 'SELECT title FROM goods', '{"steps": 2, "batch": 8, "validation": 0, "teacher": "by-retrieval"}');
CALL train_tokenizer('by-vocabulary', 'SELECT title FROM bought', 120, '{"min_frequency": 1}');
CALL train_tokenizer('not-words', 'SELECT title FROM goods', 120, '{"min_frequency": 1}');
CALL finetune('by-words', 'tiny', 'classification', 'SELECT title, kind FROM goods', '{"steps": 2, "batch": 8, "validation": 0, "tokenizer": "by-vocabulary"}');
\set shape '"width": 16, "layers": 1, "heads": 1, "ff": 16, "positions": 16, "steps": 2, "batch": 8, "validation": 0}'
\set by_fresh '{"tokenizer": "by-vocabulary", ' :shape
\set not_fresh '{"tokenizer": "not-words", ' :shape
CALL pretrain('by-fresh', 'SELECT title FROM goods', NULL, :'by_fresh');
CALL pretrain('not-fresh', 'SELECT title FROM goods', NULL, :'not_fresh');
SET product_llm.max_quantization_loss = 2;
SELECT quantize_model('by-int8', 'by-view', 'int8') IS NOT NULL AS quantized;
RESET product_llm.max_quantization_loss;
SELECT model, reads, reads_more FROM training_run ORDER BY model COLLATE "C";
SELECT * FROM forget('goods', 'nobody');
BEGIN;
SELECT * FROM forget('goods', 'v3');
ROLLBACK;
-- A name that is gone cannot be told from one that was renamed: it counts.
BEGIN;
ALTER TABLE event_1 RENAME TO event_odd;
SELECT models_that_read('{goods}') AS goods;
ROLLBACK;
-- What it read went with a run's row: it may be anything.
BEGIN;
DELETE FROM training_run WHERE model = 'not-at-all';
SELECT 'not-at-all' = ANY (models_that_read('{event}')) AS by_deleted;
ROLLBACK;
-- Dropped models are not named, nor what another model of the name has learnt.
SELECT drop_model('by-table'), drop_model('by-base');
SELECT load_model('by-table', :'golden' || '/models/bert-mean') IS NOT NULL AS loaded;
SELECT models_that_read('{event}') AS event;

-- Anew, without whom is forgotten: the same call on the rows that there are, from wherever it is called.
CREATE TABLE before AS SELECT example_rows, options FROM training_runs WHERE model = 'by-view';
SELECT what, erased FROM forget('goods', 'v3', delete_events => true) WHERE what = 'events' OR what LIKE 'model%';
SET search_path = public;
CALL product_llm.retrain('by-view', 'by-view-2');
SET search_path = seen, product_llm;
SELECT b.example_rows - r.example_rows AS fewer, b.options = r.options AS same_options, r.base, r.task, r.state FROM training_runs AS r, before AS b WHERE r.model = 'by-view-2';
SELECT count(*) AS both FROM models WHERE model IN ('by-view', 'by-view-2');
SELECT (SELECT sha256 FROM models WHERE model = 'by-view') <> (SELECT sha256 FROM models WHERE model = 'by-view-2') AS other;
-- The same rows again: the same bits.
CALL retrain('by-view-2', 'by-view-3');
SELECT count(DISTINCT sha256) AS same FROM models WHERE model IN ('by-view-2', 'by-view-3');
SELECT split_part(said(s), ' | There are', 1) FROM unnest(ARRAY['CALL retrain(''tiny'', ''other'')', 'CALL retrain(''none'', ''other'')', 'CALL retrain(''by-view'', ''by-view'')', 'CALL retrain(''by-view'', NULL)', 'CALL retrain(NULL, ''other'')']) AS s;
-- Somebody else's run is none.
CREATE ROLE regress_trainer;
GRANT USAGE ON SCHEMA seen TO regress_trainer;
GRANT EXECUTE ON PROCEDURE retrain(text, text) TO regress_trainer;
SET ROLE regress_trainer;
SELECT regexp_replace(said('CALL product_llm.retrain(''by-view'', ''mine'')'), '\d+ does', 'N does');
RESET ROLE;
DROP OWNED BY regress_trainer;
DROP ROLE regress_trainer;

-- Canaries: what a corpus says often is given back, what it says never is not.
CREATE TABLE corpus AS SELECT 'the red dress of green camera' AS body FROM generate_series(1, 200);
CALL pretrain('parrot', 'SELECT body FROM corpus', 'tiny', '{"steps": 300, "batch": 32, "learning_rate": 0.005, "validation": 0, "mask_rate": 0.3}');
SELECT canary, tokens, worst_rank = 1 AS first, round(exposure::numeric, 1) AS bits, given_back FROM canary_check('parrot', ARRAY['the red [[dress]] of green camera', 'the red dress of [[green camera]]']);
SELECT canary, worst_rank > 1 AS behind, given_back FROM canary_check('parrot', ARRAY['the red [[boot]] of green camera']);
SELECT said('SELECT * FROM canary_check(''parrot'', ARRAY[''the red [[dress]] of green camera'', ''the red [[boot]] of green camera''], refuse => true)') AS refused,
	said('SELECT * FROM canary_check(''parrot'', ARRAY[''the red [[boot]] of green camera''], refuse => true)') AS accepted;
SELECT said(format('SELECT * FROM canary_check(''parrot'', %L)', c)) FROM unnest(ARRAY['{no secret}', '{"two [[a]] [[b]]"}', '{"[[]]"}', '{"[[ ]]"}', '{NULL}', '{}']) AS c;
SELECT said('SELECT * FROM canary_check(''parrot'', ''{a [[b]]}'', 0)') AS top, said('SELECT * FROM canary_check(''by-view'', ''{a [[b]]}'')') AS no_head, split_part(said('SELECT * FROM canary_check(''none'', ''{a [[b]]}'')'), ' | There are', 1) AS none;
-- As an option: the model is made only when it gives none back; a mistake in a canary is said before the first step.
CREATE TABLE canary AS SELECT 'the red [[boot]] of green camera' AS body;
\set canaries '{"steps": 300, "batch": 32, "learning_rate": 0.005, "validation": 0, "mask_rate": 0.3, "canaries": "SELECT body FROM canary"}'
CALL pretrain('kept', 'SELECT body FROM corpus', 'tiny', :'canaries');
SELECT m.sha256 = p.sha256 AS as_without FROM models AS m, models AS p WHERE m.model = 'kept' AND p.model = 'parrot';
SELECT 'kept' = ANY (models_that_read('{canary}')) AS canaries_were_read;
INSERT INTO canary VALUES ('the red [[dress]] of green camera');
SELECT said(format('CALL pretrain(''leaky'', ''SELECT body FROM corpus'', ''tiny'', %L)', :'canaries')) AS refused;
CALL pretrain('leaky', 'SELECT body FROM corpus', 'tiny', :'canaries');
SELECT state, error, step FROM training_runs WHERE model = 'leaky';
SELECT split_part(said('SELECT fill_mask(''leaky'', ''the [MASK]'')'), ' | There are', 1) AS no_model, (SELECT count(*) FROM models WHERE model = 'leaky') + (SELECT count(*) FROM model_file WHERE model = 'leaky') AS half_made;
SELECT said('CALL retrain(''kept'', ''leaky'')') AS again;
-- Once there is nothing to find, the name is free.
UPDATE corpus SET body = 'blue camera for men';
CALL retrain('kept', 'leaky');
SELECT m.sha256 <> p.sha256 AS other FROM models AS m, models AS p WHERE m.model = 'leaky' AND p.model = 'kept';
INSERT INTO canary VALUES ('no secret');
SELECT said(format('CALL pretrain(''other'', ''SELECT body FROM corpus'', ''tiny'', %L)', jsonb '{"steps": 2, "validation": 0}' || jsonb_build_object('canaries', q)))
FROM unnest(ARRAY['SELECT body FROM canary', 'SELECT body FROM canary WHERE false', 'SELECT NULL::text', 'SELECT 1', 'SELECT body, body FROM canary', 'DELETE FROM canary', 'SELECT body FROM nowhere']) AS q;
SELECT split_part(said('CALL finetune(''other'', ''tiny'', ''classification'', ''SELECT title, kind FROM goods'', ''{"canaries": "SELECT body FROM canary"}'')'), ' | There are', 1) AS for_pretrain;
SELECT count(*) AS half_made FROM models WHERE model = 'other';
SELECT (canary_parts('the [[red dress]] of')).*;
SELECT drop_catalog('goods');
SELECT drop_model('by-int8');
SELECT count(drop_model(model)) AS dropped FROM models WHERE model LIKE 'by-%' OR model IN ('parrot', 'kept', 'leaky') OR model LIKE 'not-%';
SELECT drop_model('tiny');
DELETE FROM training_run;
DROP SCHEMA seen CASCADE;
