"""The files in folders, a million of them if need be: in the order of their names, and no more."""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Found:
    """A file of samples, and what it is called on paper."""

    path: Path
    name: str


class Files(Sequence[Found]):
    """Files of samples. What is held in memory is the name of each, of about 100 bytes."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._folders: list[Path] = []
        self._starts: list[int] = []

    def add(self, folder: Path, names: Iterable[str]) -> None:
        """Add files by their names below a folder."""
        self._starts.append(len(self._names))
        self._folders.append(folder)
        self._names += names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, i):
        if isinstance(i, slice):
            return [self[j] for j in range(len(self))[i]]
        i = range(len(self))[i]
        folder = self._folders[bisect_right(self._starts, i) - 1]
        return Found(folder / self._names[i], printable(self._names[i]))

    def fingerprint(self) -> str:
        """A checksum of all paths in their order, as the user has named them."""
        digest = hashlib.sha256()
        for file in self:
            digest.update(os.fsencode(file.path) + b"\0")
        return digest.hexdigest()


def names_below(folder: Path, kinds: Collection[str], recursive: bool) -> list[str]:
    """The names of files in a folder, by their extensions: sorted, folder by folder.

    Args:
        folder: The folder.
        kinds: The extensions, in small letters.
        recursive: Whether files in sub-folders are found, too. Links to folders are not followed.

    Raises:
        OSError: If a folder cannot be read.
    """
    found, waiting = [], [""]
    while waiting:
        above = waiting.pop()
        for name, is_folder in _entries(folder / above):
            if is_folder and recursive:
                waiting.append(os.path.join(above, name))
            elif not is_folder and os.path.splitext(name)[1].lower() in kinds:
                found.append(os.path.join(above, name))
    return sorted(found, key=lambda name: name.replace(os.sep, "\0"))


def printable(path: str | os.PathLike) -> str:
    """A path or other text in letters that can be printed, whatever it is made of."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in os.fsdecode(path))


def _entries(folder: Path) -> Iterator[tuple[str, bool]]:
    """What is in a folder, and whether it is one itself; links to folders are neither."""
    with os.scandir(folder) as entries:
        for entry in entries:
            is_folder = entry.is_dir()
            if not (is_folder and entry.is_symlink()):
                yield entry.name, is_folder
