# The exact index under concurrent writers and VACUUM, after a crash, and on a standby: always what a sort of all rows gives.
use strict;
use warnings;
use ProductLlm;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('primary', empty => 1, init => { allows_streaming => 1 }, conf => <<'CONF');
wal_consistency_checking = 'generic'
autovacuum = off
max_wal_senders = 4
CONF
$node->backup('base', backup_options => ['--checkpoint=fast']);
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = -1\n");
$standby->start;

$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION vector(seed int, n int DEFAULT 96) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg((sin(seed % 5 * 1000 + i * 7.31) + 0.4 * sin(seed * 91.7 + i * i * 0.37))::real ORDER BY i) FROM generate_series(1, n) AS i $$;
CREATE TABLE item (id serial PRIMARY KEY, embedding real[]);
INSERT INTO item (embedding) SELECT vector(i) FROM generate_series(1, 6000) AS i;
INSERT INTO item (embedding) VALUES (NULL), (NULL);
CREATE INDEX item_flat ON item USING product_flat (embedding);
CREATE UNLOGGED TABLE quick (id int, embedding real[]);
CREATE INDEX quick_flat ON quick USING product_flat (embedding);
INSERT INTO quick SELECT i, vector(i) FROM generate_series(1, 100) AS i;

-- In one snapshot: distances of the first rows by the index and by a sort, and whether the index gives out every row once.
CREATE FUNCTION differ(source text, query real[], most int) RETURNS text LANGUAGE plpgsql STABLE SET search_path = public, product_llm AS $$
DECLARE
	by_index float8[];
	by_sort float8[];
	rows int[];
	all_rows bigint;
BEGIN
	PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true);
	EXECUTE format('SELECT array_agg(d), array_agg(id) FROM (SELECT id, embedding <=> $1 AS d FROM %s ORDER BY embedding <=> $1 LIMIT %s) AS t', source, most)
		INTO by_index, rows USING query;
	PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true), set_config('enable_indexscan', 'off', true);
	EXECUTE format('SELECT array_agg(d) FROM (SELECT embedding <=> $1 AS d FROM %s ORDER BY 1 LIMIT %s) AS t', source, most) INTO by_sort USING query;
	EXECUTE format('SELECT least(count(*), %s) FROM %s', most, source) INTO all_rows;
	PERFORM set_config('enable_indexscan', 'on', true);
	IF by_index IS DISTINCT FROM by_sort OR (SELECT count(DISTINCT r) FROM unnest(rows) AS r) <> all_rows THEN
		RETURN format('%s rows by the index, %s by a sort, %s in all', cardinality(by_index), cardinality(by_sort), all_rows);
	END IF;
	RETURN NULL;
END
$$;

CREATE PROCEDURE write_some(rounds int, seed int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..rounds LOOP
		INSERT INTO item (embedding) SELECT CASE WHEN k < 20 THEN vector(seed + i * 20 + k) END FROM generate_series(1, 20) AS k;
		DELETE FROM item WHERE id IN (SELECT id FROM item ORDER BY id LIMIT 17);
		UPDATE item SET embedding = vector(seed - i) WHERE id IN (SELECT id FROM item ORDER BY id DESC LIMIT 3);
		IF i % 7 = 0 THEN
			ROLLBACK;
		ELSE
			COMMIT;
		END IF;
	END LOOP;
END
$$;
-- How many of so many comparisons have failed, and the first that did.
CREATE FUNCTION compare_many(rounds int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	was text;
BEGIN
	FOR i IN 1..rounds LOOP
		was := differ('item', vector(i * 31), CASE i % 3 WHEN 0 THEN 10 WHEN 1 THEN 300 ELSE 100000 END);
		IF was IS NOT NULL THEN
			RETURN format('round %s: %s', i, was);
		END IF;
	END LOOP;
	RETURN 'same';
END
$$;
SQL

sub by_index
{
	my ($server) = @_;

	return $server->safe_psql('postgres', q{SET search_path = public, product_llm; SET enable_seqscan = off; SET enable_sort = off;
		EXPLAIN SELECT id FROM item ORDER BY embedding <=> vector(1) LIMIT 5;}) =~ /Index Scan using item_flat/;
}
ok(by_index($node), 'the_index_is_used');
is($node->safe_psql('postgres', 'SELECT compare_many(6)'), 'same', 'index_equals_sort');

# ---- writers, VACUUM and readers side by side, on the primary and on the standby ----

my @jobs;

sub job
{
	my ($server, @statements) = @_;
	my ($in, $out, $err) = (join("\n", map { "$_;" } @statements), '', '');
	my $h = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $server->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err);

	push @jobs, { handle => $h, out => \$out, err => \$err };
	return $jobs[-1];
}
my @readers = map { job($node, "SELECT compare_many(120)") } 1 .. 2;
my $far = job($standby, "SELECT compare_many(60)");
my @writers = map { job($node, "CALL write_some(120, $_ * 100000)") } 1 .. 3;
my $vacuum = job($node, ('VACUUM item', 'SELECT pg_sleep(0.05)') x 60);
$_->{handle}->finish for @jobs;
is(${ $_->{out} } . ${ $_->{err} }, "same\n", 'readers_see_what_a_sort_sees_while_rows_come_and_go') for @readers, $far;
is(${ $_->{err} }, '', 'writers_and_vacuum_go_through') for @writers, $vacuum;
is($node->safe_psql('postgres', 'SELECT compare_many(6)'), 'same', 'and_afterwards');

# What was vacuumed is used again: as many rows as before take as many pages.
$node->safe_psql('postgres', 'VACUUM item');
my $pages = $node->safe_psql('postgres', q{SELECT pg_relation_size('item_flat') / 8192});
$node->safe_psql('postgres', q{CALL write_some(20, 7)}), $node->safe_psql('postgres', 'VACUUM item') for 1 .. 5;
my $later = $node->safe_psql('postgres', q{SELECT pg_relation_size('item_flat') / 8192});
cmp_ok($later, '<=', $pages + 20, 'space_is_used_again');

# ---- a scan that holds entries while they are removed and their places taken ----

{
	my ($in, $out, $err) = ('', '', '');
	my $h = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err);
	my $ask = sub {
		my ($sql) = @_;
		my $until = time() + 60;

		$out = '';
		$in .= "$sql;\n\\echo done\n";
		$h->pump until $out =~ /done\n/ || $err ne '' || time() > $until;
		$out =~ s/done\n$//;
		return $out . $err;
	};

	$ask->('SET search_path = public, product_llm; SET enable_seqscan = off; SET enable_sort = off; BEGIN');
	# Rows that are dead to all, but not yet vacuumed: the scan will hold their entries.
	$node->safe_psql('postgres', 'DELETE FROM item WHERE id % 3 = 0');
	my $there = $ask->('SELECT count(*) FROM item');
	$ask->('DECLARE c CURSOR FOR SELECT id FROM item ORDER BY embedding <=> vector(3)');
	my $seen = $ask->('FETCH 5 FROM c');
	$node->safe_psql('postgres', 'DELETE FROM item WHERE id % 2 = 0');
	$node->safe_psql('postgres', 'VACUUM item');
	$node->safe_psql('postgres', 'INSERT INTO item (embedding) SELECT vector(3) FROM generate_series(1, 2000)');
	$seen .= $ask->('FETCH ALL FROM c');
	my @ids = split(/\n/, $seen);
	my %once = map { $_ => 1 } @ids;
	is(scalar(@ids), $there + 0, 'a_scan_gives_the_rows_of_its_snapshot');
	is(scalar(keys %once), $there + 0, 'and_each_once');
	$ask->('COMMIT');
	$in .= "\\q\n";
	$h->finish;
	is($err, '', 'the_scan_goes_on');
}
is($node->safe_psql('postgres', 'SELECT compare_many(3)'), 'same', 'and_others_see_the_new_rows');

# ---- the standby has replayed every page as it is ----

sub catch_up { return $node->wait_for_catchup($standby, 'replay', $node->lsn('insert')); }

catch_up();
ok(by_index($standby), 'the_index_is_used_on_the_standby');
is($standby->safe_psql('postgres', 'SELECT compare_many(6)'), 'same', 'index_equals_sort_on_the_standby');
unlike(slurp_file($standby->logfile), qr/inconsistent page/, 'replayed_pages_are_the_same');

# ---- a crash in the middle of writing ----

for my $round (1 .. 2)
{
	my $writer = job($node, "CALL write_some(100000, $round)");
	my $other = job($node, ('VACUUM item') x 200);
	sleep(2);
	$node->stop('immediate');
	$_->{handle}->finish for $writer, $other;
	$node->start;
	is($node->safe_psql('postgres', 'SELECT compare_many(6)'), 'same', "after_crash_$round");
	is($node->safe_psql('postgres', q{SELECT differ('quick', vector(1), 10)}), '', 'an_unlogged_table_is_empty');
	$node->safe_psql('postgres', 'INSERT INTO quick SELECT i, vector(i) FROM generate_series(1, 100) AS i');
	is($node->safe_psql('postgres', q{SELECT differ('quick', vector(1), 1000)}), '', 'and_can_be_filled');
	$node->safe_psql('postgres', 'VACUUM item');
	is($node->safe_psql('postgres', 'CALL write_some(5, 3); SELECT compare_many(6)'), 'same', "writing_goes_on_$round");
}
catch_up();
$standby->promote;
is($standby->safe_psql('postgres', 'CALL write_some(5, 3); SELECT compare_many(6)'), 'same', 'a_promoted_standby_writes');

# ---- built by several processes: replayed as it is, crashed in the middle, and what they found of old versions is known ----

sub built_by { return $_[0]->safe_psql('postgres', 'SELECT compare_many(6)'); }

$node->safe_psql('postgres', 'ALTER TABLE item SET (parallel_workers = 2); INSERT INTO item (embedding) SELECT vector(i) FROM generate_series(1, 20000) AS i');
my $offset = -s $node->logfile;
$node->safe_psql('postgres', 'SET log_min_messages = debug1; REINDEX INDEX item_flat');
like(slurp_file($node->logfile, $offset), qr/index "item_flat": 2 of 2 parallel workers/, 'workers_build');
is(built_by($node), 'same', 'the_index_that_workers_built');
$node->stop('immediate');
$node->start;
is(built_by($node), 'same', 'replayed_after_a_crash');
{
	my $builder = job($node, ('REINDEX INDEX item_flat') x 1000);
	sleep(2);
	$node->stop('immediate');
	$builder->{handle}->finish;
	$node->start;
	is(built_by($node), 'same', 'a_crash_while_workers_build_leaves_the_index_before');
	$node->safe_psql('postgres', 'REINDEX INDEX CONCURRENTLY item_flat; CALL write_some(5, 3); VACUUM item');
	is(built_by($node), 'same', 'built_beside_then_written');
}
{
	my ($in, $out, $err) = ('', '', '');
	my $h = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err);

	$node->safe_psql('postgres', q{CREATE FUNCTION slow_in_the_leader(v real[]) RETURNS real[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
		BEGIN
			PERFORM pg_sleep(0.01) FROM pg_stat_activity WHERE pid = pg_backend_pid() AND backend_type <> 'parallel worker';
			RETURN v;
		END $$;
		CREATE TABLE versions (id int, embedding real[]) WITH (parallel_workers = 2, fillfactor = 40);
		INSERT INTO versions SELECT i, vector(i) FROM generate_series(1, 3000) AS i});
	$in = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM versions;\n";
	$h->pump until $out =~ /3000/ || $err ne '';
	# The last page of the table alone has an old version that somebody still sees, and a worker meets it.
	$node->safe_psql('postgres', q{UPDATE versions SET embedding = vector(7) WHERE id = 3000;
		CREATE INDEX versions_flat ON versions USING product_flat (slow_in_the_leader(embedding))});
	is($node->safe_psql('postgres', q{SELECT indcheckxmin FROM pg_index WHERE indexrelid = 'versions_flat'::regclass}), 't',
		'an_old_version_that_the_index_lacks_is_known');
	$in .= "COMMIT;\n\\q\n";
	$h->finish;
}

# ---- a page that is not the index's is an error that says what to do ----

$node->safe_psql('postgres', 'CHECKPOINT');
my $file = $node->data_dir . '/' . $node->safe_psql('postgres', q{SELECT pg_relation_filepath('item_flat')});
$node->stop;
open(my $f, '+<:raw', $file) or die;
seek($f, 8192 + 8184, 0);
print $f pack('SS', 0, 60000);
close($f);
$node->start;
my (undef, undef, $error) = $node->psql('postgres', q{SELECT compare_many(1)});
like($error, qr/contains an unexpected page at block 1\n.*REINDEX/s, 'a_damaged_page_is_an_error');
$node->safe_psql('postgres', 'REINDEX INDEX item_flat');
is($node->safe_psql('postgres', 'SELECT compare_many(3)'), 'same', 'and_reindex_mends_it');

done_testing();
