"""Results in numpy's own format, which grows along its first axis."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from innvestigate.stores.base import FileStore, Record, columns
from innvestigate.utils.files import replacing
from innvestigate.utils.stored import record_beside, rows_beside


class NpyStore(FileStore):
    """One array. Its header, as long for any number of samples, is written last.

    A table beside it, `name.npy.csv`, holds what is known of the samples.
    """

    def write(
        self, arrays: dict[str, np.ndarray], about: dict[str, np.ndarray], start: int
    ) -> None:
        if len(arrays) > 1:
            raise ValueError(
                f"{self.path} holds one array, and there are {len(arrays)} results: "
                f"{', '.join(arrays)}. Use .zarr."
            )
        (array,) = arrays.values()
        array = np.ascontiguousarray(array)
        if about:
            _write_rows(rows_beside(self.path), columns(about), start)
        with self.path.open("r+b" if start else "wb") as file:
            if start:
                self._check(file, array, start)
            file.seek(0, os.SEEK_END)
            if not start:
                _write_header(file, array, 0)
            file.write(array.data)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            _write_header(file, array, start + len(array))

    def record(self) -> Record:
        record = Record.from_dict(json.loads(record_beside(self.path).read_text()))
        if record.samples:
            with self.path.open("rb") as file:
                (count, *_), _, _ = _read_header(file)
            if count < record.samples:
                raise ValueError(f"it holds {count} samples, and not {record.samples}")
        return record

    def note(self, record: Record) -> None:
        with replacing(record_beside(self.path)) as file:
            file.write(json.dumps(record.to_dict()).encode())

    def cut(self, samples: int) -> None:
        if not samples:  # there may be a part of a header
            return
        with self.path.open("r+b") as file:
            shape, dtype, start = _read_header(file)
            end = start + samples * int(np.prod(shape[1:])) * dtype.itemsize
            if file.seek(0, os.SEEK_END) > end:
                file.truncate(end)
        if rows_beside(self.path).exists():
            _cut_rows(rows_beside(self.path), samples)

    def _check(self, file, array: np.ndarray, start: int) -> None:
        shape, dtype, _ = _read_header(file)
        if shape[1:] != array.shape[1:] or dtype != array.dtype:
            raise ValueError(
                f"{self.path} holds samples of the shape {shape[1:]} and type {dtype}. Sample "
                f"{start} has the shape {array.shape[1:]} and type {array.dtype}."
            )


def _write_header(file, array: np.ndarray, samples: int) -> None:
    told = npy.header_data_from_array_1_0(array) | {"shape": (samples, *array.shape[1:])}
    npy.write_array_header_2_0(file, told)


def _read_header(file) -> tuple[tuple, np.dtype, int]:
    """The shape and type that a header tells, and where it ends."""
    file.seek(0)
    npy.read_magic(file)
    shape, _, dtype = npy.read_array_header_2_0(file)
    return shape, dtype, file.tell()


def _write_rows(path: Path, table: dict[str, np.ndarray], start: int) -> None:
    """Write rows of a table behind those that are there; the first of all, a header above them."""
    with path.open("r+" if start else "w", encoding="utf-8", newline="") as file:
        file.seek(0, os.SEEK_END)
        rows = csv.writer(file)
        if not start:
            rows.writerow(table)
        rows.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
        file.flush()
        os.fsync(file.fileno())


def _cut_rows(path: Path, count: int) -> None:
    """Remove what is behind the first rows of a table, each of which is a line."""
    with path.open("r+b") as file:
        for _ in range(count + 1):
            file.readline()
        file.truncate()
