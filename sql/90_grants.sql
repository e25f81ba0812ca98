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
REVOKE EXECUTE ON PROCEDURE train_tokenizer(text, text, int, jsonb) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION model_changed() FROM PUBLIC;
-- Row-level security says whose catalogs one may change.
GRANT SELECT, INSERT, UPDATE, DELETE ON catalog, catalog_statistics, catalog_events, catalog_forgotten, catalog_progress TO PUBLIC;
GRANT SELECT ON catalogs, catalog_tables, refresh_progress, feedback TO PUBLIC;
-- Training makes models; row-level security says whose runs one sees.
REVOKE EXECUTE ON PROCEDURE pretrain(text, text, text, jsonb) FROM PUBLIC;
REVOKE EXECUTE ON PROCEDURE finetune(text, text, text, text, jsonb) FROM PUBLIC;
REVOKE EXECUTE ON PROCEDURE retrain(text, text) FROM PUBLIC;
REVOKE EXECUTE ON PROCEDURE resume_training(int) FROM PUBLIC;
REVOKE EXECUTE ON PROCEDURE finish_training(int) FROM PUBLIC;
GRANT SELECT, DELETE ON training_run TO PUBLIC;
GRANT SELECT ON training_metrics, training_checkpoint, training_runs TO PUBLIC;
-- 80_roles.sql gives these rights, and a user's, by level; who gives them is the extension's owner.
GRANT SELECT ON model_grant TO PUBLIC;
REVOKE EXECUTE ON FUNCTION grant_model(text, name) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION revoke_model(text, name) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION grant_role(name, text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION revoke_role(name, text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION change_rights(name, text, text[]) FROM PUBLIC;
