/*
 * config_parts.h -- private to file/: the pieces that plm_config_read() is made of.
 *
 * config.c reads the transformer and its head; config_modules.c what sentence-transformers adds around it.
 */
#ifndef PLM_FILE_CONFIG_PARTS_H
#define PLM_FILE_CONFIG_PARTS_H

#include "json_file.h"

/* The value of a name in a table of {name, value}, or -1. */
typedef struct ConfigName
{
	const char *name;
	int32_t		value;
} ConfigName;
int32_t		plm_config_name(const ConfigName *table, int64_t n, const char *name);

/* PlmActivation of a torch.nn class name such as "torch.nn.modules.activation.Tanh", or -1. */
int32_t		plm_config_torch_activation(const char *name);

/*
 * modules.json with its Pooling, Dense and Normalize folders; without it mean pooling.  Sets dimensions.
 * includes_prompt: whether the prompt's tokens take part in the pooling.
 */
PlmStatus	plm_config_modules(const PlmFileSet *set, PlmArena *arena, PlmConfig *config, bool *includes_prompt,
							   PlmError *err);
/* max_tokens from sentence_bert_config.json, tokenizer_config.json and the positions. */
PlmStatus	plm_config_max_tokens(const PlmFileSet *set, PlmArena *arena, PlmConfig *config, PlmError *err);
/*
 * sentence-transformers' do_lower_case lowers the text before the tokenizer sees it.  Where the tokenizer
 * lower-cases by itself that changes nothing; where it does not, the directory is refused.
 */
PlmStatus	plm_config_check_case(const PlmFileSet *set, PlmArena *arena, PlmError *err);
/* Prompts of config_sentence_transformers.json. */
PlmStatus	plm_config_prompts(const PlmFileSet *set, PlmArena *arena, PlmConfig *config, PlmError *err);
/* A directory without config.json: a tokenizer alone, if product_llm.json says so, else an error. */
PlmStatus	plm_config_tokenizer(const PlmFileSet *set, PlmArena *arena, PlmConfig *config, PlmError *err);
/* product_llm.json over all of the above. */
PlmStatus	plm_config_override(const PlmFileSet *set, PlmArena *arena, PlmConfig *config, PlmError *err);

#endif							/* PLM_FILE_CONFIG_PARTS_H */
