# Whatever is done to products and events, a catalog equals one that is built anew: random histories by one session and by two.
use strict;
use warnings;
use ProductLlm;
use Rebuilt;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{PLM_SEED} // 20260729;
my $rounds = $ENV{PLM_ROUNDS} // 8;
my $golden = golden() . '/models';
my $node = start_node('main', empty => 1, conf => "deadlock_timeout = '50ms'\nlog_min_messages = fatal\nmax_connections = 20\n");
my $merges = $node->safe_psql('postgres', q{SELECT current_setting('server_version_num')::int >= 150000}) eq 't';

diag("PLM_SEED=$seed PLM_ROUNDS=$rounds");
srand($seed);
install_rebuilt($node);
$node->safe_psql('postgres', <<"SQL");
SELECT product_llm.load_model('tiny', '$golden/bert-mean'), product_llm.load_model('other', '$golden/bert-max');
SELECT product_llm.quantize_model('small', 'tiny', 'int8');
CREATE TABLE whole (id int PRIMARY KEY, region int, title text, body text, price int, both_texts text GENERATED ALWAYS AS (coalesce(title, '') || coalesce(body, '')) STORED);
-- Partitions with other orders of columns; a key is unique because each range of keys keeps to its own tables.
CREATE TABLE parted (id int, region int NOT NULL, title text, body text, price int, both_texts text GENERATED ALWAYS AS (coalesce(title, '') || coalesce(body, '')) STORED,
	PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES IN (0);
CREATE TABLE parted_1 (both_texts text GENERATED ALWAYS AS (coalesce(title, '') || coalesce(body, '')) STORED, price int, gone int, body text, title text, region int NOT NULL, id int NOT NULL);
ALTER TABLE parted_1 DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_1 FOR VALUES IN (1);
CREATE TABLE parted_rest PARTITION OF parted DEFAULT PARTITION BY RANGE (id);
CREATE TABLE parted_low PARTITION OF parted_rest FOR VALUES FROM (MINVALUE) TO (20);
CREATE TABLE parted_high PARTITION OF parted_rest FOR VALUES FROM (20) TO (MAXVALUE);
-- A BEFORE trigger that changes titles, of one partition only.
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN IF NEW.price % 3 = 0 THEN NEW.title := upper(NEW.title); END IF; RETURN NEW; END \$\$;
CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON parted_high FOR EACH ROW EXECUTE FUNCTION shout();
SELECT product_llm.create_catalog('whole', 'whole', 'id', 'both_texts', 'tiny', title => 'title', language => 'simple'),
	product_llm.create_catalog('parted', 'parted', 'id', 'coalesce(title, '''') || '' '' || coalesce(body, '''')', 'tiny', title => 'title', language => 'simple');

CREATE TABLE visitor (name text PRIMARY KEY);
INSERT INTO visitor SELECT 'v' || i FROM generate_series(0, 5) AS i;
CREATE TABLE event (id int PRIMARY KEY, visitor text REFERENCES visitor ON DELETE CASCADE ON UPDATE CASCADE, item int, at timestamptz, kind text, note text);
CREATE INDEX ON event (visitor);
CREATE TABLE parted_event (id int, visitor int, item text, at date, kind text, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE parted_event_a (note text, kind text, at date NOT NULL, item text, visitor int, id int NOT NULL);
ALTER TABLE parted_event ATTACH PARTITION parted_event_a FOR VALUES FROM ('2024-01-01') TO ('2024-01-08');
CREATE TABLE parted_event_b PARTITION OF parted_event DEFAULT;
SELECT product_llm.bind_events('whole', 'event', 'visitor', 'item', 'at', 'kind', '{"view": 1, "cart": 3, "ignored": 0}'),
	product_llm.bind_events('parted', 'parted_event', 'visitor', 'item', 'at');
-- Triggers of the shop that write events, before and after those of the catalog.
CREATE TABLE orders (id int, visitor text, item int);
CREATE FUNCTION ordered() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
	INSERT INTO event VALUES (NEW.id, NEW.visitor, NEW.item, '2024-01-05', 'cart') ON CONFLICT (id) DO UPDATE SET visitor = excluded.visitor;
	RETURN NULL;
END \$\$;
CREATE TRIGGER ordered AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION ordered();
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
	IF pg_trigger_depth() < 2 THEN
		UPDATE event SET item = item + 1 WHERE note = 'next' AND id % 2 = 0;
		BEGIN
			INSERT INTO event VALUES (-1, 'v1', 3, '2024-01-03', 'view');
			DELETE FROM event WHERE id = -1;
			IF random() < 0.5 THEN PERFORM 1 / 0; END IF;
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
		UPDATE event SET note = 'done' WHERE note = 'next';
	END IF;
	RETURN NULL;
END \$\$;
CREATE TRIGGER a_noted AFTER INSERT OR UPDATE ON event FOR EACH STATEMENT EXECUTE FUNCTION noted();
CREATE TRIGGER z_noted AFTER INSERT ON event FOR EACH STATEMENT EXECUTE FUNCTION noted();
SQL

# ---- random statements ----

sub pick { return $_[ int rand @_ ]; }

my @word = qw(red green blue shoes tea hat cup of leather wool MZ-75E500B 无线耳机 čaj);

sub words
{
	return pick('NULL', "''", map { "'" . join(' ', map { pick(@word) } 1 .. 1 + rand 4) . "'" } 1 .. 8);
}

sub key { return int rand 40; }

sub product_row
{
	my $id = key();

	return sprintf('(%d, %d, %s, %s, %d)', $id, $id % 4, words(), words(), rand 10);
}

sub product_rows { my %seen; return join(', ', grep { /\((\d+)/; !$seen{$1}++ } map { product_row() } 1 .. 1 + rand 5); }

my $columns = '(id, region, title, body, price)';

sub product_statement
{
	my $t = pick(qw(whole parted));
	my ($i, $j) = (key(), key());
	my $conflict = $t eq 'whole' ? '(id)' : '(id, region)';
	my $rows = product_rows();
	my @all = (
		"INSERT INTO $t $columns VALUES $rows ON CONFLICT DO NOTHING",
		"INSERT INTO $t $columns VALUES $rows ON CONFLICT $conflict DO UPDATE SET title = excluded.title",
		"INSERT INTO $t $columns VALUES $rows ON CONFLICT $conflict DO UPDATE SET price = excluded.price WHERE $t.price < 5",
		"INSERT INTO $t $columns VALUES $rows",
		"UPDATE $t SET title = " . words() . " WHERE id % 7 = " . ($i % 7),
		"UPDATE $t SET body = body || title WHERE id BETWEEN $i AND $j",
		"UPDATE $t SET price = price + 1 WHERE id BETWEEN $i AND $j",
		"UPDATE $t SET title = body, body = title WHERE id = $i",
		# Another key, and another partition.
		"UPDATE $t SET id = id + 4 WHERE id = $i AND NOT EXISTS (SELECT FROM $t WHERE id = $i + 4)",
		"UPDATE $t SET region = 4 - region WHERE id BETWEEN $i AND $j AND region > 0",
		"UPDATE $t SET id = -id WHERE id % 11 = " . ($j % 11),
		"DELETE FROM $t WHERE id BETWEEN $i AND $i + 4",
		"DELETE FROM $t WHERE title IS NULL",
		"WITH d AS (DELETE FROM $t WHERE id = $i RETURNING *) UPDATE $t SET body = (SELECT max(title) FROM d) WHERE id = $j",
		"WITH d AS (DELETE FROM $t WHERE id BETWEEN $i AND $i + 2 RETURNING *) INSERT INTO $t $columns SELECT id + 1000, region, title, body, price FROM d",
		"DELETE FROM parted_1 WHERE id = $i",
		"UPDATE parted_1 SET title = " . words() . " WHERE id % 2 = 0",
		"UPDATE parted_rest SET price = price + 1",
		"INSERT INTO parted_high $columns VALUES (39, 3, 'straight into a leaf', NULL, 3) ON CONFLICT DO NOTHING",
		"COPY $t $columns FROM stdin;\n" . join("\n", map { my $k = 2000 + int rand 1e6; "$k\t" . ($k % 4) . "\tcopied $k\t\\N\t1" } 1 .. 3) . "\n\\.",
		"DO \$\$ BEGIN UPDATE $t SET title = 'undone' WHERE id < $i; PERFORM 1 / (random() < 0.7)::int; EXCEPTION WHEN division_by_zero THEN NULL; END \$\$");
	push @all, "MERGE INTO $t USING (VALUES $rows) AS n $columns ON $t.id = n.id WHEN MATCHED AND n.price < 3 THEN DELETE"
		. " WHEN MATCHED AND n.price < 7 THEN UPDATE SET title = n.title WHEN MATCHED THEN UPDATE SET price = n.price"
		. " WHEN NOT MATCHED THEN INSERT $columns VALUES (n.id, n.region, n.title, n.body, n.price)"
		if $merges;
	push @all, "TRUNCATE " . pick($t, 'parted_1', 'parted_rest') if rand() < 0.15;
	return pick(@all);
}

sub event_row
{
	my ($t) = @_;
	my $visitor = int rand 6;
	my $item = int rand 8;

	return sprintf('(%d, %s, %s, %s, %s, %s)', rand 60,
		pick(($t eq 'event' ? "'v$visitor'" : $visitor) x 9, 'NULL'), pick(($t eq 'event' ? $item : "'$item'") x 9, 'NULL'),
		pick(("'2024-01-" . (1 + int rand 14) . "'") x 8, "'2999-01-01'", $t eq 'event' ? ('NULL', "'infinity'") : "'0001-01-01 BC'"),
		pick(qw('view' 'cart' 'ignored' 'other' NULL)), pick(qw(NULL NULL 'next')));
}

sub event_rows { my ($t) = @_; my %seen; return join(', ', grep { /\((\d+)/; !$seen{$1}++ } map { event_row($t) } 1 .. 1 + rand 4); }

sub event_statement
{
	my $t = pick(qw(event parted_event));
	my $plain = $t eq 'event';
	my $i = int rand 60;
	my $v = sub { my $n = int rand 6; return $plain ? "'v$n'" : $n };
	my $item = sub { my $n = int rand 8; return $plain ? $n : "'$n'" };
	my ($a, $b) = ($v->(), $v->());
	my $conflict = $plain ? '(id)' : '(id, at)';
	my $rows = event_rows($t);
	my $add = $plain ? "interval '1 day'" : 1;
	my @all = (
		("INSERT INTO $t VALUES $rows ON CONFLICT DO NOTHING") x 3,
		"INSERT INTO $t VALUES $rows ON CONFLICT $conflict DO UPDATE SET visitor = excluded.visitor, item = excluded.item",
		"INSERT INTO $t VALUES $rows ON CONFLICT $conflict DO UPDATE SET note = 'next'",
		"INSERT INTO $t SELECT id + 1000, visitor, item, at, kind, note FROM $t WHERE visitor = $a ON CONFLICT DO NOTHING",
		"UPDATE $t SET item = " . $item->() . " WHERE id % 5 = " . ($i % 5),
		"UPDATE $t SET visitor = $b WHERE visitor = $a",
		"UPDATE $t SET at = at + $add WHERE visitor = $a AND id % 2 = 0",
		"UPDATE $t SET note = 'x', kind = 'view' WHERE visitor = $a",
		"DELETE FROM $t WHERE visitor = $a AND id % 3 = 0",
		"DELETE FROM $t WHERE item = " . $item->(),
		"WITH i AS (INSERT INTO $t VALUES $rows ON CONFLICT DO NOTHING RETURNING 1), d AS (DELETE FROM $t WHERE visitor = $b RETURNING 1)"
			. " UPDATE $t SET item = " . $item->() . " WHERE visitor = $a",
		"UPDATE visitor SET name = name WHERE name = 'v1'",
		"WITH d AS (DELETE FROM visitor WHERE name = 'v" . ($i % 6) . "' RETURNING *) SELECT count(*) FROM d; INSERT INTO visitor VALUES ('v" . ($i % 6) . "') ON CONFLICT DO NOTHING",
		"INSERT INTO orders VALUES ($i, 'v" . ($i % 6) . "', 1), ($i + 1, 'v1', 2), ($i, 'v2', 3)",
		"DO \$\$ BEGIN INSERT INTO $t VALUES $rows; PERFORM 1 / (random() < 0.5)::int; EXCEPTION WHEN OTHERS THEN NULL; END \$\$",
		"DELETE FROM parted_event_a WHERE visitor = " . ($i % 6),
		"INSERT INTO parted_event SELECT 5000 + i + $i * 1000, i, i % 8, '2024-01-03', NULL, NULL FROM generate_series(1, 50) AS i ON CONFLICT DO NOTHING",
		"DELETE FROM parted_event WHERE id > 5000");
	push @all, "MERGE INTO $t USING (VALUES $rows) AS n (id, visitor, item, at, kind, note) ON $t.id = n.id AND $t.at = n.at::date WHEN MATCHED AND n.id % 3 = 0 THEN DELETE"
		. " WHEN MATCHED THEN UPDATE SET item = n.item::" . ($plain ? 'int' : 'text') . " WHEN NOT MATCHED THEN INSERT VALUES (n.id, n.visitor::"
		. ($plain ? 'text' : 'int') . ", n.item::" . ($plain ? 'int' : 'text') . ", n.at::date, n.kind, n.note)"
		if $merges;
	push @all, 'TRUNCATE ' . pick($t, 'parted_event_a', 'parted_event_b') if rand() < 0.15;
	return pick(@all);
}

sub statement { return rand() < 0.5 ? product_statement() : event_statement(); }

# A transaction as a list of statements: alone or several, with savepoints, that ends well or not.
sub history
{
	my ($n) = @_;
	my @out;

	for (1 .. $n)
	{
		if (rand() < 0.4)
		{
			push @out, statement();
			next;
		}
		push @out, pick('BEGIN', 'BEGIN', 'BEGIN ISOLATION LEVEL REPEATABLE READ', 'BEGIN ISOLATION LEVEL SERIALIZABLE');
		my @open;
		for (1 .. 1 + rand 5)
		{
			my $r = rand;
			if ($r < 0.2) { push @open, 's' . scalar @open; push @out, "SAVEPOINT $open[-1]"; }
			elsif ($r < 0.35 && @open) { push @out, "ROLLBACK TO $open[-1]"; }
			elsif ($r < 0.45 && @open) { push @out, 'RELEASE ' . pop @open; }
			# An error in between must not end the transaction, or most of them would do nothing.
			else { push @out, 'SAVEPOINT guard', statement(), 'RELEASE guard'; }
			# Time for the other session to come in between.
			push @out, 'DO $$ BEGIN PERFORM pg_sleep(0.03 * random()); END $$' if rand() < 0.5;
		}
		push @out, rand() < 0.2 ? 'ROLLBACK' : 'COMMIT';
	}
	return @out;
}

# Run histories side by side; what was said, for the record.  After an error psql goes on: a failed guard is rolled back.
sub run_side_by_side
{
	my (@histories) = @_;
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my @running;
	# Each waits until all of them have come, or for a second.
	my $together = "DO \$\$ BEGIN PERFORM set_config('application_name', 'history', false); FOR i IN 1 .. 500 LOOP"
		. " EXIT WHEN (SELECT count(*) FROM pg_stat_activity WHERE application_name = 'history') >= ${\ scalar @histories };"
		. " PERFORM pg_sleep(0.002), pg_stat_clear_snapshot(); END LOOP; END \$\$";

	# Through files: from memory, only the one that is waited for would get its input.
	for my $i (0 .. $#histories)
	{
		append_to_file("$folder/in$i", join('', map { /\\\.$/ ? "$_\n" : "$_;\n" } $together, @{ $histories[$i] }));
		push @running, IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_ROLLBACK=on', '-d', $node->connstr('postgres') ],
			'<', "$folder/in$i", '>', "$folder/out$i", '2>&1');
	}
	$_->finish for @running;
	return join('', map { slurp_file("$folder/out$_") } 0 .. $#histories);
}

# ---- the test ----

# Two sessions, or one while nobody watched, may have given a key to rows of two partitions.
my $make_unique = 'DELETE FROM parted AS a USING parted AS b WHERE a.id = b.id AND a.region < b.region';
my %said;
my ($bad, $done) = (0, 0);

sub check
{
	my ($what, @histories) = @_;
	my $said = run_side_by_side(@histories);
	$node->safe_psql('postgres', $make_unique);
	my $different = differences($node);

	$done += @$_ for @histories;
	while ($said =~ /^(?:psql:.*?)?ERROR:\s+(.*)$/mg)
	{
		(my $m = $1) =~ s/"[^"]*"|\d+/#/g;
		$said{$m}++;
	}
	return if $different eq '';
	$bad++;
	diag("$what\n$different\n", map { "---\n" . join(";\n", @$_) . "\n" } @histories);
	die "too many differences\n" if $bad > 2;
	$node->safe_psql('postgres', 'TRUNCATE whole, parted, event, parted_event');
}

# Plenty to begin with.
$node->safe_psql('postgres', qq{INSERT INTO $_ $columns SELECT i, i % 4, 'red shoes ' || i, 'of leather', i FROM generate_series(0, 35) AS i}) for qw(whole parted);
for my $round (1 .. $rounds)
{
	check("one session, round $round", [ history(8) ]);
	check("two sessions, round $round", [ history(8) ], [ history(8) ]);
	if ($round % 4 == 0)
	{
		my $next = pick(qw(tiny other small));
		check("changing to $next", [ "SELECT product_llm.alter_catalog('whole', model => '$next')", "SELECT product_llm.alter_catalog('parted', model => '$next')" ]);
		check("while changing to $next", [ history(6) ], [ history(6) ]);
		check("completing the change to $next", [ "CALL product_llm.refresh_catalog('whole')", "CALL product_llm.refresh_catalog('parted')" ], [ history(8) ]);
		check("changed to $next", [ "CALL product_llm.refresh_catalog('whole')", "CALL product_llm.refresh_catalog('parted')" ]);
		is($node->safe_psql('postgres', 'SELECT DISTINCT model, next_model FROM product_llm.catalog'), "$next|", "model_is_changed_in_round_$round");
	}
	elsif ($round % 4 == 2)
	{
		# By hand; what happens meanwhile is caught up with.
		run_side_by_side([ "SELECT product_llm.alter_catalog('whole', sync => 'manual')", "SELECT product_llm.alter_catalog('parted', sync => 'manual')", history(8), $make_unique ]);
		check('by hand', [ "CALL product_llm.refresh_catalog('whole')", "CALL product_llm.refresh_catalog('parted')" ]);
		run_side_by_side([ history(4), $make_unique ]);
		check('followed again', [ "SELECT product_llm.alter_catalog('whole', sync => 'trigger')", "SELECT product_llm.alter_catalog('parted', sync => 'trigger')" ]);
	}
	elsif ($round % 4 == 3)
	{
		check('a visitor is forgotten', [ 'BEGIN', event_statement(), "SELECT product_llm.forget('whole', 'v1')", event_statement(), "SELECT product_llm.forget('parted', '2', true)", event_statement(), 'COMMIT' ]);
	}
}
is($bad, 0, 'every_history_leaves_what_building_anew_gives') or diag("PLM_SEED=$seed");
cmp_ok($done, '>', $rounds * 40, 'histories_have_statements');

# Errors are those that the histories ask for, or that two writers must expect.
my $expected = qr/duplicate key value|stands for more than one row|could not serialize|deadlock detected|current transaction is aborted|no such savepoint|savepoint # does not exist|violates foreign key|no partition of relation|MERGE command cannot affect|ON CONFLICT DO UPDATE command cannot affect|catalog # has changed since|tuple to be updated was already modified|tuple to be locked was already moved|violates not-null|ON CONFLICT/;
is(join("\n", grep { !/$expected/ } sort keys %said), '', 'no_error_that_nobody_asked_for');
note("$_: $said{$_}") for sort keys %said;
done_testing();
