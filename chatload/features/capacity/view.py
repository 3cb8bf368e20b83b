"""What a capacity search found: capacity.json, in keys that scripts rely on, and the document made of it."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import IO, Any

from chatload import __version__, exit_codes
from chatload.errors import FileError
from chatload.features.capacity.certificate import Certificate, hold_to_show
from chatload.features.capacity.search import CapacitySearch
from chatload.features.capacity.step import StepRecord, Trouble, is_hourly
from chatload.render import charts, words
from chatload.render import document as doc
from chatload.render.document import Tone
from chatload.render.html import html
from chatload.render.output import write_text
from chatload.render.terminal import render
from chatload.render.time_charts import MarkKind, Panel, TimeChart, TimeSeries, Unit, ValueAxis
from chatload.stats.rates import per_unit_text
from chatload.stats.usl import Interval, Usl, fit
from chatload.thresholds.metrics import parse
from chatload.vocabulary import DROPPED

#: `schema_version` of every capacity.json this code makes.
SCHEMA_VERSION = 2
CAPACITY_FILE, PAGE_FILE = "capacity.json", "capacity.html"
_OUTCOMES = {"held": Tone.GOOD, "not held": Tone.BAD, "undecided": Tone.WARN, "spoilt": Tone.SOFT}
_COLOURS = {"held": "var(--pass)", "not held": "var(--bad)", "undecided": "var(--warn)", "spoilt": "var(--none)"}


def search_facts(search: CapacitySearch, course: Sequence[tuple[float, int, int]] = ()) -> dict[str, Any]:
    """Return capacity.json of a search that is over. course: time (seconds), sessions wanted, sessions open."""
    result, rules = search.stop(), search.rules
    return {
        "schema_version": SCHEMA_VERSION,
        "chatload_version": __version__,
        **asdict(result),
        "capacity": _capacity(result.capacity),
        "claim": result.is_claim,
        "trouble": _trouble(result.trouble),
        "thresholds": [str(threshold) for threshold in search.thresholds],
        "confidence": rules.confidence,
        "rules": {
            "start": rules.start, "ceiling": rules.ceiling, "resolution": rules.resolution, "hold_s": rules.hold_s,
            "confirming_s": rules.confirming_s, "bound_s": rules.bound_s, "refresh_interval_s": rules.interval_s,
            "flex_disconnect_timeout_s": rules.timeout_s,
        },
        "steps": [step_facts(step) for step in search.steps],
        "usl": _usl(fit(_samples(search.steps), _per_session(search.steps))),
        "course": [list(point) for point in course],
    }  # fmt: skip


def step_facts(step: StepRecord) -> dict[str, Any]:
    """Return a step of capacity.json."""
    return {
        "load": step.load, "purpose": step.purpose, "outcome": step.outcome, "begun_s": _milliseconds(step.begun),
        "reached_s": _milliseconds(step.reached), "settled_s": _milliseconds(step.settled), "settled": step.calm,
        "ended_s": _milliseconds(step.ended), "open_most": step.open_most,
        "requests_per_s": None if step.requests_per_s is None else round(step.requests_per_s, 3),
        "chat_hours": round(step.exposure.chat_hours, 4),
        "trouble": _trouble(step.trouble),
        "judgements": [judgement.to_dict() for judgement in step.judgements],
        **{name: _finite(value) for name, value in step.figures.items()},
    }  # fmt: skip


def _capacity(capacity: Certificate | None) -> dict[str, Any] | None:
    return None if capacity is None else {**asdict(capacity), "curve": [list(point) for point in capacity.curve]}


def _trouble(trouble: Trouble | None) -> dict[str, Any] | None:
    return None if trouble is None else {**asdict(trouble), "at_s": round(trouble.at_s, 3)}


def _milliseconds(at: float | None) -> float | None:
    return None if at is None else round(at, 3)


def _samples(steps: Iterable[StepRecord]) -> dict[int, list[float]]:
    """Return by load the throughput of each step that the generator did not disturb."""
    samples: dict[int, list[float]] = {}
    for step in steps:
        if step.outcome != "spoilt" and step.requests_per_s is not None:
            samples.setdefault(step.load, []).append(step.requests_per_s)
    return samples


def _per_session(steps: Iterable[StepRecord]) -> float | None:
    """Return the requests per second of a session while the load is held: as it is scheduled. None if none was held."""
    rates = [step.requests_per_s / step.load for step in steps if step.is_held and step.requests_per_s]
    return median(rates) if rates else None


def _usl(found: Usl | None) -> dict[str, Any] | None:
    if found is None:
        return None
    names = ("lambda", "sigma", "kappa")
    return {
        **dict(zip(names, map(_finite, found.parameters), strict=True)),
        **{f"{name}_interval": _ends(interval) for name, interval in zip(names, found.intervals, strict=True)},
        "points": [{"load": load, "requests_per_s": rate} for load, rate in found.points],
        "curve": [
            dict(zip(("load", "fit", "low", "high"), map(_finite, row), strict=True)) for row in found.curve
        ],
        "peak": found.peak,
        "peak_interval": found.peak_interval and _ends(found.peak_interval),
        "why": found.why,
    }  # fmt: skip


def _ends(interval: Interval) -> list[float | None]:
    return [_finite(end) for end in interval]


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def read_capacity(run_dir: Path) -> dict[str, Any] | None:
    """Return what the search of a run found; None if the run was no search. Raises FileError."""
    path = run_dir / CAPACITY_FILE
    if not path.exists():
        return None
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(path, "", f"cannot be read ({error})") from None
    if facts.get("schema_version") != SCHEMA_VERSION:
        raise FileError(path, "schema_version", f"expected {SCHEMA_VERSION}")
    return facts


def report_capacity(run_dir: Path, stream: IO[str]) -> int | None:
    """Write capacity.html of a run, and its text to `stream`; return the exit code, None if it was no capacity search.

    Raises FileError if capacity.json cannot be read, UsageError if capacity.html cannot be written.
    """
    facts = read_capacity(run_dir)
    if facts is None:
        return None
    document = capacity_document(facts)
    write_text(html(document), run_dir / PAGE_FILE)
    stream.write("\n")
    render(document, stream)
    return exit_codes.PASSED if facts["claim"] else exit_codes.INCONCLUSIVE


def capacity_document(facts: Mapping[str, Any]) -> doc.Document:
    """Return the search as a document."""
    claim = facts["claim"]
    thresholds = [doc.Code(threshold) for threshold in facts["thresholds"]]
    condition = (
        "A load is held in a step if the step's own measurements meet them: latencies and shares from the moment it "
        "has settled, counts and drops from its start."
    )
    return doc.Document(
        answer=doc.Sentence(answer(facts)),
        badge=doc.Badge(facts["kind"], Tone.GOOD) if claim else doc.Badge("no claim", Tone.WARN),
        notes=[doc.Sentence(said, Tone.SOFT) for said in sentences(facts)],
        tiles=list(_tiles(facts)),
        overview=_over_time(facts) if facts["steps"] and facts["course"] else None,
        sections=(
            doc.Section("Step by step", (_steps(facts["steps"]), doc.Bullets(list(_troubles(facts["steps"]))))),
            doc.Section("Charts", (doc.SideBySide(list(_charts(facts))), doc.Sentence(_fit(facts["usl"]), Tone.SOFT))),
            doc.Section("What had to hold", (doc.Bullets(thresholds), doc.Sentence(condition, Tone.SOFT))),
        ),
    )


def _tiles(facts: Mapping[str, Any]) -> Iterator[doc.Tile]:
    """Yield capacity, confirmation, drops, steps, first trouble, and peak of the throughput."""
    capacity, steps, trouble, usl = facts["capacity"], facts["steps"], facts["trouble"], facts["usl"]
    if capacity is None:
        yield doc.Tile("capacity", "no claim", f"{words.plural(facts['held'], 'session')} held at most", Tone.WARN)
    else:
        value = words.number(capacity["lower"])
        if capacity["upper"] > capacity["lower"]:
            value += f"\u2013{words.number(capacity['upper'])}"
        sure = f"sessions, with {words.confidence(capacity['confidence'])} confidence"
        if facts["kind"] == "limit":
            sure = "sessions: the server's own limit"
        yield doc.Tile("capacity", value, sure, Tone.GOOD)
        length = words.duration(facts["rules"]["confirming_s"])
        yield doc.Tile("held at the end", words.number(capacity["lower"]), f"sessions, for {length}")
        bound = capacity["drops_per_chat_hour_upper"]
        most = "no bound" if bound is None else f"≤ {per_unit_text(bound, up=True)}"
        drops = f"{words.plural(capacity['drops'], 'drop')} in {capacity['chat_hours']:.3g} chat-hours"
        yield doc.Tile("drops per chat-hour", most, drops)
    outcomes = [step["outcome"] for step in steps]
    counted = ", ".join(f"{outcomes.count(name)} {name}" for name in _OUTCOMES if name in outcomes)
    yield doc.Tile("steps", words.number(len(steps)), counted)
    if trouble is not None:
        what = trouble["metric"] or "the generator"
        yield doc.Tile("trouble", words.duration(trouble["at_s"]), f"into the run, first seen: {what}", Tone.WARN)
    if usl is not None and usl["peak"] is not None:
        peak = f"sessions: the greatest throughput, {_span(usl['peak_interval'], '.0f')}"
        yield doc.Tile("peak", words.number(round(usl["peak"])), peak)


def answer(facts: Mapping[str, Any]) -> str:
    """Return the answer in one sentence."""
    failed, kind, capacity = facts["failed"], facts["kind"], facts["capacity"]
    reason = f": {facts['why']}" if facts["why"] else ""
    if capacity is None:
        held = f"{words.plural(facts['held'], 'session')} were held" if facts["held"] else "no load was held"
        if kind == "generator":
            return f"The generator was the limit{reason}; {held}, and nothing is claimed beyond"
        return f"No claim about the server{reason}; {held}"
    if kind == "limit":
        return (
            f"The server's limit is {words.plural(capacity['lower'], 'session')}: so many were held, and at "
            f"{words.number(failed)} it refused chats, twice"
        )
    sure = words.confidence(capacity["confidence"])
    metric = facts["trouble"]["metric"] if facts["trouble"] else "the thresholds"
    return (
        f"The server's capacity is {_sessions(capacity)}, with {sure} confidence: "
        f"above it, most steps do not hold {metric}"
    )


def _sessions(capacity: Mapping[str, Any]) -> str:
    lower, upper = capacity["lower"], capacity["upper"]
    if lower == upper:
        return words.plural(lower, "session")
    return f"{words.number(lower)} to {words.number(upper)} sessions"


def sentences(facts: Mapping[str, Any]) -> list[str]:
    """What must be said with the answer."""
    said: list[str] = []
    trouble, capacity = facts["trouble"], facts["capacity"]
    if capacity is not None:
        said += _about_capacity(facts, capacity)
    if trouble is not None:
        failed, what = facts["failed"], trouble["metric"] or "the generator"
        where = (
            f"the lowest load above it that was not held, {words.plural(failed, 'session')}" if failed else "trouble"
        )
        said.append(f"{where}: {what}, first seen {words.duration(trouble['at_s'])} into the run: {trouble['why']}")
    return said


def _fit(usl: Mapping[str, Any] | None) -> str:
    """Return the fit of the Universal Scalability Law as a sentence."""
    fitted = "too few saturated loads were measured for a fit" if usl is None else usl_words(usl)
    return f"Universal Scalability Law: {fitted}"


def _about_capacity(facts: Mapping[str, Any], capacity: Mapping[str, Any]) -> Iterator[str]:
    lower, bound = capacity["lower"], capacity["drops_per_chat_hour_upper"]
    timeout_s = facts["rules"]["flex_disconnect_timeout_s"]
    confirmed = (
        f"{words.plural(lower, 'session')} were held for {words.duration(facts['rules']['confirming_s'])} at the end"
    )
    if bound is None:
        yield f"{confirmed}; nothing is claimed about drops, because the hold was too short for one to show"
    else:
        drops, sure = words.plural(capacity["drops"], "drop"), words.confidence(facts["confidence"])
        yield (
            f"{confirmed}; steps at {_sessions(capacity)} had {drops} in {capacity['chat_hours']:.3g} chat-hours: at "
            f"most {per_unit_text(bound, up=True)} per chat-hour ({sure} confidence, if drops are independent)"
        )
    for threshold in map(parse, facts["thresholds"]):
        if is_hourly(threshold) and threshold.metric.subject == DROPPED and (bound is None or bound >= threshold.limit):
            hold_s = hold_to_show(threshold.limit, lower, timeout_s, facts["confidence"])
            yield (
                f"{threshold} is not shown for {words.plural(lower, 'session')}, only not refuted: --confirm-hold "
                f"{math.ceil(hold_s)}s is long enough to show it if no chat is dropped"
            )
    low = [step for step in facts["steps"] if step["load"] < lower and step["outcome"] in ("held", "not held")]
    lost = sum(step["outcome"] == "not held" for step in low)
    if facts["kind"] == "knee" and lost:
        yield (
            f"{lost} of {words.plural(len(low), 'step')} below {words.plural(lower, 'session')} were not held either: "
            "the capacity is that of the server while no such disturbance occurs"
        )
    wanted, width = facts["rules"]["resolution"], capacity["upper"] - capacity["lower"]
    if facts["kind"] == "knee" and width > max(1, wanted * lower):
        yield (
            f"the interval is {100 * width / lower:.2g} % wide, not {100 * wanted:g} % as wanted: a longer search "
            "narrows it"
        )


def usl_words(usl: Mapping[str, Any]) -> str:
    """The fit in words."""
    sigma, kappa = (
        f"{name} {'not determined' if usl[name] is None else format(usl[name], '.2g')} "
        f"({_span(usl[f'{name}_interval'], '.2g')})"
        for name in ("sigma", "kappa")
    )
    if usl["peak"] is None:
        return f"{sigma}, {kappa}; {usl['why']}"
    return (
        f"{sigma}, {kappa}; throughput is greatest at {usl['peak']:.0f} sessions ({_span(usl['peak_interval'], '.0f')})"
    )


def _span(interval: Sequence[float | None], form: str) -> str:
    low, high = interval
    least = format(low or 0.0, form)
    return f"{least} to {high:{form}}" if high is not None else f"at least {least}, no upper bound"


def _steps(steps: Sequence[Mapping[str, Any]]) -> doc.Table:
    headings = ("sessions", "step", "outcome", "p50", "p95", "refused", "dropped", "requests/s", "lateness")
    rows = [
        (
            words.number(step["load"]),
            step["purpose"],
            doc.TableCell(step["outcome"], _OUTCOMES[step["outcome"]], strong=True),
            words.seconds(step["latency_p50_s"]),
            words.seconds(step["latency_p95_s"]),
            words.number(step["refused"]),
            words.number(step["dropped"]),
            "" if step["requests_per_s"] is None else f"{step['requests_per_s']:.4g}",
            words.seconds(step["lateness_p99_s"]),
        )
        for step in steps
    ]
    caption = (
        "p50 and p95: latency of GetMessages. requests/s: successful requests. lateness: p99 of the generator's own"
    )
    return doc.table("Step by step", headings, rows, "rllrrrrrr", caption)


def _troubles(steps: Iterable[Mapping[str, Any]]) -> Iterator[tuple[doc.Inline, ...]]:
    for step in steps:
        if trouble := step["trouble"]:
            metric: tuple[doc.Inline, ...] = (doc.Code(trouble["metric"]), ", ") if trouble["metric"] else ()
            head = f"{words.plural(step['load'], 'session')} ({step['purpose']}), {step['outcome']}: "
            yield (head, *metric, trouble["why"])


def _charts(facts: Mapping[str, Any]) -> Iterator[doc.Chart]:
    if facts["kind"] == "knee" and facts["capacity"] is not None:
        yield _chance(facts)
    if any(step["latency_p50_s"] or step["latency_p95_s"] for step in facts["steps"]):
        yield _latency(facts)
    if any(step["refused"] or step["dropped"] for step in facts["steps"]):
        yield _losses(facts)
    if facts["usl"] is not None:
        yield _throughput(facts["usl"])


def _over_time(facts: Mapping[str, Any]) -> TimeChart:
    """Return the sessions wanted, by what came of the step, and the sessions open."""
    steps, course = facts["steps"], facts["course"]
    times = [at for at, _, _ in course]
    during = [next((s for s in reversed(steps) if s["begun_s"] <= at <= s["ended_s"]), None) for at in times]
    series = [TimeSeries("open", "var(--area)", [still for _, _, still in course], MarkKind.AREA)]
    for outcome, colour in _COLOURS.items():
        wanted = [step["load"] if step is not None and step["outcome"] == outcome else None for step in during]
        if any(value is not None for value in wanted):
            series.append(TimeSeries(f"wanted: {outcome}", colour, wanted))
    length = max(steps[-1]["ended_s"], times[-1])
    said = "The sessions wanted, in the colour of what came of the step, and the sessions that were open"
    panel = Panel(ValueAxis("sessions", Unit.COUNT, least=1), series, height=230)
    return TimeChart("", said, times, length / len(times), length, (panel,))


def _chance(facts: Mapping[str, Any]) -> doc.Chart:
    capacity = facts["capacity"]
    curve = [{"load": load, "chance": 100 * chance} for load, chance in capacity["curve"]]
    tried: dict[int, list[bool]] = {}
    for step in facts["steps"]:
        if step["outcome"] in ("held", "not held"):
            tried.setdefault(step["load"], []).append(step["outcome"] == "held")
    low, high = curve[0]["load"], curve[-1]["load"]
    dots = [
        {"load": load, "chance": 100 * sum(held) / len(held), "n": len(held),
         "tip": f"{words.plural(load, 'session')}: held in {sum(held)} of {words.plural(len(held), 'step')}"}
        for load, held in sorted(tried.items()) if low <= load <= high
    ]  # fmt: skip
    across, up = charts.x("load", "sessions"), charts.y("chance", "steps held, %", scale={"domain": [0, 100]})
    mark = {"type": "point", "filled": True, "color": "var(--ink)", "opacity": 0.8}
    size = {"field": "n", "type": "quantitative", "legend": None, "scale": {"range": [40, 240]}}
    layers = [
        charts.line(curve, across, up),
        charts.layer(dots, mark, x=across, y=up, size=size, description={"field": "tip"}),
        # Left of the interval there is room below the curve, right of it above the curve.
        *charts.mark_line(capacity["lower"], f"at least {capacity['lower']}", "var(--soft)", 110),
        *charts.mark_line(capacity["upper"], f"at most {capacity['upper']}", "var(--soft)", 70, name_right=True),
    ]
    said = (
        "Dots: the share of steps held at each load; a larger dot is more steps. Line: the fitted chance that a step "
        f"of {words.duration(facts['rules']['hold_s'])} is held."
    )
    return doc.Chart("Chance to hold against load", {"layer": layers}, said)


def _latency(facts: Mapping[str, Any]) -> doc.Chart:
    rows = [
        {"load": s["load"], "ms": 1000 * s[key], "what": name, "tip": f"{s['load']}: {words.seconds(s[key])} {name}"}
        for s in facts["steps"]
        for name, key in (("p50", "latency_p50_s"), ("p95", "latency_p95_s"))
        if s[key]
    ]
    low, high = min(row["ms"] for row in rows), max(row["ms"] for row in rows)
    up = charts.y("ms", "latency", scale={"type": "log", "domain": [0.8 * low, 1.25 * high]})
    up["axis"] = charts.decades(low, high)
    spec = charts.points(rows, charts.x("load", "sessions"), up, {"p50": "var(--good)", "p95": "var(--c4)"})
    return doc.Chart("Latency against load", spec, "GetMessages at each step once it had settled.")


def _losses(facts: Mapping[str, Any]) -> doc.Chart:
    rows = [
        {"load": s["load"], "n": s[what], "what": what, "tip": f"{s['load']}: {s[what]} {what}"}
        for s in facts["steps"]
        for what in ("refused", "dropped")
    ]
    up = charts.y("n", "sessions", scale={"type": "symlog", "zero": True})
    spec = charts.points(rows, charts.x("load", "sessions"), up, {"refused": "var(--c2)", "dropped": "var(--bad)"})
    said = "Chats refused (each try of a customer counts) and dropped at each step, on a scale that shows few and many."
    return doc.Chart("Refused and dropped against load", spec, said)


def _throughput(usl: Mapping[str, Any]) -> doc.Chart:
    curve, across = [row for row in usl["curve"] if None not in row.values()], charts.x("load", "sessions")
    # Beyond the loads that were measured, the band soon has no upper end.
    scale = {"domain": [0, 2 * max(row["requests_per_s"] for row in usl["points"])]}
    low, fit, measured = (
        charts.y(field, "successful requests/s", scale=scale) for field in ("low", "fit", "requests_per_s")
    )
    band = {"type": "area", "aria": False, "color": "var(--good)", "opacity": 0.2, "clip": True}
    dots = {"type": "point", "aria": False, "filled": True, "size": 60, "color": "var(--ink)", "opacity": 1}
    layers = [
        charts.layer(curve, band, x=across, y=low, y2={"field": "high"}),
        charts.line(curve, across, fit),
        charts.layer(usl["points"], dots, x=across, y=measured),
    ]
    if usl["peak"] is not None:
        layers += charts.mark_line(usl["peak"], "peak", "var(--bad)")
    said = (
        f"Dots: measured, at saturated loads only. Line and band: the Universal Scalability Law, with 95 % confidence. "
        f"{usl_words(usl)}. Sessions refresh by a clock, so that throughput below saturation says nothing of the "
        "server."
    )
    return doc.Chart("Throughput against load", {"layer": layers}, said)
