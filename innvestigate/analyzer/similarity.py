"""Why two samples are similar: relevance of pairs of features."""

from __future__ import annotations

from typing import Any

import numpy as np

from innvestigate.engine.base import Analyzer
from innvestigate.utils.arguments import check_kind, check_whole

_AT_ONCE = 32  # numbers of the embedding that are explained in one go


def bilrp(
    analyzer: Analyzer,
    x: Any,
    other: Any,
    *,
    cell: int = 1,
    batch_size: int = 32,
    verbose: int = 0,
) -> np.ndarray:
    """BiLRP: which pairs of features make two samples similar, for the similarity ⟨φ(x), φ(x')⟩.

    R_{ii'} = Σ_k R_i(φ_k, x) R_{i'}(φ_k, x'), the relevance of each number φ_k of the embedding at
    one sample times that at the other. Where the method conserves relevance, all pairs add up to
    the similarity. For the cosine, let the model normalise its embedding.

    Args:
        analyzer: A method that shares out the output's value, such as `"lrp.gamma"`, on the model
            φ of one input and one vector as output, in the mode `"index"`.
        x: Samples.
        other: As many samples to compare them with, in pairs.
        cell: The side of the cells in which relevance is summed before it is paired, along all
            axes of a sample but the last, which is that of channels where there are several axes.
        batch_size: See `analyzer.analyze`.
        verbose: See there.

    Returns:
        float64 array `(pairs, *cells, *cells)`, the cells of x first. Memory grows with the square
        of their number.

    Raises:
        TypeError: If `analyzer` is none.
        ValueError: If its results do not add up to the output, it has another mode, the model's
            output is no vector, or there are not as many samples on both sides.

    Reference: Eberle et al. 2020, "Building and Interpreting Deep Similarity Models", section 3.

    Example:
        >>> embedding = innvestigate.model_wo_softmax(model)
        >>> options = {"neuron_selection_mode": "index"}
        >>> analyzer = innvestigate.create_analyzer("lrp.gamma", embedding, **options)
        >>> pairs = bilrp(analyzer, x[:1], x[1:2], cell=7)
    """
    cell = check_whole("cell", cell, 1)
    size, rank = _size_of_embedding(analyzer), len(analyzer.input_spec.tensors[0].shape) - 1
    found: Any = 0.0
    for start in range(0, size, _AT_ONCE):
        numbers = np.arange(start, min(start + _AT_ONCE, size))[None, :, None]
        options: dict[str, Any] = {"batch_size": batch_size, "verbose": verbose}
        left, right = (
            _in_cells(analyzer.analyze(y, numbers, **options), rank, cell) for y in (x, other)
        )
        if len(left) != len(right):
            raise ValueError(
                f"bilrp compares samples in pairs. Received: {len(left)} and {len(right)} of them."
            )
        shape = (len(left), *left.shape[2:], *right.shape[2:])
        flat = (y.reshape(*y.shape[:2], -1) for y in (left, right))
        found = found + np.einsum("nki,nkj->nij", *flat).reshape(shape)
    return found


def _size_of_embedding(analyzer: Any) -> int:
    check_kind("analyzer", analyzer, Analyzer, "an analyzer that create_analyzer has made")
    shape, mode = analyzer.task.output_shape, analyzer.neuron_selection_mode
    if len(analyzer.input_spec.tensors) > 1:
        raise ValueError("bilrp compares single inputs. Received: a model with several of them.")
    if analyzer.adds_up_to != "output" or mode != "index" or len(shape) != 1 or analyzer.by_layer:
        raise ValueError(
            "bilrp takes a method that shares out the output's value, such as 'lrp.gamma', with "
            "neuron_selection_mode='index', at the inputs of a model whose output is a vector. "
            f"Received: {type(analyzer).__name__} in the mode {mode!r}, output {shape}"
            f"{', at hidden layers' if analyzer.by_layer else ''}."
        )
    return shape[0]


def _in_cells(relevance: Any, rank: int, cell: int) -> np.ndarray:
    """Relevance `(samples, k, *shape)` of inputs of a rank, summed over cells and channels."""
    found = np.asarray(relevance, "float64")
    if found.ndim - 2 < rank:  # of samples without their last axis, which is of size one
        found = found[..., None]
    found = found.sum(axis=-1) if rank > 1 else found
    for axis in range(2, found.ndim):
        edges = np.arange(0, found.shape[axis], cell)
        found = np.add.reduceat(found, edges, axis=axis)
    return found
