"""What a capacity search found: capacity.json, in keys that scripts rely on, and the document made of it."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from chatload import __version__, exit_codes
from chatload.errors import FileError
from chatload.features.capacity.search import CapacitySearch, StepRecord, Trouble
from chatload.render import charts, words
from chatload.render import document as doc
from chatload.render.document import Tone
from chatload.render.html import html
from chatload.render.output import write_text
from chatload.render.terminal import render
from chatload.stats.usl import Usl, fit

#: `schema_version` of every capacity.json this code makes.
SCHEMA_VERSION = 1
CAPACITY_FILE, PAGE_FILE = "capacity.json", "capacity.html"
_OUTCOMES = {"held": Tone.GOOD, "not held": Tone.BAD, "undecided": Tone.WARN, "spoilt": Tone.SOFT}
_COLOURS = {"held": "var(--pass)", "not held": "var(--bad)", "undecided": "var(--warn)", "spoilt": "var(--none)"}
#: Above this length (seconds) the time axis is in minutes.
_MINUTES_FROM_S = 300.0


def search_facts(search: CapacitySearch, course: Sequence[tuple[float, int, int]] = ()) -> dict[str, Any]:
    """Return capacity.json of a search that is over. course: time (seconds), sessions wanted, sessions open."""
    result, rules = search.stop(), search.rules
    return {
        "schema_version": SCHEMA_VERSION,
        "chatload_version": __version__,
        **asdict(result),
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
        "usl": _usl(fit(_samples(search.steps))),
        "course": [list(point) for point in course],
    }  # fmt: skip


def step_facts(step: StepRecord) -> dict[str, Any]:
    """Return a step of capacity.json."""
    return {
        "load": step.load, "purpose": step.purpose, "outcome": step.outcome, "begun_s": _milliseconds(step.begun),
        "reached_s": _milliseconds(step.reached), "settled_s": _milliseconds(step.settled), "settled": step.calm,
        "ended_s": _milliseconds(step.ended), "open_most": step.open_most,
        "requests_per_s": round(sum(step.rates) / len(step.rates), 3) if step.rates else None,
        "trouble": _trouble(step.trouble),
        "judgements": [judgement.to_dict() for judgement in step.judgements],
        **{name: _finite(value) for name, value in step.figures.items()},
    }  # fmt: skip


def _trouble(trouble: Trouble | None) -> dict[str, Any] | None:
    return None if trouble is None else {**asdict(trouble), "at_s": round(trouble.at_s, 3)}


def _milliseconds(at: float | None) -> float | None:
    return None if at is None else round(at, 3)


def _samples(steps: Iterable[StepRecord]) -> dict[int, list[float]]:
    """Return by load the throughput of each window, of the steps that the generator did not disturb."""
    samples: dict[int, list[float]] = {}
    for step in steps:
        if step.outcome != "spoilt" and step.rates:
            samples.setdefault(step.load, []).extend(step.rates)
    return samples


def _usl(found: Usl | None) -> dict[str, Any] | None:
    if found is None:
        return None
    names = ("lambda", "sigma", "kappa")
    return {
        **dict(zip(names, found.parameters, strict=True)),
        **{f"{name}_interval": list(interval) for name, interval in zip(names, found.intervals, strict=True)},
        "points": [{"load": load, "requests_per_s": rate} for load, rate in found.points],
        "curve": [dict(zip(("load", "fit", "low", "high"), row, strict=True)) for row in found.curve],
        "peak": found.peak,
        "peak_interval": found.peak_interval and list(found.peak_interval),
        "why": found.why,
    }


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
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
        f"each step must meet them with {words.confidence(facts['confidence'])} confidence: latencies and shares from "
        "the moment it has settled, counts from its start"
    )
    return doc.Document(
        answer=doc.Sentence(answer(facts)),
        badge=doc.Badge(facts["kind"], Tone.GOOD) if claim else doc.Badge("no claim", Tone.WARN),
        lead=[doc.Sentence(said, Tone.SOFT) for said in sentences(facts)],
        sections=(
            doc.Section("Step by step", (_steps(facts["steps"]), doc.Bullets(list(_troubles(facts["steps"]))))),
            doc.Section("Charts", list(_charts(facts))),
            doc.Section("What had to hold", (doc.Bullets(thresholds), doc.Sentence(condition, Tone.SOFT))),
        ),
    )


def answer(facts: Mapping[str, Any]) -> str:
    """Return the answer in one sentence."""
    held, failed, kind = words.plural(facts["held"], "session"), facts["failed"], facts["kind"]
    reason = f": {facts['why']}" if facts["why"] else ""
    if not facts["claim"]:
        held = f"{held} were held" if facts["held"] else "no load was held"
        if kind == "generator":
            return f"The generator was the limit{reason}; {held}, and nothing is claimed beyond"
        return f"No claim about the server{reason}; {held}"
    twice = f"{held} were held, twice"
    if kind == "limit":
        return f"The server's limit is {held}: {twice}, and at {words.number(failed)} it refused chats"
    at = f"at {words.number(failed)} it did not hold {facts['trouble']['metric']}"
    between = facts["not_held"]
    undecided = f" ({words.number(between)} was undecided)" if between != failed else ""
    return f"The server's knee is above {held}: {twice}, and {at}{undecided}"


def sentences(facts: Mapping[str, Any]) -> list[str]:
    """What must be said with the answer."""
    said = []
    trouble, usl = facts["trouble"], facts["usl"]
    if trouble is not None:
        what = trouble["metric"] or "the generator"
        said.append(f"first sign of trouble: {what}, {words.duration(trouble['at_s'])} into the run: {trouble['why']}")
    if facts["claim"] and facts["why"]:
        said.append(f"not narrowed down further: {facts['why']}")
    fitted = "too few loads were measured for a fit" if usl is None else usl_words(usl)
    return [*said, f"Universal Scalability Law: {fitted}"]


def usl_words(usl: Mapping[str, Any]) -> str:
    """The fit in words."""
    sigma, kappa = (
        "{} {:.2g} ({:.2g} to {:.2g})".format(name, usl[name], *usl[f"{name}_interval"]) for name in ("sigma", "kappa")
    )
    if usl["peak"] is None:
        return f"{sigma}, {kappa}; {usl['why']}"
    most = f"{usl['peak']:.0f} sessions ({usl['peak_interval'][0]:.0f} to {usl['peak_interval'][1]:.0f})"
    return f"{sigma}, {kappa}; throughput is greatest at {most}"


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
    if facts["steps"]:
        yield _over_time(facts)
        yield _latency(facts)
        yield _losses(facts)
    if facts["usl"] is not None:
        yield _throughput(facts["usl"])


def _over_time(facts: Mapping[str, Any]) -> doc.Chart:
    steps = facts["steps"]
    scale, unit = (60.0, "minutes") if steps[-1]["ended_s"] > _MINUTES_FROM_S else (1.0, "seconds")
    time = charts.x("t", f"{unit} into the run")
    rows = [
        {"t": s["begun_s"] / scale, "t2": s["ended_s"] / scale, "load": s["load"], "outcome": s["outcome"],
         "tip": f"{words.plural(s['load'], 'session')}, {s['purpose']}: {s['outcome']}"}
        for s in steps
    ]  # fmt: skip
    course = [{"t": at / scale, "load": still} for at, _, still in facts["course"]]
    up = charts.y("load", "sessions", scale={"zero": True})
    there = {step["outcome"] for step in steps}
    colours = {outcome: colour for outcome, colour in _COLOURS.items() if outcome in there}
    area = {"type": "area", "aria": False, "color": "var(--c6)", "opacity": 0.3}
    opened = charts.layer(course, area, x=time, y=up)
    wanted = charts.layer(
        rows,
        {"type": "rule", "strokeWidth": 5},
        x=time,
        x2={"field": "t2"},
        y=up,
        description={"field": "tip"},
        color=charts.colour("outcome", colours),
    )
    said = "A bar for each step: the sessions wanted, and what came of it. Shaded: the sessions that were open."
    return doc.Chart("Load against time", {"layer": [opened, wanted]}, said)


def _latency(facts: Mapping[str, Any]) -> doc.Chart:
    rows = [
        {"load": s["load"], "ms": 1000 * s[key], "what": name, "tip": f"{s['load']}: {words.seconds(s[key])} {name}"}
        for s in facts["steps"]
        for name, key in (("p50", "latency_p50_s"), ("p95", "latency_p95_s"))
        if s[key]
    ]
    if not rows:
        return doc.Chart("Latency against load", {"mark": "point"}, "Nothing was measured.")
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
    curve, across = usl["curve"], charts.x("load", "sessions")
    low, fit, measured = (charts.y(field, "successful requests/s") for field in ("low", "fit", "requests_per_s"))
    band = {"type": "area", "aria": False, "color": "var(--good)", "opacity": 0.2}
    dots = {"type": "point", "aria": False, "filled": True, "size": 60, "color": "var(--ink)", "opacity": 1}
    layers = [
        charts.layer(curve, band, x=across, y=low, y2={"field": "high"}),
        charts.line(curve, across, fit),
        charts.layer(usl["points"], dots, x=across, y=measured),
    ]
    if usl["peak"] is not None:
        layers += charts.mark_line(usl["peak"], "peak", "var(--bad)")
    said = (
        f"Dots: measured. Line and band: the Universal Scalability Law and 95 % of its bootstrap. "
        f"{usl_words(usl)}. Sessions refresh by a clock, so that until the server is saturated this is a "
        "straight line, whatever the server."
    )
    return doc.Chart("Throughput against load", {"layer": layers}, said)
