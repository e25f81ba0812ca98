-- Private training: the model, what it says it has spent, and what is refused.
\set golden `echo "${PLM_GOLDEN:-$PWD/test/golden}"`
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT count(product_llm.drop_model(model)) >= 0 AS start_empty FROM product_llm.models;
SELECT product_llm.load_model('tiny', :'golden' || '/models/bert-mean');
CREATE TABLE secret AS
	SELECT i AS id, (ARRAY['red', 'blue', 'green'])[i % 3 + 1] || ' ' || (ARRAY['dress', 'boot', 'camera', 'keyboard'])[i / 3 % 4 + 1] || ' ' || i AS body,
		(ARRAY['wear', 'wear', 'device', 'device'])[i / 3 % 4 + 1] AS label
	FROM generate_series(1, 600) AS i;

CALL product_llm.finetune('kinds', 'tiny', 'classification', 'SELECT body, label FROM secret',
	'{"privacy_epsilon": 8, "privacy_delta": 0.0001, "privacy_clip": 0.5, "epochs": 20, "batch": 60, "learning_rate": 0.005, "schedule": "constant",
	  "validation": 0.2, "dropout": 0}');
SELECT task, labels, metrics #>> '{privacy,delta}' AS delta, metrics #>> '{privacy,clip}' AS clip,
	(metrics #>> '{privacy,epsilon}')::float8 BETWEEN 7.99 AND 8 AS spent, (metrics #>> '{privacy,noise_multiplier}')::float8 BETWEEN 0.5 AND 3 AS noise,
	abs((metrics #>> '{privacy,sampling_rate}')::float8 - 60 / (metrics ->> 'rows')::float8) < 1e-5 AS rate, (metrics #>> '{accuracy,value}')::float8 > 0.8 AS learnt
FROM product_llm.models WHERE model = 'kinds';
SELECT options ->> 'privacy_epsilon' AS epsilon, options ->> 'privacy_delta' AS delta, options ->> 'privacy_clip' AS clip, state
FROM product_llm.training_runs AS r WHERE model = 'kinds';
SELECT count(*) AS parts_left FROM product_llm.training_checkpoint;

-- The noise follows from no seed: equal arguments give another model.  Defaults are said.
CALL product_llm.finetune('once', 'tiny', 'classification', 'SELECT body, label FROM secret', '{"privacy_epsilon": 1, "steps": 3, "validation": 0}');
CALL product_llm.finetune('twice', 'tiny', 'classification', 'SELECT body, label FROM secret', '{"privacy_epsilon": 1, "steps": 3, "validation": 0}');
SELECT count(DISTINCT sha256) AS other_bits, min(metrics #>> '{privacy,delta}') AS delta, min(metrics #>> '{privacy,clip}') AS clip
FROM product_llm.models WHERE model IN ('once', 'twice');
-- Less epsilon is more noise.
CALL product_llm.finetune('less', 'tiny', 'classification', 'SELECT body, label FROM secret', '{"privacy_epsilon": 0.5, "steps": 3, "validation": 0}');
SELECT array_agg(model ORDER BY (metrics #>> '{privacy,noise_multiplier}')::float8) AS by_noise FROM product_llm.models WHERE model IN ('once', 'less');
-- Others say nothing of it.
CALL product_llm.finetune('plain', 'tiny', 'classification', 'SELECT body, label FROM secret', '{"steps": 3, "validation": 0}');
SELECT metrics ? 'privacy' AS private FROM product_llm.models WHERE model = 'plain';
SELECT options ? 'privacy_epsilon' OR options ? 'privacy_delta' AS private FROM product_llm.training_runs WHERE model = 'plain';
-- Adapters and several labels.
CALL product_llm.finetune('both', 'tiny', 'classification', 'SELECT body, ARRAY[label, split_part(body, '' '', 1)] FROM secret',
	'{"privacy_epsilon": 3, "steps": 5, "lora_rank": 2}');
SELECT labels, (metrics #>> '{privacy,epsilon}')::float8 <= 3 AS spent FROM product_llm.models WHERE model = 'both';

-- Cancelled, and made of what was learnt by then, which has spent less than the budget; what would go on has the key from the checkpoint.
SET statement_timeout = '3s';
CALL product_llm.finetune('part', 'tiny', 'classification', 'SELECT body, label FROM secret',
	'{"privacy_epsilon": 3, "steps": 1000000, "batch": 2, "validation": 0, "checkpoint_every": 0.2}');
RESET statement_timeout;
SELECT run, state, checkpoint_step > 0 AS checkpoint FROM product_llm.training_runs WHERE model = 'part' \gset part_
SELECT :'part_state' AS state, :'part_checkpoint' AS checkpoint;
CALL product_llm.finish_training(:part_run);
SELECT (metrics #>> '{privacy,epsilon}')::float8 < 2.9 AS part_of_it, (metrics ->> 'steps')::int < 1000000 AS part_of_them FROM product_llm.models WHERE model = 'part';

-- Cancelled at its 12th step, and gone on with: from there, with the key that it began with, to the epsilon of one that nobody has stopped.
-- Who has the key can take the noise away again; it is in the checkpoint alone, and nowhere once there is none.
\set options '{"privacy_epsilon": 3, "steps": 40, "batch": 60, "validation": 0, "checkpoint_every": 0}'
CALL product_llm.finetune('whole', 'tiny', 'classification', 'SELECT body, label FROM secret', :'options');
CREATE SEQUENCE stopped;
CREATE FUNCTION stop_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('public.stopped') = 1 THEN PERFORM pg_cancel_backend(pg_backend_pid()); END IF; RETURN NEW; END $$;
CREATE TRIGGER stop_once BEFORE INSERT ON product_llm.training_metrics FOR EACH ROW WHEN (NEW.step = 12) EXECUTE FUNCTION stop_once();
CALL product_llm.finetune('halves', 'tiny', 'classification', 'SELECT body, label FROM secret', :'options');
DROP TRIGGER stop_once ON product_llm.training_metrics;
SELECT run, checkpoint_step FROM product_llm.training_runs WHERE model = 'halves' \gset halves_
SELECT state, step, checkpoint_step BETWEEN 11 AND 12 AS checkpoint, error FROM product_llm.training_runs WHERE run = :halves_run;
CREATE TABLE course AS SELECT m.step, m.value FROM product_llm.training_metrics AS m WHERE m.run = :halves_run AND m.step <= :halves_checkpoint_step;
-- A private state ends with the key, 32 bytes, and a checksum, 8.
SELECT encode(substr(data, length(data) - 39, 32), 'hex') AS key FROM product_llm.training_checkpoint WHERE run = :halves_run ORDER BY part DESC LIMIT 1 \gset
CREATE FUNCTION holds(secret text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	t regclass;
	found_it boolean;
BEGIN
	FOR t IN SELECT c.oid FROM pg_class AS c WHERE c.relnamespace = 'product_llm'::regnamespace AND c.relkind IN ('r', 'v') ORDER BY c.relname COLLATE "C" LOOP
		EXECUTE format('SELECT coalesce(bool_or(strpos(r::text, $1) > 0), false) FROM %s AS r', t) INTO found_it USING secret;
		IF found_it THEN RETURN NEXT t::text; END IF;
	END LOOP;
END $$;
SELECT length(:'key') AS digits, array_agg(h) AS holds FROM holds(:'key') AS h;
CALL product_llm.resume_training(:halves_run);
SELECT r.state, r.step, count(*) AS points, count(*) FILTER (WHERE m.value = c.value) = (SELECT count(*) FROM course) AS went_on, (SELECT count(*) FROM course) >= 11 AS from_there
FROM product_llm.training_runs AS r JOIN product_llm.training_metrics AS m USING (run) LEFT JOIN course AS c ON c.step = m.step WHERE r.run = :halves_run GROUP BY r.state, r.step;
SELECT count(DISTINCT metrics -> 'privacy') AS same, bool_and((metrics #>> '{privacy,epsilon}')::float8 BETWEEN 2.99 AND 3) AS spent, min(metrics ->> 'steps') AS steps
FROM product_llm.models WHERE model IN ('whole', 'halves');
SELECT count(*) AS holds FROM holds(:'key');
DROP TABLE course;
DROP FUNCTION holds, stop_once;
DROP SEQUENCE stopped;

-- ---- what is refused, and leaves no model ----
CREATE PROCEDURE refused_private(options jsonb, task text DEFAULT 'classification', examples text DEFAULT 'SELECT body, label FROM secret')
LANGUAGE plpgsql AS $$
DECLARE
	message text;
	hint text;
BEGIN
	CALL product_llm.finetune('never', 'tiny', task, examples, options);
	RAISE WARNING 'was not refused';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	RAISE WARNING '% % -- %', SQLSTATE, regexp_replace(message, '[0-9]{5,}', 'N', 'g'), left(hint, 70);
END $$;
CALL refused_private('{"privacy_epsilon": 0}');
CALL refused_private('{"privacy_epsilon": -1}');
CALL refused_private('{"privacy_epsilon": 1e300}');
CALL refused_private('{"privacy_epsilon": "NaN"}');
CALL refused_private('{"privacy_epsilon": 1, "privacy_delta": 0}');
CALL refused_private('{"privacy_epsilon": 1, "privacy_delta": 1}');
CALL refused_private('{"privacy_epsilon": 1, "privacy_delta": -0.1}');
CALL refused_private('{"privacy_epsilon": 1, "privacy_delta": 0.01}');
CALL refused_private('{"privacy_epsilon": 1, "privacy_clip": 0}');
CALL refused_private('{"privacy_epsilon": 1, "privacy_clip": -1}');
CALL refused_private('{"privacy_delta": 0.00001}');
CALL refused_private('{"privacy_clip": 1}');
CALL refused_private('{"privacy_epsilon": 0.001, "privacy_delta": 1e-10}');
CALL refused_private('{"privacy_epsilon": 1, "batch": 1000}');
CALL refused_private('{"privacy_epsilon": 1, "class_weights": true}');
CALL refused_private('{"privacy_epsilon": 1, "validation_query": "SELECT body, label FROM secret"}');
CALL refused_private('{"privacy_epsilon": 1, "memory_limit": "100kB"}');
CALL refused_private('{"privacy_epsilon": 1}', 'retrieval');
CALL refused_private('{"privacy_epsilon": 1}', 'distillation', 'SELECT body FROM secret');
CALL product_llm.pretrain('never', 'SELECT body FROM secret', 'tiny', '{"privacy_epsilon": 1}');
SELECT count(*) AS never FROM product_llm.models WHERE model = 'never';
SELECT count(product_llm.drop_model(model)) AS dropped FROM product_llm.models WHERE parent IS NOT NULL;
SELECT product_llm.drop_model('tiny');
DELETE FROM product_llm.training_run;
DROP TABLE secret;
DROP PROCEDURE refused_private;
