/*
 * onnx.c -- the contract is in onnx.h.
 *
 * The format is a protocol buffer (onnx.proto): a message is fields, a field is (number << 3 | wire type) and a varint, four
 * bytes, or a length and as many bytes.  Messages are built in memory from the inside out; BERT-base has 440 MB.
 */
#include "onnx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* TensorProto.DataType */
enum {ONNX_FLOAT = 1, ONNX_UINT8 = 2, ONNX_INT8 = 3, ONNX_INT32 = 6};

/* Bytes that grow; a benchmark that gets no memory ends. */
typedef struct Bytes
{
	char	   *data;
	size_t		len, room;
} Bytes;

static char *
extend(Bytes *b, size_t n)
{
	if (b->len + n > b->room)
	{
		b->room = 2 * b->room + n + 64;
		b->data = realloc(b->data, b->room);
		if (b->data == NULL)
			exit(1);
	}
	b->len += n;
	return b->data + b->len - n;
}

static void
put(Bytes *b, const void *data, size_t n)
{
	if (n > 0)
		memcpy(extend(b, n), data, n);
}

static void
varint(Bytes *b, uint64_t v)
{
	for (; v >= 128; v >>= 7)
		*extend(b, 1) = (char) (v | 128);
	*extend(b, 1) = (char) v;
}

static void
number(Bytes *b, int field, int64_t v)
{
	varint(b, (uint64_t) field << 3);
	varint(b, (uint64_t) v);
}

static void
bytes(Bytes *b, int field, const void *data, size_t n)
{
	varint(b, (uint64_t) field << 3 | 2);
	varint(b, n);
	put(b, data, n);
}

static void
text(Bytes *b, int field, const char *s)
{
	bytes(b, field, s, strlen(s));
}

/* A message as a field of another; it is given back. */
static void
message(Bytes *b, int field, Bytes *inner)
{
	bytes(b, field, inner->data, inner->len);
	free(inner->data);
	*inner = (Bytes) {0};
}

/* ---- tensors ---- */

typedef struct Graph
{
	const PlmModel *model;
	Bytes		out;
} Graph;

/* cols 0: a vector of `rows`; rows 0 too: one number. */
static void
tensor(Graph *g, const char *name, int type, int64_t rows, int64_t cols, const void *data, size_t size)
{
	Bytes		t = {0};

	if (rows > 0)
		number(&t, 1, rows);
	if (cols > 0)
		number(&t, 1, cols);
	number(&t, 2, type);
	text(&t, 8, name);
	bytes(&t, 9, data, size);
	message(&g->out, 5, &t);
}

static void
floats(Graph *g, const char *name, int64_t rows, int64_t cols, const float *data)
{
	tensor(g, name, ONNX_FLOAT, rows, cols, data, (size_t) (rows * (cols > 0 ? cols : 1)) * sizeof(float));
}

/* Outputs from .. from + n of a weight as (K,n): NAME.w in f32, or NAME.w in int8 with NAME.scale. */
static void
weight(Graph *g, const char *name, const PlmPacked *w, int64_t from, int64_t n)
{
	bool		small = w->precision == PLM_PREC_INT8;
	float	   *rows = malloc((size_t) (w->n * w->k) * sizeof(float));
	float	   *turned = malloc((size_t) (n * w->k) * sizeof(float));
	int8_t	   *codes = malloc((size_t) (n * w->k));
	int64_t		quads = (w->k + 3) / 4;
	const float *scale = (const float *) ((const int8_t *) w->data + (w->n + PLM_PANEL - 1) / PLM_PANEL * PLM_PANEL * quads * 4);
	char		label[96];

	if (rows == NULL || turned == NULL || codes == NULL)
		exit(1);
	plm_unpack(w, rows);
	for (int64_t i = 0; i < n; i++)
		for (int64_t k = 0; k < w->k; k++)
		{
			float		v = rows[(from + i) * w->k + k];

			turned[k * n + i] = v;
			if (small)
				codes[k * n + i] = (int8_t) (v < 0 ? v / scale[from + i] - 0.5f : v / scale[from + i] + 0.5f);
		}
	snprintf(label, sizeof(label), "%s.w", name);
	if (small)
		tensor(g, label, ONNX_INT8, w->k, n, codes, (size_t) (n * w->k));
	else
		floats(g, label, w->k, n, turned);
	snprintf(label, sizeof(label), "%s.scale", name);
	if (small)
		floats(g, label, n, 0, scale + from);
	free(rows);
	free(turned);
	free(codes);
}

/* ---- nodes ---- */

/* inputs, outputs: names with a space between; "-" is one that is left out. */
static void
names(Bytes *node, int field, const char *list)
{
	while (*list != '\0')
	{
		size_t		n = strcspn(list, " ");

		bytes(node, field, list, n == 1 && *list == '-' ? 0 : n);
		list += n + (list[n] == ' ');
	}
}

static Bytes
node(const char *op, bool contributed, const char *inputs, const char *outputs)
{
	Bytes		n = {0};

	names(&n, 1, inputs);
	names(&n, 2, outputs);
	text(&n, 4, op);
	if (contributed)
		text(&n, 7, "com.microsoft");
	return n;
}

static void
attribute_int(Bytes *node, const char *name, int64_t v)
{
	Bytes		a = {0};

	text(&a, 1, name);
	number(&a, 3, v);
	number(&a, 20, 2);
	message(node, 5, &a);
}

static void
attribute_float(Bytes *node, const char *name, float v)
{
	Bytes		a = {0};

	text(&a, 1, name);
	varint(&a, 2 << 3 | 5);
	put(&a, &v, sizeof(v));
	number(&a, 20, 1);
	message(node, 5, &a);
}

static void
add(Graph *g, Bytes n)
{
	message(&g->out, 1, &n);
}

/* y = x W, from outputs first .. first + n of the weight; u8: x was quantised already, to x.u, x.scale, x.zero. */
static void
product(Graph *g, const char *name, const PlmPacked *w, int64_t first, int64_t n, const char *x, bool u8, const char *y)
{
	char		in[256];

	weight(g, name, w, first, n);
	if (w->precision != PLM_PREC_INT8)
	{
		snprintf(in, sizeof(in), "%s %s.w", x, name);
		add(g, node("MatMul", false, in, y));
	}
	else if (u8)
	{
		snprintf(in, sizeof(in), "%s.u %s.w %s.scale %s.scale %s.zero", x, name, x, name, x);
		add(g, node("MatMulIntegerToFloat", true, in, y));
	}
	else
	{
		snprintf(in, sizeof(in), "%s %s.w %s.scale", x, name, name);
		add(g, node("DynamicQuantizeMatMul", true, in, y));
	}
}

/* y = norm(x + bias + skip) */
static void
skip_norm(Graph *g, const char *stem, const PlmNorm *norm, const float *bias, const char *x, const char *skip, const char *y)
{
	int64_t		C = g->model->config.width;
	char		name[3][96];
	char		in[512];
	Bytes		n;

	snprintf(name[0], sizeof(name[0]), "%s.g", stem);
	snprintf(name[1], sizeof(name[1]), "%s.b", stem);
	snprintf(name[2], sizeof(name[2]), "%s.bias", stem);
	floats(g, name[0], C, 0, norm->g);
	floats(g, name[1], C, 0, norm->b);
	floats(g, name[2], C, 0, bias);
	snprintf(in, sizeof(in), "%s %s %s %s %s", x, skip, name[0], name[1], name[2]);
	n = node("SkipLayerNormalization", true, in, y);
	attribute_float(&n, "epsilon", g->model->config.norm_eps);
	add(g, n);
}

/* "%d.NAME" of a layer */
static const char *
of(int32_t layer, const char *what, char *out)
{
	snprintf(out, 64, "%d.%s", (int) layer, what);
	return out;
}

/* mix = attention(x): three products, and all heads in one operator. */
static void
attention(Graph *g, int32_t l, const char *x, const char *mix)
{
	static const char *const part[] = {"q", "k", "v"};
	const PlmBlock *blk = &g->model->blocks[l];
	int64_t		C = g->model->config.width;
	bool		small = blk->qkv.w.precision == PLM_PREC_INT8;
	char		bias[64], y[3][64], in[320], out[320];
	Bytes		n;

	if (small)
	{
		snprintf(out, sizeof(out), "%s.u %s.scale %s.zero", x, x, x);
		add(g, node("DynamicQuantizeLinear", false, x, out));
	}
	for (int i = 0; i < 3; i++)
		product(g, of(l, part[i], y[i]), &blk->qkv.w, i * C, C, x, small, y[i]);
	floats(g, of(l, "qkv.b", bias), 3 * C, 0, blk->qkv.b);
	snprintf(in, sizeof(in), "%s %s %s %s lengths", y[0], y[1], y[2], bias);
	n = node("MultiHeadAttention", true, in, mix);
	attribute_int(&n, "num_heads", g->model->config.heads);
	add(g, n);
}

static void
block(Graph *g, int32_t l, const char *x, const char *y)
{
	const PlmBlock *blk = &g->model->blocks[l];
	int64_t		C = g->model->config.width;
	char		mix[64], sum[64], mid[64], up[64], act[64], down[64], bias[64], stem[64], in[160];

	attention(g, l, x, of(l, "mix", mix));
	product(g, of(l, "attn_out", sum), &blk->attn_out.w, 0, C, mix, false, sum);
	skip_norm(g, of(l, "attn_norm", stem), &blk->attn_norm, blk->attn_out.b, sum, x, of(l, "mid", mid));
	product(g, of(l, "up", up), &blk->ff_up.w, 0, g->model->config.ff, mid, false, up);
	floats(g, of(l, "up.b", bias), g->model->config.ff, 0, blk->ff_up.b);
	snprintf(in, sizeof(in), "%s %s", up, bias);
	add(g, node("BiasGelu", true, in, of(l, "act", act)));
	product(g, of(l, "down", down), &blk->ff_down.w, 0, C, act, false, down);
	skip_norm(g, of(l, "ff_norm", stem), &blk->ff_norm, blk->ff_down.b, down, mid, y);
}

static void
embedding(Graph *g, const char *y)
{
	const PlmModel *m = g->model;
	const PlmConfig *c = &m->config;
	char		out[128];
	Bytes		n;

	floats(g, "word", c->vocab, c->width, m->tok_embd);
	floats(g, "position", c->positions, c->width, m->pos_embd);
	floats(g, "type", c->types, c->width, m->type_embd);
	floats(g, "embd.g", c->width, 0, m->embd_norm.g);
	floats(g, "embd.b", c->width, 0, m->embd_norm.b);
	add(g, node("Sub", false, "ids ids", "types"));
	snprintf(out, sizeof(out), "%s lengths", y);
	n = node("EmbedLayerNormalization", true, "ids types word position type embd.g embd.b mask", out);
	attribute_float(&n, "epsilon", c->norm_eps);
	add(g, n);
}

/* The sum over tokens that are not padding, brought to length 1: the mean's direction. */
static void
pooling(Graph *g, const char *x)
{
	const int64_t axis[] = {1};
	char		in[96];
	Bytes		n;

	tensor(g, "axis", 7, 1, 0, axis, sizeof(axis));
	n = node("Cast", false, "mask", "mask.f");
	attribute_int(&n, "to", ONNX_FLOAT);
	add(g, n);
	add(g, node("Unsqueeze", false, "mask.f axis", "mask.row"));
	snprintf(in, sizeof(in), "mask.row %s", x);
	add(g, node("MatMul", false, in, "pool.row"));
	add(g, node("Squeeze", false, "pool.row axis", "pool"));
	n = node("LpNormalization", false, "pool", "embedding");
	attribute_int(&n, "axis", -1);
	attribute_int(&n, "p", 2);
	add(g, n);
}

/* ---- the file ---- */

/* A ValueInfoProto: name and type; a dimension is a name or, when that is NULL, a size. */
static void
value(Bytes *graph, int field, const char *name, int type, const char *first, const char *second, int64_t size)
{
	Bytes		info = {0}, kind = {0}, of_tensor = {0}, shape = {0}, dim = {0};

	text(&dim, 2, first);
	message(&shape, 1, &dim);
	if (second != NULL)
		text(&dim, 2, second);
	else
		number(&dim, 1, size);
	message(&shape, 1, &dim);
	number(&of_tensor, 1, type);
	message(&of_tensor, 2, &shape);
	message(&kind, 1, &of_tensor);
	text(&info, 1, name);
	message(&info, 2, &kind);
	message(graph, field, &info);
}

static void
opset(Bytes *model, const char *domain, int64_t version)
{
	Bytes		o = {0};

	text(&o, 1, domain);
	number(&o, 2, version);
	message(model, 8, &o);
}

static bool
write_file(const char *path, const char *data, size_t n)
{
	FILE	   *f = fopen(path, "wb");
	bool		ok = f != NULL && fwrite(data, 1, n, f) == n;

	if (f == NULL || fclose(f) != 0 || !ok)
	{
		perror(path);
		return false;
	}
	return true;
}

bool
onnx_write(const PlmModel *m, const char *path)
{
	const PlmConfig *c = &m->config;
	Graph		g = {.model = m};
	Bytes		file = {0};
	char		x[2][64];
	bool		ok;

	if (m->type_embd == NULL || c->activation != PLM_ACT_GELU || c->n_pooling != 1 || c->pooling[0] != PLM_POOL_MEAN || c->n_dense != 0)
	{
		fprintf(stderr, "%s: the exporter knows BERT with GELU and mean pooling only\n", path);
		return false;
	}
	embedding(&g, of(0, "x", x[0]));
	for (int32_t l = 0; l < c->layers; l++)
		block(&g, l, x[l % 2], of(l + 1, "x", x[(l + 1) % 2]));
	pooling(&g, x[c->layers % 2]);
	text(&g.out, 2, "encoder");
	value(&g.out, 11, "ids", ONNX_INT32, "B", "T", 0);
	value(&g.out, 11, "mask", ONNX_INT32, "B", "T", 0);
	value(&g.out, 12, "embedding", ONNX_FLOAT, "B", NULL, c->width);
	number(&file, 1, 8);
	text(&file, 2, "product_llm bench");
	message(&file, 7, &g.out);
	opset(&file, "", 17);
	opset(&file, "com.microsoft", 1);
	ok = write_file(path, file.data, file.len);
	free(file.data);
	return ok;
}

static void
put_linear(Bytes *b, const PlmLinear *l)
{
	plm_unpack(&l->w, (float *) (void *) extend(b, (size_t) (l->w.n * l->w.k) * sizeof(float)));
	put(b, l->b, (size_t) l->w.n * sizeof(float));
}

static void
put_norm(Bytes *b, const PlmNorm *n, int64_t C)
{
	put(b, n->g, (size_t) C * sizeof(float));
	put(b, n->b, (size_t) C * sizeof(float));
}

/* word, position, type, norm; for each layer qkv, out, norm, up, down, norm; a linear layer is its weight and then its bias. */
bool
weights_write(const PlmModel *m, const char *path)
{
	const PlmConfig *c = &m->config;
	int64_t		C = c->width;
	Bytes		b = {0};
	bool		ok;

	put(&b, m->tok_embd, (size_t) (c->vocab * C) * sizeof(float));
	put(&b, m->pos_embd, (size_t) (c->positions * C) * sizeof(float));
	put(&b, m->type_embd, (size_t) (c->types * C) * sizeof(float));
	put_norm(&b, &m->embd_norm, C);
	for (int32_t l = 0; l < c->layers; l++)
	{
		const PlmBlock *blk = &m->blocks[l];

		put_linear(&b, &blk->qkv);
		put_linear(&b, &blk->attn_out);
		put_norm(&b, &blk->attn_norm, C);
		put_linear(&b, &blk->ff_up);
		put_linear(&b, &blk->ff_down);
		put_norm(&b, &blk->ff_norm, C);
	}
	ok = write_file(path, b.data, b.len);
	free(b.data);
	return ok;
}
