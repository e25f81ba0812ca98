-- The model store: one row for each model, its files in parts.

CREATE TABLE model (
	model text COLLATE "C" PRIMARY KEY
		CONSTRAINT model_name_is_plain CHECK (octet_length(model) BETWEEN 1 AND 255
			AND model !~ '[[:cntrl:]]' AND model = btrim(model, ' ')),
	architecture text NOT NULL,
	task text NOT NULL,
	precision text NOT NULL,
	dimensions int NOT NULL,
	max_tokens int NOT NULL,
	parameters bigint NOT NULL,
	bytes bigint NOT NULL,
	config jsonb NOT NULL,
	labels text[],
	sha256 bytea NOT NULL CONSTRAINT model_sha256_has_32_bytes CHECK (octet_length(sha256) = 32),
	parent text COLLATE "C",
	files_of text COLLATE "C" NOT NULL,
	metrics jsonb,
	owner name NOT NULL DEFAULT current_user,
	created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE model IS 'the models of this database; a row never changes once it is there';
COMMENT ON COLUMN model.model IS 'name, the first argument of every function';
COMMENT ON COLUMN model.architecture IS 'class that the model''s config.json names; of a tokenizer alone, the tokenizer''s';
COMMENT ON COLUMN model.task IS 'what its head is for: embedding, classification, ranking, masked_lm, or tokenizer for one without weights';
COMMENT ON COLUMN model.precision IS 'of its weights in memory: f32, bf16 or int8';
COMMENT ON COLUMN model.dimensions IS 'length of an embedding; 0 for a tokenizer alone';
COMMENT ON COLUMN model.max_tokens IS 'longest input, special tokens included';
COMMENT ON COLUMN model.parameters IS 'number of weights';
COMMENT ON COLUMN model.bytes IS 'size of its files; of a quantized model, which has none, size in memory';
COMMENT ON COLUMN model.config IS 'its config.json; of a tokenizer alone, its product_llm.json';
COMMENT ON COLUMN model.labels IS 'names of its classes';
COMMENT ON COLUMN model.sha256 IS
	'identity: sha256 over the sha256sum lines of its files by name; of a quantized model, over its base''s and the precision';
COMMENT ON COLUMN model.parent IS 'the model that it was made from';
COMMENT ON COLUMN model.files_of IS 'the model whose files it is made of: itself, or the base of a quantized one';
COMMENT ON COLUMN model.metrics IS 'what was measured when it was made';
COMMENT ON COLUMN model.owner IS 'who made it';
COMMENT ON COLUMN model.created_at IS 'when it was made';

CREATE TABLE model_file (
	model text COLLATE "C" NOT NULL,
	file text COLLATE "C" NOT NULL,
	part int NOT NULL CONSTRAINT model_file_part_counts_up CHECK (part >= 0),
	data bytea NOT NULL,
	owner name NOT NULL DEFAULT current_user,
	PRIMARY KEY (model, file, part)
);
-- Weights do not compress, and slices of what is not compressed can be read by themselves.
ALTER TABLE model_file ALTER COLUMN data SET STORAGE EXTERNAL;
ALTER TABLE model_file ALTER COLUMN data SET STATISTICS 0;
COMMENT ON TABLE model_file IS 'files of models, and of uploads that are not installed yet, in parts';
COMMENT ON COLUMN model_file.model IS 'name of the model';
COMMENT ON COLUMN model_file.file IS 'path within the model''s directory';
COMMENT ON COLUMN model_file.part IS 'number of the part, from 1 without gaps (an upload may count from 0)';
COMMENT ON COLUMN model_file.data IS 'bytes of the part';
COMMENT ON COLUMN model_file.owner IS 'who sent it';

-- Roles by name, as everywhere here: a dump can be restored before they exist, and what names none lets nobody in.
CREATE TABLE model_grant (
	model text COLLATE "C" NOT NULL REFERENCES model ON DELETE CASCADE,
	role name NOT NULL,
	PRIMARY KEY (model, role)
);
COMMENT ON TABLE model_grant IS 'who may use a model: public, or roles and their members; a model without a row may be used by everybody';
COMMENT ON COLUMN model_grant.model IS 'name of the model';
COMMENT ON COLUMN model_grant.role IS 'name of the role, or public';

SELECT pg_catalog.pg_extension_config_dump('model', '');
SELECT pg_catalog.pg_extension_config_dump('model_grant', '');
SELECT pg_catalog.pg_extension_config_dump('model_file', '');

-- Also for changes that come by COPY, logical replication or hand: hence by row, and always.
CREATE FUNCTION model_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'product_llm_model_changed' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION model_changed() IS 'tells every session to look again at the models it has mapped';
CREATE TRIGGER model_changed AFTER INSERT OR UPDATE OR DELETE ON model
	FOR EACH ROW EXECUTE FUNCTION model_changed();
COMMENT ON TRIGGER model_changed ON model IS 'tells every session to look again at the models it has mapped';
CREATE TRIGGER models_truncated AFTER TRUNCATE ON model
	FOR EACH STATEMENT EXECUTE FUNCTION model_changed();
COMMENT ON TRIGGER models_truncated ON model IS 'tells every session to look again at the models it has mapped';
ALTER TABLE model ENABLE ALWAYS TRIGGER model_changed;
ALTER TABLE model ENABLE ALWAYS TRIGGER models_truncated;
CREATE TRIGGER model_grant_changed AFTER INSERT OR UPDATE OR DELETE ON model_grant
	FOR EACH ROW EXECUTE FUNCTION model_changed();
COMMENT ON TRIGGER model_grant_changed ON model_grant IS 'tells every session to look again at who may use the models it has mapped';
CREATE TRIGGER model_grants_truncated AFTER TRUNCATE ON model_grant
	FOR EACH STATEMENT EXECUTE FUNCTION model_changed();
COMMENT ON TRIGGER model_grants_truncated ON model_grant IS 'tells every session to look again at who may use the models it has mapped';
ALTER TABLE model_grant ENABLE ALWAYS TRIGGER model_grant_changed;
ALTER TABLE model_grant ENABLE ALWAYS TRIGGER model_grants_truncated;

-- Names take the default collation, so that they compare with other columns.
CREATE VIEW models AS
	SELECT m.model COLLATE "default" AS model, m.architecture, m.task, m.dimensions, m.max_tokens, m.parameters, m.bytes,
		m.parent COLLATE "default" AS parent, pg_catalog.encode(m.sha256, 'hex') AS sha256, m.metrics, m.created_at,
		m.precision, m.labels, m.owner
	FROM product_llm.model AS m;
COMMENT ON VIEW models IS 'the models of this database';
