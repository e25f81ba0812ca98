# What comes of trainings: weights that run away give way to the last good ones; a pretraining in the background and its picture;
# exported directories in the reference library's layout, which load again as the same model.
use strict;
use warnings;
use ProductLlm;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', empty => 1);
my $golden = golden() . '/models';
my $scratch = PostgreSQL::Test::Utils::tempdir();

$node->safe_psql('postgres', qq{
	SELECT product_llm.load_model('tiny', '$golden/bert-mean');
	CREATE TABLE lesson AS SELECT i, (ARRAY['red', 'blue', 'green'])[i % 3 + 1] || ' ' || (ARRAY['dress', 'boot', 'camera'])[i / 3 % 3 + 1] || ' ' || i AS body,
		(ARRAY['wear', 'wear', 'device'])[i / 3 % 3 + 1] AS label FROM generate_series(1, 400) AS i;
});
sub query { return $node->safe_psql('postgres', $_[0]) }

sub finetune
{
	my ($name, $options, $base, $examples) = @_;
	$base //= 'tiny';
	$examples //= 'SELECT body, label FROM lesson';
	return "CALL product_llm.finetune('$name', '$base', 'classification', '$examples', '$options')";
}

# ---- safetensors ----

# The header and where the data begin.
sub read_header
{
	my ($bytes) = @_;
	my $n = unpack('Q<', $bytes);
	return (decode_json(substr($bytes, 8, $n)), 8 + $n);
}

sub slurp_bytes
{
	my ($file) = @_;
	open(my $f, '<:raw', $file) or die "$file: $!";
	local $/;
	return <$f>;
}

# A copy of a golden directory in which each number x of the named tensors (F32) is change->(x).
sub changed_copy
{
	my ($from, $to, $tensors, $change) = @_;
	mkdir $to or die;
	for my $file (grep { -f } glob("$from/*"))
	{
		my $bytes = slurp_bytes($file);
		my ($name) = $file =~ m{([^/]+)$};

		if ($name eq 'model.safetensors')
		{
			my ($header, $data) = read_header($bytes);
			for my $tensor (grep { $_ =~ $tensors } keys %$header)
			{
				my ($first, $end) = @{ $header->{$tensor}{data_offsets} };
				my @x = map { $change->($tensor, $_) } unpack('f<*', substr($bytes, $data + $first, $end - $first));
				substr($bytes, $data + $first, $end - $first) = pack('f<*', @x);
			}
		}
		open(my $f, '>:raw', "$to/$name") or die;
		print $f $bytes;
		close $f;
	}
	return;
}

# ---- numbers that run away ----

#
# In the last layer the feed-forward's inner values are some 1e26 and the weights after them 0: the loss is finite, until the
# updates have made those weights so large that what the norm after them subtracts is infinite.
#
changed_copy("$golden/bert-mean", "$scratch/explosive", qr/encoder\.layer\.1\.(intermediate|output)\.dense\.weight/,
	sub { my ($tensor, $x) = @_; return $tensor =~ /intermediate/ ? $x * 3e26 : 0; });
mkdir "$scratch/explosive/1_Pooling";
append_to_file("$scratch/explosive/1_Pooling/config.json", slurp_file("$golden/bert-mean/1_Pooling/config.json"));
query("SELECT product_llm.load_model('explosive', '$scratch/explosive')");
my $wild = '"learning_rate": 0.01, "schedule": "constant", "warmup": 0, "validation": 0, "batch": 16, "precision": "f32", "dropout": 0';
my ($status, $out, $err) = $node->psql('postgres', finetune('wild', "{\"steps\": 500, $wild}", 'explosive'));
like($err, qr/ERROR:  (?:the (?:loss|norm of the gradient) of step (\d+) is -?(?:nan|inf))/, 'a_loss_that_is_not_finite_is_an_error');
like($err, qr/HINT:  A lower learning rate/, 'with_a_hint');
my ($failed) = $err =~ /of step (\d+) is/;
my $run = query(q{SELECT max(run) FROM product_llm.training_runs});
my $good = query("SELECT checkpoint_step FROM product_llm.training_runs WHERE run = $run AND state = 'failed' AND error ~ 'step $failed is'");
note("step $failed fails, the weights after step $good are kept");
cmp_ok($failed, '>', 2, 'some_steps_were_good');
is($good, $failed - 2, 'the_weights_before_the_update_that_broke_them_are_kept');
is(query(q{SELECT count(*) FROM product_llm.models WHERE model = 'wild'}), 0, 'there_is_no_model_of_it');
query("CALL product_llm.finish_training($run)");
query(finetune('short', "{\"steps\": $good, $wild}", 'explosive'));
query(finetune('shorter', sprintf("{\"steps\": %d, $wild}", $good - 1), 'explosive'));
sub apart
{
	my ($one, $other) = @_;
	return query(qq{SELECT max(abs(a.probability - b.probability)) FROM product_llm.classify('$one', 'red boot 5') AS a
		JOIN product_llm.classify('$other', 'red boot 5') AS b USING (label)});
}
# Taking an update back leaves some rounding; a step more or less moves probabilities by much more.
cmp_ok(apart('wild', 'short'), '<', 1e-5, 'they_are_those_of_a_training_that_ended_there');
cmp_ok(apart('wild', 'shorter'), '>', 1e-4, 'and_not_those_of_another_step');
note('probabilities differ by ' . apart('wild', 'short') . ', from those of a step before by ' . apart('wild', 'shorter'));

# An absurd learning rate: whatever becomes of it, the server lives, and the answer is a model or a clear error.
($status, $out, $err) = $node->psql('postgres', finetune('absurd', '{"steps": 60, "learning_rate": 10, "weight_decay": 0, "clip": 0}'));
ok($status == 0 || $err =~ /is -?(nan|inf)/, 'an_absurd_learning_rate_ends_well') or diag($err);
is(query('SELECT 1'), 1, 'the_server_is_up');

# ---- pretraining in the background ----
query(q{CALL product_llm.pretrain('words', 'SELECT body FROM lesson', NULL, '{"tokenizer": "tiny", "width": 32, "layers": 1, "heads": 2, "ff": 64,
	"positions": 32, "steps": 300, "batch": 32, "learning_rate": 0.003, "validation": 0.2, "evaluate_every": 30, "background": true}')});
ok($node->poll_query_until('postgres', q{SELECT state IN ('done', 'failed', 'cancelled') FROM product_llm.training_runs WHERE model = 'words'}),
	'a_pretraining_goes_on_in_the_background');
is(query(q{SELECT state, error, step, example_rows + held_out_rows, best_metric FROM product_llm.training_runs WHERE model = 'words'}),
	'done||300|400|loss', 'and_ends');
is(query(q{SELECT count(*) FROM product_llm.fill_mask('words', 'red [MASK] 3', 4)}), 4, 'its_model_fills_in_masks');
is(query(q{SELECT parent IS NULL, metrics ->> 'task', (metrics ->> 'held_out_rows')::int > 0, (metrics #>> '{loss,value}')::float8 < 5
	FROM product_llm.models WHERE model = 'words'}), 't|masked|t|t', 'what_was_measured_is_in_its_row');
$run = query(q{SELECT run FROM product_llm.training_runs WHERE model = 'words'});
is(query("SELECT count(*) FROM product_llm.training_metrics WHERE run = $run AND metric = 'loss'"), 11, 'each_evaluation_is_a_point');

# ---- its picture ----

# Boxes (left, top, right, bottom) of all texts, letters being 0.6 of their size wide.
sub text_boxes
{
	my ($svg) = @_;
	my @boxes;

	while ($svg =~ m{<text ([^>]*)>([^<]*)</text>}g)
	{
		my ($attributes, $text) = ($1, $2);
		my %a = $attributes =~ /([\w-]+)="([^"]*)"/g;
		my $size = $a{'font-size'} // 12;
		my $width = $a{textLength} // 0.6 * $size * length($text);
		my $anchor = $a{'text-anchor'} // 'start';
		my $left = $a{x} - ($anchor eq 'middle' ? $width / 2 : $anchor eq 'end' ? $width : 0);

		push @boxes, [ $left, $a{y} - 0.75 * $size, $left + $width, $a{y} + 0.2 * $size, $text ];
	}
	return @boxes;
}

sub check_picture
{
	my ($run, $width, $height) = @_;
	my $svg = query("SELECT product_llm.training_svg($run, $width, $height)");
	my @boxes = text_boxes($svg);
	my (@over, @outside, @far);

	is(query("SELECT xml_is_well_formed_document(product_llm.training_svg($run, $width, $height))"), 't', "svg_is_well_formed: $width x $height");
	like($svg, qr{^<svg xmlns="http://www.w3.org/2000/svg" width="$width" height="$height" viewBox="0 0 $width $height"}, "svg_has_its_size: $width x $height");
	like($svg, qr{>training $run: words, masked, step 300 of 300, done</text>}, "svg_has_a_title: $width x $height");
	like($svg, qr{>step</text>}, "svg_names_its_axis: $width x $height");
	like($svg, qr{>training loss</text>.*>held-out loss, best [\d.]+ after step \d+</text>}s, "svg_has_a_legend: $width x $height");
	cmp_ok(scalar(grep { $_->[4] =~ /^[\d.]+$/ } @boxes), '>=', 7, "svg_has_numbers_at_its_axes: $width x $height");
	unlike($svg, qr{<script|href=|url\(}, "svg_is_self_contained: $width x $height");
	for my $i (0 .. $#boxes)
	{
		my $a = $boxes[$i];
		push @outside, $a->[4] if $a->[0] < 0 || $a->[1] < 0 || $a->[2] > $width || $a->[3] > $height;
		for my $b (@boxes[ $i + 1 .. $#boxes ])
		{
			push @over, "$a->[4] / $b->[4]" if $a->[0] < $b->[2] && $b->[0] < $a->[2] && $a->[1] < $b->[3] && $b->[1] < $a->[3];
		}
	}
	is("@outside", '', "svg_texts_are_in_the_image: $width x $height");
	is(join(', ', @over), '', "svg_texts_do_not_overlap: $width x $height");
	my @lines = $svg =~ /<polyline [^>]*points="([^"]*)"/g;
	is(scalar(@lines), 2, "svg_has_two_series: $width x $height");
	for my $point (map { split / / } @lines)
	{
		my ($x, $y) = split /,/, $point;
		push @far, $point if $x < 64 || $x > $width - 64 || $y < 74 || $y > $height - 52;
	}
	is("@far", '', "svg_points_are_in_the_plot: $width x $height");
	return;
}
check_picture($run, @$_) for [ 760, 420 ], [ 320, 200 ], [ 2000, 1000 ];
my @chart = split /\n/, query("SELECT product_llm.training_chart($run)");
like($chart[0], qr/^training $run: words, masked, step 300 of 300, done$/, 'chart_has_a_title');
is(scalar(grep { /^training loss, now|^held-out loss, best/ } @chart), 2, 'chart_has_two_panels');

# ---- exported ----

# name => shape of everything that the reference library's class of that name has, for a configuration.
sub bert_layout
{
	my ($c) = @_;
	my ($class) = @{ $c->{architectures} };
	my ($C, $F) = ($c->{hidden_size}, $c->{intermediate_size});
	my %t = (
		'embeddings.word_embeddings.weight' => [ $c->{vocab_size}, $C ],
		'embeddings.position_embeddings.weight' => [ $c->{max_position_embeddings}, $C ],
		'embeddings.token_type_embeddings.weight' => [ $c->{type_vocab_size}, $C ],
		'embeddings.LayerNorm.weight' => [$C], 'embeddings.LayerNorm.bias' => [$C]);

	for my $l (0 .. $c->{num_hidden_layers} - 1)
	{
		my $at = "encoder.layer.$l";
		for my $linear ([ 'attention.self.query', $C, $C ], [ 'attention.self.key', $C, $C ], [ 'attention.self.value', $C, $C ],
			[ 'attention.output.dense', $C, $C ], [ 'intermediate.dense', $F, $C ], [ 'output.dense', $C, $F ])
		{
			my ($name, $n, $k) = @$linear;
			$t{"$at.$name.weight"} = [ $n, $k ];
			$t{"$at.$name.bias"} = [$n];
		}
		for my $norm ('attention.output.LayerNorm', 'output.LayerNorm')
		{
			$t{"$at.$norm.$_"} = [$C] for 'weight', 'bias';
		}
	}
	return (%t, 'pooler.dense.weight' => [ $C, $C ], 'pooler.dense.bias' => [$C]) if $class eq 'BertModel';
	%t = map { ("bert.$_" => $t{$_}) } keys %t;
	if ($class eq 'BertForSequenceClassification')
	{
		my $n = keys %{ $c->{id2label} };
		%t = (%t, 'bert.pooler.dense.weight' => [ $C, $C ], 'bert.pooler.dense.bias' => [$C], 'classifier.weight' => [ $n, $C ],
			'classifier.bias' => [$n]);
	}
	elsif ($class eq 'BertForMaskedLM')
	{
		%t = (%t, 'cls.predictions.bias' => [ $c->{vocab_size} ], 'cls.predictions.transform.dense.weight' => [ $C, $C ],
			map { ("cls.predictions.transform.$_" => [$C]) } 'dense.bias', 'LayerNorm.weight', 'LayerNorm.bias');
	}
	return %t;
}

sub check_export
{
	my ($model, $class, $type, $text) = @_;
	my $folder = "$scratch/exported_$model";

	query("SELECT product_llm.export_model('$model', '$folder')");
	query("SELECT product_llm.load_model('${model}_again', '$folder')");
	is(query("SELECT count(DISTINCT sha256), count(DISTINCT architecture), count(DISTINCT labels) FROM product_llm.models WHERE model IN ('$model', '${model}_again')"),
		'1|1|' . ($class eq 'BertForSequenceClassification' ? 1 : 0), "an_exported_model_loads_as_the_same: $model");
	is(query(sprintf($text, "${model}_again")), query(sprintf($text, $model)), "and_gives_the_same_bits: $model");

	my $config = decode_json(slurp_file("$folder/config.json"));
	my $bytes = slurp_bytes("$folder/model.safetensors");
	my ($header, $data) = read_header($bytes);
	my %want = bert_layout($config);
	my $at = 0;
	my @wrong;

	is($config->{architectures}[0], $class, "config_names_the_class: $model");
	is($config->{model_type}, 'bert', "config_names_the_type: $model");
	is($config->{torch_dtype}, { F32 => 'float32', F16 => 'float16' }->{$type}, "config_names_the_precision: $model");
	is((delete $header->{__metadata__})->{format}, 'pt', "weights_say_how_they_are_laid_out: $model");
	is(join(' ', sort keys %$header), join(' ', sort keys %want), "tensors_have_the_librarys_names: $model");
	for my $name (sort { $header->{$a}{data_offsets}[0] <=> $header->{$b}{data_offsets}[0] } keys %$header)
	{
		my $t = $header->{$name};
		my $n = 1;

		$n *= $_ for @{ $t->{shape} };
		push @wrong, "$name: [@{$t->{shape}}]" if "@{$t->{shape}}" ne "@{$want{$name} // []}" || $t->{dtype} ne $type;
		push @wrong, "$name at $t->{data_offsets}[0], not $at" if $t->{data_offsets}[0] != $at;
		$at += $n * ($type eq 'F32' ? 4 : 2);
		push @wrong, "$name ends at $t->{data_offsets}[1], not $at" if $t->{data_offsets}[1] != $at;
	}
	is("@wrong", '', "tensors_have_their_shapes_end_to_end: $model");
	is(length($bytes), $data + $at, "there_is_nothing_after_them: $model");
	ok(-s "$folder/vocab.txt", "the_vocabulary_is_there: $model");
	return ($config, $folder);
}

query(finetune('kinds', '{"steps": 40, "precision": "f32"}'));
query(q{CALL product_llm.finetune('both', 'tiny', 'classification', 'SELECT body, ARRAY[label, left(body, 1)] FROM lesson', '{"steps": 20}')});
query(q{CALL product_llm.finetune('finder', 'tiny', 'retrieval', 'SELECT label, body FROM lesson', '{"steps": 20}')});
query(q{CALL product_llm.finetune('adapted', 'tiny', 'similarity', 'SELECT label, body, i % 2 FROM lesson', '{"steps": 20, "lora_rank": 4}')});
query(q{CALL product_llm.finetune('ranker', 'tiny', 'ranking', 'SELECT label, body, i % 3 FROM lesson', '{"steps": 20}')});
my $classes = q{SELECT string_agg(label || ' ' || probability, ', ' ORDER BY label) FROM product_llm.classify('%s', 'blue camera 3')};
my $vector = q{SELECT product_llm.embed('%s', 'blue camera 3')};
my ($config) = check_export('kinds', 'BertForSequenceClassification', 'F32', $classes);
is(join(' ', map { $config->{id2label}{$_} } sort keys %{ $config->{id2label} }), 'device wear', 'config_has_the_labels');
is($config->{label2id}{wear}, 1, 'config_has_their_numbers');
is($config->{problem_type}, 'single_label_classification', 'config_says_that_there_is_one');
($config) = check_export('both', 'BertForSequenceClassification', 'F16', $classes);
is($config->{problem_type}, 'multi_label_classification', 'config_says_that_there_are_several');
my (undef, $folder) = check_export('finder', 'BertModel', 'F16', $vector);
is(decode_json(slurp_file("$folder/modules.json"))->[1]{type}, 'sentence_transformers.models.Pooling', 'an_embedder_says_how_it_pools');
check_export('adapted', 'BertModel', 'F16', $vector);
($config) = check_export('ranker', 'BertForSequenceClassification', 'F16', q{SELECT product_llm.score('%s', 'wear', 'red boot 5')});
is(scalar(keys %{ $config->{id2label} }), 1, 'a_ranker_has_one_label');
check_export('words', 'BertForMaskedLM', 'F16', q{SELECT string_agg(token || ' ' || probability, ', ' ORDER BY token) FROM product_llm.fill_mask('%s', 'red [MASK] 3', 10)});
done_testing();
