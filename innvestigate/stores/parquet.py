"""Results as a table, one row for each sample, in a folder with a part for each batch."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from innvestigate.stores.base import FileStore, Record, columns
from innvestigate.utils.files import replacing
from innvestigate.utils.stored import IN_FOLDER


class ParquetStore(FileStore):
    """A column for each feature, see `columns`, behind those of what is known of the samples.

    Its parts are read together by `pandas.read_parquet(path)` and all others that read folders.
    """

    def write(
        self, arrays: dict[str, np.ndarray], about: dict[str, np.ndarray], start: int
    ) -> None:
        for name, array in arrays.items():
            if array.ndim > 2:
                raise ValueError(
                    f"{self.path} holds one row of numbers for each sample, and {name} has samples "
                    f"of the shape {array.shape[1:]}. Use .zarr."
                )
        table = {name: _as_column(column) for name, column in columns(about | arrays).items()}
        with replacing(self.path / f"part-{start:012d}.parquet") as file:
            parquet.write_table(pa.table(table), file)

    def record(self) -> Record:
        return Record.from_dict(json.loads((self.path / IN_FOLDER).read_text()))

    def note(self, record: Record) -> None:
        self.path.mkdir(exist_ok=True)
        with replacing(self.path / IN_FOLDER) as file:
            file.write(json.dumps(record.to_dict()).encode())

    def cut(self, samples: int) -> None:
        for part in self.path.glob("part-*.parquet"):
            if int(part.stem.removeprefix("part-")) >= samples:
                part.unlink()


def _as_column(array: np.ndarray) -> pa.Array:
    """Numpy's text as that of Arrow, which does not know it."""
    return pa.array(array.tolist() if array.dtype.kind == "T" else array)
