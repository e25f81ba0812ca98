/*
 * train_base.c -- what a training begins with: files of a base (or of a tokenizer alone), its tokenizer, its longest text.
 */
#include "training.h"

#include "utils/snapmgr.h"

/* PlmSource.read: the base's files are there while run->store is open. */
static PlmStatus
base_read(void *arg, uint64_t offset, size_t len, void *dst, PlmError *err)
{
	PlmpgStoredFile **file = arg;

	if (*file == NULL)
		return plm_fail(err, PLM_EINTERNAL, 0, "the files of the base are closed");
	return (*file)->store->sources[*file - (*file)->store->files].read(*file, offset, len, dst, err);
}

/* Sources that outlive a transaction; plmpg_base_open() and plmpg_base_close() say when they can be read. */
static void
make_sources(PlmpgTrainRun *run)
{
	int			n = run->store->n;
	PlmpgStoredFile **places = MemoryContextAllocZero(run->context, n * sizeof(PlmpgStoredFile *));

	run->sources = MemoryContextAllocZero(run->context, n * sizeof(PlmSource));
	for (int i = 0; i < n; i++)
	{
		run->sources[i] = run->store->sources[i];
		run->sources[i].read = base_read;
		run->sources[i].arg = &places[i];
	}
	run->n_sources = n;
	run->files = (PlmFileSet) {run->sources, n};
}

void
plmpg_base_open(PlmpgTrainRun *run)
{
	const char *base = run->base != NULL ? run->base : run->settings.tokenizer;
	PlmpgRow	row;

	plmpg_catalog_usable(base, GetLatestSnapshot(), &row);
	run->store = plmpg_store_open(row.files_of, GetLatestSnapshot());
	if (run->sources == NULL)
		make_sources(run);
	for (int i = 0; i < run->store->n; i++)
		*(PlmpgStoredFile **) run->sources[i].arg = &run->store->files[i];
}

void
plmpg_base_forget(PlmpgTrainRun *run)
{
	for (int i = 0; run->sources != NULL && i < run->n_sources; i++)
		*(PlmpgStoredFile **) run->sources[i].arg = NULL;
}

void
plmpg_base_close(PlmpgTrainRun *run)
{
	plmpg_base_forget(run);
	plmpg_store_close(run->store);
	run->store = NULL;
}

/* The text of a small file, in the run's arena. */
static PlmText
text_of(PlmpgTrainRun *run, const PlmFileSet *files, const char *name)
{
	PlmText		text = {NULL, 0};
	PlmError	err = {0};

	plmpg_train_check(run, plm_file_text(files, name, (size_t) 64 * 1024 * 1024, &run->arena, &text, &err), &err);
	return text;
}

/* A configuration for a vocabulary that has none: the files of a model that knows nothing yet. */
static void
make_fresh(PlmpgTrainRun *run)
{
	PlmText		vocab = text_of(run, &run->files, "vocab.txt");
	PlmFileSet	set;
	PlmError	err = {0};

	if (vocab.data == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("model \"%s\" has no vocab.txt to begin anew with", run->base != NULL ? run->base : run->settings.tokenizer),
				 errhint("product_llm.train_tokenizer() makes a vocabulary of a corpus.")));
	plmpg_check(plm_fresh_files(&run->settings.shape, vocab, text_of(run, &run->files, "tokenizer_config.json"), &run->arena, &set, &err), &err);
	run->files = set;
}

/* The tokenizer that the trained model has: the base's, or the one that takes its place. */
static void
compile_tokenizer(PlmpgTrainRun *run)
{
	const PlmFileSet *set = run->words.n > 0 ? &run->words : &run->files;
	PlmTokenizerFiles files = {
		.tokenizer_json = text_of(run, set, "tokenizer.json"),
		.vocab_txt = text_of(run, set, "vocab.txt"),
		.tokenizer_config_json = text_of(run, set, "tokenizer_config.json"),
		.special_tokens_map_json = text_of(run, set, "special_tokens_map.json"),
		.added_tokens_json = text_of(run, set, "added_tokens.json"),
	};
	void	   *blob;
	size_t		bytes;
	PlmError	err = {0};

	plmpg_check(plm_tokenizer_compile(&files, &run->arena, &blob, &bytes, &err), &err);
	plmpg_check(plm_tokenizer_open(blob, bytes, &run->tokenizer, &err), &err);
}

/* The tokenizer's files of another model, read into the run's arena. */
static void
read_words(PlmpgTrainRun *run)
{
	static const char *const names[] = {"vocab.txt", "tokenizer_config.json"};
	PlmpgRow	row;
	PlmpgStore *store;
	PlmFileSet	files;
	PlmSource  *words = MemoryContextAllocZero(run->context, lengthof(names) * sizeof(PlmSource));

	if (!plmpg_catalog_find(run->settings.tokenizer, GetLatestSnapshot(), &row))
		plmpg_catalog_missing(run->settings.tokenizer);
	store = plmpg_store_open(row.files_of, GetLatestSnapshot());
	files = (PlmFileSet) {store->sources, store->n};
	for (int i = 0; i < lengthof(names); i++)
	{
		PlmText		text = text_of(run, &files, names[i]);

		if (text.data != NULL)
			words[run->words.n++] = plm_source_memory(names[i], text.data, text.len);
	}
	plmpg_store_close(store);
	if (run->words.n == 0 || strcmp(words[0].name, "vocab.txt") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("model \"%s\" has no vocab.txt to take words from", run->settings.tokenizer),
				 errhint("product_llm.train_tokenizer() makes a vocabulary of a corpus.")));
	run->words.files = words;
}

/* Longest text: what is asked for, else what the base takes. */
static void
settle_length(PlmpgTrainRun *run)
{
	PlmConfig	config;
	PlmText    *labels;
	PlmError	err = {0};

	plmpg_train_check(run, plm_config_read(&run->files, &run->arena, &config, &labels, &err), &err);
	if (run->settings.engine.max_tokens > config.max_tokens)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"max_tokens\" is %d, but the base takes at most %d tokens", run->settings.engine.max_tokens,
						config.max_tokens),
				 errhint("Longer texts are cut; leave the option out for all that the base takes.")));
	if (run->settings.engine.max_tokens == 0)
		run->settings.engine.max_tokens = config.max_tokens;
}

void
plmpg_base_prepare(PlmpgTrainRun *run)
{
	plmpg_base_open(run);
	if (plm_file_find(&run->files, "config.json") == NULL || run->base == NULL)
		make_fresh(run);
	if (run->base != NULL && run->settings.tokenizer != NULL)
		read_words(run);
	compile_tokenizer(run);
	settle_length(run);
	plmpg_base_close(run);
}
