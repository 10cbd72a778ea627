"""Zips of parts with checksums, and arrays, which are read without trust."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.lib import format as npy

from innvestigate.utils.files import reading, refused

_MANIFEST = "manifest.json"
_HEADERS: dict[tuple, Callable] = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
}
KINDS = "biufcSU"
"""The kinds of numpy's types that are saved: numbers and text."""


Readable = BinaryIO | io.RawIOBase


class Section(io.RawIOBase):
    """A part of a file, to be read like a file.

    Args:
        file: The file.
        start: Where the part begins.
        size: Its number of bytes.
    """

    def __init__(self, file: Readable, start: int, size: int):
        self._file, self._start, self.size, self._place = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence]
        if place < 0:
            raise OSError(errno.EINVAL, "there is nothing before the beginning")
        self._place = place
        return place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        wanted = max(0, min(len(buffer), self.size - self._place))
        self._file.seek(self._start + self._place)
        found = self._file.read(wanted)
        buffer[: len(found)] = found
        self._place += len(found)
        return len(found)


def members(file: Readable) -> dict[str, Section]:
    """The parts of a zip, none of which is compressed: all of them take no more room than it does.

    Raises:
        ValueError: If that is not so, or a name is there twice.
        zipfile.BadZipFile: If it is no zip.
    """
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise ValueError("its parts are not those that were written: one is there twice")
    stored = all(e.compress_type == zipfile.ZIP_STORED and not e.flag_bits & 1 for e in entries)
    if not stored or sum(entry.file_size for entry in entries) > size:
        raise ValueError("its parts are compressed, or take more room than the file has")
    return {entry.filename: _section(file, entry, size) for entry in entries}


def _section(file: Readable, entry: zipfile.ZipInfo, size: int) -> Section:
    file.seek(entry.header_offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise ValueError("it is damaged, or something else")
    start = entry.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
    if start + entry.file_size > size or entry.file_size != entry.compress_size:
        raise ValueError("it is damaged, or something else")
    return Section(file, start, entry.file_size)


def pack(
    file: BinaryIO, parts: dict[str, Callable[[BinaryIO], None]], kind: str, version: int
) -> None:
    """Write parts to a zip, and a manifest with their SHA-256.

    Args:
        file: Where the zip is written.
        parts: For each part, by name, what writes it to a stream.
        kind: What it holds, in words.
        version: The version of its format.
    """
    digests = {}
    with zipfile.ZipFile(file, "w") as archive:
        for name, write in parts.items():
            with archive.open(name, "w", force_zip64=True) as part:
                stream = _Digested(part)
                write(cast(BinaryIO, stream))
            digests[name] = stream.digest.hexdigest()
        manifest = {"format": f"{kind} of innvestigate", "version": version, "sha256": digests}
        archive.writestr(_MANIFEST, json.dumps(manifest, indent=1))


class _Digested(io.RawIOBase):
    """A stream whose SHA-256 is known when all is written to it."""

    def __init__(self, stream):
        self._stream, self.digest = stream, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.digest.update(data)
        return self._stream.write(data)


@contextmanager
def unpacked(
    path: str | os.PathLike | bytes, kind: str, version: int, is_part: Callable
) -> Iterator[dict[str, Section]]:
    """The parts of what `pack` has written, by name.

    The checksums find damage, not forgery. Whatever fails within the context is the file's fault.

    Args:
        path: The zip's name.
        kind: What it must hold, in words.
        version: The version of the format that can be read.
        is_part: Whether a part of a name may be in it.

    Raises:
        FileNotFoundError: If there is no such file.
        FileRefusedError: If anything is not as it was written.
    """
    with reading(path, kind) as file:
        try:
            found = members(file)
            manifest = json.loads(found.pop(_MANIFEST).read())
        except Exception as error:  # zipfile and json raise nearly every type
            why = error if type(error) is ValueError else "it is damaged, or something else"
            raise refused(path, kind, why) from error
        digests = _checked(path, manifest, kind, version)
        if set(digests) != set(found) or not all(map(is_part, found)):
            listed = ", ".join(sorted(found))
            raise refused(path, kind, f"its parts are not those that were written: {listed}")
        for name, part in found.items():
            if _digest(part) != digests[name]:
                raise refused(path, kind, f"{name!r} in it was altered")
        yield found


def _checked(path, manifest: Any, kind: str, version: int) -> dict:
    """The checksums of a manifest."""
    if not isinstance(manifest, dict) or manifest.get("format") != f"{kind} of innvestigate":
        raise refused(path, kind, "it is damaged, or something else")
    if manifest.get("version") != version:
        why = (
            f"its format has the version {repr(manifest.get('version'))[:20]}, and this version of "
            f"innvestigate reads version {version}. Load it with the innvestigate that wrote it, "
            "or a newer one"
        )
        raise refused(path, kind, why)
    digests = manifest.get("sha256")
    return digests if isinstance(digests, dict) else {}


def _digest(part: Section) -> str:
    part.seek(0)
    found = hashlib.file_digest(part, "sha256").hexdigest()
    part.seek(0)
    return found


def write_arrays(stream: BinaryIO, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays of numbers and text as numpy's `.npz`."""
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # an array may have any name


def read_arrays(file: Readable) -> dict[str, np.ndarray]:
    """The arrays that `write_arrays` has written.

    Raises:
        ValueError: If one is none of numbers or text, or is not as large as it says.
    """
    found = members(file)
    return {name.removesuffix(".npy"): read_array(part, name) for name, part in found.items()}


def read_array(file: Readable, name: str = "it") -> np.ndarray:
    """The array of numbers or text in a `.npy` file.

    Args:
        file: The file.
        name: What it is called, for messages.

    Raises:
        Exception: Of any type, if it is none, or not as large as it says.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    read_header = _HEADERS[npy.read_magic(file)]
    shape, _, dtype = read_header(file)
    if dtype.kind not in KINDS or not dtype.itemsize or any(length < 0 for length in shape):
        raise ValueError(f"{name} holds no numbers or text, but the type {dtype}")
    if math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError(f"{name} is not as large as it says")
    file.seek(0)
    array = npy.read_array(file, allow_pickle=False)
    return array.astype(dtype.newbyteorder("="), copy=False)
