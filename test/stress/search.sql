-- Whatever else goes on: only products that there are, that the filter lets through, and as many as asked for.
\set a random_zipfian(1, 1000, 1.1)
\set b random_zipfian(1, 3000, 1.1)
\set mode random(0, 2)
\set price random(100, 600)
SELECT 1 / (count(*) FILTER (WHERE p.id IS NULL) = 0 AND (:mode = 1 OR count(*) = 10))::int
	FROM product_llm.search('kept', (SELECT string_agg(word, ' ') FROM word WHERE id IN (:a, :b)), 10,
		mode => ('{hybrid,lexical,semantic}'::text[])[:mode + 1]) AS s
	LEFT JOIN product AS p ON p.id::text = s.key;
SELECT 1 / (count(*) FILTER (WHERE p.id IS NULL OR p.price >= :price) = 0)::int
	FROM product_llm.search('kept', (SELECT string_agg(word, ' ') FROM word WHERE id IN (:a, :b)), 10, 'price < :most',
		jsonb_build_object('most', :price)) AS s
	LEFT JOIN product AS p ON p.id::text = s.key;
SELECT count(*) FROM product_llm.search('refreshed', (SELECT word FROM word WHERE id = :b), filter => 'stock > 5',
	mode => ('{hybrid,lexical,semantic}'::text[])[:mode + 1]);
SELECT count(*) FROM product_llm.search_facets('kept', (SELECT word FROM word WHERE id = :a), ARRAY['stock']);
SELECT count(*) FROM product_llm.similar('kept', (SELECT id::text FROM product ORDER BY abs(id - :price) LIMIT 1));
