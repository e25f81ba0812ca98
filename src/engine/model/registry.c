/*
 * registry.c -- the list of architectures.
 */
#include "arch.h"

#include <stdio.h>
#include <string.h>

static const PlmArch *const architectures[] = {
	&plm_arch_bert,
	&plm_arch_distilbert,
};

PlmStatus
plm_arch_find(const char *model_type, const PlmArch **arch, PlmError *err)
{
	char		known[160] = "";
	size_t		used = 0;

	for (int64_t i = 0; i < PLM_COUNT(architectures); i++)
	{
		if (strcmp(architectures[i]->model_type, model_type) == 0)
		{
			*arch = architectures[i];
			return PLM_OK;
		}
		used += (size_t) snprintf(known + used, sizeof(known) - used, "%s\"%s\"", i > 0 ? ", " : "",
								  architectures[i]->model_type);
		if (used >= sizeof(known))
			used = sizeof(known) - 1;
	}
	plm_fail(err, PLM_EUNSUPPORTED, 0, "architecture \"%s\" is not supported", model_type);
	return plm_hint(err, "Supported architectures are %s.", known);
}
