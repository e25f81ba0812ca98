\set id random(1, 20000)
SELECT count(*) FROM product_llm.recommend('shop', :id::text);
