#!/usr/bin/env python3
"""Figures for test/unit/test_privacy.c, by exact sums: make_privacy.py

The Renyi divergence of the Poisson-subsampled Gaussian mechanism at integer orders is a finite sum; here it is summed with 60
digits, without logarithms of the terms, so that it has nothing in common with the engine's way but the formula.  Two conversions
to (epsilon, delta): Canonne, Kamath, Steinke 2020 (what the engine uses) and the older one of Mironov 2017, by which the published
figures were made.

Columns: noise, rate, steps, delta, epsilon, its order, epsilon by Mironov 2017.
"""
from decimal import Decimal, getcontext
from math import comb

getcontext().prec = 60
CASES = [                       # noise, rate as a fraction, steps, delta
    ("4", (1, 100), 10000, "1e-5"),       # Abadi et al. 2016, section 3.1: about 1.26
    ("1.1", (256, 60000), 14062, "1e-5"),  # MNIST tutorial of TensorFlow Privacy, 60 epochs: about 3.0
    ("1.3", (256, 60000), 3515, "1e-5"),
    ("1", (1, 1), 1, "1e-5"),              # no sampling: a / 2 s^2
    ("10", (1, 1), 100, "1e-6"),
    ("0.7", (1, 50), 500, "1e-6"),
    ("0.5", (1, 1000), 1000, "1e-7"),
    ("2.5", (1, 10), 2000, "1e-4"),
    ("50", (1, 2), 10, "1e-5"),
]


def divergence(s, q, a):
    total = Decimal(0)
    for k in range(a if q == 1 else 0, a + 1):
        left = 1 if k == a else (1 - q) ** (a - k)
        total += comb(a, k) * left * q ** k * (Decimal(k * (k - 1)) / (2 * s * s)).exp()
    return total.ln() / (a - 1)


def main():
    for noise, (p, r), steps, delta in CASES:
        s, q, d = Decimal(noise), Decimal(p) / Decimal(r), Decimal(delta)
        new, old = [], []
        for a in range(2, 257):
            rdp = steps * divergence(s, q, a)
            new.append((rdp + (Decimal(a - 1) / a).ln() - (d.ln() + Decimal(a).ln()) / (a - 1), a))
            old.append((rdp - d.ln() / (a - 1), a))
        epsilon, order = min(new)
        print(f"{noise}\t{p}/{r}\t{steps}\t{delta}\t{max(epsilon, Decimal(0)):.9f}\t{order}\t{min(old)[0]:.9f}")


main()
