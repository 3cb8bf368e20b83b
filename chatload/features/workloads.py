"""`chatload locustfile` and `chatload run`: the workloads that are installed with chatload.

They are the files of the repository's folder locustfiles/, as package data.
"""

from __future__ import annotations

import ast
import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import click

import chatload
from chatload.errors import UsageError

#: The command locust, with the name that its parser gives in errors. It may not be installed beside this Python.
_AS_LOCUST: Final = "import sys; from locust.main import main; sys.argv[0] = 'chatload run'; sys.exit(main())"
FOLDER: Final = Path(chatload.__file__).parent / "locustfiles"


def workloads() -> dict[str, str]:
    """Return the names of the workloads, each with the first line of its description."""
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem] = text.partition("\n")[0]
    return found


def path_of(name: str) -> Path:
    """Return the file of a workload. Raises UsageError if there is none of this name; it names the nearest one."""
    known = workloads()
    if name not in known:
        near = get_close_matches(name, known, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"no workload is named {name!r}", f"{meant}expected one of {', '.join(known)}")
    return FOLDER / f"{name}.py"


def _own_file(name: str) -> Path:
    """Return the path of a user's locustfile. Raises UsageError if it does not exist; it names the nearest one."""
    path = Path(name)
    if not path.is_file():
        near = get_close_matches(path.name, [other.name for other in path.parent.glob("*.py")], 1)
        hint = f"did you mean {path.with_name(near[0])}?" if near else "chatload locustfile lists the workloads"
        raise UsageError(f"{name}: no such file", hint)
    return path


def name_of(locustfile: str) -> str:
    """Return the name of the workload that a path is, of any installation of chatload; "" if it is none."""
    path = Path(locustfile)
    return path.stem if path.parts[-3:-1] == ("chatload", FOLDER.name) and path.stem in workloads() else ""


def headless_run(name: str, *options: str) -> tuple[str, ...]:
    """Return the command of a headless run of a workload that prints only chatload's own results."""
    command = (sys.executable, "-m", "chatload", "run", name)
    return (*command, "--headless", "--only-summary", "--loglevel", "WARNING", "--hide-locust-stats", *options)


@click.command(short_help="Print the path of a workload for locust -f.")
@click.argument("name", required=False, metavar="[WORKLOAD]")
def locustfile(name: str | None) -> None:
    """Print the path of a workload that is installed with chatload, for locust -f.

    Without a name: list them, each with what it does. Copy one to write a workload of your own.

    \b
    Examples: chatload locustfile
              locust -f "$(chatload locustfile arrivals)" --host URL
              cp "$(chatload locustfile chat)" mine.py
    """
    if name is not None:
        click.echo(path_of(name))
        return
    known = workloads()
    width = max(map(len, known))
    for each, description in known.items():
        click.echo(f"{each:{width}}  {description}")


@click.command(
    short_help="Start a run: locust with one of the workloads.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("name", metavar="WORKLOAD")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[LOCUST OPTIONS]...")
def run(name: str, options: tuple[str, ...]) -> None:
    """Start a run: the same as locust -f "$(chatload locustfile WORKLOAD)" [LOCUST OPTIONS].

    WORKLOAD is a name that chatload locustfile lists, or a locustfile of your own (a path ending in .py). Without
    --headless, Locust's web UI opens. This process becomes the locust process: its exit codes are those of a run, and
    Ctrl-C ends the run.

    \b
    The options that most runs need:
      --host URL            the chat service, such as https://chat.example
      -u N -r N             500 customers, 20 more each second: -u 500 -r 20
      -t TIME               end after this time, such as 10m
      --headless            without web UI, as in CI
      --run-dir DIR         where the report goes, such as reports/nightly
      --gate standard       thresholds that any chat service should meet
    chatload options lists those of chatload, locust --help those of Locust.

    \b
    Examples: chatload run chat --host URL
              chatload run arrivals --host URL --headless -t 30m \\
                --arrival-rate 4000/h
              chatload run mine.py --host URL --headless -u 10 -t 1m
    """
    own = Path(f"{name}.py")
    if not name.endswith(".py") and name not in workloads() and own.is_file():
        raise UsageError(f"no workload is named {name!r}", f"did you mean {own}, your locustfile?")
    path = _own_file(name) if name.endswith(".py") else path_of(name)
    sys.stdout.flush()
    sys.stderr.flush()
    # -P: as the command locust, which does not import modules from the current folder.
    command = [sys.executable, "-P", "-c", _AS_LOCUST, "-f", str(path), *options]
    os.execv(sys.executable, command)
