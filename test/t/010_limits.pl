# Big and odd inputs: 100 MB of text, long words, many texts, memory limits.
use strict;
use warnings;
use ProductLlm;
use Test::More;

my $node = start_node('main');

# 100 MB of text: what is beyond the maximum costs nothing; memory stays small.
my $out = $node->safe_psql('postgres', q{
	SELECT product_llm.embed('shop-mini', 'x') IS NOT NULL;
	CREATE TEMP TABLE big AS SELECT repeat('wireless headphones ', 5000000) AS t;
	SELECT octet_length(t) FROM big;
	SELECT product_llm.embed('shop-mini', t) = product_llm.embed('shop-mini', repeat('wireless headphones ', 500)) FROM big;
	SELECT count(*) FROM big, product_llm.tokenize('shop-mini', t);
	SELECT product_llm.count_tokens('shop-mini', t) FROM big;
});
is($out, "t\n100000000\nt\n128\n10000002", 'a_text_of_100_MB');
is( $node->safe_psql('postgres', q{SELECT array_length(product_llm.embed('shop-mini', repeat('x', 100000000)), 1)}), 256, 'a_word_of_100_MB');
is( $node->safe_psql('postgres', q{SELECT array_length(product_llm.embed('shop-mini', repeat(U&'\0301', 1000000)), 1)}), 256, 'a_million_combining_marks');
my $marks = ($node->psql('postgres', q{\set VERBOSITY verbose
SELECT product_llm.embed('shop-mini', repeat(U&'\0301', 10000000))}))[2];
like($marks, qr/ERROR:  54000:/, 'ten_million_combining_marks_are_refused');
unlike($marks, qr/HINT:/, 'which_has_nothing_to_do_with_a_setting') or diag($marks);
is( $node->safe_psql('postgres', q{SELECT count(*) FROM product_llm.embed('shop-mini', array_fill('tea'::text, ARRAY[200000])) WHERE embed IS NOT NULL}), 200000, 'two_hundred_thousand_texts');

my ($status, $stdout, $stderr) = $node->psql('postgres', q{\set VERBOSITY verbose
SET product_llm.memory_limit = '64kB';
SELECT product_llm.embed('shop-mini', 'x')});
like($stderr, qr/ERROR:  54000:/, 'the_memory_limit_is_an_error') or diag($stderr);
like($stderr, qr/HINT:.*memory_limit/, 'that_names_the_setting') or diag($stderr);

# Twenty thousand calls in one session, each a statement of its own: memory stays flat.
$out = $node->safe_psql('postgres', q{
	CREATE FUNCTION private_kb() RETURNS bigint LANGUAGE sql AS
		$$ SELECT sum(substring(line FROM '[0-9]+')::bigint) FROM regexp_split_to_table(pg_read_file('/proc/self/smaps_rollup', 0, 100000), '\n') line
		   WHERE line LIKE 'Private_%' AND line NOT LIKE '%Hugetlb%' $$;
	DO $$
	DECLARE v real[]; early bigint; late bigint;
	BEGIN
		FOR i IN 1 .. 20000 LOOP
			v := product_llm.embed('shop-mini', 'product ' || i);
			IF i = 2000 THEN early := private_kb(); END IF;
		END LOOP;
		late := private_kb();
		IF late - early > 1024 THEN
			RAISE EXCEPTION 'memory grew from % kB to % kB', early, late;
		END IF;
	END $$;
	SELECT 'flat'}) if -r '/proc/self/smaps_rollup';
is($out, 'flat', 'twenty_thousand_calls_leave_memory_flat');
done_testing();
