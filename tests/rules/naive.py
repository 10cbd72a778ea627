"""Relevance by the book: explicit Jacobians and each rule's formula, in numpy float64.

Nothing here is fast, and nothing is shared with the library. A linear layer becomes a matrix J,
one row per output number and one column per input number, written entry by entry from the layer's
weights and settings. A rule divides the relevance R_j of an output among contributions c_ji (most
often J_ji x_i), as its formula says: R_i = Σ_j c_ji R_j / z_j, and nothing where z_j is zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np


@dataclass(frozen=True)
class Affine:
    """z = J x + b on flattened samples; `connected` tells which entries of J a kernel fills."""

    J: np.ndarray
    connected: np.ndarray
    b: np.ndarray

    def __call__(self, x):
        return flat(x) @ self.J.T + self.b

    def then(self, other: Affine) -> Affine:
        """`other` after this one, as one map; either of the two is diagonal."""
        connected = other.connected.astype(int) @ self.connected.astype(int) > 0
        return Affine(other.J @ self.J, connected, other.J @ self.b + other.b)


# Layers


def affine_maps(layer, shape) -> list[Affine]:
    """The linear maps a layer is made of, for inputs of `shape`: two if it is separable."""
    name = type(layer).__name__
    if name.startswith("Separable"):
        size = layer.kernel_size
        first = _affine(lambda k: _depthwise(layer, k, shape), array(layer.depthwise_kernel), shape)
        middle = (*_sizes(layer, shape), array(layer.depthwise_kernel)[(0,) * len(size)].size)
        kernel, bias = array(layer.pointwise_kernel)[(0,) * len(size)], layer.bias
        return [first, _affine(lambda k: _dense(k, middle), kernel, middle, bias)]
    if name == "BatchNormalization":
        std = np.sqrt(array(layer.moving_variance) + layer.epsilon)
        scale = (1.0 if layer.gamma is None else array(layer.gamma)) / std
        shift = (0.0 if layer.beta is None else array(layer.beta)) - scale * array(
            layer.moving_mean
        )
        along = [-1 if i == layer.axis % (len(shape) + 1) else 1 for i in range(1, len(shape) + 1)]
        bias = np.reshape(shift, along)
        return [_affine(lambda k: _diagonal(np.reshape(k, along), shape), scale, shape, bias)]
    build = next(build for names, build in _JACOBIANS.items() if name in names.split())
    return [_affine(lambda k: build(layer, k, shape), array(layer.kernel), shape, layer.bias)]


def _affine(build, kernel, shape, bias=None) -> Affine:
    entries = build(kernel)
    outputs = entries.shape[: entries.ndim - len(shape)]
    matrix = (prod(outputs), prod(shape))
    b = np.zeros(outputs) if bias is None else np.broadcast_to(array(bias), outputs)
    filled = build(np.ones_like(kernel)) != 0
    return Affine(entries.reshape(matrix), filled.reshape(matrix), b.ravel())


def _dense(kernel, shape):
    J = np.zeros((*shape[:-1], kernel.shape[1], *shape))
    for at in np.ndindex(*shape[:-1]):
        J[(*at, slice(None), *at)] = kernel.T
    return J


def _diagonal(scale, shape):
    return np.diag(np.broadcast_to(scale, shape).ravel()).reshape(*shape, *shape)


def _convolution(layer, kernel, shape):
    sizes, before = _sizes(layer, shape), _before(layer, shape)
    return correlate(kernel, shape, sizes, before, layer.strides, layer.dilation_rate, layer.groups)


def _depthwise(layer, kernel, shape):
    """Output channel c * multiplier + m reads input channel c alone: one group per channel."""
    grouped = kernel.reshape(*kernel.shape[:-2], 1, -1)
    sizes, before = _sizes(layer, shape), _before(layer, shape)
    return correlate(
        grouped, shape, sizes, before, layer.strides, layer.dilation_rate, groups=shape[-1]
    )


def _transposed(layer, kernel, shape):
    """The transpose of the convolution that maps this layer's output to its input."""
    given = layer.output_padding or (None,) * (len(shape) - 1)
    sizes, before = [], []
    windows = zip(_extents(layer), layer.strides, given, shape[:-1], strict=True)
    for k, s, extra, n in windows:
        if layer.padding == "valid":
            sizes.append((n - 1) * s + k + (max(s - k, 0) if extra is None else extra))
            before.append(0)
        else:
            sizes.append(n * s if extra is None else (n - 1) * s + k % 2 + extra)
            before.append(max((n - 1) * s + k - sizes[-1], 0) // 2)
    outputs = (*sizes, layer.filters)
    J = correlate(kernel, outputs, shape[:-1], before, layer.strides, layer.dilation_rate)
    return np.moveaxis(J, range(len(shape)), range(-len(shape), 0))


def _einsum(layer, kernel, shape):
    rank = len(shape) + 1
    equation = layer.equation.replace(" ", "")
    elided = rank - len(equation.split(",")[0].replace("...", ""))
    terms, outputs = equation.replace("...", "ABCDEFG"[:elided]).split("->")
    inputs, kernels = terms.split(",")
    sizes = dict(zip(inputs[1:], shape, strict=True)) | dict(
        zip(kernels, kernel.shape, strict=True)
    )
    J = np.zeros([sizes[a] for a in outputs[1:] + inputs[1:]])
    for values in product(*map(range, sizes.values())):
        at = dict(zip(sizes, values, strict=True))
        entry = tuple(at[a] for a in outputs[1:] + inputs[1:])
        J[entry] += kernel[tuple(at[a] for a in kernels)]
    return J


_JACOBIANS = {
    "Dense": lambda layer, kernel, shape: _dense(kernel, shape),
    "EinsumDense": _einsum,
    "Conv1D Conv2D Conv3D": _convolution,
    "DepthwiseConv1D DepthwiseConv2D": _depthwise,
    "Conv1DTranspose Conv2DTranspose Conv3DTranspose": _transposed,
}


def correlate(kernel, shape, sizes, before, strides, dilation, groups=1):
    """The Jacobian of a cross-correlation of channels-last inputs, window by window.

    Args:
        kernel: Of shape `(*window, channels / groups, filters)`.
        shape: The input's, `(*spatial, channels)`.
        sizes: Of the output's spatial axes.
        before: How many padded positions come before the first one, for each axis.
    """
    *window, channels, filters = kernel.shape
    per_group = filters // groups
    J = np.zeros((*sizes, filters, *shape))
    for o, t, g in product(np.ndindex(*sizes), np.ndindex(*window), range(groups)):
        i = tuple(np.multiply(o, strides) + np.multiply(t, dilation) - before)
        if all(0 <= at < size for at, size in zip(i, shape, strict=False)):
            written = slice(g * per_group, (g + 1) * per_group)
            read = slice(g * channels, (g + 1) * channels)
            J[(*o, written, *i, read)] = kernel[t][:, written].T
    return J


def pooling(shape, window, strides, padding):
    """Which input numbers each pooling window holds, as a matrix of zeros and ones."""
    spec = list(zip(window, strides, shape, strict=False))
    sizes = [_size(k, s, n, padding) for k, s, n in spec]
    before = [_padded(k, s, n, padding) for k, s, n in spec]
    ones = np.ones((*window, 1, shape[-1]))
    J = correlate(ones, shape, sizes, before, strides, (1,) * len(window), groups=shape[-1])
    return J.reshape(-1, prod(shape))


def moves(function, *shapes):
    """What a function that only moves numbers does to inputs of the given shapes, as a matrix.

    Args:
        function: Maps arrays of indices to one such array; -1 stands for a number out of nowhere.
    """
    ends = np.cumsum([prod(shape) for shape in shapes])
    indices = [
        np.arange(end - prod(s), end).reshape(s) for s, end in zip(shapes, ends, strict=True)
    ]
    read = np.ravel(function(*indices))
    J = np.zeros((read.size, ends[-1]))
    J[np.flatnonzero(read >= 0), read[read >= 0]] = 1
    return J


def normalization(x, groups, gamma, beta, epsilon, centred=True, total=False) -> list[Affine]:
    """gamma (x - mean) / sqrt(variance + epsilon) + beta for each sample, sqrt being a constant.

    Args:
        groups: A label for each input number; statistics are those of numbers that share it.
        centred: Whether the mean is subtracted, and the variance is one about it.
        total: Whether the sum of squares stands in place of their mean.
    """
    same = np.equal.outer(np.ravel(groups), np.ravel(groups)).astype(float)
    average = same / same.sum(1)
    centre = np.eye(len(same)) - average * centred
    squares = flat(x) @ centre.T
    squares = squares**2 @ (same if total else average).T
    scales = np.ravel(gamma) / np.sqrt(squares + epsilon)
    return [Affine(centre * scale[:, None], centre != 0, np.ravel(beta)) for scale in scales]


def _extents(layer):
    return [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]


def _sizes(layer, shape):
    spec = zip(_extents(layer), layer.strides, shape, strict=False)
    return [_size(k, s, n, layer.padding) for k, s, n in spec]


def _before(layer, shape):
    spec = zip(_extents(layer), layer.strides, shape, strict=False)
    return [_padded(k, s, n, layer.padding) for k, s, n in spec]


def _size(k, s, n, padding):
    return (n - k) // s + 1 if padding == "valid" else -(-n // s)


def _padded(k, s, n, padding):
    """Zeros before the first position: all of them if causal, the smaller half if 'same'."""
    if padding == "causal":
        return k - 1
    return max((-(-n // s) - 1) * s + k - n, 0) // 2 if padding == "same" else 0


# Rules. Most take an Affine, flat inputs (samples, inputs) and relevances (samples, outputs).


def forward(maps, x):
    """What the maps make of x, one after the other."""
    for layer in maps:
        x = layer(x)
    return flat(x)


def backward(maps, rule, x, r):
    """The rule at each of the maps in turn, from the last to the first."""
    inputs = [flat(x)]
    for layer in maps[:-1]:
        inputs.append(layer(inputs[-1]))
    for layer, at in zip(maps[::-1], inputs[::-1], strict=True):
        r = rule(layer, at, flat(r))
    return r


def spread(parts, z, r):
    """R_i = Σ_j c_ji R_j / z_j, and nothing where z_j is exactly zero."""
    s = np.divide(r, z, out=np.zeros_like(r), where=z != 0)
    return np.einsum("nji,nj->ni", parts, s)


def z(layer, x, r, bias=True):
    c = layer.J * x[:, None]
    return spread(c, c.sum(-1) + bias * layer.b, r)


def epsilon(layer, x, r, epsilon, bias=True):
    c = layer.J * x[:, None]
    z = c.sum(-1) + bias * layer.b
    return spread(c, z + epsilon * np.where(z >= 0, 1, -1), r)


def w_square(layer, x, r):
    c = layer.J**2 + 0 * x[:, None]
    return spread(c, c.sum(-1), r)


def flat_rule(layer, x, r):
    c = layer.connected + 0 * x[:, None]
    return spread(c, c.sum(-1), r)


def alpha_beta(layer, x, r, alpha, beta, bias=True):
    up, down = signed_parts(layer, x)
    z_up = up.sum(-1) + bias * plus(layer.b)
    z_down = down.sum(-1) + bias * minus(layer.b)
    return alpha * spread(up, z_up, r) - beta * spread(down, z_down, r)


def z_plus_fast(layer, x, r):
    c = plus(layer.J) * x[:, None]
    return spread(c, c.sum(-1), r)


def alpha_beta_x(layer, x, r, alpha=2, beta=1):
    up, down = plus(layer.J) * plus(x)[:, None], minus(layer.J) * plus(x)[:, None]
    return alpha * spread(up, up.sum(-1) + plus(layer.b), r) - beta * spread(
        down, down.sum(-1) + minus(layer.b), r
    )


def gamma(layer, x, r, gamma, bias=True):
    c, b = layer.J * x[:, None], bias * layer.b
    z = c.sum(-1) + b
    up, down = signed_parts(layer, x)
    up, down = c + gamma * up, c + gamma * down
    z_up, z_down = up.sum(-1) + b + gamma * plus(b), down.sum(-1) + b + gamma * minus(b)
    return spread(up, z_up, r * (z > 0)) + spread(down, z_down, r * (z < 0))


def bounded(layer, x, r, low, high):
    """`low` and `high`: numbers, or one for each input."""
    low, high = (np.broadcast_to(bound, x.shape[1:]) for bound in (low, high))
    c = layer.J * x[:, None] - plus(layer.J) * low - minus(layer.J) * high
    return spread(c, c.sum(-1), r)


def winner(choices, x, r, sign=1):
    """All relevance of an output to the largest (`sign` -1: the smallest) of its `choices`."""
    values = np.where(choices > 0, sign * x[:, None], -np.inf)
    won = values == values.max(-1, keepdims=True)
    return np.einsum("nji,nj->ni", won, r)


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def softmax_rule(x, r, axis=-1):
    """R_i = x_i (R_i - s_i Σ_j R_j), and nothing for what is masked."""
    return np.where(np.isneginf(x), 0, x) * (r - softmax(x, axis) * r.sum(axis, keepdims=True))


def product_rule(equation, a, b, r, shares=(0.5, 0.5)):
    """R_ik = Σ_j a_ik b_kj R_ij / z_ij for a, in an einsum; its share of it, and b's likewise."""
    one, other, out = equation.replace("->", ",").split(",")
    z = np.einsum(equation, a, b)
    s = np.divide(r, z, out=np.zeros_like(z), where=z != 0)
    parts = (
        a * np.einsum(f"{other},{out}->{one}", b, s),
        b * np.einsum(f"{one},{out}->{other}", a, s),
    )
    return [share * part for share, part in zip(shares, parts, strict=True)]


def attention(q, k, v, allowed, scale, bias=0.0):
    """Logits (as seen by the softmax), weights and output of attention, heads before tokens."""
    logits = np.einsum("bnth,bnsh->bnts", q, k) * scale + bias
    weights = softmax(np.where(allowed, logits, -np.inf))
    return logits, weights, np.einsum("bnts,bnsh->bnth", weights, v)


def attention_rule(q, k, v, allowed, scale, r, bias=0.0, constant_weights=False):
    """Relevance of query, key, value and bias, step by step through products and softmax."""
    logits, weights, _ = attention(q, k, v, allowed, scale, bias)
    shares = (0, 1) if constant_weights else (0.5, 0.5)
    r_weights, r_value = product_rule("bnts,bnsh->bnth", weights, v, r, shares)
    r_logits = softmax_rule(np.where(allowed, logits, -np.inf), r_weights)
    scores = np.einsum("bnth,bnsh->bnts", q, k)
    s = np.divide(r_logits, logits, out=np.zeros_like(logits), where=logits != 0)
    r_query, r_key = product_rule("bnth,bnsh->bnts", q, k, s * scores * scale)
    return r_query, r_key, r_value, bias * s


def signed_parts(layer, x):
    """The contributions W⁺x⁺ + W⁻x⁻ and W⁺x⁻ + W⁻x⁺."""
    x = x[:, None]
    up = plus(layer.J) * plus(x) + minus(layer.J) * minus(x)
    return up, plus(layer.J) * minus(x) + minus(layer.J) * plus(x)


def plus(a):
    return np.maximum(a, 0)


def minus(a):
    return np.minimum(a, 0)


# Data


def array(values):
    return np.asarray(values, "float64")


def flat(x):
    return array(x).reshape(len(x), -1)


def softplus(x):
    return np.logaddexp(0, x)


def grid(rng, *shape):
    """Halves between -1.5 and 1.5, zero among them: sums of their products are exact in float32.

    So signed sums, which some rules divide by, are either exactly zero or far from it.
    """
    return rng.integers(-3, 4, shape) / 2


def samples(rng, *shape, count=6):
    """Inputs of both signs with zeros among them; the first is all zeros, the second >= 0."""
    x = grid(rng, count, *shape)
    x[0], x[1] = 0, abs(x[1])
    return x


def signed(rng, *shape):
    """Numbers of both signs, far from zero, that float32 holds exactly."""
    return rng.integers(128, 385, shape) * rng.choice([-1, 1], shape) / 256


def weights(model, rng, draw=grid):
    """New values for all weights of a model, of both signs except for variances."""
    shapes = [(v.path.split("/")[-1], v.shape) for v in model.weights]
    return [
        rng.uniform(0.5, 2, shape) if "variance" in name else draw(rng, *shape)
        for name, shape in shapes
    ]


def error(found, expected):
    """The largest deviation of each sample, relative to its largest expected value."""
    found, expected = flat(found), flat(expected)
    off, scale = abs(found - expected).max(1), abs(expected).max(1)
    return np.where(off == 0, 0, off / np.where(scale == 0, 1e-300, scale)).max()


def assert_close(found, expected, tolerance=1e-5):
    """Whether two batches agree up to the shape of their samples; NaN agrees with nothing."""
    assert np.isfinite(found).all()
    assert error(found, expected) <= tolerance
