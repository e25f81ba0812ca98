-- Rows are locked in order of their keys, so that the shop itself gives no cause for a deadlock.
\set id random(1, 3500)
\set n random(0, 4)
\set w random_zipfian(1, 1000, 1.1)
\set x random(1, 4000)
INSERT INTO product
	SELECT i, a.word || ' ' || b.word, 'new text ' || :x || ' ' || b.word, :x / 10.0, :x % 20
	FROM generate_series(:id, :id + :n) AS i, word AS a, word AS b WHERE a.id = :w AND b.id = :x ORDER BY i
	ON CONFLICT (id) DO UPDATE SET title = excluded.title, description = excluded.description;
\set id random(1, 3500)
UPDATE product SET title = word || ' ' || :x FROM word WHERE product.id = :id AND word.id = :w;
WITH locked AS MATERIALIZED (SELECT id FROM product WHERE id BETWEEN :id AND :id + 20 ORDER BY id FOR UPDATE)
	UPDATE product SET price = price + 1, stock = (stock + 1) % 20 FROM locked WHERE product.id = locked.id;
\set id random(1, 3500)
WITH locked AS MATERIALIZED (SELECT id FROM product WHERE id BETWEEN :id AND :id + :n / 2 ORDER BY id FOR UPDATE)
	DELETE FROM product USING locked WHERE product.id = locked.id;
