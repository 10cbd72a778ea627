"""Results in a zarr group: chunks of the first batch's size, or of several if it is small."""

from __future__ import annotations

from functools import cached_property
from typing import cast

import numpy as np
import zarr

from innvestigate.stores.base import FileStore, Record
from innvestigate.utils.stored import ATTRIBUTE

CHUNK = 2**16
"""Bytes that a chunk has at least: a million files of 100 bytes each nobody wants to read."""


class ZarrStore(FileStore):
    """A zarr group with an array for each result, and for each thing that is known of samples."""

    @cached_property
    def _group(self) -> zarr.Group:
        return zarr.open_group(self.path, mode="a")

    def write(
        self, arrays: dict[str, np.ndarray], about: dict[str, np.ndarray], start: int
    ) -> None:
        for name, array in (about | arrays).items():
            kept = self._opened(name, array)
            if kept.shape[1:] != array.shape[1:]:
                raise ValueError(
                    f"{self.path} holds samples of {name} of the shape {kept.shape[1:]}. Sample "
                    f"{start} has the shape {array.shape[1:]}."
                )
            kept.resize((start + len(array), *array.shape[1:]))
            kept[start:] = array

    def record(self) -> Record:
        return Record.from_dict(zarr.open_group(self.path, mode="r").attrs[ATTRIBUTE])

    def note(self, record: Record) -> None:
        self._group.attrs[ATTRIBUTE] = record.to_dict()

    def cut(self, samples: int) -> None:
        """Nothing: what is behind is written over."""

    def _opened(self, name: str, like: np.ndarray) -> zarr.Array:
        """The array of a name; a new one has the type and the chunks of the results at hand."""
        if name in self._group:
            return cast("zarr.Array", self._group[name])
        count, *shape = like.shape
        chunks = (count * max(1, CHUNK // max(1, like.nbytes)), *shape)
        return self._group.create_array(name, shape=(0, *shape), dtype=like.dtype, chunks=chunks)
