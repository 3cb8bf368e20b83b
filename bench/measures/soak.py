"""Slow changes in a long run with four fifths of the highest load that was held in time. Only with --soak."""

from __future__ import annotations

from bench.measures import held
from bench.results import Results, Row, Scale, Section, number
from bench.tools import OURS
from bench.work import Step, Work

NAME = "soak"
ABOUT = "80 % of the measured limit for 20 minutes; only with --soak"
#: The limit is the highest number of chats in `held` whose p99.9 of the gap error is below this (seconds).
_LATE_S = 0.02
_PART = 0.8


def _limit(scale: Scale, results: Results) -> int | None:
    fit = []
    for size in held.LADDERS[OURS]:
        rows = results.of(OURS, held.rung(scale, size))
        fit += [row["chats"] for row in rows if row.get("whole") and row["gap_error_s"]["steady"]["p99_9"] < _LATE_S]
    return max(fit, default=None)


def _work(scale: Scale, results: Results) -> Work | None:
    # If a number of chats of `held` is measured again, an earlier soak remains as it is.
    soaked = next((row["work"] for row in results.rows if row["work"]["keep"]), None)
    if soaked is not None:
        return Work(**soaked)
    limit = _limit(scale, results)
    if limit is None:
        return None
    chats = int(_PART * limit)
    return Work(chats, max(2.0, chats / 400), 60.0 * scale.soak_min, keep=True)


def steps(scale: Scale, results: Results) -> list[Step]:
    """First chatload's numbers of chats of `held`, to find the limit."""
    if not scale.soak_min:
        return []
    ladder = [Step(OURS, held.rung(scale, size)) for size in held.LADDERS[OURS]]
    if not set(ladder) <= results.done:
        return ladder
    work = _work(scale, results)
    return ladder if work is None else [*ladder, Step(OURS, work)]


def section(scale: Scale, results: Results) -> Section:
    """One row per metric."""
    title, text = "Soak", "The result of `chatload drift` for the run: slopes with 95 % intervals, and claims."
    if not scale.soak_min and not any(row["work"]["keep"] for row in results.rows):
        return Section(title, text, [["metric"], ["not measured: ask for it with --soak MINUTES"]])
    work = _work(scale, results)
    if work is None:
        return Section(
            title, text, [["metric"], [f"not measured: no number of chats had p99.9 below {1e3 * _LATE_S:g} ms"]]
        )
    rows: list[Row] = results.of(OURS, work)
    drift = next((row["drift"] for row in rows if row.get("drift")), None)
    if drift is None or drift.get("why_not"):
        why = results.problem(OURS, work) if drift is None else f"not measured: {drift['why_not']}"
        return Section(title, text, [["metric"], [why]])
    table = [["metric", "level", "per hour", "95 % interval", "claimed"]]
    for metric in drift["metrics"]:
        unit, bounds = metric["unit"], [metric["low"], metric["high"]]
        interval = " to ".join("no bound" if bound is None else f"{bound:.3g}" for bound in bounds)
        kinds = [kind for kind, is_it in (("drifts", metric["drifts"]), ("jumps", metric["jumps"])) if is_it]
        claimed = " or ".join(kinds) if metric.get("either") else ", ".join(kinds) or "nothing"
        table.append([metric["metric"], f"{metric['level']:.3g} {unit}", f"{metric['slope']:.3g}", interval, claimed])
    return Section(title, f"{number(work.chats)} chats for {work.steady_s / 60:g} minutes. {text}", table)
