"""Arguments and options that commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Preprocessing(StrEnum):
    """The modes of `keras.applications`, and those that need no ImageNet."""

    none = "none"
    unit = "0-1"
    tf = "tf"
    torch = "torch"
    caffe = "caffe"


class Resize(StrEnum):
    """How an image gets the size of the model's input."""

    crop = "crop"
    stretch = "stretch"


ModelFile = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A Keras model: .keras or .h5.", show_default=False)
]
Methods = Annotated[
    list[str],
    typer.Option(
        *("--method", "-m"),
        metavar="NAME",
        help="A method, as `innvestigate methods` lists them; several are compared. Arguments as "
        "in Python: `'lrp.gamma(gamma=1)'`.",
        show_default=False,
    ),
]
Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT",
        help="Images (TIFF and DICOM among them), folders of images, .npy (one sample or several, "
        "as the model takes them), .csv (a row for each sample; a header names the features).",
        show_default=False,
    ),
]
Neuron = Annotated[
    str | None,
    typer.Option(
        metavar="INDEX|NAME",
        help="The output neuron to explain; `3,4,1` where the output has several axes. By default "
        "the largest of each sample.",
        show_default=False,
    ),
]
ClassNames = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Names of the classes: one on each line, or JSON (a list, or an object by index).",
        show_default=False,
    ),
]
Fit = Annotated[
    Path | None,
    typer.Option(
        metavar="DATA",
        help="Training data that the pattern methods are fitted on: .npy, .csv or a folder of "
        "images.",
        show_default=False,
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|FILE",
        help="What DeepLIFT, integrated gradients, occlusion and the like compare with: a number "
        "in the units of the model's input, or a file like INPUT, of which all samples are used.",
        show_default="0",
    ),
]
Pixels = Annotated[
    Preprocessing | None,
    typer.Option(
        metavar="MODE",
        help="What the model expects of image files, whose pixels are 0 to 255. `none`: 0 to 255; "
        "`0-1`; `tf`: -1 to 1; `torch`: ImageNet's mean and deviation taken off; `caffe`: BGR, "
        "ImageNet's mean taken off.",
        show_default="none",
    ),
]
Scale = Annotated[
    float,
    typer.Option(
        metavar="X", help="Pixels of image files are multiplied by this, after preprocessing."
    ),
]
Offset = Annotated[float, typer.Option(metavar="X", help="Added to the scaled pixels.")]
Resizing = Annotated[
    Resize,
    typer.Option(
        metavar="MODE",
        help="`crop`: the largest middle part of the model's aspect ratio; `stretch`.",
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(min=1, max=2**31 - 1, metavar="N", help="Samples that are run at a time."),
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Take the first N samples.", show_default=False),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on where an interrupted command stopped, with the same INPUT and options, in a "
        ".zarr, .parquet or .npy.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Share the work out among the workers of the Ray cluster at this address (`auto`, "
        "`host:6379`; `local` starts one of this machine's cores). For a .zarr, .parquet or .npy "
        "of one method.",
        show_default=False,
    ),
]
Skip = Annotated[
    bool,
    typer.Option(
        "--skip-unreadable",
        help="Go on where an image cannot be read: its results are NaN, in a .zarr or .npy.",
    ),
]
Explained = Annotated[
    list[Path],
    typer.Option(
        *("--out", "-o"),
        metavar="FILE|FOLDER",
        help="What to write, by its extension: a picture (.png, .pdf, .svg, ...), numbers "
        "(.npy, .npz; .csv for features), a page with all of it (.html), or a folder with a "
        "picture of each input and the numbers. Can be given several times. Folders are made. "
        "Of any number of inputs: a .zarr (.parquet for features), written batch by batch.",
        show_default=False,
    ),
]
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="Folders stand for all that is below them.")
]
Force = Annotated[
    bool,
    typer.Option("--force", "-f", help="Replace files that exist; but never one that is read."),
]
