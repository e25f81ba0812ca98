/*
 * compile_json.c -- tokenizer.json: reads what is supported, names what is not.
 */
#include "text_private.h"

#include <jansson.h>
#include <string.h>

PlmStatus
plm_compile_json(PlmBuild *build, const json_t *root)
{
	(void) root;
	return plm_fail(build->err, PLM_EUNSUPPORTED, 0, "tokenizer.json is not read by this version");
}
