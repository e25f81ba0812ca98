-- Text in, numbers out.
--
-- Functions that take a model by name are IMMUTABLE, as to_tsvector(config, document) is: a model's content
-- never changes.  The form that uses the default model is STABLE.

-- ---- tokens ----

CREATE FUNCTION tokenize(model text, input text, truncate boolean DEFAULT true)
	RETURNS TABLE (ordinal integer, id integer, token text, start_at integer, length integer)
	AS 'MODULE_PATHNAME', 'product_llm_tokenize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 300 ROWS 50;
COMMENT ON FUNCTION tokenize(text, text, boolean) IS
	'tokens that the model sees, special tokens included; offsets in characters from 1, NULL for special tokens';

CREATE FUNCTION count_tokens(model text, input text) RETURNS integer
	AS 'MODULE_PATHNAME', 'product_llm_count_tokens' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION count_tokens(text, text) IS
	'number of tokens of a text before truncation, special tokens included';

-- ---- embeddings ----

-- A text's COST makes 50 units of the planner, some half a millisecond: enough for parallel plans and for cheaper conditions to come
-- first, and 2,000 calls before a plan is worth JIT's 50 milliseconds (jit_above_cost), which a table that was never analyzed would
-- else be thought to need for a handful of rows.

CREATE FUNCTION embed_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'product_llm_embed_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION embed_support(internal) IS
	'planner support: a prepared statement that embeds one text and reads no table keeps its plan';

CREATE FUNCTION embed(model text, input text, kind text DEFAULT 'document') RETURNS real[]
	AS 'MODULE_PATHNAME', 'product_llm_embed' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20000
	SUPPORT embed_support;
COMMENT ON FUNCTION embed(text, text, text) IS
	'unit-length embedding of a text; kind ''query'' or ''document'' chooses the prefix that the model prescribes';

CREATE FUNCTION batch_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'product_llm_batch_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION batch_support(internal) IS
	'planner support: rows and cost of a function over an array of texts follow the length of the array';

CREATE FUNCTION embed(model text, inputs text[], kind text DEFAULT 'document') RETURNS SETOF real[]
	AS 'MODULE_PATHNAME', 'product_llm_embed_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 200000 ROWS 100
	SUPPORT batch_support;
COMMENT ON FUNCTION embed(text, text[], text) IS
	'unit-length embeddings of many texts, in the order of unnest(inputs), NULL for NULL; uses product_llm.threads';

CREATE FUNCTION embed(input text) RETURNS real[]
	AS 'MODULE_PATHNAME', 'product_llm_embed_default' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 20000;
COMMENT ON FUNCTION embed(text) IS
	'unit-length embedding of a text by the model that product_llm.default_model names';

CREATE FUNCTION similarity(a real[], b real[]) RETURNS real
	AS 'MODULE_PATHNAME', 'product_llm_similarity' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION similarity(real[], real[]) IS
	'cosine of two vectors of the same length';

CREATE FUNCTION cosines(embedding real[], vectors real[]) RETURNS real[]
	AS 'MODULE_PATHNAME', 'product_llm_cosines' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION cosines(real[], real[]) IS
	'cosines of a unit vector to several, whose numbers follow each other in one array';

CREATE FUNCTION nearness(embedding real[], vectors real[], weights double precision[]) RETURNS double precision
	AS 'MODULE_PATHNAME', 'product_llm_nearness' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION nearness(real[], real[], double precision[]) IS
	'the largest of cosines(embedding, vectors), each multiplied by its weight, or 0';

-- ---- scores ----

CREATE FUNCTION score_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'product_llm_score_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION score_support(internal) IS
	'planner support: score() of a foreign table''s vectors is similarity() to a constant, which postgres_fdw can send';

CREATE FUNCTION score(model text, query text, embedding real[]) RETURNS real
	AS 'MODULE_PATHNAME', 'product_llm_score_embedding' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10
	SUPPORT score_support;
COMMENT ON FUNCTION score(text, text, real[]) IS
	'cosine of the query''s embedding and a stored one; the query is embedded once a statement';

CREATE FUNCTION score(model text, query text, document text) RETURNS real
	AS 'MODULE_PATHNAME', 'product_llm_score_document' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20000;
COMMENT ON FUNCTION score(text, text, text) IS
	'how well a document answers a query: the ranking head''s score if the model has one, else the cosine of the embeddings';

CREATE FUNCTION rerank(model text, query text, documents text[])
	RETURNS TABLE (ordinal integer, score real)
	AS 'MODULE_PATHNAME', 'product_llm_rerank' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 200000 ROWS 100
	SUPPORT batch_support;
COMMENT ON FUNCTION rerank(text, text, text[]) IS
	'documents by score(model, query, document), best first; ordinal is the place in the array from 1; NULL documents come last with a NULL score';

-- ---- labels and masks ----

CREATE FUNCTION classify(model text, input text)
	RETURNS TABLE (label text, probability real)
	AS 'MODULE_PATHNAME', 'product_llm_classify' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20000 ROWS 5;
COMMENT ON FUNCTION classify(text, text) IS
	'labels of the model''s classification head, best first; a regression model gives its value';

CREATE FUNCTION classify_zero_shot(model text, input text, labels text[])
	RETURNS TABLE (label text, probability real)
	AS 'MODULE_PATHNAME', 'product_llm_classify_zero_shot' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20000 ROWS 10;
COMMENT ON FUNCTION classify_zero_shot(text, text, text[]) IS
	'the given labels by likeness to the text, best first: softmax over 20 times the cosine';

CREATE FUNCTION fill_mask(model text, input text, top integer DEFAULT 5)
	RETURNS TABLE (token text, probability real, filled text)
	AS 'MODULE_PATHNAME', 'product_llm_fill_mask' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20000 ROWS 5;
COMMENT ON FUNCTION fill_mask(text, text, integer) IS
	'the likeliest tokens for the [MASK] in a text, and the text with each';
