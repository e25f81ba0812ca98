/*
 * arch.h -- what distinguishes one architecture from another: names in files, and a few facts.
 *
 * An architecture is a table of parameters and a PlmArch in its own arch_*.c, and one line in
 * registry.c.  Loader, packed file, parameter count and tests all read the table.
 */
#ifndef PLM_ARCH_H
#define PLM_ARCH_H

#include "../file/plm_file.h"

/* Shape symbols, resolved by the configuration. */
typedef enum PlmDim
{
	DIM_NONE = 0,				/* no second dimension: a vector */
	DIM_V,						/* vocabulary */
	DIM_P,						/* positions */
	DIM_Y,						/* token types; a parameter over 0 types does not exist */
	DIM_C,						/* width */
	DIM_F,						/* feed-forward */
	DIM_N,						/* labels */
	DIM_TWO,					/* 2: yes and no */
	DIM_IN, DIM_OUT				/* of the Dense module {L} */
} PlmDim;

/* What a parameter is needed for.  A part is there as a whole or not at all. */
typedef enum PlmPart
{
	PLM_PART_ENCODER = 0,		/* always needed */
	PLM_PART_POOLER,
	PLM_PART_CLASSIFIER,
	PLM_PART_MASK,				/* the masked-language head */
	PLM_PART_NEXT,				/* the next-sentence head */
	PLM_PART_DENSE,				/* needed when the configuration names Dense modules */
	PLM_PARTS
} PlmPart;

#define PARAM_PACKED	0x1		/* a linear weight, packed in the model's precision */
#define PARAM_EXACT		0x2		/* a linear weight of a head, packed in f32 whatever the model's precision */
#define PARAM_UNTIED	0x4		/* exists only when the decoder does not share the word embeddings */
#define PARAM_BIAS		0x8		/* exists only when the Dense module has a bias */

/*
 * One parameter.  {L} in names stands for the layer (or Dense module).  Without PARAM_PACKED or
 * PARAM_EXACT it is stored as plain fp32.  Consecutive parameters that name the same section are
 * stacked in it, outputs after outputs.
 */
typedef struct PlmParamSpec
{
	const char *role;			/* our name; ends a table when NULL */
	const char *file;			/* the tensor's name; alternatives are separated by '|' */
	PlmDim		shape[2];
	PlmPart		part;
	unsigned	flags;
	const char *section;		/* NULL: a section of its own, named by the role */
} PlmParamSpec;

typedef struct PlmArch
{
	const char *model_type;		/* as the configuration says it */
	const char *prefix;			/* that heads put before the encoder's tensor names; names without it are taken too */
	const PlmParamSpec *params;
	/* sequence classification: logits = classifier(act(dense(first hidden state))) */
	const char *classifier_dense;	/* role of that dense layer, without ".w" */
	PlmPart		classifier_part;	/* the part it belongs to */
	PlmActivation classifier_act;
} PlmArch;

extern const PlmArch plm_arch_bert;
extern const PlmArch plm_arch_distilbert;

/* The Dense modules of a sentence-transformers directory: for every architecture. */
extern const PlmParamSpec plm_dense_params[];

/* By model_type; PLM_EUNSUPPORTED, naming what there is, when it is not in the list. */
PlmStatus	plm_arch_find(const char *model_type, const PlmArch **arch, PlmError *err);

#endif							/* PLM_ARCH_H */
