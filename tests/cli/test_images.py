"""Images of every depth, as the command line reads them."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.helpers import assert_refused, run

LINE = ("-m", "input", "-o", "x.npy", "--preprocessing", "none", "-f")


def read(name, *more, model="image.keras"):
    """What the model gets of an image."""
    result = run("explain", model, name, *LINE, *more)
    assert result.exit_code == 0, result.output
    return np.load("x.npy")[0]


def tiff(values, kind, sample_format, pages=1):
    """A TIFF of one channel, written by hand: Pillow writes fewer kinds than there are."""
    data = np.asarray(values, kind).tobytes()
    height, width = np.shape(values)
    bits = 8 * np.dtype(kind).itemsize
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 277: 1, 278: height}
    tags |= {279: len(data), 339: sample_format}
    content, after = bytearray(b"II*\x00" + struct.pack("<I", 8)), 8
    for page in range(pages):
        after += 2 + 12 * (len(tags) + 1) + 4 + len(data)
        tags[273] = after - len(data)
        content += struct.pack("<H", len(tags))
        for tag in sorted(tags):
            content += struct.pack("<HHII", tag, 4, 1, tags[tag])
        content += struct.pack("<I", after if page < pages - 1 else 0) + data
        del tags[273]
    return bytes(content)


VALUES = np.arange(36).reshape(6, 6) * 100 - 600


@pytest.mark.parametrize(
    ("kind", "code", "expected"),
    [
        ("uint8", 1, lambda v: v),
        ("int8", 2, lambda v: v),
        ("uint16", 1, lambda v: v / 257),
        ("int16", 2, lambda v: v),
        ("uint32", 1, lambda v: v),
        ("int32", 2, lambda v: v),
        ("float32", 3, lambda v: v),
    ],
)
def test_tiff_of_every_depth(kind, code, expected):
    values = VALUES.astype(kind)  # which wraps around where there is no sign
    Path("x.tif").write_bytes(tiff(values, kind, code))
    np.testing.assert_allclose(read("x.tif")[..., 0], expected(values.astype("float64")), rtol=1e-6)


def test_16_bits_of_a_png_become_0_to_255():
    values = np.random.default_rng(0).integers(0, 65536, (6, 6)).astype("uint16")
    Image.fromarray(values).save("x.png")
    np.testing.assert_allclose(read("x.png")[..., 0], values / 257, rtol=1e-6)
    scaled = read("x.png", "--preprocessing", "0-1", model="colour.keras")
    np.testing.assert_allclose(scaled, np.repeat(values[..., None], 3, -1) / 65535, rtol=1e-5)


def test_values_of_their_own_are_not_preprocessed():
    Path("x.tif").write_bytes(tiff(VALUES, "float32", 3))
    for mode in ("0-1", "tf", "caffe"):
        line = ("explain", "colour.keras", "x.tif", "-m", "input", "-o", "x.npy")
        assert_refused(run(*line, "--preprocessing", mode), "--scale and --offset")
    found = read("x.tif", "--scale", 0.1, "--offset", 5)
    np.testing.assert_allclose(found[..., 0], VALUES * 0.1 + 5, rtol=1e-5)


def test_a_shrunk_image_stays_within_its_values():
    values = np.where(np.arange(24) % 12 < 6, 65535, 0) * np.ones((24, 1))
    Image.fromarray(values.astype("uint16")).save("x.png")
    found = read("x.png")
    assert found.min() >= 0 and found.max() <= 255 and found.std() > 30


def test_one_page_is_meant():
    Path("x.tif").write_bytes(tiff(VALUES, "float32", 3, pages=3))
    assert_refused(
        run("explain", "image.keras", "x.tif", *LINE), "it holds 3 images, pages or frames"
    )


def test_not_every_value_is_a_number():
    Path("x.tif").write_bytes(tiff(np.full((6, 6), np.nan), "float32", 3))
    assert_refused(run("explain", "image.keras", "x.tif", *LINE), "it holds NaN or infinite values")


# DICOM


def dicom(values, **more):
    """A DICOM file of one channel."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    data.Rows, data.Columns = values.shape[:2]
    bits = 8 * values.dtype.itemsize
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(values.dtype.kind == "i")
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.PixelData = values.tobytes()
    for name, value in more.items():
        setattr(data, name, value)
    data.save_as("x.dcm", enforce_file_format=True)


def test_dicom_is_rescaled():
    values = VALUES.astype("int16")
    dicom(values, RescaleSlope=2, RescaleIntercept=-1024)
    np.testing.assert_allclose(read("x.dcm")[..., 0], values * 2.0 - 1024, rtol=1e-6)
    dicom(values.astype("uint16"))
    np.testing.assert_allclose(read("x.dcm")[..., 0], values.astype("uint16"), rtol=1e-6)


def test_colours_of_dicom_are_pixels():
    values = np.random.default_rng(0).integers(0, 255, (6, 6, 3)).astype("uint8")
    dicom(values, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    np.testing.assert_array_equal(read("x.dcm", model="colour.keras"), values)


def test_dicom_is_drawn_as_it_is_looked_at():
    """Small values are bright where it says so, and the heatmap lies over them."""
    from innvestigate.cli.pixels import open_picture

    dicom(VALUES.astype("int16"))
    plain = open_picture(Path("x.dcm"), 1).shown(1)
    dicom(VALUES.astype("int16"), PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(open_picture(Path("x.dcm"), 1).shown(1), 255 - plain)
    assert (plain.min(), plain.max()) == (0, 255)
    line = ("explain", "image.keras", "x.dcm", "-m", "gradient", "--preprocessing", "none")
    assert run(*line, "-o", "x.png", "-o", "x.html").exit_code == 0


def test_dicom_that_is_refused():
    dicom(np.zeros((2, 6, 6), "int16"), Rows=6, Columns=6, NumberOfFrames=2)
    assert_refused(run("explain", "image.keras", "x.dcm", *LINE), "it holds 2 frames")
    dicom(VALUES.astype("int16"), Rows=65535, Columns=65535)
    assert_refused(
        run("explain", "image.keras", "x.dcm", *LINE), "x.dcm cannot be loaded as an image"
    )
    whole = Path("x.dcm").read_bytes()
    Path("x.dcm").write_bytes(whole[:-30])
    assert_refused(
        run("explain", "image.keras", "x.dcm", *LINE), "x.dcm cannot be loaded as an image"
    )


def test_dicom_without_pydicom(monkeypatch):
    monkeypatch.setattr("innvestigate.cli.places.find_spec", lambda name: None)
    Path("x.dcm").write_bytes(b"")
    assert_refused(
        run("explain", "image.keras", "x.dcm", *LINE), "pip install 'innvestigate[dicom]'"
    )
