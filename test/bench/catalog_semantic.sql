\set id random(1, 500)
SELECT count(*) FROM product_llm.search('shop', (SELECT query FROM query WHERE id = :id), mode => 'semantic');
