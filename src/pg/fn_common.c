/*
 * fn_common.c -- lists of texts, calls into the engine, and call-site memory for the fn_*.c files.
 */
#include "fn.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

/* A slice ends at this many texts or bytes, whichever comes first; one text is never cut. */
#define SLICE_TEXTS 1024
#define SLICE_BYTES (4 * 1024 * 1024)

PlmKind
plmpg_kind(text *kind)
{
	const char *data = VARDATA_ANY(kind);
	size_t		len = VARSIZE_ANY_EXHDR(kind);

	if (len == 8 && memcmp(data, "document", 8) == 0)
		return PLM_KIND_DOCUMENT;
	if (len == 5 && memcmp(data, "query", 5) == 0)
		return PLM_KIND_QUERY;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown kind of text \"%s\"", text_to_cstring(kind)),
			 errhint("Use 'document' for what is stored and 'query' for what is asked.")));
}

/* ---- lists ---- */

PlmpgTexts
plmpg_texts(ArrayType *array)
{
	PlmpgTexts	texts;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &texts.values, &texts.nulls, &texts.n);
	return texts;
}

void
plmpg_slice_begin(PlmpgSlice *slice, const PlmpgTexts *texts)
{
	slice->texts = texts;
	slice->context = AllocSetContextCreate(CurrentMemoryContext, "product_llm slice", ALLOCSET_DEFAULT_SIZES);
	slice->first = 0;
	slice->n = 0;
	slice->inputs = NULL;
}

bool
plmpg_slice_next(PlmpgSlice *slice)
{
	const PlmpgTexts *texts = slice->texts;
	MemoryContext old;
	size_t		bytes = 0;
	int			n = 0;

	CHECK_FOR_INTERRUPTS();
	slice->first += slice->n;
	slice->n = 0;
	MemoryContextReset(slice->context);
	if (slice->first >= texts->n)
		return false;

	old = MemoryContextSwitchTo(slice->context);
	slice->inputs = palloc0(Min(texts->n - slice->first, SLICE_TEXTS) * sizeof(PlmInput));
	while (slice->first + n < texts->n && n < SLICE_TEXTS && bytes < SLICE_BYTES)
	{
		int			i = slice->first + n;

		if (!texts->nulls[i])
		{
			slice->inputs[n].first = plmpg_utf8(DatumGetTextPP(texts->values[i]));
			bytes += slice->inputs[n].first.len;
		}
		n++;
	}
	MemoryContextSwitchTo(old);
	slice->n = n;
	return true;
}

void
plmpg_slice_end(PlmpgSlice *slice)
{
	MemoryContextDelete(slice->context);
}

/* ---- numbers ---- */

void
plmpg_embed(const PlmpgModel *model, int64 n, const PlmInput *inputs, PlmKind kind, float *out)
{
	PlmHook		hook = plmpg_call_hook(CurrentMemoryContext);
	PlmOptions	options = plmpg_options(&hook);
	PlmError	err = {0};

	plmpg_check(plm_embed(model->model, n, inputs, kind, &options, out, &err), &err);
}

void
plmpg_logits(const PlmpgModel *model, int64 n, const PlmInput *inputs, float *out)
{
	PlmHook		hook = plmpg_call_hook(CurrentMemoryContext);
	PlmOptions	options = plmpg_options(&hook);
	PlmError	err = {0};

	plmpg_check(plm_logits(model->model, n, inputs, &options, out, &err), &err);
}

/*
 * By its task and not by what it can do: a regression of one text has one output, too, and scores of
 * pairs by it would mean nothing.
 */
bool
plmpg_ranks(const PlmpgModel *model)
{
	return model->config->task == PLM_TASK_RANKING && plm_model_can(model->model, PLM_TASK_RANKING);
}

void
plmpg_rank(const PlmpgModel *model, int64 n, const PlmInput *pairs, float *out)
{
	plmpg_logits(model, n, pairs, out);
	plm_activate(model->config->score_activation, out, n);
}

/*
 * The same in double precision, for lengths that single precision cannot hold: 1e-30 or 1e30 per
 * component are far from any model's output but are legal real[] values.
 */
static double
cosine_wide(const float *a, const float *b, int64 n, const char *who)
{
	double		ab = 0,
				aa = 0,
				bb = 0;

	for (int64 i = 0; i < n; i++)
	{
		ab += (double) a[i] * b[i];
		aa += (double) a[i] * a[i];
		bb += (double) b[i] * b[i];
	}
	if (!isfinite(aa) || !isfinite(bb))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s has a component that is not a finite number", who)));
	if (aa == 0 || bb == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has length zero, and so no direction to compare", who),
				 errhint("Store NULL where there is no embedding.")));
	return ab / (sqrt(aa) * sqrt(bb));
}

float
plmpg_cosine(const float *a, const float *b, int64 n, const char *who)
{
	float		ab,
				aa,
				bb;
	double		cosine;

	plm_dot3(a, b, n, &ab, &aa, &bb);
	if (aa > 1e-20f && aa < 1e20f && bb > 1e-20f && bb < 1e20f && isfinite(ab))
		cosine = ab / sqrt((double) aa * bb);
	else
		cosine = cosine_wide(a, b, n, who);
	return (float) Max(-1.0, Min(1.0, cosine));
}

/* ---- call sites ---- */

PlmpgMemo *
plmpg_memo(FunctionCallInfo fcinfo)
{
	PlmpgMemo  *memo = fcinfo->flinfo->fn_extra;

	if (memo == NULL)
	{
		MemoryContext parent = fcinfo->flinfo->fn_mcxt;

		memo = MemoryContextAllocZero(parent, sizeof(PlmpgMemo));
		memo->context = AllocSetContextCreate(parent, "product_llm model name", ALLOCSET_SMALL_SIZES);
		memo->values_context = AllocSetContextCreate(parent, "product_llm call site", ALLOCSET_SMALL_SIZES);
		fcinfo->flinfo->fn_extra = memo;
	}
	return memo;
}

static bool
same_text(text *a, text *b)
{
	size_t		len = VARSIZE_ANY_EXHDR(a);

	return len == VARSIZE_ANY_EXHDR(b) && memcmp(VARDATA_ANY(a), VARDATA_ANY(b), len) == 0;
}

static void
forget_values(PlmpgMemo *memo)
{
	memo->key = NULL;
	memo->values = NULL;
	MemoryContextReset(memo->values_context);
}

const PlmpgModel *
plmpg_memo_tokenizer(PlmpgMemo *memo, text *name)
{
	MemoryContext old;

	if (memo->name != NULL && memo->generation == plmpg_model_generation() && memo->user == GetUserId() && same_text(memo->name, name))
		return memo->model;

	memo->name = NULL;
	forget_values(memo);
	MemoryContextReset(memo->context);

	/* Before the lookup: if a change comes in during it, the next row asks again. */
	memo->generation = plmpg_model_generation();
	memo->user = GetUserId();
	memo->model = plmpg_model_get(name);
	old = MemoryContextSwitchTo(memo->context);
	memo->name = cstring_to_text_with_len(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	MemoryContextSwitchTo(old);
	return memo->model;
}

void
plmpg_require_weights(const PlmpgModel *model)
{
	if (model->config->task == PLM_TASK_TOKENIZER)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("model \"%s\" has no weights: it is a tokenizer", model->name),
				 errhint("product_llm.pretrain(.., base => '%s') makes a model of it.", model->name)));
}

const PlmpgModel *
plmpg_memo_model(PlmpgMemo *memo, text *name)
{
	const PlmpgModel *model = plmpg_memo_tokenizer(memo, name);

	plmpg_require_weights(model);
	return model;
}

const float *
plmpg_memo_find(const PlmpgMemo *memo, const void *key, size_t bytes)
{
	if (memo->key == NULL || memo->key_bytes != bytes || memcmp(memo->key, key, bytes) != 0)
		return NULL;
	return memo->values;
}

const float *
plmpg_memo_embed(PlmpgMemo *memo, const void *key, size_t bytes, int64 n, const PlmInput *inputs, PlmKind kind)
{
	char	   *copy;
	float	   *values;

	forget_values(memo);
	values = MemoryContextAllocHuge(memo->values_context, (Size) n * memo->model->config->dimensions * sizeof(float));
	copy = MemoryContextAllocHuge(memo->values_context, Max(bytes, 1));
	memcpy(copy, key, bytes);
	plmpg_embed(memo->model, n, inputs, kind, values);

	/* Only now, so that an error half-way leaves nothing that looks like a result. */
	memo->values = values;
	memo->key_bytes = bytes;
	memo->key = copy;
	return values;
}

const float *
plmpg_memo_query(PlmpgMemo *memo, text *query)
{
	const char *key = VARDATA_ANY(query);
	size_t		bytes = VARSIZE_ANY_EXHDR(query);
	const float *vector = plmpg_memo_find(memo, key, bytes);

	if (vector == NULL)
	{
		PlmInput	input = {.first = plmpg_utf8(query)};

		vector = plmpg_memo_embed(memo, key, bytes, 1, &input, PLM_KIND_QUERY);
	}
	return vector;
}
