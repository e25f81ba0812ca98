# Every hostile model directory is refused with the SQLSTATE of its kind and a message that names the fault; the
# server stays up and nothing is left behind.  And its twin: the good directories load.
use strict;
use warnings;
use ProductLlm;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main', empty => 1);
my $golden = golden();
my $bad = $node->basedir . '/bad';
plan skip_all => 'no python3' if system("python3 $golden/make_bad.py $bad >$bad.log 2>&1") != 0;

my %class = (
	corrupt => ['XX001'],
	unsupported => ['0A000'],
	missing => ['58P01', '42704', 'XX001'],
	limit => ['54000'],
	numeric => ['22003']);
my @cases = grep { -d } glob("$bad/*");
cmp_ok(scalar(@cases), '>', 100, 'there_are_hostile_directories');

# One session does all of them: an error must leave it usable for the next.
my $sql = "\\set VERBOSITY verbose\n";
for my $dir (@cases)
{
	(my $name = $dir) =~ s{.*/}{};
	$sql .= "\\warn CASE $name\nSELECT product_llm.load_model('bad', '$dir');\n";
}
my ($out, $err) = ('', '');
$node->psql('postgres', $sql . "SELECT 'alive';\n", stdout => \$out, stderr => \$err, on_error_stop => 0);
like($out, qr/alive/, 'one_session_outlives_them_all');
my %seen;
while ($err =~ /CASE (\S+)\n(.*?)(?=\n?[^\n]*CASE \S+\n|\z)/gs)
{
	$seen{$1} = $2;
}
for my $dir (@cases)
{
	(my $name = $dir) =~ s{.*/}{};
	my ($kind, $word) = slurp_file("$dir/expect.txt") =~ /^(\S+)\s+(.*?)\s*$/;
	my @states = map { @{ $class{$_} } } split(/\|/, $kind);
	my ($state, $message) = ($seen{$name} // '') =~ /ERROR:  (\w{5}): ([^\n]*)/;
	my $words = join('|', map { quotemeta } split(/\|/, $word));

	ok(defined($state) && grep({ $_ eq $state } @states) && $message =~ /$words/i, "refused: $name")
	  or diag("expected $kind ($word), got: " . ($seen{$name} // 'nothing'));
}
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM product_llm.model) + (SELECT count(*) FROM product_llm.model_file)'), 0, 'nothing_is_left');

my @good = grep { -d } glob("$golden/models/*");
for my $dir (@good)
{
	(my $name = $dir) =~ s{.*/}{};
	my ($status, $o, $e) = $node->psql('postgres', "SELECT product_llm.load_model('$name', '$dir')");
	is($status, 0, "loads: $name") or diag($e);
}
done_testing();
