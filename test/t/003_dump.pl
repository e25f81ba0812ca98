# pg_dump carries models, catalogs and who may use them; export gives back the loaded files; pg_upgrade carries them too.
use strict;
use warnings;
use ProductLlm;
use Rebuilt;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main');
my $dump = $node->basedir . '/dump.custom';
my $golden = golden() . '/models/bert-classify';

$node->safe_psql('postgres', "SELECT product_llm.load_model('tiny', '$golden')");
$node->safe_psql('postgres', q{SELECT product_llm.quantize_model('small', 'shop-mini', 'int8')});
$node->safe_psql('postgres', q{
	CREATE TABLE public.product (id int, title text,
		embedding real[] GENERATED ALWAYS AS (product_llm.embed('shop-mini', title)) STORED);
	INSERT INTO public.product VALUES (1, 'red shoes'), (2, '无线耳机'), (3, '');
	CREATE INDEX ON public.product ((product_llm.embed('shop-mini', title)));
	CREATE TABLE public.goods (sku text PRIMARY KEY, title text, price int);
	INSERT INTO public.goods VALUES ('a', 'red shoes', 1), ('b', 'green tea', 2), ('c', 'kettle for tea', 3);
	CREATE TABLE public.event (visitor text, sku text, at timestamptz);
	CREATE INDEX ON public.event (visitor);
	INSERT INTO public.event VALUES ('v', 'a', '2024-01-01'), ('v', 'b', '2024-01-02'), ('w', 'b', '2024-01-01'), ('w', 'c', '2024-01-02');
	SELECT product_llm.create_catalog('goods', 'public.goods', 'sku', 'title', 'shop-mini', title => 'title', language => 'english');
	SELECT product_llm.bind_events('goods', 'public.event', 'visitor', 'sku', 'at');
});
install_rebuilt($node);
# Who may do what, and which model is for whom; a role that gets a level, one that loses what everybody has, one that the model is for.
$node->safe_psql('postgres', q{
	CREATE ROLE shop_trainer;
	CREATE ROLE shop_visitor;
	CREATE ROLE shop_guest;
	SELECT product_llm.grant_role('shop_trainer', 'trainer'), product_llm.grant_role('shop_visitor', 'user'), product_llm.revoke_role('public', 'user');
	SELECT product_llm.revoke_model('tiny', 'public'), product_llm.grant_model('tiny', 'shop_trainer');
});

# What each role may do there.
sub rights
{
	my ($on, $db) = @_;
	my $said = '';

	for my $role (qw(shop_trainer shop_visitor shop_guest))
	{
		my $i = 0;
		for my $sql (q{SELECT product_llm.count_tokens('shop-mini', 'x')}, q{SELECT product_llm.count_tokens('tiny', 'x')},
			q{SELECT product_llm.grant_model('tiny', 'public')}, q{SELECT product_llm.drop_model('none')})
		{
			my ($out, $err) = ('', '');

			$on->psql($db, "BEGIN; SET LOCAL ROLE $role; $sql; ROLLBACK", stdout => \$out, stderr => \$err);
			$said .= "$role $i: " . ($err =~ /ERROR:  (.*)/ ? $1 : 'may') . "\n";
			$i++;
		}
	}
	return $said;
}
my $rights = <<'RIGHTS';
shop_trainer 0: may
shop_trainer 1: may
shop_trainer 2: must be owner of model "tiny"
shop_trainer 3: permission denied for function drop_model
shop_visitor 0: may
shop_visitor 1: permission denied for model "tiny"
shop_visitor 2: permission denied for function grant_model
shop_visitor 3: permission denied for function drop_model
shop_guest 0: permission denied for schema product_llm
shop_guest 1: permission denied for schema product_llm
shop_guest 2: permission denied for schema product_llm
shop_guest 3: permission denied for schema product_llm
RIGHTS
is(rights($node, 'postgres'), $rights, 'roles_have_their_rights');

# What search and recommend say, that the catalog is as built anew, and that it still follows its source.
sub catalog_works
{
	my ($on, $db, $name) = @_;

	is($on->safe_psql($db, q{SELECT string_agg(key, ' ') FROM product_llm.search('goods', 'tea', 3)}), 'b c a', "${name}_catalog_is_searched");
	is($on->safe_psql($db, q{SELECT key, source, because FROM product_llm.recommend('goods', 'v', 1)}), 'c|together|{b}', "${name}_catalog_recommends");
	$on->safe_psql($db, q{INSERT INTO public.goods VALUES ('d', 'teapot', 5); UPDATE public.goods SET title = 'blue shoes' WHERE sku = 'a';
		INSERT INTO public.event VALUES ('w', 'd', '2024-01-03')});
	is_rebuilt($on, "${name}_catalog_follows_its_source", $db);
	$on->safe_psql($db, q{DELETE FROM public.goods WHERE sku = 'd'; UPDATE public.goods SET title = 'red shoes' WHERE sku = 'a';
		DELETE FROM public.event WHERE sku = 'd'});
	return;
}
catalog_works($node, 'postgres', 'original');
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
is(rights($node, 'copy'), $rights, 'restored_roles_have_their_rights');
catalog_works($node, 'copy', 'restored');
is(scalar(cache_files($node)), 3, 'databases_share_one_cache_file_for_the_same_content')
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
$new->init(extra => [@locale]);
$node->safe_psql('postgres', 'DROP DATABASE copy');
my $vector = vector_of($node, 'green tea');
my $before = $node->safe_psql('postgres', $models);
(my $program = `sh -c 'command -v postgres'`) =~ s{/postgres\s*$}{};
$node->stop;
chdir($node->basedir);
my ($said, $complained) = run_command(
	[   'pg_upgrade', '-d', $node->data_dir, '-D', $new->data_dir, '-b', $program, '-B', $program,
		'-p', $node->port, '-P', $new->port, '-s', $node->host ]);
like("$said$complained", qr/Upgrade Complete/, 'pg_upgrade_runs');
$new->start;
is($new->safe_psql('postgres', $models), $before, 'upgraded_models_are_equal');
is(vector_of($new, 'green tea'), $vector, 'upgraded_model_gives_the_same_bits');
is(rights($new, 'postgres'), $rights, 'upgraded_roles_have_their_rights');
catalog_works($new, 'postgres', 'upgraded');
done_testing();
