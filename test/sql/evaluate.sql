-- Figures of search and recommendations are what their definitions say, and tuning keeps what helps.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA evaluated;
SET search_path = evaluated, product_llm;
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM product_llm.models WHERE model = 'shop-mini') THEN
		PERFORM product_llm.load_model('shop-mini');
	END IF;
END $$;

-- 400 products of three words each from 75; 120 visitors who go through a few shelves of 20.
CREATE TABLE goods (id integer PRIMARY KEY, title text NOT NULL, description text NOT NULL);
CREATE FUNCTION word(i integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT ('{red,blue,green,black,white,small,large,long,short,warm,cold,soft,hard,light,heavy}'::text[])[1 + i % 15] ||
		('{cup,shoe,lamp,chair,table}'::text[])[1 + i / 15 % 5]
$$;
INSERT INTO goods
	SELECT i, word(i % 75) || ' ' || word((i * 7 + 3) % 75) || ' ' || word((i * 11 + 5) % 75), 'item for ' || word((i * 13) % 75)
	FROM generate_series(1, 400) AS i;
SELECT create_catalog('goods', 'goods', 'id', 'concat_ws('' '', title, description)', 'shop-mini', title => 'title', language => 'english');
CREATE TABLE event (who text, item integer, at timestamptz);
INSERT INTO event
	SELECT 'v' || v, 20 * (v % 6) + 1 + (v * 7 + n * (1 + v % 3) * 3) % 20, timestamptz '2024-01-01' + v * interval '1 day' + n * interval '1 minute'
	FROM generate_series(1, 120) AS v, generate_series(1, 3 + v % 5) AS n;
SELECT bind_events('goods', 'event', 'who', 'item', 'at');
CREATE TABLE judgment (query text, id integer, grade numeric);
INSERT INTO judgment
	SELECT q.query, g.id, 1 + (g.title LIKE q.query || '%')::int + (g.id % 2)
	FROM (SELECT word(i) AS query FROM generate_series(0, 74) AS i) AS q JOIN goods AS g ON g.title LIKE '%' || q.query || '%'
	WHERE g.id % 3 <> 0;

-- Search ----
CREATE TABLE figure AS SELECT row_number() OVER () AS n, * FROM evaluate_search('goods', 'SELECT * FROM judgment;');
SELECT DISTINCT system, min(n) OVER (PARTITION BY system) AS first FROM figure ORDER BY first;
SELECT metric, count(*) FROM figure GROUP BY metric ORDER BY metric COLLATE "C";
SELECT bool_and(value BETWEEN 0 AND 1) AS shares, bool_and(value BETWEEN low - 1e-9 AND high + 1e-9) AS enclosed,
	bool_and((difference IS NULL) = (system = 'hybrid')) AS first_has_no_difference,
	bool_and(difference BETWEEN difference_low - 1e-9 AND difference_high + 1e-9) AS differences_enclosed
FROM figure;
SELECT bool_and(abs(f.difference - (h.value - f.value)) < 1e-9) AS difference_is_that_of_the_means
FROM figure AS f JOIN figure AS h ON h.metric = f.metric AND h.system = 'hybrid' WHERE f.system <> 'hybrid';

-- The same by SQL from what the systems return.
CREATE FUNCTION listed(system text, query text) RETURNS TABLE (key text, n bigint) LANGUAGE plpgsql AS $$
BEGIN
	IF system IN ('hybrid', 'semantic', 'lexical') THEN
		RETURN QUERY SELECT s.key, row_number() OVER () FROM search('goods', query, 10, mode => system) AS s;
	ELSIF system = 'full_text' THEN
		RETURN QUERY SELECT g.id::text, row_number() OVER (ORDER BY ts_rank_cd(w, q) DESC, g.id::text COLLATE "C")
			FROM goods AS g, websearch_to_tsquery('english', query) AS q,
				LATERAL (SELECT setweight(to_tsvector('english', title), 'A') || setweight(to_tsvector('english', concat_ws(' ', title, description)), 'B') AS w) AS v
			WHERE w @@ q ORDER BY 2 LIMIT 10;
	ELSE
		RETURN QUERY
			WITH token AS (SELECT g.id, t FROM goods AS g, regexp_split_to_table(lower(g.title || ' ' || g.description), '\W+') AS t),
			length AS (SELECT id, count(*) AS n, avg(count(*)) OVER () AS mean FROM token GROUP BY id),
			tf AS (SELECT id, count(*) AS n, count(*) OVER () AS df FROM token WHERE t = lower(query) GROUP BY id)
			SELECT tf.id::text, row_number() OVER (ORDER BY (ln(1 + (400 - df + 0.5) / (df + 0.5)) * tf.n * 2.2
				/ (tf.n + 1.2 * (0.25 + 0.75 * l.n / l.mean)))::real DESC, tf.id::text COLLATE "C")
			FROM tf JOIN length AS l USING (id) ORDER BY 2 LIMIT 10;
	END IF;
END
$$;
SELECT f.system, bool_and(abs(f.value - e.value) < 1e-5) AS as_defined
FROM figure AS f
JOIN LATERAL (
	SELECT avg(d.ndcg) AS ndcg, avg(d.judged) AS judged, avg(d.recall) AS recall, avg(d.mrr) AS mrr
	FROM (SELECT DISTINCT query FROM judgment) AS q
	CROSS JOIN LATERAL (
		SELECT coalesce(sum((2 ^ j.grade - 1) / log(2::numeric, l.n + 1)), 0) / (SELECT sum((2 ^ i.grade - 1) / log(2::numeric, i.n + 1))
				FROM (SELECT grade, row_number() OVER (ORDER BY grade DESC) AS n FROM judgment AS b WHERE b.query = q.query ORDER BY 1 DESC LIMIT 10) AS i) AS ndcg,
			count(j.grade) / 10.0 AS judged, count(*) FILTER (WHERE j.grade > 0) / (SELECT count(*)::numeric FROM judgment AS b WHERE b.query = q.query) AS recall,
			coalesce(1.0 / min(l.n) FILTER (WHERE j.grade > 0), 0) AS mrr
		FROM listed(f.system, q.query) AS l LEFT JOIN judgment AS j ON j.query = q.query AND j.id::text = l.key) AS d) AS m ON true
CROSS JOIN LATERAL (VALUES ('nDCG@10', m.ndcg), ('judged@10', m.judged), ('recall@10', m.recall), ('MRR@10', m.mrr)) AS e (metric, value)
WHERE e.metric = f.metric AND f.system IN ('hybrid', 'semantic', 'lexical', 'full_text', 'bm25')
GROUP BY f.system ORDER BY f.system;
-- Once more, the same to the last bit; other depth, other metrics' names.
SELECT count(*) FROM (SELECT system, metric, value, low, high, difference_low FROM figure
	EXCEPT SELECT system, metric, value, low, high, difference_low FROM evaluate_search('goods', 'SELECT * FROM judgment')) AS changed;
SELECT string_agg(metric, ' ') FROM evaluate_search('goods', 'TABLE judgment -- all', 3, 10) WHERE system = 'hybrid';
-- The better of two grades; queries without a relevant product do not count.
SELECT value FROM evaluate_search('goods', $$ SELECT s.key, s.key, g FROM search('goods', 'redcup', 1) AS s, (VALUES (0), (2)) AS v (g) $$, 1)
WHERE system = 'random' AND metric = 'judged@1' AND value > 1;
SELECT count(*) FROM evaluate_search('goods', $$ SELECT 'redcup', 1, 1 UNION ALL SELECT 'nothing', 2, 0 $$) WHERE metric = 'MRR@10' AND value > 1;

-- What judgments must be.
SELECT evaluate_search('goods', 'DELETE FROM judgment');
SELECT evaluate_search('goods', 'SELECT 1, 2, 3; DROP TABLE judgment');
SELECT evaluate_search('goods', 'SELECT 1, 2, 3) AS j; DROP TABLE judgment; SELECT * FROM (SELECT 1');
SELECT evaluate_search('goods', 'WITH d AS (DELETE FROM judgment RETURNING *) SELECT * FROM d');
SELECT evaluate_search('goods', '');
SELECT evaluate_search('goods', 'SELECT query, id FROM judgment');
SELECT evaluate_search('goods', 'SELECT query, id, ''good'' FROM judgment');
SELECT evaluate_search('goods', 'SELECT query, NULL, grade FROM judgment');
SELECT evaluate_search('goods', 'SELECT query, id, -1 FROM judgment LIMIT 1');
SELECT evaluate_search('goods', 'SELECT query, id, ''NaN'' FROM judgment LIMIT 1');
SELECT evaluate_search('goods', 'SELECT query, id, 0 FROM judgment');
SELECT evaluate_search('goods', 'SELECT query, id, 1 FROM judgment', 0);
SELECT evaluate_search('goods', 'SELECT query, id, 1 FROM judgment', 10, 0);
SELECT evaluate_search('none', 'SELECT query, id, 1 FROM judgment');
SELECT count(*) > 0 AS nothing_was_deleted FROM judgment;

-- Recommendations ----
CREATE TABLE item_figure AS SELECT row_number() OVER () AS n, * FROM evaluate_recommendations('goods');
SELECT DISTINCT system, min(n) OVER (PARTITION BY system) AS first FROM item_figure ORDER BY first;
SELECT metric, count(*), count(low) AS bounds FROM item_figure GROUP BY metric ORDER BY metric COLLATE "C";
SELECT bool_and(value BETWEEN low - 1e-9 AND high + 1e-9 OR low IS NULL) AS enclosed,
	bool_and(difference BETWEEN difference_low - 1e-9 AND difference_high + 1e-9 OR difference_low IS NULL) AS differences_enclosed FROM item_figure;

-- The blend is recommend() in a shop where nobody has come to the last product yet.
CREATE TABLE ordered AS
	SELECT who, item, at, rank() OVER (PARTITION BY who ORDER BY at DESC) AS back
	FROM (SELECT who, item, min(at) AS at FROM event GROUP BY who, item) AS f;
CREATE TABLE earlier AS
	SELECT e.* FROM event AS e JOIN ordered AS o ON o.who = e.who AND o.back = 1 WHERE e.at < o.at;
SELECT create_catalog('earlier', 'goods', 'id', 'concat_ws('' '', title, description)', 'shop-mini', title => 'title', language => 'english');
SELECT bind_events('earlier', 'earlier', 'who', 'item', 'at');
CREATE TABLE recommended AS
	SELECT o.who, o.item, r.key, r.n FROM ordered AS o, LATERAL (SELECT key, row_number() OVER () AS n FROM recommend('earlier', o.who, 10)) AS r
	WHERE o.back = 1;
SELECT f.metric, abs(f.value - e.value) < 1e-5 AS as_recommended
FROM item_figure AS f,
	(SELECT count(*) FILTER (WHERE key = item::text) / count(DISTINCT who)::float8 AS hr,
		coalesce(sum(1 / log(2::numeric, n + 1)) FILTER (WHERE key = item::text), 0)::float8 / count(DISTINCT who) AS ndcg
	 FROM recommended) AS r
	CROSS JOIN LATERAL (VALUES ('HR@10', r.hr), ('nDCG@10', r.ndcg)) AS e (metric, value)
WHERE f.system = 'blend' AND f.metric = e.metric ORDER BY f.metric;
-- Popularity and item cosine by SQL; here sums are rounded elsewhere, so that equal scores may fall the other way.
WITH seen AS (SELECT DISTINCT who, item FROM earlier),
n AS (SELECT item, count(*)::float8 AS n FROM seen GROUP BY item),
likeness AS (
	SELECT t.i, t.j, t.both_ / (sqrt(a.n * b.n) + 10) AS cosine
	FROM (SELECT x.item AS i, y.item AS j, count(*) AS both_ FROM seen AS x JOIN seen AS y USING (who) WHERE x.item <> y.item GROUP BY 1, 2) AS t
	JOIN n AS a ON a.item = t.i JOIN n AS b ON b.item = t.j),
score AS (
	SELECT s.system, o.who, g.id AS item, CASE s.system WHEN 'popularity' THEN coalesce(n.n, 0) ELSE coalesce(c.score, 0) END AS score
	FROM ordered AS o CROSS JOIN goods AS g CROSS JOIN (VALUES ('popularity'), ('item_cosine')) AS s (system)
	LEFT JOIN n ON n.item = g.id
	LEFT JOIN (SELECT h.who, l.j, sum(l.cosine) AS score FROM seen AS h JOIN likeness AS l ON l.i = h.item GROUP BY h.who, l.j) AS c
		ON c.who = o.who AND c.j = g.id
	WHERE o.back = 1),
ranked AS (
	SELECT *, rank() OVER (PARTITION BY system, who ORDER BY round(score::numeric, 6) DESC, item::text COLLATE "C") AS rank
	FROM score AS p WHERE NOT EXISTS (SELECT FROM seen AS s WHERE s.who = p.who AND s.item = p.item)),
own AS (SELECT r.system, count(*) / 120.0 AS hr FROM ranked AS r JOIN ordered AS o USING (who, item) WHERE o.back = 1 AND r.rank <= 10 GROUP BY r.system)
SELECT f.system, abs(f.value - own.hr) < CASE f.system WHEN 'popularity' THEN 1e-6 ELSE 0.02 END AS as_defined
FROM own JOIN item_figure AS f USING (system) WHERE f.metric = 'HR@10' ORDER BY f.system;
SELECT count(*) FROM (SELECT system, metric, value, low, high, difference_low FROM item_figure
	EXCEPT SELECT system, metric, value, low, high, difference_low FROM evaluate_recommendations('goods')) AS changed;
SELECT count(*), bool_and(value IS NOT NULL) FROM evaluate_recommendations('goods', 7, 10);

SELECT evaluate_recommendations('goods', 0);
SELECT evaluate_recommendations('goods', samples => 1000000);
SELECT evaluate_recommendations(NULL);
SELECT evaluate_recommendations('goods', samples => NULL);
\set VERBOSITY terse
SET product_llm.memory_limit = '64kB';
SELECT evaluate_recommendations('goods');
SELECT evaluate_search('goods', 'TABLE judgment');
RESET product_llm.memory_limit;
\set VERBOSITY default
SELECT create_catalog('quiet', 'goods', 'id', 'title', 'shop-mini', language => 'english');
SELECT evaluate_recommendations('quiet');
CREATE TABLE once (who text, item integer, at timestamptz);
SELECT bind_events('quiet', 'once', 'who', 'item', 'at');
SELECT evaluate_recommendations('quiet');
INSERT INTO once SELECT 'v' || i, i, now() FROM generate_series(1, 9) AS i;
SELECT evaluate_recommendations('quiet');
-- An event of an unknown product, one of the future, one twice.
INSERT INTO once VALUES ('v1', 7, now() - interval '1 day'), ('v1', 7, now() - interval '1 day'), ('v2', 9999, now() - interval '1 day'), ('v3', 8, now() + interval '1 day');
SELECT system, value FROM evaluate_recommendations('quiet') WHERE metric = 'HR@10' AND system IN ('popularity', 'markov');

RESET client_min_messages;
-- Tuning ----
SELECT setting, before IS NOT NULL AS measured, old = new AS kept FROM tune_catalog('quiet') WHERE setting <> 'semantic';
SELECT array_agg(k) FROM catalog AS c, jsonb_object_keys(c.settings) AS k WHERE c.catalog = 'quiet';
SELECT setting, metric, after >= before AS no_worse, before IS NOT NULL AS measured FROM tune_catalog('goods');
SELECT array_agg(k ORDER BY k) FROM catalog AS c, jsonb_object_keys(c.settings) AS k WHERE c.catalog = 'goods';
SELECT bool_and(old = new) AS nothing_more_to_gain FROM tune_catalog('goods');
SELECT setting, metric, before IS NOT NULL AS measured FROM tune_catalog('goods', 'TABLE judgment') WHERE setting = 'semantic';
SELECT setting, before IS NULL AS left_alone FROM tune_catalog('goods', 'SELECT * FROM judgment WHERE query < ''blackshoe''') WHERE setting = 'semantic';
SELECT * FROM tune_catalog(NULL);
SELECT * FROM tune_catalog('goods', 'DROP TABLE judgment');

-- Rights ----
CREATE ROLE regress_evaluator;
GRANT USAGE ON SCHEMA evaluated TO regress_evaluator;
SET ROLE regress_evaluator;
SELECT evaluate_search('goods', 'SELECT ''redcup'', 1, 1');
SELECT evaluate_recommendations('goods');
SELECT tune_catalog('goods');
RESET ROLE;
GRANT SELECT ON goods TO regress_evaluator;
SET ROLE regress_evaluator;
SELECT count(*) FROM evaluate_search('goods', 'SELECT ''redcup'', 1, 1');
SELECT evaluate_search('goods', 'SELECT * FROM judgment');
SELECT evaluate_recommendations('goods');
RESET ROLE;
-- Only what the caller sees is evaluated: here, what some visitors did, with half of the products.
GRANT SELECT ON event TO regress_evaluator;
ALTER TABLE event ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON event TO regress_evaluator USING (who ~ '^v[1-3].?$');
ALTER TABLE goods ENABLE ROW LEVEL SECURITY;
CREATE POLICY half ON goods TO regress_evaluator USING (id <= 200);
CREATE TABLE few_goods AS SELECT * FROM goods WHERE id <= 200;
ALTER TABLE few_goods ADD PRIMARY KEY (id);
CREATE TABLE few AS SELECT * FROM event WHERE who ~ '^v[1-3].?$';
SELECT create_catalog('few', 'few_goods', 'id', 'concat_ws('' '', title, description)', 'shop-mini', title => 'title', language => 'english');
SELECT bind_events('few', 'few', 'who', 'item', 'at');
SELECT alter_catalog('few', settings => settings) FROM catalog WHERE catalog = 'goods';
GRANT SELECT ON few, few_goods TO regress_evaluator;
SET ROLE regress_evaluator;
SELECT count(*) AS differences FROM (SELECT * FROM evaluate_recommendations('goods') EXCEPT SELECT * FROM evaluate_recommendations('few')) AS d;
SELECT count(*) AS differences FROM (SELECT * FROM evaluate_search('goods', 'SELECT title, id, 1 FROM goods WHERE id % 10 = 0')
	EXCEPT SELECT * FROM evaluate_search('few', 'SELECT title, id, 1 FROM goods WHERE id % 10 = 0')) AS d;
RESET ROLE;

SELECT drop_catalog('goods'), drop_catalog('earlier'), drop_catalog('quiet'), drop_catalog('few');
DROP OWNED BY regress_evaluator;
DROP ROLE regress_evaluator;
SET client_min_messages = warning;
DROP SCHEMA evaluated CASCADE;
