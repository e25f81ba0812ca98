# Cancel, statement_timeout and terminate act within 100 ms in the middle of long work, and the session goes on.
use strict;
use warnings;
use ProductLlm;
use PostgreSQL::Test::Utils;
use IPC::Run;
use Test::More;
use Time::HiRes qw(time sleep);

my $node = start_node('main');
vector_of($node, 'warm');
$node->safe_psql('postgres', q{
	CREATE TABLE texts AS SELECT i, 'product number ' || i || repeat(' with some words', 8) AS t FROM generate_series(1, 100000) i;
});

# The timeout is set for the statement alone; the time is taken by the client, so it includes everything.
for my $case (
	[ 'embed_rows', q{SELECT count(product_llm.embed('shop-seed', t)) FROM texts} ],
	[ 'embed_array_1_thread', q{SELECT count(*) FROM product_llm.embed('shop-seed', (SELECT array_agg(t) FROM texts))}, 0 ],
	[ 'embed_array_2_threads', q{SELECT count(*) FROM product_llm.embed('shop-seed', (SELECT array_agg(t) FROM texts))}, 2 ],
	[ 'rerank', q{SELECT count(*) FROM product_llm.rerank('shop-seed', 'shoes', (SELECT array_agg(t) FROM texts))} ],
	[ 'tokenize_100_MB', q{SELECT product_llm.count_tokens('shop-seed', repeat('word and another ', 6000000))} ])
{
	my ($name, $sql, $threads) = @$case;
	my ($out, $err, $worst) = ('', '', 0);
	my $cancelled = 1;

	for my $timeout (700, 900)
	{
		# clock_timestamp() of the server before and after, in one session, through the error.
		$node->psql('postgres', qq{
			SET product_llm.threads = ${\ ($threads // 0) };
			SET statement_timeout = $timeout;
			SELECT extract(epoch FROM clock_timestamp()) AS begin \\gset
			$sql;
			SET statement_timeout = 0;
			SELECT 'late ' || round(1000 * (extract(epoch FROM clock_timestamp()) - :begin)) - $timeout;
			SELECT 'alive ' || count(*) FROM product_llm.embed('shop-seed', ARRAY['a', 'b']);
		}, stdout => \$out, stderr => \$err, on_error_stop => 0);
		$cancelled &&= $err =~ /canceling statement due to statement timeout/;
		my ($late) = $out =~ /late (-?\d+)/;
		$worst = $late if $late > $worst;
		like($out, qr/alive 2/, "session_works_after_timeout: $name");
	}
	ok($cancelled, "statement_timeout_cancels: $name") or diag($err);
	cmp_ok($worst, '<=', 100, "within_100_ms: $name");
	note("$name: $worst ms late");
}

# pg_cancel_backend and pg_terminate_backend from another session.
for my $how ('pg_cancel_backend', 'pg_terminate_backend')
{
	my ($in, $out) = ('', '');
	my $h = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>&1');
	$in .= "SELECT pg_backend_pid();\n";
	$h->pump until $out =~ /(\d+)\n/;
	my $pid = $1;
	$in .= "SET product_llm.threads = 2; SELECT count(*) FROM product_llm.embed('shop-seed', (SELECT array_agg(t) FROM texts));\n";
	$h->pump_nb;
	sleep 1;
	my $begin = time();
	is($node->safe_psql('postgres', "SELECT $how($pid)"), 't', "$how is sent");
	$node->poll_query_until('postgres',
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid AND state = 'active')");
	my $took = time() - $begin;
	cmp_ok($took, '<', 0.5, "${how}_acts_soon");
	note(sprintf('%s: %.0f ms, the client programs included', $how, 1000 * $took));
	$in .= "\\q\n";
	eval { $h->finish };
}
is($node->safe_psql('postgres', 'SELECT 1'), 1, 'server_is_up');
done_testing();
