"""Points along a path, and how much each of them counts."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from innvestigate.utils.arguments import check_choice, check_whole

QUADRATURES = ("left", "right", "midpoint", "trapezoid", "gauss_legendre")
_MOST_GAUSS = 1000


def quadrature_rule(
    name: str, steps: int, which: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Points in [0, 1] and their weights, which add up to one; exactly `steps` of them.

    Args:
        name: See `PathIntegrator`.
        steps: The number of points.
        which: The numbers of those that are wanted, counted from 0; None for all.

    Raises:
        ValueError: If there is no rule of that name, or it needs more or fewer points.
    """
    check_choice("quadrature", name, QUADRATURES)
    check_whole("steps", steps, 2 if name == "trapezoid" else 1)
    if name == "gauss_legendre" and steps > _MOST_GAUSS:
        raise ValueError(
            f"steps must be <= {_MOST_GAUSS} for 'gauss_legendre', which computes with a square "
            f"matrix of them. Received: {steps}. 'midpoint' takes any number."
        )
    which = np.arange(steps) if which is None else which
    if name == "gauss_legendre":
        points, weights = _legendre(steps)
        return (points[which] + 1) / 2, weights[which] / 2
    if name == "trapezoid":
        ends = (which == 0) | (which == steps - 1)
        return which / (steps - 1), np.where(ends, 0.5, 1) / (steps - 1)
    shift = {"left": 0, "midpoint": 0.5, "right": 1}[name]
    return (which + shift) / steps, np.full(len(which), 1 / steps)


def borders(name: str, steps: int, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the parts of [0, 1] that points stand for begin and end: as long as their weights.

    Args:
        name: See `quadrature_rule`.
        steps: See there.
        which: See there.
    """
    ends = np.cumsum(quadrature_rule(name, steps)[1])
    return np.concatenate([[0.0], ends])[which], ends[which]


@lru_cache(maxsize=8)
def _legendre(steps: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(steps)
