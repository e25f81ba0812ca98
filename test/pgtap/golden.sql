-- Through SQL, each golden model gives the figures of the independent implementation (test/golden/models/README.md).
BEGIN;
SELECT no_plan();
SET search_path = public, product_llm;
SELECT set_config('test.golden', :'golden', true) IS NOT NULL AS ok \gset

-- Largest difference of two vectors relative to the largest magnitude of the expected one, or to `scale` if that
-- is larger: a value alone may come out near 0 by cancellation.  NULL (other lengths) never passes.
CREATE FUNCTION off(got float8[], expected jsonb, scale float8 DEFAULT 0) RETURNS float8 LANGUAGE sql AS $$
	SELECT CASE WHEN array_length(got, 1) = jsonb_array_length(expected)
		THEN (SELECT max(abs(g - e)) / greatest(max(abs(e)), scale)
			  FROM unnest(got, ARRAY(SELECT x::float8 FROM jsonb_array_elements_text(expected) x)) u(g, e)) END
$$;

CREATE TABLE cases (model text, number int, input text, pair text, kind text, expected jsonb);
DO $$
DECLARE
	folder text := current_setting('test.golden') || '/models';
	name text;
BEGIN
	FOR name IN SELECT d FROM pg_ls_dir(folder) d WHERE d !~ '\.' ORDER BY d LOOP
		PERFORM product_llm.load_model('golden/' || name, folder || '/' || name);
		INSERT INTO cases
		SELECT 'golden/' || name, n, c->>'text', c->>'pair', c->>'kind', c - 'hidden'
		FROM jsonb_array_elements(pg_read_file(folder || '/' || name || '/reference.json')::jsonb)
			 WITH ORDINALITY AS cases(c, n);
	END LOOP;
END $$;
SELECT cmp_ok((SELECT count(*) FROM cases), '>', 100::bigint, 'there are cases');

-- A prompt is not part of what tokenize() shows; every other id is.
SELECT is_empty($$SELECT model, number, input FROM cases
				  WHERE pair IS NULL AND model NOT IN (SELECT model FROM cases WHERE kind = 'query')
						AND ARRAY(SELECT id FROM tokenize(model, input) ORDER BY ordinal)
							<> ARRAY(SELECT x::int FROM jsonb_array_elements_text(expected->'ids') x)$$,
				'tokenize_gives_the_reference_ids');

-- fp32 against double precision: 1e-5 of the largest component.
CREATE TABLE vectors AS
SELECT model, number, off(embed(model, input, kind)::float8[], expected->'embedding') AS off
FROM cases WHERE expected->'embedding' <> 'null';
SELECT cmp_ok((SELECT count(DISTINCT model) FROM vectors), '>', 10::bigint, 'embeddings of many models are compared');
SELECT is_empty('SELECT * FROM vectors WHERE off > 1e-5 OR off IS NULL', 'embed_gives_the_reference_vector');

-- Labels come best first; back in the model's order they are the reference's probabilities.
CREATE TABLE labels AS
SELECT model, number, off(ARRAY(SELECT probability::float8 FROM classify(model, input) ORDER BY probability),
						  (SELECT jsonb_agg(x ORDER BY x::float8) FROM jsonb_array_elements_text(p) x),
						  CASE WHEN expected->'probabilities' <> 'null' THEN 0 ELSE 1 END) AS off
FROM cases, LATERAL (SELECT CASE WHEN expected->'probabilities' <> 'null' THEN expected->'probabilities'
								 ELSE expected->'logits' END AS p) v
WHERE pair IS NULL AND expected->'logits' <> 'null' AND model !~ 'rank';
SELECT cmp_ok((SELECT count(DISTINCT model) FROM labels), '>=', 4::bigint, 'four classifiers are compared');
SELECT is_empty('SELECT * FROM labels WHERE off > 1e-5 OR off IS NULL', 'classify_gives_the_reference_probabilities');

-- A score is one number, so it is compared with the logit's own scale: 1e-5 of at least 1.
CREATE TABLE scores AS
SELECT model, number, score(model, input, pair) AS got, (expected->>'score')::float8 AS wanted
FROM cases WHERE pair IS NOT NULL AND expected->'score' <> 'null' AND model ~ 'rank';
SELECT cmp_ok((SELECT count(DISTINCT model) FROM scores), '>=', 3::bigint, 'three rankers are compared');
SELECT is_empty('SELECT * FROM scores WHERE abs(got - wanted) > 1e-5 * greatest(1, abs(wanted)) OR wanted IS NULL',
				'score_gives_the_reference_score');

-- The five best tokens for the mask and their probabilities.
CREATE TABLE masks AS
SELECT model, number, off(ARRAY(SELECT probability::float8 FROM fill_mask(model, input)), expected->'mlm'->'probabilities') AS off
FROM cases WHERE pair IS NULL AND expected->'mlm' <> 'null';
SELECT cmp_ok((SELECT count(DISTINCT model) FROM masks), '>=', 3::bigint, 'three masked-language models are compared');
SELECT is_empty('SELECT * FROM masks WHERE off > 1e-5 OR off IS NULL', 'fill_mask_gives_the_reference_probabilities');

SELECT * FROM finish();
ROLLBACK;
