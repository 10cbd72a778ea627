"""Where `analyzer.analyze(..., out=)` writes results batch by batch, and how a job goes on.

By the ending of the path:

- `.npy`: one array; `name.npy.json` beside it says how much of it is done;
- `.zarr`: a zarr group with an array for each result (`pip install 'innvestigate[zarr]'`);
- `.parquet`: a folder of parts, together a table with one row for each sample
  (`pip install 'innvestigate[parquet]'`).

A result is called `relevance` where there is one, else by its place in the structure that `analyze`
returns: an input's name or number, or a layer's name. All stores hold whole batches only: what a
killed process has left unfinished is written anew. What else is known of the samples, such as the
names of their files, stands beside the results: in arrays, in columns, in `name.npy.csv`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from innvestigate.stores.arrays import ArrayStore
from innvestigate.stores.base import FileStore, Store, write_all
from innvestigate.stores.npy import NpyStore
from innvestigate.stores.virelay import save_virelay
from innvestigate.utils.arguments import check_flags, check_function
from innvestigate.utils.files import as_path

__all__ = ["Store", "open_store", "save_virelay", "write_all"]


def open_store(out: Any, made_by: Callable[[], str], resume: bool) -> Store:
    """The store that `analyze` is to write to.

    Args:
        out: See `Analyzer.analyze`.
        made_by: Makes the fingerprint of what is written.
        resume: Whether to go on behind what is there.

    Raises:
        TypeError: If `out` is neither a path nor arrays, or the fingerprint cannot be made or is no
            text.
        ValueError: If there is no store of that kind, or resume is asked of arrays.
        ImportError: If its library is not installed.
        OSError: See `FileStore`.
    """
    check_flags(resume=resume)
    check_function("made_by", made_by, "a function that makes the fingerprint")
    if not isinstance(out, (str, bytes, os.PathLike)):
        return ArrayStore(out, resume)
    return open_path(as_path(out), made_by, resume)


def open_path(
    path: Path, made_by: Callable[[], str], resume: bool, data: str | None = None
) -> FileStore:
    """The store at a path.

    Args:
        path: The path.
        made_by: Makes the fingerprint of what is written.
        resume: Whether to go on behind what is there.
        data: The fingerprint of the data, if it has to be the same to go on.

    Raises:
        TypeError: If the fingerprint cannot be made.
        ValueError: If there is no store of that kind.
        ImportError: If its library is not installed.
        OSError: See `FileStore`.
    """
    opened = _KINDS.get(path.suffix.lower())
    if opened is None:
        raise ValueError(f"There is no store {path.name!r}. Expected: {', '.join(_KINDS)}.")
    try:
        return opened()(path, made_by, resume, data)
    except ImportError as error:
        raise ImportError(
            f"A {path.suffix} needs the package {error.name}: "
            f"pip install 'innvestigate[{path.suffix[1:]}]'."
        ) from error


def _zarr() -> Callable[..., FileStore]:
    from innvestigate.stores.zarr import ZarrStore

    return ZarrStore


def _parquet() -> Callable[..., FileStore]:
    from innvestigate.stores.parquet import ParquetStore

    return ParquetStore


_KINDS: dict[str, Callable] = {".npy": lambda: NpyStore, ".zarr": _zarr, ".parquet": _parquet}
