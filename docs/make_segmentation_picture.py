"""The picture of docs/howto/segmentation.md: runs the code of that page, writes docs/images."""

import os
import re
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np

import innvestigate

HERE = Path(__file__).resolve().parent


def main() -> None:
    mpl.use("Agg")
    page = (HERE / "howto" / "segmentation.md").read_text("utf-8")
    names = {"innvestigate": innvestigate, "keras": keras, "np": np}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(code, names)
    figure = names["ax"].figure
    figure.set_size_inches(3.6, 6)
    figure.savefig(HERE / "images" / "segmentation.png", dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
