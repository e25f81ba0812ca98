-- Search: meaning and words.

CREATE FUNCTION search(catalog text, query text, max_results integer DEFAULT 10, filter text DEFAULT NULL,
					   filter_args jsonb DEFAULT '{}', mode text DEFAULT 'hybrid')
	RETURNS TABLE (key text, score real, semantic_rank integer, lexical_rank integer, semantic_score real, lexical_score real)
	AS 'MODULE_PATHNAME', 'product_llm_search' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 10;
COMMENT ON FUNCTION search(text, text, integer, text, jsonb, text) IS
	'products for a query, best first, by meaning and by words (mode hybrid, semantic or lexical); filter is a SQL condition over the source''s columns with :names that filter_args gives values to';

CREATE FUNCTION similar(catalog text, key text, max_results integer DEFAULT 10)
	RETURNS TABLE (key text, score real)
	AS 'MODULE_PATHNAME', 'product_llm_similar' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 1000000 ROWS 10;
COMMENT ON FUNCTION similar(text, text, integer) IS 'products whose texts mean nearly the same as this one''s, nearest first';

CREATE FUNCTION search_facets(catalog text, query text, facets text[], max_values integer DEFAULT 10, filter text DEFAULT NULL,
							  filter_args jsonb DEFAULT '{}', mode text DEFAULT 'lexical', depth integer DEFAULT 1000)
	RETURNS TABLE (facet text, value text, products bigint)
	AS 'MODULE_PATHNAME', 'product_llm_search_facets' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 30;
COMMENT ON FUNCTION search_facets(text, text, text[], integer, text, jsonb, text, integer) IS
	'for columns of the source, their commonest values among the first depth results of a search, with numbers of products';
