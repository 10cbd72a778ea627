"""Results as a table, one row for each sample, in a folder with a part for each batch."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from innvestigate.stores.base import FileStore, Record
from innvestigate.utils.files import replacing
from innvestigate.utils.structures import SINGLE

_RECORD = "_innvestigate.json"  # readers of parquet pass over files that begin with an underscore


class ParquetStore(FileStore):
    """A column for each feature: `0`, `1`, ...; `age/0` where there are several results.

    Its parts are read together by `pandas.read_parquet(path)` and all others that read folders.
    """

    def write(self, arrays: dict[str, np.ndarray], start: int) -> None:
        columns: dict[str, np.ndarray] = {}
        for name, array in arrays.items():
            if array.ndim > 2:
                raise ValueError(
                    f"{self.path} holds one row of numbers for each sample, and {name} has samples "
                    f"of the shape {array.shape[1:]}. Use .zarr."
                )
            first = "" if name == SINGLE else f"{name}/"
            rows = array.reshape(len(array), -1)
            columns |= {f"{first}{i}": column for i, column in enumerate(rows.T)}
        with replacing(self.path / f"part-{start:012d}.parquet") as file:
            parquet.write_table(pa.table(columns), file)

    def record(self) -> Record:
        return Record.from_dict(json.loads((self.path / _RECORD).read_text()))

    def note(self, record: Record) -> None:
        self.path.mkdir(exist_ok=True)
        with replacing(self.path / _RECORD) as file:
            file.write(json.dumps(record.to_dict()).encode())

    def cut(self, samples: int) -> None:
        for part in self.path.glob("part-*.parquet"):
            if int(part.stem.removeprefix("part-")) >= samples:
                part.unlink()
