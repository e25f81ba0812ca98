/*
 * arch_sentence.c -- parameters of the Dense modules in a sentence-transformers directory.
 *
 * {L} counts the Dense modules; each has a folder with a model.safetensors of its own.
 */
#include "arch.h"

const PlmParamSpec plm_dense_params[] = {
	{"dense.{L}.w", "linear.weight", {DIM_OUT, DIM_IN}, PLM_PART_DENSE, PARAM_EXACT, NULL},
	{"dense.{L}.b", "linear.bias", {DIM_OUT}, PLM_PART_DENSE, PARAM_BIAS, NULL},
	{0}
};
