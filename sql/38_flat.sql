-- The exact index: vectors in 8 bits side by side, read at the speed of memory; the answer is that of a scan of all rows.

CREATE FUNCTION cosine_distance(a real[], b real[]) RETURNS double precision
	AS 'MODULE_PATHNAME', 'product_llm_cosine_distance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION cosine_distance(real[], real[]) IS 'one minus the cosine of two vectors of the same length';

CREATE OPERATOR <=> (LEFTARG = real[], RIGHTARG = real[], FUNCTION = cosine_distance, COMMUTATOR = <=>);
COMMENT ON OPERATOR <=> (real[], real[]) IS 'cosine distance';

CREATE FUNCTION flat_handler(internal) RETURNS index_am_handler
	AS 'MODULE_PATHNAME', 'product_llm_flat_handler' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION flat_handler(internal) IS 'handler of the index access method product_flat';

CREATE ACCESS METHOD product_flat TYPE INDEX HANDLER flat_handler;
COMMENT ON ACCESS METHOD product_flat IS 'exact index of vectors for ORDER BY embedding <=> vector LIMIT n';

CREATE OPERATOR FAMILY real_cosine_ops USING product_flat;
COMMENT ON OPERATOR FAMILY real_cosine_ops USING product_flat IS 'real[] by cosine distance';

CREATE OPERATOR CLASS real_cosine_ops DEFAULT FOR TYPE real[] USING product_flat FAMILY real_cosine_ops AS
	OPERATOR 1 <=> FOR ORDER BY pg_catalog.float_ops;
COMMENT ON OPERATOR CLASS real_cosine_ops USING product_flat IS 'real[] by cosine distance';
