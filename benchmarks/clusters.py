"""Throughput of `distributed.analyze` with one worker and with two, each with one thread.

    python benchmarks/clusters.py [--samples 2048] [--method lrp.epsilon]

Each run is a process of its own, with a cluster of as many cores as workers. Starting workers and
compiling are left out: both are the same for any number of samples. Two workers should do at least
1.6 times as much.
"""

from __future__ import annotations

import argparse
import json
import os
import time

import keras
import numpy as np
import ray
from keras import layers
from measure import in_own_process, markdown

import innvestigate
from innvestigate import distributed

SIZE, BATCH, RUNS = 96, 16, 3


def network() -> keras.Model:
    """Four convolutions and a dense layer."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((SIZE, SIZE, 3)),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Conv2D(64, 3, strides=2, activation="relu"),
            layers.Conv2D(128, 3, activation="relu"),
            layers.Conv2D(128, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


class Clock:
    """Takes the results of samples, and notes when."""

    def __init__(self, samples: int):
        self.shape = (samples, SIZE, SIZE, 3)
        self.times: list[tuple[int, float]] = []

    def __setitem__(self, part: slice, _: np.ndarray) -> None:
        self.times.append((part.stop, time.perf_counter()))

    def throughput(self, margin: int) -> float:
        """Samples a second, some batches at both ends left out.

        In between a result is taken whenever a batch is done; the last ones come when nothing is
        left to do.
        """
        (start, began), (end, ended) = self.times[margin], self.times[-1 - margin]
        return (end - start) / (ended - began)


def worker(samples: str, method: str, workers: str) -> dict:
    """Samples a second, with some workers."""
    count = int(workers)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    ray.init(num_cpus=count, include_dashboard=False, log_to_driver=False)
    shape = (int(samples), SIZE, SIZE, 3)
    data = ray.data.from_numpy(np.random.default_rng(0).random(shape, "float32"))
    analyzer, clock = innvestigate.create_analyzer(method, network()), Clock(int(samples))
    distributed.analyze(analyzer, data, out=clock, workers=count, batch_size=BATCH)
    return {"throughput": clock.throughput(6 * count)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", default="2048")
    parser.add_argument("--method", default="lrp.epsilon")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(*arguments.worker)))
        return
    what = arguments.samples, arguments.method
    pairs = [[in_own_process(__file__, *what, n) for n in "12"] for _ in range(RUNS)]
    found = np.array([[run["throughput"] for run in pair] for pair in pairs])
    rows = [[f"{one:.1f}", f"{two:.1f}", f"{two / one:.2f}"] for one, two in found]
    print(markdown(["one worker, samples a second", "two workers", "times"], rows))
    print(f"median: {np.median(found[:, 1] / found[:, 0]):.2f} times")


if __name__ == "__main__":
    main()
