"""Does relevance lie on the object? Metrics that are told where it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from innvestigate.evaluation.metric import Metric
from innvestigate.evaluation.subject import Subject
from innvestigate.utils.arguments import as_array, check_choice, check_number, settle

PARTS = ("positive", "absolute")


@dataclass(frozen=True)
class Localization(Metric, ABC):
    """Base of metrics that compare relevance with the place of an object.

    A place is a pixel, a point in time or, in samples of one axis, a feature; where samples have
    several axes, relevance is summed over the last one.

    Args:
        masks: Which places belong to the object of each sample: booleans or 0 and 1, of the shape
            `(n, *places)`, or with a last axis of one. For images `(n, height, width)`.
        boxes: Instead of masks, boxes around the objects: `(n, 2 d)` whole numbers for d axes of
            places, first where a box starts along each of them, then where it ends (excluded):
            `(top, left, bottom, right)` for images. Where a sample may have several, a list of
            arrays `(boxes, 2 d)`, one for each sample.
        part: What counts of the relevance r of a place: `"positive"`, max(r, 0), which speaks for
            the output; or `"absolute"`, |r|.
    """

    masks: Any = None
    boxes: Any = None
    part: str = "positive"

    name: ClassVar[str]

    def __post_init__(self):
        check_choice("part", self.part, PARTS)
        if (self.masks is None) == (self.boxes is None):
            given = "none" if self.masks is None else "both"
            raise ValueError(f"Expected either masks or boxes. Received: {given}.")
        if self.masks is not None:
            settle(self, masks=_as_masks(self.masks))
        else:
            settle(self, boxes=_as_boxes(self.boxes))

    @property
    def count(self) -> int:
        """For how many samples there are objects."""
        return len(self.boxes if self.masks is None else self.masks)

    def measure(self, subject: Subject) -> dict[str, np.ndarray]:
        """The number of each sample."""
        pairs = zip(self._places(subject.relevance), self._objects(subject), strict=True)
        return {self.name: np.array([self.score(r.reshape(-1), m.reshape(-1)) for r, m in pairs])}

    def baseline(self, subject: Subject) -> dict[str, np.ndarray]:
        """The object's share of all places: what relevance without a clue gets on average."""
        return {self.name: np.array([mask.mean() for mask in self._objects(subject)])}

    @abstractmethod
    def score(self, relevance: np.ndarray, mask: np.ndarray) -> float:
        """The number of one sample.

        Args:
            relevance: What counts of the relevance of each place, >= 0, `(places,)`.
            mask: Whether it belongs to the object, `(places,)`.
        """

    def region(self, mask: np.ndarray) -> np.ndarray:
        """Where relevance counts as on the object: the places of its mask, `places` both."""
        return mask

    def _places(self, relevance: np.ndarray) -> np.ndarray:
        found = relevance.astype("float64")
        found = found.sum(axis=-1) if found.ndim > 2 else found
        return np.abs(found) if self.part == "absolute" else np.maximum(found, 0)

    def _objects(self, subject: Subject) -> list[np.ndarray]:
        """The region of each sample's object."""
        shape = subject.x.shape[1:]
        places = shape[:-1] if len(shape) > 1 else shape
        source, numbers = self.boxes if self.masks is None else self.masks, subject.numbers
        if numbers[-1] >= len(source):
            raise ValueError(
                f"There are masks or boxes for {len(source)} samples, and more samples. Expected: "
                "one for each."
            )
        if self.masks is None:
            masks = np.stack([_filled(source[i], places, i) for i in numbers])
        else:
            masks = _fitting(source[numbers[0] : numbers[-1] + 1], places)
        empty = numbers[~masks.reshape(len(masks), -1).any(axis=1)]
        if len(empty):
            raise ValueError(
                f"There is no object in the mask of sample {', '.join(map(str, empty[:10]))}. "
                "Leave out samples without one."
            )
        return [self.region(mask) for mask in masks]


@dataclass(frozen=True)
class PointingGame(Localization):
    """The pointing game: is the most relevant place on the object?

    1 for a sample if it is, 0 if not; the mean over samples is the accuracy, hits / (hits +
    misses). If several places share the maximum, it is the share of them that are on the object.
    The random order is the object's share of all places, which a place drawn at random hits.

    Args:
        masks: See `Localization`.
        boxes: See there.
        part: See there.
        tolerance: How far from the object a place may be, in places, by Euclid's distance.

    Reference: Zhang et al. 2018, "Top-Down Neural Attention by Excitation Backprop", section 4.
    """

    tolerance: float = 0

    name: ClassVar[str] = "pointing_game"

    def __post_init__(self):
        super().__post_init__()
        settle(self, tolerance=check_number("tolerance", self.tolerance, least=0, most=100))

    def score(self, relevance: np.ndarray, mask: np.ndarray) -> float:
        """The share of the most relevant places that are on the object."""
        return mask[relevance == relevance.max()].mean()

    def region(self, mask: np.ndarray) -> np.ndarray:
        """The places within the tolerance."""
        reach = int(self.tolerance)
        padded, found = np.pad(mask, reach), np.zeros_like(mask)
        for offset in product(range(-reach, reach + 1), repeat=mask.ndim):
            if np.dot(offset, offset) <= self.tolerance**2:
                starts = np.add(reach, offset)
                found |= padded[tuple(map(slice, starts, starts + mask.shape))]
        return found


@dataclass(frozen=True)
class RelevanceMassAccuracy(Localization):
    """Relevance mass accuracy: the share of the relevance that lies on the object.

    Σ_{i ∈ object} rᵢ / Σᵢ rᵢ, with what counts of the relevance as r; 0 where it is zero all over.
    The random order is the object's share of all places, which is also the number of a heatmap
    that is the same everywhere.

    Args:
        masks: See `Localization`.
        boxes: See there.
        part: See there.

    Reference: Arras et al. 2022, "CLEVR-XAI: A benchmark dataset for the ground truth evaluation
    of neural network explanations".
    """

    name: ClassVar[str] = "relevance_mass_accuracy"

    def score(self, relevance: np.ndarray, mask: np.ndarray) -> float:
        """The share of the relevance that is on the object."""
        largest = relevance.max()
        if not largest > 0:
            return 0.0
        share = relevance / largest  # the sum of huge numbers overflows
        return share[mask].sum() / share.sum()


@dataclass(frozen=True)
class RelevanceRankAccuracy(Localization):
    """Relevance rank accuracy: how many of the most relevant places are on the object.

    If the object has K places: the share of the K most relevant places that are on it. Of places
    that are equally relevant, for some of which there is room among the K, counts what is to be
    expected if they are drawn at random. The random order is the object's share of all places.

    Args:
        masks: See `Localization`.
        boxes: See there.
        part: See there.

    Reference: Arras et al. 2022, "CLEVR-XAI: A benchmark dataset for the ground truth evaluation
    of neural network explanations".
    """

    name: ClassVar[str] = "relevance_rank_accuracy"

    def score(self, relevance: np.ndarray, mask: np.ndarray) -> float:
        """The share of the most relevant places that are on the object."""
        size = int(mask.sum())
        least = np.partition(relevance, -size)[-size]
        above, equal = relevance > least, relevance == least
        return (mask[above].sum() + (size - above.sum()) * mask[equal].mean()) / size


def _as_masks(given: Any) -> np.ndarray:
    masks = as_array("masks", given)
    if masks.dtype.kind not in "biuf" or masks.ndim < 2:
        raise ValueError(
            "masks must be an array of booleans, (n, *places). Received: an array of the shape "
            f"{masks.shape}, type {masks.dtype}."
        )
    return masks


def _fitting(masks: np.ndarray, places: tuple) -> np.ndarray:
    """Masks of a batch as booleans, `(n, *places)`."""
    if masks.shape[1:] == (*places, 1):
        masks = masks[..., 0]
    if masks.shape[1:] != places:
        raise ValueError(
            f"The places of a sample have the shape {places}. Received: masks of the shape "
            f"{masks.shape[1:]}."
        )
    if masks.dtype.kind != "b" and not np.isin(masks, (0, 1)).all():
        raise ValueError(
            "masks must hold booleans, or 0 and 1. Received: other numbers. Pick the object that "
            "is explained, such as by masks == label."
        )
    return masks.astype(bool)


def _as_boxes(given: Any) -> list[np.ndarray]:
    """The boxes of each sample, `(boxes, 2 d)`."""
    rows = given if isinstance(given, (list, tuple)) else np.atleast_1d(as_array("boxes", given))
    boxes = [np.atleast_2d(as_array("boxes", row)) for row in rows]
    for each in boxes:
        if each.ndim != 2 or each.dtype.kind not in "iu":
            raise ValueError(
                "boxes must hold whole numbers, (2 d) or (boxes, 2 d) for each sample. Received: "
                f"shape {each.shape}, type {each.dtype}."
            )
    return boxes


def _filled(boxes: np.ndarray, places: tuple, sample: int) -> np.ndarray:
    """The boxes of a sample as a mask."""
    mask, d = np.zeros(places, bool), len(places)
    for box in boxes:
        starts, ends = box[:d], box[d:]
        fits = len(box) == 2 * d and np.all((starts >= 0) & (starts < ends) & (ends <= places))
        if not fits:
            raise ValueError(
                f"A box of sample {sample} does not fit places of the shape {places}. Received: "
                f"{box.tolist()}. Expected: {2 * d} numbers, where it starts along each axis, then "
                "where it ends, such as (top, left, bottom, right)."
            )
        mask[tuple(map(slice, starts, ends))] = True
    return mask
