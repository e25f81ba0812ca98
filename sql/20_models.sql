-- Models come, go and are looked at.

CREATE FUNCTION load_model(model text) RETURNS void
	AS 'MODULE_PATHNAME', 'product_llm_load_model' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION load_model(text) IS 'load the model of that name that is installed with the extension';

CREATE FUNCTION load_model(model text, directory text) RETURNS void
	AS 'MODULE_PATHNAME', 'product_llm_load_model_directory' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION load_model(text, text) IS 'load a Hugging Face directory of the server; needs pg_read_server_files';

CREATE FUNCTION put_model_file(model text, file text, part int, data bytea) RETURNS void
	AS 'MODULE_PATHNAME', 'product_llm_put_model_file' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION put_model_file(text, text, int, bytea) IS
	'send a part, at most 64 MB, of a file of a new model; parts count from 1, the same part again replaces the first';

CREATE FUNCTION install_model(model text) RETURNS void
	AS 'MODULE_PATHNAME', 'product_llm_install_model' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION install_model(text) IS 'check the files that were sent and make the model';

CREATE FUNCTION export_model(model text, directory text) RETURNS void
	AS 'MODULE_PATHNAME', 'product_llm_export_model' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION export_model(text, text) IS
	'write a model''s files, byte for byte, to a new or empty directory of the server; needs pg_write_server_files';

CREATE FUNCTION drop_model(model text) RETURNS void
	AS 'MODULE_PATHNAME', 'product_llm_drop_model' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION drop_model(text) IS 'remove a model, or what was sent of one that was never installed';

CREATE FUNCTION prewarm(model text) RETURNS bigint
	AS 'MODULE_PATHNAME', 'product_llm_prewarm' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 100000;
COMMENT ON FUNCTION prewarm(text) IS 'unpack and map a model now instead of at its first use; returns the bytes mapped';

CREATE FUNCTION quantize_model(model text, base text, "precision" text) RETURNS void
	AS 'MODULE_PATHNAME', 'product_llm_quantize_model' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION quantize_model(text, text, text) IS
	'make a model of precision int8 or bf16 from another one''s files, and measure what that loses';

CREATE FUNCTION model_memory(OUT model text, OUT shared_bytes bigint, OUT resident_bytes bigint, OUT private_bytes bigint)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'product_llm_model_memory' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 10000 ROWS 4;
COMMENT ON FUNCTION model_memory() IS 'memory of the models that this session has mapped, and of the session itself';

CREATE VIEW model_memory AS
	SELECT m.model, m.shared_bytes, m.resident_bytes, m.private_bytes
	FROM product_llm.model_memory() AS m;
COMMENT ON VIEW model_memory IS
	'for each model that this session has mapped: bytes shared with all sessions, how many of them are in memory, bytes of this session alone; the row without a model is the whole session';
