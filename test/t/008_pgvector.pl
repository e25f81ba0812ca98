# With pgvector installed, its index serves ORDER BY embedding <=> embed(...)::vector.
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
	INSERT INTO product SELECT i, t, product_llm.embed('shop-seed', t)
		FROM (SELECT i, (ARRAY['red shoes','green tea','wireless headphones','garden hose','无线耳机'])[1 + i % 5] || ' ' || i AS t
			  FROM generate_series(1, 3000) i) x;
	CREATE INDEX ON product USING hnsw (embedding vector_cosine_ops);
	ANALYZE product;
});
my $order = q{ORDER BY embedding <=> product_llm.embed('shop-seed', 'tea to drink', 'query')::vector LIMIT 10};
like($node->safe_psql('postgres', "EXPLAIN SELECT id FROM product $order"), qr/Index Scan using product_embedding_idx/, 'the_index_is_used');
is($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT title FROM product $order) t WHERE title LIKE 'green tea%'"), 10, 'the_index_finds_the_right_rows');
is( $node->safe_psql('postgres', q{SELECT bool_and(abs(product_llm.score('shop-seed', 'tea to drink', embedding::real[])
		- (1 - (embedding <=> product_llm.embed('shop-seed', 'tea to drink', 'query')::vector))) < 1e-5) FROM product}),
	't', 'score_equals_one_minus_cosine_distance');
is($node->safe_psql('postgres', q{SELECT vector_dims(product_llm.embed('shop-seed', 'x')::vector)}), 256, 'real_array_casts_to_vector');
done_testing();
