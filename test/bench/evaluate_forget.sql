-- Does forgetting reach trained models?  Membership inference (Yeom et al. 2018: the surer a model is of a row's label, the likelier has it
-- learnt from that row) on a classifier of Chinese reviews (zh_reviews) that knows its rows by heart, before visitors are forgotten and in the
-- model that retrain() makes without them.  Run in the folder of shared data, in a database that has the extension and the model :model
-- ("make evaluate-forget"); an error when a bar is missed.
--
-- The reviews of a shop's visitors are its events.  Whose review a text is, and which texts nobody in the shop has written, goes by the
-- text's md5, so that visitors who stay, visitors who go and strangers all write alike.

\set ON_ERROR_STOP on
\pset footer off
SET client_min_messages = warning;

CREATE TEMPORARY TABLE row (category text, sentiment text, text text);
\copy row FROM PROGRAM 'gzip -dc zh_reviews/online_shopping_10_cats.train.csv.gz' WITH (FORMAT csv, HEADER)
-- What is cut off is seen neither by the model nor by the attack: texts that are the same without it would be in two groups.
CREATE TEMPORARY TABLE writing AS
	SELECT row_number() OVER (ORDER BY md5(text)) - 1 AS n, category, sentiment, text
	FROM (SELECT DISTINCT ON (left(text, 48)) category, sentiment, left(text, 48) AS text FROM row WHERE length(text) >= 12 ORDER BY left(text, 48), sentiment) AS t;

CREATE TABLE product (id int PRIMARY KEY, title text NOT NULL);
INSERT INTO product SELECT row_number() OVER (ORDER BY category, i), category || ' ' || i FROM (SELECT DISTINCT category FROM writing) AS c, generate_series(1, 20) AS i;
CREATE TABLE review (visitor text NOT NULL, product int NOT NULL, at timestamptz NOT NULL, text text NOT NULL, mood text NOT NULL);
INSERT INTO review
	SELECT 'visitor ' || n % 600, p.id, timestamptz '2024-01-01' + n * interval '1 minute', t.text, t.sentiment
	FROM writing AS t JOIN product AS p ON p.title = t.category || ' ' || 1 + n % 20 WHERE n < 6000;
CREATE INDEX ON review (visitor);
CREATE TABLE trial AS
	SELECT CASE WHEN n >= 6000 THEN 'stranger' WHEN n % 600 < 300 THEN 'forgotten' ELSE 'stayed' END AS who, text, sentiment AS mood FROM writing WHERE n < 16000;
CREATE TABLE public AS SELECT text FROM writing WHERE n >= 16000;
SELECT product_llm.create_catalog('shop', 'product', 'id', 'title', :'model'), product_llm.bind_events('shop', 'review', 'visitor', 'product', 'at') \g /dev/null

-- A small model, of which many epochs take a minute, with the words of reviews that are in no group.
CALL product_llm.train_tokenizer('words', 'SELECT text FROM public', 6000);
CALL product_llm.finetune('critic', 'words', 'classification', 'SELECT text, mood FROM review',
	'{"width": 96, "layers": 1, "heads": 4, "ff": 192, "positions": 64, "epochs": 15, "batch": 32, "learning_rate": 2e-3, "dropout": 0,
	  "weight_decay": 0, "validation": 0, "precision": "f32"}');
CALL product_llm.finetune('shelf', :'model', 'classification', 'SELECT title, left(title, 1) FROM product', '{"steps": 2, "validation": 0}');

-- The attack: log odds of the row's own label.
CREATE TABLE attack (model text, who text, sure double precision);
CREATE PROCEDURE attack(victim text) LANGUAGE sql AS $$
	INSERT INTO attack
	SELECT victim, t.who, sum(CASE WHEN c.label = t.mood THEN 1 ELSE -1 END * ln(greatest(c.probability, 1e-37)::double precision))
	FROM trial AS t, LATERAL product_llm.classify(victim, t.text) AS c GROUP BY t.ctid, t.who
$$;
-- The chance that a member is surer than a stranger (ties count half), with its deviation (DeLong et al. 1988).
CREATE FUNCTION auc(victim text, members text) RETURNS TABLE (rows bigint, strangers bigint, auc double precision, low double precision, high double precision)
	LANGUAGE sql STABLE AS $$
	WITH ranked AS (
		SELECT who = members AS member,
			rank() OVER (ORDER BY sure) + (count(*) OVER (PARTITION BY sure) - 1) / 2.0::double precision AS among_all,
			rank() OVER (PARTITION BY who ORDER BY sure) + (count(*) OVER (PARTITION BY who, sure) - 1) / 2.0::double precision AS among_own
		FROM attack WHERE model = victim AND who IN (members, 'stranger')
	), n AS (SELECT count(*) FILTER (WHERE member) AS m, count(*) FILTER (WHERE NOT member) AS s FROM ranked),
	part AS (SELECT member, CASE WHEN member THEN (among_all - among_own) / n.s ELSE 1 - (among_all - among_own) / n.m END AS ahead FROM ranked, n),
	figure AS (
		SELECT avg(ahead) FILTER (WHERE member) AS a,
			sqrt(var_samp(ahead) FILTER (WHERE member) / max(n.m) + var_samp(ahead) FILTER (WHERE NOT member) / max(n.s)) AS deviation FROM part, n
	)
	SELECT n.m, n.s, a, a - 1.96 * deviation, a + 1.96 * deviation FROM figure, n
$$;
CALL attack('critic');

\echo what forget() of 300 of the 600 visitors says, in all
CREATE TABLE said AS
	SELECT f.what, f.erased FROM (SELECT DISTINCT visitor FROM review WHERE split_part(visitor, ' ', 2)::int < 300) AS v,
		LATERAL product_llm.forget('shop', v.visitor, delete_events => true) AS f;
SELECT what, count(*) AS calls, sum(erased) AS erased FROM said GROUP BY what ORDER BY what;
CALL product_llm.retrain('critic', 'critic-2');
CALL attack('critic-2');

\echo can it be told who was learnt from?  0.5 is chance
CREATE TABLE figure AS
	SELECT m.model, w.who, a.* FROM (VALUES ('critic'), ('critic-2')) AS m (model), (VALUES ('forgotten'), ('stayed')) AS w (who), LATERAL auc(m.model, w.who) AS a;
SELECT model, who, rows, strangers, round(auc::numeric, 4) AS auc, round(low::numeric, 4) AS low, round(high::numeric, 4) AS high FROM figure ORDER BY model, who;
SELECT r.model, r.example_rows, r.steps, round(extract(epoch FROM r.updated_at - r.started_at)) AS seconds FROM product_llm.training_runs AS r WHERE r.model LIKE 'critic%' ORDER BY r.model;

DO $$
BEGIN
	ASSERT (SELECT array_agg(DISTINCT what) FROM said WHERE what LIKE 'model %') = '{model critic}', 'not the one model that read the reviews was named';
	ASSERT (SELECT count(*) FROM said WHERE what = 'model critic') = 300, 'it was not named for each visitor';
	ASSERT (SELECT example_rows FROM product_llm.training_runs WHERE model = 'critic-2') = 3000, 'it was not made of those who stayed';
	ASSERT (SELECT auc >= 0.6 FROM figure WHERE model = 'critic' AND who = 'forgotten'), 'the model did not remember them before: the test shows nothing';
	ASSERT (SELECT auc >= 0.6 FROM figure WHERE model = 'critic-2' AND who = 'stayed'), 'the new model does not remember those who stayed: the test shows nothing';
	ASSERT (SELECT rows >= 2000 AND low >= 0.47 AND high <= 0.53 FROM figure WHERE model = 'critic-2' AND who = 'forgotten'), 'forgotten rows can be told from rows that were never seen';
END
$$;
