"""The six figures that explain a run's result: the tiles of its page, and the first table of its texts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chatload.render import words
from chatload.render.document import Tile, Tone
from chatload.run.lifetimes import chat_hours_text

_NOTHING = "none"


def tiles(summary: Mapping[str, Any]) -> tuple[Tile, ...]:
    """Return sessions, dropped, served, GetMessages, margin and generator of a summary.

    A tile is bad if a threshold on its subject failed.
    """
    of_subjects = (
        (_sessions(summary), ("sessions.",)),
        (_dropped(summary), ("dropped", "incident", "blame.")),
        (_served(summary), ("unserved.", "refused.", "gave_up.", "failed.")),
        (_get_messages(summary), ("GetMessages.",)),
        (_margin(summary), ("margin.",)),
        (_generator(summary), ("lateness.",)),
    )
    failed = [threshold["metric"] for threshold in summary["thresholds"] if threshold["result"] == "fail"]
    made = tuple(
        replace(tile, tone=Tone.BAD) if any(metric.startswith(subjects) for metric in failed) else tile
        for tile, subjects in of_subjects
    )
    if summary["valid"] and summary["books"]["balanced"]:
        return made
    # Nothing good is claimed by a run that cannot be trusted.
    return tuple(replace(tile, tone=Tone.PLAIN) if tile.tone is Tone.GOOD else tile for tile in made)


def _sessions(summary: Mapping[str, Any]) -> Tile:
    sessions, hours = summary["sessions"], summary["exposure"]["chat_hours"]
    accepted = f"{words.number(sessions['accepted'])} accepted"
    return Tile(
        "sessions", words.number(sessions["started"]), f"{accepted}, {chat_hours_text(hours)}" if hours else accepted
    )


def _dropped(summary: Mapping[str, Any]) -> Tile:
    rate = summary["rates"]["dropped"]
    least, most, of = rate["least"], rate["most"], rate["of"]
    if not of:
        why = "all accepted sessions were cut off" if summary["sessions"]["accepted"] else "no session was accepted"
        return Tile("dropped", "not known", why, Tone.WARN)
    count = words.number(least) if least == most else f"{words.number(least)} to {words.number(most)}"
    detail = f"{count} of {words.number(of)}"
    exposure = summary["exposure"]
    hourly = exposure["dropped_per_chat_hour"]
    if exposure["censored"] and hourly["high"] is not None:
        # Chats that the end of the run cut off might have been dropped later.
        bounds = words.hourly_bounds(hourly)
        detail += f"; {bounds} per chat-hour with {words.confidence(hourly['confidence'])} confidence"
    elif rate["low"] is not None:
        bounds = words.bounds(rate) if most else words.under(rate)
        detail += f"; {bounds} with {words.confidence(rate['confidence'])} confidence"
    # Sessions that failed are lost too, although none of them was dropped.
    good = Tone.PLAIN if exposure["censored"] or summary["rates"]["failed"]["least"] else Tone.GOOD
    tone = Tone.BAD if least else Tone.WARN if most else good
    return Tile("dropped", _between(least / of, most / of), detail, tone)


def _between(low: float, high: float) -> str:
    """Return a share, or the range in which it is."""
    if low == high:
        return words.percent(low)
    return f"{words.percent(low).removesuffix(' %')}\u2013{words.percent(high)}"


def _served(summary: Mapping[str, Any]) -> Tile:
    rate = summary["rates"]["unserved"]
    if not rate["of"]:
        return Tile("served", _NOTHING, "no session ended", Tone.WARN)
    accepted = rate["of"] - rate["most"]
    detail = f"{words.number(accepted)} of {words.plural(rate['of'], 'session')} accepted"
    failed = summary["rates"]["failed"]["least"]
    if failed:
        detail += f"; {words.number(failed)} failed later"
    tone = Tone.WARN if rate["most"] or failed else Tone.GOOD
    return Tile("served", words.percent(accepted / rate["of"]), detail, tone)


def _get_messages(summary: Mapping[str, Any]) -> Tile:
    polls = summary["requests"]["by_operation"].get("GetMessages")
    label = "GetMessages p95"
    if polls is None or not words.of_tail(polls["latency_s"], "p95"):
        return Tile(label, _NOTHING, "no GetMessages ended")
    tail = polls["latency_s"]
    unanswered = f"{words.number(tail['unanswered'])} without an answer"
    detail = f"p50 {words.of_tail(tail, 'p50')}, p99 {words.of_tail(tail, 'p99')}; {unanswered}"
    return Tile(label, words.of_tail(tail, "p95"), detail, Tone.WARN if tail["unanswered"] else Tone.PLAIN)


def _margin(summary: Mapping[str, Any]) -> Tile:
    margin = summary["refresh"]["margin_s"]
    value, least = words.of_tail(margin, "p1"), words.of_tail(margin, "min")
    if not value:
        return Tile("margin p1", _NOTHING, "no refresh was measured")
    detail = f"least {least}, p50 {words.of_tail(margin, 'p50')} before the timeout"
    in_time = margin["min"] is not None and margin["min"] > 0
    return Tile("margin p1", words.with_minus(value), words.with_minus(detail), Tone.PLAIN if in_time else Tone.WARN)


def _generator(summary: Mapping[str, Any]) -> Tile:
    generator, lateness = summary["generator"], words.of_tail(summary["refresh"]["lateness_s"], "p99")
    stalls = words.plural(generator["stalls"], "stall") if generator["stalls"] else "no stalls"
    detail = f"{words.plural(generator['processes'], 'process', 'processes')}, {stalls}"
    at_fault = bool(summary["invalid_reasons"])
    return Tile("generator lateness p99", lateness or _NOTHING, detail, Tone.BAD if at_fault else Tone.PLAIN)
