-- Models: load, upload, install, export, quantize, drop; and what is refused.
\set golden `echo "${PLM_GOLDEN:-$PWD/test/golden}"`
SET search_path = product_llm, public;
\set VERBOSITY terse
SELECT count(drop_model(model)) >= 0 AS start_empty FROM models;

-- The bundled model, by its name alone.
SELECT load_model('shop-mini');
SELECT model, architecture, task, dimensions, max_tokens, parameters, parent, precision, length(sha256) AS sha256_digits, bytes > 12000000 AS bytes
FROM models;
SELECT count(*) AS files, sum(octet_length(data)) = (SELECT bytes FROM models) AS bytes_are_the_files FROM model_file;

-- A directory of the server; the reference files beside the model are not part of it.
SELECT load_model('tiny', :'golden' || '/models/bert-mean');
SELECT file FROM model_file WHERE model = 'tiny' ORDER BY file COLLATE "C";

-- The same files sent by a client give the same model.
\set VERBOSITY default
SELECT put_model_file('sent', file, 1, data) FROM model_file WHERE model = 'tiny' AND file <> 'model.safetensors';
WITH whole AS (SELECT data FROM model_file WHERE model = 'tiny' AND file = 'model.safetensors')
SELECT count(put_model_file('sent', 'model.safetensors', part, substr(data, (part - 1) * 10000 + 1, 10000)))
	= max((octet_length(data) + 9999) / 10000) AS all_parts_sent
FROM whole, generate_series(1, (octet_length(data) + 9999) / 10000) AS part;
SELECT count(*) AS not_there_yet FROM models WHERE model = 'sent';
SELECT install_model('sent');
SELECT (SELECT sha256 FROM models WHERE model = 'sent') = (SELECT sha256 FROM models WHERE model = 'tiny') AS same_sha256,
	embed('sent', 'red shoes') = embed('tiny', 'red shoes') AS same_vector;

-- Export and load again.
SELECT current_setting('data_directory') || '/exported' AS exported \gset
SELECT export_model('sent', :'exported');
SELECT load_model('again', :'exported');
SELECT (SELECT sha256 FROM models WHERE model = 'again') = (SELECT sha256 FROM models WHERE model = 'tiny') AS same_sha256;
SELECT bool_and(pg_read_binary_file(:'golden' || '/models/bert-mean/' || file) = pg_read_binary_file(:'exported' || '/' || file)) AS same_bytes
FROM model_file WHERE model = 'sent' AND part = 1;

-- A model's content never changes.
\set VERBOSITY terse
SELECT load_model('tiny', :'golden' || '/models/bert-cls');
SELECT put_model_file('tiny', 'config.json', 1, '{}');
SELECT install_model('tiny');
\set VERBOSITY sqlstate
SELECT export_model('sent', :'exported');
\set VERBOSITY terse

-- A smaller form is another model, which shares the files of its base.
SELECT quantize_model('seed-int8', 'shop-mini', 'int8'), quantize_model('seed-bf16', 'shop-mini', 'bf16');
SELECT model, parent, precision, dimensions, (metrics ->> 'cosine_min')::float8 BETWEEN CASE precision WHEN 'int8' THEN 0.98 ELSE 0.999 END AND CASE precision WHEN 'int8' THEN 0.999999 ELSE 1.000001 END AS loss_was_measured,
	bytes < (SELECT bytes FROM models WHERE model = 'shop-mini') * 2 AS smaller
FROM models WHERE parent IS NOT NULL ORDER BY model;
SELECT count(*) AS own_files FROM model_file WHERE model LIKE 'seed-%';
SELECT similarity(embed('shop-mini', t), embed('seed-int8', t)) > 0.995 AS int8_is_near,
	similarity(embed('shop-mini', t), embed('seed-bf16', t)) > 0.999 AS bf16_is_nearer,
	embed('shop-mini', t) <> embed('seed-int8', t) AS and_not_the_same
FROM (VALUES ('wireless headphones'), ('无线耳机'), ('')) AS v(t);
SELECT quantize_model('x', 'shop-mini', 'int4');
SELECT quantize_model('x', 'nothing', 'int8');
SELECT quantize_model('shop-mini', 'shop-mini', 'int8');
SET product_llm.max_quantization_loss = 0.0000001;
\set VERBOSITY sqlstate
SELECT quantize_model('x', 'shop-mini', 'int8');
\set VERBOSITY terse
RESET product_llm.max_quantization_loss;
SELECT drop_model('shop-mini');
SELECT drop_model('seed-int8'), drop_model('seed-bf16'), drop_model('shop-mini');

-- Memory: what is mapped stands in the view.
SELECT embed('tiny', 'x') IS NOT NULL AS used;
SELECT model, shared_bytes > 0 AS shared, private_bytes < 1000000 AS little_of_its_own FROM model_memory WHERE model = 'tiny';
SELECT prewarm('tiny') > 0 AS prewarmed;

-- What is refused, and how.
SELECT load_model('no-such-bundled-model');
SELECT load_model('../shop-mini');
SELECT load_model('x', 'relative/path');
SELECT load_model('x', '/no/such/directory');
SELECT load_model('', :'golden' || '/models/bert-mean');
SELECT load_model(repeat('x', 300), :'golden' || '/models/bert-mean');
SELECT load_model(NULL) IS NULL AS null_in_null_out;
SELECT drop_model('nothing');
SELECT prewarm('nothing');
SELECT export_model('nothing', '/tmp/x');
SELECT export_model('tiny', 'relative');
SELECT put_model_file('up', '../../etc/passwd', 1, 'x');
SELECT put_model_file('up', '/etc/passwd', 1, 'x');
SELECT put_model_file('up', E'a\\b.json', 1, 'x');
SELECT put_model_file('up', 'config.json', -1, 'x');
SELECT install_model('never-sent');
SELECT put_model_file('up', 'config.json', 1, '{"model_type": "bert"');
SELECT install_model('up');
SELECT put_model_file('up', 'config.json', 3, '}');
SELECT install_model('up');
SELECT count(*) AS models_left FROM models WHERE model IN ('up', 'x', '');
SELECT drop_model('up');
SELECT count(*) AS parts_left FROM model_file WHERE model = 'up';

-- A transaction that fails leaves nothing.
BEGIN;
SELECT load_model('short-lived', :'golden' || '/models/bert-mean');
SELECT embed('short-lived', 'x') IS NOT NULL AS usable_in_its_transaction;
ROLLBACK;
SELECT embed('short-lived', 'x');
SELECT count(*) FROM model_file WHERE model = 'short-lived';

-- The session works after all of this.
SELECT embed('tiny', 'x') = embed('sent', 'x') AS same;
SELECT drop_model('tiny'), drop_model('sent'), drop_model('again');
SELECT embed('tiny', 'x');
