"""Which files are read and written: found and checked before anything is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from innvestigate.cli.calls import asks_for_layers, cut, shortened
from innvestigate.cli.listing import Files, names_below, printable
from innvestigate.utils.stored import is_store, record_beside, rows_beside

PICTURES = (".png", ".jpg", ".jpeg", ".pdf", ".svg", ".webp")
NUMBERS = (".npy", ".npz", ".csv")
PAGES = (".html", ".htm")
STORES = {".zarr": "zarr", ".parquet": "pyarrow"}
"""What is written batch by batch, and the package that writes it."""
LARGE = 1000
"""More samples than that are written batch by batch wherever it is possible."""
MODELS = (".keras", ".h5", ".hdf5")
DICOM = (".dcm", ".dicom")
IMAGES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".webp", ".gif", ".bmp", ".dib"),
    *(".apng", ".avif", ".jp2", ".j2k", ".pbm", ".pgm", ".ppm", ".pnm", ".pfm", ".tga", ".ico"),
    *DICOM,
)
"""What is read as an image: of what Pillow knows, that which runs no other program."""


@dataclass(frozen=True)
class Read:
    """What a command reads.

    Attributes:
        named: The files and folders that the user has named.
        found: The files of samples in them.
    """

    named: Sequence[Path]
    found: Sequence[Files]

    def __iter__(self) -> Iterator[Path]:
        yield from self.named
        for files in self.found:
            yield from (file.path for file in files)


def find_samples(paths: Iterable[Path], recursive: bool = False) -> Files:
    """Files of samples; of folders the images in them.

    Args:
        paths: Files and folders.
        recursive: Whether images in sub-folders are found, too, called by their folder and name.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If a folder cannot be read.
        ValueError: If a file is of another kind, or a folder holds no images.
    """
    found = Files()
    for path in paths:
        if existing(path).is_dir():
            found.add(path, _in_folder(path, recursive))
        else:
            _check_kind(path)
            found.add(path.parent, [path.name])
    dicom = next((file.path for file in found if file.path.suffix.lower() in DICOM), None)
    if dicom is not None:
        check_pydicom(dicom)
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
    read: Read,
    recursive: bool = False,
    force: bool = False,
) -> None:
    """Whether files may be written: nothing that is read is, and nothing old without `force`.

    Args:
        outs: Files and folders to write.
        kinds: The extensions that they may have; "" for folders.
        read: What is read.
        recursive: Whether sub-folders are read, too.
        force: Whether there may be something, to be replaced or gone on with.

    Raises:
        FileExistsError: If there is something already.
        ValueError: If an extension is unknown, it is a file in place of a folder or the other way
            round, or would be one of the inputs, now or the next time.
    """
    refuse_inputs(outs, read)
    for out in outs:
        _check_output(out, kinds)
        for path in read.named:
            _refuse_among_inputs(out, path, recursive)
        if not force:
            _refuse_old(out)


def goes_batchwise(outs: Sequence[Path], samples: int, asked: bool) -> bool:
    """Whether results are written while further ones are computed, so that a job can go on.

    That is so in stores, and in a single `.npy` where it is asked for or there are many samples.

    Args:
        outs: What is written.
        samples: How many samples there are at least.
        asked: Whether there is an option that needs it.

    Raises:
        ValueError: If it has to be so, and cannot.
    """
    stores = [out for out in outs if out.suffix.lower() in STORES]
    possible = len(outs) == 1 and outs[0].suffix.lower() in (*STORES, ".npy")
    if possible:
        return asked or bool(stores) or samples > LARGE
    if stores:
        raise ValueError(
            f"{printable(stores[0])} is written batch by batch, and nothing else along with it: "
            "give the other --out to a command of its own."
        )
    if asked:
        raise ValueError(
            "--resume, --skip-unreadable and --ray need one --out, a .zarr, .parquet or .npy, "
            "which are written batch by batch."
        )
    return False


def check_batchwise(out: Path, read: Read, force: bool, resume: bool) -> None:
    """Whether results can be written batch by batch there.

    Raises:
        FileExistsError: If there is something beside a `.npy` that it would replace.
        ValueError: If it would be an input, its library is missing, or it may not be replaced.
    """
    kind = out.suffix.lower()
    if force and resume:
        raise ValueError("--resume goes on with what is there, --force replaces it: choose one.")
    if kind == ".npy":
        beside = (record_beside(out), rows_beside(out))
        check_outputs(beside, (".json", ".csv"), read, force=force or resume)
    elif find_spec(STORES[kind]) is None:
        raise ValueError(
            f"{printable(out)} needs {STORES[kind]}, which is not installed here: pip install "
            f"'innvestigate[{kind[1:]}]'."
        )


def check_clustered(methods: Sequence[str]) -> None:
    """Whether a cluster can be used.

    Raises:
        ValueError: If there are several methods, or its library is missing.
    """
    if len(methods) > 1:
        raise ValueError("--ray takes one --method: give the others to commands of their own.")
    if find_spec("ray") is None:
        raise ValueError(
            "--ray needs ray, which is not installed here: pip install 'innvestigate[ray]'."
        )


def refuse_inputs(outs: Iterable[Path], read: Iterable[Path]) -> None:
    """Refuse to write what is read.

    Raises:
        ValueError: If one of the outputs is one of the inputs, by whatever name.
    """
    known = {_identity(_real(out)): out for out in outs if _real(out).is_file()}
    for path in read if known else ():
        if (out := known.get(_identity(path))) is not None:
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
        if at_layers and kind not in (".npz", ".zarr"):
            raise ValueError(
                f"{shortened(at_layers[0])} has a result at each layer, which only .npz and .zarr "
                f"can hold: --out {printable(out.with_suffix('.npz'))}."
            )
        if kind == ".npy" and len(set(methods)) > 1:
            raise ValueError(
                f"{printable(out)} can hold one array, and there are {len(set(methods))} methods. "
                "Use .npz or .zarr, which have an array for each of them."
            )


def _in_folder(folder: Path, recursive: bool) -> list[str]:
    images = names_below(folder, IMAGES, recursive)
    if not images:
        below = "" if recursive else " itself; --recursive finds those in its sub-folders"
        raise ValueError(f"There are no images in the folder {printable(folder)}{below}.")
    return images


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
    if kind in STORES:
        _check_store(out)
    elif kind and real.is_dir():
        raise ValueError(f"{shown} is a folder. Expected: a file, or a folder without a dot.")
    elif not kind and os.path.lexists(real) and not real.is_dir():
        raise ValueError(f"{shown} is a file. Expected: a folder, or a file with an extension.")
    elif kind and os.path.lexists(real) and not real.is_file():
        raise ValueError(f"{shown} is a device or a pipe, which is not written to: name a file.")
    above = next((parent for parent in real.parents if os.path.lexists(parent)), real)
    if not above.is_dir():
        raise ValueError(f"{printable(above)} is no folder, so {shown} cannot be written.")
    if not os.access(real if real.is_dir() else above, os.W_OK):
        raise PermissionError(f"{shown} cannot be written: nothing may be put into its folder.")


def _check_store(out: Path) -> None:
    if os.path.lexists(real := _real(out)) and not is_store(real):
        raise ValueError(
            f"{printable(out)} is there, and nothing that was written batch by batch before: it "
            "is neither gone on with nor replaced. Choose another --out."
        )


def _in_words(kinds: Sequence[str]) -> str:
    words = {
        "a picture": [kind for kind in PICTURES if kind in kinds],
        "numbers": [kind for kind in NUMBERS if kind in kinds],
        "a store": [kind for kind in STORES if kind in kinds],
        "a page": [kind for kind in PAGES if kind in kinds],
    }
    told = [f"{word} ({', '.join(those)})" for word, those in words.items() if those]
    return ", ".join(told + ["a folder (no extension)"] * ("" in kinds))


def _refuse_old(out: Path) -> None:
    real = _real(out)
    if out.suffix.lower() in STORES and real.is_dir():
        raise FileExistsError(
            f"{printable(out)} exists. --resume goes on with it, --force replaces it."
        )
    if real.is_dir():
        if next(real.iterdir(), None) is not None:
            raise FileExistsError(
                f"The folder {printable(out)} is not empty. --force writes into it, and replaces "
                "files of the same names."
            )
    elif os.path.lexists(real):
        raise FileExistsError(f"{printable(out)} exists. --force replaces it.")


def _refuse_among_inputs(out: Path, path: Path, recursive: bool) -> None:
    """Refuse to write into a folder that is read, or to replace one that holds what is read."""
    if path.is_dir() and _would_be_read(out, path, recursive):
        raise ValueError(
            f"{printable(out)} is in the folder {printable(path)}, and would be one of its inputs "
            "the next time. Choose a place outside."
        )
    real = _real(path)
    if out.suffix.lower() in STORES and _real(out) in (real, *real.parents):
        raise ValueError(
            f"{printable(out)} holds the input {printable(path)}, which is never replaced. Choose "
            "another --out."
        )


def _would_be_read(out: Path, folder: Path, recursive: bool) -> bool:
    """Whether what is written there is an image that is found in a folder."""
    if out.suffix and out.suffix.lower() not in IMAGES:
        return False
    place, home = _real(out), _real(folder)
    home_of = place.parent if out.suffix else place
    return home_of == home or (recursive and home in home_of.parents)


def _identity(path: Path) -> tuple[int, int] | None:
    """What all names of one file have in common; None if there is no file."""
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def _real(path: Path) -> Path:
    """Where a path leads, though there may be nothing yet: `new/../x` is `x`."""
    return Path(os.path.realpath(path))
