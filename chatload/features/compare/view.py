"""A comparison of runs as a document."""

from collections.abc import Iterator, Sequence

from chatload.features.compare.compute import (
    BETTER,
    DROPPED_HOURLY,
    ENOUGH_RUNS,
    EQUIVALENT,
    FAMILY_TERMS,
    NOT_COMPARABLE,
    UNDECIDED,
    WORSE,
    ComparedMetric,
    Comparison,
    ComparisonRow,
    DropsJudged,
    FigureKind,
    Tolerance,
)
from chatload.features.compare.power import HIGH, MOST_RUNS, USUAL, ComparisonPlan, Findable
from chatload.render import charts, words
from chatload.render import document as doc
from chatload.render.document import Tone
from chatload.render.words import MINUS

_TONES = {WORSE: Tone.BAD, BETTER: Tone.GOOD, EQUIVALENT: Tone.GOOD, UNDECIDED: Tone.WARN, NOT_COMPARABLE: Tone.WARN}
#: Letters of an order that are shown.
_LETTERS = 40
_SIDE_COLOURS = {"base": "var(--c6)", "new": "var(--good)"}


def comparison_document(comparison: Comparison, found: Sequence[Findable]) -> doc.Document:
    """Return a comparison as a document. found: what its runs can find; empty if nothing is judged."""
    judged = [row for row in comparison.rows if row.in_family]
    # Metrics whose figures are all 0 or missing are not shown.
    others = [row for row in comparison.rows if not row.in_family and any((*row.base, *row.new))]
    title = "Judged" if comparison.judged else "The main metrics"
    made = [
        (run.run, side, words.number(run.sessions))
        for side, runs in (("base", comparison.base), ("new", comparison.new))
        for run in runs
    ]
    named = doc.table("Runs", ("run", "side", "sessions"), made, "llr")
    drawn = [row for row in judged if any(figure is not None for figure in (*row.base, *row.new))]
    # What decided the result is the chart of the first screen.
    drawn.sort(key=lambda row: row.word != comparison.word)
    strips = [_strip(row) for row in drawn]
    sections = [
        doc.Section(title, (_metrics(title, judged, bool(comparison.judged)),)),
        *([doc.Section("One mark per run", (doc.SideBySide(strips[1:]),))] if strips[1:] else []),
        doc.Section("Runs", (named,)),
        doc.Section("How to read this", [doc.Sentence(remark, Tone.SOFT) for remark in _remarks(comparison)]),
    ]
    if found:
        sections.insert(0, doc.Section("What these runs can find", (_found("What these runs can find", found),)))
    if others:
        sections.insert(-2, doc.Section("Not judged", (_metrics("Not judged", others, False),), minor=True))
    if comparison.differences:
        rows = [
            (item.label, ", ".join(item.base), ", ".join(item.new), "yes" if item.defines_load else "no")
            for item in comparison.differences
        ]
        title, headings = "Settings that differ", ("setting", "base", "new", "changes the load")
        sections.insert(0, doc.Section(title, (doc.table(title, headings, rows, sides="lwwl"),)))
    lead: list[doc.Block] = [
        doc.Callout("invalid", f"run {run.run}: {'; '.join(run.problems)}")
        for run in (*comparison.base, *comparison.new)
        if run.problems
    ]
    if comparison.blocked:
        lead.append(doc.Sentence(_REMEDY))
    elif comparison.judged and not comparison.order.is_balanced:
        lead.append(doc.Callout("blocked order", f"{_order(comparison)}. {_BLOCKED_ERRORS}"))
    said = _answer(comparison).removeprefix(f"{comparison.word}: ")
    answer = doc.Sentence(said, _TONES.get(comparison.word or "", Tone.PLAIN))
    badge = None if comparison.word is None else doc.Badge(comparison.word, _TONES[comparison.word])
    only: doc.Text = ("the chats of user class ", doc.Code(comparison.user_class)) if comparison.user_class else ""
    return doc.Document(
        answer,
        sections,
        badge,
        lead,
        subject=only,
        tiles=list(_tiles(comparison)),
        overview=strips[0] if strips else None,
    )


def _tiles(comparison: Comparison) -> Iterator[doc.Tile]:
    """Yield the runs of each side, the metrics by result, and the settings that differ."""
    for side, runs in (("base", comparison.base), ("new", comparison.new)):
        sessions = sum(run.sessions for run in runs)
        yield doc.Tile(side, words.plural(len(runs), "run"), words.plural(sessions, "session"))
    if comparison.judged:
        judged = [row.word for row in comparison.judged]
        for word in (WORSE, BETTER, EQUIVALENT, UNDECIDED):
            count = judged.count(word)
            of = f"of {words.plural(len(judged), 'metric')}"
            yield doc.Tile(word, words.number(count), of, _TONES[word] if count else Tone.PLAIN)
    else:
        metrics = sum(row.in_family for row in comparison.rows)
        yield doc.Tile("judged", "nothing", f"{words.plural(metrics, 'metric')} shown", Tone.WARN)


_REMEDY = (
    "Make the runs in pairs, one of each side: chatload compare --plan prints a schedule. --allow-blocked judges these "
    "runs all the same."
)
_BLOCKED_ERRORS = (
    "If the conditions drifted while the runs were made, a difference that these runs show may be due to the drift "
    "(docs/statistics.md has measured error rates)."
)


def _order(comparison: Comparison) -> str:
    letters = comparison.order.letters
    if not letters:
        return "the order of the runs is not known, because one of them has no start time"
    shown = letters if len(letters) <= _LETTERS else f"{letters[: _LETTERS - 1]}…"
    return f"in the order of time the runs are {shown} (B = base, N = new)"


def _found(name: str, found: Sequence[Findable]) -> doc.Table:
    """Return the table of what runs can find of each metric."""
    headings = ["metric", "noise", f"found {100 * USUAL:g} %", f"found {100 * HIGH:g} %", "runs", "runs equiv."]
    rows = [[item.metric.label, *_findable_cells(item)] for item in found]
    return doc.table(name, headings, rows)


def _found_terms(tolerance: Tolerance) -> str:
    """Return what the columns of `_found` mean."""
    twice = _percent(2 * tolerance.relative)
    return (
        "Noise: the standard deviation of a run. Found 80 %: a regression of this size is called worse in 80 of 100 "
        f"comparisons. Runs: per side, to find twice the tolerance ({twice} of a duration) in 80 of 100 comparisons. "
        "Runs equiv.: per side, to call equal things equivalent in 80 of 100 comparisons."
    )


def _findable_cells(item: Findable) -> list[str]:
    changes = [_worse(item.metric, change) if change is not None else "none" for change in (item.usual, item.high)]
    noise = change_text(item.metric, item.noise).removeprefix("+")
    return [noise, *changes, *(_runs(runs) for runs in (item.runs, item.runs_for_equivalence))]


def _worse(metric: ComparedMetric, change: float) -> str:
    """Return a change for the worse with its sign."""
    return change_text(metric, change if metric.lower_is_better else -change)


def _runs(runs: int | None) -> str:
    return str(runs) if runs is not None else f"over {MOST_RUNS}"


def _metrics(name: str, rows: Sequence[ComparisonRow], judged: bool) -> doc.Table:
    """Return a table of metrics. judged: with a column for the result of each."""
    intervals = any(row.interval for row in rows)
    headings = ["metric", "base", "new", "change", *["interval"] * intervals, *["result"] * judged]
    lines: list[list[doc.TableCell | str]] = []
    for row in rows:
        base, new = _mean(row, row.base_mean, row.base_is_bound), _mean(row, row.new_mean, row.new_is_bound)
        word = doc.TableCell(
            row.word or "not judged", _TONES.get(row.word or "", Tone.PLAIN), row.word in (WORSE, BETTER)
        )
        cells = [row.metric.label, base, new, change_text(row.metric, row.change), *[_interval(row)] * intervals]
        lines.append([*cells, *[word] * judged])
    return doc.table(name, headings, lines, "lrrr" + "r" * intervals + "l" * judged)


def _answer(comparison: Comparison) -> str:
    base, new = len(comparison.base), len(comparison.new)
    if comparison.word is None:
        runs = f"{words.plural(base, 'run')} against {words.plural(new, 'run')}"
        if min(base, new) < ENOUGH_RUNS:
            sides = (("base", base), ("new", new))
            missing = [f"{ENOUGH_RUNS - made} more {side}" for side, made in sides if made < ENOUGH_RUNS]
            return (
                f"{runs}: not judged. A verdict (better, worse) needs at least {ENOUGH_RUNS} runs per side: make "
                f"{' and '.join(missing)}"
            )
        return f"{runs}: nothing could be judged"
    if comparison.word == NOT_COMPARABLE:
        return f"not comparable: {_order(comparison)}, so a drift of the conditions would look like a difference"
    judged = comparison.judged
    if comparison.word in (WORSE, BETTER):
        changed = [row for row in judged if row.word == comparison.word]
        named = (f"{row.metric.label} {change_text(row.metric, row.change)} ({_interval(row)})" for row in changed)
        return f"{comparison.word}: {', '.join(named)}"
    if comparison.word == EQUIVALENT:
        metrics = words.plural(len(judged), "metric")
        return f"equivalent: {metrics} within the tolerance at 95 % confidence, {base} runs against {new}"
    possible = [f"{row.metric.label} {_worst(row)}" for row in judged if not row.excludes_worse]
    possible += [f"{row.metric.label} by an unknown amount" for row in comparison.unmeasured]
    if not possible:
        return "undecided: a change for the worse is excluded at 95 % confidence, one for the better is possible"
    return f"undecided: a change for the worse is neither shown nor excluded. Still possible: {', '.join(possible)}"


def _worst(row: ComparisonRow) -> str:
    """Return the worst change that the interval of a row does not exclude."""
    bounded = row.base_is_bound or row.new_is_bound
    return "by an unknown amount" if bounded else change_text(row.metric, row.worst)


def _remarks(comparison: Comparison) -> Iterator[str]:
    relative, rate = _percent(comparison.tolerance.relative), _percent(comparison.tolerance.rate)
    if comparison.judged:
        yield (
            f"The tolerance is {relative} of a duration, {relative} of the timeout for a margin, and {rate} plus "
            f"{relative} of the lower rate for a rate. Differences below 0.1 ms of a latency and 10 ms of a lateness "
            "never matter."
        )
        if any(row.metric == DROPPED_HOURLY for row in comparison.judged):
            hourly = words.hourly(comparison.tolerance.hourly)
            yield f"For drops per chat-hour the tolerance is {hourly} plus {relative} of the lower rate."
        yield (
            "Worse and better: the change is beyond the tolerance and larger than the noise between runs. Of 100 "
            "comparisons of equal things, at most 5 say worse or better."
        )
        yield (
            "Equivalent: the interval lies within the tolerance. Undecided: a change beyond the tolerance may exist. "
            "Each end of an interval holds with 95 % confidence for its metric."
        )
        yield _found_terms(comparison.tolerance)
        how = "pair by pair, in the order of time" if comparison.order.is_paired else "as two groups"
        yield f"The runs were compared {how}."
    yield f"{'; '.join(FAMILY_TERMS)}."
    if any(row.metric == DROPPED_HOURLY for row in comparison.rows):
        yield "Drops per chat-hour: the dropped sessions by the time for which accepted chats were open."
    yield "Figures are means over runs, geometric means for durations. pt is percentage points."
    yield from comparison.notes


def plan_document(plan: ComparisonPlan) -> doc.Document:
    """Return the plan of a comparison: the order of the runs, and what it can find."""
    tolerance = plan.tolerance
    answer = f"{plan.runs} runs per side, in pairs of one base and one new run, each pair in random order"
    sections = [
        doc.Section("Make the runs in this order", (doc.Verbatim("\n".join(_steps(plan))),)),
        doc.Section("Then compare", (doc.Verbatim(_command(plan)),)),
    ]
    if plan.findable:
        title = f"What these runs can find, by the noise of {plan.earlier} earlier runs"
        sections.append(doc.Section(title, (_found(title, plan.findable),)))
    title = "What these runs can find of a duration, for an assumed noise"
    headings = ["noise", f"found {100 * USUAL:g} %", f"found {100 * HIGH:g} %", "runs", "runs equiv."]
    rows = [_findable_cells(item) for item in plan.by_noise]
    sections.append(doc.Section(title, (doc.table(title, headings, rows, "rrrrr"),)))
    sections.append(doc.Section("How to read this", (doc.Sentence(_found_terms(tolerance), Tone.SOFT),)))
    tiles = [
        doc.Tile("runs", words.number(2 * plan.runs), f"{words.number(plan.runs)} per side"),
        *(
            doc.Tile(f"noise {noise}", usual, f"is found in {100 * USUAL:g} of 100 comparisons")
            for noise, usual, *_ in rows[:3]
        ),
    ]
    return doc.Document(doc.Sentence(answer), sections, doc.Badge("schedule", Tone.PLAIN, in_text=False), tiles=tiles)


def _steps(plan: ComparisonPlan) -> Iterator[str]:
    """Yield a line for each run: its number, its side and its folder."""
    made = {"B": 0, "N": 0}
    width = len(str(plan.runs))
    for at, letter in enumerate(plan.letters, 1):
        made[letter] += 1
        side = {"B": "base", "N": "new"}[letter]
        yield f"{at:>{width + 1}}  {side:<4}  --run-dir compare/{side}-{made[letter]:0{width}}"


def _command(plan: ComparisonPlan) -> str:
    tolerance = plan.tolerance
    given = [f"--tolerance {100 * tolerance.relative:g}%", f"--rate-tolerance {100 * tolerance.rate:g}%"]
    if tolerance.hourly != Tolerance().hourly:
        given.append(f"--hourly-tolerance {tolerance.hourly:g}")
    if plan.drops is not DropsJudged.AUTO:
        given.append(f"--drops {plan.drops}")
    if plan.equivalence:
        given.append("--require-equivalence")
    return f"chatload compare compare/base-* -- compare/new-* \\\n  {' '.join(given)}"


def value(row: ComparisonRow, figure: float | None) -> str:
    if figure is None:
        return "none"
    if row.metric.kind is FigureKind.RATE:
        return _percent(figure)
    if row.metric.kind is FigureKind.HOURLY:
        return words.hourly(figure)
    return f"{figure:.2f}" if row.metric.kind is FigureKind.COUNT else words.with_minus(words.seconds(figure))


def _mean(row: ComparisonRow, mean: float | None, is_bound: bool) -> str:
    beyond = "" if mean is None or not is_bound else "under " if row.metric.kind is FigureKind.MARGIN else "over "
    return beyond + value(row, mean)


def _interval(row: ComparisonRow) -> str:
    if row.interval is None:
        return ""
    return f"{change_text(row.metric, row.interval[0], unit=False)} to {change_text(row.metric, row.interval[1])}"


def change_text(metric: ComparedMetric, by: float | None, unit: bool = True) -> str:
    """Return how much higher or lower NEW is, with its sign; empty for None."""
    if by is None:
        return ""
    kind, percent = metric.kind, abs(100 * by)
    suffix = {FigureKind.MARGIN: " s", FigureKind.RATE: " pt", FigureKind.HOURLY: " /h"}.get(kind, " %")
    amount = abs(by) if kind in (FigureKind.MARGIN, FigureKind.HOURLY) else percent
    decimals = 2 if amount < 10 else 1 if amount < 100 else 0
    if kind is FigureKind.HOURLY and amount < 1:
        decimals = 3
    digits = f"{amount:.{decimals}f}"
    sign = "+" if by > 0 else MINUS
    return (sign if float(digits) else "") + digits + (suffix if unit else "")


def _percent(share: float) -> str:
    """Three significant digits: rates side by side must differ where the runs do. Only 0 and 1 are 0 % and 100 %."""
    if share < 0.9995:
        return f"{100 * share:.3g} %"
    return f"{100 * share:.5g} %" if share == 1 or share < 0.9999 else words.percent(share)


def _strip(row: ComparisonRow) -> doc.Chart:
    """Return a mark for each run, a line for each side."""
    sides = {"base": row.base, "new": row.new}
    longest = max(abs(figure) for figure in (*row.base, *row.new) if figure is not None)
    unit = {FigureKind.RATE: "%", FigureKind.COUNT: "", FigureKind.HOURLY: "/h"}.get(
        row.metric.kind, "ms" if longest < 1 else "s"
    )
    scale = {"%": 100, "ms": 1000}.get(unit, 1)
    points = [
        {"side": side, "value": figure * scale}
        for side, figures in sides.items()
        for figure in figures
        if figure is not None
    ]
    across = charts.x("value", "", scale={"zero": False, "padding": 12, "nice": True})
    across["axis"] = {"grid": True, "tickCount": 5, "title": None, "labelExpr": f"datum.label + ' {unit}'"}
    up = charts.names("side", list(_SIDE_COLOURS))
    up["axis"]["minExtent"] = 40
    shapes = {"domain": list(_SIDE_COLOURS), "range": ["circle", "diamond"]}
    shape = {"field": "side", "type": "nominal", "legend": None, "scale": shapes}
    colour = {**charts.colour("side", _SIDE_COLOURS), "legend": None}
    mark = {"type": "point", "size": 70, "filled": True, "opacity": 0.75}
    spec = charts.layer(points, mark, x=across, y=up, color=colour, shape=shape)
    shows = "; ".join(f"{side} {', '.join(value(row, figure) for figure in sides[side])}" for side in sides)
    label = f"{row.metric.label}, one mark per run: {shows}"
    return doc.Chart(row.metric.label, {"height": {"step": 26}, **spec}, shows, label)
