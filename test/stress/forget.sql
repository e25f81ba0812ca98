\set visitor random(1, 500)
\set delete random(0, 9)
SELECT count(*) FROM product_llm.forget('kept', :visitor::text, :delete > 0);
