# The library imports nothing that could open a connection or run a program; nor do the libraries that it brings along.
use strict;
use warnings;
use Test::More;

chomp(my $dir = `pg_config --pkglibdir`);
(my $bin = `sh -c 'command -v postgres'`) =~ s{\s+$}{};
# The private installation has the same layout as the one that pg_config describes.
chomp(my $bindir = `pg_config --bindir`);
$bin =~ s{\Q$bindir\E/postgres$}{};
my $library = "$bin$dir/product_llm.so";
$library = "$dir/product_llm.so" if !-e $library;

ok(-e $library, 'the library is there') or diag($library);
my @imports = map { /\sU\s+([^@\s]+)/ ? $1 : () } `nm -D --undefined-only $library`;
cmp_ok(scalar(@imports), '>', 50, 'nm_lists_its_imports');
my $network = qr/^(?:socket|socketpair|connect|bind|listen|accept4?|shutdown|[gs]etsockopt|get(?:peer|sock)name|send(?:to|msg|mmsg|file)?|recv(?:from|msg|mmsg)?|getaddrinfo|gethostby.*|getnameinfo|res_.*|io_uring_.*)$/;
my $program = qr/^(?:syscall|fork|vfork|clone3?|exec[lv]p?e?|execvpe|popen|system|posix_spawnp?|dlopen|dlmopen|exit|_exit|abort|__assert_fail)$/;
# The server has ways of its own to connect, to run a program and to load a library.
my $server = qr/^(?:pg_getaddrinfo_all|Stream(?:Server|Connection|ServerPort)|OpenPipeStream|WalReceiverFunctions|secure_(?:open_server|read|write)|load_external_function|load_file|libpqsrv_.*|PQ.*)$/;
is_deeply([ grep { /$network|$program|$server/ } @imports ], [], 'no_socket_no_program_no_exit');

# Nor do the libraries that it brings along: but for the C library, none of them imports a function of the network.
my (%seen, @brought);
sub bring
{
	my ($file) = @_;
	for my $line (`ldd $file`)
	{
		my ($name, $path) = $line =~ /^\s*(\S+) => (\/\S+)/ or next;
		push @brought, $path if !$seen{$name}++ && $name !~ /^(?:libc|libm|libpthread|libdl|librt|libresolv)\.so/;
	}
	return;
}
bring($library);
cmp_ok(scalar(@brought), '>=', 2, 'ldd_lists_its_libraries');
my @reach;
for my $file (@brought)
{
	push @reach, map { /\sU\s+([^@\s]+)/ && $1 =~ $network ? "$file: $1" : () } `nm -D --undefined-only $file`;
}
is_deeply(\@reach, [], 'no_network_library');

# Engine symbols are hidden: what is exported is the SQL interface.
my @exports = map { /\s[TDBR]\s+(\S+)/ ? $1 : () } `nm -D --defined-only $library`;
is_deeply([ grep { /^plm_/ } @exports ], [], 'engine_symbols_are_hidden');
done_testing();
