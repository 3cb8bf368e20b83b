"""capacity.json: what a capacity search found, in keys that scripts rely on (see capacity.schema.json)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from chatload import __version__, exit_codes
from chatload.errors import FileError
from chatload.features.capacity.search import CapacitySearch, Result, shifted
from chatload.features.capacity.step import StepRecord, Trouble
from chatload.render import words
from chatload.run.writer import replacing
from chatload.stats.usl import Usl, fit

#: `schema_version` of every capacity.json this code makes.
SCHEMA_VERSION = 1
CAPACITY_FILE = "capacity.json"
#: What a claim about the server may be about.
_CLAIMS = ("limit", "knee")


def facts_of(search: CapacitySearch, began: float, course: Sequence[tuple[float, int, int]] = ()) -> dict[str, Any]:
    """What a search that is over came to: plain values, times in seconds since `began`, an instant of its looks'
    clock. course: time, sessions wanted, sessions open."""
    result = search.stop()
    rules = search.rules
    steps = [shifted(step, began) for step in search.steps]
    return {
        "schema_version": SCHEMA_VERSION,
        "chatload_version": __version__,
        "kind": result.kind,
        "claim": claims(result),
        "held": result.held,
        "not_held": result.not_held,
        "failed": result.failed,
        "confirmed": result.confirmed,
        "trouble": None if result.trouble is None else _trouble(result.trouble, result.trouble.at - began),
        "why": result.why,
        "thresholds": [str(threshold) for threshold in search.thresholds],
        "confidence": rules.confidence,
        "rules": {
            "start": rules.start, "ceiling": rules.ceiling, "resolution": rules.resolution, "hold_s": rules.hold_s,
            "confirming_s": rules.confirming_s, "bound_s": rules.bound_s, "refresh_interval_s": rules.interval_s,
            "flex_disconnect_timeout_s": rules.timeout_s,
        },
        "steps": [_step(step) for step in steps],
        "usl": _usl(fit(_samples(search.steps))),
        "course": [list(point) for point in course],
    }  # fmt: skip


def claims(result: Result) -> bool:
    """Whether something is said of the server: more than that it held what it held."""
    return result.kind in _CLAIMS and result.confirmed


def exit_code(facts: Mapping[str, Any]) -> int:
    """What a process that found this leaves with."""
    return exit_codes.PASSED if facts["claim"] else exit_codes.INCONCLUSIVE


def write_capacity(run_dir: Path, facts: Mapping[str, Any]) -> None:
    """Write capacity.json, whole or not at all; raises UsageError."""
    with replacing(run_dir / CAPACITY_FILE) as stream:
        json.dump(facts, stream, indent=2, allow_nan=False)
        stream.write("\n")


def read_capacity(run_dir: Path) -> dict[str, Any] | None:
    """What a run's search found; None of a run that was no search. Raises FileError."""
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


def schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of capacity.json."""
    text = (resources.files("chatload.features.capacity") / "capacity.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def answer(facts: Mapping[str, Any]) -> str:
    """What came of it, in one sentence."""
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
    trouble = facts["trouble"]
    if trouble is not None:
        what = trouble["metric"] or "the generator"
        said.append(f"first sign of trouble: {what}, {words.duration(trouble['at_s'])} into the run: {trouble['why']}")
    if facts["claim"] and facts["why"]:
        said.append(f"not narrowed down further: {facts['why']}")
    usl = facts["usl"]
    if usl is None:
        said.append("Universal Scalability Law: too few loads were measured for a fit")
    else:
        said.append(f"Universal Scalability Law: {usl_words(usl)}")
    return said


def usl_words(usl: Mapping[str, Any]) -> str:
    """The fit in words."""
    sigma, kappa = (f"{name} {usl[name]:.2g} ({_range(usl[f'{name}_interval'])})" for name in ("sigma", "kappa"))
    if usl["peak"] is None:
        return f"{sigma}, {kappa}; {usl['why']}"
    most = f"{usl['peak']:.0f} sessions ({usl['peak_interval'][0]:.0f} to {usl['peak_interval'][1]:.0f})"
    return f"{sigma}, {kappa}; throughput is greatest at {most}"


def _range(interval: Sequence[float]) -> str:
    return f"{interval[0]:.2g} to {interval[1]:.2g}"


def _step(step: StepRecord) -> dict[str, Any]:
    """A step, its instants being in seconds into the run."""
    trouble = step.trouble
    return {
        "load": step.load, "purpose": step.purpose, "outcome": step.outcome, "begun_s": step.begun,
        "reached_s": step.reached, "settled_s": step.settled, "settled": step.calm, "ended_s": step.ended,
        "open_most": step.open_most, "requests_per_s": _mean(step.rates),
        "trouble": None if trouble is None else _trouble(trouble, trouble.at),
        "judgements": [judgement.to_dict() for judgement in step.judgements],
        **{name: _finite(value) for name, value in step.figures.items()},
    }  # fmt: skip


def _trouble(trouble: Trouble, at: float) -> dict[str, Any]:
    return {"cause": trouble.cause, "metric": trouble.metric, "at_s": round(at, 3), "why": trouble.why}


def _samples(steps: Iterable[StepRecord]) -> dict[int, list[float]]:
    """Windows of throughput by load, of steps whose load was there and whose generator was well."""
    samples: dict[int, list[float]] = {}
    for step in steps:
        if step.outcome != "spoilt" and step.rates:
            samples.setdefault(step.load, []).extend(step.rates)
    return samples


def _usl(found: Usl | None) -> dict[str, Any] | None:
    if found is None:
        return None
    named = dict(zip(("lambda", "sigma", "kappa"), found.parameters, strict=True))
    between = dict(zip(("lambda_interval", "sigma_interval", "kappa_interval"), found.intervals, strict=True))
    return {
        **named,
        **{name: list(interval) for name, interval in between.items()},
        "points": [{"load": load, "requests_per_s": rate} for load, rate in found.points],
        "curve": [dict(zip(("load", "fit", "low", "high"), row, strict=True)) for row in found.curve],
        "peak": found.peak,
        "peak_interval": None if found.peak_interval is None else list(found.peak_interval),
        "why": found.why,
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
