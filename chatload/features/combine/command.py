"""`chatload combine`: reads the runs, and judges them together."""

from pathlib import Path

import click

from chatload import exit_codes
from chatload.click_types import CONFIDENCE, COUNT, warn
from chatload.errors import UsageError
from chatload.features.combine.compute import CombinedRuns, combine_runs, judge_by_run
from chatload.features.combine.view import combined_document
from chatload.features.report.summary import FACTS_READS, facts_of, refuse_unusable, summarize, summary_reads
from chatload.progress import CommandProgress
from chatload.render.output import deliver
from chatload.run.reader import RunReader
from chatload.run.settings import GATES, RunSettings, settings_differences
from chatload.thresholds.gate import Gate, regate
from chatload.thresholds.metrics import Facts, Threshold, parse
from chatload.vocabulary import ThresholdResult

_EXIT = {
    ThresholdResult.PASS: exit_codes.PASSED,
    ThresholdResult.FAIL: exit_codes.THRESHOLD_FAILED,
    ThresholdResult.INCONCLUSIVE: exit_codes.INCONCLUSIVE,
}


@click.command(short_help="Judge repeated RUNs together, as often as you like.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--threshold", "thresholds", multiple=True, metavar="EXPR",
    help="Judge by this in place of the first run's own thresholds. Repeatable; see chatload thresholds.",
)  # fmt: skip
@click.option("--gate", "named", type=click.Choice(GATES), help="Judge by the thresholds of a gate (docs/ci.md).")
@click.option("--confidence", type=CONFIDENCE, help="Confidence to demand. Default: the first run's.")
@click.option(
    "--incident-size", type=COUNT,
    help="The largest number of sessions that one incident takes. Default: the first run's, or 1.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Write it as Markdown too.")
def combine(
    runs: tuple[Path, ...],
    thresholds: tuple[str, ...],
    named: str | None,
    confidence: float | None,
    incident_size: int | None,
    as_json: bool,
    markdown: Path | None,
) -> int:
    """Judge the rates of repeated RUNs together. It may be done after each run, until it is decided.

    A run that is repeated until it passes passes too often. The result of this command keeps its confidence
    however often it is asked, if every run since the first is given. Rates of sessions and incidents.per_hour
    are judged by all runs together. Other thresholds pass if they pass in every run, and fail if they fail
    in every run.

    Exit codes: 0 all thresholds pass, 1 one fails, 2 wrong usage, 3 a run is invalid, 4 one is undecided.

    \b
    Examples: chatload combine reports/monday reports/tuesday --gate standard
              chatload combine reports/nightly-* --incident-size 20
    """
    gate: Gate | None = None
    facts: list[Facts] = []
    alone: list[dict[Threshold, ThresholdResult]] = []
    aborted: list[str] = []
    first: RunSettings | None = None
    # What is equal only for two copies of one run: a run has more than one path, and its folder may be copied.
    identities: list[tuple[float | None, float | None, RunSettings]] = []
    with CommandProgress() as progress:
        progress.stage("reading the runs", len(runs), "runs")
        for run in runs:
            with RunReader.open(run) as reader:
                if first is None:
                    first = reader.settings
                    gate = regate(first, thresholds, confidence, False, named or "", incident_size)
                    warn(gate.doubts())
                _refuse_other_load(first, reader.settings, f"{run}: not the load of {runs[0]}")
                identity = (reader.started_at, reader.ended_at, reader.settings)
                if identity in identities:
                    copied = f"{run}: the same run as {runs[identities.index(identity)]}"
                    raise UsageError(f"{copied}: its evidence would count twice", "name each once")
                identities.append(identity)
                work = reader.work(summary_reads(reader) + FACTS_READS)
                with progress.part(work) as reader.on_read:
                    summary = summarize(reader, gate)
                    facts.append(facts_of(reader))
                refuse_unusable(summary, str(run), "repeat it; an invalid run shows nothing about the server")
                alone.append(
                    {parse(item["expression"]): ThresholdResult(item["result"]) for item in summary["thresholds"]}
                )
                if summary["aborted"]:
                    aborted.append(f"{run}: {summary['aborted']}")
    assert gate is not None
    judged = combine_runs(gate, facts)
    if not judged:
        raise UsageError(
            "no threshold on a rate of sessions or on incidents", "give --gate standard, or --threshold EXPR"
        )
    made = CombinedRuns([str(run) for run in runs], gate, judged, judge_by_run(gate, alone), aborted)
    deliver(combined_document(made), made.to_dict() if as_json else None, markdown)
    return _EXIT[made.result]


def _refuse_other_load(first: RunSettings, other: RunSettings, what: str) -> None:
    """Raise UsageError if the settings of two runs make different load. what: the beginning of the message."""
    differences = settings_differences([first], [other])
    if different := [difference for difference in differences if difference.defines_load]:
        raise UsageError(f"{what} ({different[0].name})", "give runs of one load")
