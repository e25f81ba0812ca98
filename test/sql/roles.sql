-- Three levels of rights, and models that are for some roles only: each role tries what it may and what it may not.
\set golden `echo "${PLM_GOLDEN:-$PWD/test/golden}"`
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT count(product_llm.drop_model(model)) >= 0 AS start_empty FROM product_llm.models;
SELECT product_llm.load_model('tiny', :'golden' || '/models/bert-mean');
CREATE SCHEMA roles;
SET search_path = roles;
CREATE FUNCTION said(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text; h text; s text;
BEGIN
	EXECUTE statement;
	RETURN 'yes';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT, s = RETURNED_SQLSTATE;
	RETURN s || ' ' || m || CASE WHEN h <> '' THEN ' | ' || h ELSE '' END;
END
$$;
CREATE ROLE plm_nobody;
CREATE ROLE plm_user;
CREATE ROLE plm_trainer;
CREATE ROLE plm_administrator;
CREATE ROLE "plm ""odd""";
GRANT USAGE ON SCHEMA roles TO plm_nobody, plm_user, plm_trainer, plm_administrator, "plm ""odd""";

-- Every function is on one level or on none; those on none are the extension owner's, and a trigger's.
SELECT l AS level, count(*) > 100 AS many, string_agg(substring(object, '^product_llm\.(.*)$'), ' ' ORDER BY object) FILTER (WHERE l <> 'user') AS routines
	FROM unnest(ARRAY['user', 'trainer', 'administrator']) AS l, LATERAL product_llm.level_rights(l) WHERE kind = 'ROUTINE' GROUP BY l ORDER BY l;
SELECT p.oid::regprocedure AS on_no_level FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'product_llm'
	WHERE p.oid::regprocedure::text <> ALL (SELECT object FROM unnest(ARRAY['user', 'trainer', 'administrator']) AS l, LATERAL product_llm.level_rights(l) WHERE kind = 'ROUTINE') ORDER BY 1;
SELECT kind, object, string_agg(privilege, ' ' ORDER BY privilege) FROM product_llm.level_rights('user') WHERE kind <> 'ROUTINE' GROUP BY kind, object ORDER BY kind, object;

-- What each may do: before levels are given, with each, and when public has none.
CREATE FUNCTION may() RETURNS TABLE (what text, nobody text, "user" text, trainer text, administrator text) LANGUAGE plpgsql AS $$
DECLARE
	tries text[][] := ARRAY[
		['embed', 'SELECT product_llm.embed(''tiny'', ''red shoes'')'],
		['models', 'SELECT count(*) FROM product_llm.models'],
		['search', 'SELECT * FROM product_llm.search(''none'', ''x'')'],
		['train', 'CALL product_llm.train_tokenizer(''made'', ''SELECT 1'')'],
		['quantize', 'SELECT product_llm.quantize_model(''tiny'', ''tiny'', ''int8'')'],
		['grant model', 'SELECT product_llm.grant_model(''none'', ''public'')'],
		['load', 'SELECT product_llm.load_model(''none'')'],
		['put', 'SELECT product_llm.put_model_file(''made'', ''../x'', 1, '''')'],
		['install', 'SELECT product_llm.install_model(''tiny'')'],
		['export', 'SELECT product_llm.export_model(''none'', ''/none'')'],
		['drop', 'SELECT product_llm.drop_model(''none'')'],
		['grant role', 'SELECT product_llm.grant_role(''plm_user'', ''administrator'')'],
		['revoke role', 'SELECT product_llm.revoke_role(''public'', ''user'')'],
		['write models', 'DELETE FROM product_llm.model'],
		['write grants', 'INSERT INTO product_llm.model_grant VALUES (''tiny'', ''public'')'],
		['read files', 'SELECT count(*) FROM product_llm.model_file']];
	r text;
	answers text[];
BEGIN
	FOR i IN 1 .. array_length(tries, 1) LOOP
		answers := '{}';
		FOREACH r IN ARRAY ARRAY['plm_nobody', 'plm_user', 'plm_trainer', 'plm_administrator'] LOOP
			EXECUTE format('SET LOCAL ROLE %I', r);
			answers := answers || CASE WHEN roles.said(tries[i][2]) ~ '^42501 permission denied for (function|procedure|schema|table|view)' THEN 'no' ELSE 'yes' END;
			RESET ROLE;
		END LOOP;
		RETURN QUERY SELECT tries[i][1], answers[1], answers[2], answers[3], answers[4];
	END LOOP;
END
$$;
SELECT * FROM may();
SELECT product_llm.grant_role('plm_user', 'user'), product_llm.grant_role('plm_trainer', 'trainer'), product_llm.grant_role('plm_administrator', 'administrator');
SELECT * FROM may();
SELECT product_llm.revoke_role('public', 'user');
SELECT * FROM may();
-- A level down, and up again.
SELECT product_llm.revoke_role('plm_administrator', 'trainer'), product_llm.revoke_role('plm_trainer', 'administrator'), product_llm.revoke_role('plm_user', 'user');
SELECT * FROM may();
SELECT product_llm.grant_role('public', 'user'), product_llm.grant_role('plm_trainer', 'trainer'), product_llm.grant_role('plm_administrator', 'administrator');
SELECT * FROM may() WHERE what IN ('embed', 'train', 'drop');
SELECT product_llm.grant_role('plm "odd"', 'trainer');
SELECT has_function_privilege('plm "odd"', 'product_llm.quantize_model(text, text, text)', 'EXECUTE') AS granted;
SELECT product_llm.revoke_role('plm "odd"', 'user');
SELECT said(s) FROM unnest(ARRAY['SELECT product_llm.grant_role(''plm_user'', ''owner'')', 'SELECT product_llm.grant_role(''plm_none'', ''user'')',
	'SELECT product_llm.revoke_role(''plm_user'', NULL)', 'SELECT product_llm.revoke_role(''plm_none'', ''user'')']) AS s;
SET ROLE plm_administrator;
SELECT said('SELECT product_llm.grant_role(''plm_user'', ''administrator'')');
RESET ROLE;
GRANT EXECUTE ON FUNCTION product_llm.grant_role(name, text), product_llm.change_rights(name, text, text[]) TO plm_administrator;
SET ROLE plm_administrator;
SELECT said('SELECT product_llm.grant_role(''plm_user'', ''administrator'')');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION product_llm.grant_role(name, text), product_llm.change_rights(name, text, text[]) FROM plm_administrator;

-- A model for some roles. ----
CREATE ROLE plm_insider;
CREATE ROLE plm_member IN ROLE plm_insider;
CREATE ROLE plm_stranger;
CREATE ROLE plm_owner;
GRANT USAGE, CREATE ON SCHEMA roles TO plm_insider, plm_member, plm_stranger, plm_owner;
SELECT product_llm.grant_role('plm_owner', 'administrator'), product_llm.grant_role('plm_stranger', 'trainer'), product_llm.grant_role('plm_insider', 'trainer');
GRANT pg_read_server_files TO plm_owner;
SET ROLE plm_owner;
SELECT product_llm.load_model('secret', :'golden' || '/models/bert-mean');
SELECT product_llm.load_model('sorter', :'golden' || '/models/bert-classify');
RESET ROLE;
REVOKE pg_read_server_files FROM plm_owner;
SELECT product_llm.revoke_role('plm_owner', 'administrator');
CREATE FUNCTION who(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r text;
	answer text := '';
BEGIN
	FOREACH r IN ARRAY ARRAY['plm_owner', 'plm_insider', 'plm_member', 'plm_stranger'] LOOP
		EXECUTE format('SET LOCAL ROLE %I', r);
		IF roles.said(statement) !~ '^42501' THEN
			answer := concat_ws(' ', nullif(answer, ''), substr(r, 5));
		END IF;
		RESET ROLE;
	END LOOP;
	RETURN answer;
END
$$;
SELECT who('SELECT product_llm.embed(''secret'', ''x'')') AS everybody;
SET ROLE plm_owner;
SELECT product_llm.grant_model('secret', 'plm_insider');
SELECT who('SELECT product_llm.embed(''secret'', ''x'')') AS still_everybody;
SELECT product_llm.revoke_model('secret', 'public'), product_llm.revoke_model('sorter', 'public');
RESET ROLE;
SELECT model, string_agg(role, ' ' ORDER BY role) FROM product_llm.model_grant GROUP BY model ORDER BY model;
SELECT who('SELECT product_llm.embed(''secret'', ''x'')') AS owner_and_insiders;
-- By every function that takes a model.
SELECT s AS statement, who(s) FROM unnest(ARRAY[
	'SELECT * FROM product_llm.tokenize(''secret'', ''x'')', 'SELECT product_llm.count_tokens(''secret'', ''x'')', 'SELECT product_llm.embed(''secret'', ARRAY[''x''])',
	'SELECT product_llm.score(''secret'', ''x'', ''y'')', 'SELECT product_llm.score(''secret'', ''x'', product_llm.embed(''tiny'', ''y''))',
	'SELECT * FROM product_llm.rerank(''secret'', ''x'', ''{y}'')', 'SELECT * FROM product_llm.classify_zero_shot(''secret'', ''x'', ''{y,z}'')',
	'SELECT * FROM product_llm.classify(''sorter'', ''x'')', 'SELECT * FROM product_llm.fill_mask(''secret'', ''[MASK]'')', 'SELECT product_llm.prewarm(''secret'')',
	'SELECT * FROM product_llm.explain_score(''secret'', ''x'', ''y'')', 'SELECT product_llm.explain_html(''secret'', ''x'', ''y'')',
	'SELECT * FROM product_llm.counterfactual(''secret'', ''x'', ''y'', ''z'')', 'SELECT * FROM product_llm.evaluate(''secret'', ''similarity'', ''SELECT 1'')',
	'SET LOCAL product_llm.default_model = ''secret''; SELECT product_llm.embed(''x'')',
	'CREATE TABLE roles.t (x text); SELECT product_llm.create_catalog(''mine'', ''roles.t'', ''x'', ''x'', ''secret''); DROP TABLE roles.t CASCADE']) AS s;
SET ROLE plm_stranger;
SELECT said('SELECT product_llm.embed(''secret'', ''x'')') AS stranger;
SELECT said(s) FROM unnest(ARRAY['SELECT product_llm.quantize_model(''mine'', ''secret'', ''int8'')', 'CALL product_llm.finetune(''mine'', ''secret'', ''similarity'', ''SELECT ''''a'''', ''''b'''', 1'')',
	'CALL product_llm.pretrain(''mine'', ''SELECT ''''a'''''', options => ''{"tokenizer": "secret"}'')',
	'CALL product_llm.finetune(''mine'', ''tiny'', ''distillation'', ''SELECT ''''a b'''''', ''{"teacher": "secret", "validation": 0}'')',
	'SELECT product_llm.grant_model(''secret'', ''plm_stranger'')', 'SELECT product_llm.revoke_model(''secret'', ''plm_insider'')']) AS s;
RESET ROLE;

-- A session that changes its role: call sites that have looked already, plans that are kept, a cursor that is open.
PREPARE kept(text) AS SELECT product_llm.embed('secret', $1) IS NOT NULL AS embeds;
SET ROLE plm_member;
EXECUTE kept('x');
BEGIN;
DECLARE reading CURSOR FOR SELECT product_llm.count_tokens('secret', 'x' || i) > 0 AS counts FROM generate_series(1, 3) AS i;
FETCH reading;
SET ROLE plm_stranger;
FETCH reading;
ROLLBACK;
SET ROLE plm_stranger;
EXECUTE kept('x');
RESET ROLE;
-- Granting and revoking act at once, also where the model is mapped; rolled back, they never were.
SELECT product_llm.grant_model('secret', 'plm_stranger');
SELECT who('SELECT product_llm.embed(''secret'', ''x'')');
BEGIN;
SELECT product_llm.revoke_model('secret', 'plm_stranger'), product_llm.revoke_model('secret', 'plm_insider');
SELECT who('SELECT product_llm.embed(''secret'', ''x'')');
ROLLBACK;
SELECT who('SELECT product_llm.embed(''secret'', ''x'')');
SELECT product_llm.revoke_model('secret', 'plm_stranger');
SELECT who('SELECT product_llm.embed(''secret'', ''x'')');
REVOKE plm_insider FROM plm_member;
SELECT who('SELECT product_llm.embed(''secret'', ''x'')');
GRANT plm_insider TO plm_member;
TRUNCATE product_llm.model_grant;
SELECT who('SELECT product_llm.embed(''secret'', ''x'')') AS truncated;
SELECT product_llm.revoke_model('secret', 'public'), product_llm.revoke_model('sorter', 'public'), product_llm.grant_model('secret', 'plm_insider');
SELECT said(s) FROM unnest(ARRAY['SELECT product_llm.grant_model(''secret'', ''plm_none'')', 'SELECT product_llm.grant_model(''none'', ''plm_insider'')',
	'SELECT product_llm.revoke_model(''secret'', ''plm_owner'')', 'SELECT product_llm.revoke_model(''secret'', ''plm_none'')']) AS s;

-- What is made of a model is for those whom the model is for.
SET ROLE plm_insider;
SELECT product_llm.quantize_model('small', 'secret', 'bf16');
CALL product_llm.finetune('tuned', 'secret', 'similarity', 'SELECT ''a'' || i, ''b'', i % 2 FROM generate_series(1, 8) AS i', '{"steps": 1, "batch": 4, "validation": 0}');
CALL product_llm.finetune('pupil', 'tiny', 'distillation', 'SELECT ''a'' || i FROM generate_series(1, 8) AS i', '{"teacher": "secret", "steps": 1, "batch": 4, "validation": 0}');
RESET ROLE;
SELECT model, string_agg(role, ' ' ORDER BY role) FROM product_llm.model_grant GROUP BY model ORDER BY model;
SELECT m AS model, who(format('SELECT product_llm.embed(%L, ''x'')', m)) FROM unnest(ARRAY['small', 'tuned', 'pupil', 'tiny']) AS m;
-- Of two, for those whom both are for.
SELECT product_llm.revoke_model('tiny', 'public'), product_llm.grant_model('tiny', 'plm_stranger'), product_llm.grant_model('secret', 'plm_stranger');
SET ROLE plm_stranger;
CALL product_llm.finetune('both', 'secret', 'distillation', 'SELECT ''a'' || i FROM generate_series(1, 8) AS i', '{"teacher": "tiny", "steps": 1, "batch": 4, "validation": 0}');
RESET ROLE;
SELECT string_agg(role, ' ' ORDER BY role) AS both FROM product_llm.model_grant WHERE model = 'both';
SELECT product_llm.revoke_model('secret', 'plm_stranger'), product_llm.grant_model('tiny', 'public');

-- A catalog lets those search who may read its products, with its model; the model itself it does not give.
CREATE TABLE goods (id int PRIMARY KEY, title text);
INSERT INTO goods VALUES (1, 'red shoes'), (2, 'blue kettle');
ALTER TABLE goods OWNER TO plm_insider;
SET ROLE plm_insider;
SELECT product_llm.create_catalog('goods', 'goods', 'id', 'title', 'secret');
GRANT SELECT, INSERT ON goods TO plm_stranger;
SET ROLE plm_stranger;
SELECT count(*) FROM product_llm.search('goods', 'shoes', mode => 'semantic');
SELECT count(*) FROM product_llm.similar('goods', '1');
INSERT INTO goods VALUES (3, 'green lamp');
SELECT count(*) FROM product_llm.search('goods', 'lamp', mode => 'semantic');
SELECT said('SELECT product_llm.embed(''secret'', ''x'')');
RESET ROLE;
-- Its owner's right is what counts.
SELECT product_llm.revoke_model('secret', 'plm_insider');
SET ROLE plm_stranger;
SELECT said('SELECT * FROM product_llm.search(''goods'', ''shoes'', mode => ''semantic'')');
SELECT said('INSERT INTO goods VALUES (4, ''black cup'')');
RESET ROLE;
SET ROLE plm_insider;
SELECT said('SELECT * FROM product_llm.search(''goods'', ''shoes'', mode => ''semantic'')');
SELECT product_llm.drop_catalog('goods');
RESET ROLE;
-- A model that goes takes its grants with it; one that comes by that name is new.
SELECT count(product_llm.drop_model(m)) FROM unnest(ARRAY['small', 'tuned', 'both', 'pupil', 'secret', 'sorter']) AS m;
SELECT count(*) AS grants FROM product_llm.model_grant WHERE model <> 'tiny';

SELECT product_llm.drop_model('tiny');
SELECT product_llm.revoke_role(r, 'user') FROM unnest(ARRAY['plm_user', 'plm_trainer', 'plm_administrator', 'plm_insider', 'plm_stranger', 'plm_owner']) AS r;
DROP SCHEMA roles CASCADE;
DELETE FROM product_llm.training_run;
-- No right is left: dropping the roles is not refused.
DROP ROLE plm_nobody, plm_user, plm_trainer, plm_administrator, "plm ""odd""", plm_insider, plm_member, plm_stranger, plm_owner;
