"""Files that CoRelAy and ViRelAy read: relevance of a data set, to be clustered and browsed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import h5py
import numpy as np

from innvestigate.utils.arguments import as_array, check_array, check_iterable
from innvestigate.utils.files import replacing


def save_virelay(
    path: str | os.PathLike | bytes,
    attributions: Iterable[np.ndarray],
    labels: Any,
    predictions: Any,
) -> None:
    """Write relevance in the HDF5 layout of ViRelAy's attribution databases.

    The file holds `attribution`, images with channels first `(n, channels, height, width)` and all
    else as it is, `label` and `prediction`. It appears when it is complete.

    Args:
        path: The file, most often `.h5`.
        attributions: Batches of relevance `(batch, ...)`, such as `analyzer.stream(x)` yields, so
            that one of them is held at a time; an array in a list for a single one.
        labels: The label of each sample, as ViRelAy's label map numbers them: integers `(n,)`, or
            `(n, classes)` of zeros and ones where there may be several.
        predictions: The model's output `(n, classes)`.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If there is no batch, samples differ in shape, numbers are not finite, there
            are not as many labels, predictions and samples, or labels `(n, classes)` are for other
            classes than the predictions or no zeros and ones.

    Example:
        >>> save_virelay("lrp.h5", analyzer.stream(x), labels, model.predict(x))
    """
    labels, predictions = as_array("labels", labels), check_array("predictions", predictions)
    if labels.dtype.kind not in "iub" or labels.ndim not in (1, 2):
        raise ValueError(
            "labels must be whole numbers (n,), or (n, classes) of zeros and ones. Received the "
            f"shape: {labels.shape} (of {labels.dtype})."
        )
    if predictions.ndim != 2 or len(predictions) != len(labels):
        raise ValueError(
            "predictions must be (n, classes), one for each label. Received the shape: "
            f"{predictions.shape} for {len(labels)} labels."
        )
    if labels.ndim == 2:
        _check_flags(labels, predictions.shape)
    batches = check_iterable("attributions", attributions, "batches of relevance")
    with replacing(path) as written, h5py.File(written, "w") as file:
        count = _write(file, batches)
        if count != len(labels):
            raise ValueError(f"There is relevance of {count} samples for {len(labels)} labels.")
        file["label"] = labels.astype(bool) if labels.ndim == 2 else labels.astype("int64")
        file["prediction"] = predictions.astype("float32")


def _check_flags(labels: np.ndarray, shape: tuple[int, ...]) -> None:
    """Whether labels say of each class whether a sample has it."""
    if labels.shape != shape:
        raise ValueError(
            f"labels (n, classes) must be for the classes of the predictions, {shape}. "
            f"Received the shape: {labels.shape}."
        )
    wrong = labels[(labels != 0) & (labels != 1)]
    if wrong.size:
        raise ValueError(
            f"labels (n, classes) must be zeros and ones. Received: {wrong[0]}. Numbers of classes "
            "are (n,)."
        )


def _write(file: h5py.File, batches: Iterable) -> int:
    """Write batches one after the other; returns how many samples there are."""
    count = 0
    for number, batch in enumerate(batches):
        found = check_array(f"attributions[{number}]", batch)
        if not found.ndim:
            raise ValueError(
                f"attributions must be batches of relevance, (batch, ...). Received as number "
                f"{number} a single number, {found}. Of an array that is one batch: [array]."
            )
        found = np.moveaxis(found, -1, 1) if found.ndim == 4 else found
        if count == 0:
            limit, chunks = (None, *found.shape[1:]), (1, *found.shape[1:])
            target = file.create_dataset(
                "attribution", (0, *found.shape[1:]), "float32", maxshape=limit, chunks=chunks
            )
        if found.shape[1:] != target.shape[1:]:
            raise ValueError(
                f"Samples of attributions[{number}] have the shape {found.shape[1:]}, those before "
                f"{target.shape[1:]}."
            )
        target.resize(count + len(found), axis=0)
        target[count:], count = found, count + len(found)
    return count
