"""Folders of photographs on the command line: the peak memory of `innvestigate explain`.

    python benchmarks/folders.py [--files 200 2000 20000] [--folder /tmp]

The photographs are noise, 64 by 64. Each job is a process of its own, which writes to zarr.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import in_own_process, peak_memory
from PIL import Image
from streams import SIZE, network

from innvestigate.cli import app


def photographs(folder: Path, count: int) -> None:
    """Files of noise."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for i in range(count):
        pixels = random.integers(0, 256, (SIZE, SIZE, 3)).astype("uint8")
        Image.fromarray(pixels).save(folder / f"{i:06}.png")


def worker(model: str, photos: str, out: str) -> dict:
    """Explain a folder."""
    start = time.perf_counter()
    line = ["explain", model, photos, "-m", "gradient", "-o", out, "--preprocessing", "0-1"]
    try:
        app(line)
    except SystemExit as end:
        assert not end.code
    return {"peak": peak_memory(), "seconds": time.perf_counter() - start}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, nargs="+", default=[200, 2_000, 20_000])
    parser.add_argument("--folder")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(*arguments.worker)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        model = Path(folder, "model.keras")
        network().save(model)
        for count in arguments.files:
            photos = Path(folder, f"photos{count}")
            photographs(photos, count)
            found = in_own_process(__file__, str(model), str(photos), f"{photos}.zarr")
            print(f"{count} files: {found['peak']:.0f} MiB, {found['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
