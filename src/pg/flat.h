/*
 * flat.h -- the exact index: an index access method, product_flat, that keeps vectors in 8 bits side by side.
 *
 * A scan computes, for every row, an upper bound of its cosine to the query (num/codes.c), and gives rows out by falling bound.
 * Whoever reads them computes the exact value from the heap and stops when the next bound is below what he has: so the answer is
 * exact, and only a few rows more than are wanted are read.  The executor does that by itself (xs_recheckorderby), and thereby
 * sees to visibility and filters; in C, plmpg_flat_best() does.
 *
 * Every row of the table has an entry.  For a row without a direction, or of other dimensions than the index has, nothing is
 * known: it comes first, and the operator has its error, if the row passes the filter, as it would without an index.
 *
 * A scan holds no pins.  VACUUM may remove an entry that a scan has read, and its tuple identifier may be used again: by a row
 * that is younger than the scan's snapshot, which the heap does not show to it.  Hence MVCC snapshots only, as all have that come
 * here: the method supports neither uniqueness nor exclusion.
 *
 *     flat_page.h    what stands on pages
 *     flat.c         the handler, validation, cost        flat_build.c    CREATE INDEX
 *     flat_insert.c  INSERT                               flat_scan.c     scans
 *     flat_vacuum.c  VACUUM
 */
#ifndef PLMPG_FLAT_H
#define PLMPG_FLAT_H

#include "plmpg.h"

#include "access/amapi.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"

/* ---- for the extension's own scans: flat_scan.c ---- */

/* No more vectors at a time. */
#define PLMPG_FLAT_VECTORS 1024

/*
 * A usable product_flat index on this column of a table, of all its rows; InvalidOid: there is none.
 */
Oid			plmpg_flat_index(Relation heap, const char *column);

/*
 * One row.  bound: not below its score, the largest of weight_i * cosine_i; infinite for a row of other dimensions or without
 * direction.  False: enough.  The slot is valid during the call; the current memory context is reset after it.
 */
typedef bool (*PlmpgFlatTake) (void *arg, TupleTableSlot *row, double bound);

/*
 * Give out rows that the active snapshot sees, by falling bound, until take() says that it is enough, or all rows that are not
 * NULL have come.  vectors: n rows of `dimensions` floats; weights: (n) not negative, or NULL for 1.  Cosines are those of
 * plm_dot3() and a division, or of plm_dot() for vectors whose length is within 1e-5 of one.  wanted: about how many rows will be
 * taken, for the first guess.  The caller holds locks on both relations.  ERROR when a vector has no direction.
 */
void		plmpg_flat_best(Relation heap, Relation index, int n, const float *vectors, int64 dimensions, const double *weights,
							int64 wanted, PlmpgFlatTake take, void *arg);

/* ---- the access method's parts, for flat.c ---- */

IndexBuildResult *plmpg_flat_build(Relation heap, Relation index, struct IndexInfo *info);
void		plmpg_flat_build_empty(Relation index);
bool		plmpg_flat_insert(Relation index, Datum *values, bool *nulls, ItemPointer tid, Relation heap,
							  IndexUniqueCheck unique, bool unchanged, struct IndexInfo *info);
IndexBulkDeleteResult *plmpg_flat_delete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
										 IndexBulkDeleteCallback dead, void *arg);
IndexBulkDeleteResult *plmpg_flat_cleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats);
IndexScanDesc plmpg_flat_begin(Relation index, int keys, int orders);
void		plmpg_flat_rescan(IndexScanDesc scan, ScanKey keys, int n, ScanKey orders, int n_orders);
bool		plmpg_flat_next(IndexScanDesc scan, ScanDirection direction);
void		plmpg_flat_end(IndexScanDesc scan);

#endif							/* PLMPG_FLAT_H */
