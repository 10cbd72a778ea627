"""`python -m innvestigate` is the command line."""

from innvestigate.cli import app

app(prog_name="python -m innvestigate")
