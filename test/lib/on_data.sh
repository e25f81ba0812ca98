# on_data.sh -- SQL scripts on the folder of public data ($PLM_SHARED/data, ../shared/data beside the project); sourced after cluster.sh.

# find_data NAME: set data to the folder; without one say so and end well.
find_data() {
	data=${PLM_SHARED:-$top/../shared}/data
	if [ ! -d "$data" ]; then
		echo "$1: skipped, there is no folder $data"
		exit 0
	fi
	data=$(cd "$data" && pwd)
}

# on_data NAME "FOLDER ..." [MODEL [DIRECTORY]]: run test/bench/NAME.sql in the folder of data, in a database of that name that
# has the extension and the model, if one is named, as :model; skipped when one of its folders is not there.
on_data() {
	for folder in $2; do
		[ -d "$data/$folder" ] || { echo "$1: skipped, there is no folder $data/$folder"; return 0; }
	done
	psql -Xq -v ON_ERROR_STOP=1 -d postgres -c "CREATE DATABASE $1"
	psql -Xq -v ON_ERROR_STOP=1 -d "$1" -c "CREATE EXTENSION product_llm" ${3:+-c "SELECT product_llm.load_model('$3'${4:+, '$4'})"} >/dev/null
	(cd "$data" && psql -Xq ${3:+-v model="$3"} -d "$1" -f "$top/test/bench/$1.sql")
}
