"""An independent reading of BERT and DistilBERT directories, in double precision.

Written from the papers (Devlin et al., 2019; Sanh et al., 2019; Reimers and Gurevych, 2019) and from what the
reference libraries document, and from nothing in src/: where this and the engine agree, two people agree.
It reads a Hugging Face directory as it lies there, so that every figure comes from the stored weights.

    model = Model("models/shop-mini")
    model.case("red dress")             # a dict of token ids, hidden states, embedding, logits ...

Needs torch and numpy.  Slow and plain on purpose: one text at a time, no padding, no batching.
"""
import json
import math
import os
import struct
import unicodedata

import numpy
import torch

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


# ---- files ----

def read_json(directory, name, default=None):
    path = os.path.join(directory, name)
    if not os.path.exists(path):
        return default
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def decode(dtype, data):
    """Bytes of a safetensors type as float64; None for types that hold no weights."""
    if dtype == "F32":
        return numpy.frombuffer(data, "<f4").astype("f8")
    if dtype == "F16":
        return numpy.frombuffer(data, "<f2").astype("f8")
    if dtype == "BF16":  # the upper half of an fp32
        return (numpy.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype("f8")
    return None


def read_safetensors(path):
    with open(path, "rb") as f:
        data = f.read()
    size, = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        values = decode(entry["dtype"], data[8 + size + first:8 + size + last])
        if values is not None:
            tensors[name] = torch.from_numpy(values.reshape(entry["shape"]))
    return tensors


def read_weights(directory):
    index = read_json(directory, "model.safetensors.index.json")
    if index is None:
        return read_safetensors(os.path.join(directory, "model.safetensors"))
    tensors = {}
    for shard in sorted(set(index["weight_map"].values())):
        tensors.update(read_safetensors(os.path.join(directory, shard)))
    return tensors


# ---- text to ids ----

def is_cjk(c):
    c = ord(c)
    return any(a <= c <= b for a, b in (
        (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
        (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)))


def is_punctuation(c):
    o = ord(c)
    ascii_mark = 33 <= o <= 47 or 58 <= o <= 64 or 91 <= o <= 96 or 123 <= o <= 126
    return ascii_mark or unicodedata.category(c).startswith("P")


class Tokenizer:
    """BERT's basic tokenizer and WordPiece, from tokenizer.json (which wins) or vocab.txt."""

    def __init__(self, directory):
        config = read_json(directory, "tokenizer_config.json", {})
        full = read_json(directory, "tokenizer.json")
        self.added = {}
        if full is not None:
            rules = full["normalizer"]
            self.ids = dict(full["model"]["vocab"])
            self.added = {t["content"]: t["id"] for t in full["added_tokens"]}
            self.lower, self.strip = rules["lowercase"], rules["strip_accents"]
            self.chinese = rules["handle_chinese_chars"]
        else:
            with open(os.path.join(directory, "vocab.txt"), encoding="utf-8") as f:
                self.ids = {line: i for i, line in enumerate(f.read().rstrip("\n").split("\n"))}
            self.added = {t: self.ids[t] for t in SPECIALS}
            self.lower = config.get("do_lower_case", True)
            self.strip = config.get("strip_accents")
            self.chinese = config.get("tokenize_chinese_chars", True)
        if self.strip is None:
            self.strip = self.lower
        self.cls, self.sep = self.added["[CLS]"], self.added["[SEP]"]
        self.unk, self.mask = self.added["[UNK]"], self.added["[MASK]"]

    def normalize(self, text):
        out = []
        for c in text:
            if c in "\t\n\r":
                out.append(" ")
            elif c in "\0\ufffd" or unicodedata.category(c).startswith("C"):
                continue
            elif c.isspace():
                out.append(" ")
            elif self.chinese and is_cjk(c):
                out.append(" " + c + " ")
            else:
                out.append(c)
        text = "".join(out)
        if self.strip:
            text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
        if self.lower:
            text = "".join(c.lower() for c in text)
        return text

    @staticmethod
    def words(text):
        for chunk in text.split():
            word = ""
            for c in chunk:
                if is_punctuation(c):
                    if word:
                        yield word
                    yield c
                    word = ""
                else:
                    word += c
            if word:
                yield word

    def pieces(self, word):
        """Longest match first; a word with a part that is not in the vocabulary is unknown as a whole."""
        if len(word) > 100:
            return [self.unk]
        ids, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in self.ids:
                    ids.append(self.ids[piece])
                    start = end
                    break
            else:
                return [self.unk]
        return ids

    def plain(self, text):
        """Ids without the template's special tokens; special tokens spelt out in the text count as such."""
        ids, start, i = [], 0, 0
        flush = lambda end: [p for w in self.words(self.normalize(text[start:end])) for p in self.pieces(w)]
        while i < len(text):
            found = max((t for t in self.added if text.startswith(t, i)), key=len, default=None)
            if found:
                ids += flush(i) + [self.added[found]]
                i += len(found)
                start = i
            else:
                i += 1
        return ids + flush(len(text))

    def encode(self, text, pair, limit):
        """(ids, types), truncated to limit on the right; of a pair the longer side gives way first."""
        a = self.plain(text)
        if pair is None:
            a = a[:limit - 2]
            return [self.cls] + a + [self.sep], [0] * (len(a) + 2)
        b = self.plain(pair)
        room = limit - 3
        if len(a) + len(b) > room:
            # As the Rust tokenizers do it: the shorter keeps all it has if that leaves the longer at least as
            # much, else both get half, and the longer (the second, when they are equal) the odd one.
            short, long = sorted((len(a), len(b)))
            if short + max(short, room - short) > room:
                short, long = room // 2, room - room // 2
            else:
                long = room - short
            na, nb = (long, short) if len(a) > len(b) else (short, long)
            a, b = a[:na], b[:nb]
        return ([self.cls] + a + [self.sep] + b + [self.sep], [0] * (len(a) + 2) + [1] * (len(b) + 1))


# ---- the network ----

def gelu(x):
    return 0.5 * x * (1.0 + torch.erf(x / math.sqrt(2.0)))


def gelu_tanh(x):
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x ** 3)))


ACTIVATIONS = {
    "gelu": gelu, "gelu_new": gelu_tanh, "gelu_pytorch_tanh": gelu_tanh,
    "relu": lambda x: x.clamp(min=0.0), "tanh": torch.tanh, "identity": lambda x: x,
    "sigmoid": lambda x: 1.0 / (1.0 + torch.exp(-x)),
}

# DistilBERT's names for BERT's configuration keys and tensors.
DISTIL_KEYS = {"hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
               "intermediate_size": "hidden_dim", "hidden_act": "activation"}
BLOCK = {
    "bert": ("encoder.layer.%d.", {
        "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
        "out": "attention.output.dense", "norm1": "attention.output.LayerNorm", "up": "intermediate.dense",
        "down": "output.dense", "norm2": "output.LayerNorm"}),
    "distilbert": ("transformer.layer.%d.", {
        "q": "attention.q_lin", "k": "attention.k_lin", "v": "attention.v_lin", "out": "attention.out_lin",
        "norm1": "sa_layer_norm", "up": "ffn.lin1", "down": "ffn.lin2", "norm2": "output_layer_norm"}),
}


def softmax(x):
    e = torch.exp(x - x.max(dim=-1, keepdim=True).values)
    return e / e.sum(dim=-1, keepdim=True)


class Model:
    def __init__(self, directory):
        self.directory = directory
        self.config = config = read_json(directory, "config.json")
        self.kind = config["model_type"]
        self.head = config["architectures"][0]
        key = lambda k: config[DISTIL_KEYS[k] if self.kind == "distilbert" else k]
        self.layers, self.heads = key("num_hidden_layers"), key("num_attention_heads")
        self.act = ACTIVATIONS[key("hidden_act")]
        self.eps = config.get("layer_norm_eps", 1e-12)
        self.tokenizer = Tokenizer(directory)
        self.weights = {}
        for name, value in read_weights(directory).items():
            if name.startswith(self.kind + "."):
                name = name[len(self.kind) + 1:]
            name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
            self.weights[name] = value
        limits = [config["max_position_embeddings"]]
        for name, entry in (("tokenizer_config.json", "model_max_length"),
                            ("sentence_bert_config.json", "max_seq_length")):
            limits.append((read_json(directory, name) or {}).get(entry) or limits[0])
        self.limit = min(limits)

    def linear(self, name, x):
        y = x @ self.weights[name + ".weight"].T
        return y + self.weights[name + ".bias"] if name + ".bias" in self.weights else y

    def norm(self, name, x):
        centred = x - x.mean(dim=-1, keepdim=True)
        variance = (centred ** 2).mean(dim=-1, keepdim=True)
        return (centred / torch.sqrt(variance + self.eps) * self.weights[name + ".weight"]
                + self.weights[name + ".bias"])

    def hidden(self, ids, types):
        """(L+1, T, C): the embeddings, then the output of each layer."""
        e = "embeddings."
        x = self.weights[e + "word_embeddings.weight"][ids] + self.weights[e + "position_embeddings.weight"][:len(ids)]
        if self.kind == "bert":
            x = x + self.weights[e + "token_type_embeddings.weight"][types]
        x = self.norm(e + "LayerNorm", x)
        states = [x]
        prefix, names = BLOCK[self.kind]
        for layer in range(self.layers):
            at = {k: prefix % layer + v for k, v in names.items()}
            t, c = x.shape
            q, k, v = (self.linear(at[n], x).reshape(t, self.heads, c // self.heads).transpose(0, 1) for n in "qkv")
            scores = q @ k.transpose(1, 2) / math.sqrt(c // self.heads)
            mixed = (softmax(scores) @ v).transpose(0, 1).reshape(t, c)
            x = self.norm(at["norm1"], x + self.linear(at["out"], mixed))
            x = self.norm(at["norm2"], x + self.linear(at["down"], self.act(self.linear(at["up"], x))))
            states.append(x)
        return torch.stack(states)

    def embedding(self, last):
        """Unit vector: pooling and Dense modules; without modules.json the mean, as sentence-transformers does."""
        pooled = [last.mean(dim=0)]
        modules = read_json(self.directory, "modules.json") or []
        for module in modules:
            kind = module["type"].rsplit(".", 1)[1]
            if kind == "Pooling":
                wanted = read_json(self.directory, module["path"] + "/config.json")
                ways = (("cls_token", lambda: last[0]), ("max_tokens", lambda: last.max(dim=0).values),
                        ("mean_tokens", lambda: last.mean(dim=0)),
                        ("mean_sqrt_len_tokens", lambda: last.sum(dim=0) / math.sqrt(len(last))))
                pooled = [f() for name, f in ways if wanted.get("pooling_mode_" + name)]
            elif kind == "Dense":
                path = os.path.join(self.directory, module["path"])
                dense = read_safetensors(os.path.join(path, "model.safetensors"))
                config = read_json(path, "config.json")
                y = dense["linear.weight"] @ torch.cat(pooled)
                if config["bias"]:
                    y = y + dense["linear.bias"]
                pooled = [ACTIVATIONS[config["activation_function"].rsplit(".", 1)[1].lower()](y)]
        x = torch.cat(pooled)
        return x / torch.sqrt((x * x).sum())

    def logits(self, last):
        """Sequence classification, (N); None without such a head."""
        if not self.head.endswith("ForSequenceClassification"):
            return None
        if self.kind == "bert":
            first = torch.tanh(self.linear("pooler.dense", last[0]))
        else:
            first = self.linear("pre_classifier", last[0]).clamp(min=0.0)
        return self.linear("classifier", first)

    def probabilities(self, logits):
        problem = self.config.get("problem_type")
        if problem == "multi_label_classification":
            return ACTIVATIONS["sigmoid"](logits)
        if problem == "regression" or len(logits) == 1:
            return None
        return softmax(logits)

    def score(self, logits):
        """A cross-encoder's score: of one label, sigmoid unless the configuration names another function."""
        if len(logits) != 1 or self.config.get("problem_type") == "regression":
            return None
        name = (self.config.get("sentence_transformers", {}).get("activation_fn")
                or self.config.get("sbert_ce_default_activation_function") or "Sigmoid")
        return ACTIVATIONS[name.rsplit(".", 1)[-1].lower()](logits)[0]

    def mask_logits(self, last):
        """Masked-language logits, (T,V); None without such a head."""
        if self.kind == "bert" and "cls.predictions.transform.dense.weight" in self.weights:
            x = self.norm("cls.predictions.transform.LayerNorm",
                          self.act(self.linear("cls.predictions.transform.dense", last)))
            decoder, bias = "cls.predictions.decoder.weight", "cls.predictions.bias"
        elif self.kind == "distilbert" and "vocab_transform.weight" in self.weights:
            x = self.norm("vocab_layer_norm", self.act(self.linear("vocab_transform", last)))
            decoder, bias = "vocab_projector.weight", "vocab_projector.bias"
        else:
            return None
        if self.config.get("tie_word_embeddings", True):
            decoder = "embeddings.word_embeddings.weight"
        return x @ self.weights[decoder].T + self.weights[bias]

    def prompt(self, kind):
        prompts = (read_json(self.directory, "config_sentence_transformers.json") or {}).get("prompts", {})
        return prompts.get(kind, "")

    def case(self, text, pair=None, kind="document", full=False):
        """All figures for one text or pair; full: also every hidden state and, at a mask, every logit."""
        prompt = self.prompt(kind) if pair is None else ""
        ids, types = self.tokenizer.encode(prompt + text, pair, self.limit)
        hidden = self.hidden(ids, types)
        logits, mask_logits = self.logits(hidden[-1]), self.mask_logits(hidden[-1])
        case = {
            "text": text, "pair": pair, "kind": kind, "ids": ids, "types": types,
            "hidden": hidden.tolist() if full else None,
            "hidden_state_first_token_first_8": hidden[:, 0, :8].tolist(),
            "embedding": self.embedding(hidden[-1]).tolist() if pair is None else None,
            "logits": None, "probabilities": None, "score": None, "mlm": None,
        }
        if logits is not None:
            probabilities, score = self.probabilities(logits), self.score(logits)
            case["logits"] = logits.tolist()
            case["probabilities"] = None if probabilities is None else probabilities.tolist()
            case["score"] = None if score is None else score.item()
        if mask_logits is not None:
            case["mlm_logits_first_token_first_8"] = mask_logits[0, :8].tolist()
            if ids.count(self.tokenizer.mask) == 1:
                at = ids.index(self.tokenizer.mask)
                best = sorted(range(mask_logits.shape[1]), key=lambda i: (-mask_logits[at, i].item(), i))[:5]
                case["mlm"] = {"position": at, "ids": best, "logits": mask_logits[at, best].tolist(),
                               "probabilities": softmax(mask_logits[at])[best].tolist(),
                               "all_logits": mask_logits[at].tolist() if full else None}
        return case
