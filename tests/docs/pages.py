"""What the pages hold: blocks of code, tables, links."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`]+)`")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language, in the order of the page."""
    return [code for name, code in FENCE.findall(page.read_text()) if name == language]


def without_blocks(page: Path) -> str:
    """The page's text between the blocks."""
    return FENCE.sub("", page.read_text())


def last_column(page: Path) -> list[str]:
    """The code in the last column of each table row, rows of headings left out."""
    rows = [line for line in without_blocks(page).splitlines() if line.startswith("| ")]
    cells = [re.split(r"(?<!\\)\|", row)[-2] for row in rows]
    return [code for cell in cells for code in CODE.findall(cell)]


def run(codes: list[str], names: dict) -> dict:
    """The names after running pieces of code in their order."""
    for i, code in enumerate(codes):
        exec(compile(code, f"<block {i}: {code.strip().splitlines()[0]}>", "exec"), names)
    return names
