"""The helpers of iNNvestigate: arrays in, arrays out. None changes its argument."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np

from innvestigate.utils.arguments import (
    check_array,
    check_choice,
    check_flags,
    check_number,
    check_whole,
    numbers_of,
)
from innvestigate.utils.words import shown
from innvestigate.visualization.scales import check_colour_map


def project(
    X: np.ndarray,
    output_range: tuple[float, float] = (0, 1),
    absmax: Any = None,
    input_is_positive_only: bool = False,
) -> np.ndarray:
    """Map values linearly to a range, zero to its middle.

    `low + (high - low) * clip((X / absmax + 1) / 2, 0, 1)`, or `clip(X / absmax, 0, 1)` for
    positive values only. Samples whose absmax is zero are not divided.

    Args:
        X: Array `(batch, ...)`.
        output_range: Lowest and highest value of the result.
        absmax: What becomes the end of the range: a number, or one for each sample. By default
            the largest absolute value of each sample.
        input_is_positive_only: Whether zero becomes the lowest value instead of the middle.

    Returns:
        A new array of the shape of X.

    Raises:
        ValueError: If absmax is neither one number nor one for each sample, or an array is not
            one of finite numbers.
    """
    X = _floats(X, 1)
    low, high = _pair("output_range", output_range)
    check_flags(input_is_positive_only=input_is_positive_only)
    if absmax is None:
        absmax = np.abs(X).max(axis=tuple(range(1, X.ndim)))
    absmax = check_array("absmax", absmax).astype("float64")
    if absmax.shape not in ((), (1,), X.shape[:1]):
        raise ValueError(
            f"absmax must be a number, or one for each of the {len(X)} samples. "
            f"Received the shape: {absmax.shape}."
        )
    divisor = np.where(absmax == 0, 1, absmax)
    X = X / divisor.reshape(-1, *[1] * (X.ndim - 1)).astype(X.dtype)
    X = X if input_is_positive_only else (X + 1) / 2
    return low + X.clip(0, 1) * (high - low)


def heatmap(
    X: np.ndarray,
    cmap_type: str = "seismic",
    reduce_op: str = "sum",
    reduce_axis: int = -1,
    alpha_cmap: bool = False,
    **kwargs: Any,
) -> np.ndarray:
    """Turn the relevance of images into the colours of a map.

    Args:
        X: Array `(batch, height, width, channels)`.
        cmap_type: Name of a matplotlib colour map.
        reduce_op: What becomes of the channels: "sum", or "absmax" for the value that is furthest
            from zero, with its sign.
        reduce_axis: Axis of the channels.
        alpha_cmap: Whether the colours have an opacity as a fourth channel.
        **kwargs: Arguments of `project`.

    Returns:
        float32 array of the shape of X, with 3 or 4 channels in [0, 1] at `reduce_axis`.

    Raises:
        ValueError: If `reduce_op` or the colour map is unknown, or X does not hold images.
    """
    X = _floats(X, 2)
    check_choice("reduce_op", reduce_op, ("sum", "absmax"))
    check_colour_map("cmap_type", cmap_type)
    check_flags(alpha_cmap=alpha_cmap)
    reduce_axis = check_whole("reduce_axis", reduce_axis, -X.ndim, X.ndim - 1)
    if reduce_op == "sum":
        reduced = X.sum(axis=reduce_axis)
    else:
        furthest = np.expand_dims(np.abs(X).argmax(axis=reduce_axis), reduce_axis)
        reduced = np.take_along_axis(X, furthest, reduce_axis).squeeze(reduce_axis)
    levels = project(reduced, output_range=(0, 255), **kwargs).astype("int64")
    colours = mpl.colormaps[cmap_type](levels)[..., : 4 if alpha_cmap else 3]
    return np.moveaxis(colours, -1, reduce_axis).astype("float32")


def graymap(X: np.ndarray, **kwargs: Any) -> np.ndarray:
    """Turn the relevance of images into grey levels: `heatmap` with the colour map "gray"."""
    return heatmap(X, cmap_type="gray", **kwargs)


def gamma(
    X: np.ndarray, gamma: float = 0.5, minamp: float = 0, maxamp: float | None = None
) -> np.ndarray:
    """Raise distances from a centre to a power, on each side of it.

    `minamp + maxamp * sign(d) * abs(d / maxamp) ** gamma` with `d = X - minamp`. An exponent below
    one makes small values visible.

    Args:
        X: Array of any shape.
        gamma: The exponent.
        minamp: The centre.
        maxamp: The distance that stays as it is. By default the largest one.

    Returns:
        A new array of the shape of X.

    Raises:
        ValueError: If an argument is no finite number, or the exponent is not positive.
    """
    X = _floats(X)
    gamma = check_number("gamma", gamma, above=0)
    minamp = check_number("minamp", minamp)
    distance = X - minamp
    largest = np.abs(distance).max()
    unit = largest if maxamp is None else check_number("maxamp", maxamp, least=0)
    if unit == 0:
        return X.copy()
    return minamp + unit * np.sign(distance) * np.abs(distance / unit) ** gamma


def clip_quantile(X: np.ndarray, quantile: float | tuple[float, float] = 1) -> np.ndarray:
    """Clip values to percentiles of the whole array.

    Args:
        X: Array of any shape.
        quantile: The lower and upper percentile, in [0, 100]; a single number q is (q, 100 - q).

    Returns:
        A new array of the shape of X.

    Raises:
        ValueError: If a percentile is none.
    """
    X = _floats(X)
    if isinstance(quantile, (list, tuple)):
        pair = _pair("quantile", quantile)
    else:
        pair = (first := check_number("quantile", quantile), 100 - first)
    for each in pair:
        check_number("quantile", each, least=0, most=100)
    return X.clip(*np.percentile(X, pair).astype(X.dtype))


def batch_flatten(X: np.ndarray) -> np.ndarray:
    """Flatten each sample: `(batch, ...)` becomes `(batch, features)`."""
    X = numbers_of("X", X)
    if not X.ndim:
        raise ValueError(f"X must be an array (batch, ...). Received: {shown(X)}.")
    return X.reshape(len(X), -1).copy()


def _floats(X: Any, rank: int = 0) -> np.ndarray:
    """The array, integers as float64; of at least so many axes."""
    X = check_array("X", X)
    if X.ndim < rank:
        raise ValueError(f"X must be an array of at least {rank} axes. Received: {X.shape}.")
    return X if X.dtype.kind == "f" else X.astype("float64")


def _pair(name: str, value: Any) -> tuple[float, float]:
    """Two numbers.

    Raises:
        ValueError: If it is something else.
    """
    array = check_array(name, value)
    if array.shape != (2,):
        raise ValueError(f"{name} must be a pair of numbers. Received: {shown(value)}.")
    return array[0].item(), array[1].item()
