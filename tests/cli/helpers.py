"""How the tests of the command line run it."""

import keras
from keras import layers
from typer.testing import CliRunner

from innvestigate.cli import app


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def image_model(channels=1):
    return keras.Sequential(
        [
            layers.Input((6, 6, channels)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def one_line(text):
    return text.count("\n") == 1 and text.endswith("\n") and "Traceback" not in text


def assert_refused(result, *words):
    """A command ended with one line that has some words, and said nothing else."""
    assert result.exit_code == 2, result.output
    assert one_line(result.stderr)
    assert all(word in result.stderr for word in words), result.stderr
    assert result.stdout == ""
