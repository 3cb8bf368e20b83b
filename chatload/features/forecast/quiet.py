"""Refreshes that have nothing to tell, in place: what the engine would make of each, without a step of it.

Nine of ten requests of a forecast are a GetMessages in time, answered 0/false without events, after one like
it. `skip_quiet_refreshes` records those itself, to the last bit as `ChatEngine` does (a test compares the two), and
leaves everything else to it. Only a session alone on its clock can do that: see `Solo`.
"""

from __future__ import annotations

from collections import Counter
from math import floor, inf
from random import Random
from typing import TYPE_CHECKING, Protocol

from chatload.chat.contacts import LatenessShares
from chatload.chat.engine import ChatEngine
from chatload.chat.policy import EXACT, RTT_WINDOW
from chatload.chat.timeline import CONTACTS
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram

if TYPE_CHECKING:
    from chatload.features.forecast.conditions import Ready
    from chatload.features.forecast.lean_server import LeanChat

_POLL, _FINE = "GetMessages", "0/false"
_AT_ONCE = 20_000


class Quietly(Protocol):
    """What a quiet session needs of its driver. peeked: what was drawn for a refresh that then was not quiet."""

    now: float
    stop_at: float
    random: Random
    chat: LeanChat | None
    peeked: tuple[float, float] | None
    ledger: Ledger

    odds_until: float

    def odds(self, operation: str, now: float) -> Ready:
        """What a request meets now, and until `odds_until`."""


class Ledger:
    """What quiet refreshes add to the books: kept back, for many at a time cost a tenth."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.trips: list[float] = []
        self.gaps: list[float] = []

    def full(self) -> bool:
        """Whether it is time to close."""
        return len(self.trips) >= _AT_ONCE

    def close(self) -> None:
        """Put everything into the books."""
        count = len(self.trips)
        if not count:
            return
        books = self._books
        books.sent[_POLL] += count
        books.outcomes.setdefault(_POLL, Counter())[_FINE] += count
        books.latency.setdefault(_POLL, CensoredHistogram()).observed.extend(self.trips)
        books.gap.observed.extend(self.gaps)
        books.lateness.extend([0.0] * count)
        self.trips, self.gaps = [], []


def skip_quiet_refreshes(solo: Quietly, chat: ChatEngine) -> None:
    """Record every refresh that is due next and quiet, up to the first that is not: `skip_ahead` of a ChatEngine."""
    contacts, served = chat.contacts, solo.chat
    if contacts is None or served is None or contacts.attempts or solo.peeked or not contacts.refreshed:
        return
    if chat.now != chat.ready:
        return
    action = chat.customer.next()
    until = min(chat.customer.end_at, inf if action is None else action.due)
    quiet_until = served.quiet_until(chat.transcript.position)
    if chat.refresh_due >= until or quiet_until == -inf:
        return
    calls = _polls(solo, chat, until, quiet_until, served)
    if not calls:
        return
    chat.usual_refreshes += len(calls)
    for call in calls[-CONTACTS:]:
        chat.recent.add_refresh(*call)
    contacts.shares, contacts.stalled_s = LatenessShares(), 0.0
    if solo.ledger.full():
        solo.ledger.close()


def _polls(
    solo: Quietly, chat: ChatEngine, until: float, quiet_until: float, served: LeanChat
) -> list[tuple[float, float, float]]:
    """The quiet refreshes: when each was due, left and was answered."""
    contacts, clock, policy = chat.accepted, chat.clock, chat.settings.policy
    timeout_s, stop_at, random = chat.settings.request_timeout_s, solo.stop_at, solo.random
    server_timeout_s, kind, interval, anchor = policy.timeout_s, policy.kind, policy.interval_s, clock.anchor
    trips, gaps, uniform = solo.ledger.trips, solo.ledger.gaps, random.random
    calls: list[tuple[float, float, float]] = []
    now, due, last_tick = chat.now, chat.refresh_due, clock.last_tick
    tick = floor((due - anchor) / interval + EXACT)
    contact_sent, contact_received, heard = contacts.sent, contacts.received, served.last
    widest = -inf if contacts.widest is None else contacts.widest[1]
    until, odds_until = min(until, stop_at), -inf
    while due < until:
        sent = due if due > now else now
        if sent >= odds_until:
            odds = solo.odds(_POLL, sent)
            odds_until, clear = solo.odds_until, odds.clear
            values, keep, alias, size = odds.round_trips.table
        drawn = uniform()
        place = uniform() * size  # as RoundTrips.draw
        number = int(place)
        trip = values[number if place - number < keep[number] else alias[number]]
        at, over = sent + trip / 2, sent + trip
        if drawn < clear or at >= quiet_until or over >= stop_at or trip > timeout_s or at > heard + server_timeout_s:
            solo.peeked = drawn, trip
            break
        if at > heard:
            heard = at
        if tick > last_tick:
            last_tick = tick
        trips.append(over - sent)
        gap = over - contact_sent
        gaps.append(gap)
        if gap > widest:
            widest, contacts.widest = gap, (max(0.0, sent - contact_received), gap)
        calls.append((due, sent, over))
        contact_sent, now = sent, over
        contact_received = over
        if kind == "fixed":
            tick = last_tick + 1
            due = anchor + tick * interval
            if now > due:
                passed = floor((now - anchor) / interval)
                tick = max(tick, passed if anchor + passed * interval >= now else passed + 1)
                due = anchor + tick * interval
        else:
            if kind == "fraction":
                due = sent + interval
            else:
                clock.saw(over - sent)
                clock.contact_sent = sent
                due = policy.next_refresh(clock, now)
            tick = floor((due - anchor) / interval + EXACT)
    if calls:
        if kind != "deadline":
            for _, sent, over in calls[-RTT_WINDOW:]:
                clock.saw(over - sent)
        clock.contact_sent, clock.last_tick = contact_sent, last_tick
        contacts.sent, contacts.received = contact_sent, contact_received
        served.last = heard
        chat.now = chat.ready = solo.now = now
        chat.refresh_due = due
    return calls
