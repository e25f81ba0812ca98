/*
 * filter.h -- a condition that a caller gives as text: checked, with its values put in as literals.
 */
#ifndef PLMPG_FILTER_H
#define PLMPG_FILTER_H

#include "plmpg.h"

#include "utils/jsonb.h"

/*
 * The condition as "(...)", in the current memory context; "true" for a NULL filter.  ERROR when it is not exactly one
 * boolean expression over the relation's columns, calls a volatile function, locks rows, or does not fit its arguments.
 *
 * filter: columns by name or by the relation's name and theirs.  Placeholders stand for values of args: :name, :"any name"
 * for the members of an object, $1, $2 .. for the elements of an array.  args: NULL is {}.
 *
 * The names were resolved as the caller's search_path says, with only this relation in FROM, under its own name.  Run it
 * just so, in the same transaction and with the same search_path and standard_conforming_strings:
 *     SELECT .. FROM (SELECT <key> FROM <relation> WHERE <fragment>) AS ..
 * Nothing is executed here.  Functions and views count as what they are labelled.
 */
char	   *plmpg_filter_sql(text *filter, Jsonb *args, Oid relation);

#endif							/* PLMPG_FILTER_H */
