#!/bin/sh
# "make soak": SOAK_CALLS (1000000) calls of embed in one session, and as many rows through score; private memory of the
# backend at every tenth.  Fails when the last is more than 1 MB above the second.
set -eu
. "$(dirname "$0")/cluster.sh"
calls=${SOAK_CALLS:-1000000}
fresh_cluster soak
psql -XqAt -v ON_ERROR_STOP=1 -v calls="$calls" -d postgres <<'SQL'
CREATE EXTENSION product_llm;
SELECT product_llm.load_model('shop-mini') \g /dev/null
CREATE FUNCTION private_kb() RETURNS bigint LANGUAGE sql AS
	$$ SELECT sum(substring(line FROM '[0-9]+')::bigint) FROM regexp_split_to_table(pg_read_file('/proc/self/smaps_rollup', 0, 100000), '\n') line
	   WHERE line LIKE 'Private_%' AND line NOT LIKE '%Hugetlb%' $$;
SELECT set_config('soak.calls', :'calls', false) \g /dev/null
DO $$
DECLARE
	calls int := current_setting('soak.calls');
	v real[];
	early bigint;
	late bigint;
	s real;
BEGIN
	FOR i IN 1 .. calls LOOP
		v := product_llm.embed('shop-mini', 'product ' || i);
		s := product_llm.score('shop-mini', 'shoes', v);
		IF i % (calls / 10) = 0 THEN
			late := private_kb();
			RAISE NOTICE '% calls, % kB private', i, late;
			IF i = calls / 10 * 2 THEN early := late; END IF;
		END IF;
	END LOOP;
	IF late - early > 1024 THEN
		RAISE EXCEPTION 'memory grew from % kB to % kB', early, late;
	END IF;
END $$;
SELECT 'memory is flat over ' || :calls || ' calls';
SQL
