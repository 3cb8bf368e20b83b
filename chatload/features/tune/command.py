"""`chatload tune`: runs a sweep of refresh intervals, or reads one, and recommends an interval."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from chatload import exit_codes
from chatload.chat.script import CustomerScript, load_script
from chatload.chat.settings import DEFAULT_SWEEP, fractions_in
from chatload.click_types import CONFIDENCE, COUNT, DURATION, RATE_PER_S, warn
from chatload.errors import UsageError
from chatload.features.report.summary import invalid_reasons, refuse_untested, summarize, summary_reads
from chatload.features.tune.compute import METRIC, TARGET, sessions_an_arm, sweep_s, tally
from chatload.features.tune.compute import tune as judge
from chatload.features.tune.load import hold, model_of
from chatload.features.tune.view import TuneReport, tune_document
from chatload.plausibility import doubtful
from chatload.progress import CommandProgress
from chatload.render.output import deliver, write_json
from chatload.render.words import duration, plural
from chatload.run.reader import Reads, RunReader
from chatload.run.settings import option_of
from chatload.thresholds.gate import make_gate
from chatload.thresholds.metrics import parse

_EXIT = {
    "recommended": exit_codes.PASSED,
    "none": exit_codes.THRESHOLD_FAILED,
    "inconclusive": exit_codes.INCONCLUSIVE,
    "invalid": exit_codes.INVALID,
}
#: Options that are not passed on to Locust as they were given.
_OWN = ("sweep", "sessions", "run_dir", "more")


def _locusts(setting: str, more: str = "") -> Callable[[Any], Any]:
    """Return an option of chatload's locustfiles as an option of this command. more: text added to its help."""
    option = option_of(setting)

    def checked(ctx: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
        option.value(text)
        return text

    text = option.help.replace("%%", "%")
    return click.option(option.flag, setting, metavar=option.metavar, help=text + more, callback=checked)


@click.command(short_help="Find the longest refresh interval for a target drop rate.")
@click.option("--run", type=click.Path(path_type=Path), metavar="DIR", help="Only read this sweep.")
@click.option("--host", metavar="URL", help="The service to run a sweep on.")
@click.option("-u", "--users", type=COUNT, help="Customers at once. Default: 100.")
@click.option("-r", "--spawn-rate", type=RATE_PER_S, help="Started per second. Default: 10.")
@click.option("-t", "--run-time", type=DURATION, help="End after this long at the latest, such as 30m.")
@_locusts("flex_disconnect_timeout")
@_locusts("sweep", f" Default: {DEFAULT_SWEEP}.")
@click.option("--sessions", type=COUNT, help="Sessions per interval. Default: 3 times the "
              "number that shows the target if none is dropped (897 for 1 %), times --incident-size.")  # fmt: skip
@click.option("--target", default=TARGET, show_default=True, metavar="SHARE",
              help="Drop rate to stay below: 1%, 0.01 or 'dropped.rate < 1%'.")  # fmt: skip
@click.option("--confidence", type=CONFIDENCE, default=95.0, show_default=True, help="Of the bound.")
@click.option("--incident-size", type=COUNT, default=1,
              help="The largest number of sessions of one interval that an incident takes. Default: the largest "
              "incident of the sweep.")  # fmt: skip
@_locusts("chat_length")
@_locusts("script")
@_locusts("chat_seed")
@click.option("--run-dir", type=click.Path(path_type=Path), metavar="DIR", help="Default: reports/<time>-tune.")
@click.option("--faults", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
              help="Faults of a simulator: adds the curve of the model, in virtual time.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="[-- LOCUST OPTIONS]")
def tune(
    run: Path | None,
    target: str,
    confidence: float,
    incident_size: int,
    faults: Path | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Find the longest refresh interval that keeps the drop rate below a target, and what it saves.

    Runs locust with a sweep: chats with several refresh intervals (parts of the timeout) at the same time, so that
    all have the same load, with the same number of sessions each. Then tests the intervals from the shortest up,
    until one is not shown to be below the target. Ctrl-C ends the sweep early and judges the sessions so far.
    Arguments after -- are passed to locust (chatload options lists more). Writes tune.html, tune.md and tune.json
    into the run's folder.

    Exit codes: 0 an interval is recommended, 1 not even the shortest keeps the target, 2 wrong usage, 3 the run is
    invalid, 4 inconclusive (it says how many sessions would decide it) or nothing tested.

    \b
    Examples: chatload tune --host URL -u 200 --flex-disconnect-timeout 45
              chatload tune --host URL --target 0.1% -- --processes 2
              chatload tune --run reports/20260101T000000Z-tune --target 2%
    """
    limit = limit_of(target)
    warn(doubtful({"--target": limit}))
    make_gate((), percent=confidence)
    if run is None:
        run = _sweep(given, limit, confidence / 100, incident_size)
    elif any(value for value in given.values()):
        raise UsageError("--run reads an existing sweep: options of a new one do not apply", "leave out one of them")
    report = read(run, limit, confidence / 100, faults, incident_size)
    _write(report, run, as_json)
    return _EXIT[report.tuning.result]


def read(run: Path, limit: float, confidence: float, faults: Path | None = None, incident_size: int = 1) -> TuneReport:
    """Judge the sweep in `run`. Raises UsageError where it is none, or cannot be read."""
    with CommandProgress() as progress, RunReader.open(run, progress.advance) as reader:
        progress.stage("reading the sweep", reader.work(summary_reads(reader) + Reads(sessions=1)))
        timeout, sweep = reader.settings.flex_disconnect_timeout, reader.settings.sweep
        if not timeout or timeout <= 0 or not sweep:
            raise UsageError(f"{run}: not a sweep", "make one with chatload tune --host URL")
        summary = summarize(reader)
        refuse_untested(summary, str(run), "make another sweep")
        fractions = fractions_in(",".join(map(str, sweep)))
        books = reader.books()
        # Drops that the generator may have caused are judged for each arm.
        books.suspects = 0
        problems = invalid_reasons(books) + summary["books"]["imbalances"]
        duration = 0.0 if reader.ended_at is None else reader.ended_at - (reader.started_at or 0.0)
        tallies = tally(reader.sessions())
        tuning = judge(tallies, timeout, limit, confidence, duration, problems, fractions, incident_size)
        model = None
        if faults is not None:
            model = judge(tally(model_of(reader, faults)), timeout, limit, confidence)
    return TuneReport(tuning, str(run), model)


def limit_of(target: str) -> float:
    """The drop rate in "1%", "0.01" or "dropped.rate < 1%". Raises UsageError."""
    threshold = parse(target if "<" in target or ">" in target else f"{METRIC} < {target}")
    if threshold.about != METRIC or threshold.op != "<":
        raise UsageError(f"--target {target!r} is not about {METRIC}", f"write 1% or '{METRIC} < 1%'")
    return threshold.limit


def _sweep(given: dict[str, Any], limit: float, confidence: float, incident_size: int) -> Path:
    from chatload.swarm.plan import new_run_dir

    if not given["host"]:
        raise UsageError("no host to run a sweep on, and no sweep to read", "give --host URL or --run DIR")
    arms = fractions_in(given["sweep"] or DEFAULT_SWEEP)
    sessions = given["sessions"] or sessions_an_arm(limit, confidence, incident_size)
    run_dir: Path = given["run_dir"] or new_run_dir("tune")
    options = {name: value for name, value in given.items() if name not in _OWN and value is not None}
    options = {"users": 100, "spawn_rate": 10, **options, "chats": sessions * len(arms), "run_dir": run_dir}
    options["sweep"] = ",".join(f"{arm:g}" for arm in arms)
    click.echo(_announcement(given, len(arms), sessions, options["users"]), err=True)
    hold(options, given["more"])
    return run_dir


def _announcement(given: dict[str, Any], arms: int, sessions: int, users: int) -> str:
    """Return what the sweep will do, how long it takes, and what would make it shorter."""
    script = load_script(given["script"]) if given["script"] else CustomerScript()
    length_s = option_of("chat_length").value(given["chat_length"])
    if length_s is not None:
        script = script.with_chat_length(length_s)
    takes_s = sweep_s(arms * sessions, users, script.chat_length)
    bound = f", {duration(given['run_time'])} at most (-t)" if given["run_time"] else ""
    return (
        f"sweep: {arms} intervals x {sessions} sessions, {plural(users, 'customer')} at once: about "
        f"{duration(takes_s)}{bound}. Shorter: more customers (-u), fewer intervals (--sweep), a higher --target, "
        "shorter chats (--chat-length), or a limit (-t)"
    )


def _write(report: TuneReport, run: Path, as_json: bool) -> None:
    folder = run if run.is_dir() else run.parent
    data = report.to_dict()
    write_json(data, folder / "tune.json")
    deliver(tune_document(report), data if as_json else None, folder / "tune.md", folder / "tune.html")
    if not as_json:
        click.echo(f"\npage: {folder / 'tune.html'}")
