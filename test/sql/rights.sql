-- Rights: who may bring and take models, and who may only use them.
\set golden `echo "${PLM_GOLDEN:-$PWD/test/golden}"`
\set VERBOSITY terse
SELECT count(product_llm.drop_model(model)) >= 0 AS start_empty FROM product_llm.models;
SELECT product_llm.load_model('tiny', :'golden' || '/models/bert-mean');
CREATE ROLE plm_user;
CREATE ROLE plm_loader;
GRANT EXECUTE ON FUNCTION product_llm.load_model(text), product_llm.load_model(text, text), product_llm.drop_model(text),
	product_llm.put_model_file(text, text, int, bytea), product_llm.install_model(text), product_llm.export_model(text, text),
	product_llm.quantize_model(text, text, text) TO plm_loader;

-- A user may use models and see which there are, and nothing else.
SET ROLE plm_user;
SELECT array_length(product_llm.embed('tiny', 'red shoes'), 1) > 0 AS may_embed;
SELECT count(*) AS may_look FROM product_llm.models;
SELECT count(*) FROM product_llm.model_file;
SELECT product_llm.load_model('shop-mini');
SELECT product_llm.load_model('x', :'golden' || '/models/bert-mean');
SELECT product_llm.put_model_file('x', 'config.json', 1, '{}');
SELECT product_llm.install_model('x');
SELECT product_llm.export_model('tiny', '/tmp/exported');
SELECT product_llm.drop_model('tiny');
SELECT product_llm.quantize_model('x', 'tiny', 'int8');
DELETE FROM product_llm.model;
INSERT INTO product_llm.model SELECT * FROM product_llm.model;
UPDATE product_llm.model SET sha256 = sha256;
RESET ROLE;

-- A loader may bring models, but files of the server need the server's own roles.
SET ROLE plm_loader;
SELECT product_llm.load_model('x', :'golden' || '/models/bert-mean');
SELECT product_llm.export_model('tiny', '/tmp/exported');
SELECT product_llm.load_model('shop-mini');
SELECT product_llm.drop_model('shop-mini');
DELETE FROM product_llm.model;
RESET ROLE;
GRANT pg_read_server_files TO plm_loader;
SET ROLE plm_loader;
SELECT product_llm.load_model('x', :'golden' || '/models/bert-mean');
SELECT model, owner FROM product_llm.models ORDER BY model;
SELECT product_llm.drop_model('x');
RESET ROLE;

-- Nothing runs with the rights of its definer; nothing is leakproof; everything has a comment.
SELECT p.oid::regprocedure AS definer_or_leakproof FROM pg_proc p WHERE pronamespace = 'product_llm'::regnamespace AND (prosecdef OR proleakproof);
SELECT p.oid::regprocedure AS without_comment FROM pg_proc p
WHERE pronamespace = 'product_llm'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL;
SELECT c.oid::regclass AS without_comment FROM pg_class c
WHERE relnamespace = 'product_llm'::regnamespace AND relkind IN ('r', 'v') AND obj_description(c.oid, 'pg_class') IS NULL;

-- A search path full of traps changes nothing.
CREATE SCHEMA trap;
CREATE FUNCTION trap.embed(text, text) RETURNS real[] LANGUAGE sql AS 'SELECT ARRAY[666]::real[]';
CREATE TABLE trap.model (model text);
CREATE FUNCTION trap.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'trapped' $$;
SET search_path = trap, pg_catalog;
SELECT array_length(product_llm.embed('tiny', 'red shoes'), 1) > 1 AS embeds;
SELECT count(*) FROM product_llm.models;
SELECT product_llm.load_model('shop-mini');
SELECT product_llm.drop_model('shop-mini');
SET search_path = '';
SELECT product_llm.embed('tiny', 'x') IS NOT NULL AS embeds;
RESET search_path;
DROP SCHEMA trap CASCADE;

SELECT product_llm.drop_model('tiny');
REVOKE ALL ON FUNCTION product_llm.load_model(text), product_llm.load_model(text, text), product_llm.drop_model(text),
	product_llm.put_model_file(text, text, int, bytea), product_llm.install_model(text), product_llm.export_model(text, text),
	product_llm.quantize_model(text, text, text) FROM plm_loader;
DROP ROLE plm_user, plm_loader;
