-- One vector against several: the cosines that a scan of all products computes, and the largest of them by weight.
SET search_path = public, product_llm;
SET client_min_messages = warning;
SELECT cosines('{0.6,0.8}', '{1,0,0,1,-1,0}') = '{0.6,0.8,-0.6}'::real[] AS in_order,
	nearness('{0.6,0.8}', '{1,0,0,1}', '{1,0.5}') = 0.6::real::float8 AS heaviest,
	nearness('{0.6,0.8}', '{-1,0}', '{1}') AS never_below,
	cosines('{0.6,0.8}', '{}') AS none;
SELECT cosines(NULL, '{1}') IS NULL AND nearness('{1}', '{1}', NULL) IS NULL AS null_for_null;
-- What is kept from row to row changes nothing.
SELECT string_agg(nearness(e, v, w)::text, ' ') FROM (VALUES ('{1,0}'::real[], '{1,0}'::real[], '{1}'::float8[]), ('{0,1}', '{1,0}', '{1}'),
	('{0,1}', '{0,1,1,0}', '{2,1}'), ('{0,1,0}', '{0,1,0}', '{3}'), ('{1,0}', '{1,0}', '{1}')) AS t (e, v, w);
SELECT cosines('{1,0}', '{1,0,0}');
SELECT cosines('{}', '{1}');
SELECT cosines('{1,NULL}', '{1,0}');
SELECT nearness('{1,0}', '{1,0}', '{1,2}');
SELECT nearness('{1,0}', '{1,0}', '{NULL}');
