#!/usr/bin/python3
"""The step that bench_train measures, in PyTorch: MiniLM-L6 shape, 32 x 128 tokens, masked-language modelling, AdamW, fp32.

    train_torch.py [STEPS] [THREADS]        prints: seconds of the median step, MB of memory at the most

The network is what a careful user of PyTorch writes: torch's own layers, attention as two batched products over a padded
batch without padding, logits at masked positions only, decoder tied to the embeddings.
"""
import resource
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

V, C, L, H, FF, T, B = 30522, 384, 6, 12, 1536, 128, 32


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.up, self.down = nn.Linear(C, FF), nn.Linear(FF, C)
        self.norm1, self.norm2 = nn.LayerNorm(C, eps=1e-12), nn.LayerNorm(C, eps=1e-12)

    def forward(self, x):
        q, k, v = self.qkv(x).view(B, T, 3, H, C // H).permute(2, 0, 3, 1, 4)
        p = torch.softmax(q @ k.transpose(-1, -2) * (C // H) ** -0.5, dim=-1)
        mix = (p @ v).transpose(1, 2).reshape(B, T, C)
        x = self.norm1(x + self.out(mix))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.word, self.position, self.kind = nn.Embedding(V, C), nn.Embedding(512, C), nn.Embedding(2, C)
        self.norm, self.blocks = nn.LayerNorm(C, eps=1e-12), nn.ModuleList(Block() for _ in range(L))
        self.dense, self.head_norm, self.bias = nn.Linear(C, C), nn.LayerNorm(C, eps=1e-12), nn.Parameter(torch.zeros(V))
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids, places, target):
        x = self.word(ids) + self.position(torch.arange(T))[None] + self.kind(torch.zeros_like(ids))
        x = self.norm(x)
        for block in self.blocks:
            x = block(x)
        h = self.head_norm(F.gelu(self.dense(x.reshape(B * T, C)[places])))
        return F.cross_entropy(F.linear(h, self.word.weight, self.bias), target)


def main():
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    torch.set_num_threads(int(sys.argv[2]) if len(sys.argv) > 2 else 2)
    torch.manual_seed(5)
    model = Model()
    plain = [p for p in model.parameters() if p.dim() < 2]
    decayed = [p for p in model.parameters() if p.dim() == 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=1e-4)
    seconds = []
    for _ in range(steps + 1):
        ids = torch.randint(73, V, (B, T))
        places = torch.randperm(B * T)[:B * T * 15 // 100].sort().values
        target = ids.reshape(-1)[places]
        start = time.monotonic()
        loss = model(ids, places, target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.monotonic() - start)
    print("%.4f %.0f" % (statistics.median(seconds[1:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6))


if __name__ == "__main__":
    main()
