"""Files for the search of motifs by MoDISco."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from innvestigate.genomics.letters import one_hot_batch
from innvestigate.utils.arguments import numbers_of
from innvestigate.utils.files import as_path, replacing

NAMES = ("sequences.npz", "contributions.npz")
AT_ONCE = 256  # sequences that are checked at a time


def save_modisco(
    path: str | os.PathLike | bytes, one_hot: Any, contributions: Any
) -> tuple[Path, Path]:
    """Write sequences and contributions as the program `modisco` of modisco-lite reads them.

    Then `modisco motifs -s sequences.npz -a contributions.npz -n 2000 -w LENGTH` looks for motifs
    in the LENGTH places in the middle of the sequences.

    Args:
        path: The folder; it is made if there is none. Files of an earlier call are replaced.
        one_hot: One-hot sequences `(batch, length, 4)`, the letters being A, C, G, T.
        contributions: Hypothetical contributions of the same shape: what each letter would
            contribute if it stood there, as DeepLIFT gives them with `hypothetical=True` and
            `in_silico_mutagenesis` with `subtract_mean=True`. MoDISco multiplies them by the
            sequences itself. Either array may lie on disk (`numpy.load(file, mmap_mode="r")`);
            memory is that for a few sequences then.

    Returns:
        The paths of `sequences.npz` and `contributions.npz`, each with one array `arr_0` of the
        shape `(batch, 4, length)`.

    Raises:
        ValueError: If the sequences are not one-hot in four letters, the shapes differ, a
            contribution is not finite, or no letter but those that are there has any, so that the
            contributions are not hypothetical ones.
        FileNotFoundError: If there is no folder to make the folder in.
        FileExistsError: If `path` is a file.

    Reference: Shrikumar et al. 2018, "Technical Note on Transcription Factor Motif Discovery from
    Importance Scores (TF-MoDISco)".
    """
    folder = as_path(path)
    arrays = numbers_of("one_hot", one_hot), numbers_of("contributions", contributions)
    _check(*arrays)
    folder.mkdir(exist_ok=True)
    written = folder / NAMES[0], folder / NAMES[1]
    for target, array in zip(written, arrays, strict=True):
        with replacing(target) as file:
            np.savez_compressed(file, array.transpose(0, 2, 1))
    return written


def _check(one_hot: np.ndarray, contributions: np.ndarray) -> None:
    if one_hot.ndim != 3 or one_hot.shape[-1] != 4 or contributions.shape != one_hot.shape:
        raise ValueError(
            "Expected sequences of the letters A, C, G, T, and contributions, both of the shape "
            f"(batch, length, 4). Received: {one_hot.shape} and {contributions.shape}."
        )
    hypothetical = [
        _is_hypothetical(one_hot[i : i + AT_ONCE], contributions[i : i + AT_ONCE], i)
        for i in range(0, len(one_hot), AT_ONCE)
    ]
    if not any(hypothetical):
        raise ValueError(
            "The contributions are zero for all letters but those that are there. Expected "
            "hypothetical contributions, of all letters: those of DeepLIFT with hypothetical=True."
        )


def _is_hypothetical(one_hot: np.ndarray, contributions: np.ndarray, offset: int) -> bool:
    """Whether a letter that is not there contributes, for sequences that are known to fit."""
    one_hot = one_hot_batch(one_hot, offset=offset)
    finite = np.isfinite(contributions).all(axis=(1, 2))
    if not finite.all():
        raise ValueError(
            f"The contributions of sample {offset + np.argmin(finite)} are not finite numbers."
        )
    return bool(((contributions != 0) & (one_hot == 0)).any())
