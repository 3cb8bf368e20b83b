"""`chatload compare`: reads the runs, refuses what cannot be compared, and says how they differ."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import click

from chatload import exit_codes
from chatload.errors import UsageError
from chatload.features.compare.compute import WORSE, RunFigures, Tolerance, bounds, compare_runs, measure
from chatload.features.compare.view import comparison_document
from chatload.features.report.summary import refuse_unusable, summarize
from chatload.render.output import deliver, share_type
from chatload.run.reader import RunReader

#: Replaces -- in the arguments, because click would remove it. No run has this name.
_DIVIDER = "\x1f--"


class TwoSides(click.Command):
    """A command whose runs are BASE... -- NEW..., with options anywhere among them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep every -- as an argument, so that the callback can see on which side a run is."""
        return super().parse_args(ctx, [_DIVIDER if argument == "--" else argument for argument in args])


def _sides(ctx: click.Context, parameter: click.Parameter, words: Sequence[str]) -> tuple[list[str], list[str]]:
    if words.count(_DIVIDER) != 1:
        raise click.UsageError("put exactly one -- between the BASE runs and the NEW runs", ctx)
    at = words.index(_DIVIDER)
    base, new = list(words[:at]), list(words[at + 1 :])
    if not base or not new:
        where = "before" if not base else "after"
        raise click.UsageError(f"there is no run {where} --", ctx)
    return base, new


@click.command(cls=TwoSides, short_help="Compare runs with runs: better, worse, or no evidence.")
@click.argument("runs", nargs=-1, type=str, callback=_sides, metavar="BASE... -- NEW...")
@click.option(
    "--tolerance", type=share_type(0, 1), default="5%", show_default=True, metavar="SHARE",
    help="The least change of a duration that matters; of a margin, this part of the timeout.",
)  # fmt: skip
@click.option(
    "--rate-tolerance", type=share_type(0, 1), default="0.1%", show_default=True, metavar="SHARE",
    help="The least change of a rate that matters, to which --tolerance of the lower rate is added.",
)  # fmt: skip
@click.option("--allow-different", is_flag=True, help="Compare runs whose settings made different load.")
@click.option(
    "--allow-invalid", is_flag=True, help="Also with runs that are invalid, do not balance or tested nothing."
)
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Write it as Markdown too.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write it as one HTML page too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the figures of every run.")
def compare(
    runs: tuple[list[str], list[str]],
    tolerance: float,
    rate_tolerance: float,
    allow_different: bool,
    allow_invalid: bool,
    markdown: Path | None,
    html: Path | None,
    as_json: bool,
) -> int:
    """Compare runs before -- with runs after it: better, worse, or no evidence.

    The unit of evidence is the run, because all requests of a run have the same conditions. With at
    least four runs per side (five are better), six metrics are judged: dropped sessions, unserved
    sessions, unsuccessful requests, GetMessages latency p99, refresh lateness p99, margin p1. "worse"
    and "better" need a change beyond the tolerance that is larger than the noise between runs, by
    exact tests and by a bootstrap. Of 100 comparisons of equal things, at most 5 say better or worse.
    All other metrics are shown without a result. With fewer runs, no metric is judged.

    Make the runs alternately (base, new, base, new). Otherwise a change during the day looks like a
    difference between BASE and NEW.

    Exit codes: 0 nothing is worse, 1 something is worse, 2 wrong usage, or the settings of the runs
    made different load, 3 a run is invalid or its books do not balance, 4 a run tested nothing.

    \b
    Examples:
      chatload compare reports/v1-* -- reports/v2-*
      chatload compare v1-* -- v2-* --tolerance 10% --markdown compare.md
    """
    base, new = ([_read(name, allow_invalid) for name in side] for side in runs)
    comparison = compare_runs(base, new, Tolerance(tolerance, rate_tolerance))
    defining = [str(difference) for difference in comparison.differences if difference.defines_load]
    if defining and not allow_different:
        message = f"the runs made different load ({' | '.join(defining)})"
        raise UsageError(message, "--allow-different compares them all the same")
    deliver(comparison_document(comparison), comparison.to_dict() if as_json else None, markdown, html)
    return exit_codes.THRESHOLD_FAILED if comparison.word == WORSE else exit_codes.PASSED


def _read(name: str, allow_invalid: bool) -> RunFigures:
    with RunReader.open(name) as reader:
        summary = summarize(reader)
        books, settings = reader.books(), reader.settings
        told = json.dumps([settings.to_dict(), reader.facts, books.to_dict()], sort_keys=True)
    if not allow_invalid:
        refuse_unusable(summary, name, "leave it out, or say --allow-invalid")
    return RunFigures(
        run=name,
        figures=measure(books, settings.flex_disconnect_timeout, summary["sessions"]["cut_off_confirmed"]),
        timeout_s=settings.flex_disconnect_timeout,
        settings=settings,
        started_at=summary["started_at"],
        sessions=summary["sessions"]["started"],
        identity=hashlib.sha256(told.encode()).hexdigest(),
        bounds=bounds(books),
        problems=(*summary["invalid_reasons"], *summary["books"]["imbalances"]),
    )
