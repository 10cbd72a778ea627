"""Images of any depth: opened, brought to the size of a model's input, scaled as it expects."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import keras
import numpy as np
from PIL import Image, ImageOps

from innvestigate.cli.places import DICOM, check_pydicom
from innvestigate.utils.files import reading

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
SAMPLE_FORMAT, BITS = 339, 258  # tags of TIFF
SIGNED, FLOAT = 2, 3


@dataclass(frozen=True)
class Picture:
    """One image.

    Attributes:
        image: Its pixels: bytes, or single precision in one channel.
        scaled: Whether they run from 0 to 255. Other ones mean what they are, such as densities.
        inverted: Whether small values are bright.
    """

    image: Image.Image
    scaled: bool = True
    inverted: bool = False

    def fitted(self, width: int | None, height: int | None, resize: str) -> Picture:
        """The image in a size; None keeps that of the image. See `Reader`."""
        size = (width or self.image.width, height or self.image.height)
        if resize == "crop":
            image = ImageOps.fit(self.image, size, Image.Resampling.BICUBIC)
        else:
            image = self.image.resize(size, Image.Resampling.BICUBIC)
        if image.mode == "F":
            low, high = (0, 255) if self.scaled else self.image.getextrema()
            image = Image.fromarray(np.asarray(image).clip(low, high))
        return replace(self, image=image)

    def pixels(self, channels: int) -> np.ndarray:
        """Single precision `(height, width, channels)`."""
        if self.image.mode != "F":
            pixels = np.asarray(self.image, "float32")
            return pixels.reshape(*pixels.shape[:2], channels)
        return np.repeat(np.asarray(self.image, "float32")[..., None], channels, axis=-1)

    def shown(self, channels: int) -> np.ndarray:
        """Bytes to look at, `(height, width, channels)`."""
        pixels = self.pixels(channels)
        if not self.scaled:
            low, high = float(pixels.min()), float(pixels.max())
            pixels = (pixels - low) * (255 / ((high - low) or 1))
        return (255 - pixels if self.inverted else pixels).round().astype("uint8")


def open_picture(path: Path, channels: int) -> Picture:
    """The image in a file, with 1, 3 or 4 channels, or a single one that stands for all.

    Images of 16 bits, which count from 0 to 65535, become single precision from 0 to 255. Signed
    and floating point values, those of 32 bits and those of DICOM, rescaled, stay as they are.

    Raises:
        FileRefusedError: If it holds none that can be read, or several.
        ValueError: If it is DICOM, and pydicom is not installed.
    """
    is_dicom = path.suffix.lower() in DICOM
    if is_dicom:
        check_pydicom(path)
    with reading(path, "an image") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tags and the like
        return (_from_dicom if is_dicom else _from_image)(file, channels)


def preprocess(x: np.ndarray, mode: str | None) -> np.ndarray:
    """Pixels from 0 to 255 as a mode of `Reader` wants them.

    Raises:
        ValueError: If the mode is for another number of channels.
    """
    if mode in ("torch", "caffe") and x.shape[-1] != 3:
        raise ValueError(
            f"The preprocessing {mode!r} is for 3 channels. The model takes {x.shape[-1]}: choose "
            "another one."
        )
    if mode == "0-1":
        return x / 255
    if mode in (None, "none"):
        return x
    return keras.applications.imagenet_utils.preprocess_input(
        x, data_format="channels_last", mode=mode
    )


def _from_image(file: BinaryIO, channels: int) -> Picture:
    image = Image.open(file)
    count = getattr(image, "n_frames", 1)
    if count > 1 and image.format != "MPO":  # of cameras, which add previews
        raise ValueError(f"it holds {count} images, pages or frames. Save the one that is meant")
    image.load()
    tags: Any = getattr(image, "tag_v2", {})
    signed, bits = tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED, tags.get(BITS, (8,))[0]
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        return Picture(_of_array(np.asarray(upright) / 257))
    if upright.mode == "I" or (signed and bits == 8):
        return Picture(_of_array(_whole(upright, signed, bits)), scaled=False)
    if upright.mode == "F":
        return Picture(_of_array(np.asarray(upright)), scaled=False)
    return Picture(upright.convert(MODES[channels]))


def _whole(image: Image.Image, signed: bool, bits: int) -> np.ndarray:
    """Whole numbers, which Pillow reads as if all of 8 bits had no sign, and all others one."""
    values = np.asarray(image)
    if signed and bits == 8:
        return values.view("int8")
    return values if signed or bits != 32 else values.view("uint32")


def _from_dicom(file: BinaryIO, channels: int) -> Picture:
    import pydicom
    from pydicom.pixels import apply_modality_lut, pixel_array

    data = pydicom.dcmread(file)
    count = int(data.get("NumberOfFrames") or 1)
    if count > 1:
        raise ValueError(f"it holds {count} frames. Save the one that is meant")
    size = math.prod(int(data.get(name) or 1) for name in ("Rows", "Columns", "SamplesPerPixel"))
    if size > 2 * (Image.MAX_IMAGE_PIXELS or math.inf):
        raise ValueError(f"it says that it holds {size} pixels")
    pixels = pixel_array(data)
    if pixels.ndim == 3 and pixels.dtype == "uint8":
        return Picture(Image.fromarray(pixels).convert(MODES[channels]))
    if pixels.ndim != 2:
        raise ValueError("it holds colours of more than 8 bits")
    inverted = data.get("PhotometricInterpretation") == "MONOCHROME1"
    return Picture(_of_array(apply_modality_lut(pixels, data)), scaled=False, inverted=inverted)


def _of_array(values: np.ndarray) -> Image.Image:
    """Single precision.

    Raises:
        ValueError: If a value is not finite.
    """
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinite values")
    return Image.fromarray(np.ascontiguousarray(values, "float32"))
