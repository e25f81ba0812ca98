-- A vocabulary of the shop's own words.

CREATE PROCEDURE train_tokenizer(model text, corpus text, vocabulary int DEFAULT 8192, options jsonb DEFAULT '{}')
	AS 'MODULE_PATHNAME', 'product_llm_train_tokenizer' LANGUAGE C;
COMMENT ON PROCEDURE train_tokenizer(text, text, int, jsonb) IS
	'learn a WordPiece vocabulary from the texts of a query, run with the caller''s rights, and keep it as a model without weights';

CREATE TABLE vocabulary_read (
	model text COLLATE "C" PRIMARY KEY REFERENCES model ON DELETE CASCADE,
	reads text[] NOT NULL,
	reads_more boolean NOT NULL
);
COMMENT ON TABLE vocabulary_read IS 'what the corpus of each vocabulary was read from, for models_that_read(); as training_run has it of other models';
COMMENT ON COLUMN vocabulary_read.model IS 'the tokenizer';
COMMENT ON COLUMN vocabulary_read.reads IS 'tables and views that its query read';
COMMENT ON COLUMN vocabulary_read.reads_more IS 'did it call functions of somebody''s own, which may read others?';
SELECT pg_catalog.pg_extension_config_dump('vocabulary_read', '');
