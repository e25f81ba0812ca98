# Sourced by the scripts beside it: a private server installation and cluster under one temporary folder.
#
# The installation is a copy of the server's own programs with links to its libraries and shared files, in
# the same relative layout, so that PostgreSQL finds this copy's folders: the extension is installed into the
# copy, and no existing installation or cluster is touched.  PostgreSQL refuses to run as root: when root
# calls, the server runs as the user "postgres" (or "nobody").  Only Unix sockets, no network port.

PG_CONFIG=${PG_CONFIG:-pg_config}
MAKE=${MAKE:-make}
top=$(cd "$(dirname "$0")/../.." && pwd)

if [ "$(id -u)" = 0 ]; then
	server_user=$(getent passwd postgres >/dev/null && echo postgres || echo nobody)
else
	server_user=
fi

# among WORD "LIST": is it one of these?
among() { case " $2 " in *" $1 "*) true ;; *) false ;; esac; }

# Run a command as the user that may run a server, from a folder that this user may enter.
as_server() {
	if [ -n "$server_user" ]; then
		(cd / && runuser -u "$server_user" -- "$@")
	else
		"$@"
	fi
}

# build: one at a time in a checkout, however many runs start side by side.
build_all() {
	mkdir -p "$top/build"
	(
		flock 9
		"$MAKE" -C "$top" -s -j2 PG_CONFIG="$PG_CONFIG" all "$@" >"$top/build/make.log" 2>&1 9>&- || {
			cat "$top/build/make.log" >&2
			exit 1
		}
	) 9>"$top/build/.lock"
}

# private_install DIR: sets inst_bin, inst_lib, inst_share.
private_install() {
	bindir=$("$PG_CONFIG" --bindir) pkglibdir=$("$PG_CONFIG" --pkglibdir) sharedir=$("$PG_CONFIG" --sharedir)
	inst=$1
	mkdir -p "$top/build"
	inst_bin=$inst$bindir inst_lib=$inst$pkglibdir inst_share=$inst$sharedir
	mkdir -p "$inst_bin" "$inst_lib" "$inst_share/extension"
	cp -L "$bindir"/* "$inst_bin/"
	link_all "$pkglibdir" "$inst_lib"
	link_all "$sharedir" "$inst_share"
	link_all "$sharedir/extension" "$inst_share/extension"
	(
		flock 9
		"$MAKE" -C "$top" -s PG_CONFIG="$PG_CONFIG" install DESTDIR="$inst" >"$inst/install.log" 2>&1 9>&- || {
			cat "$inst/install.log" >&2
			exit 1
		}
	) 9>"$top/build/.lock"
	PATH=$inst_bin:$PATH
	export PATH
}

# link_all FROM TO: a link for each entry that TO lacks, except what belongs to product_llm.
link_all() {
	for entry in "$1"/*; do
		name=${entry##*/}
		case $name in product_llm*) continue ;; esac
		[ -e "$2/$name" ] || ln -s "$entry" "$2/$name"
	done
}

# start_cluster DIR [initdb options]: a cluster in DIR/data with its socket in DIR.
start_cluster() {
	cluster=$1
	shift
	mkdir -p "$cluster"
	[ -z "$server_user" ] || chown "$server_user" "$cluster"
	as_server "$inst_bin/initdb" -D "$cluster/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync "$@" \
		>"$cluster.initdb.log" 2>&1 || { cat "$cluster.initdb.log" >&2; return 1; }
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$cluster'"
		echo "max_parallel_maintenance_workers = 2"
		echo "shared_buffers = '256MB'"
		echo "fsync = off"
		echo "logging_collector = off"
	} >>"$cluster/data/postgresql.conf"
	resume_cluster "$cluster"
}

# resume_cluster DIR: start the server of a cluster that exists.
resume_cluster() {
	cluster=$1
	as_server "$inst_bin/pg_ctl" -D "$cluster/data" -l "$cluster/server.log" -w -t 60 start >/dev/null || {
		tail -n 30 "$cluster/server.log" >&2
		return 1
	}
	PGHOST=$cluster PGUSER=postgres PGPORT=5432
	export PGHOST PGUSER PGPORT
}

stop_cluster() {
	as_server "$inst_bin/pg_ctl" -D "$1/data" -m fast -w -t 60 stop >/dev/null 2>&1 || true
}

# fresh_cluster NAME: build, install and start in a new folder, which goes at exit; sets work.
fresh_cluster() {
	build_all
	work=$(scratch_folder "$1")
	trap 'stop_cluster "$work/db"; rm -rf "$work"' EXIT
	trap 'exit 130' INT TERM
	private_install "$work/inst"
	start_cluster "$work/db"
}

# scratch_folder NAME: a new folder that the server's user may enter.
scratch_folder() {
	dir=$(mktemp -d "${TMPDIR:-/tmp}/product_llm-$1.XXXXXX")
	chmod 755 "$dir"
	echo "$dir"
}
