"""What the workers share. A worker runs in its peer's environment: numpy is all there is.

A worker measures one method on one model in a process of its own, as `benchmarks/bench.py` does:
the first result from nothing, the most memory that was held until then, and the median over pairs
(method, gradient) timed in turn. Its last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from functools import partial

import numpy as np

PLAIN = "plain"  # the method that is nothing but the gradient all others are compared with


def main(offered, build, gradient, explainer) -> None:
    """Run a worker: `python WORKER PEER MODEL METHOD [--size N] [--batch N] [--pairs N]`.

    Args:
        offered: The names of the methods that each peer has.
        build: (model name, image size, number of images) -> the network and its images.
        gradient: network -> function from images to the gradient of the largest outputs.
        explainer: (peer, method, model name, network) -> function from images to relevance.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=offered)
    parser.add_argument("model")
    parser.add_argument("method")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=5)
    chosen = parser.parse_args()
    try:
        if chosen.method not in (PLAIN, *offered[chosen.peer]):
            raise NotImplementedError(f"{chosen.peer} has no such method")
        build_chosen = partial(build, chosen.model, chosen.size, chosen.batch)
        network, x = build_chosen()
        if chosen.method == PLAIN:
            _, found = first_calls(partial(gradient, network), x)
        else:
            explain, found = first_calls(
                partial(explainer, chosen.peer, chosen.method, chosen.model, network), x
            )
            twin, _ = build_chosen()  # without what the peer has hung on the network
            found |= compared(explain, gradient(twin), x, chosen.pairs)
    except Exception as error:
        found = {"error": one_line(error)}
    print(json.dumps(found))


def first_calls(make, x) -> tuple:
    """Make a function, call it until it is warm, and keep what it took.

    Returns:
        The function and {"first": seconds from nothing to the first result, "memory": peak in MiB}.
    """
    start = time.perf_counter()
    function = make()
    function(x)
    first = time.perf_counter() - start
    for _ in range(2):
        function(x)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return function, {"first": first, "memory": peak}


def compared(explain, gradient, x, pairs: int) -> dict:
    """The time as a ratio to the gradient's, and whether the relevance is finite.

    Raises:
        ValueError: If the relevance has not the shape of the images.
    """
    relevance = explain(x)
    if relevance.shape != x.shape:
        raise ValueError(f"relevance of shape {relevance.shape} for images of shape {x.shape}")
    gradient(x)
    ratios = [seconds(explain, x) / seconds(gradient, x) for _ in range(pairs)]
    return {"time": float(np.median(ratios)), "finite": bool(np.isfinite(relevance).all())}


def seconds(function, x) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    function(x)
    return time.perf_counter() - start


def noise(shape: tuple) -> np.ndarray:
    """Images of noise in [0, 1]."""
    return np.random.default_rng(0).uniform(0, 1, shape).astype("float32")


def tokens(words: int, shape: tuple) -> np.ndarray:
    """Random token ids."""
    return np.random.default_rng(0).integers(0, words, shape)


def one_line(error: Exception) -> str:
    """The kind of an error and the beginning of what it says."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:200].rstrip(": ")
