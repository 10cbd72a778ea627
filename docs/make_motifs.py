"""Run docs/howto/motifs.md and MoDISco, and draw docs/images/motifs.png and mutagenesis.png.

    python docs/make_motifs.py path/of/modisco

`modisco` is the program of modisco-lite 3.0.0, in an environment of its own. Prints what the
contributions took. Takes about two minutes.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from innvestigate.visualization import plot_sequence_logo

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tests.docs.pages import blocks  # noqa: E402

PAGE = HERE / "howto" / "motifs.md"
PICTURE = HERE / "images" / "motifs.png"
OF_LETTERS = HERE / "images" / "mutagenesis.png"
EXPLAINS = "analyzer.analyze("


def draw(path):
    """The motifs that MoDISco has found, as high as their letters contribute on average."""
    with h5py.File(path) as file:
        found = list(file["pos_patterns"].values())
        logos = [trimmed(pattern["contrib_scores"][:]) for pattern in found]
        counts = [pattern["seqlets/n_seqlets"][0] for pattern in found]
    figure, axes = plt.subplots(len(logos), figsize=(5, 1.5 * len(logos)), layout="constrained")
    for ax, logo, count in zip(np.atleast_1d(axes), logos, counts, strict=True):
        plot_sequence_logo(logo, ax)
        ax.set(title=f"{count} places", ylabel="contribution")
    return figure


def trimmed(logo):
    """A logo without the places on either side at which nothing contributes."""
    sizes = np.abs(logo).sum(axis=1)
    start, *_, end = np.flatnonzero(sizes > 0.05 * sizes.max())
    return logo[max(0, start - 2) : end + 3]


def draw_letters(names: dict) -> plt.Figure:
    """What the letters of one sequence are worth, by in-silico mutagenesis."""
    figure, ax = plt.subplots(figsize=(8, 1.7), layout="constrained")
    plot_sequence_logo((names["by_mutation"][0] * names["x"][0])[55:145], ax)
    ax.set(ylabel="worth")
    return figure


def run_page() -> dict:
    """Run the page's blocks in the folder we are in, and return their names."""
    names = {"__name__": "page"}
    for code in blocks(PAGE, "python"):
        start, held = time.process_time(), _peak()
        exec(compile(code, str(PAGE), "exec"), names)
        if EXPLAINS in code:
            taken = time.process_time() - start
            print(f"contributions: {taken:.1f} s of one core, {_peak() - held} MiB")
    return names


def run_modisco(program: str) -> None:
    """Run MoDISco on what the page has written, as the page says."""
    (line,) = [x for x in "".join(blocks(PAGE, "bash")).splitlines() if x.startswith("modisco ")]
    subprocess.run([program, *line.split()[1:]], check=True)
    taken = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"MoDISco: {taken.ru_utime + taken.ru_stime:.1f} s of one core")


def _peak() -> int:
    """The most memory that was held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main(program: str) -> None:
    """Write the pictures."""
    mpl.use("Agg")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        draw_letters(run_page()).savefig(OF_LETTERS, dpi=110)
        run_modisco(program)
        draw("motifs/results.h5").savefig(PICTURE, dpi=110)
    print(f"Written: {OF_LETTERS}, {PICTURE}")


if __name__ == "__main__":
    main(sys.argv[1])
