#!/usr/bin/python3
"""Make model directories that must be refused, from the good ones in test/golden/models.

    /usr/bin/python3 test/golden/make_bad.py FOLDER [NAME ...]       all of them, or those named
    /usr/bin/python3 test/golden/make_bad.py --list                  names, with what is expected of each

Each directory FOLDER/NAME is one defect away from a model that loads, and has a file expect.txt of one line:
"CLASS WORD".  CLASS says whose fault is to be reported, WORD stands in the message; alternatives are separated by "|".

    corrupt      a file contradicts itself or its format
    unsupported  a sound file asks for what is not built
    missing      a file or a tensor that must be there is not
    limit        a stated limit is passed
    numeric      a weight is not a finite number

Takes half a second and 70 MB of disk, most of it in config-fifty-megabytes.  Standard library only.
"""
import json
import os
import shutil
import struct
import sys

MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")
BASES = ("bert-f16", "bert-mean", "bert-sharded", "bert-json", "bert-dense", "bert-classify")
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD = "model-00002-of-00003.safetensors"
UP = "encoder.layer.1.intermediate.dense.weight"      # (F,C), F not C
UP_BIAS = "encoder.layer.1.intermediate.dense.bias"   # (F)
NORM = "encoder.layer.0.output.LayerNorm.weight"      # (C)
NORM_NEXT = "encoder.layer.0.output.LayerNorm.bias"   # (C), right behind it in the file

DEFECTS = {}    # name -> (base, class, word, function)


def defect(name, expected, word, base="bert-f16"):
    def register(f):
        DEFECTS[name] = (base, expected, word, f)
        return f
    return register


# ---- helpers: a directory is changed in place ----

def load(directory, name):
    with open(os.path.join(directory, name), "rb") as f:
        return f.read()


def store(directory, name, data):
    path = os.path.join(directory, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


def split(data):
    """(header text, body) of a safetensors file."""
    size, = struct.unpack("<Q", data[:8])
    return data[8:8 + size], data[8 + size:]


def join(header, body, size=None):
    return struct.pack("<Q", len(header) if size is None else size) + header + body


def edit_file(directory, change, file=WEIGHTS):
    """change(header text, body) -> the whole file."""
    store(directory, file, change(*split(load(directory, file))))


def edit_header(directory, change, file=WEIGHTS):
    """change(header as dict, body as bytearray) in place; may return a body instead."""
    def whole(header, body):
        header, body = json.loads(header), bytearray(body)
        other = change(header, body)
        return join(json.dumps(header).encode(), bytes(body if other is None else other))
    edit_file(directory, whole, file)


def edit_entry(directory, tensor, **changes):
    edit_header(directory, lambda h, b: h[tensor].update(changes))


def edit_json(directory, name, change):
    value = json.loads(load(directory, name))
    other = change(value)
    store(directory, name, json.dumps(value if other is None else other))


def edit_config(directory, remove=(), **changes):
    def change(config):
        config.update(changes)
        for key in remove:
            del config[key]
    edit_json(directory, "config.json", change)


def edit_vocab(directory, change):
    """change(list of tokens) -> list of tokens."""
    store(directory, "vocab.txt", "\n".join(change(load(directory, "vocab.txt").decode().split("\n"))))


def drop_tensor(header, body, name):
    """Take a tensor out, data and all, and close the gap."""
    first, last = header.pop(name)["data_offsets"]
    for other, entry in header.items():
        if other != "__metadata__" and entry["data_offsets"][0] >= last:
            entry["data_offsets"] = [o - (last - first) for o in entry["data_offsets"]]
    return body[:first] + body[last:]


def put_half(body, offset, bits):
    body[offset:offset + 2] = struct.pack("<H", bits)


# ---- safetensors ----

def simple(name, expected, word, action, base="bert-f16"):
    """A defect that one expression makes."""
    defect(name, expected, word, base)(action)


simple("weights-empty", "corrupt", WEIGHTS, lambda d: store(d, WEIGHTS, b""))
simple("weights-five-bytes", "corrupt", WEIGHTS, lambda d: store(d, WEIGHTS, load(d, WEIGHTS)[:5]))
simple("weights-truncated-header", "corrupt", WEIGHTS, lambda d: store(d, WEIGHTS, load(d, WEIGHTS)[:100]))
simple("weights-truncated-data", "corrupt", "byte", lambda d: store(d, WEIGHTS, load(d, WEIGHTS)[:-100]))
simple("weights-trailing-bytes", "corrupt", "tensor", lambda d: store(d, WEIGHTS, load(d, WEIGHTS) + b"\0" * 64))
simple("weights-not-safetensors", "corrupt", WEIGHTS, lambda d: store(d, WEIGHTS, b"PK\3\4" + b"pickle" * 1000))
simple("header-length-beyond-file", "corrupt", "header", lambda d: edit_file(
    d, lambda h, b: join(h, b, len(h) + len(b) + 1)))
simple("header-length-63-bits", "corrupt|limit", "header", lambda d: edit_file(d, lambda h, b: join(h, b, 1 << 63)))
simple("header-length-64-bits", "corrupt|limit", "header", lambda d: edit_file(d, lambda h, b: join(h, b, 2 ** 64 - 1)))
simple("header-length-short", "corrupt", WEIGHTS, lambda d: edit_file(d, lambda h, b: join(h, b, len(h) // 2)))
simple("header-length-zero", "corrupt", WEIGHTS, lambda d: edit_file(d, lambda h, b: join(h, b, 0)))
simple("header-bit-flipped-brace", "corrupt", WEIGHTS, lambda d: edit_file(
    d, lambda h, b: join(bytes([h[0] ^ 1]) + h[1:], b)))
simple("header-bit-flipped-quote", "corrupt", WEIGHTS, lambda d: edit_file(
    d, lambda h, b: join(h.replace(b'"dtype"', b'#dtype"', 1), b)))
simple("header-bit-flipped-name", "missing", NORM, lambda d: edit_file(
    d, lambda h, b: join(h.replace(NORM.encode(), NORM.replace("weight", "weighu").encode()), b)))
simple("header-bit-flipped-high", "corrupt", WEIGHTS, lambda d: edit_file(
    d, lambda h, b: join(h.replace(NORM.encode(), NORM.encode().replace(b"N", b"\xce", 1)), b)))
simple("header-is-a-list", "corrupt", WEIGHTS, lambda d: edit_file(d, lambda h, b: join(b"[1]", b)))
simple("header-nested", "corrupt|limit", WEIGHTS, lambda d: edit_file(
    d, lambda h, b: join(b'{"a":' + b"[" * 100000 + b"]" * 100000 + b"}", b)))
simple("header-duplicate-tensor", "corrupt", WEIGHTS, lambda d: edit_file(
    d, lambda h, b: join(h.replace(NORM_NEXT.encode(), NORM.encode()), b)))
simple("header-entry-not-object", "corrupt", NORM, lambda d: edit_header(d, lambda h, b: h.update({NORM: 7})))
simple("header-without-dtype", "corrupt", NORM, lambda d: edit_header(d, lambda h, b: h[NORM].pop("dtype") and None))
simple("header-without-shape", "corrupt", NORM, lambda d: edit_header(d, lambda h, b: h[NORM].pop("shape") and None))
simple("header-without-offsets", "corrupt", NORM, lambda d: edit_header(
    d, lambda h, b: h[NORM].pop("data_offsets") and None))


@defect("header-over-limit", "corrupt|limit", "header")
def header_over_limit(d):
    """A header of 101 MB that is really there; a hole in the file, so it costs no disk."""
    with open(os.path.join(d, WEIGHTS), "wb") as f:
        f.write(struct.pack("<Q", 101 << 20) + b"{")
        f.truncate((101 << 20) + 16)


simple("tensor-unknown-dtype", "unsupported", "F7_E9", lambda d: edit_entry(d, NORM, dtype="F7_E9"))
simple("tensor-float8", "unsupported", "F8_E4M3", lambda d: edit_entry(d, NORM, dtype="F8_E4M3"))
simple("tensor-integer-weight", "corrupt|unsupported", NORM, lambda d: edit_entry(d, NORM, dtype="I16"))
simple("tensor-negative-shape", "corrupt", NORM, lambda d: edit_entry(d, NORM, shape=[-32]))
simple("tensor-two-negatives", "corrupt", UP, lambda d: edit_entry(d, UP, shape=[-64, -32]))
simple("tensor-huge-shape", "corrupt", UP, lambda d: edit_entry(d, UP, shape=[1 << 62, 1 << 62]))
simple("tensor-shape-wraps", "corrupt", UP, lambda d: edit_entry(d, UP, shape=[1 << 32, 1 << 32, 2048]))
simple("tensor-shape-beyond-64-bits", "corrupt", WEIGHTS + "|" + UP, lambda d: edit_entry(d, UP, shape=[10 ** 30, 32]))
simple("tensor-shape-fraction", "corrupt", NORM, lambda d: edit_entry(d, NORM, shape=[32.5]))
simple("tensor-shape-text", "corrupt", NORM, lambda d: edit_entry(d, NORM, shape=["32"]))
simple("tensor-many-dimensions", "corrupt|unsupported", NORM, lambda d: edit_entry(d, NORM, shape=[32] + [1] * 40))
simple("tensor-too-many-elements", "corrupt", NORM, lambda d: edit_entry(d, NORM, shape=[33]))
simple("tensor-transposed", "corrupt", UP, lambda d: edit_entry(d, UP, shape=[32, 64]))
simple("tensor-wrong-rank", "corrupt", UP_BIAS, lambda d: edit_entry(d, UP_BIAS, shape=[8, 8]))
simple("tensor-negative-offset", "corrupt", NORM, lambda d: edit_entry(d, NORM, data_offsets=[-64, 0]))
simple("tensor-offsets-reversed", "corrupt", NORM, lambda d: edit_header(
    d, lambda h, b: h[NORM]["data_offsets"].reverse()))
simple("tensor-offset-beyond-data", "corrupt", NORM, lambda d: edit_entry(
    d, NORM, data_offsets=[(1 << 63) - 65, (1 << 63) - 1]))


@defect("tensor-overlapping", "corrupt", "overlap")
def overlapping(d):
    """The second of two neighbours lies on the first, and all behind moves down: sizes add up, places do not."""
    def change(h, b):
        place = h[NORM]["data_offsets"]
        b = drop_tensor(h, b, NORM_NEXT)
        h[NORM_NEXT] = {"dtype": "F16", "shape": [32], "data_offsets": list(place)}
        return b
    edit_header(d, change)


@defect("tensor-partly-overlapping", "corrupt", "overlap")
def partly_overlapping(d):
    def change(h, b):
        first, last = h[NORM_NEXT]["data_offsets"]
        h[NORM_NEXT]["data_offsets"] = [first - 2, last - 2]
    edit_header(d, change)


@defect("tensor-hole", "corrupt", "tensor")
def hole(d):
    def change(h, b):
        at = h[NORM]["data_offsets"][0]
        for name, entry in h.items():
            if name != "__metadata__" and entry["data_offsets"][0] >= at:
                entry["data_offsets"] = [o + 64 for o in entry["data_offsets"]]
        return b[:at] + b"\0" * 64 + b[at:]
    edit_header(d, change)


@defect("tensor-missing", "missing", UP)
def missing_tensor(d):
    edit_header(d, lambda h, b: drop_tensor(h, b, UP))


@defect("classifier-missing", "missing", "classifier.weight", base="bert-classify")
def missing_classifier(d):
    edit_header(d, lambda h, b: drop_tensor(h, b, "classifier.weight"))


@defect("classifier-wrong-labels", "corrupt", "classifier.weight", base="bert-classify")
def wrong_labels(d):
    edit_config(d, remove=["label2id"], id2label={str(i): "label %d" % i for i in range(5)})


@defect("weights-nan", "numeric|corrupt", NORM)
def nan(d):
    edit_header(d, lambda h, b: put_half(b, h[NORM]["data_offsets"][0] + 10, 0x7E00))


@defect("weights-infinite", "numeric|corrupt", UP)
def infinite(d):
    edit_header(d, lambda h, b: put_half(b, h[UP]["data_offsets"][1] - 2, 0xFC00))


@defect("weights-nan-f32", "numeric|corrupt", NORM, base="bert-mean")
def nan_f32(d):
    def change(h, b):
        at = h[NORM]["data_offsets"][0]
        b[at:at + 4] = struct.pack("<I", 0xFFC00001)
    edit_header(d, change)


# ---- files that are not there, shards ----

simple("no-weights", "missing", WEIGHTS, lambda d: os.remove(os.path.join(d, WEIGHTS)))
simple("no-weights-but-pickle", "missing|unsupported", "safetensors", lambda d: os.rename(
    os.path.join(d, WEIGHTS), os.path.join(d, "pytorch_model.bin")))
simple("no-config", "missing", "config.json", lambda d: os.remove(os.path.join(d, "config.json")))
simple("no-vocabulary", "missing", "vocab.txt", lambda d: os.remove(os.path.join(d, "vocab.txt")))


def index(name, expected, word, change):
    simple(name, expected, word, lambda d: edit_json(d, INDEX, change), base="bert-sharded")


simple("shard-absent", "missing", SHARD, lambda d: os.remove(os.path.join(d, SHARD)), base="bert-sharded")
index("shard-index-names-absent", "missing", "model-00009-of-00003.safetensors",
      lambda i: i["weight_map"].update({NORM: "model-00009-of-00003.safetensors"}))
index("shard-path-traversal", "corrupt", "../../etc/passwd",
      lambda i: i["weight_map"].update({NORM: "../../etc/passwd"}))
index("shard-path-absolute", "corrupt", "/etc/passwd", lambda i: i["weight_map"].update({NORM: "/etc/passwd"}))
index("shard-path-inner-traversal", "corrupt", "1_Pooling/../../passwd",
      lambda i: i["weight_map"].update({NORM: "1_Pooling/../../passwd"}))
index("shard-path-backslash", "corrupt", "passwd", lambda i: i["weight_map"].update({NORM: "..\\passwd"}))
index("shard-path-newline", "corrupt", NORM, lambda i: i["weight_map"].update({NORM: "a\nb.safetensors"}))
index("shard-path-number", "corrupt", NORM, lambda i: i["weight_map"].update({NORM: 3}))
index("shard-is-the-index", "corrupt", INDEX, lambda i: i["weight_map"].update({NORM: INDEX}))
index("shard-tensor-elsewhere", "corrupt|missing", "pooler.dense.weight",
      lambda i: i["weight_map"].update({"pooler.dense.weight": SHARD}))
index("shard-index-without-map", "corrupt", INDEX, lambda i: {"metadata": {}})
index("shard-index-map-is-list", "corrupt", INDEX, lambda i: {"weight_map": list(i["weight_map"])})


@defect("shard-tensor-twice", "corrupt", "embeddings.word_embeddings.weight", base="bert-sharded")
def shard_twice(d):
    """The third shard has a tensor of the first as well."""
    name = "embeddings.word_embeddings.weight"

    def change(h, b):
        h[name] = {"dtype": "BF16", "shape": [4, 8], "data_offsets": [len(b), len(b) + 64]}
        return b + b"\0" * 64
    edit_header(d, change, "model-00003-of-00003.safetensors")


# ---- configuration ----

def config(name, expected, word, remove=(), base="bert-f16", **changes):
    simple(name, expected, word, lambda d: edit_config(d, remove, **changes), base)


def config_text(name, expected, text):
    simple(name, expected, "config.json", lambda d: store(d, "config.json", text))


config_text("config-empty", "corrupt", b"")
config_text("config-not-json", "corrupt", b"hidden_size = 32\n")
config_text("config-is-a-list", "corrupt", b"[1, 2, 3]")
config_text("config-nul-byte", "corrupt", b'{"hidden_size": 32\0}')
config_text("config-bad-utf8", "corrupt", b'{"model_type": "bert\xff"}')
config_text("config-nested-lists", "corrupt|limit", b"[" * 100000 + b"]" * 100000)
config_text("config-nested-objects", "corrupt|limit", b'{"a":' * 100000 + b"1" + b"}" * 100000)
config_text("config-many-values", "corrupt|limit", b'{"a":[' + b"1," * 1000000 + b"1]}")
simple("config-fifty-megabytes", "corrupt|limit", "config.json", lambda d: store(d, "config.json", b"[" * 50000000))
simple("config-truncated", "corrupt", "config.json", lambda d: store(d, "config.json", load(d, "config.json")[:-40]))
simple("config-duplicate-key", "corrupt", "config.json", lambda d: store(
    d, "config.json", load(d, "config.json").replace(b"{", b'{"hidden_size": 64,', 1)))
config("config-heads-do-not-divide", "corrupt", "heads", num_attention_heads=5)
config("config-zero-heads", "corrupt", "num_attention_heads", num_attention_heads=0)
config("config-zero-layers", "corrupt", "num_hidden_layers", num_hidden_layers=0)
config("config-negative-layers", "corrupt", "num_hidden_layers", num_hidden_layers=-2)
config("config-many-layers", "missing|corrupt|limit", "layer", num_hidden_layers=3)
config("config-huge-width", "corrupt|limit", "hidden_size", hidden_size=1 << 31)
config("config-width-beyond-64-bits", "corrupt|limit", "config.json|hidden_size", hidden_size=10 ** 30)
config("config-width-text", "corrupt", "hidden_size", hidden_size="32")
config("config-width-fraction", "corrupt", "hidden_size", hidden_size=32.5)
config("config-other-width", "corrupt", "width|shape", hidden_size=64)
config("config-other-feed-forward", "corrupt", UP.replace("1", "0"), intermediate_size=65)
config("config-other-positions", "corrupt", "position_embeddings", max_position_embeddings=512)
config("config-zero-vocabulary", "corrupt", "vocab_size", vocab_size=0)
config("config-negative-epsilon", "corrupt", "layer_norm_eps", layer_norm_eps=-1.0)
config("config-labels-list", "corrupt", "id2label", base="bert-classify", id2label=["a", "b", "c"])
config("config-labels-with-gap", "corrupt", "id2label", base="bert-classify", id2label={"0": "a", "1": "b", "7": "c"})
config("config-unknown-activation", "unsupported", "crystalline", hidden_act="crystalline")
config("config-relative-positions", "unsupported", "relative_key", position_embedding_type="relative_key")
config("config-decoder", "unsupported", "is_decoder", is_decoder=True)
config("config-unknown-problem", "unsupported|corrupt", "guessing", base="bert-classify", problem_type="guessing")
config("architecture-llama", "unsupported", "LlamaForCausalLM", architectures=["LlamaForCausalLM"], model_type="llama")
config("architecture-roberta", "unsupported", "roberta|Roberta", architectures=["RobertaModel"], model_type="roberta")
config("architecture-question-answering", "unsupported", "BertForQuestionAnswering",
       architectures=["BertForQuestionAnswering"])
config("architecture-unnamed", "corrupt|unsupported", "config.json", remove=["architectures", "model_type"])
config("architecture-not-of-its-type", "unsupported|corrupt", "DistilBertModel", architectures=["DistilBertModel"])


# ---- modules of sentence-transformers ----

def modules(name, expected, word, change, base="bert-f16"):
    simple(name, expected, word, lambda d: edit_json(d, "modules.json", change), base)


modules("modules-path-traversal", "corrupt", "../1_Pooling", lambda m: m[1].update(path="../1_Pooling"))
modules("modules-path-absolute", "corrupt", "/etc", lambda m: m[1].update(path="/etc"))
modules("modules-unknown", "unsupported", "CNN", lambda m: m[1].update(type="sentence_transformers.models.CNN"))
modules("modules-not-a-list", "corrupt", "modules.json", lambda m: {"modules": m})
modules("modules-absent-folder", "missing", "7_Pooling", lambda m: m[1].update(path="7_Pooling"))
simple("pooling-none", "corrupt|unsupported", "pooling", lambda d: edit_json(
    d, "1_Pooling/config.json", lambda p: p.update(pooling_mode_mean_tokens=False)))
simple("pooling-weighted", "unsupported", "weightedmean", lambda d: edit_json(
    d, "1_Pooling/config.json", lambda p: p.update(pooling_mode_weightedmean_tokens=True)))
simple("pooling-other-width", "corrupt", "word_embedding_dimension", lambda d: edit_json(
    d, "1_Pooling/config.json", lambda p: p.update(word_embedding_dimension=64)))
simple("dense-wrong-shape", "corrupt", "linear.weight", lambda d: edit_json(
    d, "2_Dense/config.json", lambda c: c.update(out_features=25)), base="bert-dense")
simple("dense-wrong-input", "corrupt", "in_features", lambda d: edit_json(
    d, "2_Dense/config.json", lambda c: c.update(in_features=31)), base="bert-dense")
simple("dense-unknown-activation", "unsupported", "Softsign", lambda d: edit_json(
    d, "2_Dense/config.json", lambda c: c.update(activation_function="torch.nn.modules.activation.Softsign")),
    base="bert-dense")
simple("dense-without-weights", "missing", "2_Dense/model.safetensors", lambda d: os.remove(
    os.path.join(d, "2_Dense/model.safetensors")), base="bert-dense")

# ---- tokenizers ----

simple("vocab-empty", "corrupt|missing", "vocab.txt", lambda d: store(d, "vocab.txt", b""))
simple("vocab-duplicate", "corrupt", "vocab.txt", lambda d: edit_vocab(d, lambda v: v[:100] + [v[60]] + v[101:]))
simple("vocab-without-special-tokens", "corrupt|missing", "[CLS]|[SEP]|[UNK]|[PAD]",
       lambda d: edit_vocab(d, lambda v: ["word%d" % i for i in range(len(v) - 1)] + [""]))
simple("vocab-shorter-than-specials", "corrupt|missing", "[SEP]|[CLS]|[MASK]", lambda d: edit_vocab(d, lambda v: v[:2]))
simple("vocab-longer-than-model", "corrupt", "vocab", lambda d: edit_vocab(
    d, lambda v: v[:-1] + ["more%d" % i for i in range(9)] + [""]))
simple("vocab-bad-utf8", "corrupt", "UTF-8", lambda d: store(
    d, "vocab.txt", load(d, "vocab.txt").replace(b"cotton", b"cott\xc3\x28")))
simple("vocab-surrogate", "corrupt", "UTF-8", lambda d: store(
    d, "vocab.txt", load(d, "vocab.txt").replace(b"cotton", b"cot\xed\xa0\x80")))


def tokenizer(name, expected, word, change):
    simple(name, expected, word, lambda d: edit_json(d, "tokenizer.json", change), base="bert-json")


tokenizer("tokenizer-bpe", "unsupported", "BPE", lambda t: t.update(model={"type": "BPE", "vocab": {}, "merges": []}))
tokenizer("tokenizer-unknown-model", "unsupported", "Runic", lambda t: t["model"].update(type="Runic"))
tokenizer("tokenizer-unknown-normalizer", "unsupported", "Frobnicate",
          lambda t: t.update(normalizer={"type": "Frobnicate"}))
tokenizer("tokenizer-unknown-split", "unsupported", "Frobnicate",
          lambda t: t.update(pre_tokenizer={"type": "Frobnicate"}))
tokenizer("tokenizer-unknown-template", "unsupported", "Frobnicate",
          lambda t: t.update(post_processor={"type": "Frobnicate"}))
tokenizer("tokenizer-negative-id", "corrupt", "tokenizer.json", lambda t: t["model"]["vocab"].update(cotton=-1))
tokenizer("tokenizer-huge-id", "corrupt|limit", "tokenizer.json", lambda t: t["model"]["vocab"].update(cotton=1 << 40))
tokenizer("tokenizer-same-id", "corrupt", "tokenizer.json", lambda t: t["model"]["vocab"].update(cotton=5))
tokenizer("tokenizer-text-id", "corrupt", "tokenizer.json", lambda t: t["model"]["vocab"].update(cotton="5"))
tokenizer("tokenizer-ids-beyond-model", "corrupt", "vocab", lambda t: t["model"]["vocab"].update(
    {"more%d" % i: len(t["model"]["vocab"]) + i for i in range(9)}))
tokenizer("tokenizer-without-model", "corrupt", "tokenizer.json", lambda t: t.pop("model") and None)
tokenizer("tokenizer-nested", "corrupt|limit", "tokenizer.json", lambda t: t.update(
    normalizer=json.loads('{"type":"Sequence","normalizers":[' * 90 + "]}" * 90)))
simple("tokenizer-truncated", "corrupt", "tokenizer.json", lambda d: store(
    d, "tokenizer.json", load(d, "tokenizer.json")[:2000]), base="bert-json")


def make(folder, name):
    base, expected, word, change = DEFECTS[name]
    directory = os.path.join(folder, name)
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(os.path.join(MODELS, base), directory, ignore=shutil.ignore_patterns("reference.json"),
                    copy_function=shutil.copyfile)
    change(directory)
    store(directory, "expect.txt", "%s %s\n" % (expected, word))


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-") and sys.argv[1] != "--list":
        sys.exit(__doc__)
    if sys.argv[1] == "--list":
        for name, (_, expected, word, _) in DEFECTS.items():
            print(name, expected, word)
        return
    for name in sys.argv[2:] or DEFECTS:
        if name not in DEFECTS:
            sys.exit("make_bad.py: no defect is called \"%s\"" % name)
        make(sys.argv[1], name)


if __name__ == "__main__":
    main()
