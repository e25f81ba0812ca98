/*
 * shop.h -- product catalogs as C sees them: definitions, rights, and the lists of keys that searches work with.
 */
#ifndef PLMPG_SHOP_H
#define PLMPG_SHOP_H

#include "plmpg.h"

#include "nodes/bitmapset.h"
#include "utils/jsonb.h"

/* A row of product_llm.catalog, with the names that SQL over it needs.  In the context it was read in. */
typedef struct PlmpgShop
{
	char	   *catalog;
	Oid			source;
	Oid			owner;			/* of the source, and so of the catalog */
	char	   *key;			/* column of the source */
	Oid			texts;
	Oid			store;
	Oid			next_store;		/* 0: none */
	Oid			words;
	Oid			terms;
	text	   *model;
	char	   *nearest;
	Oid			language;
	Jsonb	   *settings;
	char	   *source_name;	/* qualified and quoted, as are the others */
	char	   *source_rows;	/* what to say after FROM for the catalog's products */
	char	   *store_name;
	char	   *words_name;
	char	   *terms_name;
	char	   *key_column;		/* quoted */
	char	   *key_type;		/* qualified */
	bool		array_key;
	bool		plain_key;		/* key::text depends on no setting */
} PlmpgShop;

/*
 * By name, or ERROR undefined_object; also when its source or a side table is gone.  Its table of embeddings is locked against
 * being dropped.  ERROR serialization_failure when the transaction's snapshot is older than a change of the definition.
 */
PlmpgShop  *plmpg_shop(const char *catalog);

/*
 * The same, for who writes the side tables: as the definition is at this moment, whatever the statement's snapshot says.  A change
 * of model leaves the old table of embeddings until nobody reads it; nothing must be written to it any more.
 */
PlmpgShop  *plmpg_shop_to_write(const char *catalog);

/* By name, with what says where its source is and whose it is; its side tables may be gone. */
PlmpgShop  *plmpg_shop_of_source(const char *catalog);

/* A relation's qualified, quoted name. */
char	   *plmpg_relation_name(Oid relid);

/* Columns of the source that the texts are made of, key included, as by pull_varattnos(); a whole row stands as 0. */
Bitmapset  *plmpg_shop_columns(const PlmpgShop *shop);

/*
 * ERROR unless the caller may read the key and what the texts are made of: else a search would tell of columns that the
 * caller cannot see.
 */
void		plmpg_shop_check_rights(const PlmpgShop *shop);

/* Does row-level security stand between the caller and some rows of this table? */
bool		plmpg_hidden_rows(Oid relid);

/* What was last counted: rows, and the mean length in words of title and body.  Within plmpg_become(): for the owner's eyes. */
Jsonb	   *plmpg_shop_statistics(const PlmpgShop *shop);

/* A number of the catalog's settings or statistics, or the default. */
double		plmpg_shop_number(const Jsonb *object, const char *name, double otherwise);

/* SQL condition that the source's key is in a list of texts; keys is SQL, such as a parameter. */
char	   *plmpg_shop_key_among(const PlmpgShop *shop, const char *keys);

/* "product_llm.key_text(<column>)", or the cheaper cast where that is the same. */
char	   *plmpg_shop_key_text(const PlmpgShop *shop);

#endif							/* PLMPG_SHOP_H */
