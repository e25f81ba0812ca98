\set id random(1, 5000)
SELECT count(*) FROM product_llm.recommend('shop', :id::text);
