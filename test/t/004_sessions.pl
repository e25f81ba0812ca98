# Many sessions share one copy of a model, and the first call of a new one is quick.
use strict;
use warnings;
use ProductLlm;
use PostgreSQL::Test::Utils;
use IPC::Run;
use List::Util qw(max sum);
use Test::More;
use Time::HiRes qw(time sleep);

my $sessions = 100;
my $node = start_node('main', conf => "max_connections = 120\nshared_buffers = '64MB'\n");
my $size = -s((cache_files($node))[0] // '') || 0;

vector_of($node, 'warm');
$size = -s((cache_files($node))[0]);
cmp_ok($size, '>', 1_000_000, 'the_cache_file_holds_the_model');

# Each session first does nothing (to know what an idle backend has), then embeds.
my (@psql, @pid, @idle, @used, @first);
for my $i (1 .. $sessions)
{
	my ($in, $out) = ('', '');
	my $h = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>&1');
	push @psql, { h => $h, in => \$in, out => \$out };
}

sub ask
{
	my ($session, $sql) = @_;

	${ $session->{out} } = '';
	${ $session->{in} } .= "$sql;\n\\echo done\n";
	$session->{h}->pump until ${ $session->{out} } =~ /^done$/m;
	(my $answer = ${ $session->{out} }) =~ s/\n?done\n//;
	return $answer;
}

for my $s (@psql)
{
	push @pid, ask($s, 'SELECT pg_backend_pid()');
	ask($s, q{SELECT count(*) FROM pg_class, product_llm.models});
	push @idle, private_kb($pid[-1]) // 0;
}
SKIP:
{
	skip 'no smaps_rollup on this kernel', 5 unless -e '/proc/self/smaps_rollup';
	cmp_ok($idle[0], '>', 0, 'private_memory_can_be_read');
	my $expected;
	my $equal = 1;
	for my $s (@psql)
	{
		my $begin = time();
		my $v = ask($s, q{SELECT md5(product_llm.embed('shop-mini', 'wireless headphones')::text)});
		push @first, time() - $begin;
		$expected //= $v;
		$equal &&= $v eq $expected;
	}
	ok($equal, 'every_session_gives_the_same_bits');
	ask($_, q{SELECT count(*) FROM product_llm.embed('shop-mini', array_fill('a longer text about running shoes '::text || repeat('word ', 100), ARRAY[64]))})
	  for @psql[0 .. 9];
	push @used, private_kb($_) for @pid;
	my $most = max(map { $used[$_] - $idle[$_] } 0 .. $#used);
	cmp_ok($most, '<', 20 * 1024, 'private_memory_of_each_is_below_20_MB_above_idle');
	note("private kB above idle: most $most, mean " . sum(map { $used[$_] - $idle[$_] } 0 .. $#used) / @used);
	@first = sort { $a <=> $b } @first;
	cmp_ok($first[ @first / 2 ], '<', 0.1, 'first_call_of_a_new_session_takes_less_than_100_ms');
	note(sprintf('first call: median %.1f ms, most %.1f ms', 1000 * $first[ @first / 2 ], 1000 * $first[-1]));
	is(scalar(cache_files($node)), 1, 'one_cache_file_for_all');
}
$_->{h}->finish for map { ${ $_->{in} } .= "\\q\n"; $_ } @psql;

# All start at once on a server that has no cache file: one builds it, all answer.
$node->restart;
my @at_once = map { my ($i, $o) = ("SELECT md5(product_llm.embed('shop-mini', 'x')::text);\n", ''); { in => \$i, out => \$o } } 1 .. 20;
$_->{h} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres') ], '<', $_->{in}, '>', $_->{out}, '2>&1') for @at_once;
$_->{h}->finish for @at_once;
my %answers = map { ${ $_->{out} } => 1 } @at_once;
is(scalar(keys %answers), 1, 'twenty_sessions_at_once_build_it_once') or diag(join("\n", keys %answers));
my @left = grep { /\.tmp/ } glob($node->data_dir . '/base/pgsql_tmp/*');
is(scalar(@left), 0, 'no_half_built_file_is_left');
done_testing();
