# A training seen from other sessions: progress while it runs, cancel, a name that is taken, background workers.
use strict;
use warnings;
use ProductLlm;
use IPC::Run;
use Test::More;
use Time::HiRes qw(time sleep);

my $node = start_node('main', conf => "max_worker_processes = 3\nmax_parallel_workers = 0\nmax_logical_replication_workers = 0\n");
my $golden = golden() . '/models/bert-mean';

$node->safe_psql('postgres', qq{
	SELECT product_llm.load_model('tiny', '$golden');
	CREATE TABLE lesson AS SELECT i, (ARRAY['red', 'blue', 'green'])[i % 3 + 1] || ' ' || (ARRAY['dress', 'boot', 'camera'])[i / 3 % 3 + 1] || ' ' || i AS body,
		(ARRAY['wear', 'wear', 'device'])[i / 3 % 3 + 1] AS label FROM generate_series(1, 900) AS i;
});
sub call
{
	my ($name, $options, $base) = @_;
	$base //= 'tiny';
	return "CALL product_llm.finetune('$name', '$base', 'classification', 'SELECT body, label FROM lesson', '$options')";
}
sub query { return $node->safe_psql('postgres', $_[0]) }

# ---- progress and cancel, of a small model: its last step is in the checkpoint ----
my $long = '{"steps": 1000000, "checkpoint_every": 1000, "learning_rate": 0.0001}';
my $out = '';
my $h = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', call('long', $long) ], '>', \$out, '2>&1');
ok($node->poll_query_until('postgres', q{SELECT step > 0 FROM product_llm.training_runs WHERE model = 'long'}), 'progress_is_visible');
like(query(q{SELECT state, steps, loss > 0, learning_rate > 0, tokens_per_second > 0, eta > '1 s' FROM product_llm.training_runs WHERE model = 'long'}),
	qr/^running\|1000000\|t\|t\|t\|t$/, 'state_loss_rate_speed_and_eta_are_visible');
my ($status, $stdout, $stderr) = $node->psql('postgres', call('long', '{"steps": 5}'));
like($stderr, qr/ERROR:.*another session/, 'a_name_in_training_is_taken');
my $run = query(q{SELECT run FROM product_llm.training_runs WHERE model = 'long'});
my $begin = time();
is(query("SELECT product_llm.cancel_training($run)"), 't', 'cancel_is_sent');
$node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'CALL product_llm%' AND state = 'active')});
note(sprintf('cancelled after %.0f ms, the client programs included', 1000 * (time() - $begin)));
eval { $h->finish };
like($out, qr/canceling statement due to user request/, 'the_caller_sees_a_cancel');
is(query(q{SELECT state, checkpoint_step = step FROM product_llm.training_runs WHERE model = 'long'}), 'cancelled|t', 'cancel_leaves_a_checkpoint_of_the_last_step');
is(query("SELECT product_llm.cancel_training($run)"), 'f', 'what_does_not_run_is_not_cancelled');
query("CALL product_llm.finish_training($run)");
is(query(q{SELECT count(*) FROM product_llm.classify('long', 'red dress')}), 2, 'a_cancelled_training_can_be_finished');

# ---- within 100 ms, a larger model with steps of its own length ----
my ($late) = ('');
$node->psql('postgres', q{
	SET statement_timeout = 4000;
	SELECT extract(epoch FROM clock_timestamp()) AS begin \gset
	} . call('larger', '{"steps": 100000, "batch": 64}', 'shop-mini') . q{;
	SET statement_timeout = 0;
	SELECT 'late ' || round(1000 * (extract(epoch FROM clock_timestamp()) - :begin)) - 4000;
}, stdout => \$stdout, stderr => \$stderr, on_error_stop => 0);
($late) = $stdout =~ /late (-?\d+)/;
like($stderr, qr/canceling statement due to statement timeout/, 'statement_timeout_stops_a_training');
cmp_ok($late, '<=', 100, 'within_100_ms');
note("$late ms late");
is(query(q{SELECT state, step > 0 FROM product_llm.training_runs WHERE model = 'larger'}), 'cancelled|t', 'and_the_row_says_so');

# ---- background ----
my $short = '{"steps": 300, "background": true, "validation": 0.1}';
($status, $stdout, $stderr) = $node->psql('postgres', call('behind', $short));
like($stderr, qr/NOTICE:.*in the background/, 'background_returns_at_once') or diag($stderr);
ok($node->poll_query_until('postgres', q{SELECT state = 'done' FROM product_llm.training_runs WHERE model = 'behind'}), 'background_training_ends');
is(query(q{SELECT count(*) FROM product_llm.classify('behind', 'red dress')}), 2, 'its_model_is_there');

# With the caller's role, even one that cannot log in, its row-level security and its search path.
query(q{
	CREATE ROLE shopkeeper NOLOGIN;
	GRANT EXECUTE ON PROCEDURE product_llm.finetune(text, text, text, text, jsonb) TO shopkeeper;
	CREATE SCHEMA shop; GRANT USAGE ON SCHEMA shop TO shopkeeper;
	CREATE TABLE shop.lesson_of_mine AS TABLE lesson;
	GRANT SELECT ON shop.lesson_of_mine TO shopkeeper;
	ALTER TABLE shop.lesson_of_mine ENABLE ROW LEVEL SECURITY;
	CREATE POLICY few ON shop.lesson_of_mine USING (i <= 200);
});
$node->psql('postgres', q{SET search_path = shop; SET ROLE shopkeeper;
	CALL product_llm.finetune('theirs', 'tiny', 'classification', 'SELECT body, label FROM lesson_of_mine', '{"steps": 20, "background": true}')});
ok($node->poll_query_until('postgres', q{SELECT state = 'done' FROM product_llm.training_runs WHERE model = 'theirs'}), 'background_training_of_a_role')
	or diag(query(q{SELECT error FROM product_llm.training_runs WHERE model = 'theirs'}));
is(query(q{SELECT owner, example_rows + held_out_rows FROM product_llm.training_runs WHERE model = 'theirs'}), 'shopkeeper|200', 'with_the_callers_rights');

# As many as there are workers; then a clear error and no row.
my @names;
for my $i (1 .. 5)
{
	($status, $stdout, $stderr) = $node->psql('postgres', call("many_$i", '{"steps": 1000000, "background": true}'));
	last if $status != 0;
	push @names, "many_$i";
}
like($stderr, qr/ERROR:.*no background worker is free/, 'no_free_worker_is_an_error');
cmp_ok(scalar(@names), '>=', 1, 'some_had_a_worker');
is(query(q{SELECT count(*) FROM product_llm.training_runs WHERE model LIKE 'many%'}), scalar(@names), 'which_leaves_no_row');
$node->poll_query_until('postgres', q{SELECT bool_and(step > 0) FROM product_llm.training_runs WHERE model LIKE 'many%'});
query(q{SELECT count(product_llm.cancel_training(run)) FROM product_llm.training_runs WHERE model LIKE 'many%'});
ok($node->poll_query_until('postgres', q{SELECT bool_and(state = 'cancelled') FROM product_llm.training_runs WHERE model LIKE 'many%'}), 'background_trainings_are_cancelled');

# A restart interrupts; resume_training goes on where the options say, in the background.
$node->psql('postgres', call('restarted', '{"steps": 800, "background": true, "checkpoint_every": 0.2}'));
$node->poll_query_until('postgres', q{SELECT step > 0 FROM product_llm.training_runs WHERE model = 'restarted'});
$node->restart;
if (query(q{SELECT state FROM product_llm.training_runs WHERE model = 'restarted'}) eq 'interrupted')
{
	my $run = query(q{SELECT run FROM product_llm.training_runs WHERE model = 'restarted'});
	query("CALL product_llm.resume_training($run)");
}
ok($node->poll_query_until('postgres', q{SELECT state = 'done' FROM product_llm.training_runs WHERE model = 'restarted'}), 'goes_on_after_a_restart');
done_testing();
