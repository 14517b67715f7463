#!/usr/bin/env python3
"""The coefficients of erf in cl/common.cl and lib/device/cpu_math.c.

erf(x) = x P(s) / Q(s), s = min(x, 4)^2, with P of degree 6 and Q of degree 4 and Q(0) = 1: the smallest
maximum error over 0..4, by linear least squares with weights that follow the error (Lawson 1961) and
the denominator of the round before (Sanathanan & Koerner 1963). Prints them, highest power first, and
the error of evaluating them in f32.
"""
import numpy as np
from scipy.special import erf

P, Q = 6, 4
x = 2 * (1 - np.cos(np.pi * (np.arange(4000) + 0.5) / 4000))  # Chebyshev points of 0..4
s, want = x * x, erf(x)
weight, bottom = np.ones_like(x), np.ones_like(x)
best = (np.inf, None)
for _ in range(400):
    rows = np.concatenate([x[:, None] * s[:, None] ** np.arange(P + 1), -want[:, None] * s[:, None] ** np.arange(1, Q + 1)], 1)
    scale = np.sqrt(weight) / bottom
    size = np.abs(rows).max(0)
    c = np.linalg.lstsq(rows / size * scale[:, None], want * scale, rcond=None)[0] / size
    p, q = c[:P + 1][::-1], np.append(c[P + 1:][::-1], 1)
    bottom = np.polyval(q, s)
    error = np.abs(x * np.polyval(p, s) / bottom - want)
    if error.max() < best[0]:
        best = (error.max(), (p, q))
    weight = weight * (error + 1e-12)
    weight /= weight.max()

p, q = (np.float32(k) for k in best[1])
print("top   ", *(f"{v:.9g}f" for v in p))
print("bottom", *(f"{v:.9g}f" for v in q))
t = np.linspace(-6, 6, 200001).astype(np.float32)
u = np.clip(t, np.float32(-4), np.float32(4))
v, top, low = u * u, np.float32(0) * u, np.float32(0) * u
for k in p:
    top = top * v + k
for k in q:
    low = low * v + k
print("largest error in f32:", np.abs(u * top / low - erf(t.astype(np.float64))).max(), "in exact arithmetic:", best[0])
