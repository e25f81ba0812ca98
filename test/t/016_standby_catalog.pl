# A hot standby answers search and recommend as its primary does; on it no list is written, and nothing fails for that.
use strict;
use warnings;
use ProductLlm;
use PostgreSQL::Test::Cluster;
use Test::More;

my $primary = start_node('primary', init => { allows_streaming => 1 });
$primary->backup('base', backup_options => ['--checkpoint=fast']);
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

sub catch_up { return $primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert')); }

$primary->safe_psql('postgres', <<'SQL');
CREATE TABLE product (id int PRIMARY KEY, title text, price int);
INSERT INTO product SELECT i, t || ' ' || c, i FROM unnest('{wireless headphones,running shoes,green tea,steel kettle,蓝牙耳机,garden hose}'::text[]) WITH ORDINALITY AS a (t, n),
	unnest('{black,white,红色,for children}'::text[]) WITH ORDINALITY AS b (c, m), LATERAL (SELECT 10 * n + m AS i) AS k;
SELECT product_llm.create_catalog('goods', 'product', 'id', 'title', 'shop-mini', title => 'title');
CREATE TABLE event (visitor text, item int, at timestamptz);
CREATE INDEX ON event (visitor);
INSERT INTO event SELECT 'v' || v, 10 * (1 + (v + k) % 6) + 1 + v * k % 4, '2024-01-01'::timestamptz + v * '1 day'::interval + k * '1 hour'::interval FROM generate_series(1, 30) AS v, generate_series(1, 4) AS k;
SELECT product_llm.bind_events('goods', 'event', 'visitor', 'item', 'at');
SQL
catch_up();

my @same = (
	[ search => q{SELECT * FROM product_llm.search('goods', 'hedphones for sport', 8)} ],
	[ search_with_a_filter => q{SELECT * FROM product_llm.search('goods', '耳机', 5, 'price > :p', '{"p": 20}')} ],
	[ similar => q{SELECT * FROM product_llm.similar('goods', '11', 5)} ],
	[ facets => q{SELECT * FROM product_llm.search_facets('goods', 'tea', '{title}')} ],
	[ recommend => q{SELECT key, score, source, because FROM product_llm.recommend('goods', 'v3', 8)} ],
	[ recommend_for_a_query => q{SELECT key, score, source, because FROM product_llm.recommend('goods', 'v3', 8, query => 'something warm', diversity => 0.3)} ],
	[ recommend_basket => q{SELECT * FROM product_llm.recommend_basket('goods', '{11,32}', 8)} ],
	[ catalogs => q{SELECT catalog, products, embedded, stale FROM product_llm.catalogs} ]);

for (@same)
{
	my ($what, $sql) = @$_;
	my $answer = $primary->safe_psql('postgres', $sql);
	isnt($answer, '', "primary_answers_$what");
	is($standby->safe_psql('postgres', $sql), $answer, "standby_answers_$what");
}
is($primary->safe_psql('postgres', q{SELECT count(list) FROM product_llm.recommend('goods', 'v3', 5)}), '5', 'primary_names_its_list');
is($standby->safe_psql('postgres', q{SELECT count(*), count(list) FROM product_llm.recommend('goods', 'v3', 5)}), '5|0', 'standby_recommends_without_a_list');
catch_up();
is($standby->safe_psql('postgres', 'SELECT count(*) FROM goods_list'), $primary->safe_psql('postgres', 'SELECT count(*) FROM goods_list'), 'standby_wrote_no_list');

# What would write says that it cannot.
my (undef, undef, $error) = $standby->psql('postgres', q{CALL product_llm.refresh_catalog('goods')});
like($error, qr/during recovery|read-only transaction/, 'refresh_on_a_standby_is_a_clear_error');

# One session on the standby follows what the primary writes: the catalog is as the replayed transaction left it.
$primary->safe_psql('postgres', q{INSERT INTO product VALUES (77, 'velvet accordion cover', 5)});
catch_up();
is($standby->safe_psql('postgres', q{SELECT key FROM product_llm.search('goods', 'velvet accordion', 1)}), '77', 'standby_finds_a_new_product');

$standby->promote;
is($standby->safe_psql('postgres', q{SELECT count(list) FROM product_llm.recommend('goods', 'v3', 5)}), '5', 'promoted_standby_writes_lists');
$standby->safe_psql('postgres', q{UPDATE product SET title = 'carbon fishing rod' WHERE id = 77});
is($standby->safe_psql('postgres', q{SELECT key FROM product_llm.search('goods', 'fishing rod', 1)}), '77', 'promoted_standby_keeps_its_catalog_true');
done_testing();
