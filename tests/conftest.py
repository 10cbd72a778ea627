"""Settings for every test: reproducible weights, one thread pool a worker."""

import keras
import pytest


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
