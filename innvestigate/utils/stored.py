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
    if (path / IN_FOLDER).is_file():
        return True
    try:
        return ATTRIBUTE in json.loads((path / "zarr.json").read_text("utf-8"))["attributes"]
    except (OSError, ValueError, LookupError, TypeError):
        return False


def remove_store(path: Path) -> None:
    """Remove what there is of a store, whatever it holds."""
    if path.is_dir():
        shutil.rmtree(path)
        return
    for part in (record_beside(path), path, rows_beside(path)):
        part.unlink(missing_ok=True)
