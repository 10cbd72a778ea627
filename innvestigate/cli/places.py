"""Which files are read and written: found and checked before anything is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from innvestigate.cli.calls import asks_for_layers, cut, shortened

PICTURES = (".png", ".jpg", ".jpeg", ".pdf", ".svg", ".webp")
NUMBERS = (".npy", ".npz", ".csv")
PAGES = (".html", ".htm")
MODELS = (".keras", ".h5", ".hdf5")
DICOM = (".dcm", ".dicom")
IMAGES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".webp", ".gif", ".bmp", ".dib"),
    *(".apng", ".avif", ".jp2", ".j2k", ".pbm", ".pgm", ".ppm", ".pnm", ".pfm", ".tga", ".ico"),
    *DICOM,
)
"""What is read as an image: of what Pillow knows, that which runs no other program."""


@dataclass(frozen=True)
class Found:
    """A file of samples, and what it is called on paper."""

    path: Path
    name: str


def find_samples(paths: Iterable[Path], recursive: bool = False) -> list[Found]:
    """Files of samples; of folders the images in them.

    Args:
        paths: Files and folders.
        recursive: Whether images in sub-folders are found, too, called by their folder and name.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If a folder cannot be read.
        ValueError: If a file is of another kind, or a folder holds no images.
    """
    found = []
    for path in paths:
        if existing(path).is_dir():
            found += _in_folder(path, recursive)
        else:
            _check_kind(path)
            found.append(Found(path, printable(path.name)))
    for file in found:
        if file.path.suffix.lower() in DICOM:
            check_pydicom(file.path)
    return found


def existing(path: Path) -> Path:
    """The path, if there is something.

    Raises:
        FileNotFoundError: If there is not.
    """
    try:
        path.stat()
    except PermissionError:
        raise
    except (OSError, ValueError):  # of names that no file may have
        raise FileNotFoundError(f"There is no file {cut(printable(path))}.") from None
    return path


def check_model(path: Path) -> None:
    """Whether a model may be there.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no file, or none of Keras's.
    """
    if existing(path).is_dir() or path.suffix.lower() not in MODELS:
        raise ValueError(
            f"{printable(path)} is not a Keras model file. Expected: .keras or .h5, as "
            "model.save('x.keras') writes them."
        )


def check_pydicom(path: Path) -> None:
    """Whether DICOM can be read here.

    Raises:
        ValueError: If pydicom is not installed.
    """
    if find_spec("pydicom") is None:
        raise ValueError(
            f"{printable(path)} is DICOM, which pydicom reads. It is not installed here: pip "
            "install 'innvestigate[dicom]'."
        )


def check_outputs(
    outs: Sequence[Path],
    kinds: Sequence[str],
    read: Sequence[Path],
    recursive: bool = False,
    force: bool = False,
) -> None:
    """Whether files may be written: nothing that is read is, and nothing old without `force`.

    Args:
        outs: Files and folders to write.
        kinds: The extensions that they may have; "" for folders.
        read: Files and folders that are read.
        recursive: Whether sub-folders are read, too.
        force: Whether files may be replaced.

    Raises:
        FileExistsError: If there is something already.
        ValueError: If an extension is unknown, it is a file in place of a folder or the other way
            round, or would be one of the inputs, now or the next time.
    """
    refuse_inputs(outs, read)
    for out in outs:
        _check_output(out, kinds)
        for folder in read:
            if folder.is_dir() and _would_be_read(out, folder, recursive):
                raise ValueError(
                    f"{printable(out)} is in the folder {printable(folder)}, and would be one of "
                    "its inputs the next time. Choose a place outside."
                )
        if not force:
            _refuse_old(out)


def refuse_inputs(outs: Iterable[Path], read: Iterable[Path]) -> None:
    """Refuse to write what is read.

    Raises:
        ValueError: If one of the outputs is one of the inputs, by whatever name.
    """
    known = {_identity(path) for path in read if not path.is_dir()}
    for out in outs:
        if _identity(out) in known:
            raise ValueError(
                f"{printable(out)} is an input, which is never replaced. Choose another --out."
            )


def check_methods_fit(outs: Sequence[Path], methods: Sequence[str]) -> None:
    """Whether files can hold what methods give.

    Raises:
        ValueError: If one can hold a single array and there are several, or results at layers.
    """
    at_layers = [method for method in methods if asks_for_layers(method)]
    for out in outs:
        kind = out.suffix.lower()
        if at_layers and kind != ".npz":
            raise ValueError(
                f"{shortened(at_layers[0])} has a result at each layer, which only .npz can hold: "
                f"--out {printable(out.with_suffix('.npz'))}."
            )
        if kind == ".npy" and len(set(methods)) > 1:
            raise ValueError(
                f"{printable(out)} can hold one array, and there are {len(set(methods))} methods. "
                "Use .npz, which has an array for each of them."
            )


def printable(path: str | os.PathLike) -> str:
    """A path or other text in letters that can be printed, whatever it is made of."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in os.fsdecode(path))


def _in_folder(folder: Path, recursive: bool) -> list[Found]:
    files = _files_below(folder, recursive)
    images = sorted(path for path in files if path.suffix.lower() in IMAGES)
    if not images:
        below = "" if recursive else " itself; --recursive finds those in its sub-folders"
        raise ValueError(f"There are no images in the folder {printable(folder)}{below}.")
    return [Found(path, printable(path.relative_to(folder))) for path in images]


def _files_below(folder: Path, recursive: bool) -> list[Path]:
    if not recursive:
        return [path for path in folder.iterdir() if not path.is_dir()]
    return [Path(at) / name for at, _, names in os.walk(folder, onerror=_fail) for name in names]


def _fail(error: OSError) -> None:
    raise error


def _check_kind(path: Path) -> None:
    if path.suffix.lower() not in (*IMAGES, ".npy", ".csv"):
        raise ValueError(
            f"{printable(path.name)} has the extension {path.suffix.lower()!r}. Expected: an image "
            "(.png, .jpg, .tif, .dcm, ...), .npy or .csv."
        )


def _check_output(out: Path, kinds: Sequence[str]) -> None:
    kind, shown, real = out.suffix.lower(), printable(out), _real(out)
    if kind not in kinds:
        raise ValueError(f"{shown} has the extension {kind!r}. Expected: {_in_words(kinds)}.")
    if kind and real.is_dir():
        raise ValueError(f"{shown} is a folder. Expected: a file, or a folder without a dot.")
    if not kind and os.path.lexists(real) and not real.is_dir():
        raise ValueError(f"{shown} is a file. Expected: a folder, or a file with an extension.")
    if kind and os.path.lexists(real) and not real.is_file():
        raise ValueError(f"{shown} is a device or a pipe, which is not written to: name a file.")
    above = next((parent for parent in real.parents if os.path.lexists(parent)), real)
    if not above.is_dir():
        raise ValueError(f"{printable(above)} is no folder, so {shown} cannot be written.")
    if not os.access(real if real.is_dir() else above, os.W_OK):
        raise PermissionError(f"{shown} cannot be written: nothing may be put into its folder.")


def _in_words(kinds: Sequence[str]) -> str:
    words = {
        "a picture": [kind for kind in PICTURES if kind in kinds],
        "numbers": [kind for kind in NUMBERS if kind in kinds],
        "a page": [kind for kind in PAGES if kind in kinds],
    }
    told = [f"{word} ({', '.join(those)})" for word, those in words.items() if those]
    return ", ".join(told + ["a folder (no extension)"] * ("" in kinds))


def _refuse_old(out: Path) -> None:
    real = _real(out)
    if real.is_dir():
        if next(real.iterdir(), None) is not None:
            raise FileExistsError(
                f"The folder {printable(out)} is not empty. --force writes into it, and replaces "
                "files of the same names."
            )
    elif os.path.lexists(real):
        raise FileExistsError(f"{printable(out)} exists. --force replaces it.")


def _would_be_read(out: Path, folder: Path, recursive: bool) -> bool:
    """Whether what is written there is an image that is found in a folder."""
    if out.suffix and out.suffix.lower() not in IMAGES:
        return False
    place, home = _real(out), _real(folder)
    home_of = place.parent if out.suffix else place
    return home_of == home or (recursive and home in home_of.parents)


def _identity(path: Path) -> object:
    """What all names of one file have in common."""
    real = _real(path)
    return (real.stat().st_dev, real.stat().st_ino) if real.exists() else real


def _real(path: Path) -> Path:
    """Where a path leads, though there may be nothing yet: `new/../x` is `x`."""
    return Path(os.path.realpath(path))
