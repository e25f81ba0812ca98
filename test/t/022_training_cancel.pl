# Each slow phase of a training ends within 100 ms of its statement_timeout: reading rows, cutting texts into tokens, the teacher's
# vectors, steps, evaluation, nearest texts, writing.  The run's row says "cancelled", no model is half made, a checkpoint stays.
use strict;
use warnings;
use ProductLlm;
use Test::More;

my $node = start_node('main');
my $golden = golden() . '/models/bert-mean';
$node->safe_psql('postgres', qq{
	SELECT product_llm.load_model('tiny', '$golden');
	CREATE TABLE goods AS SELECT i, 'product number ' || i || ' with some words and more of them' AS t, 'article ' || i || ' of the shop' AS u
		FROM generate_series(1, 60000) AS i;
	ANALYZE;
});
sub query { return $node->safe_psql('postgres', $_[0]) }

sub finetune
{
	my ($model, $base, $task, $examples, $options) = @_;
	return "CALL product_llm.finetune('$model', '$base', '$task', \$q\$$examples\$q\$, '$options')";
}

# What the run's row says of the phase: rows not yet counted; counted, but no step; steps.
my $phase = q{SELECT CASE WHEN step > 0 THEN 'steps' WHEN example_rows IS NOT NULL THEN 'before steps' ELSE 'reading' END
	FROM product_llm.training_runs WHERE model = '%s' ORDER BY run DESC LIMIT 1};
my $few = 'WHERE i <= 2000';
my $steps = '{"steps": 100000, "batch": 64, "validation": 0}';
my $held = '{"steps": 100000, "batch": 64, "validation": 0.9}';
my @cases = (
	[ 'reading', 'reading', [ 600, 1300 ],
		finetune('%s', 'tiny', 'classification', 'SELECT md5(i::text), i % 3 FROM generate_series(1, 3000000) AS i', '{}') ],
	[ 'tokens_of_long_texts', 'reading', [ 900, 1600 ],
		finetune('%s', 'shop-seed', 'retrieval', "SELECT repeat(t, 10000), repeat(u, 10000) FROM goods $few", '{}') ],
	[ 'teaching', 'reading', [ 900, 1500 ], finetune('%s', 'shop-seed', 'distillation', 'SELECT t FROM goods', '{"teacher": "shop-seed"}') ],
	[ 'steps_of_classification', 'steps', [ 3000, 2500 ], finetune('%s', 'shop-seed', 'classification', "SELECT t, i % 3 FROM goods $few", $steps) ],
	[ 'steps_of_retrieval', 'steps', [ 3000, 2500 ], finetune('%s', 'shop-seed', 'retrieval', "SELECT t, u FROM goods $few", $steps) ],
	[ 'steps_of_ranking', 'steps', [ 3000, 2500 ], finetune('%s', 'shop-seed', 'ranking', "SELECT t, u, i % 4 FROM goods $few", $steps) ],
	[ 'steps_of_similarity', 'steps', [ 3000, 2500 ], finetune('%s', 'shop-seed', 'similarity', "SELECT t, u, i % 4 FROM goods $few", $steps) ],
	[ 'steps_of_distillation', 'steps', [ 3500, 3000 ],
		finetune('%s', 'shop-seed', 'distillation', 'SELECT t FROM goods WHERE i <= 500', '{"teacher": "shop-seed", "steps": 100000, "batch": 64, "validation": 0}') ],
	[ 'steps_of_pretraining', 'steps', [ 3000, 2500 ],
		"CALL product_llm.pretrain('%s', 'SELECT t FROM goods $few', 'shop-seed', '$steps')" ],
	[ 'evaluating_classes', 'before steps', [ 1500, 2200 ], finetune('%s', 'shop-seed', 'classification', 'SELECT t, i % 3 FROM goods', $held) ],
	[ 'evaluating_pretraining', 'before steps', [ 1500, 2200 ],
		"CALL product_llm.pretrain('%s', 'SELECT t FROM goods', 'shop-seed', '$held')" ],
	[ 'nearest', 'before steps', [ 2500, 3500 ], finetune('%s', 'tiny', 'retrieval', 'SELECT t, u FROM goods', $held) ],
	[ 'mining', 'before steps', [ 2500, 3500 ],
		finetune('%s', 'tiny', 'retrieval', 'SELECT t, u FROM goods', '{"steps": 100000, "hard_negatives": 4, "validation": 0}') ]);

for my $threads (0, 2)
{
	for my $case (@cases)
	{
		my ($name, $where, $timeouts, $sql) = @$case;
		my $timeout = $timeouts->[ $threads > 0 ];
		my $model = "${name}_$threads";
		(my $call = $sql) =~ s/%s/$model/;
		my $ms = late($node, "$name, $threads threads", $call, "SET product_llm.threads = $threads", $timeout);

		cmp_ok($ms // 1e9, '<=', 100, "within_100_ms: $name after $timeout ms, $threads threads");
		is(query(sprintf($phase, $model)), $where, "it_was_stopped_where_it_should: $name, $threads threads");
		note("$name, $threads threads: " . ($ms // 'not') . " ms late");
	}
}
is(query(q{SELECT DISTINCT state FROM product_llm.training_runs}), 'cancelled', 'all_runs_are_cancelled');
is(query(q{SELECT count(*) FROM product_llm.models}), 2, 'no_model_is_half_made');
is(query(q{SELECT count(*) FROM product_llm.model_file WHERE model NOT IN ('tiny', 'shop-seed')}), 0, 'no_file_is_left');
is(query(q{SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND classid = 'product_llm.training_run'::regclass}), 0, 'no_lock_is_left');

# A model that is made of nothing, and written at once: timeouts at all moments until it is there.
my ($most, $stopped) = (0, 0);
for (my $timeout = 250; $timeout < 20000; $timeout += 250)
{
	my $best;

	for my $try (1 .. 3)
	{
		my ($out, $err) = ('', '');

		$node->psql('postgres', qq{
			SET statement_timeout = $timeout;
			SELECT extract(epoch FROM clock_timestamp()) AS begin \\gset
			CALL product_llm.pretrain('large', 'SELECT t FROM goods WHERE i <= 64', NULL,
				'{"tokenizer": "shop-seed", "width": 512, "layers": 6, "heads": 8, "ff": 2048, "steps": 1, "validation": 0, "batch": 4}');
			SET statement_timeout = 0;
			SELECT 'late ' || round(1000 * (extract(epoch FROM clock_timestamp()) - :begin)) - $timeout;
		}, stdout => \$out, stderr => \$err, on_error_stop => 0);
		last if $err !~ /canceling statement/;
		my ($ms) = $out =~ /late (-?\d+)/;
		$best = $ms if !defined $best || $ms < $best;
		last if $best <= 100;
	}
	last if !defined $best;
	$stopped++;
	$most = $best if $best > $most;
	note("after $timeout ms: $best ms late");
}
cmp_ok($stopped, '>', 2, 'making_and_writing_a_model_is_stopped');
cmp_ok($most, '<=', 100, 'within_100_ms: opening, one step, writing');
is(query(q{SELECT count(*) FROM product_llm.models WHERE model = 'large'}), 1, 'and_is_made_in_the_end');

# A cancel between two checkpoints leaves the last one, from which the run goes on or is finished.
my ($late) = late($node, 'between checkpoints', finetune('kept', 'shop-seed', 'classification', "SELECT t, i % 3 FROM goods $few",
	'{"steps": 100000, "batch": 16, "validation": 0, "checkpoint_every": 0.3}'), 'SET product_llm.threads = 2', 4000);
cmp_ok($late // 1e9, '<=', 100, 'within_100_ms: with checkpoints');
my $run = query(q{SELECT run FROM product_llm.training_runs WHERE model = 'kept' AND state = 'cancelled' AND checkpoint_step > 0 AND checkpoint_step <= step});
isnt($run, '', 'a_checkpoint_is_left');
my $at = query("SELECT checkpoint_step FROM product_llm.training_runs WHERE run = $run");
($late) = late($node, 'gone on', "CALL product_llm.resume_training($run)", 'SET product_llm.threads = 2', 4000);
cmp_ok($late // 1e9, '<=', 100, 'within_100_ms: when it goes on');
cmp_ok(query("SELECT checkpoint_step FROM product_llm.training_runs WHERE run = $run"), '>', $at, 'it_goes_on_from_there');
query("CALL product_llm.finish_training($run)");
is(query(q{SELECT count(*) FROM product_llm.classify('kept', 'product')}), 3, 'and_can_be_finished');
done_testing();
