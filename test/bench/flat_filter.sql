\set q random(1, 200)
\set kind random(0, 99)
SELECT id FROM item WHERE kind = :kind ORDER BY embedding OPERATOR(product_llm.<=>) (SELECT v FROM query WHERE id = :q) LIMIT 10;
