# Databases in other encodings: text is converted, or refused clearly.
use strict;
use warnings;
use ProductLlm;
use Test::More;

my $node = start_node('main');
my $utf8 = $node->safe_psql('postgres', q{SELECT md5(product_llm.embed('shop-mini', U&'caf\00E9 \00FCber')::text)});

for my $encoding (qw(LATIN1 WIN1252 EUC_CN EUC_JP SQL_ASCII))
{
	$node->safe_psql('postgres', "CREATE DATABASE e_\L$encoding\E ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	$node->safe_psql("e_\L$encoding", q{CREATE EXTENSION product_llm; SELECT product_llm.load_model('shop-mini')});
	is( $node->safe_psql("e_\L$encoding", q{SELECT md5(product_llm.embed('shop-mini', 'green tea')::text)}),
		$node->safe_psql('postgres', q{SELECT md5(product_llm.embed('shop-mini', 'green tea')::text)}),
		"ascii_gives_the_same_bits: $encoding");
}
for my $encoding (qw(latin1 win1252))
{
	is( $node->safe_psql("e_$encoding", q{SET client_encoding = 'UTF8'; SELECT md5(product_llm.embed('shop-mini', 'café über')::text)}),
		$utf8, "accents_are_converted: $encoding");
}
my $zh = $node->safe_psql('postgres', q{SELECT md5(product_llm.embed('shop-mini', '无线耳机')::text)});
is( $node->safe_psql('e_euc_cn', q{SET client_encoding = 'UTF8'; SELECT md5(product_llm.embed('shop-mini', '无线耳机')::text)}),
	$zh, 'chinese_is_converted: euc_cn');
is( $node->safe_psql('e_euc_cn', q{SET client_encoding = 'UTF8'; SELECT string_agg(token, '|' ORDER BY ordinal) FROM product_llm.tokenize('shop-mini', '无线耳机')}),
	$node->safe_psql('postgres', q{SELECT string_agg(token, '|' ORDER BY ordinal) FROM product_llm.tokenize('shop-mini', '无线耳机')}),
	'tokens_come_back_in_the_encoding');

# SQL_ASCII: bytes that are UTF-8 pass, others are refused with a hint.
is( $node->safe_psql('e_sql_ascii', q{SELECT md5(product_llm.embed('shop-mini', '无线耳机')::text)}), $zh, 'utf8_bytes_pass: sql_ascii');
my ($status, $out, $err) = $node->psql('e_sql_ascii', q{\set VERBOSITY verbose
SELECT product_llm.embed('shop-mini', E'abc\xff\xfedef')});
like($err, qr/ERROR:  22021:/, 'other_bytes_are_refused: sql_ascii') or diag($err);
like($err, qr/HINT:/, 'with_a_hint');
done_testing();
