"""A folder with models and inputs that fit them."""

import shutil

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from PIL import Image

from tests.cli.helpers import image_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models and inputs that fit them."""
    folder = tmp_path_factory.mktemp("cli")
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    image_model().save(folder / "image.keras")
    image_model(3).save(folder / "colour.keras")
    dense = [layers.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(2)]
    keras.Sequential(dense).save(folder / "table.keras")
    series = [layers.Input((12, 2)), layers.Conv1D(3, 3), layers.Flatten(), layers.Dense(2)]
    keras.Sequential(series).save(folder / "series.keras")
    for i, size in enumerate([(6, 6), (12, 6)]):
        pixels = random.integers(0, 255, (*size[::-1], 3)).astype("uint8")
        Image.fromarray(pixels).save(folder / f"photo{i}.png")
    np.save(folder / "images.npy", random.random((3, 6, 6, 1)).astype("float32"))
    np.save(folder / "series.npy", random.random((12, 2)))
    table = pd.DataFrame(random.random((3, 4)), columns=["age", "size", "dose", "rate"])
    table.to_csv(folder / "table.csv", index=False)
    (folder / "classes.txt").write_text("cat\ndog\nowl, night bird\n")
    return folder


@pytest.fixture(autouse=True)
def _in_folder(folder, monkeypatch):
    """Each test finds the folder as the first one did: what exists is not replaced."""
    monkeypatch.chdir(folder)
    before = set(folder.iterdir())
    yield
    for path in set(folder.iterdir()) - before:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
