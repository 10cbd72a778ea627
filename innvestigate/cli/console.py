"""What commands write to the terminal: tables, errors and warnings in one line each."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

FAILED, WRONG = 1, 2
"""Exit codes: the analysis failed; the command line is wrong."""


class Stopped(typer.TyperException):
    """What ends a command, in one line."""

    def __init__(self, message: Any, exit_code: int):
        super().__init__(_one_line(message))
        self.exit_code = exit_code


class Commands(typer.core.TyperGroup):
    """Commands that tell errors and warnings in one line each, on stderr."""

    def main(self, *args, **kwargs):
        """Run a command and exit with its code."""
        try:
            with notes():
                code = super().main(*args, **kwargs | {"standalone_mode": False})
        except typer.TyperException as error:
            hint = "" if isinstance(error, Stopped) else f" See: {_help_of(error)}"
            typer.echo(f"Error: {_one_line(error.format_message())}{hint}", err=True)
            code = error.exit_code
        sys.exit(code)


def print_table(columns: list[str], rows: list[dict]) -> None:
    """Print a table as wide as the terminal; elsewhere as wide as it needs to be."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = (row[column] for column in columns)
        table.add_row(*(f"{c:.4g}" if isinstance(c, float) else escape(str(c)) for c in cells))
    console = Console()
    if not console.is_terminal:
        console = Console(width=Console(width=10_000).measure(table).maximum)
    console.print(table)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what TensorFlow writes at its start; an error brings it out.

    TF_CPP_MIN_LOG_LEVEL=0 or 1 shows it.
    """
    os.environ.setdefault("MPLBACKEND", "Agg")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") in ("0", "1"):
        yield
        return
    shown = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(shown, kept.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)


@contextmanager
def ends_with(exit_code: int) -> Iterator[None]:
    """End the command with an exit code where the library refuses what it is given."""
    try:
        yield
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        from innvestigate import NoRuleError

        message = error.args[0] if isinstance(error, KeyError) else error
        raise Stopped(message, FAILED if isinstance(error, NoRuleError) else exit_code) from error


@contextmanager
def notes() -> Iterator[None]:
    """Show warnings to the user, each once and in one line.

    That a final activation is taken off is no news here: what is explained is printed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("once", UserWarning)
        warnings.filterwarnings("ignore", "The model ends in a")
        warnings.showwarning = lambda message, *_, **__: typer.echo(
            f"Note: {_one_line(message)}", err=True
        )
        yield


def _one_line(message: Any) -> str:
    return " ".join(str(message).split())


def _help_of(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'innvestigate'} --help"
