-- Reasons: contributions of tokens and words add up to the score's difference, for every kind of model; what is shown of them; the
-- words that would have to go; what a recommendation is made of; clear errors.
\set golden `echo "${PLM_GOLDEN:-$PWD/test/golden}"`
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA reasons;
SET search_path = reasons, product_llm, public;
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM product_llm.models WHERE model = 'shop-mini') THEN
		PERFORM product_llm.load_model('shop-mini');
	END IF;
END $$;
SELECT count(load_model('reasons-' || m, :'golden' || '/models/' || m))
FROM unnest(ARRAY['bert-mean', 'bert-cls', 'bert-max', 'bert-concat', 'bert-dense', 'distilbert-mean', 'bert-rank', 'bert-rank-sigmoid',
				  'bert-classify', 'bert-multilabel', 'bert-regression', 'distilbert-classify']) AS m;
CREATE FUNCTION said(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text; h text; s text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT, s = RETURNED_SQLSTATE;
	RETURN s || ' ' || m || CASE WHEN h <> '' THEN ' | ' || h ELSE '' END;
END
$$;

-- Contributions of both sides add up to what is missing without the side, within one hundredth of it, and say how near they come.
-- The largest of each column has kinks on the way, where no rule is quick: there the error may remain, and is told.
CREATE TABLE pair (query text, document text);
INSERT INTO pair VALUES ('wireless headphones', 'Bluetooth headphones with microphone, black'), ('size 42 dress', 'red dress'),
	('耳机', '黑色无线蓝牙耳机 全新正品'), ('a', 'an office chair, which can be turned and moved on five wheels, in grey or black');
CREATE VIEW told AS
	SELECT m.model, p.query, p.document, e.side, sum(e.contribution) AS total, max(e.error) AS error,
		score(m.model, p.query, p.document) - CASE e.side WHEN 'query' THEN score(m.model, '', p.document) ELSE score(m.model, p.query, '') END AS difference
	FROM pair AS p, (VALUES ('shop-mini'), ('reasons-bert-mean'), ('reasons-bert-cls'), ('reasons-bert-max'), ('reasons-bert-concat'), ('reasons-bert-dense'),
		('reasons-distilbert-mean'), ('reasons-bert-rank'), ('reasons-bert-rank-sigmoid')) AS m (model), LATERAL explain_score(m.model, p.query, p.document, truncate => true) AS e
	GROUP BY m.model, p.query, p.document, e.side;
SELECT model, count(*) AS sides, bool_and(abs(total - difference) <= 0.01 * abs(difference) + CASE model WHEN 'reasons-bert-max' THEN 0.005 ELSE 1e-5 END) AS adds_up,
	bool_and(error <= 0.01 OR abs(difference) < 1e-4 OR model = 'reasons-bert-max') AS says_so, bool_and(abs(abs(total - difference) / greatest(abs(difference), 1e-5) - error) < 0.01 OR abs(difference) < 1e-4) AS truly
FROM told GROUP BY model ORDER BY model COLLATE "C";

-- A classifier is asked about one of its labels: tokens of the text add up to its probability over that of the empty text.
SELECT m.model, count(DISTINCT l.label) AS labels, bool_and(e.side = 'query') AS one_side,
	bool_and(abs(e.total - (c.value - n.value)) <= 0.01 * abs(c.value - n.value) + 1e-5) AS adds_up
FROM (VALUES ('reasons-bert-classify'), ('reasons-bert-multilabel'), ('reasons-bert-regression'), ('reasons-distilbert-classify')) AS m (model),
	LATERAL (SELECT label, probability AS value FROM classify(m.model, 'red dress in size 42')) AS c,
	LATERAL (SELECT label, probability AS value FROM classify(m.model, '')) AS n,
	LATERAL (SELECT c.label) AS l,
	LATERAL (SELECT min(side) AS side, sum(contribution) AS total FROM explain_score(m.model, 'red dress in size 42', c.label)) AS e
WHERE n.label = c.label GROUP BY m.model ORDER BY m.model COLLATE "C";

-- Tokens, their places and their order are those of tokenize(); special tokens have no place.
SELECT bool_and(t.token = e.token AND t.start_at IS NOT DISTINCT FROM e.start_at AND t.length IS NOT DISTINCT FROM e.length) AS same, count(*)
FROM pair AS p, LATERAL tokenize('shop-mini', p.document) AS t
	JOIN LATERAL explain_score('shop-mini', p.query, p.document) AS e ON e.side = 'document' AND e.ordinal = t.ordinal;
SELECT side, array_agg(token ORDER BY ordinal) AS tokens, array_agg(start_at ORDER BY ordinal) AS start_at
FROM explain_score('reasons-bert-rank', 'red dress', 'blue dress') GROUP BY side ORDER BY side DESC;

-- Against a masked text; the exact shares of mean pooling are those of the score itself; as many steps as are asked for.
SELECT bool_and(error <= 0.01) AS within, count(*) FROM explain_score('shop-mini', 'wireless headphones', 'Bluetooth headphones', 'mask');
SELECT side, abs(sum(contribution) - score('shop-mini', 'wireless headphones', 'Bluetooth headphones')) < 1e-6 AS exact
FROM explain_score('shop-mini', 'wireless headphones', 'Bluetooth headphones', 'pooling') GROUP BY side ORDER BY side DESC;
-- Attention rollout, a baseline: shares of what the head reads, of any precision, and no error, because they say nothing of the score.
SELECT side, count(*) > 2 AS tokens, min(contribution) > 0 AS positive, abs(sum(contribution) - 1) < 1e-6 AS all_of_it, count(error) AS errors
FROM explain_score('shop-mini', 'wireless headphones', 'Bluetooth headphones', 'attention') GROUP BY side ORDER BY side DESC;
SELECT max(abs(a.contribution - b.contribution)) < 1e-3 AS converged
FROM explain_score('shop-mini', 'cup', 'blue cup with a handle', steps => 16) AS a JOIN explain_score('shop-mini', 'cup', 'blue cup with a handle', steps => 64) AS b USING (side, ordinal);

-- Words hold all that their tokens have; phrases all that their words have; places are those of substr().
SELECT bool_and(w.word = substr(CASE w.side WHEN 'query' THEN 'headphone' ELSE 'Überkopfhörer: noise-cancelling, 蓝牙' END, w.start_at, w.length)) AS places,
	abs(sum(w.contribution) - (SELECT sum(contribution) FROM explain_score('shop-mini', 'headphone', 'Überkopfhörer: noise-cancelling, 蓝牙'))) < 1e-9 AS all_of_it
FROM explain_words('shop-mini', 'headphone', 'Überkopfhörer: noise-cancelling, 蓝牙') AS w;
SELECT side, ordinal, word FROM explain_words('shop-mini', 'headphone', 'Überkopfhörer: noise-cancelling, 蓝牙', phrases => '{NOISE-cancelling,蓝牙}') ORDER BY side DESC, ordinal;

-- What is shown: texts as they are but for markup, escaped; no control sequence of a text's own.
CREATE TABLE shown AS SELECT explain_html('shop-mini', 'a <script>', 'cup & "saucer" <b>blue</b>') AS html;
SELECT html !~ '<script|<b>blue' AS escaped, html ~ 'title="[+-]0\.\d{4}"' AS titles, html !~ '(src|href|class)=' AS self_contained,
	regexp_replace(regexp_replace(html, '<p style="margin:.2em 0;font-size.*', ''), '<[^>]*>', '', 'g') AS text FROM shown;
SELECT explain_html('reasons-bert-classify', 'red dress', label) LIKE '%<b>label</b> ' || label || '%' AS names_label FROM classify('reasons-bert-classify', 'red dress') LIMIT 1;
SELECT regexp_replace(explain_ansi('shop-mini', 'cup', E'cup \x1b[31mblue\x07'), E'\x1b\\[[0-9;]*m', '', 'g') AS text,
	explain_ansi('shop-mini', 'cup', E'cup \x1b[31mblue') LIKE E'%\x1b[38;5;16;48;5;%' AS coloured;
SELECT reason_colour(1), reason_colour(-1), reason_colour(0);

-- The fewest words without which the other document is ahead.
CREATE TABLE swapped AS
	SELECT * FROM counterfactual('shop-mini', 'wireless headphones', 'Bluetooth headphones with microphone, black', 'office chair with wheels, holder for headphones');
SELECT count(*) > 0 AS found, bool_and(score_a < score_b) AS swapped,
	bool_and(document IN ('a', 'b') AND word = substr(CASE document WHEN 'a' THEN 'Bluetooth headphones with microphone, black' ELSE 'office chair with wheels, holder for headphones' END, start_at, length)) AS places
FROM swapped;
-- No word of them need not go.
SELECT bool_and(score('shop-mini', 'wireless headphones', without_words('Bluetooth headphones with microphone, black', a.starts, a.lengths))
				>= score('shop-mini', 'wireless headphones', without_words('office chair with wheels, holder for headphones', b.starts, b.lengths))) AS fewest
FROM swapped AS s, LATERAL (SELECT coalesce(array_agg(t.start_at), '{}') AS starts, coalesce(array_agg(t.length), '{}') AS lengths FROM swapped AS t WHERE t.document = 'a' AND t <> s) AS a,
	LATERAL (SELECT coalesce(array_agg(t.start_at), '{}') AS starts, coalesce(array_agg(t.length), '{}') AS lengths FROM swapped AS t WHERE t.document = 'b' AND t <> s) AS b;
SELECT count(*) > 0 AND bool_and(score_a > score_b) AS other_way
FROM counterfactual('shop-mini', 'wireless headphones', 'office chair with wheels, holder for headphones', 'Bluetooth headphones with microphone, black');
SELECT count(*) > 0 AND bool_and(score_a > score_b) AS ranking
FROM counterfactual('reasons-bert-rank', 'red dress', CASE WHEN score('reasons-bert-rank', 'red dress', 'blue dress in size 42') < score('reasons-bert-rank', 'red dress', 'a cup with a handle') THEN 'blue dress in size 42' ELSE 'a cup with a handle' END,
	CASE WHEN score('reasons-bert-rank', 'red dress', 'blue dress in size 42') < score('reasons-bert-rank', 'red dress', 'a cup with a handle') THEN 'a cup with a handle' ELSE 'blue dress in size 42' END);
SELECT without_words('0123456789', '{9,1,4}', '{2,1,3}'), word_sets(3, 2);

-- Clear errors.
CALL train_tokenizer('reasons-words', 'SELECT document FROM reasons.pair', 60, '{"min_frequency": 1}');
SELECT quantize_model('reasons-int8', 'shop-mini', 'int8') \g /dev/null
SELECT said(s) FROM unnest(ARRAY['SELECT * FROM explain_score(''shop-mini'', '''', ''cup'')', 'SELECT * FROM explain_score(''shop-mini'', ''cup'', ''  '')',
	'SELECT * FROM explain_score(''shop-mini'', ''cup'', repeat(''blue cup '', 100))', 'SELECT * FROM explain_score(''reasons-bert-rank'', ''cup'', repeat(''blue cup '', 100))',
	'SELECT * FROM explain_score(''shop-mini'', ''cup'', repeat(''blue cup '', 100), truncate => true)',
	'SELECT * FROM explain_score(''shop-mini'', ''cup'', ''cup'', ''nothing'')', 'SELECT * FROM explain_score(''shop-mini'', ''cup'', ''cup'', steps => -1)',
	'SELECT * FROM explain_score(''shop-mini'', ''cup'', ''cup'', steps => 257)',
	'SELECT * FROM explain_score(''reasons-words'', ''cup'', ''cup'')', 'SELECT * FROM explain_score(''reasons-int8'', ''cup'', ''cup'')',
	'SELECT * FROM explain_score(''reasons-bert-classify'', ''cup'', ''no such label'')', 'SELECT * FROM explain_score(''reasons-bert-cls'', ''cup'', ''cup'', ''pooling'')',
	'SELECT * FROM explain_score(''reasons-bert-rank'', ''cup'', ''cup'', ''pooling'')', 'SELECT * FROM explain_score(''reasons-bert-classify'', '''', ''clothes'')',
	'SELECT * FROM counterfactual(''shop-mini'', ''cup'', ''cup'', ''cup'')', 'SELECT * FROM counterfactual(''shop-mini'', ''cup'', '''', ''cup'')']) AS s;
SET product_llm.memory_limit = '1MB';
SELECT said('SELECT * FROM explain_score(''shop-mini'', ''cup'', ''cup'')') ~ '^54000 .*memory_limit' AS within_the_limit;
RESET product_llm.memory_limit;
SELECT count(*) FROM explain_score('shop-mini', NULL, 'cup');

-- Recommendations: the parts are the score of recommend(), and name the visitor's own products.
CREATE TABLE goods (sku text PRIMARY KEY, title text, hidden boolean);
INSERT INTO goods SELECT 'p' || i, (ARRAY['red', 'blue', 'green', 'black'])[1 + i % 4] || ' ' || (ARRAY['cup', 'shoe', 'lamp', 'chair'])[1 + i / 4 % 4] || ' ' || i, i % 5 = 0 FROM generate_series(1, 60) AS i;
CREATE TABLE event (who text, item text, at timestamptz);
CREATE INDEX ON event (who);
INSERT INTO event SELECT 'v' || v, 'p' || 1 + (v * 7 + n * 5) % 40, timestamptz '2024-01-01' + v * interval '1 day' + n * interval '1 hour' FROM generate_series(1, 30) AS v, generate_series(1, 2 + v % 5) AS n;
SELECT create_catalog('reasons', 'goods', 'sku', 'title', 'shop-mini');
SELECT bind_events('reasons', 'event', 'who', 'item', 'at');
SELECT count(*) > 200 AS many, bool_and(abs(e.total - r.score) < 1e-5) AS adds_up, bool_and(e.own) AS own_products, count(DISTINCT e.parts) > 1 AND bool_or(cardinality(e.parts) = 3) AS parts
FROM generate_series(1, 30) AS v, LATERAL recommend('reasons', 'v' || v, 10) AS r,
	LATERAL (SELECT sum(amount) AS total, array_agg(DISTINCT part ORDER BY part) AS parts,
				bool_and(item IS NULL OR item IN (SELECT item FROM event AS x WHERE x.who = 'v' || v)) AND bool_or(item = r.because[1] OR r.because = '{}') AS own
			 FROM explain_recommendation('reasons', 'v' || v, r.key)) AS e;
SELECT said(s) FROM unnest(ARRAY['SELECT * FROM explain_recommendation(''reasons'', ''nobody'', ''p1'')', 'SELECT * FROM explain_recommendation(''reasons'', ''v1'', ''no such product'')',
	format('SELECT * FROM explain_recommendation(''reasons'', ''v1'', %L)', (SELECT item FROM event WHERE who = 'v1' LIMIT 1)), 'SELECT * FROM explain_recommendation(''none'', ''v1'', ''p1'')']) AS s;

-- What has just happened counts, by whatever clock it was written; what has not happened yet does not, and is said not to.
BEGIN;
SELECT pg_sleep(0.01);
INSERT INTO event VALUES ('new', 'p3', clock_timestamp());
SELECT count(*) > 0 AS explained FROM recommend('reasons', 'new', 1) AS r, LATERAL explain_recommendation('reasons', 'new', r.key) AS e WHERE e.item = 'p3' AND r.because = '{p3}';
UPDATE event SET at = now() + interval '1 day' WHERE who = 'new';
SELECT r.source, r.because FROM recommend('reasons', 'new', 1) AS r;
SELECT said('SELECT * FROM explain_recommendation(''reasons'', ''new'', ''p1'')');
ROLLBACK;

-- Whoever does not see a product is told of it neither as what is recommended nor as what is behind it.
CREATE ROLE reasons_clerk;
GRANT USAGE ON SCHEMA reasons TO reasons_clerk;
GRANT SELECT ON goods, event TO reasons_clerk;
ALTER TABLE goods ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON goods TO reasons_clerk USING (NOT hidden);
SET ROLE reasons_clerk;
SELECT count(*) > 100 AS many, bool_and(abs(e.total - r.score) < 1e-5) AS adds_up, bool_and(e.seen) AS nothing_hidden
FROM generate_series(1, 30) AS v, LATERAL recommend('reasons', 'v' || v, 10) AS r,
	LATERAL (SELECT sum(amount) AS total, bool_and(item IS NULL OR item IN (SELECT sku FROM goods)) AS seen FROM explain_recommendation('reasons', 'v' || v, r.key)) AS e;
SELECT said('SELECT * FROM explain_recommendation(''reasons'', ''v1'', ''p30'')'), said('SELECT * FROM explain_recommendation(''reasons'', ''v1'', ''p999'')');
RESET ROLE;
REVOKE SELECT ON event FROM reasons_clerk;
SET ROLE reasons_clerk;
SELECT said('SELECT * FROM explain_recommendation(''reasons'', ''v1'', ''p1'')');
RESET ROLE;

SELECT drop_catalog('reasons');
SELECT count(drop_model(model)) FROM models WHERE model LIKE 'reasons-%';
SET client_min_messages = error;
DROP SCHEMA reasons CASCADE;
DROP ROLE reasons_clerk;
