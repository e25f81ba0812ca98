/*
 * params.h -- an architecture's table, expanded by a configuration: the one list of a model's
 * parameters, from which checking, packing and opening all work.
 */
#ifndef PLM_PARAMS_H
#define PLM_PARAMS_H

#include "arch.h"

typedef struct PlmParam
{
	const PlmParamSpec *spec;
	int32_t		index;			/* what {L} stands for */
	int			rank;			/* 1 or 2 */
	int64_t		rows, cols;		/* a vector has rows = 1 */
	int64_t		section;		/* where it is packed */
	int64_t		at;				/* elements of its section before it */
	const PlmTensor *tensor;	/* NULL until resolved */
} PlmParam;

typedef struct PlmParamPlan
{
	const PlmConfig *config;
	const PlmArch *arch;
	int64_t		n;
	PlmParam   *params;
	int64_t		n_sections;
	PlmSection *sections;		/* name, packed, precision, rows, cols, bytes */
	bool		part[PLM_PARTS];
} PlmParamPlan;

/* Are the configuration's numbers in range and consistent with each other?  PLM_ECORRUPT, naming the first that is not. */
PlmStatus	plm_config_validate(const PlmConfig *config, PlmError *err);

/* Every parameter that a validated configuration allows, with its section; parts NULL: all parts, else those that are true. */
PlmStatus	plm_params_plan(const PlmArch *arch, const PlmConfig *config, PlmPrecision precision, const bool *parts,
							PlmArena *arena, PlmParamPlan *plan, PlmError *err);

/*
 * The plan of a model's files, each parameter bound to its tensor.  Parts that the files lack are left
 * out; a part that the configuration's task needs, and every tensor of the encoder, must be there.
 */
PlmStatus	plm_params_resolve(const PlmFileSet *set, const PlmConfig *config, PlmPrecision precision,
							   PlmArena *arena, PlmParamPlan *plan, PlmError *err);

/* The name of a parameter's tensor in a file (out: 192 bytes hold any); prefixed: as models with a head write it. */
void		plm_param_name(const PlmParamPlan *plan, const PlmParam *p, bool prefixed, char *out, size_t size);

/*
 * Read one parameter as fp32 and check that it is finite.  dst: rows * cols, or NULL to check only.
 * Polls the arena's hook.
 */
PlmStatus	plm_param_read(const PlmParam *param, float *dst, PlmArena *arena, PlmError *err);

#endif							/* PLM_PARAMS_H */
