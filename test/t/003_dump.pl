# pg_dump carries models: plain and custom format; export gives back the loaded files; pg_upgrade carries them too.
use strict;
use warnings;
use ProductLlm;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main');
my $dump = $node->basedir . '/dump.custom';
my $golden = golden() . '/models/bert-classify';

$node->safe_psql('postgres', "SELECT product_llm.load_model('tiny', '$golden')");
$node->safe_psql('postgres', q{SELECT product_llm.quantize_model('small', 'shop-seed', 'int8')});
$node->safe_psql('postgres', q{
	CREATE TABLE public.product (id int, title text,
		embedding real[] GENERATED ALWAYS AS (product_llm.embed('shop-seed', title)) STORED);
	INSERT INTO public.product VALUES (1, 'red shoes'), (2, '无线耳机'), (3, '');
	CREATE INDEX ON public.product ((product_llm.embed('shop-seed', title)));
});
my $rows = q{SELECT * FROM public.product ORDER BY id};
my $models = q{SELECT model, architecture, task, dimensions, parameters, bytes, parent, sha256 FROM product_llm.models ORDER BY 1};

$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'pg_dump_runs');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'pg_restore', '-d', 'copy', $dump ], 'pg_restore_runs');
is($node->safe_psql('copy', $models), $node->safe_psql('postgres', $models), 'restored_models_are_equal');
is($node->safe_psql('copy', $rows), $node->safe_psql('postgres', $rows), 'restored_generated_column_is_equal');
is(vector_of($node, 'green tea', 'copy'), vector_of($node, 'green tea'), 'restored_model_gives_the_same_bits');
is( $node->safe_psql('copy', q{SELECT product_llm.embed('small', 'green tea')}),
	$node->safe_psql('postgres', q{SELECT product_llm.embed('small', 'green tea')}), 'restored_quantized_model_too');
# The tiny model was never used, so it was never unpacked.
is(scalar(cache_files($node)), 2, 'databases_share_one_cache_file_for_the_same_content')
	or diag(join("\n", cache_files($node)));

my $out = $node->basedir . '/exported';
$node->safe_psql('copy', "SELECT product_llm.export_model('tiny', '$out')");
for my $path (glob("$golden/* $golden/*/*"))
{
	next if -d $path;
	(my $name = $path) =~ s/^\Q$golden\E\///;
	next if !-e "$out/$name" && $name =~ /^reference\.json$/;
	is(slurp_file("$out/$name"), slurp_file($path), "export_is_byte_exact: $name");
}

# The same server version on both sides: what is tested is that pg_upgrade finds nothing that it cannot carry.
my $new = PostgreSQL::Test::Cluster->new('new');
$new->init;
$node->safe_psql('postgres', 'DROP DATABASE copy');
my $vector = vector_of($node, 'green tea');
my $before = $node->safe_psql('postgres', $models);
(my $program = `sh -c 'command -v postgres'`) =~ s{/postgres\s*$}{};
$node->stop;
chdir($node->basedir);
command_ok(
	[   'pg_upgrade', '-d', $node->data_dir, '-D', $new->data_dir, '-b', $program, '-B', $program,
		'-p', $node->port, '-P', $new->port, '-s', $node->host ],
	'pg_upgrade_runs');
$new->start;
is($new->safe_psql('postgres', $models), $before, 'upgraded_models_are_equal');
is(vector_of($new, 'green tea'), $vector, 'upgraded_model_gives_the_same_bits');
done_testing();
