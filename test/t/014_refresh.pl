# refresh_catalog: killed in the middle it goes on from there, others see how far it is, and a change of model outlives a crash.
# One statement is one batch, however many rows it writes.
use strict;
use warnings;
use ProductLlm;
use Rebuilt;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $rows = 10000;
my $node = start_node('main', conf => "autovacuum = off\ntrack_functions = all\nmax_parallel_maintenance_workers = 2\n");

install_rebuilt($node);
$node->safe_psql('postgres', qq{
SELECT product_llm.quantize_model('small', 'shop-mini', 'int8');
CREATE TABLE product (id int PRIMARY KEY, title text, body text);
INSERT INTO product SELECT i, 'product number ' || i, repeat('with some words ', 3 + i % 5) FROM generate_series(1, $rows) AS i;
SELECT product_llm.create_catalog('goods', 'product', 'id', 'title || '' '' || body', 'shop-mini', sync => 'manual', title => 'title', language => 'simple');
});

# Begin a refresh, return its handle and process once it has committed some batches but not all.
sub begin_refresh
{
	my $out = '';
	my $in = "SELECT pg_backend_pid();\nCALL product_llm.refresh_catalog('goods');\n";
	my $begun = $node->safe_psql('postgres', 'SELECT coalesce(max(started_at), now()) FROM product_llm.refresh_progress');
	my $h = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>&1');

	$h->pump until $out =~ /(\d+)\n/;
	my $pid = $1;
	$h->pump_nb;
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM product_llm.refresh_progress WHERE started_at > '$begun' AND done > 0") or die $out;
	return ($h, $pid);
}

# Row versions of a table of embeddings, to see later which were written again.
sub remember { my ($table, $as) = @_; $node->safe_psql('postgres', "CREATE TABLE $as AS SELECT key, ctid AS place, xmin::text AS writer FROM $table"); return; }

sub untouched { my ($table, $as) = @_; return $node->safe_psql('postgres', "SELECT count(*) FROM $table AS s JOIN $as AS r ON r.key = s.key AND r.place = s.ctid AND r.writer = s.xmin::text"); }

# ---- killed in the middle ----

my ($h, $pid) = begin_refresh();
my ($state, $done, $total, $speed, $eta) = split /\|/,
	$node->safe_psql('postgres', q{SELECT state, done, total, rows_per_second > 0, eta BETWEEN interval '0' AND interval '10 minutes' FROM product_llm.refresh_progress});
is("$state $total $speed $eta", "running $rows t t", 'another_session_sees_progress_and_eta');
cmp_ok($done, '<', $rows, 'it_is_in_the_middle');
my ($out, $err) = ('', '');
$node->psql('postgres', q{CALL product_llm.refresh_catalog('goods')}, stderr => \$err);
like($err, qr/catalog "goods" is being refreshed by another session/, 'two_do_not_refresh_together');
is($node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 10000)"), 't', 'it_is_terminated');
eval { $h->finish };
my $kept = $node->safe_psql('postgres', 'SELECT count(*) FROM goods_embedding');
cmp_ok($kept, '>=', $done, 'what_was_committed_stays');
cmp_ok($kept, '<', $rows, 'the_rest_is_missing');
is($node->safe_psql('postgres', q{SELECT state FROM product_llm.refresh_progress}), 'running', 'it_does_not_say_done');
is($node->safe_psql('postgres', q{SELECT count(*) FROM product_llm.search('goods', 'product number 17', 5)}), 5, 'what_is_there_is_searched');
remember('goods_embedding', 'first_run');
$node->safe_psql('postgres', q{UPDATE product SET title = 'changed' WHERE id = 1});
my $changed = $node->safe_psql('postgres', q{SELECT count(*) FROM first_run WHERE key = '1'});
$node->safe_psql('postgres', q{CALL product_llm.refresh_catalog('goods')});
is($node->safe_psql('postgres', q{SELECT state, done, total FROM product_llm.refresh_progress}), join('|', 'done', ($rows - $kept + $changed) x 2), 'called_again_it_does_the_rest');
is(untouched('goods_embedding', 'first_run'), $kept - $changed, 'and_only_the_rest');
is_rebuilt($node, 'it_is_complete');

# ---- another model, and a crash in the middle ----

$node->safe_psql('postgres', q{SELECT product_llm.alter_catalog('goods', sync => 'trigger'), product_llm.alter_catalog('goods', model => 'small')});
my $search = q{SELECT key, semantic_score FROM product_llm.search('goods', 'words with a number', 20, mode => 'semantic')};
my $before = $node->safe_psql('postgres', $search);
($h, $pid) = begin_refresh();
is($node->safe_psql('postgres', $search), $before, 'searches_use_the_old_vectors_while_the_new_are_made');
$node->stop('immediate');
eval { $h->finish };
$node->start;
is($node->safe_psql('postgres', 'SELECT model, next_model, embedded, stale FROM product_llm.catalogs'), "shop-mini|small|$rows|0", 'after_the_crash_the_old_model_stands');
is($node->safe_psql('postgres', $search), $before, 'and_finds_the_same');
$kept = $node->safe_psql('postgres', 'SELECT count(*) FROM goods_embedding_1');
ok($kept > 0 && $kept < $rows, 'some_new_vectors_are_there') or diag($kept);
remember('goods_embedding_1', 'before_crash');
$node->safe_psql('postgres', q{UPDATE product SET title = 'changed between' WHERE id = 2; DELETE FROM product WHERE id = 3; INSERT INTO product VALUES (0, 'new', '')});
$changed = $node->safe_psql('postgres', q{SELECT count(*) FROM before_crash WHERE key IN ('2', '3')});
is_rebuilt($node, 'writers_keep_both');
$node->safe_psql('postgres', q{CALL product_llm.refresh_catalog('goods')});
is($node->safe_psql('postgres', 'SELECT model, next_model, embedded, stale FROM product_llm.catalogs'), "small||$rows|0", 'completed_it_switches');
is(untouched('goods_embedding_1', 'before_crash'), $kept - $changed, 'new_vectors_from_before_the_crash_are_kept');
is_rebuilt($node, 'all_is_of_the_new_model');
isnt($node->safe_psql('postgres', $search), $before, 'searches_use_the_new_vectors');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relname = 'goods_embedding'}), 0, 'the_old_vectors_are_gone');

# ---- one statement, one batch ----

my $n = 10000;
my $calls = q{SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE schemaname = 'product_llm' AND funcname IN ('embed', 'catalog_compute')};
$node->safe_psql('postgres', qq{CREATE TABLE texts AS SELECT i, 'item ' || i || ' of some words' AS t FROM generate_series(10001, 10000 + $n) AS i});
my $texts = q{(SELECT array_agg(t || ' ') FROM texts)};
$node->safe_psql('postgres', q{SELECT product_llm.prewarm('small')});
my $raw = timed(sub { $node->safe_psql('postgres', "SELECT count(*) FROM product_llm.embed('small', $texts)") });
sub count_calls { $node->safe_psql('postgres', 'SELECT pg_stat_force_next_flush()') if $node->safe_psql('postgres', 'SHOW server_version_num') >= 150000; return $node->safe_psql('postgres', $calls); }
my $calls_before = count_calls();
my $took = timed(sub { $node->safe_psql('postgres', q{INSERT INTO product SELECT i, t, '' FROM texts}) });
# One call to reconcile the statement's keys, and one that embeds all of them.
is(count_calls() - $calls_before, 2, 'ten_thousand_rows_are_one_batch');
note(sprintf('%d rows: %.2f s raw, %.2f s inserted, ratio %.2f', $n, $raw, $took, $took / $raw));
# Beside embedding, an INSERT writes rows and indexes words: about half as much again.  One call a row costs several times as much.
cmp_ok($took, '<', 4 * $raw + 2, 'an_insert_takes_about_as_long_as_embedding_its_texts');
$calls_before = count_calls();
$node->safe_psql('postgres', q{DELETE FROM product WHERE id > 10000});
is(count_calls() - $calls_before, 1, 'deleting_embeds_nothing');
is($node->safe_psql('postgres', 'SELECT embedded FROM product_llm.catalogs'), $rows, 'ten_thousand_rows_are_gone');
done_testing();
