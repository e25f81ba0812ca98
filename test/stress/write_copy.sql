-- One at a time: two that replace the same keys would violate the primary key.
BEGIN;
SELECT pg_advisory_xact_lock(1);
DELETE FROM product WHERE id BETWEEN 900001 AND 900020;
COPY product FROM :copy;
SAVEPOINT more;
UPDATE product SET description = 'undone' WHERE id = 900007;
ROLLBACK TO more;
COMMIT;
