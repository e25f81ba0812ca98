\set q random(1, 200)
SELECT id FROM item ORDER BY embedding OPERATOR(product_llm.<=>) (SELECT v FROM query WHERE id = :q) LIMIT 10;
