# A server that may not reach the network passes the regression tests: a filter of the kernel ends any process that tries.
use strict;
use warnings;
use File::Basename;
use ProductLlm;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $here = dirname(__FILE__);
my $inputs = dirname($here);
my $dir = PostgreSQL::Test::Utils::tempdir();
my $short = PostgreSQL::Test::Utils::tempdir_short();
my $filter = "$dir/no_network";
(my $pg_ctl = `sh -c 'command -v pg_ctl'`) =~ s/\s+$//;
my ($version) = `postgres --version` =~ /(\d+)/;

plan skip_all => 'statistics of PostgreSQL before 15 go through a network socket' if $version < 15;
plan skip_all => 'no C compiler' if system('sh', '-c', 'command -v cc >/dev/null') != 0;
is(system('cc', '-Wall', '-o', $filter, "$here/no_network.c"), 0, 'the filter is built');
if (system("$filter true 2>/dev/null") >> 8 == 77)
{
	pass('nothing to do # SKIP seccomp filters are not permitted here');
	done_testing();
	exit;
}

# The filter does what it says, and no more.
sub under_filter
{
	my ($code) = @_;
	return system($filter, 'perl', '-MSocket', '-e', $code);
}
is(under_filter('socket(my $s, AF_UNIX, SOCK_STREAM, 0); bind($s, sockaddr_un("' . $short . '/s")) && listen($s, 1) or exit 1'),
	0, 'a Unix socket may be listened on');
for my $try ('socket(my $s, AF_INET, SOCK_STREAM, 0)', 'socket(my $s, AF_INET, SOCK_DGRAM, 0)', 'socket(my $s, AF_INET6, SOCK_STREAM, 0)',
	'socket(my $s, 16, SOCK_RAW, 0)', 'socket(my $s, AF_UNIX, SOCK_STREAM, 0); connect($s, sockaddr_un("' . $short . '/s"))',
	'system("perl", "-MSocket", "-e", "socket(my \$s, AF_INET, SOCK_STREAM, 0)") and kill SYS => $$')
{
	is(under_filter("$try; exit 0") & 127, 31, "is ended by SIGSYS: $try");
}

# The server begins under it, so every process of it is.
mkdir "$dir/bin" or die;
append_to_file("$dir/bin/pg_ctl", qq{#!/bin/sh\nexec '$filter' '$pg_ctl' "\$@"\n});
chmod 0755, "$dir/bin/pg_ctl" or die;
my $node = do
{
	local $ENV{PATH} = "$dir/bin:$ENV{PATH}";
	start_node('no_network', empty => 1, conf => "max_parallel_maintenance_workers = 2\nrestart_after_crash = on\n");
};
like($node->safe_psql('postgres', q{SELECT pg_read_file('/proc/self/status')}), qr/^Seccomp:\s+2$/m, 'backends are under the filter');

my $out = "$dir/regress";
mkdir $out or die;
symlink "$inputs/expected", "$out/expected" or die;
my @tests = map { basename($_, '.sql') } sort glob("$inputs/sql/*.sql");
cmp_ok(scalar(@tests), q(>), 20, 'there are regression tests');
my $passed = run_log(
	[   $ENV{PG_REGRESS}, '--bindir=' . dirname($pg_ctl), "--inputdir=$inputs", "--outputdir=$out",
		($version >= 16 ? "--expecteddir=$inputs" : ()), '--host=' . $node->host, '--port=' . $node->port,
		'--dbname=contrib_regression', '--load-extension=product_llm', '--user=' . $node->safe_psql('postgres', 'SELECT current_user'), @tests ]);
ok($passed, 'regression tests pass') or diag(-e "$out/regression.diffs" ? slurp_file("$out/regression.diffs") : 'no differences were written');
unlike(slurp_file($node->logfile), qr/terminated by signal/, 'no process was ended for trying');

# It would have been: a backend that tries to reach a server is.
SKIP:
{
	skip 'dblink is not installed', 1
		if $node->safe_psql('postgres', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'dblink'}) eq '0';
	eval { $node->psql('postgres', q{CREATE EXTENSION dblink; SELECT dblink_connect('hostaddr=127.0.0.1 port=9 dbname=x')}) };
	# A client that finds no server ends before it has read what is written to it, which IPC::Run takes for an error.
	my $back = 0;
	for (1 .. 600)
	{
		$back = eval { ($node->psql('postgres', 'SELECT true'))[0] == 0 };
		last if $back;
		sleep 0.1;
	}
	ok($back, 'the server is back');
	like(slurp_file($node->logfile), qr/terminated by signal 31/, 'a backend that opens a connection is ended');
}
done_testing();
