#!/bin/sh
# "make bench-catalog": refresh against the raw speed of embed, latency of search and recommend at 20,000 products, their
# scaling over connections, and exact search over BENCH_LARGE (1000000; 0: leave out) products with synthetic vectors.
# BENCH_ROUNDS (3; 0: leave out) of refreshing, BENCH_SECONDS (10) a measurement; BENCH_SMALL=0 leaves out latencies at 20,000.
set -eu
. "$(dirname "$0")/cluster.sh"
. "$(dirname "$0")/latency.sh"
products=${BENCH_PRODUCTS:-20000}
large=${BENCH_LARGE:-1000000}
seconds=${BENCH_SECONDS:-10}
rounds=${BENCH_ROUNDS:-3}
fresh_cluster bench
psql() { command psql -XqAt -v ON_ERROR_STOP=1 -d postgres "$@"; }

echo "== $products products"
psql -v products="$products" -f "$top/test/bench/catalog_setup.sql" <"$top/sql/demo/products.csv"
psql -c "SELECT product_llm.create_catalog('shop', 'product', 'id', 'title || '' '' || description', 'shop-mini', 'manual', 'title', 'english')" >/dev/null
cat >"$work/refresh.sql" <<'SQL'
\timing off
SELECT clock_timestamp() AS t0 \gset
SELECT count(*) FROM product_llm.embed('shop-mini', (SELECT array_agg(title || ' ' || description ORDER BY id) FROM product)) \g /dev/null
SELECT clock_timestamp() AS t1 \gset
CALL product_llm.refresh_catalog('shop');
SELECT clock_timestamp() AS t2 \gset
SELECT round(extract(epoch FROM :'t1'::timestamptz - :'t0')::numeric, 2), round(extract(epoch FROM :'t2'::timestamptz - :'t1')::numeric, 2);
TRUNCATE shop_embedding, shop_words, shop_term;
SQL
[ "$rounds" -eq 0 ] || for i in $(seq "$rounds"); do psql -f "$work/refresh.sql"; psql -c VACUUM; done | tr '|' ' ' |
	awk -v n="$products" '{printf "embed alone %.2f s (%.0f texts/s), refresh_catalog %.2f s (%.0f rows/s): %.1f %%\n", $1, n / $1, $2, n / $2, 100 * $1 / $2; r[NR] = 100 * $1 / $2}
		END {for (i = 2; i <= NR; i++) for (j = i; j > 1 && r[j] < r[j - 1]; j--) {t = r[j]; r[j] = r[j - 1]; r[j - 1] = t}
			printf "refresh_catalog at %.1f %% of the raw batch speed (median of %d)\n", r[int((NR + 1) / 2)], NR}'
psql -c "CALL product_llm.refresh_catalog('shop')"
psql -c "SELECT product_llm.bind_events('shop', 'event', 'visitor', 'item', 'at', 'kind', '{\"view\": 1, \"cart\": 2, \"purchase\": 4}')" >/dev/null
psql -c "VACUUM ANALYZE"
[ "${BENCH_SMALL:-1}" -eq 0 ] || for what in search recommend; do
	latency "catalog_$what.sql" 1 2 >/dev/null
	for clients in 1 2 8; do
		# shellcheck disable=SC2046
		report "$what, $products products" $clients $(latency "catalog_$what.sql" $clients "$seconds")
	done
done

if [ "$large" -gt 0 ]; then
	echo "== $large products, synthetic vectors"
	copies=$(((large + products - 1) / products))
	psql -v copies="$copies" -v large="$large" -v products="$products" <<'SQL'
SET client_min_messages = warning;
INSERT INTO product SELECT id + c * :products, title, description, price, stock
	FROM product, generate_series(1, :copies - 1) AS c WHERE id + c * :products <= :large;
-- Each further vector is a mixture of two products', as the embedding of a text about both would lie: on the same manifold as
-- real ones, which an index of neighbours depends on.
CREATE UNLOGGED TABLE mixed AS
	SELECT (e.key::int + c * :products)::text AS key, e.text_hash, e.model,
		(SELECT array_agg(u.a * 0.8::real + u.b * 0.6::real) FROM unnest(e.embedding, o.embedding) AS u (a, b)) AS embedding
	FROM generate_series(1, :copies - 1) AS c CROSS JOIN shop_embedding AS e
	JOIN shop_embedding AS o ON o.key = (1 + (e.key::bigint * 7919 + c * 104729) % :products)::text
	WHERE e.key::int + c * :products <= :large;
INSERT INTO shop_embedding (key, text_hash, model, embedding) SELECT key, text_hash, model, embedding FROM mixed;
DROP TABLE mixed;
DROP INDEX shop_words_words_idx;
INSERT INTO shop_words SELECT ((key::int + c * :products))::text, text_hash, title_words, body_words, words
	FROM shop_words, generate_series(1, :copies - 1) AS c WHERE key::int + c * :products <= :large;
CREATE INDEX shop_words_words_idx ON shop_words USING gin (words);
SELECT product_llm.catalog_work('shop', 'count', NULL) \g /dev/null
VACUUM ANALYZE;
SQL
	latency catalog_search.sql 1 10 >/dev/null
	# shellcheck disable=SC2046
	report "exact search, $large products" 1 $(latency catalog_search.sql 1 $((seconds * 2)))
	# shellcheck disable=SC2046
	report "the same by meaning alone" 1 $(latency catalog_semantic.sql 1 "$seconds")
	if [ "$(psql -c "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'")" = 1 ]; then
		psql -c "CREATE EXTENSION vector" -c "SET maintenance_work_mem = '4GB'" \
			-c "CREATE TEMP TABLE exact AS SELECT q.id, s.key FROM query AS q, product_llm.search('shop', q.query, 10, mode => 'semantic') AS s WHERE q.id <= 50" \
			-c "SELECT product_llm.alter_catalog('shop', nearest => 'hnsw')" \
			-c "SELECT 'recall@10 with pgvector ' || round(avg((s.key IS NOT NULL)::int), 3) FROM exact AS e LEFT JOIN LATERAL (SELECT s.key FROM query AS q, product_llm.search('shop', q.query, 10, mode => 'semantic') AS s WHERE q.id = e.id AND s.key = e.key) AS s ON true"
		# shellcheck disable=SC2046
		report "search with pgvector, $large products" 1 $(latency catalog_search.sql 1 "$seconds")
		# shellcheck disable=SC2046
		report "the same by meaning alone" 1 $(latency catalog_semantic.sql 1 "$seconds")
	else
		echo "pgvector is not installed: its index is not measured"
	fi
fi
