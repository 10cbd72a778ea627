"""What of `keras.ops` means the same as a function of JAX: nearly always what has its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax import numpy as jnp
from keras import ops

_OTHERS = {"dtype", "identity", "leaky_relu", "unique", "vectorize"}
"""Names of which JAX and Keras make different functions."""


def _leaky_relu(x, negative_slope=0.01):
    return ops.leaky_relu(x, negative_slope)


def _scale_and_translate(
    image, shape, spatial_dims, scale, translation, method, antialias=True, precision=None
):
    if None in shape:
        raise TypeError(f"scale_and_translate of JAX with shape={shape}")
    return ops.image.scale_and_translate(
        image, shape, scale, translation, spatial_dims, method, antialias
    )


def _found() -> list[tuple[Any, str, Callable]]:
    found = [
        (jax.nn, "leaky_relu", _leaky_relu),
        (jax.image, "scale_and_translate", _scale_and_translate),
        (jax.lax, "stop_gradient", ops.stop_gradient),
        (jax.lax, "rsqrt", ops.rsqrt),
    ]
    for module in (jnp, jax.nn):
        named = {name: getattr(ops, name, None) for name in dir(module)}
        found += [(module, n, f) for n, f in named.items() if callable(f) and n not in _OTHERS]
    return found


SYNONYMS = _found()
"""See `backend`."""
