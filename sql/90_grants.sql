-- Everybody may use models; only those who are told may bring, take or drop them.

GRANT USAGE ON SCHEMA product_llm TO PUBLIC;
GRANT SELECT ON model, models, model_memory TO PUBLIC;

REVOKE EXECUTE ON FUNCTION load_model(text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION load_model(text, text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION put_model_file(text, text, int, bytea) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION install_model(text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION export_model(text, text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION drop_model(text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION quantize_model(text, text, text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION model_changed() FROM PUBLIC;
-- Row-level security says whose catalogs one may change.
GRANT SELECT, INSERT, UPDATE, DELETE ON catalog, catalog_events, catalog_forgotten, catalog_progress TO PUBLIC;
GRANT SELECT ON catalogs, catalog_tables, refresh_progress, feedback TO PUBLIC;
