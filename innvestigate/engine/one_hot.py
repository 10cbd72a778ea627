"""Checks of methods for one-hot inputs: along the last axis a single 1, or zeros only."""

from __future__ import annotations

import numpy as np

from innvestigate.engine.batch import Batch
from innvestigate.engine.inputs import InputSpec
from innvestigate.graph.step import is_float


def check_may_be_one_hot(what: str, spec: InputSpec) -> None:
    """Whether the inputs of a model hold numbers, and no tokens.

    Args:
        what: What is for one-hot inputs, for messages.
        spec: The inputs.

    Raises:
        ValueError: If one does not; names it.
    """
    for name, tensor in zip(spec.names, spec.tensors, strict=True):
        if not is_float(tensor):
            raise ValueError(f"{what} is for one-hot inputs. Input {name!r} holds {tensor.dtype}.")


def check_one_hot(what: str, spec: InputSpec, batch: Batch, advice: str = "") -> None:
    """Whether all inputs of a batch are one-hot.

    Args:
        what: What is for one-hot inputs, for messages.
        spec: The inputs.
        batch: The batch.
        advice: What else the message says.

    Raises:
        ValueError: If one is not; names it and the sample.
    """
    for name, x in zip(spec.names, batch.inputs, strict=True):
        one_hot = np.isin(x, (0, 1)).all(axis=-1) & (x.sum(axis=-1) <= 1)
        bad = np.flatnonzero(~one_hot.reshape(len(x), -1).all(axis=1))
        if len(bad):
            raise ValueError(
                f"{what} is for one-hot inputs: along the last axis a single 1 and zeros "
                f"otherwise, or zeros only. Input {name!r} is not, in sample "
                f"{batch.samples[bad[0]]}. Received there: values from {x[bad[0]].min():.6g} to "
                f"{x[bad[0]].max():.6g}.{advice}"
            )
