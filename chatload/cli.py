"""The `chatload` command: reports on runs, and finds the other commands."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, cast

import click

from chatload import __version__, exit_codes
from chatload.click_types import CONFIDENCE, COUNT, explain_quantities, warn
from chatload.errors import MOST_TEXT, ChatloadError, UsageError, drop_output, printable
from chatload.plausibility import SIMULATOR_KEY, unknown_variables

#: Commands that live in modules of their own, imported only when they are asked for.
_LAZY = {
    "campaign": "chatload.features.campaign.command:campaign",
    "combine": "chatload.features.combine.command:combine",
    "compare": "chatload.features.compare.command:compare",
    "doctor": "chatload.features.doctor.command:doctor",
    "drift": "chatload.features.report.drift_view:drift",
    "forecast": "chatload.features.forecast.command:forecast",
    "init": "chatload.features.init.command:init",
    "history": "chatload.features.history.command:history",
    "plan": "chatload.features.plan.command:plan",
    "probe": "chatload.features.probe.command:probe",
    "signoff": "chatload.features.signoff.command:signoff",
    "simulator": "chatload.simulator.command:simulator",
    "demo": "chatload.features.demo.command:demo",
    "locustfile": "chatload.features.workloads:locustfile",
    "options": "chatload.swarm.options:options_command",
    "run": "chatload.features.workloads:run",
    "script": "chatload.features.script:script",
    "tune": "chatload.features.tune.command:tune",
}
#: Commands that send requests themselves. Locust names the unknown variables of runs, a campaign those of its steps.
_SENDING = ("doctor", "probe")


class LazyGroup(click.Group):
    """A group that also finds the commands of _LAZY; those whose module is missing are left out."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_LAZY})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _LAZY:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = _LAZY[cmd_name].partition(":")
        if find_spec(module) is None:
            return None
        command: click.Command = getattr(import_module(module), attribute)
        explain_quantities(command)
        return command

    def make_context(self, *args: Any, **named: Any) -> click.Context:
        """Parse the arguments. --help prints here."""
        with _open_output():
            return super().make_context(*args, **named)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _open_output():
            result = super().invoke(ctx)
            sys.stdout.flush()
        return result


@contextmanager
def _open_output() -> Iterator[None]:
    """End the command without a message if the reader of its output has gone (`| head`)."""
    try:
        yield
    except BrokenPipeError:
        drop_output()
        raise SystemExit(exit_codes.OUTPUT_CLOSED) from None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chatload")
def main() -> None:
    """Load and soak tests for polling chat sessions, with proof of what became of every one.

    A run is made by Locust with one of the workloads, and is stored in a folder:

    \b
      chatload init DIR                              a load test of your own
      chatload doctor --host URL --users N           checks before a run
      chatload simulator                             a chat service for tests
      chatload run chat --host URL --headless --run-dir reports/mine

    One command for a demand, from the first check to the page that is signed:

    \b
      chatload campaign FILE.toml                    servers needed, and the proof

    The commands below take that folder as RUN:

    \b
      chatload report RUN                            what became of the sessions
      chatload reconcile RUN --ledger URL_OR_FILE    whether the server agrees
      chatload export RUN sessions > sessions.csv    one row a session
      chatload compare BASE... -- NEW...             better or worse than before
      chatload history RUNS_DIR                      what changed over many runs
      chatload plan --chats-per-hour N --run RUN     how many servers that needs
      chatload forecast RUN --sessions 100000        what to expect at other loads

    Exit codes: 0 passed or not judged, 1 a threshold failed, 2 wrong usage, 3 the run is invalid, its
    books do not balance or the ledger contradicts it, 4 inconclusive or nothing tested, 130 interrupted.
    """


@main.command(short_help="Build RUN's reports, and print its summary.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--threshold", "thresholds", multiple=True, metavar="EXPR",
    help="Judge by this in place of the run's own thresholds. Repeatable; see chatload thresholds.",
)  # fmt: skip
@click.option(
    "--gate", "named", type=click.Choice(["standard"]),
    help="Judge by the thresholds that any chat service should meet (docs/ci.md). --threshold replaces the one of the "
    "same metric.",
)  # fmt: skip
@click.option("--confidence", type=CONFIDENCE, help="Confidence to demand. Default: the run's, or 95.")
@click.option(
    "--allow-inconclusive", is_flag=True,
    help="An inconclusive threshold does not fail the run, if what was seen keeps it. A run that tested nothing does "
    "not pass.",
)  # fmt: skip
@click.option(
    "--judge", "part", metavar="PART",
    help="Judge percentiles of latency and response time on this part: all, steady, or FROM-TO such as 2m-10m.",
)  # fmt: skip
@click.option(
    "--incident-size", type=COUNT,
    help="The largest number of sessions that one incident takes. Default: the run's, or 1.",
)  # fmt: skip
@click.option("--open", "opened", is_flag=True, help="Show report.html in the browser.")
def report(
    run: Path,
    thresholds: tuple[str, ...],
    named: str | None,
    confidence: float | None,
    allow_inconclusive: bool,
    part: str | None,
    incident_size: int | None,
    opened: bool,
) -> int:
    """Build RUN's report.html, summary.md, junit.xml and summary.json, and print the summary.

    RUN is a run's folder (or its run.sqlite), also of a run that was killed.

    Exit codes: 0 all thresholds passed, or there is none (not judged), 1 one failed, 2 wrong usage, 3 the
    run is invalid or its books do not balance, 4 one is inconclusive or nothing was tested.

    \b
    Examples: chatload report reports/mine --open
              chatload report reports/mine --gate standard
              chatload report reports/mine --threshold 'dropped.rate < 0.1%'
    """
    from chatload.features.capacity.view import report_capacity
    from chatload.features.report.page import PAGE_READS, write_report
    from chatload.features.report.summary import exit_code, summarize, summary_reads
    from chatload.features.report.view import summary_document, write_outputs
    from chatload.progress import CommandProgress
    from chatload.render.terminal import render
    from chatload.run.reader import RunReader
    from chatload.run.settings import option_of
    from chatload.thresholds.gate import regate

    part = option_of("judge").value(part)
    with RunReader.open(run) as reader:
        gate = regate(reader.settings, thresholds, confidence, allow_inconclusive, named or "", incident_size, part)
        warn(gate.doubts())
        try:
            with CommandProgress() as progress:
                reader.on_read = progress.advance
                progress.stage("reading the run", reader.work(summary_reads(reader) + PAGE_READS))
                summary = write_outputs(run, gate, progress.advance)
                written = write_report(reader, summary, progress)
        except UsageError:
            # The files cannot be written (full or read-only disk): print the summary at least.
            render(summary_document(summarize(reader, gate)), sys.stdout)
            raise
    render(summary_document(summary), sys.stdout)
    own = report_capacity(written.parent, sys.stdout)
    click.echo(f"\nreport: {written}")
    if opened and click.launch(str(written.absolute())):
        click.echo("no browser could be started: open this file in one", err=True)
    return exit_code(summary) or own or exit_codes.PASSED


@main.command(short_help="List the metrics of thresholds, and how a threshold is written.")
def thresholds() -> None:
    """List the metrics of thresholds, and how a threshold is written and judged.

    \b
    Example: locust -f locustfiles/chat.py ... \\
               --threshold 'dropped_late.rate < 0.1%'
    """
    from chatload.features.report.view import thresholds_document
    from chatload.render.output import deliver

    deliver(thresholds_document())


@main.command(short_help="Write RUN's facts as a table: CSV, JSON lines or Parquet.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("what", type=click.Choice(["sessions", "windows", "requests"]))
@click.option(
    "--format", "form", type=click.Choice(["csv", "jsonl", "parquet"]),
    help="Default: by the ending of --output, else csv. parquet needs pip install 'chatload[parquet]'.",
)  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: standard output.")
@click.option(
    "--user-class", default="", metavar="NAME",
    help="Write only the chats of this user class. Default: those of all classes.",
)  # fmt: skip
def export(run: Path, what: str, form: str | None, output: Path | None, user_class: str) -> None:
    """Write RUN's facts as a table for spreadsheets, pandas or DuckDB.

    \b
    sessions   one row a session: verdict, blame, bounds of the deciding gap
    windows    one row a second (10 s after 5 min): sessions, outcomes, times, CPU
    requests   one row an operation: outcomes, latency

    Instants are seconds since the Unix epoch, columns ending in _s are seconds; an empty cell (null in
    jsonl and parquet) means that there is no value. In csv, text that a spreadsheet would take
    for a formula has a ' before it. Runs of any size are streamed.

    \b
    Examples: chatload export reports/mine sessions --output sessions.csv
              chatload export reports/mine windows --output windows.parquet
              chatload export reports/mine sessions --format jsonl | head -1
              chatload export reports/mix windows --user-class Vip
    """
    from chatload.progress import CommandProgress
    from chatload.run.export import export as write
    from chatload.run.export import export_file, form_of
    from chatload.run.reader import OnRead

    form = form or (form_of(output) if output else "csv")
    if output is None and form == "parquet":
        raise UsageError("parquet is not text", "name a file with --output FILE.parquet")
    if output is None and sys.stdout.isatty():
        # A terminal would obey control characters in the run's texts. A file gets the texts unchanged. On a
        # terminal the rows themselves show the progress.
        write(run, what, form, cast(IO[str], PrintableStream(sys.stdout)), user_class)
        return
    with CommandProgress() as progress:

        def begin(work: float) -> OnRead:
            progress.stage(f"writing {what}", work)
            return progress.advance

        if output is None:
            write(run, what, form, sys.stdout, user_class, begin)
        else:
            export_file(run, what, form, output, user_class, begin)


class PrintableStream:
    """A text stream that writes only printable text to another one."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(printable(text))


def _pairs(ctx: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, equals, meaning = value.rpartition("=") if parameter.name == "reason" else value.partition("=")
        if not equals or not name or not meaning:
            raise click.BadParameter(f"{value!r} is not {parameter.metavar}", ctx, parameter)
        pairs[name] = meaning
    return pairs


@main.command(short_help="Compare RUN's verdicts with the server's own ledger.")
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
    (disconnected, agent, idle, expired, unrecoverable, early, restarted; empty while alive), late_contact_at,
    max_gap_s and timeout_s (that an expired session had); only chat_id and end_reason are needed. A URL is read
    for 10 minutes at most, and refused where it ends early. Exits 3 where anything contradicts, 2 where the
    ledger cannot be read whole, 4 where no session of the run has a chat id.

    \b
    Example: chatload reconcile reports/mine --ledger export.csv \\
               --column chat_id=ID --column end_reason=Reason \\
               --reason timeout=expired
    """
    from chatload.features.reconcile import ledger
    from chatload.features.reconcile.compute import reconcile as compare
    from chatload.features.reconcile.view import reconciliation_document
    from chatload.progress import CommandProgress
    from chatload.render.output import deliver
    from chatload.run.reader import RunReader

    columns = ledger.Columns(column, reason)
    with CommandProgress() as progress, RunReader.open(run, progress.advance) as reader:
        progress.stage("reading the ledger", unit="rows")
        rows = progress.counted(ledger.read(source, columns))
        records = progress.during("comparing", reader.count_sessions(), "sessions", reader.sessions())
        result = compare(records, rows, reader.settings.flex_disconnect_timeout)
    deliver(reconciliation_document(result), result.to_dict() if as_json else None)
    if not result.agrees:
        return exit_codes.INVALID
    return exit_codes.PASSED if result.compared else exit_codes.INCONCLUSIVE


def run(arguments: Sequence[str] | None = None) -> None:
    """The `chatload` command: runs it and leaves by SystemExit, every failure as one line on stderr."""
    sys.exit(_code(list(sys.argv[1:] if arguments is None else arguments)))


def _code(arguments: list[str]) -> int:
    try:
        _warn_of_variables(arguments)
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
    except (KeyboardInterrupt, click.Abort) as error:
        # click turns an interrupt into Abort; else this is the answer to a question.
        asked = isinstance(error, click.Abort) and not isinstance(error.__cause__, KeyboardInterrupt)
        return _fail("nothing was started or written" if asked else "interrupted", exit_codes.INTERRUPTED)
    except OSError as error:
        if error.filename is not None:
            raise
        # Without a file name it is standard output (for example, a full disk). Exit code 1 would be a failed threshold.
        drop_output()
        return _fail(f"the output cannot be written ({error.strerror or error})", exit_codes.WRONG_USAGE)
    return result if isinstance(result, int) else exit_codes.PASSED


def _warn_of_variables(arguments: Sequence[str]) -> None:
    """Name the CHATLOAD_ variables that set nothing, for commands that send requests and for the simulator."""
    command = next(iter(arguments), "")
    if {"-h", "--help"} & set(arguments):
        return
    if command == "simulator":
        # Those of runs may be set too; to know them takes too long here.
        names = [name for name in os.environ if name.startswith("CHATLOAD_SIMULATOR")]
        warn(unknown_variables(names, [SIMULATOR_KEY]))
    elif command in _SENDING:
        from chatload.run.settings import unknown_settings

        pairs = zip(arguments, [*arguments[1:], ""], strict=True)
        after = [after for word, after in pairs if word == "--dialect"]
        warn(unknown_settings([*after, *(word[10:] for word in arguments if word.startswith("--dialect="))]))


def _fail(message: str, code: int) -> int:
    click.echo(f"chatload: {printable(' '.join(message.split()), 2 * MOST_TEXT)}", err=True)
    return code


if __name__ == "__main__":
    run()
