"""The relevance of an image on a page, over the image."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from PIL import Image

from innvestigate.utils.arguments import check_flags
from innvestigate.visualization.images import image_to_look_at, relevance_of_pixels
from innvestigate.visualization.scales import colour_scale

SMALL = 100  # pixels, below which an image is shown with sharp edges
STOPS = 9  # colours of a bar


class Overlay:
    """The relevance of one image, and the image: a page shows one over the other, with a slider.

    Colours are those of `plot_heatmap`, white at zero. They cover the image as far as the slider
    says, which is for all places the same.

    Args:
        relevance: Array of shape `(height, width)` or `(height, width, channels)`.
        image: The image, `(height, width)` or `(height, width, 1, 3 or 4)`, as bytes or in [0, 1].
            Other values are stretched to that range.
        percentile: Percentile of the absolute values at which the colours saturate, in (0, 100].
        signed: Whether to use the diverging map; by default wherever a value is negative.

    Attributes:
        image: The image in bytes.
        heat: The colours in bytes, `(height, width, 3)`.
        limits: The relevance at both ends of the colours.
        colours: Some of the colours from end to end, as CSS names them.
        is_zero: Whether there is no relevance at all.

    Raises:
        TypeError: If an array is not numeric.
        ValueError: If the relevance has another rank or is not finite, the image does not fit it,
            `percentile` is out of range, or `signed` is False and a value negative.
    """

    def __init__(
        self,
        relevance: np.ndarray,
        image: np.ndarray,
        *,
        percentile: float = 99.5,
        signed: bool | None = None,
    ):
        pixels = relevance_of_pixels(relevance)
        if signed is not None:
            check_flags(signed=signed)
        scale = colour_scale(pixels, percentile, signed)
        self.image = in_bytes(image_to_look_at(image, pixels.shape))
        self.heat = scale.to_rgba(pixels, bytes=True)[..., :3]
        self.is_zero = not np.any(pixels)
        self.limits: tuple[float, float] = scale.get_clim()
        stops = np.linspace(*self.limits, STOPS)
        self.colours = [to_hex(colour) for colour in scale.to_rgba(stops)]

    @property
    def is_small(self) -> bool:
        """Whether it has so few pixels that one sees them."""
        return max(self.image.shape[:2]) < SMALL


def in_bytes(image: np.ndarray) -> np.ndarray:
    """An image in [0, 1] as bytes."""
    return (image * 255).round().astype("uint8")


def encoded(pixels: np.ndarray) -> str:
    """An image in bytes as PNG in base64."""
    written: Any = io.BytesIO()
    flat = pixels[..., 0] if pixels.shape[2:] == (1,) else pixels
    Image.fromarray(np.ascontiguousarray(flat)).save(written, format="png")
    return base64.b64encode(written.getvalue()).decode("ascii")
