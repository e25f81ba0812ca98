#!/usr/bin/python3
"""PyTorch as a peer of bench_engine: peer_torch.py WEIGHTS VOCAB WIDTH LAYERS HEADS FF POSITIONS THREADS.

Commands and answers are those of peer_onnx.mjs.  The network is what a careful user of PyTorch writes for inference: torch's own
layers, batches of texts of nearly one length, a mask only where a batch has padding.
"""
import math
import os
import sys
import time

try:
    import numpy as np
    import torch
    from torch.nn import functional as F
except ImportError as missing:
    sys.exit(f"PyTorch: {missing}")

weights, (V, C, L, H, FF, P, THREADS) = sys.argv[1], map(int, sys.argv[2:9])
torch.set_num_threads(THREADS)
data = torch.from_numpy(np.fromfile(weights, dtype=np.float32))
at = 0


def take(*shape):
    global at
    n = math.prod(shape)
    at += n
    return data[at - n:at].view(*shape)


word, position, kind = take(V, C), take(P, C), take(2, C)
norm = take(C), take(C)
layers = [((take(3 * C, C), take(3 * C)), (take(C, C), take(C)), (take(C), take(C)),
           (take(FF, C), take(FF)), (take(C, FF), take(C)), (take(C), take(C))) for _ in range(L)]
texts, batches = [], []


def forward(ids, mask):
    B, T = ids.shape
    x = F.layer_norm(word[ids] + position[:T] + kind[0], (C,), *norm, 1e-12)
    for qkv, out, norm1, up, down, norm2 in layers:
        q, k, v = F.linear(x, *qkv).view(B, T, 3, H, C // H).permute(2, 0, 3, 1, 4)
        s = q @ k.transpose(-1, -2) * (C // H) ** -0.5
        if mask is not None:
            s = s.masked_fill(mask[:, None, None, :] == 0, -1e30)
        mix = (torch.softmax(s, dim=-1) @ v).transpose(1, 2).reshape(B, T, C)
        x = F.layer_norm(x + F.linear(mix, *out), (C,), *norm1, 1e-12)
        x = F.layer_norm(x + F.linear(F.gelu(F.linear(x, *up)), *down), (C,), *norm2, 1e-12)
    return F.normalize(x.sum(1) if mask is None else (x * mask[:, :, None]).sum(1), dim=-1)


def cut(size):
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = []
    for i in range(0, len(order), size):
        members = order[i:i + size]
        longest = max(len(texts[t]) for t in members)
        ids, mask = torch.zeros(len(members), longest, dtype=torch.long), torch.zeros(len(members), longest)
        for row, t in enumerate(members):
            ids[row, :len(texts[t])] = torch.from_numpy(texts[t])
            mask[row, :len(texts[t])] = 1
        out.append((members, ids, None if mask.all() else mask))
    return out


def one_pass(keep=None):
    for members, ids, mask in batches:
        y = forward(ids, mask)
        if keep is not None:
            keep[members] = y.numpy()


def timed():
    wall, cpu = time.perf_counter(), time.process_time()
    one_pass()
    return time.perf_counter() - wall, time.process_time() - cpu


def load(path):
    global texts, batches
    every = np.fromfile(path, dtype=np.int32)
    texts, at = [], 1
    for _ in range(every[0]):
        texts.append(every[at + 1:at + 1 + every[at]].astype(np.int64))
        at += 1 + every[at]
    best = None
    for size in (1, 4, 16, 32):
        if size <= len(texts):
            batches = cut(size)
            one_pass()
            cpu = timed()[1]
            if best is None or cpu < best[0]:
                best = cpu, size
    batches = cut(best[1])
    return "batch %d" % best[1]


def run(times):
    both = [timed() for _ in range(int(times))]
    walls, cpus = sorted(w for w, _ in both), sorted(c for _, c in both)
    return "%.9f %.9f %.9f" % (walls[len(walls) // 2], walls[len(walls) * 99 // 100], cpus[len(cpus) // 2])


def write(path):
    out = np.zeros((len(texts), C), dtype=np.float32)
    one_pass(out)
    out.tofile(path)
    return "ok"


with torch.inference_mode():
    print("ready", flush=True)
    for line in sys.stdin:
        command, argument = line.split()
        print({"load": load, "run": run, "write": write}[command](argument), flush=True)
os._exit(0)
