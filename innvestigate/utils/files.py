"""Files that are either complete and as they were written, or refused."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_MANIFEST = "manifest.json"
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError),
    *(OSError, ValueError, RuntimeError, OverflowError),
)


class FileRefusedError(ValueError):
    """A file is damaged, holds something else or comes from another version."""

    def __init__(self, path: Path, kind: str, why: str):
        super().__init__(f"{path} cannot be loaded as {kind}: {why}.")


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A file to write to, which takes its name when it is complete; until then the old one stays.

    Args:
        path: The file's name. The file is written next to it.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} to.")
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with unfinished.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def pack(folder: Path, path: str | os.PathLike, kind: str, version: int) -> None:
    """Write the files of a folder to a zip, next to a manifest with their SHA-256.

    Args:
        folder: Where the files are.
        path: The zip's name.
        kind: What it holds, in words.
        version: The version of its format.
    """
    parts = sorted(folder.iterdir())
    digests = {part.name: _digest(part) for part in parts}
    manifest = {"format": f"{kind} of innvestigate", "version": version, "sha256": digests}
    with replacing(path) as target, zipfile.ZipFile(target, "w") as file:
        file.writestr(_MANIFEST, json.dumps(manifest, indent=1))
        for part in parts:
            file.write(part, part.name)


def unpack(
    path: str | os.PathLike, folder: Path, kind: str, version: int, is_part: Callable
) -> None:
    """Extract what `pack` has written.

    The checksums find damage, not forgery.

    Args:
        path: The zip's name.
        folder: Where the files are put.
        kind: What it must hold, in words.
        version: The version of the format that can be read.
        is_part: Whether a file of a name may be in it.

    Raises:
        FileNotFoundError: If there is no such file.
        FileRefusedError: If anything is not as it was written.
    """
    path = Path(path)
    with path.open("rb") as source:
        try:
            with zipfile.ZipFile(source) as file:
                manifest = json.loads(file.read(_MANIFEST))
                names = file.namelist()
                _check_manifest(path, manifest, kind, version)
                digests = _check_names(path, manifest, kind, names, is_part)
                for name in digests:
                    file.extract(name, folder)
        except FileRefusedError:
            raise
        except (*_DAMAGE, KeyError) as error:
            raise FileRefusedError(path, kind, "it is damaged, or something else") from error
    for name, digest in digests.items():
        if _digest(folder / name) != digest:
            raise FileRefusedError(path, kind, f"{name!r} in it was altered")


def _check_manifest(path: Path, manifest, kind: str, version: int) -> None:
    if not isinstance(manifest, dict) or manifest.get("format") != f"{kind} of innvestigate":
        raise FileRefusedError(path, kind, "it is damaged, or something else")
    if manifest.get("version") != version:
        raise FileRefusedError(
            path,
            kind,
            f"its format has the version {manifest.get('version')!r}, and this version of "
            f"innvestigate reads version {version}. Load it with the innvestigate that wrote it, "
            "or a newer one",
        )


def _check_names(path: Path, manifest: dict, kind: str, names: list, is_part: Callable) -> dict:
    digests = manifest.get("sha256")
    if (
        not isinstance(digests, dict)
        or not all(map(is_part, digests))
        or sorted(names) != sorted([_MANIFEST, *digests])
    ):
        raise FileRefusedError(
            path, kind, f"its parts are not those that were written: {', '.join(names)}"
        )
    return digests


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
