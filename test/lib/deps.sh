#!/bin/sh
# Install the Debian packages that building and testing need, those that are missing only.
# Creates no database cluster: installing a PostgreSQL server would otherwise start one.
set -eu

major=$(pg_config --version 2>/dev/null | sed -n 's/^PostgreSQL \([0-9]*\).*/\1/p' || true)
if [ -n "$major" ] && [ -e "$(${PG_CONFIG:-pg_config} --pgxs 2>/dev/null)" ]; then
	server=
else
	server=yes
fi
for tool in cc make pkg-config prove python3; do
	command -v "$tool" >/dev/null 2>&1 || server=yes
done
have_all=yes
for pc in jansson libutf8proc; do
	pkg-config --exists "$pc" 2>/dev/null || have_all=
done
ls /usr/lib/*/openblas-serial/libopenblas.so >/dev/null 2>&1 || pkg-config --exists openblas 2>/dev/null || have_all=
perl -MIPC::Run -e 1 2>/dev/null || have_all=
sharedir=$(${PG_CONFIG:-pg_config} --sharedir 2>/dev/null || echo /nonexistent)
[ -e "$sharedir/extension/pgtap.control" ] || have_all=
[ -x "$(${PG_CONFIG:-pg_config} --bindir 2>/dev/null)/postgres" ] || have_all=
[ -z "$server" ] && [ -n "$have_all" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "deps: needed: C compiler, make, pkg-config, PostgreSQL 14 to 18 with server headers, OpenBLAS," >&2
	echo "deps: utf8proc, jansson, and for the tests pgTAP, perl with IPC::Run, python3" >&2
	exit 1
fi
if [ "$(id -u)" = 0 ]; then
	root=
elif command -v sudo >/dev/null 2>&1; then
	root=sudo
else
	echo "deps: packages are missing and there is no sudo; run \"make deps\" once as root" >&2
	exit 1
fi

echo "deps: installing missing packages"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# apt COMMAND...: quiet, unless it fails.
apt() {
	$root env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >"$log" 2>&1 || {
		cat "$log" >&2
		return 1
	}
}

apt update
if [ -z "$major" ] || ! apt-cache show "postgresql-server-dev-$major" >/dev/null 2>&1; then
	major=$(apt-cache depends postgresql | sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1)
fi
dropin=/etc/postgresql-common/createcluster.d/product_llm_build.conf
made=
if [ ! -x "/usr/lib/postgresql/$major/bin/postgres" ]; then
	apt install -y --no-install-recommends postgresql-common
	$root mkdir -p /etc/postgresql-common/createcluster.d
	echo 'create_main_cluster = false' | $root tee "$dropin" >/dev/null
	made=yes
fi
status=0
apt install -y --no-install-recommends \
	gcc libc6-dev make pkg-config perl python3 util-linux \
	"postgresql-$major" "postgresql-server-dev-$major" "postgresql-$major-pgtap" \
	libopenblas-serial-dev libutf8proc-dev libjansson-dev libipc-run-perl || status=$?
[ -z "$made" ] || $root rm -f "$dropin"
exit $status
