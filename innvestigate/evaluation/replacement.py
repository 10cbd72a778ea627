"""What stands for features that are taken away."""

from __future__ import annotations

from typing import Any

import numpy as np

from innvestigate.evaluation.regions import Regions
from innvestigate.evaluation.subject import Subject

PERTURBATIONS = ("zeros", "gaussian", "mean", "invert")
_NOISE = 1  # the stream of random numbers that replaces features


def check_perturbation(given: Any) -> None:
    """Refuse names that are not known.

    Raises:
        ValueError: If there is no perturbation of that name.
    """
    if isinstance(given, str) and given not in PERTURBATIONS:
        raise ValueError(
            f"Unknown perturbation: {given!r}. Expected one of: {', '.join(PERTURBATIONS)}; a "
            "number, an array or a function."
        )


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
    if name == "gaussian":
        draws = [subject.random(i, _NOISE).normal(0, 0.3, x.shape[1:]) for i in range(len(x))]
        return np.stack(draws)
    return _region_means(x, regions)


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
    array = np.asarray(given)
    if array.dtype.kind not in "fiub" or not np.all(np.isfinite(array)):
        raise ValueError(
            f"The perturbation must be finite numbers. Received: {given!r} (type {array.dtype})."
        )
    try:
        return np.broadcast_to(array, x.shape)
    except ValueError:
        raise ValueError(
            f"The perturbation has the shape {array.shape}, which does not broadcast to the "
            f"samples, of shape {x.shape}."
        ) from None


def _as_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    cast = values.astype(dtype)
    if dtype.kind in "iub" and not np.array_equal(cast, values):
        raise ValueError(
            f"The samples hold whole numbers of the type {dtype}, the perturbation does not: "
            f"{values.reshape(-1)[:5]} ... Pass the id of a token; pass images as floats."
        )
    return cast
