-- Conditions that callers give: only a condition, only reading, values apart.
SET search_path = public, product_llm;
CREATE TABLE public.goods (id integer, name text, price numeric, tags text[], data jsonb, added date);
INSERT INTO goods VALUES
	(1, 'plain', 5, '{red,blue}', '{"k": 1}', '2024-01-01'), (2, 'it''s', 15, '{green}', '{"k": [1, 2]}', '2024-06-01'),
	(3, E'back\\slash', 25, '{"a,b","q\"q"}', '{}', '2025-01-01'), (4, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE public.secret (id integer, word text);
INSERT INTO secret VALUES (1, 'hush');
CREATE FUNCTION public.writes() RETURNS boolean LANGUAGE sql VOLATILE AS 'INSERT INTO secret VALUES (2, ''written''); SELECT true';

-- Ids of the rows for which the fragment holds, or the error's code and message.
CREATE FUNCTION pg_temp.try(filter text, args jsonb DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	fragment text;
	ids text;
BEGIN
	fragment := product_llm.filter_condition('goods', filter, args);
	EXECUTE 'SELECT coalesce(string_agg(id::text, '','' ORDER BY id), '''') FROM (SELECT id FROM goods WHERE ' || fragment || ') AS s' INTO ids;
	RETURN 'rows ' || ids;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END
$$;

-- The fragment.
SELECT filter_condition('goods', 'price < :max AND name = ANY(:names)', '{"max": 10.5, "names": ["it''s", "q\"\\", null, 3, true]}');
SELECT filter_condition('goods', NULL), filter_condition('goods', NULL, NULL), filter_condition('goods', 'id = 1', NULL);
SELECT filter_condition('goods', 'id = 1 -- the first');

-- Conditions.
SELECT filter, args, pg_temp.try(filter, args::jsonb)
FROM (VALUES
	('price < 10', '{}'), ('goods.price < 10', '{}'), ('public.goods.price < 10', '{}'), ('price < :max', '{"max": 20}'), ('price < $1', '[20]'),
	('price BETWEEN $2 AND $1', '[20, 10]'), ('name = :n', '{"n": "it''s"}'), ('name = :n', '{"n": "back\\slash"}'), ('name = :"any ""name"', '{"any \"name": "plain"}'),
	('name IS NOT DISTINCT FROM :n', '{"n": null}'), ('(:flag)', '{"flag": true}'), (':flag::boolean', '{"flag": false}'), ('id = ANY(:ids)', '{"ids": [1, 3]}'),
	('id = ANY(:ids)', '{"ids": []}'), ('id IN (:a, :b, :a)', '{"a": 1, "b": 2}'), ('tags && :t', '{"t": ["a,b"]}'), ('tags @> :t', '{"t": ["q\"q"]}'), ('data @> :d', '{"d": {"k": 1}}'),
	('data -> ''k'' = :d', '{"d": "[1, 2]"}'), ('tags[1:2] = :t', '{"t": ["red", "blue"]}'), ('tags[1:array_length(tags, 1)] && :t', '{"t": ["green"]}'), ('tags[:n] = :t', '{"n": 1, "t": "red"}'),
	('added >= :day', '{"day": "2024-06-01"}'), ('added + :n::integer > ''2025-01-01''', '{"n": 3}'), ('name LIKE :p', '{"p": "%l%"}'), ('name = '':n''', '{}'), ('name = $$:n$$ OR id = 1', '{}'),
	('id = 1 /* :n */', '{}'), ('id = 1 -- :n', '{}'), ('id = 1 -- (', '{}'), ('id = 1 /* ) */', '{}'), ('name = '')''', '{}'), ('name = U&''\0070lain''', '{}'), ('name = E''\x70lain''', '{}'),
	('EXISTS (SELECT FROM secret WHERE secret.id = goods.id)', '{}'), ('id = (WITH w AS (SELECT 2 AS x) SELECT x FROM w)', '{}'), ('goods IS NOT NULL', '{}'), ('ctid IS NOT NULL', '{}'),
	('''yes''', '{}'), ('NULL', '{}'), ('id = 1 OR id = 2', '{}'), ('now() > added', '{}'), ('true', '{}')) AS v (filter, args);

-- Not a condition.
SELECT filter, pg_temp.try(filter)
FROM (VALUES
	(''), ('  '), ('-- nothing'), ('1) FROM secret WHERE (true'), ('true) OR (true'), ('true) UNION SELECT word FROM secret --'),
	('true UNION SELECT true'), ('true; DROP TABLE secret'), ('true;'), ('true FROM secret'), ('true WHERE true'), ('true GROUP BY 1'),
	('true HAVING true'), ('true ORDER BY 1'), ('true LIMIT 1'), ('true OFFSET 1'), ('true FOR UPDATE'), ('true INTO t'),
	('true AS x'), ('true x'), ('true, true'), ('DISTINCT true'), ('ALL true'), ('ON'), ('*'), ('goods.*'), ('true WINDOW w AS ()'),
	('SELECT true'), ('(true'), ('true)'), (')true('), ('true /*'), ('true /* ) */ )'), ('name = ''x'), ('name = "x'), ('name = $$x'), ('price <'),
	('price < < 1'), ('DROP TABLE secret'), ('DELETE FROM secret'), ('VALUES (true)'), ('WITH w AS (SELECT 1) SELECT true'),
	('TABLE secret'), ('price'), ('price + 1'), ('''maybe'''), ('(true, true)'), ('ROW(true)'), ('nonesuch = 1'), ('secret.id = 1'),
	('s.id = 1'), ('other.goods.id = 1'), ('id = ''x'''), ('id = 1 AND name'), ('count(*) > 1'), ('row_number() OVER () = 1'),
	('generate_series(1, 2) = 1'), ('unnest(tags) = ''red'''), ('nonesuch(id)'), ('GROUPING(id) = 1'), ('DEFAULT')) AS v (filter);

-- Conditions that would do more than read.
SELECT filter, pg_temp.try(filter)
FROM (VALUES
	('random() < 2'), ('writes()'), ('EXISTS (SELECT FROM secret WHERE writes())'),
	('id = (SELECT 1 FROM secret, LATERAL (SELECT writes()) AS l)'), ('CASE WHEN writes() THEN true END'), ('nextval(''s'') > 0'),
	('set_config(''role'', ''x'', false) IS NOT NULL'), ('pg_sleep(1) IS NOT NULL'), ('clock_timestamp() > added'),
	('id = ANY (ARRAY(SELECT 1 FROM secret ORDER BY random()))'), ('EXISTS (SELECT FROM secret FOR UPDATE)'),
	('EXISTS (SELECT FROM (SELECT * FROM secret FOR SHARE) AS t)'), ('EXISTS (WITH w AS (DELETE FROM secret RETURNING 1) SELECT FROM w)'),
	('EXISTS (WITH w AS (INSERT INTO secret VALUES (3) RETURNING 1) SELECT FROM w)'), ('EXISTS (DELETE FROM secret RETURNING 1)'),
	('(SELECT true INTO t)')) AS v (filter);

-- Values that try to be more.
SELECT args, pg_temp.try('name = :v', args)
FROM (SELECT jsonb_build_object('v', value) AS args
	  FROM unnest(ARRAY['x'' OR true --', 'x'') OR (true', '\', '\'' OR true --', E'a\nb', '$1', ':v', '$$', 'E''x''', 'U&"x"', '{x}', '/*', ';',
						'NULL', '']) AS value) AS a;
SELECT args, pg_temp.try('name = ANY(:v)', args)
FROM (VALUES ('{"v": ["x''", "} OR true", "\\", "\"", "it''s"]}'::jsonb), ('{"v": ["NULL", "plain"]}'), ('{"v": [[["it''s"]]]}'),
	('{"v": [{"a": "it''s"}, "plain"]}'), ('{"v": [["a"], "b"]}'), ('{"v": "x"}'), ('{"v": {}}')) AS a (args);

-- Literals touch nothing beside them.
SELECT filter, args, pg_temp.try(filter, args)
FROM (VALUES ('name = E:v', '{"v": "a\\x27"}'::jsonb), ('name = ''it'' :v', '{"v": "s"}'), (E'name = ''it''\n:v', '{"v": "s"}'),
	('name = :v''s''', '{"v": "it"}'), ('name = :v:w', '{"v": "it", "w": "s"}'), ('name = U&:v', '{"v": "x"}'), ('id = 1:v', '{"v": 2}'),
	('id=-:v', '{"v": -1}'), ('id = $1$2', '[1, 2]')) AS v (filter, args);

-- Placeholders and arguments that do not fit.
SELECT filter, args, pg_temp.try(filter, args)
FROM (VALUES ('id = :x', '{}'::jsonb), ('id = :x', '{"X": 1}'), ('id = :x', '[1]'), ('id = $1', '{}'), ('id = $1', '{"1": 1}'), ('id = $2', '[1]'),
	('id = $0', '[1]'), ('id = 1', '{"x": 1}'), ('id = 1', '[1]'), ('id = 1', '5'), ('id = 1', '"x"'), ('id = 1', 'null'), ('id = 1', '[]'),
	(NULL, '{"x": 1}'), ('id = : x', '{"x": 1}'), ('id = :''x''', '{"x": 1}'), ('id = :N''x''', '{"N": 1}'), ('id = :U&"x"', '{"x": 1}'),
	('id = :""', '{"": 1}'), ('id = :"x', '{"x": 1}'), ('id = :1', '{"1": 1}'), ('id = :select', '{"select": 1}'),
	('id = :größe', '{"größe": 1}'), ('id = ::x', '{"x": 1}'), ('tags[:n] = ''red''', '{}'), ('added = :x', '{"x": "never"}'),
	('id = :x', '{"x": [1]}'), ('id = :x', '{"x": "1 OR true"}')) AS v (filter, args);

-- Strings with backslashes, under both settings.
SELECT pg_temp.try('name = ''\'' OR true --''') AS backslash_is_plain;
SET escape_string_warning = off;
SET standard_conforming_strings = off;
SELECT pg_temp.try('name = :v', jsonb_build_object('v', E'back\\slash')) AS value,
	pg_temp.try('name = :v', jsonb_build_object('v', E'\\'' OR true --')) AS value_with_quote,
	pg_temp.try(E'name = ''\\'' OR true --''') AS backslash_escapes;
RESET standard_conforming_strings;

-- Where the relation's name has to be quoted.
CREATE TABLE public."Odd ""name" ("select" integer);
SELECT filter_condition('"Odd ""name"', '"Odd ""name"."select" = 1');
DROP TABLE public."Odd ""name";

-- A condition that raises does so where it runs; one on what is no table is refused.
SELECT pg_temp.try('1 / (id - 1) = 0');
SELECT filter_condition(NULL, 'true');
SELECT filter_condition(4000000000::oid::regclass, 'true');
SELECT filter_condition('goods', 'price < 1 AND nmae = 2');

-- The caller's own rights; nothing ran so far.
CREATE SCHEMA hidden;
CREATE TABLE hidden.goods (id integer);
SELECT 'hidden.goods'::regclass::oid AS hidden_goods \gset
CREATE ROLE filter_caller;
GRANT SELECT ON goods TO filter_caller;
SET ROLE filter_caller;
SELECT filter_condition('public.goods', 'id = 1');
SELECT filter_condition(:hidden_goods, 'id = 1');
DO $$
DECLARE
	fragment text := product_llm.filter_condition('public.goods', 'EXISTS (SELECT FROM public.secret)');
BEGIN
	EXECUTE 'SELECT FROM public.goods WHERE ' || fragment;
EXCEPTION WHEN insufficient_privilege THEN
	RAISE NOTICE 'refused where it runs';
END
$$;
RESET ROLE;
SELECT * FROM secret;
DROP TABLE goods, secret, hidden.goods;
DROP SCHEMA hidden;
DROP ROLE filter_caller;
DROP FUNCTION writes();
