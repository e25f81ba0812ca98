# A subscriber of logical replication has the catalog: what arrives there, first copy and later changes, keeps it true.
use strict;
use warnings;
use ProductLlm;
use Rebuilt;
use Test::More;

my $golden = golden() . '/models';
my $publisher = start_node('publisher', empty => 1, init => { allows_streaming => 'logical' });
my $subscriber = start_node('subscriber', empty => 1, conf => "max_logical_replication_workers = 8\nmax_sync_workers_per_subscription = 2\n");

# The key of the products is not what identifies rows for replication.  "parted" arrives as one table, "split" leaf by leaf.
my $tables = q{
CREATE TABLE product (id int PRIMARY KEY, sku text, title text, price int);
CREATE TABLE parted (id int, region int, title text, price int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES IN (0);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE split (id int, region int, title text, price int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE split_0 PARTITION OF split FOR VALUES IN (0);
CREATE TABLE split_1 (price int, title text, region int NOT NULL, id int NOT NULL);
ALTER TABLE split ATTACH PARTITION split_1 FOR VALUES IN (1);
CREATE TABLE event (id int PRIMARY KEY, visitor text, sku text, at timestamptz, note text);
CREATE INDEX ON event (visitor);
CREATE TABLE parted_event (id int, visitor int, item int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE parted_event_a PARTITION OF parted_event FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE parted_event_b PARTITION OF parted_event DEFAULT;
};
my @names = qw(product parted split event parted_event);

$_->safe_psql('postgres', $tables) for $publisher, $subscriber;
$publisher->safe_psql('postgres', q{
INSERT INTO product SELECT i, 'p-' || i, 'red shoes number ' || i, i FROM generate_series(1, 50) AS i;
INSERT INTO parted SELECT i, i % 2, 'green tea ' || i, i FROM generate_series(1, 50) AS i;
INSERT INTO split SELECT i, i % 2, 'blue hat ' || i, i FROM generate_series(1, 50) AS i;
INSERT INTO event SELECT i, 'v' || i % 7, 'p-' || 1 + i * 3 % 11, '2024-01-01'::timestamptz + i * interval '1 hour' FROM generate_series(1, 60) AS i;
INSERT INTO parted_event SELECT i, i % 7, 1 + i * 3 % 11, '2024-01-01'::date + i FROM generate_series(1, 60) AS i;
CREATE PUBLICATION by_root FOR TABLE product, parted, event, parted_event WITH (publish_via_partition_root = true);
CREATE PUBLICATION by_leaf FOR TABLE split;
});
install_rebuilt($subscriber);
$subscriber->safe_psql('postgres', qq{
SELECT product_llm.load_model('tiny', '$golden/bert-mean');
SELECT product_llm.create_catalog('shop', 'product', 'sku', 'title', 'tiny'),
	product_llm.create_catalog('parted', 'parted', 'id', 'title', 'tiny'),
	product_llm.create_catalog('split', 'split', 'id', 'title', 'tiny'),
	product_llm.bind_events('shop', 'event', 'visitor', 'sku', 'at'),
	product_llm.bind_events('parted', 'parted_event', 'visitor', 'item', 'at');
CREATE SUBSCRIPTION sub CONNECTION \$c\$${\ $publisher->connstr('postgres') }\$c\$ PUBLICATION by_root, by_leaf;
});

# All has arrived, and the catalogs are as if built anew from it.
sub arrived
{
	my ($name) = @_;
	my $count = join(' UNION ALL ', map { "SELECT '$_', count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM $_ AS t" } @names) . ' ORDER BY 1';

	$publisher->wait_for_catchup('sub');
	is($subscriber->safe_psql('postgres', $count), $publisher->safe_psql('postgres', $count), "rows_arrive: $name");
	is_rebuilt($subscriber, "catalogs_are_rebuilt: $name");
	return;
}

# What each catalog holds, to see that there was something to compare.
sub holds
{
	return $subscriber->safe_psql('postgres', q{SELECT string_agg(catalog || ' ' || embedded, ', ' ORDER BY catalog),
		(SELECT count(DISTINCT (a, b)) > 0 FROM shop_pair), (SELECT count(DISTINCT (a, b)) > 0 FROM parted_pair) FROM product_llm.catalogs});
}

$subscriber->poll_query_until('postgres', q{SELECT count(*) > 0 AND bool_and(srsubstate IN ('r', 's')) FROM pg_subscription_rel});
arrived('first copy');
is(holds(), 'parted 50, shop 50, split 50|t|t', 'first_copy_is_embedded_and_learnt_from');

my %change = (
	'1 insert' => q{
		INSERT INTO product SELECT i, 'p-' || i, 'black kettle ' || i, i FROM generate_series(51, 80) AS i;
		INSERT INTO parted VALUES (51, 0, 'silver ring', 1), (52, 1, NULL, 1); INSERT INTO split VALUES (51, 0, 'silver ring', 1), (52, 1, '', 1);
		INSERT INTO event VALUES (100, 'v1', 'p-60', '2024-01-02'), (101, 'new', 'p-61', NULL), (102, NULL, 'p-61', '2024-01-02');
		INSERT INTO parted_event VALUES (100, 1, 7, '2024-01-05'), (101, 2, NULL, '2025-01-01');},
	'2 update' => q{
		UPDATE product SET title = 'white ' || title WHERE id % 3 = 0; UPDATE product SET price = 0; UPDATE product SET sku = 'q-' || id WHERE id < 5;
		UPDATE product SET id = -id WHERE id = 10; UPDATE product SET sku = NULL WHERE id = 11;
		UPDATE parted SET title = 'white ' || title WHERE id % 3 = 0; UPDATE parted SET region = 1 - region WHERE id < 10; UPDATE parted SET id = id + 100 WHERE id = 20;
		UPDATE split SET title = 'white ' || title WHERE id % 3 = 0; UPDATE split SET region = 1 - region WHERE id < 10; UPDATE split SET id = id + 100 WHERE id = 20;
		UPDATE event SET visitor = 'v2' WHERE visitor = 'v1'; UPDATE event SET note = 'x'; UPDATE event SET at = '2024-03-01' WHERE id = 5;
		UPDATE parted_event SET at = at + 31 WHERE id % 5 = 0; UPDATE parted_event SET visitor = 99 WHERE visitor = 3;},
	'3 delete' => q{
		DELETE FROM product WHERE id % 4 = 0; DELETE FROM parted WHERE id % 4 = 0; DELETE FROM split WHERE id % 4 = 0;
		DELETE FROM event WHERE id % 4 = 0; DELETE FROM parted_event WHERE id % 4 = 0;},
	'4 one transaction' => q{
		BEGIN; DELETE FROM product WHERE id = 1; INSERT INTO product VALUES (1, 'q-1', 'back again', 1); SAVEPOINT a; UPDATE product SET title = 'undone'; ROLLBACK TO a;
		UPDATE event SET sku = 'q-1' WHERE id < 20; UPDATE event SET visitor = 'v3' WHERE id < 20; DELETE FROM event WHERE id = 7; INSERT INTO event VALUES (7, 'v3', 'q-2', '2024-01-01');
		INSERT INTO product VALUES (1, 'q-1', 'in conflict', 1), (200, 'q-200', 'new', 1) ON CONFLICT (id) DO UPDATE SET title = excluded.title; COMMIT;
		BEGIN; DELETE FROM product; DELETE FROM event; ROLLBACK;},
	'5 truncate' => q{TRUNCATE parted; TRUNCATE split_1; TRUNCATE parted_event; TRUNCATE event; INSERT INTO event VALUES (1, 'a', 'q-1', '2024-01-01'), (2, 'a', 'q-2', '2024-01-01');});
for my $name (sort keys %change)
{
	my $before = holds();
	$publisher->safe_psql('postgres', $change{$name});
	arrived($name);
	isnt(holds(), $before, "something_changes: $name") unless $name =~ /update/;
}
is($subscriber->safe_psql('postgres', q{SELECT key FROM product_llm.search('shop', 'in conflict', 1)}), 'q-1', 'search_finds_what_arrived');

# The subscriber's own statements, beside those that arrive.
$subscriber->safe_psql('postgres', q{
INSERT INTO product VALUES (1000, 'own', 'of the subscriber', 1); UPDATE parted SET title = 'changed here' WHERE id = 1; DELETE FROM split WHERE id = 2;
INSERT INTO event VALUES (1000, 'a', 'own', '2024-01-01')});
is_rebuilt($subscriber, 'own_statements_and_arrived_ones_agree');

# A partition that comes later inherits what replication needs.
$_->safe_psql('postgres', q{CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2); CREATE TABLE split_2 PARTITION OF split FOR VALUES IN (2)}) for $publisher, $subscriber;
$subscriber->safe_psql('postgres', 'DELETE FROM product WHERE id = 1000; DELETE FROM event WHERE id = 1000; ALTER SUBSCRIPTION sub REFRESH PUBLICATION');
$publisher->safe_psql('postgres', q{UPDATE parted SET title = 'again' WHERE id = 1; INSERT INTO parted VALUES (300, 2, 'late', 1); INSERT INTO split VALUES (300, 2, 'late', 1), (2, 0, 'late', 1) ON CONFLICT (id, region) DO UPDATE SET title = 'late'});
$subscriber->poll_query_until('postgres', q{SELECT bool_and(srsubstate IN ('r', 's')) FROM pg_subscription_rel});
$publisher->wait_for_catchup('sub');
is_rebuilt($subscriber, 'late_partitions_are_followed');
is($subscriber->safe_psql('postgres', q{SELECT (SELECT count(*) FROM parted_embedding WHERE key = '300'), (SELECT count(*) FROM split_embedding WHERE key = '300')}), '1|1', 'late_rows_are_embedded');

$publisher->safe_psql('postgres', 'TRUNCATE product, parted, split, event, parted_event');
arrived('truncate all');
is(holds(), 'parted 0, shop 0, split 0|f|f', 'nothing_is_left_of_truncated_tables');
done_testing();
