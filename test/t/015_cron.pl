# With pg_cron, one line keeps a catalog fresh that is refreshed by hand otherwise.  Skipped where pg_cron is not installed.
use strict;
use warnings;
use ProductLlm;
use Rebuilt;
use Test::More;

my $node = start_node('main', empty => 1);
my $golden = golden() . '/models';

if ($node->safe_psql('postgres', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_cron'}) eq '0')
{
	$node->stop;
	plan skip_all => 'pg_cron is not installed';
}
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron'\ncron.host = '${\ $node->host }'\n");
$node->restart;
install_rebuilt($node);
$node->safe_psql('postgres', qq{
CREATE EXTENSION pg_cron;
SELECT product_llm.load_model('tiny', '$golden/bert-mean');
CREATE TABLE product (id int PRIMARY KEY, title text);
INSERT INTO product SELECT i, 'product ' || i FROM generate_series(1, 2000) AS i;
SELECT product_llm.create_catalog('goods', 'product', 'id', 'title', 'tiny', sync => 'manual');
SELECT cron.schedule('goods', '* * * * *', \$\$CALL product_llm.refresh_catalog('goods')\$\$);
});
is($node->safe_psql('postgres', 'SELECT embedded FROM product_llm.catalogs'), 0, 'nothing_is_embedded_yet');
ok($node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM cron.job_run_details WHERE status IN ('succeeded', 'failed')}), 'the_job_runs');
is($node->safe_psql('postgres', 'SELECT DISTINCT status, return_message FROM cron.job_run_details WHERE status <> \'running\''), 'succeeded|CALL', 'it_succeeds');
is($node->safe_psql('postgres', 'SELECT embedded, stale, last_refresh IS NOT NULL FROM product_llm.catalogs'), '2000|0|t', 'the_catalog_is_fresh');
is_rebuilt($node, 'it_is_as_if_built_anew');
done_testing();
