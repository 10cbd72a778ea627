"""RISE: the output under random masks."""

from __future__ import annotations

import numpy as np

from innvestigate.analyzer.masks import Masks, check_cells
from innvestigate.analyzer.perturbation import PerturbationAnalyzer
from innvestigate.engine.batch import Batch, expand, fold
from innvestigate.engine.references import picked
from innvestigate.graph.step import is_float
from innvestigate.graph.task import input_name
from innvestigate.utils.arguments import check_number, check_seed, check_whole, seed_or_fresh


class RISE(PerturbationAnalyzer):
    """RISE: how large the output is on average where a feature is not masked.

    R_i = 1/(n p) Σ_k f(M_k ⊙ x + (1 - M_k) ⊙ x⁰) M_k,i, f being the explained output, x⁰ a
    reference and M_k masks in [0, 1] whose mean is p. A mask is a coarse grid of cells, each 1 with
    probability p and else 0, enlarged by linear interpolation and shifted at random by less than a
    cell; channels share it. Inputs without axes for that, such as rows of a table, have a mask of
    zeros and ones, drawn for each number; for whole numbers cells are not interpolated either. The
    masks are the same for all samples and selections if there is a seed.

    Args:
        model: See `Analyzer`. Only its forward pass is needed, `masks` times for each sample and
            reference.
        masks: How many masks there are, n.
        probability: The probability p in (0, 1] that a cell is not masked.
        cells: Cells of the grid along the axes of a sample. An int is for all axes but the last,
            which are channels, and there are no more of them than places; a tuple is for the first
            axes, as many as it has. For several inputs it holds for each of them, or a list or
            dict has one for each.
        reference_inputs: What stands for masked parts, in any form of `References`; of several for
            a sample the mean is taken. A token input's is a token.
        seed: Seed of the masks; None for other masks each time.
        **kwargs: See `Analyzer`.

    Raises:
        ValueError: If an argument does not fit the input, or hidden layers are asked for.

    Reference: Petsiuk et al. 2018, "RISE: Randomized Input Sampling for Explanation of Black-box
    Models", sections 3.1 and 3.2.
    """

    def __init__(
        self,
        model,
        masks: int = 1000,
        probability: float = 0.5,
        cells=7,
        reference_inputs=0,
        seed: int | None = None,
        **kwargs,
    ):
        self._count = check_whole("masks", masks, 1)
        self._probability = check_number("probability", probability, above=0, most=1)
        self._seed = check_seed(seed)
        super().__init__(model, reference_inputs, **kwargs)
        self._cells = self.input_spec.each(cells, "cells")
        self._masks([tuple(t.shape[1:]) for t in self.input_spec.tensors], 0)

    def explain(self, batch: Batch) -> dict[str, np.ndarray]:
        references = self.references.of(batch)
        count, seed = references[0].shape[1], seed_or_fresh(self._seed)
        masks = self._masks([x.shape[1:] for x in batch.inputs], seed)
        totals = [np.zeros(x.shape) for x in batch.inputs]
        for numbers, rows in expand(batch, self._count * count):
            drawn, which = np.divmod(numbers, count)
            found = [each.at(drawn) for each in masks]
            inputs = [
                _blended(x, picked(r, which[:, None]), mask, of.soft)
                for x, r, mask, of in zip(batch.inputs, references, found, masks, strict=True)
            ]
            values = fold(self.explained(inputs, rows.weights), len(numbers))
            for total, mask in zip(totals, found, strict=True):
                total += np.tensordot(values, mask, (0, 0))
        scale = self._probability * self._count * count
        return {input_name(i): (y / scale).astype(self.float) for i, y in enumerate(totals)}

    def _masks(self, shapes: list[tuple], seed: int) -> list[Masks]:
        """The masks of each input."""
        spec = self.input_spec
        given = zip(spec.names, spec.tensors, shapes, self._cells, strict=True)
        return [
            Masks(s, check_cells(n, s, cells), self._probability, is_float(t), (seed, i))
            for i, (n, t, s, cells) in enumerate(given)
        ]


def _blended(x: np.ndarray, references: np.ndarray, mask: np.ndarray, soft: bool) -> np.ndarray:
    """k times the rows of x, with references where they are masked.

    Args:
        x: The samples, `(rows, *shape)`.
        references: `(k * rows, *shape)`, all rows for the first of the k, then for the next.
        mask: k masks, which broadcast to `(k, *shape)`.
        soft: Whether there are blends of both.
    """
    mask, missing = mask[:, None], fold(references, len(mask))
    if soft:
        mask = mask.astype(x.dtype)
        found = mask * x[None] + (1 - mask) * missing
    else:
        found = np.where(mask > 0, x[None], missing)
    return found.reshape(references.shape)
