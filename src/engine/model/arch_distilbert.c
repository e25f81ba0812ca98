/*
 * arch_distilbert.c -- DistilBERT (Sanh et al., 2019): names of its parameters, and nothing else.
 *
 * BERT's block under other names, without token types and without a pooler; its classifier has a
 * dense layer of its own.
 */
#include "arch.h"

static const PlmParamSpec distilbert_params[] = {
	{"tok_embd", "embeddings.word_embeddings.weight", {DIM_V, DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"pos_embd", "embeddings.position_embeddings.weight", {DIM_P, DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"embd_norm.g", "embeddings.LayerNorm.weight", {DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"embd_norm.b", "embeddings.LayerNorm.bias", {DIM_C}, PLM_PART_ENCODER, 0, NULL},

	{"blk.{L}.attn_q.w", "transformer.layer.{L}.attention.q_lin.weight", {DIM_C, DIM_C}, PLM_PART_ENCODER,
	PARAM_PACKED, "blk.{L}.attn_qkv.w"},
	{"blk.{L}.attn_k.w", "transformer.layer.{L}.attention.k_lin.weight", {DIM_C, DIM_C}, PLM_PART_ENCODER,
	PARAM_PACKED, "blk.{L}.attn_qkv.w"},
	{"blk.{L}.attn_v.w", "transformer.layer.{L}.attention.v_lin.weight", {DIM_C, DIM_C}, PLM_PART_ENCODER,
	PARAM_PACKED, "blk.{L}.attn_qkv.w"},
	{"blk.{L}.attn_q.b", "transformer.layer.{L}.attention.q_lin.bias", {DIM_C}, PLM_PART_ENCODER, 0,
	"blk.{L}.attn_qkv.b"},
	{"blk.{L}.attn_k.b", "transformer.layer.{L}.attention.k_lin.bias", {DIM_C}, PLM_PART_ENCODER, 0,
	"blk.{L}.attn_qkv.b"},
	{"blk.{L}.attn_v.b", "transformer.layer.{L}.attention.v_lin.bias", {DIM_C}, PLM_PART_ENCODER, 0,
	"blk.{L}.attn_qkv.b"},
	{"blk.{L}.attn_out.w", "transformer.layer.{L}.attention.out_lin.weight", {DIM_C, DIM_C}, PLM_PART_ENCODER,
	PARAM_PACKED, NULL},
	{"blk.{L}.attn_out.b", "transformer.layer.{L}.attention.out_lin.bias", {DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"blk.{L}.attn_norm.g", "transformer.layer.{L}.sa_layer_norm.weight", {DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"blk.{L}.attn_norm.b", "transformer.layer.{L}.sa_layer_norm.bias", {DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"blk.{L}.ff_up.w", "transformer.layer.{L}.ffn.lin1.weight", {DIM_F, DIM_C}, PLM_PART_ENCODER, PARAM_PACKED, NULL},
	{"blk.{L}.ff_up.b", "transformer.layer.{L}.ffn.lin1.bias", {DIM_F}, PLM_PART_ENCODER, 0, NULL},
	{"blk.{L}.ff_down.w", "transformer.layer.{L}.ffn.lin2.weight", {DIM_C, DIM_F}, PLM_PART_ENCODER, PARAM_PACKED, NULL},
	{"blk.{L}.ff_down.b", "transformer.layer.{L}.ffn.lin2.bias", {DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"blk.{L}.ff_norm.g", "transformer.layer.{L}.output_layer_norm.weight", {DIM_C}, PLM_PART_ENCODER, 0, NULL},
	{"blk.{L}.ff_norm.b", "transformer.layer.{L}.output_layer_norm.bias", {DIM_C}, PLM_PART_ENCODER, 0, NULL},

	{"pre_classifier.w", "pre_classifier.weight", {DIM_C, DIM_C}, PLM_PART_CLASSIFIER, PARAM_EXACT, NULL},
	{"pre_classifier.b", "pre_classifier.bias", {DIM_C}, PLM_PART_CLASSIFIER, 0, NULL},
	{"classifier.w", "classifier.weight", {DIM_N, DIM_C}, PLM_PART_CLASSIFIER, PARAM_EXACT, NULL},
	{"classifier.b", "classifier.bias", {DIM_N}, PLM_PART_CLASSIFIER, 0, NULL},

	{"mask_dense.w", "vocab_transform.weight", {DIM_C, DIM_C}, PLM_PART_MASK, PARAM_EXACT, NULL},
	{"mask_dense.b", "vocab_transform.bias", {DIM_C}, PLM_PART_MASK, 0, NULL},
	{"mask_norm.g", "vocab_layer_norm.weight", {DIM_C}, PLM_PART_MASK, 0, NULL},
	{"mask_norm.b", "vocab_layer_norm.bias", {DIM_C}, PLM_PART_MASK, 0, NULL},
	{"mask_decoder.w", "vocab_projector.weight", {DIM_V, DIM_C}, PLM_PART_MASK, PARAM_UNTIED, NULL},
	{"mask_decoder.b", "vocab_projector.bias", {DIM_V}, PLM_PART_MASK, 0, NULL},
	{0}
};

const PlmArch plm_arch_distilbert = {
	.model_type = "distilbert",
	.prefix = "distilbert.",
	.params = distilbert_params,
	.classifier_dense = "pre_classifier",
	.classifier_part = PLM_PART_CLASSIFIER,
	.classifier_act = PLM_ACT_RELU,
};
