"""What stands for features that are taken away."""

from __future__ import annotations

from typing import Any

import numpy as np

from innvestigate.evaluation.regions import Regions
from innvestigate.evaluation.subject import Subject
from innvestigate.utils.arguments import check_array
from innvestigate.utils.words import shown

PERTURBATIONS = ("zeros", "gaussian", "mean", "blur", "invert")
BLUR = 5
"""Standard deviation of the blur, and how far it reaches, in features."""
_NOISE = 1  # the stream of random numbers that replaces features


def check_perturbation(given: Any) -> None:
    """Refuse what is no perturbation.

    Raises:
        ValueError: If there is no perturbation of that name, or it is no array of finite numbers.
    """
    if isinstance(given, str) and given not in PERTURBATIONS:
        raise ValueError(
            f"Unknown perturbation: {shown(given)}. Expected one of: {', '.join(PERTURBATIONS)}; a "
            "number, an array or a function."
        )
    if not isinstance(given, str) and not callable(given):
        check_array("perturbation", given)


def replacement(
    perturbation: Any, subject: Subject, regions: Regions, value_range: tuple | None = None
) -> np.ndarray:
    """What replaces each feature of the samples, `(n, *shape)`, in their type.

    Args:
        perturbation: See `RegionPerturbation`.
        subject: The samples.
        regions: The regions that they are divided into.
        value_range: See `RegionPerturbation`.

    Raises:
        ValueError: If the perturbation does not fit the samples.
    """
    x = subject.x
    if isinstance(perturbation, str):
        found = _named(perturbation, subject, regions)
    else:
        given = perturbation(x.copy()) if callable(perturbation) else perturbation
        found = _fitting(given, x)
    if value_range is not None:
        found = np.clip(found, *value_range)
    return _as_type(found, x.dtype)


def _named(name: str, subject: Subject, regions: Regions) -> np.ndarray:
    x = subject.x
    if name == "zeros":
        return np.zeros_like(x)
    need_floats(x, f"The perturbation {name!r}")
    if name == "invert":
        return -x
    if name == "blur":
        return _blurred(x)
    if name == "gaussian":
        draws = [subject.random(i, _NOISE).normal(0, 0.3, x.shape[1:]) for i in range(len(x))]
        return np.stack(draws)
    return _region_means(x, regions)


def _blurred(x: np.ndarray) -> np.ndarray:
    """Samples that are blurred along all axes but the last; beyond the border it goes on."""
    if x.ndim < 3:
        raise ValueError(
            "The perturbation 'blur' needs samples with neighbouring places, such as images. "
            f"Received: samples of the shape {x.shape[1:]}, which has no axis but the last. "
            "Pass another one, such as perturbation=0."
        )
    weights = np.exp(-0.5 * (np.arange(-BLUR, BLUR + 1) / BLUR) ** 2)
    weights /= weights.sum()
    for axis in range(1, x.ndim - 1):
        border = [(BLUR, BLUR) if i == axis else (0, 0) for i in range(x.ndim)]
        padded, size = np.pad(x, border, mode="edge"), x.shape[axis]
        shifted = (padded.take(range(k, k + size), axis) for k in range(len(weights)))
        x = sum(w * part for w, part in zip(weights, shifted, strict=True))
    return x


def need_floats(x: np.ndarray, what: str) -> None:
    """Refuse samples of whole numbers.

    Raises:
        ValueError: If x holds whole numbers.
    """
    if x.dtype.kind in "iub":
        raise ValueError(
            f"{what} does not fit whole numbers. Received: samples of the type {x.dtype}. Replace "
            "tokens by an id, as perturbation=0; pass images as floats."
        )


def _region_means(x: np.ndarray, regions: Regions) -> np.ndarray:
    """Each feature's mean over the features of its region and, where there are any, channel."""
    channels = x.shape[-1] if x.ndim > 2 else 1
    own = np.arange(channels) if x.ndim > 2 else 0
    labels = np.unique(regions.labels * channels + own, return_inverse=True)[1]
    finer = Regions(labels.reshape(x.shape[1:]), np.bincount(labels.reshape(-1)))
    return (finer.sums(x) / finer.sizes)[:, finer.labels]


def _fitting(given: Any, x: np.ndarray) -> np.ndarray:
    array = check_array("perturbation", given)
    try:
        return np.broadcast_to(array, x.shape)
    except ValueError:
        raise ValueError(
            f"The perturbation has the shape {array.shape}, which does not broadcast to the "
            f"samples, of shape {x.shape}."
        ) from None


def _as_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        cast = values.astype(dtype)
    if not np.all(np.isfinite(cast)):
        raise ValueError(f"The perturbation holds numbers that the samples' type {dtype} cannot.")
    if dtype.kind in "iub" and not np.array_equal(cast, values):
        raise ValueError(
            f"The samples hold whole numbers of the type {dtype}, the perturbation does not: "
            f"{values.reshape(-1)[:5]} ... Pass the id of a token; pass images as floats."
        )
    return cast
