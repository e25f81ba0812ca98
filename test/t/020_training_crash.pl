# A training that is killed at random points, with its backend or the whole server, goes on and ends with the same bits.
# PLM_CRASH_ROUNDS rounds (4); "make crash-training" runs 50.
use strict;
use warnings;
use ProductLlm;
use IPC::Run;
use Test::More;
use Time::HiRes qw(time sleep);

my $rounds = $ENV{PLM_CRASH_ROUNDS} // 4;
my $node = start_node('main', empty => 1, conf => "restart_after_crash = on\nautovacuum = off\n");
my $golden = golden() . '/models/bert-mean';
srand($ENV{PLM_CRASH_SEED} // 7);

$node->safe_psql('postgres', qq{
	SELECT product_llm.load_model('tiny', '$golden');
	CREATE TABLE lesson AS SELECT i, (ARRAY['red', 'blue', 'green'])[i % 3 + 1] || ' ' || (ARRAY['dress', 'boot', 'camera'])[i / 3 % 3 + 1] || ' ' || i AS body,
		(ARRAY['wear', 'wear', 'device'])[i / 3 % 3 + 1] AS label FROM generate_series(1, 900) AS i;
});
my $options = '{"steps": 3000, "batch": 32, "learning_rate": 0.001, "checkpoint_every": 0.2, "evaluate_every": 100, "validation": 0.1}';
my $call = sub { return "CALL product_llm.finetune('$_[0]', 'tiny', 'classification', 'SELECT body, label FROM lesson', '$options')" };

my $whole = timed(sub { $node->safe_psql('postgres', $call->('whole')) });
my $expected = $node->safe_psql('postgres', q{SELECT sha256 FROM product_llm.models WHERE model = 'whole'});
my $course = q{SELECT string_agg(concat_ws(' ', metric, step, value), ';' ORDER BY metric, step) FROM product_llm.training_metrics
	WHERE run = (SELECT max(run) FROM product_llm.training_runs WHERE model = '%s')};
my $expected_course = $node->safe_psql('postgres', sprintf($course, 'whole'));
note(sprintf('an uninterrupted training takes %.1f s', $whole));

my ($same, $same_course, $killed, $kept) = (0, 0, 0, 0);
for my $round (1 .. $rounds)
{
	my $name = "round_$round";
	my $done = 0;

	for my $try (0 .. 20)
	{
		my $out = '';
		my $run = $node->safe_psql('postgres', qq{SELECT max(run) FROM product_llm.training_run WHERE model = '$name'});
		my $sql = $run eq '' || $try % 2 ? $call->($name) : "CALL product_llm.resume_training($run)";
		my $h = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', $sql ], '>', \$out, '2>&1');
		my $wait = $try > 3 ? 600 : (0.1 + rand(1.0)) * $whole;
		my $end = time() + $wait;

		while (time() < $end)
		{
			last unless $h->pumpable;
			sleep 0.05;
			$h->pump_nb;
		}
		if ($h->pumpable)
		{
			$killed++;
			if (rand() < 0.5)
			{
				$node->stop('immediate');
				$node->start;
			}
			else
			{
				my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL product_llm%' AND pid <> pg_backend_pid() LIMIT 1});
				kill 'KILL', $pid if $pid;
				sleep 0.2;
				$node->poll_query_until('postgres', 'SELECT true');
			}
		}
		eval { $h->finish };
		$done = $node->safe_psql('postgres', qq{SELECT count(*) FROM product_llm.models WHERE model = '$name'});
		last if $done;
		my $state = $node->safe_psql('postgres', qq{SELECT state FROM product_llm.training_runs WHERE model = '$name'});
		$kept += $node->safe_psql('postgres', qq{SELECT count(checkpoint_step) FROM product_llm.training_runs WHERE model = '$name'});
		is($state, 'interrupted', "round $round: killed_training_is_interrupted") or diag($out) if $state ne '';
	}
	my $got = $node->safe_psql('postgres', qq{SELECT sha256 FROM product_llm.models WHERE model = '$name'});
	$same++ if $got eq $expected;
	$same_course++ if $node->safe_psql('postgres', sprintf($course, $name)) eq $expected_course;
	is($got, $expected, "round $round: same_bits_as_uninterrupted");
}
is($same_course, $rounds, 'same_course_as_uninterrupted');
cmp_ok($kept, '>', 0, 'some_went_on_from_a_checkpoint');
note("$killed kills in $rounds rounds, $kept with a checkpoint, $same rounds with the same bits");
is($node->safe_psql('postgres', 'SELECT count(*) FROM product_llm.training_checkpoint'), 0, 'no_checkpoint_is_left');
done_testing();
