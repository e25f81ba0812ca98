-- Now and then with a change of model.
\set which random(0, 1)
\set change random(0, 3)
SELECT product_llm.alter_catalog(catalog, model => CASE coalesce(next_model, model) WHEN 'shop-mini' THEN 'shop-mini-small' ELSE 'shop-mini' END)
	FROM product_llm.catalogs WHERE :change = 0 AND catalog = ('{kept,refreshed}'::text[])[:which + 1];
CALL product_llm.refresh_catalog(('{kept,refreshed}'::text[])[:which + 1]);
\sleep 1 s
