# With pgvector installed, its index serves ORDER BY embedding <=> embed(...)::vector, and catalogs whose owner asks for it.
use strict;
use warnings;
use ProductLlm;
use Test::More;

my $node = start_node('main');
if ($node->safe_psql('postgres', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'}) eq '0')
{
	plan skip_all => 'pgvector is not installed';
}
$node->safe_psql('postgres', q{
	CREATE EXTENSION vector;
	CREATE TABLE product (id int PRIMARY KEY, title text, embedding vector(256));
	INSERT INTO product SELECT i, t, product_llm.embed('shop-mini', t)
		FROM (SELECT i, (ARRAY['red shoes','green tea','wireless headphones','garden hose','无线耳机'])[1 + i % 5] || ' ' || i AS t
			  FROM generate_series(1, 3000) i) x;
	CREATE INDEX ON product USING hnsw (embedding vector_cosine_ops);
	ANALYZE product;
});
my $order = q{ORDER BY embedding <=> product_llm.embed('shop-mini', 'tea to drink', 'query')::vector LIMIT 10};
like($node->safe_psql('postgres', "EXPLAIN SELECT id FROM product $order"), qr/Index Scan using product_embedding_idx/, 'the_index_is_used');
is($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT title FROM product $order) t WHERE title LIKE 'green tea%'"), 10, 'the_index_finds_the_right_rows');
is( $node->safe_psql('postgres', q{SELECT bool_and(abs(product_llm.score('shop-mini', 'tea to drink', embedding::real[])
		- (1 - (embedding <=> product_llm.embed('shop-mini', 'tea to drink', 'query')::vector))) < 1e-5) FROM product}),
	't', 'score_equals_one_minus_cosine_distance');
is($node->safe_psql('postgres', q{SELECT vector_dims(product_llm.embed('shop-mini', 'x')::vector)}), 256, 'real_array_casts_to_vector');

# ---- a catalog ----

$node->safe_psql('postgres', q{
	CREATE TABLE goods (id int PRIMARY KEY, title text, price int);
	INSERT INTO goods SELECT i, w[1 + i % 12] || ' ' || w[1 + i / 12 % 12] || ' ' || w[1 + i / 144 % 12] || ' ' || i, i % 100
		FROM generate_series(1, 3000) AS i, (SELECT '{red,green,blue,large,small,shoes,tea,kettle,hose,lamp,chair,无线耳机}'::text[] AS w) AS w;
	SELECT product_llm.create_catalog('goods', 'goods', 'id', 'title', 'shop-mini', sync => 'manual', title => 'title', language => 'simple');
	CALL product_llm.refresh_catalog('goods');
	CREATE TABLE query AS SELECT unnest('{red shoes,green tea,kettle,lamp for a chair,blue hose,large,small lamp,无线耳机,garden,tea kettle}'::text[]) AS query;
	CREATE TABLE exact AS SELECT query, s.* FROM query, product_llm.search('goods', query, 10, mode => 'semantic') AS s;
	SELECT product_llm.alter_catalog('goods', nearest => 'hnsw');
});
my $recall = q{SELECT avg((s.key IS NOT NULL)::int) >= 0.95 FROM exact AS e
	LEFT JOIN (SELECT query, s.key FROM query, product_llm.search('goods', query, 10, mode => 'semantic') AS s) AS s USING (query, key)};
is($node->safe_psql('postgres', $recall), 't', 'catalog_finds_by_the_index_what_is_nearest');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM exact AS e
		JOIN (SELECT query, s.key, s.semantic_score FROM query, product_llm.search('goods', query, 10, mode => 'semantic') AS s) AS s USING (query, key)
		WHERE e.semantic_score <> s.semantic_score}),
	0, 'scores_are_exact');
like(
	$node->safe_psql('postgres', q{SET enable_seqscan = on; EXPLAIN SELECT s.key FROM goods_embedding AS s
		ORDER BY s.embedding::vector(256) <=> product_llm.embed('shop-mini', 'tea', 'query')::vector(256) LIMIT 50}),
	qr/Index Scan using goods_embedding_embedding_idx/, 'the_catalogs_index_serves_its_own_form');
# One row in a hundred: the index goes on until there are as many as asked for.
is($node->safe_psql('postgres', q{SELECT count(*), bool_and(g.price = 7) FROM product_llm.search('goods', 'red shoes', 25, 'price = 7', mode => 'semantic') AS s JOIN goods AS g ON g.id::text = s.key}),
	'25|t', 'never_fewer_with_a_filter');
is($node->safe_psql('postgres', q{SELECT count(*) FROM product_llm.search('goods', 'red shoes', 3000, mode => 'semantic')}), 3000, 'all_rows_when_all_are_asked_for');
# The index follows the rows, a change of model takes it along, and without pgvector search is exact again.
$node->safe_psql('postgres', q{SELECT product_llm.alter_catalog('goods', sync => 'trigger'); INSERT INTO goods VALUES (9999, 'stainless steel thermos flask', 1)});
is($node->safe_psql('postgres', q{SELECT key FROM product_llm.search('goods', 'stainless steel thermos flask', 1, mode => 'semantic')}), 9999, 'a_new_row_is_in_the_index');
$node->safe_psql('postgres', q{SELECT product_llm.quantize_model('small', 'shop-mini', 'int8'); SELECT product_llm.alter_catalog('goods', model => 'small')});
$node->safe_psql('postgres', q{CALL product_llm.refresh_catalog('goods')});
like($node->safe_psql('postgres', q{SELECT indexdef FROM pg_indexes WHERE tablename = (SELECT relname FROM pg_class AS r JOIN product_llm.catalog AS c ON c.store = r.oid) AND indexdef LIKE '%hnsw%'}),
	qr/USING hnsw/, 'the_next_models_embeddings_have_an_index_too');
is($node->safe_psql('postgres', q{SELECT key FROM product_llm.search('goods', 'stainless steel thermos flask', 1, mode => 'semantic')}), 9999, 'and_it_is_searched');
$node->safe_psql('postgres', q{DROP EXTENSION vector CASCADE});
is($node->safe_psql('postgres', q{SELECT key FROM product_llm.search('goods', 'stainless steel thermos flask', 1, mode => 'semantic')}), 9999, 'without_pgvector_it_is_searched_exactly');
done_testing();
