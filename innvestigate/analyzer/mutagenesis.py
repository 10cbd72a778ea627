"""In-silico mutagenesis: each letter of a sequence is replaced by every other one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from innvestigate.engine.batch import Batch, expand, fold
from innvestigate.engine.one_hot import check_may_be_one_hot, check_one_hot
from innvestigate.engine.variants import VariantsAnalyzer
from innvestigate.graph.run import float_type
from innvestigate.graph.task import Task, input_name
from innvestigate.utils.arguments import check_flags


class InSilicoMutagenesis(VariantsAnalyzer):
    """In-silico mutagenesis: how much the output changes when a letter is replaced by another one.

    R_ic = f(x with the letter c at place i) - f(x), f being the explained output: zero for the
    letter that is there. At a place without a letter, a row of zeros, each one is put. Inputs are
    one-hot along their last axis; places are all axes before it. Of several inputs one letter at a
    time is replaced.

    Args:
        model: See `Analyzer`. Only its forward pass is needed, for each sample as many times as
            there are places and other letters.
        subtract_mean: Whether the mean over all letters of a place is subtracted,
            R_ic = f(x with c at i) - mean_d f(x with d at i). The letter that is there then gets
            what it gives more than the mean letter: `R * x` is what a logo shows. MoDISco takes R
            for hypothetical contributions.
        **kwargs: See `Analyzer`.

    Raises:
        ValueError: If inputs have a single letter or hold whole numbers, hidden layers are asked
            for, or, when called, samples are not one-hot.

    Reference: Zhou & Troyanskaya 2015, "Predicting effects of noncoding variants with deep
    learning-based sequence model", online methods.
    """

    def __init__(self, model, subtract_mean: bool = False, **kwargs):
        check_flags(subtract_mean=subtract_mean)
        self._subtract_mean = subtract_mean
        super().__init__(model, **kwargs)

    def check_model(self, task: Task) -> None:
        self.refuse_hidden_layers("letters of the input are replaced.")
        check_may_be_one_hot(type(self).__name__, self.input_spec)
        for name, tensor in zip(self.input_spec.names, self.input_spec.tensors, strict=True):
            if tensor.shape[1:][-1:] in ((), (1,)):
                raise ValueError(
                    f"{type(self).__name__} replaces letters by others: expected two or more along "
                    f"the last axis. Samples of the input {name!r} have the shape "
                    f"{tuple(tensor.shape[1:])}."
                )
        self._dtype = float_type(task.graph)

    def explain(self, batch: Batch) -> dict[str, np.ndarray]:
        check_one_hot(type(self).__name__, self.input_spec, batch)
        sites = [Sites(x.reshape(len(x), -1, x.shape[-1])) for x in batch.inputs]
        starts = np.cumsum([0, *map(len, sites)])
        whole = self.explained(batch.inputs, batch.weights)
        changes = [np.zeros(s.rows.shape) for s in sites]
        for numbers, copies in expand(batch, starts[-1]):
            inputs, put = [x.copy() for x in copies.inputs], []
            for k, number in enumerate(numbers):
                i = np.searchsorted(starts, number, side="right") - 1
                at = sites[i].put(number - starts[i], fold(inputs[i], len(numbers))[k])
                put.append((changes[i], at))
            values = fold(self.explained(inputs, copies.weights), len(numbers))
            for (changed, at), value in zip(put, values, strict=True):
                changed[at] = value - whole
        each = enumerate(zip(batch.inputs, changes, strict=True))
        return {input_name(i): self._result(x, changed) for i, (x, changed) in each}

    def _result(self, x: np.ndarray, changes: np.ndarray) -> np.ndarray:
        changes = np.where(x, 0, changes.reshape(x.shape))
        if self._subtract_mean:
            changes -= changes.mean(axis=-1, keepdims=True)
        return changes.astype(self._dtype)


@dataclass(frozen=True)
class Sites:
    """The places of one input, and the letters that may be put there, numbered one by one.

    Attributes:
        rows: One-hot samples `(rows, places, letters)`.
    """

    rows: np.ndarray

    def __len__(self) -> int:
        return self.rows.shape[1] * self._others

    def put(self, number: int, rows: np.ndarray) -> tuple:
        """Put the letter of a number into a copy of the samples, and say where they are now 1.

        Args:
            number: Out of 0 ... `len(self)` - 1.
            rows: The copy, in the shape of the input.

        Returns:
            The index of these numbers in an array of the shape of `self.rows`.
        """
        place, shift = divmod(number, self._others)
        letters = (self._present[:, place] + 1 + shift) % self.rows.shape[2]
        at = np.arange(len(rows)), place, letters
        rows = rows.reshape(self.rows.shape)
        rows[:, place] = 0
        rows[at] = 1
        return at

    @cached_property
    def _present(self) -> np.ndarray:
        return self.rows.argmax(axis=-1)

    @cached_property
    def _others(self) -> int:
        """How many letters are put at a place: all but one, or all where there may be none."""
        return self.rows.shape[2] - bool(self.rows.any(axis=-1).all())
