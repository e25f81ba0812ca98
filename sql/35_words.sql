-- Words for an index in any language, how near two words are, and conditions that callers give as text.

CREATE FUNCTION segment(input text, kind text DEFAULT 'document') RETURNS text
	AS 'MODULE_PATHNAME', 'product_llm_segment' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 30;
COMMENT ON FUNCTION segment(text, text) IS
	'index terms of a text in any language, divided by spaces, for to_tsvector(); kind ''query'': the terms to look up';

CREATE FUNCTION term_distance(a text, b text, most integer) RETURNS integer
	AS 'MODULE_PATHNAME', 'product_llm_term_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION term_distance(text, text, integer) IS
	'characters to insert, delete, replace or exchange with a neighbour to make b of a; most + 1 when more than most';

CREATE FUNCTION term_grams(term text) RETURNS text[]
	AS 'MODULE_PATHNAME', 'product_llm_term_grams' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION term_grams(text) IS
	'the different trigrams of ^^term$, sorted, for a GIN index';

CREATE FUNCTION filter_condition(source regclass, filter text, filter_args jsonb DEFAULT '{}') RETURNS text
	AS 'MODULE_PATHNAME', 'product_llm_filter_condition' LANGUAGE C STABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION filter_condition(regclass, text, jsonb) IS
	'a condition over the relation''s columns, checked, with its values as literals, for WHERE; true for NULL';

-- ---- English without a stemmer for prose ----

CREATE FUNCTION plurals_init(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'product_llm_plurals_init' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION plurals_init(internal) IS 'makes a dictionary of plurals';
CREATE FUNCTION plurals_lexize(internal, internal, internal, internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'product_llm_plurals_lexize' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION plurals_lexize(internal, internal, internal, internal) IS 'takes the plural ending from an English word';
CREATE TEXT SEARCH TEMPLATE plurals (INIT = plurals_init, LEXIZE = plurals_lexize);
COMMENT ON TEXT SEARCH TEMPLATE plurals IS 'takes plural endings from English words; option StopWords';
CREATE TEXT SEARCH DICTIONARY english_plurals (TEMPLATE = plurals, StopWords = english);
COMMENT ON TEXT SEARCH DICTIONARY english_plurals IS 'takes plural endings from English words and leaves out stop words';
CREATE TEXT SEARCH CONFIGURATION shop_english (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION shop_english
	ALTER MAPPING FOR asciiword, word, numword WITH english_plurals;
COMMENT ON TEXT SEARCH CONFIGURATION shop_english IS
	'English product texts: plurals and stop words, no other stemming, so that gaming is not a game';
