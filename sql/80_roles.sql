-- Who may do what: three levels of rights that a role can be given, and models that are for some roles only.

CREATE FUNCTION grant_model(model text, role name) RETURNS void
	AS 'MODULE_PATHNAME', 'product_llm_grant_model' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION grant_model(text, name) IS 'let a role and its members, or public, use a model';

CREATE FUNCTION revoke_model(model text, role name) RETURNS void
	AS 'MODULE_PATHNAME', 'product_llm_revoke_model' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION revoke_model(text, name) IS 'take back what grant_model gave, or what everybody has: once a model is revoked from public it is for the roles that were granted it';

-- What everybody may do after CREATE EXTENSION is a user's; so a function that 90_grants.sql does not mention needs no entry here, and
-- one that it revokes from PUBLIC is an administrator's until it stands in the trainer's list.
CREATE FUNCTION level_rights(level text) RETURNS TABLE (privilege text, kind text, object text)
	LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	WITH member AS (
		SELECT d.classid, d.objid, i.initprivs
		FROM pg_extension AS e JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
		LEFT JOIN pg_init_privs AS i ON i.classoid = d.classid AND i.objoid = d.objid AND i.objsubid = 0
		WHERE e.extname = 'product_llm'),
	rights AS (
		SELECT 'EXECUTE' AS privilege, 'ROUTINE' AS kind, p.oid::regprocedure::text AS object,
			CASE WHEN m.initprivs IS NULL OR EXISTS (SELECT FROM aclexplode(m.initprivs) AS a WHERE a.grantee = 0) THEN 'user'
				WHEN p.proname IN ('train_tokenizer', 'pretrain', 'finetune', 'retrain', 'resume_training', 'finish_training', 'quantize_model',
					'grant_model', 'revoke_model') THEN 'trainer'
				WHEN p.proname NOT IN ('grant_role', 'revoke_role', 'change_rights') AND p.prorettype <> 'trigger'::regtype THEN 'administrator' END AS level
		FROM member AS m JOIN pg_proc AS p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
		UNION ALL
		SELECT a.privilege_type, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass::text, 'user'
		FROM member AS m JOIN pg_class AS c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid, aclexplode(m.initprivs) AS a WHERE a.grantee = 0
		UNION ALL
		VALUES ('USAGE', 'SCHEMA', 'product_llm', 'user'))
	SELECT r.privilege, r.kind, r.object FROM rights AS r WHERE r.level = level_rights.level ORDER BY 1, 2, 3
	$$;
COMMENT ON FUNCTION level_rights(text) IS 'what a level of rights has beyond the level below';

CREATE FUNCTION level_number(level text) RETURNS int
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	BEGIN
		IF level IS NULL OR level NOT IN ('user', 'trainer', 'administrator') THEN
			RAISE EXCEPTION 'unknown level of rights "%"', level USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Levels are ''user'', ''trainer'' and ''administrator''.';
		END IF;
		RETURN array_position(ARRAY['user', 'trainer', 'administrator'], level);
	END
	$$;
COMMENT ON FUNCTION level_number(text) IS 'place of a level of rights, from 1; each has what those before it have';

-- Rights of extensions' objects are in pg_dump; roles are not made here: they belong to the whole cluster.
CREATE FUNCTION change_rights(role name, command text, levels text[]) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	DECLARE
		grantee text := CASE role WHEN 'public' THEN 'PUBLIC' ELSE quote_ident(role) END;
		rights record;
	BEGIN
		IF NOT EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'product_llm' AND pg_has_role(e.extowner, 'USAGE')) THEN
			RAISE EXCEPTION 'must be owner of extension product_llm' USING ERRCODE = 'insufficient_privilege',
				HINT = 'Rights are given by who created the extension, or a superuser.';
		END IF;
		FOR rights IN
			SELECT r.privilege, r.kind, string_agg(r.object, ', ' ORDER BY r.object) AS objects
			FROM unnest(levels) AS l (level), LATERAL product_llm.level_rights(l.level) AS r GROUP BY r.privilege, r.kind
		LOOP
			EXECUTE format(command, rights.privilege, rights.kind, rights.objects, grantee);
		END LOOP;
	END
	$$;
COMMENT ON FUNCTION change_rights(name, text, text[]) IS 'grant or revoke all rights of some levels';

CREATE FUNCTION grant_role(role name, level text) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT product_llm.change_rights(role, 'GRANT %s ON %s %s TO %s',
		(ARRAY['user', 'trainer', 'administrator'])[1 : product_llm.level_number(level)])
	$$;
COMMENT ON FUNCTION grant_role(name, text) IS 'give an existing role, or public, the rights of a user, a trainer or an administrator, each with those of the levels before it';

CREATE FUNCTION revoke_role(role name, level text) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	AS $$
	SELECT product_llm.change_rights(role, 'REVOKE %s ON %s %s FROM %s',
		(ARRAY['user', 'trainer', 'administrator'])[product_llm.level_number(level) :])
	$$;
COMMENT ON FUNCTION revoke_role(name, text) IS 'take the rights of a level, and of those above it, from a role or from public, which has a user''s at first';
