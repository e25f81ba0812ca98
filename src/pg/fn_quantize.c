/*
 * fn_quantize.c -- quantize_model: a model of lower precision over the same files, and what that costs.
 */
#include "catalog.h"

#include "fn.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

/* What the loss is measured on: titles, descriptions, questions and reviews of a shop, in several scripts. */
static const char *const samples[] = {
	"",
	"tea",
	"Wireless over-ear headphones with active noise cancelling and 40 hours of battery life",
	"waterproof hiking boots for wide feet",
	"something warm to wear on a windy evening by the sea",
	"Does this charger work with a laptop that has only USB-C?",
	"Stainless steel chef's knife, 20 cm blade, full tang, dishwasher safe",
	"The zip broke after two weeks and nobody answered my mail.",
	"Exactly as described, arrived a day early, my daughter loves it!",
	"SKU 48-1120/B, M8 x 40 mm, zinc plated, pack of 100",
	"A quiet mechanical keyboard for the office, brown switches, white backlight",
	"organic green tea from the first harvest, 250 g tin",
	"gift for a ten-year-old who likes dinosaurs and puzzles",
	"Replacement filter for the coffee machine, fits all models since 2019",
	"Is it safe for children under three years?",
	"27 inch monitor, 2560 x 1440, 165 Hz, height adjustable",
	"Vegan leather backpack with a padded sleeve for a tablet",
	"I have been looking for a lamp like this for years: the light is soft, the foot is heavy, and the cable is long "
	"enough to reach the socket behind the shelf.",
	"\xe6\x97\xa0\xe7\xba\xbf\xe8\x93\x9d\xe7\x89\x99\xe8\x80\xb3\xe6\x9c\xba",	/* wireless bluetooth earphones */
	"\xe9\x80\x82\xe5\x90\x88\xe5\x86\xac\xe5\xa4\xa9\xe7\xa9\xbf\xe7\x9a\x84\xe5\xa4\x96\xe5\xa5\x97",	/* a coat for the winter */
	"\xe8\xbf\x99\xe4\xb8\xaa\xe6\x9d\xaf\xe5\xad\x90\xe5\x8f\xaf\xe4\xbb\xa5\xe6\x94\xbe\xe8\xbf\x9b\xe6\xb4\x97"
	"\xe7\xa2\x97\xe6\x9c\xba\xe5\x90\x97\xef\xbc\x9f",	/* may this cup go into the dishwasher? */
	"\xe8\xb4\xa8\xe9\x87\x8f\xe5\xbe\x88\xe5\xa5\xbd\xef\xbc\x8c\xe7\x89\xa9\xe6\xb5\x81\xe4\xb9\x9f\xe5\xbe\x88"
	"\xe5\xbf\xab",				/* good quality, quick delivery */
	"\xe9\x80\x81\xe7\xbb\x99\xe5\xa6\x88\xe5\xa6\x88\xe7\x9a\x84\xe7\x94\x9f\xe6\x97\xa5\xe7\xa4\xbc\xe7\x89\xa9",	/* a birthday gift for mother */
	"\xe6\x96\xb0\xe9\xb2\x9c\xe7\xbb\xbf\xe8\x8c\xb6 250 \xe5\x85\x8b",	/* fresh green tea, 250 g */
	"Leichte Laufschuhe f\xc3\xbcr lange Strecken, Gr\xc3\xb6\xc3\x9f" "e 42",
	"Cafeti\xc3\xa8re italienne pour six tasses, en aluminium",
	"Zapatillas c\xc3\xb3modas para caminar por la ciudad",
	"Tazza di ceramica fatta a mano, blu",
	"\xd0\xa2\xd1\x91\xd0\xbf\xd0\xbb\xd1\x8b\xd0\xb9 \xd1\x88\xd0\xb0\xd1\x80\xd1\x84 \xd0\xb8\xd0\xb7 "
	"\xd1\x88\xd0\xb5\xd1\x80\xd1\x81\xd1\x82\xd0\xb8",	/* a warm scarf of wool */
	"\xe3\x83\xaf\xe3\x82\xa4\xe3\x83\xa4\xe3\x83\xac\xe3\x82\xb9\xe3\x83\x9e\xe3\x82\xa6\xe3\x82\xb9",	/* wireless mouse */
	"\xeb\xac\xb4\xec\x84\xa0 \xec\x9d\xb4\xec\x96\xb4\xed\x8f\xb0",	/* wireless earphones */
	"\xd8\xad\xd8\xb0\xd8\xa7\xd8\xa1 \xd8\xb1\xd9\x8a\xd8\xa7\xd8\xb6\xd9\x8a",	/* sports shoe */
};

/* Embeddings of the samples: (PLM_COUNT(samples), dimensions). */
static float *
embed_samples(const PlmModel *model)
{
	PlmHook		hook = plmpg_hook(CurrentMemoryContext);
	PlmOptions	options = plmpg_options(&hook);
	int64		n = PLM_COUNT(samples);
	float	   *out = MemoryContextAllocHuge(CurrentMemoryContext,
											 (Size) n * plm_model_config(model)->dimensions * sizeof(float));
	PlmInput	inputs[PLM_COUNT(samples)] = {0};
	PlmError	err = {0};

	for (int64 i = 0; i < n; i++)
		inputs[i].first = (PlmText) {samples[i], strlen(samples[i])};
	plmpg_check(plm_embed(model, n, inputs, PLM_KIND_DOCUMENT, &options, out, &err), &err);
	return out;
}

/* Cosines of the samples' embeddings by two models: the smallest and the mean. Both give unit vectors. */
static void
measure(const PlmModel *a, const PlmModel *b, double *smallest, double *mean)
{
	int64		n = PLM_COUNT(samples);
	int64		d = plm_model_config(a)->dimensions;
	float	   *x = embed_samples(a);
	float	   *y = embed_samples(b);

	*smallest = 1;
	*mean = 0;
	for (int64 i = 0; i < n; i++)
	{
		double		cosine = 0;

		for (int64 j = 0; j < d; j++)
			cosine += (double) x[i * d + j] * y[i * d + j];
		cosine = Min(cosine, 1.0);
		*smallest = Min(*smallest, cosine);
		*mean += cosine / (double) n;
	}
}

static PlmPrecision
lower_precision(text *precision)
{
	char	   *name = text_to_cstring(precision);

	if (strcmp(name, plm_precision_name(PLM_PREC_BF16)) == 0)
		return PLM_PREC_BF16;
	if (strcmp(name, plm_precision_name(PLM_PREC_INT8)) == 0)
		return PLM_PREC_INT8;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown precision \"%s\"", name),
			 errhint("Use 'int8' or 'bf16'.")));
}

/* Map the new model, measure it against its base, and fill in size and metrics. */
static void
weigh(PlmpgNewModel *new, const PlmpgRow *row, text *base)
{
	PlmpgMapping *volatile mapping = plmpg_mapping_open(row);
	volatile double smallest = 1;
	volatile double mean = 1;

	PG_TRY();
	{
		double		least,
					average;

		measure(plmpg_model_get(base)->model, mapping->model.model, &least, &average);
		smallest = least;
		mean = average;
		new->bytes = (int64) mapping->file.bytes;
	}
	PG_FINALLY();
	{
		plmpg_mapping_close(mapping);
	}
	PG_END_TRY();

	if (1 - smallest > plmpg_max_quantization_loss)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("precision \"%s\" loses too much: smallest cosine %.6f, mean %.6f over %d texts",
						plm_precision_name(row->precision), smallest, mean, (int) PLM_COUNT(samples)),
				 errhint("Use a higher precision, or raise product_llm.max_quantization_loss.")));
	new->metrics = DirectFunctionCall1(jsonb_in,
									   CStringGetDatum(psprintf("{\"cosine_min\": %.6f, \"cosine_mean\": %.6f, \"texts\": %d}",
																smallest, mean, (int) PLM_COUNT(samples))));
}

PG_FUNCTION_INFO_V1(product_llm_quantize_model);

/* quantize_model(model, base, precision) */
Datum
product_llm_quantize_model(PG_FUNCTION_ARGS)
{
	char	   *model = plmpg_model_name(PG_GETARG_TEXT_PP(0));
	text	   *base_name = PG_GETARG_TEXT_PP(1);
	char	   *base = text_to_cstring(base_name);
	PlmPrecision precision = lower_precision(PG_GETARG_TEXT_PP(2));
	PlmpgNewModel new = {.model = model, .precision = precision};
	PlmpgRow	row;

	plmpg_claim(model, "product_llm.quantize_model()", PLMPG_CLAIM_NEW);
	plmpg_catalog_lock(base, ShareLock);
	plmpg_catalog_usable(base, GetLatestSnapshot(), &row);
	plmpg_require_weights(plmpg_model_get(base_name));
	if (row.precision == precision)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("model \"%s\" already has precision \"%s\"", base, plm_precision_name(precision))));

	/* Always from the files themselves, which a quantized base shares with its own base. */
	if (strcmp(row.files_of, base) != 0 && !plmpg_catalog_find(row.files_of, GetLatestSnapshot(), &row))
		plmpg_catalog_missing(row.files_of);
	row.model = model;
	row.precision = precision;
	plmpg_key(row.sha256, precision, new.sha256);
	memcpy(row.sha256, new.sha256, PLM_KEY_BYTES);
	plmpg_packfile_doubt(row.sha256, precision, true);
	weigh(&new, &row, base_name);
	plmpg_write_derived(&new, base);
	plmpg_inherit_grants(model, base);
	PG_RETURN_VOID();
}
