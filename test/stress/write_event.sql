-- A visitor looks around; then buys, in one transaction with the stock.
\set visitor random_zipfian(1, 500, 1.05)
\set item random(1, 3000)
\set n random(1, 3)
INSERT INTO event SELECT :visitor, :item + i, now(), 'view' FROM generate_series(1, :n) AS i;
\set item random(1, 3000)
BEGIN;
INSERT INTO event VALUES (:visitor, :item, now(), 'purchase');
UPDATE product SET stock = greatest(stock - 1, 0) WHERE id = :item;
COMMIT;
\set visitor random(1, 500)
UPDATE event SET kind = 'ignored' WHERE visitor = :visitor AND kind = 'cart' AND item % 3 = :n - 1;
\set visitor random(1, 500)
DELETE FROM event WHERE visitor = :visitor AND at < now() - interval '30 days' AND item % 7 = :n;
