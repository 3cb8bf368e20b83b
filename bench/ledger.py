"""What the simulator's ledger shows of a run: the same evidence for every tool."""

from __future__ import annotations

import ssl
import urllib.request
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

#: The window begins this long after the last chat was opened, so that none is in its first interval (seconds), ...
SETTLE_S = 5.0
#: ... and a ramp is waited for so much longer than it was meant to take.
RAMP_GRACE_S = 15.0


class Ledger(NamedTuple):
    """Instants, on the monotonic clock of the machine. opened: of each chat's RequestChat; refreshes: of all
    GetMessages, in order; gaps: a row of (end, seconds) for every two consecutive GetMessages of a chat; goodbye: the
    first Disconnect; ends: how many chats ended how."""

    opened: np.ndarray
    refreshes: np.ndarray
    gaps: np.ndarray
    goodbye: float | None
    ends: Counter[str]


class Window(NamedTuple):
    """What is measured: from `start` to `end`, with `chats` open; whole: as many as were wanted, for as long."""

    start: float
    end: float
    chats: int
    whole: bool


def fetch(host: str, authority: Path | None = None) -> Iterable[dict[str, Any]]:
    """The rows of a simulator's ledger; authority: who signed its certificate, where it is TLS."""
    context = None if authority is None else ssl.create_default_context(cafile=authority)
    with urllib.request.urlopen(f"{host}/simulator/ledger", timeout=120, context=context) as answer:
        for line in answer:
            yield orjson.loads(line)


def open_chats(host: str, authority: Path | None = None) -> int:
    """How many chats are open at a simulator."""
    context = None if authority is None else ssl.create_default_context(cafile=authority)
    with urllib.request.urlopen(f"{host}/simulator/status", timeout=30, context=context) as answer:
        return int(orjson.loads(answer.read())["live_sessions"])


def read(rows: Iterable[dict[str, Any]]) -> Ledger:
    """The ledger's rows, as arrays."""
    opened, refreshes, ends, gaps, goodbyes = [], [], [], [], []
    reasons: Counter[str] = Counter()
    for row in rows:
        reasons[row["end_reason"] or "open"] += 1
        instants = np.array([at for at, operation, *_ in row["contacts"] if operation == "GetMessages"])
        opened.append(row["started_at"])
        refreshes.append(instants)
        ends.append(instants[1:])
        gaps.append(np.diff(instants))
        goodbyes += [at for at, operation, *_ in row["contacts"] if operation == "Disconnect"]
    both = np.column_stack((_joined(ends), _joined(gaps)))
    return Ledger(np.sort(opened), np.sort(_joined(refreshes)), both, min(goodbyes, default=None), reasons)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0)


def window(ledger: Ledger, chats: int, ramp_s: float, steady_s: float, settle_s: float = SETTLE_S) -> Window | None:
    """The steady part of a run that wanted `chats` over `ramp_s` and then `steady_s`; None where there is none."""
    if not len(ledger.opened):
        return None
    first, wanted = float(ledger.opened[0]), ledger.opened[min(chats, len(ledger.opened)) - 1]
    start = min(float(wanted), first + ramp_s + RAMP_GRACE_S) + settle_s
    end = start + steady_s
    if ledger.goodbye is not None:
        end = min(end, ledger.goodbye)
    there = int(np.searchsorted(ledger.opened, start))
    if end <= start:
        return None
    return Window(start, end, there, there >= chats and end - start >= 0.8 * steady_s)


def within(ledger: Ledger, start: float, end: float) -> int:
    """GetMessages that the server saw in a stretch."""
    low, high = np.searchsorted(ledger.refreshes, (start, end))
    return int(high - low)


def gap_errors(ledger: Ledger, interval_s: float, start: float = -np.inf, end: float = np.inf) -> np.ndarray:
    """How far each gap that lies in a stretch was from the interval, either way (seconds): one request that is late
    makes a gap too long and the next too short."""
    ends, gaps = ledger.gaps[:, 0], ledger.gaps[:, 1]
    inside = (ends - gaps >= start) & (ends <= end)
    return np.abs(gaps[inside] - interval_s)
