# ProductLlm.pm -- what the Perl tests share: nodes with the extension, files of a model as SQL, memory of a backend.
package ProductLlm;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

our @EXPORT = qw(start_node golden private_kb cache_files vector_of timed late @locale);

# Of every cluster, whatever the locale of who runs the tests.
our @locale = ('--encoding=UTF8', '--locale=C');

# A running node with the extension and, unless told otherwise, the bundled model.
sub start_node
{
	my ($name, %opt) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my %init = %{ $opt{init} // {} };

	$init{extra} = [ @locale, @{ $init{extra} // [] } ];
	$node->init(%init);
	$node->append_conf('postgresql.conf', "fsync = off\nwal_keep_size = '1GB'\n" . ($opt{conf} // ''));
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION product_llm');
	$node->safe_psql('postgres', q{SELECT product_llm.load_model('shop-mini')}) unless $opt{empty};
	return $node;
}

# The folder of golden models.
sub golden
{
	return $ENV{PLM_GOLDEN} // 'test/golden';
}

# Private memory of a process in kB: pages that no other process shares.
sub private_kb
{
	my ($pid) = @_;
	my $kb = 0;

	open(my $f, '<', "/proc/$pid/smaps_rollup") or return undef;
	while (<$f>)
	{
		$kb += $1 if /^Private_(?:Clean|Dirty):\s+(\d+) kB/;
	}
	close($f);
	return $kb;
}

# Packed cache files of a node.
sub cache_files
{
	my ($node) = @_;

	return grep { !/\.(?:lock|tmp)/ } glob($node->data_dir . '/base/pgsql_tmp/pgsql_tmp_product_llm*');
}

# The embedding of a text as PostgreSQL prints it: equal strings are equal bits.
sub vector_of
{
	my ($node, $text, $db) = @_;

	return $node->safe_psql($db // 'postgres', "SELECT product_llm.embed('shop-mini', '$text')");
}

# Seconds that a piece of code takes.
sub timed
{
	my ($code) = @_;
	my $begin = time();

	$code->();
	return time() - $begin;
}

#
# Milliseconds by which a statement ends after its timeout.  The timeout is set for the statement alone, and the time is
# taken by the server around it.  The best of three tries counts: on a machine whose cores are all taken the server may not
# run at all for longer than 100 ms, and that is seen once in a while, whereas code that does not look at the request for
# a cancel is late every time.
#
sub late
{
	my ($node, $name, $sql, $settings, $timeout) = @_;
	my $best;

	for my $try (1 .. 3)
	{
		my ($out, $err) = ('', '');

		$node->psql('postgres', qq{
			$settings;
			SET statement_timeout = $timeout;
			SELECT extract(epoch FROM clock_timestamp()) AS begin \\gset
			$sql;
			SET statement_timeout = 0;
			SELECT 'late ' || round(1000 * (extract(epoch FROM clock_timestamp()) - :begin)) - $timeout;
			RESET ROLE;
			SELECT 'alive ' || count(*) FROM product_llm.embed('shop-mini', ARRAY['a', 'b']);
		}, stdout => \$out, stderr => \$err, on_error_stop => 0);
		return undef unless like($err, qr/canceling statement due to statement timeout/, "statement_timeout_cancels: $name")
			&& like($out, qr/alive 2/, "session_works_after_timeout: $name");
		my ($ms) = $out =~ /late (-?\d+)/;
		$best = $ms if !defined $best || $ms < $best;
		last if $best <= 100;
	}
	return $best;
}

1;
