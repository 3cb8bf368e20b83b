"""The `chatload` command: what is done with runs once they are made, and around them."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import click

from chatload import __version__, exit_codes
from chatload.errors import ChatloadError

#: Commands that live in modules of their own, imported only when they are asked for.
_LAZY = {
    "compare": "chatload.compare_command:compare",
    "simulator": "chatload.simulator.command:simulator",
    "demo": "chatload.demo:demo",
    "options": "chatload.swarm.option_list:options",
}
_INTERRUPTED = 130
_FIRST_COLUMNS = (
    "chat_id", "verdict", "blame", "started_at", "ended_at", "contacts", "gap_lower_s", "gap_upper_s",
)  # fmt: skip
_NUMERIC = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


class LazyGroup(click.Group):
    """A group that also finds the commands of _LAZY; those whose module is missing are left out."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands there are."""
        there = {name for name, target in _LAZY.items() if _exists(target.partition(":")[0])}
        return sorted({*super().list_commands(ctx), *there})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, None where there is none."""
        target = _LAZY.get(cmd_name)
        if target is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = target.partition(":")
        if not _exists(module):
            return None
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; that the reader of our output went away (`| head`) is no error."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # The interpreter flushes once more as it leaves, and must not meet the closed pipe again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return exit_codes.PASSED
        return result


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chatload")
def main() -> None:
    """Load and soak tests for polling chat sessions, with proof of what became of every one.

    A run is made by Locust with one of the locustfiles, and lands in a folder:

    \b
      chatload simulator --flex-disconnect-timeout 45      a chat service to try it on
      locust -f locustfiles/chat.py --host URL --headless --run-dir reports/mine

    The commands below take that folder as RUN:

    \b
      chatload report RUN                                  what became of the sessions
      chatload reconcile RUN --ledger URL_OR_FILE          whether the server agrees
      chatload export RUN sessions > sessions.csv          one row a session
      chatload compare BASE... -- NEW...                   better or worse than before

    Exit codes: 0 passed, 1 a threshold failed, 2 wrong usage, 3 the run is invalid, its books do
    not balance or the ledger contradicts it, 4 inconclusive.
    """


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
def report(run: Path) -> int:
    """Write RUN's summary.json anew and print it.

    RUN is a run's folder (or its run.sqlite), also of a run that was killed. Exits 3 where the run
    is invalid or its books do not balance.

    Example: chatload report reports/mine
    """
    from chatload.report.console import render
    from chatload.report.summary import exit_code, write_summary

    summary = write_summary(run)
    render(summary, sys.stdout, _width())
    return exit_code(summary)


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("what", type=click.Choice(["sessions"]))
@click.option("--output", type=click.Path(path_type=Path), help="File to write; standard output by default.")
def export(run: Path, what: str, output: Path | None) -> None:
    """Print RUN's sessions as CSV, one row a session.

    Instants are seconds since the Unix epoch, columns ending in _s are seconds; an empty cell is a
    value that there was none of. Text that a spreadsheet would take for a formula has a ' before it.

    Example: chatload export reports/mine sessions --output sessions.csv
    """
    from chatload.store.writer import replacing

    if output is None:
        _export_sessions(run, sys.stdout)
        return
    with replacing(output) as stream:
        _export_sessions(run, stream)


def _export_sessions(run: Path, stream: IO[str]) -> None:
    from chatload.session.record import COLUMNS
    from chatload.store.reader import RunReader

    columns = (*_FIRST_COLUMNS, *(name for name in COLUMNS if name not in _FIRST_COLUMNS))
    with RunReader.open(run) as reader:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for record in reader.sessions():
            writer.writerow([_cell(getattr(record, name)) for name in columns])


def _cell(value: object) -> object:
    """The value as a CSV cell that no spreadsheet takes for a formula."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") and not _NUMERIC.fullmatch(value):
        return f"'{value}"
    return value


def _pairs(ctx: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, equals, meaning = value.rpartition("=") if parameter.name == "reason" else value.partition("=")
        if not equals or not name or not meaning:
            raise click.BadParameter(f"{value!r} is not {parameter.metavar}", ctx, parameter)
        pairs[name] = meaning
    return pairs


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--ledger", "source", required=True, metavar="URL_OR_FILE", help="The server's ledger.")
@click.option(
    "--column", multiple=True, callback=_pairs, metavar="OURS=THEIRS",
    help="What the ledger calls one of our columns, e.g. chat_id=ID. Repeatable.",
)  # fmt: skip
@click.option(
    "--reason", multiple=True, callback=_pairs, metavar="THEIRS=OURS",
    help='What one of its end reasons means, e.g. "timeout=expired". Repeatable.',
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every contradiction.")
def reconcile(run: Path, source: str, column: dict[str, str], reason: dict[str, str], as_json: bool) -> int:
    """Compare RUN's verdicts with the server's own ledger, session by session.

    URL_OR_FILE is a simulator's address (http://127.0.0.1:8080), a URL or file of NDJSON, or a .csv
    file exported from a real server. Its columns are chat_id, started_at, ended_at, end_reason
    (disconnected, agent, idle, expired, unrecoverable, early; empty while alive), late_contact_at
    and max_gap_s; only chat_id and end_reason are needed. Exits 3 where anything contradicts.

    \b
    Example: chatload reconcile reports/mine --ledger export.csv \\
               --column chat_id=ID --column end_reason=Reason --reason timeout=expired
    """
    from chatload.analysis import ledger
    from chatload.analysis.reconcile import reconcile as compare
    from chatload.report.console import render_reconciliation
    from chatload.store.reader import RunReader

    columns = ledger.Columns(column, reason)
    with RunReader.open(run) as reader:
        result = compare(reader.sessions(), ledger.read(source, columns))
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    else:
        render_reconciliation(result, sys.stdout, _width())
    return exit_codes.PASSED if result.agrees else exit_codes.INVALID


def _width() -> int:
    return min(max(shutil.get_terminal_size((80, 24)).columns, 80), 100) if sys.stdout.isatty() else 80


def run(arguments: Sequence[str] | None = None) -> None:
    """The `chatload` command: runs it and leaves by SystemExit, every failure as one line on stderr."""
    sys.exit(_code(list(sys.argv[1:] if arguments is None else arguments)))


def _code(arguments: list[str]) -> int:
    try:
        result = main.main(arguments, prog_name="chatload", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return exit_codes.WRONG_USAGE
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"; see {context.command_path} --help" if context else ""
        return _fail(f"{error.format_message().rstrip('.')}{hint}", exit_codes.WRONG_USAGE)
    except ChatloadError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    return result if isinstance(result, int) else exit_codes.PASSED


def _fail(message: str, code: int) -> int:
    click.echo(f"chatload: {' '.join(message.split())}", err=True)
    return code


if __name__ == "__main__":
    run()
