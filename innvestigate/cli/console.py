"""What commands write to the terminal: tables, progress, errors and warnings in one line each."""

from __future__ import annotations

import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer

from innvestigate.utils.files import one_line

FAILED, WRONG, INTERRUPTED = 1, 2, 130
"""Exit codes: the analysis failed; the command line is wrong; Ctrl-C, by the shells' custom."""


LONGEST = 2_000
"""Letters of an error: enough for the names of all methods."""


class Stopped(typer.TyperException):
    """What ends a command, in one line."""

    def __init__(self, message: Any, exit_code: int):
        super().__init__(one_line(str(message), LONGEST))
        self.exit_code = exit_code


class Commands(typer.core.TyperGroup):
    """Commands that tell errors and warnings in one line each, on stderr."""

    def main(self, *args, **kwargs):
        """Run a command and exit with its code."""
        _open_streams()
        try:
            with notes(), told():
                code = super().main(*args, **kwargs | {"standalone_mode": False})
                if code == INTERRUPTED:
                    raise Stopped("interrupted. What is not complete is not written.", INTERRUPTED)
                _flush()
        except typer.TyperException as error:
            words = one_line(error.format_message(), LONGEST)
            if not isinstance(error, Stopped):
                words = f"{words.removesuffix('.')}. See: {_help_of(error)}"
            complain(f"Error: {words}")
            code = error.exit_code
        sys.exit(code)


def say(text: str) -> None:
    """Write to stdout. If nobody reads it any more, as behind `| head`, the work goes on.

    Raises:
        Stopped: If it cannot be written.
    """
    try:
        typer.echo(text)
    except BrokenPipeError:
        _discard(sys.stdout)
    except OSError as error:
        _discard(sys.stdout)
        raise Stopped(f"stdout cannot be written to: {error.strerror}.", FAILED) from error


def complain(text: str) -> None:
    """Write to stderr, if that is possible."""
    try:
        typer.echo(text, err=True)
    except OSError:
        _discard(sys.stderr)


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
    terminal = Console()
    needed = Console(width=10_000).measure(table).maximum
    written = io.StringIO()
    Console(
        file=written,
        width=terminal.width if terminal.is_terminal else needed,
        force_terminal=terminal.is_terminal,
    ).print(table)
    say(written.getvalue().removesuffix("\n"))


@contextmanager
def progress(total: int, before: int = 0) -> Iterator[Callable[[str, int], None]]:
    """A progress bar on stderr with its rate and the time that is left, if that is a terminal.

    Args:
        total: The number of pieces of work.
        before: How many of them were done before.

    Returns:
        A function of what is being done, in words, and the number of pieces that are done.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    bar = Progress(*_columns(), console=console, transient=True, disable=not console.is_terminal)
    with bar:
        task = bar.add_task("", total=total, completed=before)
        yield lambda words, done: bar.update(task, description=words, advance=done)


def _columns() -> list:
    from rich import progress as rich

    class Rate(rich.ProgressColumn):
        """Pieces of work in a second."""

        def render(self, task):
            return f"{task.speed:.3g}/s" if task.speed else ""

    return [
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        Rate(),
        rich.TimeRemainingColumn(elapsed_when_finished=True),
    ]


def watched(pieces: Any, size: int, done: Callable[[int], None]) -> Iterator[Any]:
    """Pieces of an array, of a size, and a call when one of them has been used."""
    for start in range(0, len(pieces), size):
        piece = pieces[start : start + size]
        yield piece
        done(len(piece))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what TensorFlow writes at its start. TF_CPP_MIN_LOG_LEVEL=0 or 1 shows it."""
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
        finally:
            os.dup2(shown, 2)
            os.close(shown)


@contextmanager
def starting() -> Iterator[None]:
    """Import Keras and its backend within this, quietly.

    Raises:
        Stopped: If they cannot be imported.
    """
    try:
        with quiet():
            yield
    except Exception as error:  # a backend may fail in any way
        backend = os.environ.get("KERAS_BACKEND")
        which = f" with KERAS_BACKEND={backend!r}" if backend else ""
        raise Stopped(
            f"Keras cannot be started{which}: {error}. Backends: tensorflow, jax and torch; pip "
            "install 'innvestigate[jax]' installs one.",
            WRONG,
        ) from error


@contextmanager
def ends_with(exit_code: int) -> Iterator[None]:
    """End the command with an exit code where the library refuses what it is given."""
    try:
        yield
    except (KeyError, OSError, RuntimeError, TypeError, ValueError, MemoryError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        if isinstance(error, MemoryError):
            message = f"There is not enough memory. {error}"
        raise Stopped(message, exit_code) from error


@contextmanager
def told() -> Iterator[None]:
    """Tell of errors that nobody has thought of in one line, too; `python -X dev` shows where.

    Raises:
        Stopped: In place of the error.
    """
    try:
        yield
    except (typer.TyperException, KeyboardInterrupt):
        raise
    except OSError as error:  # of stdout, as all else has its own words
        _discard(sys.stdout)
        raise Stopped(f"stdout cannot be written to: {error.strerror}.", FAILED) from error
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        raise Stopped(
            f"{type(error).__name__}: {error} This is unexpected: `python -X dev -m innvestigate "
            "...` shows where it comes from.",
            FAILED,
        ) from error


@contextmanager
def notes() -> Iterator[None]:
    """Show warnings to the user, each once and in one line.

    That a final activation is taken off is no news here: what is explained is printed. Nor is that
    a font lacks a letter.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("once", UserWarning)
        warnings.filterwarnings("ignore", "The model ends in a")
        warnings.filterwarnings("ignore", "Glyph ")
        warnings.showwarning = lambda message, *_, **__: complain(f"Note: {one_line(str(message))}")
        yield


def _open_streams() -> None:
    """Put nothing in the place of closed streams, or the next file would be taken for one of them.

    What an encoding has no letters for is written by its number.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _flush() -> None:
    with suppress(BrokenPipeError):
        if sys.stdout is not None:
            sys.stdout.flush()
        return
    _discard(sys.stdout)


def _discard(stream: Any) -> None:
    """Write what a stream still holds, and all that follows, to nowhere."""
    with suppress(AttributeError, OSError):
        handle = os.open(os.devnull, os.O_WRONLY)
        os.dup2(handle, stream.fileno())
        os.close(handle)


def _help_of(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'innvestigate'} --help"
