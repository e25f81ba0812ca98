/*
 * arch_bert.c -- BERT (Devlin et al., 2019): names of its parameters, and nothing else.
 */
#include "arch.h"

static const PlmParamSpec bert_params[] = {
	{"tok_embd", "embeddings.word_embeddings.weight", {DIM_V, DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"pos_embd", "embeddings.position_embeddings.weight", {DIM_P, DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"type_embd", "embeddings.token_type_embeddings.weight", {DIM_Y, DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"embd_norm.g", "embeddings.LayerNorm.weight", {DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"embd_norm.b", "embeddings.LayerNorm.bias", {DIM_C}, PLM_PART_ENCODER, 0, NULL},

	{"blk.{L}.attn_q.w", "encoder.layer.{L}.attention.self.query.weight", {DIM_C, DIM_C}, PLM_PART_ENCODER,
	PARAM_PACKED, "blk.{L}.attn_qkv.w"},
	{"blk.{L}.attn_k.w", "encoder.layer.{L}.attention.self.key.weight", {DIM_C, DIM_C}, PLM_PART_ENCODER,
	PARAM_PACKED, "blk.{L}.attn_qkv.w"},
	{"blk.{L}.attn_v.w", "encoder.layer.{L}.attention.self.value.weight", {DIM_C, DIM_C}, PLM_PART_ENCODER,
	PARAM_PACKED, "blk.{L}.attn_qkv.w"},
	{"blk.{L}.attn_q.b", "encoder.layer.{L}.attention.self.query.bias", {DIM_C}, PLM_PART_ENCODER, 0,
	"blk.{L}.attn_qkv.b"},
	{"blk.{L}.attn_k.b", "encoder.layer.{L}.attention.self.key.bias", {DIM_C}, PLM_PART_ENCODER, 0,
	"blk.{L}.attn_qkv.b"},
	{"blk.{L}.attn_v.b", "encoder.layer.{L}.attention.self.value.bias", {DIM_C}, PLM_PART_ENCODER, 0,
	"blk.{L}.attn_qkv.b"},
	{"blk.{L}.attn_out.w", "encoder.layer.{L}.attention.output.dense.weight", {DIM_C, DIM_C}, PLM_PART_ENCODER,
	PARAM_PACKED, NULL},
	{"blk.{L}.attn_out.b", "encoder.layer.{L}.attention.output.dense.bias", {DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"blk.{L}.attn_norm.g", "encoder.layer.{L}.attention.output.LayerNorm.weight", {DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"blk.{L}.attn_norm.b", "encoder.layer.{L}.attention.output.LayerNorm.bias", {DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"blk.{L}.ff_up.w", "encoder.layer.{L}.intermediate.dense.weight", {DIM_F, DIM_C}, PLM_PART_ENCODER,
	PARAM_PACKED, NULL},
	{"blk.{L}.ff_up.b", "encoder.layer.{L}.intermediate.dense.bias", {DIM_F}, PLM_PART_ENCODER, 0, NULL},
	{"blk.{L}.ff_down.w", "encoder.layer.{L}.output.dense.weight", {DIM_C, DIM_F}, PLM_PART_ENCODER,
	PARAM_PACKED, NULL},
	{"blk.{L}.ff_down.b", "encoder.layer.{L}.output.dense.bias", {DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"blk.{L}.ff_norm.g", "encoder.layer.{L}.output.LayerNorm.weight", {DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"blk.{L}.ff_norm.b", "encoder.layer.{L}.output.LayerNorm.bias", {DIM_C}, PLM_PART_ENCODER, 0, NULL},

	{"pooler.w", "pooler.dense.weight", {DIM_C, DIM_C}, PLM_PART_POOLER, PARAM_EXACT, NULL},
	{"pooler.b", "pooler.dense.bias", {DIM_C}, PLM_PART_POOLER, 0, NULL},

	{"classifier.w", "classifier.weight", {DIM_N, DIM_C}, PLM_PART_CLASSIFIER, PARAM_EXACT, NULL},
	{"classifier.b", "classifier.bias", {DIM_N}, PLM_PART_CLASSIFIER, 0, NULL},

	{"mask_dense.w", "cls.predictions.transform.dense.weight", {DIM_C, DIM_C}, PLM_PART_MASK, PARAM_EXACT, NULL},
	{"mask_dense.b", "cls.predictions.transform.dense.bias", {DIM_C}, PLM_PART_MASK, 0, NULL},
	{"mask_norm.g", "cls.predictions.transform.LayerNorm.weight", {DIM_C}, PLM_PART_MASK, 0, NULL},
	{"mask_norm.b", "cls.predictions.transform.LayerNorm.bias", {DIM_C}, PLM_PART_MASK, 0, NULL},
	{"mask_decoder.w", "cls.predictions.decoder.weight", {DIM_V, DIM_C}, PLM_PART_MASK, PARAM_UNTIED, NULL},
	{"mask_decoder.b", "cls.predictions.bias|cls.predictions.decoder.bias", {DIM_V}, PLM_PART_MASK, 0, NULL},

	{"next.w", "cls.seq_relationship.weight", {DIM_TWO, DIM_C}, PLM_PART_NEXT, PARAM_EXACT, NULL},
	{"next.b", "cls.seq_relationship.bias", {DIM_TWO}, PLM_PART_NEXT, 0, NULL},
	{0}
};

const PlmArch plm_arch_bert = {
	.model_type = "bert",
	.prefix = "bert.",
	.params = bert_params,
	.classifier_dense = "pooler",
	.classifier_part = PLM_PART_POOLER,
	.classifier_act = PLM_ACT_TANH,
};
