-- Next-item recommendation on three preparations of two shops, against the whole catalogue: with the constants that come
-- with the extension, then with those that tune_catalog fits.  Run in the folder of shared data, in a database that has the
-- extension and the model :model ("make evaluate" does).

\set ON_ERROR_STOP on
\pset footer off
SET client_min_messages = warning;

-- ---- Amazon reviews 2018, industrial and scientific ----

\ir load_amazon.sql

-- ---- Online Retail ----

CREATE TABLE retail_line (invoice text, code text, description text, quantity text, at text, price text, customer text, country text);
\copy retail_line FROM PROGRAM 'gzip -dc online_retail/online_retail.csv.gz' WITH (FORMAT csv, HEADER)

-- Drop visitors with fewer than five events and items with fewer than five, until none is left.
CREATE FUNCTION five_core(events regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	LOOP
		EXECUTE format('DELETE FROM %1$s WHERE visitor IN (SELECT visitor FROM %1$s GROUP BY visitor HAVING count(*) < 5)'
			' OR item IN (SELECT item FROM %1$s GROUP BY item HAVING count(*) < 5)', events);
		GET DIAGNOSTICS n = ROW_COUNT;
		EXIT WHEN n = 0;
	END LOOP;
END
$$;

-- As published: an invoice is a visitor, its different lines (code, quantity, time) are the events; the lines have no order
-- of their own, so a hash gives one that says nothing.
CREATE TABLE invoice_event AS
	SELECT t.invoice AS visitor, t.code AS item, timestamptz '2010-01-01' + interval '1 second'
		* row_number() OVER (PARTITION BY t.invoice ORDER BY t.at COLLATE "C", md5(concat_ws('|', t.invoice, t.code, t.at, t.quantity))) AS at
	FROM (SELECT DISTINCT invoice, code, at, quantity FROM retail_line WHERE description <> '') AS t;
SELECT five_core('invoice_event') \g /dev/null

-- A customer is a visitor; purchases only, each product where it first comes; a hash orders the lines of an invoice.
CREATE TABLE customer_event AS
	SELECT t.customer AS visitor, t.code AS item, timestamptz '2010-01-01' + interval '1 second'
		* row_number() OVER (PARTITION BY t.customer ORDER BY t.at COLLATE "C", t.hash) AS at
	FROM (SELECT DISTINCT ON (customer, code) customer, code, at, md5(invoice || '|' || code) AS hash FROM retail_line
		  WHERE invoice NOT LIKE 'C%' AND customer <> '' AND quantity::int > 0
		  ORDER BY customer, code, at COLLATE "C", md5(invoice || '|' || code)) AS t;
SELECT five_core('customer_event') \g /dev/null

-- A product's text is its commonest description.
CREATE TABLE retail_product AS
	SELECT DISTINCT ON (code) code, lower(description) AS description
	FROM (SELECT code, btrim(description) AS description, count(*) AS n FROM retail_line WHERE btrim(description) <> ''
		  GROUP BY 1, 2) AS t
	ORDER BY code, n DESC, description;
CREATE TABLE invoice_product AS SELECT * FROM retail_product WHERE code IN (SELECT item FROM invoice_event);
CREATE TABLE customer_product AS SELECT * FROM retail_product WHERE code IN (SELECT item FROM customer_event);

-- ---- catalogs ----

SELECT product_llm.create_catalog('amazon18_industrial', 'amazon_product', 'item_id', 'concat_ws('' '', title, brand)', :'model',
	sync => 'manual', title => 'title', language => 'english'),
	product_llm.create_catalog('online_retail, invoices', 'invoice_product', 'code', 'description', :'model',
	sync => 'manual', title => 'description', language => 'english'),
	product_llm.create_catalog('online_retail, customers', 'customer_product', 'code', 'description', :'model',
	sync => 'manual', title => 'description', language => 'english') \g /dev/null
SELECT product_llm.bind_events('amazon18_industrial', 'amazon_event', 'visitor', 'item', 'at'),
	product_llm.bind_events('online_retail, invoices', 'invoice_event', 'visitor', 'item', 'at'),
	product_llm.bind_events('online_retail, customers', 'customer_event', 'visitor', 'item', 'at') \g /dev/null
CALL product_llm.refresh_catalog('amazon18_industrial');
CALL product_llm.refresh_catalog('online_retail, invoices');
CALL product_llm.refresh_catalog('online_retail, customers');

PREPARE figures (text) AS
	SELECT system, metric, round(value::numeric, 4) AS value, round(low::numeric, 4) AS low, round(high::numeric, 4) AS high,
		round(difference::numeric, 4) AS difference, round(difference_low::numeric, 4) AS low, round(difference_high::numeric, 4) AS high
	FROM product_llm.evaluate_recommendations($1);
PREPARE tuned (text) AS
	SELECT setting, old, new, metric, round(before::numeric, 4) AS before, round(after::numeric, 4) AS after
	FROM product_llm.tune_catalog($1);

\echo amazon18_industrial, constants as they come
EXECUTE figures('amazon18_industrial');
\echo amazon18_industrial, fitting on the items before the last
EXECUTE tuned('amazon18_industrial');
\echo amazon18_industrial, fitted
EXECUTE figures('amazon18_industrial');

\echo online_retail, an invoice is a visitor (the published preparation), constants as they come
EXECUTE figures('online_retail, invoices');
\echo online_retail, an invoice is a visitor, fitting on the items before the last
EXECUTE tuned('online_retail, invoices');
\echo online_retail, an invoice is a visitor, fitted
EXECUTE figures('online_retail, invoices');

\echo online_retail, a customer is a visitor, constants as they come
EXECUTE figures('online_retail, customers');
\echo online_retail, a customer is a visitor, fitting on the items before the last
EXECUTE tuned('online_retail, customers');
\echo online_retail, a customer is a visitor, fitted
EXECUTE figures('online_retail, customers');
