"""Files that are either complete and as they were written, or refused."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from innvestigate.utils.words import one_line, shown

try:
    import fcntl
except ImportError:  # on Windows what a crash left stays
    fcntl = None  # type: ignore[assignment]

_MACHINE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS),
    *(errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM),
}
"""Errors that tell of the disk and the process, not of a file."""


class FileRefusedError(ValueError):
    """A file is damaged, holds something else, or asks for what no file may ask for."""


def refused(path: str | os.PathLike | bytes, kind: str, why: Any) -> FileRefusedError:
    """The error that refuses a file, in one line.

    Args:
        path: The file.
        kind: What it should hold, in words.
        why: What is wrong with it: words, or an error.
    """
    text = f"there is no {why}" if isinstance(why, KeyError) else str(why).strip()
    words = (text or type(why).__name__).removesuffix(".")
    return FileRefusedError(one_line(f"{as_path(path)} cannot be loaded as {kind}: {words}."))


def as_path(path: str | os.PathLike | bytes) -> Path:
    """A path, which may be given as bytes.

    Raises:
        TypeError: If it is none.
        ValueError: If no file can be called so.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"path must be the path of a file. Received: {shown(path)}.")
    found = os.fsdecode(path)
    if not _is_possible(found):
        raise ValueError(f"path must be the path of a file. Received: {shown(path)}.")
    return Path(found)


def _is_possible(path: str) -> bool:
    """Whether a file can be called so."""
    try:
        longest = max(map(len, os.fsencode(path).split(os.fsencode(os.sep))))
    except UnicodeEncodeError:
        return False
    return bool(path) and "\0" not in path and longest <= 255


@contextmanager
def reading(path: str | os.PathLike | bytes, kind: str) -> Iterator[BinaryIO]:
    """A file to read from. Whatever fails within it is said to be the file's fault.

    Args:
        path: The file.
        kind: What it must hold, in words.

    Raises:
        FileNotFoundError: If there is no such file.
        FileRefusedError: If it is a folder, a device or a pipe, or anything but the disk and the
            memory fails.
    """
    path = as_path(path)
    if os.path.lexists(path) and not path.is_file():
        raise refused(path, kind, "it is a folder, a device or a pipe, or a link to nowhere")
    with path.open("rb") as file, blaming(path, kind):
        yield file


@contextmanager
def blaming(path: str | os.PathLike | bytes, kind: str) -> Iterator[None]:
    """Any error is the fault of a file, but for those of the disk and the memory.

    Raises:
        FileRefusedError: In place of the error.
    """
    try:
        yield
    except (FileRefusedError, MemoryError):
        raise
    except Exception as error:  # a parser of what others have written may raise anything
        if isinstance(error, OSError) and error.errno in _MACHINE:
            raise
        raise refused(path, kind, error) from error


@contextmanager
def replacing(path: str | os.PathLike | bytes) -> Iterator[BinaryIO]:
    """A file to write to, which takes its name when it is complete; until then the old one stays.

    It is written in a folder of its own next to that name, where other files may be put until it
    is complete. The old file's owner and permissions are kept, and symbolic links are followed.
    What an earlier attempt has left that was killed is removed.

    Args:
        path: The file's name.

    Raises:
        FileNotFoundError: If there is no such folder.
        FileExistsError: If there is something of that name that is no file.
    """
    target = Path(os.path.realpath(as_path(path)))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent} to write {target.name} to.")
    if target.exists() and not target.is_file():
        raise FileExistsError(
            f"{path!r} is a folder, a device or a pipe, which is not replaced: name a file."
        )
    with _folder_beside(target) as folder:
        unfinished = folder / "unfinished"
        with unfinished.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            _take_over(target.stat(), unfinished)
        os.replace(unfinished, target)


@contextmanager
def replacing_folder(
    path: str | os.PathLike | bytes, is_own: Callable[[Path], bool]
) -> Iterator[Path]:
    """A folder to write to, which takes its name when it is complete. See `replacing`.

    Args:
        path: The folder's name.
        is_own: Tells of a folder of that name whether it may be replaced.

    Raises:
        FileNotFoundError: If there is no folder to put it in.
        FileExistsError: If there is something of that name that may not be replaced.
    """
    target = Path(os.path.realpath(as_path(path)))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent} to write {target.name} to.")
    if target.exists() and not (target.is_dir() and is_own(target)):
        raise FileExistsError(
            f"{path!r} exists and is nothing that was written here before, so it is not replaced: "
            "name another folder."
        )
    with _folder_beside(target) as folder:
        unfinished, old = folder / "unfinished", folder / "old"
        yield unfinished
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(unfinished, target)
        except OSError:
            if old.exists():
                os.replace(old, target)
            raise


def _take_over(old: os.stat_result, path: Path) -> None:
    if hasattr(os, "chown"):
        with suppress(PermissionError):
            os.chown(path, old.st_uid, old.st_gid)
    path.chmod(stat.S_IMODE(old.st_mode))


@contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    """A folder that is gone afterwards. It is locked, which tells it from what a crash has left."""
    start = f".innvestigate-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}-"
    for left in target.parent.glob(f"{start}*"):
        if fcntl is not None and _lock(left, os.close):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=start, dir=target.parent))
    held: list[int] = []
    try:
        if fcntl is not None:
            _lock(folder, held.append)
        yield folder
    finally:
        for handle in held:
            os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


def _lock(folder: Path, keep: Callable[[int], Any]) -> bool:
    """Lock a folder that nobody else has locked, and say whether that worked."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody writes there, or the disk knows no locks
        os.close(handle)
        return False
    keep(handle)
    return True
