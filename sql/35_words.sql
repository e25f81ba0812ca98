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
