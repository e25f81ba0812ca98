-- Words of every language through to_tsvector(), part numbers, and how near terms are.
SET search_path = product_llm, public;

-- Terms to index and to look up.
SELECT input, segment(input) AS document, segment(input, 'query') AS query
FROM (VALUES ('Samsung 870 EVO MZ-77E500B'), ('Men''s T-Shirts'), ('2.5GHz, 16 GB'), ('Größe STRASSE'), ('充电器'),
	('お茶のカップ'), ('ที่นี่ดี'), ('노트북을'), ('SM-G991B/DS'), ('')) AS v (input);
SELECT segment(NULL) IS NULL AS null_is_null;
SELECT segment('a', 'word');

-- What finds what: every term of the query in the document.
CREATE FUNCTION pg_temp.finds(config regconfig, query text, document text) RETURNS boolean LANGUAGE sql AS $$
	SELECT plainto_tsquery(config, product_llm.segment(query, 'query')) @@ to_tsvector(config, product_llm.segment(document))
$$;
SELECT query, document, pg_temp.finds(config::regconfig, query, document)
FROM (VALUES
	('english', 'mens shoe', 'Men''s shoes'), ('english', 'men’s shoes', 'shoes for men'), ('simple', 'men', 'men''s'), ('simple', 'mens', 'men''s'),
	('german', 'Kaffeemaschinen', 'Eine Kaffeemaschine'), ('german', 'groesse', 'Größe'), ('german', 'grosse strasse', 'GROSSE Straße'),
	('french', 'eau', 'l''eau minérale'), ('english', 'wifi', 'Wi-Fi router'), ('english', 'wi-fi', 'wifi router'),
	('english', 'noise cancelling', 'noise-cancelling'), ('english', 'noise-cancelling', 'noise cancelling'),
	('english', 'tn2110', 'Brother TN-2110'), ('english', 'TN 2110', 'Brother TN2110'), ('english', 'TN-2110', 'Brother TN 2110'),
	('english', 'MZ75E500B', 'SSD MZ-75E500B'), ('english', 'mz-75e500b', 'SSD MZ75E500B'), ('english', '75E500B', 'SSD MZ-75E500B'),
	('english', '500GB', '500 GB disk'), ('english', '500 gb', '500GB disk'), ('english', '2.5 GHz', '2.5GHz'), ('english', '5GHz', '2.5GHz'),
	('english', 'galaxy s21', 'Galaxy-S21'), ('english', 'usb 3.0', 'USB3.0'), ('english', '10000 mAh', '10,000mAh'),
	('simple', '充电', '无线充电器'), ('simple', '茶', 'お茶のカップ'), ('simple', '电充', '无线充电器'),
	('simple', 'カップ', 'ｶｯﾌﾟ'), ('simple', 'ชาร์จ', 'ที่ชาร์จ'), ('simple', '노트북', '노트북을'), ('simple', '책', '책을 사다')) AS v (config, query, document);

-- The default parser keeps each term whole, for each character in each surrounding: nothing but rare marks and letters
-- newer than the locale's tables, which it cuts in documents and queries alike.
CREATE FUNCTION pg_temp.cut(input text) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM string_to_table(product_llm.segment(input), ' ') AS term
	WHERE term <> '' AND (SELECT array_agg(token) FROM ts_parse('default', term) WHERE tokid <> 12) IS DISTINCT FROM ARRAY[term]
$$;
SELECT n, pg_temp.cut(format(form, c)) AS cut
FROM generate_series(32, 126) AS n, chr(n) AS c, unnest(ARRAY['%1$s', 'a%1$sb', '1%1$s2', 'a%1$s1', '1%1$sa', '1e5%1$s', '1%1$se5', 'é%1$s1', '1%1$sé', 'http%1$sa/b', 'a@b%1$sc.com']) AS form
WHERE pg_temp.cut(format(form, c)) > 0;
SELECT count(*) FILTER (WHERE cut > 0) < 64 AS nearly_all_are_whole
FROM generate_series(160, 55295, 7) AS n, chr(n) AS c,
	LATERAL (SELECT pg_temp.cut(c || ' a' || c || 'b 1' || c || ' ' || c || '1')) AS x (cut);

-- Distance and trigrams.
SELECT a, b, term_distance(a, b, 2)
FROM (VALUES ('labtop', 'laptop'), ('latpop', 'laptop'), ('laptop', 'laptop'), ('', 'ab'), ('', 'abc'), ('café', 'cafe'), ('ab', 'ba'), ('abcdef', 'z')) AS v (a, b);
SELECT term_distance('a', 'b', -1);
SELECT term_distance(repeat('a', 30), repeat('b', 30), 2147483647);
SELECT term, term_grams(term) FROM (VALUES ('laptop'), ('aaaa'), ('hp'), ('茶'), ('')) AS v (term);
