"""Files for CoRelAy and ViRelAy, read as ViRelAy 0.6.1 reads its attribution databases."""

import h5py
import numpy as np
import pytest

from innvestigate.stores import save_virelay

IMAGES = np.random.default_rng(0).normal(size=(5, 4, 3, 2)).astype("float32")
PREDICTIONS = np.eye(5, 3)
LABELS = np.array([0, 1, 2, 0, 1])


def test_images_with_channels_first(tmp_path):
    path = tmp_path / "lrp.h5"
    save_virelay(path, iter([IMAGES[:2], IMAGES[2:]]), LABELS, PREDICTIONS)
    with h5py.File(path) as file:
        assert set(file) == {"attribution", "label", "prediction"}
        np.testing.assert_array_equal(file["attribution"], IMAGES.transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(file["label"], LABELS)
        np.testing.assert_array_equal(file["prediction"], PREDICTIONS)
        assert file["attribution"].dtype == file["prediction"].dtype == "float32"


@pytest.mark.parametrize("kind", ["int64", "uint8", "bool"])
def test_rows_and_several_labels(tmp_path, kind):
    path, several = tmp_path / "lrp.h5", np.eye(5, 3).astype(kind)
    save_virelay(path, [IMAGES[:, 0, 0]], several, PREDICTIONS)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["attribution"], IMAGES[:, 0, 0])
        assert file["label"].dtype == bool
        np.testing.assert_array_equal(file["label"], several)


@pytest.mark.parametrize(
    ("attributions", "labels", "predictions", "message"),
    [
        ([IMAGES], LABELS[:4], PREDICTIONS, "for 4 labels"),
        ([IMAGES[:4]], LABELS, PREDICTIONS, "relevance of 4 samples for 5 labels"),
        ([], LABELS, PREDICTIONS, "relevance of 0 samples"),
        ([IMAGES], LABELS + 0.5, PREDICTIONS, "labels must be whole numbers"),
        ([IMAGES], LABELS, PREDICTIONS[:, 0], r"predictions must be \(n, classes\)"),
        ([IMAGES[:2], IMAGES[2:, :2]], LABELS, PREDICTIONS, r"attributions\[1\] have the shape"),
        ([IMAGES], np.eye(5, 4, dtype=int), PREDICTIONS, r"predictions, \(5, 3\). .* \(5, 4\)"),
        ([IMAGES], LABELS[:, None], PREDICTIONS, r"Received the shape: \(5, 1\)"),
        ([IMAGES], 2 * np.eye(5, 3, dtype=int), PREDICTIONS, "zeros and ones. Received: 2"),
        ([IMAGES], -np.eye(5, 3, dtype=int), PREDICTIONS, "zeros and ones. Received: -1"),
        ([1.0, 2.0, 3.0, 4.0, 5.0], LABELS, PREDICTIONS, "number 0 a single number, 1.0"),
        (IMAGES[:, 0, 0, 0], LABELS, PREDICTIONS, "batches of relevance"),
        ([IMAGES * np.nan], LABELS, PREDICTIONS, "NaN"),
    ],
)
def test_what_does_not_fit(tmp_path, attributions, labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        save_virelay(tmp_path / "lrp.h5", attributions, labels, predictions)
    assert not list(tmp_path.iterdir())
