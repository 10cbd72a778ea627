"""The command line, `innvestigate` or `python -m innvestigate`."""

from innvestigate.cli.commands import app

__all__ = ["app"]
