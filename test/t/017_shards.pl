# A catalog over three servers: the same answers, to the bit, as one server with all rows gives; scoring, order and limit run on the shards.
use strict;
use warnings;
use ProductLlm;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my %node = map { $_ => start_node($_, conf => "max_connections = 20\nlog_min_messages = error\n") } qw(front single shard_0 shard_1 shard_2);
my ($front, $single) = @node{qw(front single)};
my @shard = @node{qw(shard_0 shard_1 shard_2)};

sub sql { my ($node, $sql) = @_; return $node->safe_psql('postgres', $sql); }

sub fails
{
	my ($node, $sql, $like, $name) = @_;
	my ($rc, undef, $error) = $node->psql('postgres', $sql);

	return ok($rc != 0 && $error =~ $like, $name) || diag("$rc: $error");
}

my $columns = 'id int, region int, title text, body text, price int, embedding real[]';
my $catalog = q{'goods', 'product', 'id', 'coalesce(title, '''') || '' '' || coalesce(body, '''')', 'shop-mini', title => 'title'};
# 480 products of 24 kinds; every fourth kind is Chinese; some texts come twice, so that ties are broken by key.
my $products = <<'SQL';
INSERT INTO product (id, region, title, body, price)
SELECT i, i % 3, kind || ' ' || colour, CASE WHEN i % 5 = 0 THEN NULL ELSE 'model MZ-' || i % 40 || 'E' || ' made of ' || stuff || '，质量好' END, 5 + i * 37 % 200
FROM generate_series(1, 480) AS i,
LATERAL (SELECT ('{wireless headphones,running shoes,green tea,蓝牙耳机,steel kettle,garden hose,laptop sleeve,不锈钢水壶,desk lamp,wool socks,coffee grinder,儿童雨衣,
	bicycle bell,yoga mat,paper notebook,绿茶礼盒,phone charger,winter jacket,chef knife,跑步鞋男,board game,picture frame,travel pillow,机械键盘}'::text[])[1 + i % 24] AS kind,
	('{black,white,red,红色,for children,large}'::text[])[1 + i / 24 % 6] AS colour, ('{cotton,steel,plastic,竹子}'::text[])[1 + i / 7 % 4] AS stuff) AS t;
SQL

sql($_, "CREATE TABLE product ($columns, PRIMARY KEY (id)); SELECT product_llm.create_catalog($catalog)") for $single, @shard;
sql($front, 'CREATE EXTENSION postgres_fdw');
sql($front, "CREATE TABLE product ($columns) PARTITION BY LIST (region)");
for my $i (0 .. 2)
{
	my ($host, $port) = ($shard[$i]->host, $shard[$i]->port);

	sql($front, <<"SQL");
CREATE SERVER shard_$i FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname 'postgres', async_capable 'true', batch_size '200');
CREATE USER MAPPING FOR PUBLIC SERVER shard_$i;
CREATE FOREIGN TABLE product_$i PARTITION OF product FOR VALUES IN ($i) SERVER shard_$i OPTIONS (table_name 'product');
SQL
}

# ---- what is not right there is said ----

my $create = "SELECT product_llm.create_catalog($catalog, sync => 'shards')";
fails($front, $create, qr/server "shard_0" does not say that it has the extension product_llm.*ALTER SERVER shard_0 OPTIONS \(ADD extensions 'product_llm'\)/s, 'a_server_must_ship_the_extension');
sql($front, "ALTER SERVER shard_$_ OPTIONS (ADD extensions 'product_llm')") for 0 .. 2;
sql($shard[1], q{SELECT product_llm.drop_catalog('goods')});
fails($front, $create, qr/table public.product of server "shard_1" has no catalog/, 'a_shard_must_have_a_catalog');
sql($shard[1], q{SELECT product_llm.quantize_model('small', 'shop-mini', 'int8')});
sql($shard[1], "SELECT product_llm.create_catalog(" . ($catalog =~ s/shop-mini/small/r) . ")");
fails($front, $create, qr/catalog "goods" on table public.product of server "shard_1" has another model than "shop-mini"/, 'a_shard_must_have_the_same_model');
sql($shard[1], q{SELECT product_llm.drop_catalog('goods')});
sql($shard[1], "SELECT product_llm.create_catalog($catalog, language => 'simple')");
fails($front, $create, qr/has the language pg_catalog.simple, not product_llm.shop_english/, 'a_shard_must_have_the_same_language');
sql($shard[1], q{SELECT product_llm.drop_catalog('goods')});
sql($shard[1], "SELECT product_llm.create_catalog($catalog)");
sql($front, 'CREATE TABLE product_local PARTITION OF product FOR VALUES IN (9)');
fails($front, $create, qr/partition public.product_local is not a foreign table of postgres_fdw/, 'a_partition_must_be_foreign');
sql($front, 'DROP TABLE product_local; CREATE TABLE plain (id int, title text)');
fails($front, q{SELECT product_llm.create_catalog('plain', 'plain', 'id', 'title', 'shop-mini', sync => 'shards')}, qr/table "plain" is not partitioned/, 'a_source_must_be_partitioned');
is(sql($front, q{SELECT count(*) FROM pg_class WHERE relname LIKE 'goods%'}), '0', 'a_failed_attempt_leaves_nothing');

# ---- the same rows on both, written through the coordinator ----

sql($front, $create);
sql($_, $products) for $front, $single;
is(sql($front, 'SELECT count(*) FROM product'), '480', 'rows_are_routed');
is(join(' ', map { sql($_, 'SELECT count(*) FROM goods_embedding') } @shard), '160 160 160', 'each_shard_embeds_its_own');
is(sql($front, 'SELECT count(*) FROM ONLY goods_embedding'), '0', 'coordinator_keeps_no_vectors');
sql($_, 'UPDATE product SET embedding = s.embedding FROM goods_embedding AS s WHERE s.key = id::text') for $single, @shard;
my $events = <<'SQL';
CREATE TABLE event (visitor text, item int, at timestamptz, kind text);
CREATE INDEX ON event (visitor);
SELECT product_llm.bind_events('goods', 'event', 'visitor', 'item', 'at', 'kind', '{"view": 1, "purchase": 5}');
INSERT INTO event SELECT 'v' || v, 1 + (v * 31 + k * (7 + v % 3)) % 480, '2024-01-01'::timestamptz + v * '1 day'::interval + k * '1 hour'::interval,
	CASE k % 3 WHEN 0 THEN 'purchase' ELSE 'view' END FROM generate_series(1, 120) AS v, generate_series(1, 7) AS k;
SQL
sql($_, $events) for $front, $single;
sql($_, q{CALL product_llm.refresh_catalog('goods')}) for $front, $single;
is(sql($front, q{SELECT statistics - 'bytes' FROM product_llm.catalog_statistics}), sql($single, q{SELECT statistics - 'bytes' FROM product_llm.catalog_statistics}), 'statistics_are_the_same');
is(sql($front, 'SELECT sync, products, embedded, stale IS NULL FROM product_llm.catalogs'), 'shards|480|480|t', 'the_view_counts_over_shards');

# ---- the same answers ----

my @same;
for my $query ('wireless headphones for running', '绿茶', 'labtop sleve red', 'MZ-17E', '给孩子的红色雨衣', 'kettle steel', 'nothing that anybody sells', 'the')
{
	push @same, map { "SELECT * FROM product_llm.search('goods', '$query', 25, mode => '$_')" } qw(hybrid semantic lexical);
}
push @same,
	q{SELECT * FROM product_llm.search('goods', 'tea', 30, 'price < :p', '{"p": 60}')},
	# So few rows pass that all are asked about.
	q{SELECT * FROM product_llm.search('goods', 'tea', 30, 'price = 42 OR id IN (7, 11)', mode => 'semantic')},
	q{SELECT * FROM product_llm.search('goods', 'headphones', 400)},
	(map { "SELECT * FROM product_llm.similar('goods', '$_', 30)" } 3, 44, 480),
	q{SELECT * FROM product_llm.search_facets('goods', 'headphones', '{title,price}', 20)},
	q{SELECT * FROM product_llm.search_facets('goods', '耳机', '{title}', 20, mode => 'hybrid', depth => 50)},
	(map { "SELECT key, score, source, because FROM product_llm.recommend('goods', 'v$_', 40)" } 1, 17, 63, 120),
	q{SELECT key, score, source, because FROM product_llm.recommend('goods', 'v5', 20, diversity => 0.5)},
	q{SELECT key, score, source, because FROM product_llm.recommend('goods', 'v5', 20, query => 'something red 红色')},
	q{SELECT key, score, source, because FROM product_llm.recommend('goods', 'v5', 20, filter => 'price < $1', filter_args => '[50]', exclude_kinds => '{purchase}')},
	q{SELECT key, score, source, because FROM product_llm.recommend('goods', 'nobody', 10)},
	q{SELECT * FROM product_llm.recommend_basket('goods', '{12,240,301}', 30)},
	q{SELECT * FROM product_llm.recommend_basket('goods', '{}', 10)};
my $rows = 0;
for my $sql (@same)
{
	my ($here, $there) = map { sql($_, $sql) } $front, $single;

	$rows += split(/\n/, $there);
	is($here, $there, "same: $sql");
}
cmp_ok($rows, '>', 1000, 'answers_had_rows');
# Plans that are kept, and a setting that would print fewer digits into what is sent.
my $again = 'SET extra_float_digits = -5; ' . join('; ', ("SELECT key, semantic_rank FROM product_llm.search('goods', 'steel kettle', 30, mode => 'semantic')") x 7);
is(sql($front, $again), sql($single, $again), 'kept_plans_and_float_digits_change_nothing');
# Hidden rows: only what the caller sees counts.
for my $n ($front, $single)
{
	my $quiet = q{CREATE ROLE guest; GRANT SELECT ON product, event TO guest; ALTER TABLE product ENABLE ROW LEVEL SECURITY; CREATE POLICY cheap ON product USING (price < 120)};
	sql($n, $quiet);
	sql($n, 'ALTER USER MAPPING FOR PUBLIC SERVER shard_' . $_ . " OPTIONS (ADD user '" . sql($n, 'SELECT current_user') . "', ADD password_required 'false')") for $n == $front ? 0 .. 2 : ();
}
for my $sql (q{SELECT * FROM product_llm.search('goods', 'red headphones', 40)}, q{SELECT key, score, because FROM product_llm.recommend('goods', 'v17', 30)})
{
	my $guest = "SET ROLE guest; $sql";

	is(sql($front, $guest), sql($single, $guest), "same_under_row_level_security: $sql");
	isnt(sql($front, $guest), sql($front, $sql), "rows_are_hidden: $sql");
}

# ---- where it runs ----

# Plans of the statements inside, as the server logs them.
sub plans
{
	my ($sql) = @_;
	my ($rc, $out, $log) = $front->psql('postgres', "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;"
		. " SET auto_explain.log_verbose = on; SET auto_explain.log_level = notice; SET client_min_messages = notice; $sql");

	return $log;
}

sub count_of { my ($re, $s) = @_; my @all = $s =~ /$re/g; return scalar @all; }

my $log = plans(q{SELECT * FROM product_llm.search('goods', 'steel kettle', 10)});
is(count_of(qr/Remote SQL: SELECT key, embedding FROM public\.goods_embedding ORDER BY product_llm\.similarity\(embedding, \S+::real\[\]\) DESC NULLS FIRST, key ASC NULLS LAST LIMIT 108::bigint/, $log), 3,
	'shards_score_order_and_limit') or diag($log =~ s/\{[-0-9.,e]+\}/{..}/gr);
is(count_of(qr/Async Foreign Scan on public\.goods_shard_\d_embedding[^\n]*\n[^\n]*Output: [^\n]*\n[^\n]*ORDER BY product_llm\.similarity/, $log), 3, 'shards_work_at_the_same_time');
is(count_of(qr/Remote SQL: SELECT key, title_words, body_words, words FROM public\.goods_words WHERE \(\(words OPERATOR\(pg_catalog\.\@\@\) \S+.*?::pg_catalog\.tsquery\)\)|Remote SQL: SELECT key, title_words, body_words, words FROM public\.goods_words WHERE \(\(words \@\@/, $log), 3, 'shards_look_up_words');
is(count_of(qr/Remote SQL: SELECT key, embedding FROM public\.goods_embedding\n/, $log), 0, 'no_shard_sends_all_vectors');
$log = plans(q{SELECT * FROM product_llm.recommend('goods', 'v17', 10)});
is(count_of(qr/Remote SQL: SELECT key, embedding FROM public\.goods_embedding WHERE \(\(key <> ALL .*ORDER BY product_llm\.nearness\(embedding, .*\) DESC NULLS FIRST, key ASC NULLS LAST LIMIT 200::bigint/, $log), 3,
	'shards_find_what_is_near_a_visitor') or diag($log =~ s/\{[-0-9.,e]+\}/{..}/gr);
is(count_of(qr/Remote SQL: SELECT key, product_llm\.cosines\(embedding, .*WHERE \(\(key = ANY .*GROUP BY 1, 2/, $log), 3, 'shards_compute_cosines_of_candidates');
is(count_of(qr/Remote SQL: SELECT key, embedding FROM public\.goods_embedding\n/, $log), 0, 'recommend_fetches_no_vectors_of_all');
$log = plans(q{SELECT catalog, products, embedded FROM product_llm.catalogs});
is(count_of(qr/Remote SQL: SELECT count\(\*\) FROM public\.goods_embedding/, $log), 3, 'shards_count');

# Plain SQL: the shards score and sort, and the rows are merged until the limit.
my $plain = q{SELECT id, product_llm.score('shop-mini', 'steel kettle', embedding) AS score FROM product ORDER BY score DESC, id LIMIT 10};
is(sql($front, $plain), sql($single, $plain), 'score_gives_the_same_bits_on_shards');
my $plan = sql($front, "EXPLAIN (VERBOSE, COSTS OFF) $plain");
is(count_of(qr/Remote SQL: SELECT id, embedding FROM public\.product ORDER BY product_llm\.similarity\(embedding, \S+::real\[\]\) DESC NULLS FIRST, id ASC NULLS LAST/, $plan), 3, 'score_is_shipped')
	or diag($plan =~ s/\{[-0-9.,e]+\}/{..}/gr);
unlike(sql($single, "EXPLAIN (VERBOSE, COSTS OFF) $plain"), qr/similarity/, 'score_of_local_rows_is_left_alone');

# ---- living with it ----

sql($shard[2], q{UPDATE product SET title = 'velvet accordion cover' WHERE id = 5});
is(sql($front, q{SELECT key FROM product_llm.search('goods', 'velvet accordion', 1)}), '5', 'what_changes_on_a_shard_is_found_at_once');
sql($front, q{UPDATE product SET title = 'carbon fishing rod' WHERE id = 5});
is(sql($front, q{SELECT key FROM product_llm.search('goods', 'fishing rod', 1)}), '5', 'what_changes_through_the_coordinator_too');
sql($front, q{DELETE FROM product WHERE id = 5});
isnt(sql($front, q{SELECT key FROM product_llm.search('goods', 'carbon fishing rod', 1)}), '5', 'what_is_deleted_is_gone');
sql($front, q{INSERT INTO event VALUES ('fresh', 44, '2024-06-01', 'view')});
is(sql($front, q{SELECT DISTINCT because FROM product_llm.recommend('goods', 'fresh', 3)}), '{44}', 'events_on_the_coordinator_are_learnt_from');

# A shard that is down is an error with its name; the session goes on, and works when the shard is back.
my ($in, $out, $err) = ('', '', '');
my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $front->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(120));

sub ask
{
	my ($sql) = @_;

	($out, $err) = ('', '');
	$in .= "$sql;\n\\echo done\n\\warn done\n";
	$session->pump until $out =~ /done\n/ && $err =~ /done\n/;
	return ($out =~ s/done\n//r, $err =~ s/done\n//r);
}

my $find = q{SELECT key FROM product_llm.search('goods', 'steel kettle black', 5)};
my ($before) = ask($find);
isnt($before, '', 'session_searches');
$shard[1]->stop('immediate');
my ($none, $error) = ask($find);
like($error, qr/could not connect to server "shard_1"|server closed the connection|terminating connection/, 'a_shard_that_is_down_is_an_error') or diag("$none $error");
($none, $error) = ask($find);
like($error, qr/could not connect to server "shard_1"/, 'the_error_names_the_shard');
is((ask('SELECT 1 + 1'))[0], "2\n", 'the_session_goes_on');
is((ask(q{SELECT id FROM product WHERE region = 0 ORDER BY id LIMIT 1}))[0], "3\n", 'the_other_shards_answer');
$shard[1]->start;
is((ask($find))[0], $before, 'the_session_searches_again');
$in .= "\\q\n";
$session->finish;

# Another model: a second catalog on each shard, then a switch at once.
fails($front, q{SELECT product_llm.alter_catalog('goods', nearest => 'hnsw')}, qr/always "exact"/, 'nearest_is_exact');
fails($front, q{SELECT product_llm.alter_catalog('goods', sync => 'manual')}, qr/over shards and cannot become/, 'sync_stays');
fails($front, q{SELECT product_llm.catalog_work('goods', 'reconcile', NULL)}, qr/are embedded on its shards/, 'coordinator_never_writes_to_shards');
sql($_, q{SELECT product_llm.quantize_model('eight', 'shop-mini', 'int8')}) for $front, @shard;
fails($front, q{SELECT product_llm.alter_catalog('goods', model => 'eight')}, qr/has another model than "eight"/, 'a_model_that_shards_lack_is_refused');
isnt(sql($front, $find), '', 'and_the_old_one_stays');
sql($_, "SELECT product_llm.create_catalog(" . ($catalog =~ s/shop-mini/eight/r =~ s/goods/goods8/r) . ")") for @shard;
sql($front, q{SELECT product_llm.alter_catalog('goods', model => 'eight')});
is(sql($front, q{SELECT DISTINCT encode(s.model, 'hex') = m.sha256 FROM goods_embedding AS s, product_llm.models AS m WHERE m.model = 'eight'}), 't', 'the_model_is_changed_at_once');
isnt(sql($front, $find), '', 'searches_go_on');
sql($front, q{SELECT product_llm.alter_catalog('goods', model => 'shop-mini')});

# Partitions come and go.
sql($front, q{ALTER TABLE product DETACH PARTITION product_2; CALL product_llm.refresh_catalog('goods')});
is(sql($front, q{SELECT (SELECT count(*) FROM goods_embedding), (SELECT count(*) FROM product)}), '320|320', 'a_partition_that_is_gone_is_left_out');
sql($front, q{ALTER TABLE product ATTACH PARTITION product_2 FOR VALUES IN (2); CALL product_llm.refresh_catalog('goods')});
is(sql($front, q{SELECT (SELECT count(*) FROM goods_embedding), (SELECT count(*) FROM product)}), '479|479', 'and_one_that_comes_is_in_it');

sql($front, q{SELECT product_llm.drop_catalog('goods')});
is(sql($front, q{SELECT count(*) FROM pg_class WHERE relname LIKE 'goods%'}), '0', 'drop_catalog_drops_all_that_it_made');
is(join(' ', map { sql($_, 'SELECT count(*) FROM goods_embedding') } @shard), '160 160 159', 'and_nothing_on_the_shards');
sql($front, "$create; DROP TABLE product CASCADE");
is(sql($front, q{SELECT count(*) FROM pg_class WHERE relname LIKE 'goods%'}), '0', 'dropping_the_source_drops_all_too');
done_testing();
