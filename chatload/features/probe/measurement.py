"""The result of a probe: figures with their bounds, and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chatload import __version__
from chatload.features.probe.bounds import SweepBounds
from chatload.features.probe.evidence import KnownCheck, ProbeEvidence
from chatload.features.probe.probe import Probe
from chatload.features.probe.settings import OPERATIONS, PRECISION

#: `schema_version` of the JSON this code makes.
SCHEMA_VERSION = 1
#: A configured value this close to a bound (seconds) counts as equal.
_ROUNDING_S = 1e-3


@dataclass(frozen=True, slots=True)
class KnownAge:
    """How long an ended chat stays known: at least lower_s, less than upper_s (seconds).

    upper_s: None if it was never forgotten. lower_s: None if it was not known at the first question.
    """

    lower_s: float | None
    upper_s: float | None
    contradicts: bool = False


@dataclass(frozen=True, slots=True)
class Measurement:
    """The result of a probe; times in seconds. docs/probe.md describes each figure.

    The timeout and its bounds are None if no chat was dropped; those of the sweep if its upper bound is not known.
    """

    timeout_s: float | None
    timeout_lower_s: float | None
    timeout_upper_s: float | None
    configured_s: float | None
    silence_survived_s: float
    silence_dropped_s: float | None
    sweep_s: float | None
    sweep_lower_s: float | None
    sweep_upper_s: float | None
    resets_clock: dict[str, bool | None]
    dropped_answer: str | None
    dropped_known: KnownAge
    disconnected_known: KnownAge
    sessions_opened: int
    sessions_max: int
    duration_s: float
    longest_s: float
    interrupted: bool
    counts: dict[str, int]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The published JSON (features/probe/probe.schema.json)."""
        return {
            "schema_version": SCHEMA_VERSION,
            "chatload_version": __version__,
            "timeout_s": self.timeout_s,
            "timeout_lower_s": self.timeout_lower_s,
            "timeout_upper_s": self.timeout_upper_s,
            "configured_s": self.configured_s,
            "silence_survived_s": self.silence_survived_s,
            "silence_dropped_s": self.silence_dropped_s,
            "sweep_s": self.sweep_s,
            "sweep_lower_s": self.sweep_lower_s,
            "sweep_upper_s": self.sweep_upper_s,
            "resets_clock": self.resets_clock,
            "dropped_answer": self.dropped_answer,
            "ended_known_s": self.dropped_known.lower_s,
            "ended_known_upper_s": self.dropped_known.upper_s,
            "disconnected_known_s": self.disconnected_known.lower_s,
            "disconnected_known_upper_s": self.disconnected_known.upper_s,
            "sessions_opened": self.sessions_opened,
            "sessions_max": self.sessions_max,
            "duration_s": self.duration_s,
            "longest_s": self.longest_s,
            "interrupted": self.interrupted,
            "counts": self.counts,
            "warnings": list(self.warnings),
        }


def measurement(probe: Probe) -> Measurement:
    """Return what the probe has measured so far, or at its end."""
    board, found, sweep = probe.board, probe.board.bounds, probe.board.sweep
    # A single drop may have had another reason.
    told = len(found.drops) > 1
    of_drops = [known for known in board.known if told and known.drop in found.drops]
    return Measurement(
        timeout_s=_figure(board) if told else None,
        timeout_lower_s=found.lower_s if told else None,
        timeout_upper_s=found.upper_s if told else None,
        configured_s=probe.settings.configured_s,
        silence_survived_s=board.longest_survived_s,
        silence_dropped_s=found.drops[0].dropped_s if told else None,
        sweep_s=_sweep(sweep) if told else None,
        sweep_lower_s=sweep.lower_s if told else None,
        sweep_upper_s=sweep.upper_s if told else None,
        resets_clock={name: board.resets(name) if told else None for name in OPERATIONS},
        dropped_answer=("0/true" if any(known.known for known in of_drops) else "2") if of_drops else None,
        dropped_known=_age(of_drops, found.lower_s),
        disconnected_known=_age([known for known in board.known if known.at is not None], 0.0),
        sessions_opened=board.counts["opened"],
        sessions_max=probe.settings.chats,
        duration_s=probe.ended_at - probe.begun_at,
        longest_s=probe.settings.longest_s,
        interrupted=probe.interrupted,
        counts=_counts(probe),
        warnings=tuple(_warnings(probe)),
    )


def _figure(board: ProbeEvidence) -> float:
    """Return the likeliest timeout within its bounds.

    A survived silence is longer than the timeout only under a coarse sweep, which shows in survived silences that are
    longer than fatal ones.
    """
    found, longest = board.bounds, board.longest_survived_s
    lower = max(found.lower_s, longest) if longest < found.upper_s else found.lower_s
    return (lower + found.upper_s) / 2


def _age(asked: Sequence[KnownCheck], timeout_lower_s: float) -> KnownAge:
    """Return bounds of the age at which an ended chat is forgotten, by the least favourable reading of each answer."""
    lower = upper = None
    for known in asked:
        drop, at = known.drop, known.at
        if drop is not None:
            assert drop.ended_by is not None
            first, last = max(drop.survived_to, drop.since.earliest + timeout_lower_s), drop.ended_by
        else:
            assert at is not None
            first, last = at
        if known.known:
            lower = max(lower or 0.0, known.asked.earliest - last)
        else:
            age = known.asked.latest - first
            upper = age if upper is None else min(upper, age)
    return KnownAge(lower, upper, lower is not None and upper is not None and lower > upper)


def _sweep(sweep: SweepBounds) -> float | None:
    """Return one figure for the sweep: 0 if nothing shows that it is coarse."""
    if sweep.lower_s <= _ROUNDING_S:
        return 0.0 if sweep.upper_s is not None else None
    return sweep.lower_s if sweep.likely_s is None else sweep.likely_s


def _counts(probe: Probe) -> dict[str, int]:
    board = probe.board
    return {
        "survived": sum(silence.ended_by is None for silence in board.silences),
        "dropped": len(board.bounds.drops),
        "odd": len(board.bounds.odd),
        "ended_by_agent": board.counts["agent"],
        "closed_idle": board.counts["idle"],
        "not_opened": board.counts["not_opened"],
        "lost": sum(chat.lost and chat.watch is not None for chat in probe.chats),
        "unclear_requests": board.counts["unclear"],
        "goodbyes_unconfirmed": sum(chat.watch is not None and not chat.ended for chat in probe.chats),
    }


def _warnings(probe: Probe) -> Iterator[str]:
    board, found = probe.board, probe.board.bounds
    counts, told = _counts(probe), len(found.drops) > 1
    if probe.interrupted:
        yield "interrupted: what was measured until then"
    configured = probe.settings.configured_s
    if told and configured is not None:
        if not found.lower_s - _ROUNDING_S <= configured <= found.upper_s + _ROUNDING_S:
            way = "shorter" if found.upper_s < configured else "longer"
            yield (
                f"the server's timeout is {way} than the {configured:g} s configured: "
                f"{found.lower_s:.2f} to {found.upper_s:.2f} s"
            )
    elif configured is not None and board.longest_survived_s > configured:
        yield f"{configured:g} s are configured, but chats were silent for {board.longest_survived_s:.1f} s and lived"
    yield from _doubts(probe, counts, told)
    if counts["not_opened"]:
        yield f"{counts['not_opened']} chats could not be opened: {board.refusal}"
    for kind, what in (("ended_by_agent", "ended by an agent"), ("closed_idle", "closed by inactivity control")):
        if counts[kind]:
            yield f"{counts[kind]} chats were {what} before they could be dropped for silence: they count for nothing"
    if counts["lost"]:
        yield f"{counts['lost']} chats were given up: none of several requests got a clear answer"
    if counts["goodbyes_unconfirmed"]:
        yield f"{counts['goodbyes_unconfirmed']} chats may still be open: their goodbye was not confirmed"


def _doubts(probe: Probe, counts: dict[str, int], told: bool) -> Iterator[str]:
    """Yield what makes the figures less certain."""
    board, found = probe.board, probe.board.bounds
    if found.contradicts:
        yield "the evidence contradicts itself; the bounds span what it says"
    elif told and found.width_s > max(PRECISION * found.upper_s, board.sweep.lower_s):
        yield f"the bounds are {100 * found.width_s / found.upper_s:.1f} % apart: slow or failing requests blur them"
    if len(found.drops) == 1:
        yield f"one chat alone ended, after at most {found.drops[0].dropped_s:.2f} s: that may have had another reason"
    if counts["odd"]:
        yield (
            f"{counts['odd']} chats ended though others that had been silent for longer lived on: they ended for "
            "reasons of their own, or the server does not look at all chats at once"
        )
    if "failed_request" in board.taken:
        yield "the server took the request that was meant to fail (SendMessage without a message)"
    for name in OPERATIONS if told else ():
        if board.resets(name) is None and name not in board.taken:
            yield f"whether {name} resets the clock was not found out"
