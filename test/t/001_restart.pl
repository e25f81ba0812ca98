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
$node->safe_psql('postgres', q{SELECT product_llm.drop_model('shop-mini')});
is(scalar(cache_files($node)), 0, 'drop_removes_the_cache_file');
isnt($node->psql('postgres', q{SELECT product_llm.embed('shop-mini', 'x')}), 0, 'dropped_model_is_gone');
is($node->safe_psql('postgres', 'SELECT 1'), 1, 'server_is_up');
done_testing();
