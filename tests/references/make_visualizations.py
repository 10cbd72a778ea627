"""Writes the reference values of the original helpers for pictures, `visualizations.npz`.

    pip install innvestigate==2.1.2 tensorflow==2.14.1    # Python 3.10, from PyPI
    python tests/references/make_visualizations.py

The original divides a batch by its absmax along the wrong axis, so it is handed one sample at a
time, or one absmax for all. It changes its arguments: each call gets a copy. Its "absmax" of
channels is their maximum, which is the same where no value is negative.
"""

from pathlib import Path

import numpy as np

from innvestigate.utils import visualizations

FILE = Path(__file__).parent / "visualizations.npz"


def one_by_one(function, x, **arguments):
    return np.concatenate([function(sample[None].copy(), **arguments) for sample in x])


def references(x):
    """Results by name; the names are those of the test."""
    original = visualizations
    positive = np.abs(x)
    return {
        "project": one_by_one(original.project, x),
        "project, range": one_by_one(original.project, x, output_range=(-3, 5)),
        "project, absmax": original.project(x.copy(), absmax=0.7),
        "project, positive": one_by_one(original.project, positive, input_is_positive_only=True),
        "project, zeros": original.project(0 * x[:1]),
        "heatmap": one_by_one(original.heatmap, x),
        "heatmap, map": one_by_one(original.heatmap, x, cmap_type="viridis", alpha_cmap=True),
        "heatmap, absmax": one_by_one(original.heatmap, positive, reduce_op="absmax"),
        "heatmap, positive": one_by_one(original.heatmap, positive, input_is_positive_only=True),
        "graymap": one_by_one(original.graymap, x),
        "gamma": original.gamma(x.copy()),
        "gamma, arguments": original.gamma(x.copy(), gamma=2.0, minamp=0.3, maxamp=1.5),
        "clip_quantile": original.clip_quantile(x.copy(), 10),
        "clip_quantile, pair": original.clip_quantile(x.copy(), (20, 95)),
    }


def main():
    x = np.random.default_rng(0).normal(size=(3, 5, 4, 2))
    np.savez_compressed(FILE, x=x, **references(x))


if __name__ == "__main__":
    main()
