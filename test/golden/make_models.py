#!/usr/bin/python3
"""Make the tiny random models of test/golden/models, each with reference.json beside its weights.

    /usr/bin/python3 test/golden/make_models.py            write them anew (byte-identical from run to run)
    /usr/bin/python3 test/golden/make_models.py --check    write nothing: verify what is there, and verify reference.py
                                                           against the bundled model's figures, which are PyTorch's own
    /usr/bin/python3 test/golden/make_models.py --bundled  write those figures anew

Weights come from a seed, are rounded to the stored type first, and the figures are computed by reference.py from the
files as written.  Needs torch and numpy; models/README.md there describes each directory and the format.
"""
import argparse
import collections
import filecmp
import json
import os
import struct
import sys
import tempfile
import zlib

import numpy
import torch

sys.dont_write_bytecode = True
import reference  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))

# ---- vocabulary: our own words; no "q" and no "z", so that some plain words are unknown ----

LETTERS = "abcdefghijklmnoprstuvwxy"
CHINESE = list("红色连衣裙键盘静音耳机夏季大小鞋子我要买好的")
WORDS = """red blue green dress shoe ##ness ##ing ##er ##ed ##ly head ##phone key ##board quiet night water ##proof wire ##less
size small large cable boot for and the with of to in light soft cotton camera lens bag""".split()
MARKS = list(".,!?-()/&%:'\"[]")


def vocabulary(cased):
    rest = list(LETTERS) + ["##" + c for c in LETTERS] + list("0123456789") + ["##" + c for c in "0123456789"]
    if cased:
        rest += list("RDBSCÉé") + ["Red", "Dress", "##é", "Blue"]
    out = list(reference.SPECIALS) + MARKS + rest + CHINESE + ["##盘"] + WORDS
    assert len(set(out)) == len(out), "a word is there twice"
    return out


# ---- files ----

def write_json(path, value, indent=2):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=indent)
        f.write("\n")


def encode(array, dtype):
    """float64 as the bytes of a safetensors type, rounded to nearest even."""
    if dtype == "BF16":
        bits = array.astype("<f4").view("<u4").astype("u8")
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    return array.astype({"F32": "<f4", "F16": "<f2", "I64": "<i8"}[dtype]).tobytes()


def write_safetensors(path, tensors, aligned=True):
    """tensors: name -> (float64 array, type), laid end to end.  The header is padded with spaces to 8 bytes if aligned."""
    header, body, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, (array, dtype) in tensors.items():
        data = encode(array, dtype)
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + len(data)]}
        body.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    if aligned:
        text += b" " * (-len(text) % 8)
    elif len(text) % 8 == 0:
        text += b" "
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(body))
    return at


def write_shards(directory, tensors, types):
    """One shard for each of types, which it is stored in; tensors are dealt out in order."""
    names, n = list(tensors), len(types)
    weight_map, total = {}, 0
    for i, dtype in enumerate(types):
        file = "model-%05d-of-%05d.safetensors" % (i + 1, n)
        mine = names[len(names) * i // n:len(names) * (i + 1) // n]
        total += write_safetensors(os.path.join(directory, file), {k: (tensors[k][0], dtype) for k in mine})
        weight_map.update({k: file for k in mine})
    write_json(os.path.join(directory, "model.safetensors.index.json"),
               {"metadata": {"total_size": total}, "weight_map": weight_map})


# ---- weights ----

class Weights:
    """Draws named tensors: deviation 0.25 keeps attention far from uniform at these widths, and every bias matters."""

    def __init__(self, seed):
        self.random = numpy.random.RandomState(seed)
        self.tensors = collections.OrderedDict()

    def add(self, name, *shape, deviation=0.25, mean=0.0):
        self.tensors[name] = mean + deviation * self.random.standard_normal(shape)

    def linear(self, name, n, k, bias=True):
        self.add(name + ".weight", n, k)
        if bias:
            self.add(name + ".bias", n, deviation=0.2)

    def norm(self, name, c):
        self.add(name + ".weight", c, deviation=0.2, mean=1.0)
        self.add(name + ".bias", c, deviation=0.2)


def draw(spec, seed):
    """All tensors of a directory's main file, under the names that the reference library saves."""
    w, c, f, v, kind = Weights(seed), spec["width"], spec["ff"], spec["vocab"], spec["kind"]
    prefix = spec["prefix"]
    e = prefix + "embeddings."
    w.add(e + "word_embeddings.weight", v, c, deviation=0.6)
    w.add(e + "position_embeddings.weight", spec["positions"], c, deviation=0.4)
    if kind == "bert":
        w.add(e + "token_type_embeddings.weight", 2, c, deviation=0.4)
    w.norm(e + "LayerNorm", c)
    block, names = reference.BLOCK[kind]
    for layer in range(spec["layers"]):
        at = {k: prefix + block % layer + n for k, n in names.items()}
        for part in ("q", "k", "v", "out"):
            w.linear(at[part], c, c)
        w.norm(at["norm1"], c)
        w.linear(at["up"], f, c)
        w.linear(at["down"], c, f)
        w.norm(at["norm2"], c)
    if spec["pooler"]:
        w.linear(prefix + "pooler.dense", c, c)
    if spec["labels"]:
        if kind == "distilbert":
            w.linear("pre_classifier", c, c)
        w.linear("classifier", len(spec["labels"]), c)
    if spec["mlm"] and kind == "bert":
        w.add("cls.predictions.bias", v, deviation=0.2)
        w.linear("cls.predictions.transform.dense", c, c)
        w.norm("cls.predictions.transform.LayerNorm", c)
        if not spec["tied"]:
            w.add("cls.predictions.decoder.weight", v, c)
    elif spec["mlm"]:
        w.linear("vocab_transform", c, c)
        w.norm("vocab_layer_norm", c)
        w.add("vocab_projector.bias", v, deviation=0.2)
        if not spec["tied"]:
            w.add("vocab_projector.weight", v, c)
    if spec["old_names"]:
        w.linear("cls.seq_relationship", 2, c)
        w.tensors = collections.OrderedDict(
            (k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"), t)
            for k, t in w.tensors.items())
        w.tensors["cls.predictions.decoder.weight"] = w.tensors[e + "word_embeddings.weight"]
    return w.tensors


# ---- configuration ----

def architecture(spec):
    head = "ForSequenceClassification" if spec["labels"] else "ForMaskedLM" if spec["mlm"] else "Model"
    if spec["old_names"]:
        head = "ForPreTraining"
    return {"bert": "Bert", "distilbert": "DistilBert"}[spec["kind"]] + head


def config(spec):
    c = {"architectures": [architecture(spec)], "model_type": spec["kind"]}
    if spec["kind"] == "bert":
        c.update({"attention_probs_dropout_prob": 0.1, "classifier_dropout": None, "hidden_act": spec["act"],
                  "hidden_dropout_prob": 0.1, "hidden_size": spec["width"], "initializer_range": 0.02,
                  "intermediate_size": spec["ff"], "layer_norm_eps": spec["eps"],
                  "num_attention_heads": spec["heads"], "num_hidden_layers": spec["layers"],
                  "position_embedding_type": "absolute", "type_vocab_size": 2, "use_cache": True})
    else:
        c.update({"activation": spec["act"], "attention_dropout": 0.1, "dim": spec["width"], "dropout": 0.1,
                  "hidden_dim": spec["ff"], "initializer_range": 0.02, "n_heads": spec["heads"],
                  "n_layers": spec["layers"], "qa_dropout": 0.1, "seq_classif_dropout": 0.2,
                  "sinusoidal_pos_embds": False, "tie_weights_": True})
    c.update({"max_position_embeddings": spec["positions"], "pad_token_id": 0, "vocab_size": spec["vocab"],
              "torch_dtype": {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[spec["dtype"]],
              "transformers_version": "4.41.2"})
    if not spec["tied"]:
        c["tie_word_embeddings"] = False
    # The library does not write names that are its default, LABEL_0 and LABEL_1; else in the order of the text.
    if spec["labels"] and spec["labels"] != ["LABEL_0", "LABEL_1"]:
        backwards = list(enumerate(spec["labels"]))[::-1]
        c["id2label"] = {str(i): label for i, label in backwards}
        c["label2id"] = {label: i for i, label in backwards}
    c.update(spec["config"])
    return c


def tokenizer_json(vocab, spec):
    special = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                "special": True} for i, t in enumerate(vocab) if t in reference.SPECIALS or t in spec["added"]]
    piece = lambda kind, name, types: {kind: {"id": name, "type_id": types}}
    cls, sep, a, b = (piece("SpecialToken", "[CLS]", 0), piece("SpecialToken", "[SEP]", 0),
                      piece("Sequence", "A", 0), piece("Sequence", "B", 1))
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": not spec["cased"]},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing", "single": [cls, a, sep],
            "pair": [cls, a, sep, b, piece("SpecialToken", "[SEP]", 1)],
            "special_tokens": {t: {"id": t, "ids": [vocab.index(t)], "tokens": [t]} for t in ("[CLS]", "[SEP]")}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100,
                  "vocab": {t: i for i, t in enumerate(vocab) if t not in spec["added"]}},
    }


def write_tokenizer(directory, vocab, spec):
    if spec["json"]:
        write_json(directory + "/tokenizer.json", tokenizer_json(vocab, spec), indent=None)
    else:
        with open(directory + "/vocab.txt", "w", encoding="utf-8") as f:
            f.writelines(t + "\n" for t in vocab)
    t = {"cls_token": "[CLS]", "do_lower_case": not spec["cased"], "mask_token": "[MASK]",
         "pad_token": "[PAD]", "sep_token": "[SEP]", "strip_accents": None, "tokenize_chinese_chars": True,
         "tokenizer_class": "BertTokenizer" if spec["kind"] == "bert" else "DistilBertTokenizer", "unk_token": "[UNK]"}
    if spec["tokens"]:
        t["model_max_length"] = spec["tokens"]
    write_json(directory + "/tokenizer_config.json", t)


def write_sentence(directory, spec, seed):
    """The files of sentence-transformers around the encoder."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    width = spec["width"] * len(spec["pooling"])
    pooling = {"word_embedding_dimension": spec["width"]}
    for way in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"):
        pooling["pooling_mode_" + way] = way in spec["pooling"]
    write_json(directory + "/1_Pooling/config.json", dict(pooling, include_prompt=True))
    if spec["dense"]:
        out, function, bias = spec["dense"]
        modules.append(("2_Dense", "Dense"))
        w = Weights(seed + 1000)
        w.linear("linear", out, width, bias)
        write_json(directory + "/2_Dense/config.json",
                   {"in_features": width, "out_features": out, "bias": bias,
                    "activation_function": "torch.nn.modules." + function})
        write_safetensors(directory + "/2_Dense/model.safetensors", {k: (t, "F32") for k, t in w.tensors.items()})
    if spec["normalize"]:
        modules.append(("%d_Normalize" % len(modules), "Normalize"))
    write_json(directory + "/modules.json",
               [{"idx": i, "name": str(i), "path": path, "type": "sentence_transformers.models." + kind}
                for i, (path, kind) in enumerate(modules)])
    if spec["sequence"]:
        write_json(directory + "/sentence_bert_config.json",
                   {"max_seq_length": spec["sequence"], "do_lower_case": False})
    if spec["prompts"]:
        write_json(directory + "/config_sentence_transformers.json",
                   {"__version__": {"sentence_transformers": "3.0.1"}, "prompts": spec["prompts"],
                    "default_prompt_name": None, "similarity_fn_name": "cosine"})


# ---- the models ----

DEFAULT = dict(
    kind="bert", layers=2, width=32, heads=4, ff=64, positions=64, act="gelu", eps=1e-12, dtype="F32", shards=(),
    prefix="", pooler=False, labels=(), mlm=False, tied=True, old_names=False, position_ids=False, extra_rows=0,
    cased=False, json=False, added=(), tokens=64, pooling=(), dense=None, normalize=True, sequence=None, prompts=None,
    aligned=True, config={})
MEAN, CLS, MAX = ("mean_tokens",), ("cls_token",), ("max_tokens",)
HUGE = 1000000000000000019884624838656  # what the library writes for "no limit"
BERT = dict(prefix="bert.", pooler=True)
DISTIL = dict(kind="distilbert", prefix="distilbert.")
RANK = dict(BERT, labels=["LABEL_0"])
IDENTITY = "torch.nn.modules.linear.Identity"
SIGMOID = "torch.nn.modules.activation.Sigmoid"

MODELS = {
    "bert-mean": dict(pooler=True, position_ids=True, pooling=MEAN, sequence=64,
                      prompts={"query": "light for: ", "document": "bag of "}),
    "bert-cls": dict(prefix="bert.", width=48, heads=3, ff=96, dtype="F16", pooling=CLS, tokens=HUGE, aligned=False),
    "bert-max": dict(layers=3, width=36, ff=70, dtype="F16", eps=1e-5, pooling=MAX, sequence=24, extra_rows=11),
    "bert-meansqrt": dict(dtype="F16", pooling=("mean_sqrt_len_tokens",), normalize=False),
    "bert-concat": dict(dtype="F16", pooling=CLS + MAX + MEAN),
    "bert-dense": dict(dtype="F16", pooling=MEAN, dense=(24, "activation.Tanh", True)),
    "bert-dense-identity": dict(dtype="F16", pooling=CLS + MEAN, dense=(40, "linear.Identity", False), normalize=False),
    "bert-f16": dict(dtype="F16", pooling=MEAN),
    "bert-bf16": dict(dtype="BF16", pooling=MEAN),
    "bert-sharded": dict(layers=3, pooling=MEAN, shards=("F32", "F16", "BF16")),
    "bert-gelu-tanh": dict(dtype="F16", act="gelu_new", pooling=MEAN),
    "bert-relu": dict(dtype="F16", act="relu", pooling=MEAN),
    "bert-long": dict(dtype="F16", positions=512, tokens=512, pooling=MEAN),
    "bert-cased": dict(dtype="F16", cased=True, json=True, added=("[SKU]",), pooling=MEAN),
    "bert-json": dict(dtype="F16", json=True, pooling=CLS),
    "bert-classify": dict(BERT, labels=["clothes", "electronics", "其他"], tokens=48),
    "bert-multilabel": dict(BERT, dtype="F16", labels=["new", "sale", "gift", "eco"],
                            config={"problem_type": "multi_label_classification"}),
    "bert-regression": dict(BERT, dtype="F16", labels=["LABEL_0"], config={"problem_type": "regression"}),
    "bert-rank": dict(RANK, config={"sentence_transformers": {"activation_fn": IDENTITY, "version": "4.0.1"}}),
    "bert-rank-old": dict(RANK, dtype="F16", config={"sbert_ce_default_activation_function": IDENTITY}),
    "bert-rank-sigmoid": dict(RANK, dtype="F16",
                              config={"sentence_transformers": {"activation_fn": SIGMOID, "version": "4.0.1"}}),
    "bert-mlm": dict(prefix="bert.", mlm=True),
    "bert-mlm-untied": dict(prefix="bert.", dtype="F16", mlm=True, tied=False, act="gelu_new"),
    "bert-pretraining": dict(BERT, dtype="F16", mlm=True, old_names=True, tokens=HUGE),
    "distilbert-mean": dict(kind="distilbert", pooling=MEAN),
    "distilbert-classify": dict(DISTIL, dtype="F16", labels=["LABEL_0", "LABEL_1"]),
    "distilbert-mlm": dict(DISTIL, dtype="F16", mlm=True, act="relu"),
}

TEXTS = [
    "Red dress, size 42!",
    "",
    "quiet keyboards for the night",
    "wireless headphones & cable (soft bag)",
    "红色连衣裙 夏季",
    "我要买好的键盘 with light",
    "quartz \u03a9mega \U0001F45F \u4e28",
    "Caf\u00e9 cotton, CR\u00c8ME bo\u0308ot\u0301s",
    "  tabs\tand\nlines\u3000wide\u00a0space \u200bhidden\x07 ",
    "a [SEP] b [sep] [UNK]",
    "wire" * 30,
]
LONG = "waterproof boots with soft cotton in the night, 大小 %d; " * 2 % (36, 47)
PAIRS = [
    ("red dress", "Small red dress of soft cotton"),
    ("quiet keyboard", ""),
    ("", "camera lens"),
    ("红色 鞋子", "red shoes, large size"),
    ("boots", LONG * 8),
    (LONG * 8, "boots for water"),
    (LONG * 8, LONG * 9),
    ("key", "the [SEP] board"),
]
MASKED = [
    "red [MASK] of cotton", "[MASK]", "我要买[MASK]色的鞋子", "the quiet key[MASK]board, size 7 [mask]",
    "no mask here", LONG * 8 + "[MASK]", "[MASK] " + LONG * 8,
]


def cases(model, spec):
    if spec["mlm"]:
        out = [model.case(MASKED[0], full=True)] + [model.case(t) for t in MASKED[1:]]
    else:
        out = [model.case(TEXTS[0], full=True)] + [model.case(t) for t in TEXTS[1:]]
        out.append(model.case(LONG * (30 if spec["positions"] > 100 else 8)))
    if spec["added"]:
        out += [model.case(t) for t in ("Blue[SKU]Red", "[SKU] 42", "[sku]")]
    if spec["prompts"]:
        out += [model.case(t, kind="query") for t in TEXTS[:3] + [LONG * 8]]
    if spec["labels"]:
        out += [model.case(a, b) for a, b in PAIRS]
    return out


def rounded(value):
    """14 significant digits: as much as the figures mean, and less than the order of summation touches."""
    if isinstance(value, float):
        return float("%.14g" % value)
    if isinstance(value, list):
        return [rounded(v) for v in value]
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return value


def write_reference(path, entries):
    """One case a line, so that a difference between versions can be read."""
    with open(path, "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(rounded(e), ensure_ascii=False, separators=(",", ":")) for e in entries)
                + "\n]\n")


def make(directory, name):
    spec, seed = dict(DEFAULT, **MODELS[name]), zlib.crc32(name.encode()) >> 1
    vocab = vocabulary(spec["cased"]) + list(spec["added"])
    spec["vocab"] = len(vocab) + spec["extra_rows"]
    os.makedirs(directory, exist_ok=True)
    write_json(directory + "/config.json", config(spec))
    write_tokenizer(directory, vocab, spec)
    if spec["pooling"]:
        write_sentence(directory, spec, seed)
    tensors = {k: (t, spec["dtype"]) for k, t in draw(spec, seed).items()}
    if spec["position_ids"]:
        tensors[spec["prefix"] + "embeddings.position_ids"] = (numpy.arange(spec["positions"])[None, :], "I64")
    if spec["shards"]:
        write_shards(directory, tensors, spec["shards"])
    else:
        write_safetensors(directory + "/model.safetensors", tensors, spec["aligned"])
    write_reference(directory + "/reference.json", cases(reference.Model(directory), spec))


# ---- checks ----

def difference(a, b):
    """The largest difference between two figures of the same form; infinite when ids, texts or forms differ."""
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return max((difference(x, y) for x, y in zip(a, b)), default=0.0)
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return max((difference(a[k], b[k]) for k in a), default=0.0)
    return 0.0 if a == b else float("inf")


BUNDLED = os.path.join(HERE, "../../models/shop-mini")
BUNDLED_FIGURES = os.path.join(HERE, "shop-mini-reference.json")
BUNDLED_TEXTS = [
    "I want to buy a new laptop.", "something quiet to type on at night", "mechanical keyboard with silent switches",
    "适合夜里打字的安静键盘", "机械键盘 静音轴", "waterproof hiking boots, size 42", "red dress", "连衣裙 夏季 雪纺", "", "a",
    "USB-C to HDMI 2.1 cable (3 m)", "Crème brûlée torch with 2 refills", "wireless noise cancelling headphones " * 45,
    "你好world混合text123测试",
]


def torch_layers(model):
    """The bundled model's layers as PyTorch's own."""
    w = model.weights
    c = model.config
    for i in range(model.layers):
        layer = torch.nn.TransformerEncoderLayer(c["hidden_size"], model.heads, c["intermediate_size"], 0.0, torch.nn.functional.gelu,
                                                 layer_norm_eps=model.eps, batch_first=True, dtype=torch.float64)
        at = "encoder.layer.%d." % i
        names = ("query", "key", "value")
        layer.load_state_dict({
            "self_attn.in_proj_weight": torch.cat([w[at + "attention.self.%s.weight" % n] for n in names]),
            "self_attn.in_proj_bias": torch.cat([w[at + "attention.self.%s.bias" % n] for n in names]),
            "self_attn.out_proj.weight": w[at + "attention.output.dense.weight"],
            "self_attn.out_proj.bias": w[at + "attention.output.dense.bias"],
            "norm1.weight": w[at + "attention.output.LayerNorm.weight"], "norm1.bias": w[at + "attention.output.LayerNorm.bias"],
            "linear1.weight": w[at + "intermediate.dense.weight"], "linear1.bias": w[at + "intermediate.dense.bias"],
            "linear2.weight": w[at + "output.dense.weight"], "linear2.bias": w[at + "output.dense.bias"],
            "norm2.weight": w[at + "output.LayerNorm.weight"], "norm2.bias": w[at + "output.LayerNorm.bias"],
        })
        yield layer


def torch_case(model, layers, text):
    """What reference.py's case() gives, by PyTorch's layers and norms."""
    w, eps = model.weights, model.eps
    norm = lambda name, x: torch.nn.functional.layer_norm(x, x.shape[-1:], w[name + ".weight"], w[name + ".bias"], eps)
    ids, types = model.tokenizer.encode(text, None, model.limit)
    e = "embeddings."
    x = norm(e + "LayerNorm", w[e + "word_embeddings.weight"][ids] + w[e + "position_embeddings.weight"][:len(ids)]
             + w[e + "token_type_embeddings.weight"][types])
    states = [x]
    for layer in layers:
        states.append(layer(states[-1][None])[0])
    head = "cls.predictions.transform."
    m = norm(head + "LayerNorm", torch.nn.functional.gelu(
        torch.nn.functional.linear(states[-1][0], w[head + "dense.weight"], w[head + "dense.bias"])))
    logits = torch.nn.functional.linear(m, w[e + "word_embeddings.weight"], w["cls.predictions.bias"])
    return {
        "text": text, "ids": ids, "hidden_state_first_token_first_8": [s[0, :8].tolist() for s in states],
        "embedding": torch.nn.functional.normalize(states[-1].mean(dim=0), dim=0).tolist(),
        "mlm_logits_first_token_first_8": logits[:8].tolist(),
    }


def bundled_cases(model):
    layers = list(torch_layers(model))
    with torch.no_grad():
        return [torch_case(model, layers, text) for text in BUNDLED_TEXTS]


def check_bundled():
    """reference.py on the bundled model against figures computed by PyTorch's own TransformerEncoderLayer."""
    model = reference.Model(BUNDLED)
    with open(BUNDLED_FIGURES, encoding="utf-8") as f:
        expected = json.load(f)
    worst = 0.0
    for e in expected:
        got = model.case(e["text"])
        worst = max([worst] + [difference(e[key], got[key]) for key in e])
    print("%s shop-mini: ids equal, hidden states, embeddings and logits within %.1e" % ("ok" if worst <= 1e-9 else "not ok", worst))
    return worst <= 1e-9


def check_models(folder):
    """What lies in folder against a fresh copy: figures within 1e-10, all other files byte for byte."""
    ok = True
    with tempfile.TemporaryDirectory() as fresh:
        for name in MODELS:
            make(os.path.join(fresh, name), name)
        for root, _, files in os.walk(fresh):
            for file in sorted(files):
                new = os.path.join(root, file)
                old = os.path.join(folder, os.path.relpath(new, fresh))
                if not os.path.exists(old):
                    same = False
                elif file == "reference.json":
                    with open(new, encoding="utf-8") as a, open(old, encoding="utf-8") as b:
                        same = difference(json.load(a), json.load(b)) <= 1e-10
                else:
                    same = filecmp.cmp(new, old, shallow=False)
                if not same:
                    print("not ok", os.path.relpath(old, folder))
                    ok = False
    print("ok" if ok else "not ok", len(MODELS), "models against a fresh copy")
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--bundled", action="store_true")
    parser.add_argument("--folder", default=os.path.join(HERE, "models"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.check:
        sys.exit(0 if all([check_bundled(), check_models(options.folder)]) else 1)
    if options.bundled:
        write_json(BUNDLED_FIGURES, bundled_cases(reference.Model(BUNDLED)))
        return
    for name in MODELS:
        make(os.path.join(options.folder, name), name)


if __name__ == "__main__":
    main()
