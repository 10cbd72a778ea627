"""What a store leaves on the disk, without opening it: its parts, and whether it is one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

ATTRIBUTE = "innvestigate"
"""The attribute of a zarr group that holds its record."""
IN_FOLDER = "_innvestigate.json"
"""The record of a folder of parquet: its readers pass over what begins with an underscore."""


def record_beside(path: Path) -> Path:
    """The record of a `.npy`."""
    return path.with_name(f"{path.name}.json")


def rows_beside(path: Path) -> Path:
    """What is known of the samples of a `.npy`."""
    return path.with_name(f"{path.name}.csv")


def is_store(path: Path) -> bool:
    """Whether a folder was written as a store."""
    return (path / IN_FOLDER).is_file() or _holds(path / "zarr.json", "attributes", ATTRIBUTE)


def remove_store(path: Path) -> None:
    """Remove what there is of a store, whatever it holds."""
    if path.is_dir():
        shutil.rmtree(path)
        return
    forget_store(path)
    path.unlink(missing_ok=True)


def forget_store(path: Path) -> None:
    """Remove what stands beside a `.npy` that was written as a store: it is none any more."""
    if _holds(record_beside(path), "made_by"):
        record_beside(path).unlink()
        rows_beside(path).unlink(missing_ok=True)


def _holds(path: Path, *keys: str) -> bool:
    """Whether a file is JSON that has something under some keys, one below the other."""
    try:
        found = json.loads(path.read_text("utf-8"))
        for key in keys:
            found = found[key]
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return True
