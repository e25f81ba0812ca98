-- A vocabulary of the shop's own words.

CREATE PROCEDURE train_tokenizer(model text, corpus text, vocabulary int DEFAULT 8192, options jsonb DEFAULT '{}')
	AS 'MODULE_PATHNAME', 'product_llm_train_tokenizer' LANGUAGE C;
COMMENT ON PROCEDURE train_tokenizer(text, text, int, jsonb) IS
	'learn a WordPiece vocabulary from the texts of a query, run with the caller''s rights, and keep it as a model without weights';
