# Rebuilt.pm -- what the tests of catalogs share: is what the triggers have kept equal to what building it anew gives?
package Rebuilt;

use strict;
use warnings;

use Exporter 'import';
use File::Basename;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(install_rebuilt differences is_rebuilt);

# differences(catalog), from the file beside this one.
sub install_rebuilt
{
	my ($node, $db) = @_;

	$node->safe_psql($db // 'postgres', slurp_file(dirname(__FILE__) . '/rebuilt.sql'));
	return;
}

# All catalogs' differences, as one string.
sub differences
{
	my ($node, $db) = @_;

	return $node->safe_psql($db // 'postgres',
		'SET client_min_messages = error; SELECT d FROM product_llm.catalog AS c, differences(c.catalog) AS d ORDER BY 1');
}

sub is_rebuilt
{
	my ($node, $name, $db) = @_;

	return is(differences($node, $db), '', $name);
}

1;
