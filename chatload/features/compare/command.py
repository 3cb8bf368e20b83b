"""`chatload compare`: reads the runs, refuses what cannot be compared, and says how they differ."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from chatload import exit_codes, units
from chatload.click_types import QuantityType
from chatload.errors import UsageError
from chatload.features.compare.compute import (
    ENOUGH_RUNS,
    EQUIVALENT,
    NOT_COMPARABLE,
    WORSE,
    DropsJudged,
    RunFigures,
    Tolerance,
    bounds,
    compare_runs,
    measure,
    trials,
)
from chatload.features.compare.power import MOST_RUNS, findable_by, make_plan
from chatload.features.compare.view import comparison_document, plan_document
from chatload.features.report.summary import refuse_unusable, summarize, summary_reads
from chatload.progress import CommandProgress
from chatload.render.output import deliver, tolerance_options
from chatload.run.reader import RunReader
from chatload.run.settings import SettingDifference, settings_differences

#: Replaces -- in the arguments, because click would remove it. No run has this name.
_DIVIDER = "\x1f--"


class TwoSides(click.Command):
    """A command whose runs are BASE... -- NEW..., with options anywhere among them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep every -- as an argument, so that the callback can see on which side a run is."""
        return super().parse_args(ctx, [_DIVIDER if argument == "--" else argument for argument in args])


def _sides(ctx: click.Context, parameter: click.Parameter, words: Sequence[str]) -> tuple[list[str], list[str]]:
    if ctx.params.get("plan"):
        if _DIVIDER in words:
            raise click.UsageError("--plan takes earlier runs of one system, without --", ctx)
        return list(words), []
    if words.count(_DIVIDER) != 1:
        raise click.UsageError("put exactly one -- between the BASE runs and the NEW runs", ctx)
    at = words.index(_DIVIDER)
    base, new = list(words[:at]), list(words[at + 1 :])
    if not base or not new:
        where = "before" if not base else "after"
        raise click.UsageError(f"there is no run {where} --", ctx)
    return base, new


_RUNS = units.COUNT.within(ENOUGH_RUNS, MOST_RUNS, f"a whole number from {ENOUGH_RUNS} to {MOST_RUNS}")


@click.command(cls=TwoSides, short_help="Compare runs with runs: worse, better, equivalent or undecided.")
@click.argument("runs", nargs=-1, type=str, callback=_sides, metavar="BASE... -- NEW...")
@tolerance_options
@click.option(
    "--drops", type=click.Choice([way.value for way in DropsJudged]), default=DropsJudged.AUTO.value, show_default=True,
    help="The rate of drops that is judged. auto: per chat-hour if the end of a run cut off more than 10 % of its "
    "chats, else per session.",
)  # fmt: skip
@click.option(
    "--require-equivalence", is_flag=True,
    help="Exit 0 only if every metric is shown to have changed by less than the tolerance; 4 if that is not shown.",
)  # fmt: skip
@click.option(
    "--allow-blocked", is_flag=True,
    help="Judge also if the sides do not alternate in time, so that a drift may look like a difference.",
)  # fmt: skip
@click.option(
    "--user-class", default="", metavar="NAME",
    help="Compare only the chats of this user class. Default: those of all classes.",
)  # fmt: skip
@click.option("--allow-different", is_flag=True, help="Compare runs whose settings made different load.")
@click.option(
    "--allow-invalid", is_flag=True, help="Also with runs that are invalid, do not balance or tested nothing."
)
@click.option(
    "--plan", is_flag=True, is_eager=True,
    help="Print in which order to make the runs. Takes at least 4 earlier runs of one system, or --runs.",
)  # fmt: skip
@click.option(
    "--runs", "count", type=QuantityType(_RUNS),
    help="With --plan: runs per side. Default: enough to find a regression of twice the tolerance in 80 % of cases.",
)  # fmt: skip
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Write it as Markdown too.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write it as one HTML page too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the figures of every run.")
def compare(
    runs: tuple[list[str], list[str]],
    tolerance: float,
    rate_tolerance: float,
    hourly_tolerance: float,
    drops: str,
    require_equivalence: bool,
    allow_blocked: bool,
    user_class: str,
    allow_different: bool,
    allow_invalid: bool,
    plan: bool,
    count: int | None,
    markdown: Path | None,
    html: Path | None,
    as_json: bool,
) -> int:
    """Compare runs before -- with runs after it: worse, better, equivalent or undecided.

    The unit of evidence is the run, because all requests of a run have the same conditions. With at
    least four runs per side (more are better), six metrics are judged: dropped sessions (or drops per
    chat-hour, see --drops), unserved sessions, unsuccessful requests, GetMessages latency p99, refresh
    lateness p99, margin p1. "worse"
    and "better" need a change beyond the tolerance that is larger than the noise between runs. Of 100
    comparisons of equal things, at most 5 say better or worse. "equivalent" needs an interval within
    the tolerance. "undecided" does not mean equal: the first table says which regressions these runs
    can find. All other metrics are shown without a result. With fewer runs, no metric is judged, and the
    exit code is 4.

    Make the runs in pairs (base and new, in random order): --plan prints a schedule. If the sides do
    not alternate, a drift of the conditions looks like a difference, and the runs are not comparable.

    Exit codes: 0 nothing is worse, 1 something is worse, 2 wrong usage, or the settings of the runs
    made different load, 3 a run is invalid or its books do not balance, 4 nothing was judged (fewer than
    four runs on a side), the runs are not comparable, --require-equivalence was not met, or a run tested
    nothing.

    \b
    Examples:
      chatload compare --plan reports/v1-*
      chatload compare reports/v1-* -- reports/v2-*
      chatload compare v1-* -- v2-* --tolerance 10% --require-equivalence
    """
    with CommandProgress() as progress:
        progress.stage("reading the runs", sum(map(len, runs)), "runs")
        base, new = ([_read(name, allow_invalid, user_class, progress) for name in side] for side in runs)
    tolerated = Tolerance(tolerance, rate_tolerance, hourly_tolerance)
    if plan:
        earlier = _earlier(base, count, allow_different)
        made = make_plan(earlier, count, tolerated, require_equivalence, np.random.default_rng(), DropsJudged(drops))
        deliver(plan_document(made), made.to_dict() if as_json else None, markdown, html)
        return exit_codes.PASSED
    if count is not None:
        raise UsageError("--runs needs --plan")
    comparison = compare_runs(base, new, tolerated, allow_blocked, DropsJudged(drops))
    comparison = replace(comparison, user_class=user_class)
    _refuse_different(comparison.differences, allow_different)
    found = findable_by(comparison)
    data = {**comparison.to_dict(), "findable": [item.to_dict() for item in found]}
    deliver(comparison_document(comparison, found), data if as_json else None, markdown, html)
    if comparison.word == WORSE:
        return exit_codes.THRESHOLD_FAILED
    undecided = comparison.word in (None, NOT_COMPARABLE) or (require_equivalence and comparison.word != EQUIVALENT)
    return exit_codes.INCONCLUSIVE if undecided else exit_codes.PASSED


def _earlier(runs: Sequence[RunFigures], count: int | None, allow_different: bool) -> list[RunFigures]:
    """Return the distinct runs whose noise a plan is made of. Raises UsageError if they are too few or differ."""
    distinct = list({run.identity: run for run in runs}.values())
    if not distinct and count is None:
        raise UsageError(f"--plan needs --runs N, or at least {ENOUGH_RUNS} earlier runs of one system")
    if distinct and len(distinct) < ENOUGH_RUNS:
        message = f"--plan needs at least {ENOUGH_RUNS} earlier runs to measure their noise; {len(distinct)} given"
        raise UsageError(message, "give more, or none and --runs N")
    settings = [run.settings for run in distinct]
    _refuse_different(settings_differences(settings, settings), allow_different)
    return distinct


def _refuse_different(differences: Sequence[SettingDifference], allow_different: bool) -> None:
    defining = [str(difference) for difference in differences if difference.defines_load]
    if defining and not allow_different:
        message = f"the runs made different load ({' | '.join(defining)})"
        raise UsageError(message, "--allow-different compares them all the same")


def _read(name: str, allow_invalid: bool, user_class: str, progress: CommandProgress) -> RunFigures:
    with RunReader.open(name) as reader, progress.part(reader.work(summary_reads(reader))) as reader.on_read:
        books, settings = reader.limited_to(user_class).books(), reader.settings
        summary = summarize(reader)
        told = json.dumps([settings.to_dict(), reader.facts, reader.books().to_dict()], sort_keys=True)
    figures = summary["by_class"][user_class] if user_class else summary
    if not allow_invalid:
        refuse_unusable(summary, name, "leave it out, or say --allow-invalid")
    confirmed = figures["sessions"]["cut_off_confirmed"]
    return RunFigures(
        run=name,
        figures=measure(books, settings.flex_disconnect_timeout, confirmed),
        timeout_s=settings.flex_disconnect_timeout,
        settings=settings,
        started_at=summary["started_at"],
        sessions=figures["sessions"]["started"],
        identity=hashlib.sha256(told.encode()).hexdigest(),
        bounds=bounds(books),
        trials=trials(books, confirmed),
        is_censored=figures["exposure"]["censored"],
        problems=(*summary["invalid_reasons"], *summary["books"]["imbalances"]),
    )
