"""Relevance and multipliers through recurrent layers by the book: loops over time in numpy float64.

One sample at a time, from the formulas of the cells; nothing is shared with the library. What
arrives is given at each output h_t: `(time, units)`. Points in time that are masked are not run.
"""

from __future__ import annotations

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def divided(a, b):
    """a / b, and zero where b is zero."""
    return np.where(b == 0, 0.0, a / np.where(b == 0, 1.0, b))


def linear(x, W, b, R, epsilon):
    """Relevance of x, given that of x W + b: LRP-ε, or LRP-z for ε = 0."""
    found = np.zeros_like(x)
    z = x @ W + b
    for i in range(len(x)):
        for j in range(len(z)):
            stable = z[j] + epsilon * (1.0 if z[j] >= 0 else -1.0)
            found[i] += 0.0 if stable == 0 else x[i] * W[i, j] * R[j] / stable
    return found


def summands(parts, R):
    """Relevance of the parts of a sum."""
    z = sum(parts)
    return [divided(part, z) * R for part in parts]


def simple_rnn(x, weights, arriving, epsilon=0.0, exists=None):
    """h = tanh(x W + b + h' U)."""
    W, U, b = weights
    exists = np.ones(len(x), bool) if exists is None else exists
    h, before = np.zeros(U.shape[0]), {}
    for t in np.flatnonzero(exists):
        before[t] = h
        h = np.tanh(x[t] @ W + b + h @ U)
    R, found = np.zeros_like(h), np.zeros_like(x)
    for t in range(len(x))[::-1]:
        R = R + arriving[t]
        if not exists[t]:
            continue
        R_x, R_h = summands([x[t] @ W + b, before[t] @ U], R)
        found[t] = linear(x[t], W, b, R_x, epsilon)
        R = linear(before[t], U, 0.0, R_h, epsilon)
    return found


def lstm(x, weights, arriving, epsilon=0.0, exists=None):
    """c = f c' + i g, h = o tanh(c); the gates i, f and o get nothing."""
    W, U, b = weights
    units = U.shape[0]
    exists = np.ones(len(x), bool) if exists is None else exists
    h, c, known = np.zeros(units), np.zeros(units), {}
    for t in np.flatnonzero(exists):
        z = x[t] @ W + h @ U + b
        i, f, g, o = (z[k * units : (k + 1) * units] for k in range(4))
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        known[t] = h, c, i, f, g
        c = f * c + i * g
        h = o * np.tanh(c)
    of_g = slice(2 * units, 3 * units)
    R_h, R_c, found = np.zeros(units), np.zeros(units), np.zeros_like(x)
    for t in range(len(x))[::-1]:
        R_h = R_h + arriving[t]
        if not exists[t]:
            continue
        h, c, i, f, g = known[t]
        R_c, R_g = summands([f * c, i * g], R_c + R_h)
        R_x, R_h, _ = summands([x[t] @ W[:, of_g], h @ U[:, of_g], b[of_g]], R_g)
        found[t] = linear(x[t], W[:, of_g], 0.0, R_x, epsilon)
        R_h = linear(h, U[:, of_g], 0.0, R_h, epsilon)
    return found


def gru(x, weights, arriving, epsilon=0.0, exists=None):
    """h = z h' + (1 - z) n, where r is applied after or before the product with U.

    After: n = tanh(x W + b + r (h' U + b_u)); before: n = tanh(x W + b + (r h') U).
    """
    W, U, b = weights
    units, after = U.shape[0], b.ndim == 2
    b, b_u = b if after else (b, np.zeros(3 * units))
    exists = np.ones(len(x), bool) if exists is None else exists
    Z, N = slice(0, units), slice(2 * units, None)
    R_of = slice(units, 2 * units)
    h, known = np.zeros(units), {}
    for t in np.flatnonzero(exists):
        z, r = (sigmoid(x[t] @ W[:, k] + b[k] + h @ U[:, k] + b_u[k]) for k in (Z, R_of))
        inner = r * (h @ U[:, N] + b_u[N]) if after else (r * h) @ U[:, N]
        n = np.tanh(x[t] @ W[:, N] + b[N] + inner)
        known[t] = h, z, r, inner, n
        h = z * h + (1 - z) * n
    R, found = np.zeros(units), np.zeros_like(x)
    for t in range(len(x))[::-1]:
        R = R + arriving[t]
        if not exists[t]:
            continue
        h, z, r, inner, n = known[t]
        R_kept, R_n = summands([z * h, (1 - z) * n], R)
        R_x, R_inner = summands([x[t] @ W[:, N] + b[N], inner], R_n)
        found[t] = linear(x[t], W[:, N], b[N], R_x, epsilon)
        by = (h, b_u[N]) if after else (r * h, 0.0)
        R = R_kept + linear(by[0], U[:, N], by[1], R_inner, epsilon)
    return found


def lstm_multipliers(x, reference, weights, arriving):
    """DeepLIFT's Rescale rule through an LSTM: m_x, of the same weights at x and the reference."""
    W, U, b = weights
    units = U.shape[0]

    def run(x):
        h, c, steps = np.zeros(units), np.zeros(units), []
        for t in range(len(x)):
            zs = [(x[t] @ W + h @ U + b)[k * units : (k + 1) * units] for k in range(4)]
            i, f, g, o = sigmoid(zs[0]), sigmoid(zs[1]), np.tanh(zs[2]), sigmoid(zs[3])
            steps.append({"z": zs, "ifgo": (i, f, g, o), "before": c})
            c = f * c + i * g
            steps[-1] |= {"c": c, "tanh": np.tanh(c)}
            h = o * np.tanh(c)
        return steps

    def mean(name):
        return (now[name] + then[name]) / 2

    def slope(y, y0, z, z0):
        return (y - y0) / (z - z0)

    there, here = run(reference), run(x)
    m_h, m_c, found = np.zeros(units), np.zeros(units), np.zeros_like(x)
    for t in range(len(x))[::-1]:
        now, then = here[t], there[t]
        m_h = m_h + arriving[t]
        i, f, g, o = ((a + a0) / 2 for a, a0 in zip(now["ifgo"], then["ifgo"], strict=True))
        m_o = m_h * mean("tanh")
        m_c = m_c + m_h * o * slope(now["tanh"], then["tanh"], now["c"], then["c"])
        m_z = []
        for k, m in enumerate((m_c * g, m_c * mean("before"), m_c * i, m_o)):
            values = (now["ifgo"][k], then["ifgo"][k], now["z"][k], then["z"][k])
            m_z.append(m * slope(*values))
        m_c = m_c * f
        found[t], m_h = np.concatenate(m_z) @ W.T, np.concatenate(m_z) @ U.T
    return found
