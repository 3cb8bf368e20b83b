"""`chatload history`: reads the runs below a folder, and says what changed."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from chatload import exit_codes
from chatload.click_types import CONFIDENCE
from chatload.errors import NothingTestedError, UsageError
from chatload.features.history.compute import Figure, History, LeastChange, LeftOut, PastRun, make_history
from chatload.features.history.view import history_document
from chatload.features.report import sentences
from chatload.features.report.summary import summarize, summary_reads
from chatload.progress import CommandProgress
from chatload.render.output import deliver, tolerance_options
from chatload.render.words import instant
from chatload.run.reader import RunReader
from chatload.run.schema import RUN_FILE
from chatload.run.writer import replacing
from chatload.thresholds.gate import Gate, standard_thresholds
from chatload.thresholds.metrics import Metric, Threshold, metric_named, parse

#: A limit that a threshold on a metric of this kind may have; "< 1" for others. Only the judgement's value is used.
_ANY_LIMIT = {"rate": "< 50%", "duration": "< 1s"}


@click.command(short_help="Say what changed over the runs below RUNS_DIR, and since which run.")
@click.argument("runs_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--metric", "names", multiple=True, metavar="METRIC",
    help="A metric to examine; repeatable, see chatload thresholds. Default: those of --gate standard.",
)  # fmt: skip
@click.option(
    "--since", default="", metavar="RUN",
    help="The run, below RUNS_DIR, that the last runs are judged against. Default: the first one.",
)  # fmt: skip
@tolerance_options
@click.option(
    "--confidence", type=CONFIDENCE, default=95, show_default=True,
    help="Of 100 histories without a change, at least so many show none.",
)  # fmt: skip
@click.option("--html", "page", type=click.Path(path_type=Path), metavar="FILE", help="Write it as one HTML page too.")
@click.option(
    "--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE",
    help="Write a row for each run too: time, run, and a column for each metric that every run measured.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the figures of every run.")
def history(
    runs_dir: Path,
    names: tuple[str, ...],
    since: str,
    tolerance: float,
    rate_tolerance: float,
    hourly_tolerance: float,
    confidence: float,
    page: Path | None,
    csv_file: Path | None,
    as_json: bool,
) -> int:
    """Say what changed over the runs below RUNS_DIR, and since which run.

    All runs with the load of RUN (by default: of the last run) are put in order of time. Other runs, and
    runs that are invalid or tested nothing, are listed and left out. Changes of the level of each metric
    are found by exact rank tests. Runs that follow each other may be alike; then more runs are needed.

    A metric is worse if its level changed after RUN, and its last level is worse than the level at RUN. To
    accept a change, name a later RUN.

    Exit codes: 0 nothing is worse, 1 something is worse, 2 wrong usage, 4 too few runs to find a change
    after RUN, or the last run is invalid or tested nothing.

    \b
    Examples:
      chatload history reports/nightly --html history.html
      chatload history reports/nightly --since 2026-11-01 --csv runs.csv
    """
    standard = [parse(text) for text in standard_thresholds()]
    metrics = [_metric(name) for name in dict.fromkeys(names)]
    asked = [parse(f"{metric.name} {_ANY_LIMIT.get(metric.kind, '< 1')}") for metric in metrics]
    others = [threshold.metric for threshold in standard]
    with CommandProgress() as progress:
        runs, unread = _read_all(runs_dir, [*asked, *standard], progress)
    if not any(not run.unusable for run in runs):
        why = f": {(runs[-1].unusable if runs else unread[-1].why)}" if runs or unread else ""
        raise NothingTestedError(f"{runs_dir}: there is no run to learn from{why}", "name the folder above the runs")
    name = _named(since, runs_dir, runs, unread) if since else ""
    least = LeastChange(tolerance, rate_tolerance, hourly_tolerance)
    made = make_history(runs, metrics or others, name, least, unread, round(confidence / 100, 9), others, bool(metrics))
    if csv_file is not None:
        _write_csv(made, csv_file)
    deliver(history_document(made), made.to_dict() if as_json else None, html_file=page)
    if made.worse:
        return exit_codes.THRESHOLD_FAILED
    return exit_codes.PASSED if made.is_decided else exit_codes.INCONCLUSIVE


def _metric(name: str) -> Metric:
    """Return the metric that --metric names. Raises UsageError."""
    if ":" in name:
        hint = "leave it out; chatload compare --user-class compares one class"
        raise UsageError(f"--metric {name}: a history is of whole runs, not of a user class", hint)
    try:
        return metric_named(name)
    except UsageError as error:
        raise UsageError(f"--metric: {error.message.removeprefix('threshold: ')}", error.hint) from None


def _read_all(
    runs_dir: Path, asked: Sequence[Threshold], progress: CommandProgress
) -> tuple[list[PastRun], list[LeftOut]]:
    """Return the runs below a folder, each once, and those that cannot be read."""
    found: dict[Any, PastRun] = {}
    unread = []
    paths = sorted(runs_dir.rglob(RUN_FILE))
    progress.stage("reading the runs", len(paths), "runs")
    for path in paths:
        name = path.parent.relative_to(runs_dir).as_posix()
        try:
            run, identity = _read(path, name, asked, progress)
        except UsageError as error:
            unread.append(LeftOut(name, error.message.removeprefix(f"{path}: ")))
            continue
        if identity in found:
            unread.append(LeftOut(name, f"a copy of {found[identity].run}"))
        found.setdefault(identity, run)
    return list(found.values()), unread


def _read(path: Path, name: str, asked: Sequence[Threshold], progress: CommandProgress) -> tuple[PastRun, Any]:
    """Return a run, and what is equal only for two copies of one run. Raises UsageError."""
    with RunReader.open(path) as reader:
        started_at = reader.started_at
        if started_at is None:
            raise UsageError("it does not say when it started")
        with progress.part(reader.work(summary_reads(reader))) as reader.on_read:
            summary = summarize(reader, Gate(tuple(asked)))
        settings = reader.settings
    problems = [*summary["invalid_reasons"], *summary["books"]["imbalances"]]
    unusable = f"invalid: {problems[0]}" if problems else ""
    if not unusable and not summary["sessions"]["accepted"]:
        unusable = sentences.answer(summary)
    figures = {
        judged["metric"]: Figure(judged["value"], judged["beyond"])
        for judged in summary["thresholds"][: len(asked)]
        if judged["value"] is not None
    }
    identity = (started_at, reader.ended_at, settings)
    return PastRun(name, started_at, settings, summary["sessions"]["started"], figures, unusable), identity


def _named(since: str, runs_dir: Path, runs: Sequence[PastRun], unread: Sequence[LeftOut]) -> str:
    """Return the name of the run that the user means, as a path below the folder or as any path."""

    def is_meant(name: str) -> bool:
        folder = runs_dir / name
        return since == name or Path(since).resolve() in (folder.resolve(), (folder / RUN_FILE).resolve())

    for left in (*(LeftOut(run.run, run.unusable) for run in runs), *unread):
        if is_meant(left.run):
            if left.why:
                raise UsageError(f"--since {since}: {left.why}", "name another run")
            return left.run
    latest = max((run for run in runs if not run.unusable), key=lambda run: run.started_at)
    raise UsageError(f"--since {since}: there is no such run below {runs_dir}", f"for example {latest.run}")


def _write_csv(made: History, path: Path) -> None:
    """Write a row for each run and a column for each metric that every run measured: Otava needs a number in each."""
    whole = [row for row in made.metrics if all(row.figures)]
    with replacing(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["time", "run", *(row.metric.name for row in whole)])
        for i, run in enumerate(made.runs):
            values = (figure.value for row in whole if (figure := row.figures[i]) is not None)
            writer.writerow([instant(run.started_at, "%Y-%m-%d %H:%M:%S +0000"), run.run, *values])
