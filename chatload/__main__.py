"""`python -m chatload` is the `chatload` command."""

from chatload.cli import run

run()
