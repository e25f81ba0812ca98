# A hot standby answers with the same bits, builds its own cache file, and follows loads and drops.
use strict;
use warnings;
use ProductLlm;
use PostgreSQL::Test::Cluster;
use Test::More;

my $primary = start_node('primary', init => { allows_streaming => 1 });
$primary->backup('base', backup_options => ['--checkpoint=fast']);
my @in_backup = glob($primary->backup_dir . '/base/base/pgsql_tmp/*product_llm*');
vector_of($primary, 'warm');
$primary->backup('warm', backup_options => ['--checkpoint=fast']);
push @in_backup, glob($primary->backup_dir . '/warm/base/pgsql_tmp/*product_llm*');
is(scalar(@in_backup), 0, 'base_backup_skips_the_cache');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is($standby->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'standby_is_in_recovery');
is(vector_of($standby, 'green tea'), vector_of($primary, 'green tea'), 'standby_gives_the_same_bits');
is(scalar(cache_files($standby)), 1, 'standby_builds_its_own_cache');

# A session on the standby that has the model mapped follows a drop and a load on the primary.
my $golden = golden() . '/models/bert-mean';
$primary->safe_psql('postgres', "SELECT product_llm.load_model('tiny', '$golden')");
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is($standby->safe_psql('postgres', q{SELECT array_length(product_llm.embed('tiny', 'x'), 1) > 0}), 't', 'standby_sees_a_new_model');
$primary->safe_psql('postgres', q{SELECT product_llm.drop_model('tiny')});
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
isnt($standby->psql('postgres', q{SELECT product_llm.embed('tiny', 'x')}), 0, 'standby_sees_the_drop');

$standby->promote;
is(vector_of($standby, 'green tea'), vector_of($primary, 'green tea'), 'promoted_standby_gives_the_same_bits');
done_testing();
