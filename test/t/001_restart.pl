# Models are rows: they survive a restart and a crash; the cache file does not, and is rebuilt.
use strict;
use warnings;
use ProductLlm;
use Test::More;

my $node = start_node('main');
my $before = vector_of($node, 'wireless headphones');

is(scalar(cache_files($node)), 1, 'one_cache_file_for_one_model');
$node->restart;
is(scalar(cache_files($node)), 0, 'restart_clears_the_cache');
is(vector_of($node, 'wireless headphones'), $before, 'same_bits_after_restart');
is(scalar(cache_files($node)), 1, 'cache_is_rebuilt_on_use');

$node->stop('immediate');
$node->start;
is(vector_of($node, 'wireless headphones'), $before, 'same_bits_after_crash');

$node->safe_psql('postgres', q{BEGIN; SELECT product_llm.drop_model('shop-mini'); ROLLBACK});
is(vector_of($node, 'wireless headphones'), $before, 'rolled_back_drop_leaves_the_model');
is( $node->safe_psql('postgres',
		q{BEGIN; SELECT product_llm.drop_model('shop-mini'); SAVEPOINT a; SELECT product_llm.load_model('shop-mini');
		  ROLLBACK TO a; ROLLBACK; SELECT count(*) FROM product_llm.models}) =~ /1$/, 1, 'savepoints_hold');

# A model that its transaction does not keep, or that is refused, leaves no file, though it was used.
my $load = "SELECT product_llm.load_model('passing', '" . golden() . "/models/bert-mean'); SELECT product_llm.embed('passing', 'x')";
for ([ 'rollback', "BEGIN; $load; ROLLBACK" ], [ 'savepoint', "BEGIN; SAVEPOINT a; $load; ROLLBACK TO a; COMMIT" ],
	[ 'drop', "BEGIN; $load; SELECT product_llm.drop_model('passing'); COMMIT" ],
	[ 'refused', q{\set ON_ERROR_STOP off
		SET product_llm.max_quantization_loss = 0; SELECT product_llm.quantize_model('passing', 'shop-mini', 'int8')} ])
{
	my ($how, $sql) = @$_;

	$node->psql('postgres', $sql);
	is($node->safe_psql('postgres', 'SELECT count(*) FROM product_llm.models'), 1, "not_kept: $how");
	is(scalar(cache_files($node)), 1, "not_kept_leaves_no_file: $how");
}
$node->safe_psql('postgres', "BEGIN; $load; COMMIT");
is(scalar(cache_files($node)), 2, 'kept_keeps_its_file');
$node->safe_psql('postgres', q{SELECT product_llm.drop_model('passing')});

$node->safe_psql('postgres', q{SELECT product_llm.drop_model('shop-mini')});
is(scalar(cache_files($node)), 0, 'drop_removes_the_cache_file');
isnt($node->psql('postgres', q{SELECT product_llm.embed('shop-mini', 'x')}), 0, 'dropped_model_is_gone');
is($node->safe_psql('postgres', 'SELECT 1'), 1, 'server_is_up');
done_testing();
