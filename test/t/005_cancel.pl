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

# A shop: 4,000 products, 60,000 events of 12,000 visitors, and a role that sees all but every tenth row of both.
$node->safe_psql('postgres', q{
	CREATE TABLE goods AS SELECT i, (SELECT string_agg('w' || chr(97 + (i * k) % 23) || chr(97 + (i / k) % 19), ' ') FROM generate_series(1, 6) AS k) AS t
		FROM generate_series(1, 4000) AS i;
	ALTER TABLE goods ADD PRIMARY KEY (i);
	CREATE TABLE event AS SELECT v, 1 + (v * 7 + n * n * 13) % 4000 AS i, timestamptz '2024-01-01' + n * interval '1 hour' AS at
		FROM generate_series(1, 12000) AS v, generate_series(1, 5) AS n;
	CREATE INDEX ON event (v);
	SELECT product_llm.create_catalog('goods', 'goods', 'i', 't', 'shop-mini', title => 't'),
		product_llm.bind_events('goods', 'event', 'v', 'i', 'at');
	CREATE ROLE customer;
	GRANT SELECT ON goods, event TO customer;
	CREATE POLICY most ON goods USING (i % 10 > 0);
	CREATE POLICY most ON event USING (v % 10 > 0);
	ALTER TABLE goods ENABLE ROW LEVEL SECURITY;
	ALTER TABLE event ENABLE ROW LEVEL SECURITY;
	ANALYZE;
});

my $two = 'SET product_llm.threads = 2';
my $one = 'SET product_llm.threads = 0';
for my $case (
	[ 'embed_rows', q{SELECT count(product_llm.embed('shop-mini', t)) FROM texts}, $one ],
	[ 'embed_array_1_thread', q{SELECT count(*) FROM product_llm.embed('shop-mini', (SELECT array_agg(t) FROM texts))}, $one ],
	[ 'embed_array_2_threads', q{SELECT count(*) FROM product_llm.embed('shop-mini', (SELECT array_agg(t) FROM texts))}, $two ],
	[ 'rerank', q{SELECT count(*) FROM product_llm.rerank('shop-mini', 'shoes', (SELECT array_agg(t) FROM texts))}, $one ],
	[ 'explain_score', q{SELECT count(*) FROM texts, LATERAL product_llm.explain_score('shop-mini', 'shoes', t || repeat(' and words', 100), steps => 256, truncate => true)}, $one ],
	[ 'counterfactual', q{SELECT count(*) FROM texts, LATERAL product_llm.counterfactual('shop-mini', 'shoes', t, 'shoe')}, $one ],
	[ 'tokenize_100_MB', q{SELECT count(product_llm.count_tokens('shop-mini', CASE WHEN i > 0 THEN repeat('word and another ', 6000000) END)) FROM generate_series(1, 50) AS i}, $one, 1000 ],
	[ 'search_with_slow_filter', q{SELECT * FROM product_llm.search('goods', 'waa wbb', 10, '(SELECT count(*) FROM generate_series(1, 10000 + i)) < 0')}, $one ],
	[ 'search_with_slow_filter_and_hidden_rows', q{SELECT * FROM product_llm.search('goods', 'waa wbb', 10, '(SELECT count(*) FROM generate_series(1, 10000 + i)) < 0')}, 'SET ROLE customer' ],
	[ 'evaluate_search', q{SELECT * FROM product_llm.evaluate_search('goods', 'SELECT t, i, 1 FROM goods')}, $one ],
	[ 'evaluate_recommendations', q{SELECT * FROM product_llm.evaluate_recommendations('goods', samples => 100000)}, $one ],
	[ 'tune_catalog', q{SELECT * FROM product_llm.tune_catalog('goods')}, $one ],
	[ 'recommend_with_hidden_rows', q{SELECT count(*) FROM generate_series(1, 12000) AS v, LATERAL product_llm.recommend('goods', v::text, 10)}, 'SET ROLE customer' ],
	[ 'explain_recommendation', q{SELECT count(*) FROM generate_series(1, 12000) AS v, LATERAL product_llm.recommend('goods', v::text, 1) AS r, LATERAL product_llm.explain_recommendation('goods', v::text, r.key)}, $one ])
{
	# later: PostgreSQL takes so many milliseconds to make the text, once, and copies it without a look at the request.
	my ($name, $sql, $settings, $later) = @$case;

	# Two moments, which are in different parts of the longer ones.
	for my $timeout (map { $_ + ($later // 0) } 500, 900)
	{
		my $ms = late($node, $name, $sql, $settings, $timeout);

		cmp_ok($ms // 1e9, '<=', 100, "within_100_ms: $name after $timeout ms");
		note("$name: " . ($ms // 'not') . " ms late");
	}
}

# Seconds from pg_cancel_backend or pg_terminate_backend, sent from another session, to the end of the statement.
sub acts_after
{
	my ($how) = @_;
	my ($in, $out) = ('', '');
	my $h = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>&1');

	$in .= "SELECT pg_backend_pid();\n";
	$h->pump until $out =~ /(\d+)\n/;
	my $pid = $1;
	$in .= "SET product_llm.threads = 2; SELECT count(*) FROM product_llm.embed('shop-mini', (SELECT array_agg(t) FROM texts));\n";
	$h->pump_nb;
	sleep 1;
	my $begin = time();
	is($node->safe_psql('postgres', "SELECT $how($pid)"), 't', "$how is sent");
	$node->poll_query_until('postgres',
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid AND state = 'active')");
	my $took = time() - $begin;
	$in .= "\\q\n";
	eval { $h->finish };
	return $took;
}

# Two client programs are started meanwhile; the best of three tries, for the reason above.
for my $how ('pg_cancel_backend', 'pg_terminate_backend')
{
	my $best = acts_after($how);

	for (my $try = 2; $try <= 3 && $best >= 0.5; $try++)
	{
		my $took = acts_after($how);
		$best = $took if $took < $best;
	}
	cmp_ok($best, '<', 0.5, "${how}_acts_soon");
	note(sprintf('%s: %.0f ms, the client programs included', $how, 1000 * $best));
}
is($node->safe_psql('postgres', 'SELECT 1'), 1, 'server_is_up');
done_testing();
