"""The pictures of docs/howto/tables.md, drawn by its own code: writes docs/images/table_*.png.

Takes half a minute.
"""

import os
import sys
import tempfile
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np

import innvestigate

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tests.docs.pages import blocks, run  # noqa: E402


def main() -> None:
    mpl.use("Agg")
    mpl.rcParams["font.size"] = 12  # read on narrow screens, too
    known = {"innvestigate": innvestigate, "keras": keras, "np": np}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        names = run(blocks(HERE / "howto" / "tables.md", "python"), known)
        os.chdir(HERE)
    drawn = {"row": names["row"], "importance": names["bars"], "beeswarm": names["dots"]}
    figures = {name: ax.figure for name, ax in drawn.items()} | {"waterfall": names["waterfall"]}
    for name, figure in figures.items():
        figure.savefig(HERE / "images" / f"table_{name}.png", dpi=100, bbox_inches="tight")


if __name__ == "__main__":
    main()
