# The library imports nothing that could open a connection or run a program.
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
my $forbidden = qr/^(?:socket|socketpair|connect|bind|listen|accept4?|send(?:to|msg|mmsg|file)?|recv(?:from|msg|mmsg)?|getaddrinfo|gethostby.*|getnameinfo|res_.*|fork|vfork|clone3?|exec[lv]p?e?|execvpe|popen|system|posix_spawnp?|dlopen|dlmopen|exit|_exit|abort|__assert_fail)$/;
is_deeply([ grep { $_ =~ $forbidden } @imports ], [], 'no_socket_no_program_no_exit');

# Nor do the libraries that it brings along ask for a network library.
my @needed = map { /NEEDED.*\[(.*)\]/ ? $1 : () } `readelf -d $library`;
is_deeply([ grep { /curl|ssl|nghttp|ldap|python|pq\./ } @needed ], [], 'no_network_library') or diag("@needed");

# Engine symbols are hidden: what is exported is the SQL interface.
my @exports = map { /\s[TDBR]\s+(\S+)/ ? $1 : () } `nm -D --defined-only $library`;
is_deeply([ grep { /^plm_/ } @exports ], [], 'engine_symbols_are_hidden');
done_testing();
