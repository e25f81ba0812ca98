/*
 * onnx.h -- an opened model as an ONNX file, so that another runtime computes with the same weights.  For the benchmark only.
 */
#ifndef BENCH_ONNX_H
#define BENCH_ONNX_H

#include "../../src/engine/model/internal.h"

/*
 * Write the encoder, mean pooling and unit length to `path`.  f32: plain MatMul; int8: our own 8-bit weights with their scale
 * for each output, activations quantised at run time.  The operators are those that ONNX Runtime's own optimiser fuses
 * a BERT to (domain com.microsoft), so that nothing is left for it to find.
 *
 * inputs: ids, mask (B,T) int32, mask 1 for a token and 0 for padding at the end; output: embedding (B,C).
 * False, with a message on stderr, when the file cannot be written or the model is not of this form (GELU, mean, a second table of types).
 */
bool		onnx_write(const PlmModel *model, const char *path);

/* The same weights in fp32 one after another, (N,K) row-major, for a program that has its own layers; the order is in the source. */
bool		weights_write(const PlmModel *model, const char *path);

#endif							/* BENCH_ONNX_H */
