"""What the web UI's page shows of a run: tiles, states of the thresholds, points of the charts, and a table.

All texts are made here. The page's script only puts them in their places.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chatload.features.report import sentences
from chatload.features.report.tiles import tiles
from chatload.features.report.view import RESULT_TONES, threshold_value
from chatload.render import words
from chatload.render.document import Tile, Tone, capitalised, plain
from chatload.run.histogram import CensoredHistogram
from chatload.swarm.series import LivePoint
from chatload.swarm.snapshot import FigureRow, RunSnapshot, figures, rows
from chatload.thresholds.judgement import Judgement
from chatload.vocabulary import DROPPED, UNSERVED, RunPhase, RunResult, ThresholdResult

_POLL = "GetMessages"
#: Words and tones of a threshold while the run goes on, when nothing is final.
_SO_FAR = {
    ThresholdResult.PASS: ("within the limit so far", Tone.GOOD),
    ThresholdResult.FAIL: ("beyond the limit so far", Tone.BAD),
    ThresholdResult.INCONCLUSIVE: ("not decided yet", Tone.SOFT),
}
_AT_END = {ThresholdResult.PASS: Tone.GOOD, ThresholdResult.FAIL: Tone.BAD, ThresholdResult.INCONCLUSIVE: Tone.WARN}


@dataclass(frozen=True)
class ThresholdState:
    """A threshold and its state: so far, or as judged at the end."""

    expression: str
    state: str
    tone: Tone
    value: str
    why: str


@dataclass(frozen=True)
class ClassState:
    """One user class of a run with several. ended, dropped, unserved: sessions; dropped as in the tile, with tone.

    p50, p95, p99: of the latency of GetMessages. margin: the least.
    """

    user_class: str
    open: str
    ended: str
    dropped: str
    tone: Tone
    unserved: str
    p50: str
    p95: str
    p99: str
    margin: str


@dataclass(frozen=True)
class SwarmSize:
    """What the user asked of Locust. users: at the same time. workers: connected; None if the process is no master."""

    users: int | None = None
    spawn_rate: float | None = None
    workers: int | None = None


@dataclass(frozen=True)
class LivePage:
    """The page of a run at one instant.

    started_at: of the run (Unix seconds); tells runs apart. headline: the run in one sentence. badge, tone: the result
    of an ended run, otherwise the phase. classes: the user classes, if there are several. caption: what the states of
    the thresholds mean. points: those that the page does not have yet. has_report: the run's report can be opened.
    """

    phase: RunPhase
    run: str
    started_at: float
    badge: str
    tone: Tone
    headline: str
    refused: str
    notes: Sequence[str]
    tiles: Sequence[Tile]
    classes: Sequence[ClassState]
    caption: str
    thresholds: Sequence[ThresholdState]
    points: Sequence[LivePoint]
    rows: Sequence[FigureRow]
    has_report: bool
    swarm: SwarmSize


def live_page(
    snapshot: RunSnapshot, swarm: SwarmSize = SwarmSize(), shown: float = 0.0, after_s: float = -1.0
) -> LivePage:
    """Return the page of a snapshot.

    Args:
        snapshot: of the run.
        swarm: see LivePage.
        shown: `started_at` of the run that the reader's page shows; 0: of none.
        after_s: the instant of the last point that it shows (seconds since the start of that run).
    """
    series = snapshot.series
    found = figures(snapshot)
    badge, tone, headline = _headline(snapshot)
    caption, thresholds = _thresholds(snapshot)
    return LivePage(
        phase=snapshot.phase,
        run=snapshot.run,
        started_at=series.started_at,
        badge=badge,
        tone=tone,
        headline=headline,
        refused=snapshot.refused,
        notes=[_said(note) for note in snapshot.notes],
        tiles=[_whole(tile) for tile in _tiles(snapshot, found)] if snapshot.books.started else [],
        caption=caption,
        thresholds=thresholds,
        points=series.after(after_s if shown == series.started_at else -1.0),
        rows=rows(found),
        classes=[_class_state(name, own) for name, own in found["by_class"].items()],
        has_report=snapshot.phase is RunPhase.ENDED,
        swarm=swarm,
    )


def _headline(snapshot: RunSnapshot) -> tuple[str, Tone, str]:
    phase, summary = snapshot.phase, snapshot.summary
    if phase is RunPhase.READY:
        return "ready", Tone.SOFT, "No run yet"
    if summary is not None and phase is RunPhase.ENDED:
        result, why = sentences.result_and_why(summary)
        return result, RESULT_TONES[RunResult(result)], _said(why)
    books, age = snapshot.books, words.duration(snapshot.elapsed_s)
    sessions = words.plural(books.started - books.verdicts.total(), "open session")
    if phase is RunPhase.STOPPING:
        return phase, Tone.WARN, f"{sessions} to disconnect, after {age}"
    timeout = "" if snapshot.timeout_s is None else f"; flex-disconnect-timeout {snapshot.timeout_s:g} s"
    return phase, Tone.GOOD if phase is RunPhase.RUNNING else Tone.WARN, f"{sessions} after {age}{timeout}"


def _tiles(snapshot: RunSnapshot, found: Mapping[str, Any]) -> Iterator[Tile]:
    """Yield the tiles, those of the server before that of the generator. An ended run has those of its report."""
    if snapshot.summary is not None:
        yield from tiles(snapshot.summary)
        return
    books, sessions = snapshot.books, found["sessions"]
    started = f"{words.number(sessions['started'])} started, {words.number(sessions['ended'])} ended"
    yield Tile("Open sessions", words.number(sessions["open"]), started)
    dropped = found["rates"][DROPPED]
    of = words.plural(dropped["of"], "session")
    bounds = f"{words.bounds(dropped)}, if independent, of {of}" if dropped["of"] else "none ended yet"
    possibly = dropped["most"] - dropped["least"]
    more = f"; {words.number(possibly)} more possibly" if possibly else ""
    yield Tile("Dropped", words.number(dropped["least"]), bounds + more, _drop_tone(dropped))
    unserved = found["rates"][UNSERVED]
    if unserved["of"]:
        accepted = f"{words.number(unserved['of'] - unserved['most'])} of {words.plural(unserved['of'], 'session')}"
        served = words.percent(1 - unserved["most"] / unserved["of"])
        yield Tile("Served", served, f"{accepted} accepted", Tone.BAD if unserved["most"] else Tone.GOOD)
    else:
        yield Tile("Served", "–", "none ended yet")
    latency = books.latency.get(_POLL, CensoredHistogram())
    p95, p50, p99 = (words.reading(latency.quantile(q)) for q in (0.95, 0.5, 0.99))
    yield Tile(f"{_POLL} p95", p95 or "–", f"p50 {p50}, p99 {p99}" if p95 else "no answer yet")
    margin = words.of_tail(found["refresh"]["margin_s"], "min")
    least = found["refresh"]["margin_s"]["min"]
    late = Tone.BAD if margin and (least is None or least < 0) else Tone.PLAIN
    yield Tile("Least margin", margin or "–", f"of {snapshot.timeout_s or 0:g} s" if margin else "no refresh yet", late)
    yield _generator_tile(found)


def _whole(tile: Tile) -> Tile:
    """Return a tile whose figures are not broken before their units."""
    return replace(tile, value=words.unbroken(tile.value), detail=words.unbroken(tile.detail))


def _generator_tile(found: Mapping[str, Any]) -> Tile:
    generator, lateness = found["generator"], found["refresh"]["lateness_s"]["p99"]
    stalls = words.plural(generator["stalls"], "stall") if generator["stalls"] else "no stalls"
    note = f"lateness p99, {words.plural(generator['processes'], 'process', 'processes')}, {stalls}"
    tone = Tone.WARN if generator["stalls"] else Tone.GOOD
    if generator["cpu_saturated"] or generator["exhausted"]:
        note, tone = f"CPU or sockets exhausted: the run is invalid; {note}", Tone.BAD
    return Tile("Generator", words.seconds(lateness) or "–", note, tone)


def _class_state(name: str, found: Mapping[str, Any]) -> ClassState:
    """Return the state of a user class. found: its figures."""
    sessions, dropped = found["sessions"], found["rates"][DROPPED]
    drops = words.number(dropped["least"])
    if dropped["most"] > dropped["least"]:
        drops += f" to {words.number(dropped['most'])}"
    if dropped["of"]:
        drops += f" ({words.bounds(dropped)})"
    latency = found["requests"]["by_operation"].get(_POLL, {}).get("latency_s", {})
    return ClassState(
        user_class=name,
        open=words.number(sessions["open"]),
        ended=words.number(sessions["ended"]),
        dropped=drops,
        tone=_drop_tone(dropped),
        unserved=words.number(found["rates"][UNSERVED]["most"]),
        p50=words.of_tail(latency, "p50"),
        p95=words.of_tail(latency, "p95"),
        p99=words.of_tail(latency, "p99"),
        margin=words.with_minus(words.of_tail(found["refresh"]["margin_s"], "min")),
    )


def _drop_tone(dropped: Mapping[str, Any]) -> Tone:
    if dropped["least"]:
        return Tone.BAD
    if dropped["most"]:
        return Tone.WARN
    return Tone.GOOD if dropped["of"] else Tone.PLAIN


def _thresholds(snapshot: RunSnapshot) -> tuple[str, list[ThresholdState]]:
    """Return a caption and the states of all thresholds: of an ended run as summary.json has them."""
    if snapshot.phase is RunPhase.READY:
        return "", []
    if snapshot.summary is not None and snapshot.phase is RunPhase.ENDED:
        judged = snapshot.summary["thresholds"]
        held = sum(threshold["result"] == ThresholdResult.PASS for threshold in judged)
        states = [
            _state(threshold, threshold["result"], _AT_END[ThresholdResult(threshold["result"])])
            for threshold in judged
        ]
        caption = (
            f"{held} of {words.plural(len(judged), 'threshold')} hold." if judged else "The run had no thresholds."
        )
        return caption, states
    gate = snapshot.gate
    states = [
        _so_far(judgement) if judgement.threshold in gate.thresholds else _not_covered(judgement)
        for judgement in gate.judge(snapshot.facts)
    ]
    if not states:
        return "The run has no thresholds, so it is not judged.", []
    return "So far. The result is judged once, on the whole run, when it has ended.", states


def _so_far(judgement: Judgement) -> ThresholdState:
    """Return the state of a threshold in an active run.

    How samples depend on each other is learned from the whole run. So what is decided here says that it assumes
    independent samples; what is not decided even then is not decided.
    """
    threshold, metric, result = judgement.threshold, judgement.threshold.metric, judgement.result
    undecided = result is ThresholdResult.INCONCLUSIVE
    if threshold.every_s is not None or (metric.of_incidents and undecided):
        why = "Needs the course of the whole run"
        return ThresholdState(str(threshold), "judged at the end", Tone.SOFT, "", why)
    state, tone = _SO_FAR[result]
    if not undecided and (metric.kind == "rate" or metric.q is not None):
        nouns = words.plural(2, metric.noun, "refreshes" if metric.noun == "refresh" else "").removeprefix("2 ")
        judgement = replace(judgement, why=f"{judgement.why}; this assumes independent {nouns}")
    return _state(judgement.to_dict(), state, tone)


def _not_covered(judgement: Judgement) -> ThresholdState:
    """Return the state of a rate that is too high and that no threshold of the run is about (see Gate.judge)."""
    return _state(judgement.to_dict(), "no threshold covers it", Tone.WARN)


def _state(threshold: Mapping[str, Any], state: str, tone: Tone) -> ThresholdState:
    why = _said(threshold["why"] or "")
    return ThresholdState(
        threshold["expression"], state, tone, words.unbroken(threshold_value(threshold, "value")), why
    )


def _said(text: str) -> str:
    """Return a text with a capital at its start."""
    return words.unbroken(plain(capitalised(text)))
