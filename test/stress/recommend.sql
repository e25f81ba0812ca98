\set visitor random_zipfian(1, 500, 1.05)
\set word random_zipfian(1, 1000, 1.1)
\set product random(1, 3000)
SELECT 1 / (count(*) FILTER (WHERE p.id IS NULL) = 0)::int AS sound, coalesce(min(r.list), '') AS list, coalesce(min(r.key), '') AS key
	FROM product_llm.recommend('kept', :visitor::text) AS r LEFT JOIN product AS p ON p.id::text = r.key \gset
SELECT product_llm.record_feedback(':list', ':key', 'click') WHERE ':list' <> '';
SELECT count(*) FROM product_llm.recommend('kept', :visitor::text, 5, query => (SELECT word FROM word WHERE id = :word),
	filter => 'stock > 0', diversity => 0.3, exclude_kinds => '{purchase}');
SELECT count(*) FROM product_llm.recommend_basket('kept', ARRAY(SELECT id::text FROM product WHERE id BETWEEN :product AND :product + 2));
