#!/usr/bin/python3
"""Make training.json: losses and gradients of the tiny models of test/golden/models, by PyTorch's autograd in double precision.

    /usr/bin/python3 test/golden/make_training.py            write test/golden/training.json anew
    /usr/bin/python3 test/golden/make_training.py --check    write nothing, compare with what is there

Each case is one batch for one objective: token ids as the network sees them, what is to be predicted, the loss, of each
parameter the gradient's norm and three of its elements (first, middle, last), and the losses of 20 steps of AdamW on that
same batch.  The network is reference.py's, written from the papers; the losses are written here from theirs:

    masked           cross entropy of the masked positions, mean over them            (Devlin et al. 2019)
    classification   cross entropy, mean over examples; multi-label: binary cross entropy, mean over examples and labels
    retrieval        cross entropy of cosines / temperature over the batch's positives, mean of both directions
                     (Henderson et al. 2017; symmetric as in Radford et al. 2021)
    ranking          binary cross entropy of one logit, mean over pairs
    similarity       squared error of the cosine, mean over pairs
AdamW: Loshchilov and Hutter 2019; no decay of biases and norms.  Needs torch and numpy.
"""
import json
import os
import random
import sys

import torch

sys.dont_write_bytecode = True
import reference  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = 20
ADAMW = {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01}
TEMPERATURE = 0.05
WORDS = "red dress blue shoe key board night water proof wire less small large camera lens bag 红色 连衣裙 键盘 size for the".split()


def texts(seed, n, longest=9):
    chance = random.Random(seed)
    return [" ".join(chance.choice(WORDS) for _ in range(chance.randint(1, longest))) for _ in range(n)]


def encoded(model, pairs):
    return [model.tokenizer.encode(a, b, model.limit) for a, b in pairs]


def cross_entropy(logits, target):
    return torch.logsumexp(logits, dim=-1) - logits.gather(-1, target[:, None])[:, 0]


def binary_cross_entropy(logits, target):
    return torch.clamp(logits, min=0) - logits * target + torch.log1p(torch.exp(-logits.abs()))


def embeddings(model, inputs):
    return torch.stack([model.embedding(model.hidden(ids, types)[-1]) for ids, types in inputs])


def class_logits(model, inputs):
    return torch.stack([model.logits(model.hidden(ids, types)[-1]) for ids, types in inputs])


# ---- objectives: (inputs and targets for the file, a function that gives the loss) ----

def masked(model):
    chance = random.Random(5)
    inputs, places = [], []
    for b, (ids, types) in enumerate(encoded(model, [(t, None) for t in texts(1, 6)])):
        ids = list(ids)
        for t in sorted(chance.sample(range(1, len(ids) - 1), max(1, (len(ids) - 2) // 4))):
            places.append({"text": b, "position": t, "target": ids[t]})
            ids[t] = model.tokenizer.mask if chance.random() < 0.8 else chance.randrange(5, model.config["vocab_size"])
        inputs.append((ids, types))

    def loss():
        last = [model.hidden(ids, types)[-1] for ids, types in inputs]
        rows = torch.stack([last[p["text"]][p["position"]] for p in places])
        return cross_entropy(model.mask_logits(rows), torch.tensor([p["target"] for p in places])).mean()
    return inputs, {"places": places}, loss


def classification(model):
    n = len(model.weights["classifier.bias"])
    inputs = encoded(model, [(t, None) for t in texts(2, 7)])
    if model.config.get("problem_type") == "multi_label_classification":
        chance = random.Random(6)
        sets = [sorted(chance.sample(range(n), chance.randint(0, n))) for _ in inputs]
        target = torch.zeros(len(inputs), n, dtype=torch.float64)
        for i, labels in enumerate(sets):
            target[i, labels] = 1
        return inputs, {"labels": sets}, lambda: binary_cross_entropy(class_logits(model, inputs), target).mean()
    labels = [i % n for i in range(len(inputs))]
    return (inputs, {"labels": [[k] for k in labels]},
            lambda: cross_entropy(class_logits(model, inputs), torch.tensor(labels)).mean())


def retrieval(model):
    queries, positives = encoded(model, [(t, None) for t in texts(3, 5)]), encoded(model, [(t, None) for t in texts(4, 5)])

    def loss():
        scores = embeddings(model, queries) @ embeddings(model, positives).T / TEMPERATURE
        target = torch.arange(len(queries))
        return (cross_entropy(scores, target).mean() + cross_entropy(scores.T, target).mean()) / 2
    return queries + positives, {"temperature": TEMPERATURE}, loss


def ranking(model):
    inputs = encoded(model, list(zip(texts(7, 6), texts(8, 6))))
    grades = [0.0, 1.0, 0.5, 0.25, 1.0, 0.0]
    return (inputs, {"grades": grades}, lambda: binary_cross_entropy(
        class_logits(model, inputs)[:, 0], torch.tensor(grades, dtype=torch.float64)).mean())


def similarity(model):
    a, b = encoded(model, [(t, None) for t in texts(9, 5)]), encoded(model, [(t, None) for t in texts(10, 5)])
    scores = [0.0, 1.0, 0.5, 0.75, 0.2]
    return a + b, {"scores": scores}, lambda: (((embeddings(model, a) * embeddings(model, b)).sum(dim=1)
                                                - torch.tensor(scores, dtype=torch.float64)) ** 2).mean()


CASES = [
    ("bert-mlm", masked), ("bert-mlm-untied", masked), ("distilbert-mlm", masked),
    ("bert-classify", classification), ("bert-multilabel", classification), ("distilbert-classify", classification),
    ("bert-mean", retrieval), ("bert-cls", retrieval), ("distilbert-mean", retrieval),
    ("bert-rank", ranking), ("bert-mean", similarity),
]


def decays(name):
    return not name.endswith(".bias") and "orm." not in name


def make(name, objective):
    model = reference.Model(os.path.join(HERE, "models", name))
    inputs, targets, loss = objective(model)
    for w in model.weights.values():
        w.requires_grad_(True)
    first = loss()
    first.backward()
    gradients = {}
    for key, w in sorted(model.weights.items()):
        if w.grad is None or not torch.any(w.grad != 0):
            continue
        flat = w.grad.reshape(-1)
        gradients[key] = [flat.norm().item()] + [flat[i].item() for i in (0, len(flat) // 2, len(flat) - 1)]
    trained = {k: w for k, w in model.weights.items() if w.grad is not None}
    groups = [{"params": [w for k, w in trained.items() if decays(k) == d], "weight_decay": ADAMW["weight_decay"] * d}
              for d in (True, False)]
    optimizer = torch.optim.AdamW(groups, lr=ADAMW["learning_rate"], betas=(ADAMW["beta1"], ADAMW["beta2"]), eps=ADAMW["epsilon"])
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return dict({"model": name, "objective": objective.__name__, "ids": [list(i) for i, _ in inputs],
                 "types": [list(t) for _, t in inputs]}, **targets, loss=first.item(), gradients=gradients, losses=losses)


def main():
    path = os.path.join(HERE, "training.json")
    text = json.dumps({"adamw": ADAMW, "cases": [make(*c) for c in CASES]}, ensure_ascii=False).replace("}, {\"model\"", "},\n{\"model\"") + "\n"
    if "--check" not in sys.argv[1:]:
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return 0
    with open(path, encoding="utf-8") as f:
        return 0 if f.read() == text else "training.json differs from what would be written"


if __name__ == "__main__":
    sys.exit(main())
