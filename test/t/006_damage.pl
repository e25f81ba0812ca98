# Damaged, foreign and missing cache files are rebuilt; a full disk is an error and not a crash.
use strict;
use warnings;
use ProductLlm;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('main');
my $good = vector_of($node, 'green tea');
my ($file) = cache_files($node);
my $bytes = slurp_file($file);

# A file is replaced by rename, as a real writer would: changing a mapped file in place is nobody's right.
sub replace_cache
{
	my ($content) = @_;

	open(my $f, '>:raw', "$file.new") or die;
	print $f $content;
	close($f);
	rename("$file.new", $file);
}

srand(7);
my %damage = (
	'empty' => sub { '' },
	'cut_in_the_header' => sub { substr($bytes, 0, 40) },
	'cut_in_the_middle' => sub { substr($bytes, 0, length($bytes) / 2) },
	'one_byte_short' => sub { substr($bytes, 0, length($bytes) - 1) },
	'one_byte_long' => sub { $bytes . 'x' },
	'random' => sub { join('', map { chr(int(rand(256))) } 1 .. 10000) },
	'zeros' => sub { "\0" x length($bytes) });
for my $k (1 .. 8)
{
	$damage{"bit_flipped_$k"} = sub {
		my $copy = $bytes;
		my $at = $k == 1 ? 9 : $k == 2 ? 200 : int(rand(length($bytes)));
		substr($copy, $at, 1) = chr(ord(substr($copy, $at, 1)) ^ (1 << int(rand(8))));
		$copy;
	};
}
for my $name (sort keys %damage)
{
	replace_cache($damage{$name}->());
	is(vector_of($node, 'green tea'), $good, "damaged_cache_is_rebuilt: $name");
}
is(slurp_file($file), $bytes, 'the_rebuilt_file_equals_the_first');

unlink($file);
is(vector_of($node, 'green tea'), $good, 'missing_cache_is_rebuilt');
unlink($file);
mkdir($file);
my ($status, $out, $err) = $node->psql('postgres', q{SELECT product_llm.embed('shop-mini', 'x')});
isnt($status, 0, 'a_folder_in_its_place_is_an_error');
like($err, qr/ERROR:/, 'and_says_so');
rmdir($file);
is(vector_of($node, 'green tea'), $good, 'and_the_next_call_works');

# A session that has the file mapped goes on when it is unlinked.
is( $node->safe_psql('postgres', qq{
		SELECT 1 FROM product_llm.embed('shop-mini', 'x');
		\\! rm -f $file
		SELECT product_llm.embed('shop-mini', 'green tea');}) =~ /\{.*\}\s*$/ ? 1 : 0, 1, 'mapped_session_survives_unlink');

# A full disk: a library put before the C library makes posix_fallocate fail while a flag file is there.
SKIP:
{
	my $dir = $node->basedir;
	my $flag = "$dir/disk-is-full";
	open(my $c, '>', "$dir/full.c") or die;
	print $c <<"C";
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
int posix_fallocate(int fd, off_t at, off_t len)
{
	(void) fd; (void) at; (void) len;
	return access("$flag", F_OK) == 0 ? ENOSPC : 0 * ftruncate(fd, at + len);
}
C
	close($c);
	skip 'no C compiler', 4 if system("cc -shared -fPIC -o $dir/full.so $dir/full.c 2>$dir/cc.log") != 0;
	$node->stop;
	{
		local $ENV{LD_PRELOAD} = "$dir/full.so";
		$node->start;
	}
	open($c, '>', $flag);
	close($c);
	($status, $out, $err) = $node->psql('postgres', q{\set VERBOSITY verbose
SELECT product_llm.embed('shop-mini', 'x')});
	like($err, qr/ERROR:  53100:/, 'full_disk_is_disk_full') or diag($err);
	my @left = grep { !/\.lock$/ } glob($node->data_dir . '/base/pgsql_tmp/*product_llm*');
	is(scalar(@left), 0, 'full_disk_leaves_no_file') or diag("@left");
	unlink($flag);
	is(vector_of($node, 'green tea'), $good, 'and_works_when_there_is_space');
	is($node->safe_psql('postgres', 'SELECT 1'), 1, 'server_is_up');
}
done_testing();
