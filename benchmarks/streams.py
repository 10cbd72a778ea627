"""100,000 images from a generator to zarr: peak memory, and a job that is killed and goes on.

    python benchmarks/streams.py [--samples 100000] [--folder /tmp]

Each job is a process of its own. Its peak memory is compared with that of a job of one batch; one
more is killed (SIGKILL) when half of the samples are written, and goes on to the end: its result
must be that of the undisturbed one, bit for bit. The results take 50 kB a sample on the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import zarr
from keras import layers
from measure import in_own_process, peak_memory, seconds

import innvestigate

SIZE, BATCH = 64, 64


def network() -> keras.Model:
    """Two convolutions and a dense layer."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((SIZE, SIZE, 3)),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ],
        name="network",
    )


def batches(samples: int):
    """Noise, the same for each batch in every run."""
    for start in range(0, samples, BATCH):
        shape = (min(BATCH, samples - start), SIZE, SIZE, 3)
        yield np.random.default_rng(start).uniform(size=shape).astype("float32")


def worker(samples: str, path: str) -> dict:
    """Write the results of some samples, going on where there are some."""
    analyzer = innvestigate.create_analyzer("gradient", network())
    taken = seconds(lambda: analyzer.analyze(batches(int(samples)), out=path, resume=True))
    return {"peak": peak_memory(), "seconds": taken}


def killed(samples: int, path: Path) -> int:
    """Kill a job when half is written; how many samples there are then."""
    command = [sys.executable, __file__, "--worker", str(samples), str(path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as job:
        while written(path) < samples // 2 and job.poll() is None:
            time.sleep(0.1)
        os.kill(job.pid, signal.SIGKILL)
    return written(path)


def written(path: Path) -> int:
    """How many samples a store holds."""
    try:
        return zarr.open_group(path, mode="r").attrs["innvestigate"]["samples"]
    except (OSError, KeyError, ValueError):  # not yet
        return 0


def equal(one: Path, other: Path) -> bool:
    """Whether two stores hold the same bits, read batch by batch."""
    a, b = (zarr.open_group(path, mode="r")["relevance"] for path in (one, other))
    parts = (slice(start, start + BATCH) for start in range(0, a.shape[0], BATCH))
    return a.shape == b.shape and all(np.array_equal(a[part], b[part]) for part in parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--folder")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(*arguments.worker)))
        return
    samples = arguments.samples
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        paths = [Path(folder, f"{name}.zarr") for name in ("one", "all", "killed")]
        one = in_own_process(__file__, str(BATCH), str(paths[0]))
        full = in_own_process(__file__, str(samples), str(paths[1]))
        print(f"one batch: {one['peak']:.0f} MiB")
        print(f"{samples} samples: {full['peak']:.0f} MiB, {full['peak'] / one['peak']:.2f} times")
        print(f"{samples / full['seconds']:.0f} samples a second")
        print(f"killed at {killed(samples, paths[2])} samples")
        in_own_process(__file__, str(samples), str(paths[2]))
        print(f"equal to the bit: {equal(paths[1], paths[2])}")


if __name__ == "__main__":
    main()
