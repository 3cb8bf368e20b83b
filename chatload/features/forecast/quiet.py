"""Refreshes that have nothing to tell, in place: what the engine would make of each, without a step of it.

Nine of ten requests of a forecast are a GetMessages in time, answered 0/false without events, after one like
it. `QuietSession` books those itself, to the last bit as `ChatSession` does (a test holds the two against each
other), and hands everything else to it. Only a session alone on its clock can do that: see `Solo`.
"""

from __future__ import annotations

from collections import Counter
from math import floor, inf
from random import Random
from typing import TYPE_CHECKING, Protocol

from chatload.chat.lifecycle import ChatSession, Steps
from chatload.chat.policy import EXACT, RTT_WINDOW
from chatload.chat.timeline import CONTACTS
from chatload.chat.trail import Shares
from chatload.chat.widget import WidgetSession
from chatload.run.books import Books
from chatload.run.censored import CensoredHistogram

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


class _Quiet(ChatSession):
    """A chat whose quiet refreshes are skimmed."""

    solo: Quietly

    def _before_refresh(self) -> Steps | None:
        if self._state == "held" and self._now == self._ready:
            self._skim()
        return super()._before_refresh()

    def _skim(self) -> None:
        """Every refresh that is due next and quiet, up to the first that is not."""
        solo, trail, chat = self.solo, self._trail, self.solo.chat
        if trail is None or chat is None or trail.attempts or solo.peeked or not trail.refreshed:
            return
        action = self._customer.next()
        until = min(self._customer.end_at, inf if action is None else action.due)
        quiet_until = chat.quiet_until(self._transcript.position)
        if self._refresh_due >= until or quiet_until == -inf:
            return
        ledger = solo.ledger
        done = len(ledger.trips)
        calls = self._polls(until, quiet_until, chat)
        done = len(ledger.trips) - done
        if not done:
            return
        record = self.record
        record.requests += done
        record.polls += done
        record.contacts += done
        for due, sent, over in calls[-CONTACTS:]:
            self._recent.add(_POLL, due, sent, over, _FINE)
        trail.shares, trail.stalled_s = Shares(), 0.0
        if ledger.full():
            ledger.close()

    def _polls(self, until: float, quiet_until: float, chat: LeanChat) -> list[tuple[float, float, float]]:
        """The quiet refreshes: when each was due, left and was answered."""
        solo, trail, clock, policy = self.solo, self._trail, self._clock, self.settings.policy
        assert trail is not None
        timeout_s, stop_at, random = self.settings.request_timeout_s, solo.stop_at, solo.random
        server_timeout_s, kind, interval, anchor = policy.timeout_s, policy.kind, policy.interval_s, clock.anchor
        trips, gaps, uniform = solo.ledger.trips, solo.ledger.gaps, random.random
        calls: list[tuple[float, float, float]] = []
        now, due, last_tick = self._now, self._refresh_due, clock.last_tick
        tick = floor((due - anchor) / interval + EXACT)
        trail_sent, trail_received, heard = trail.sent, trail.received, chat.last
        widest = -inf if trail.widest is None else trail.widest[1]
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
            if (
                drawn < clear
                or at >= quiet_until
                or over >= stop_at
                or trip > timeout_s
                or at > heard + server_timeout_s
            ):
                solo.peeked = drawn, trip
                break
            if at > heard:
                heard = at
            if tick > last_tick:
                last_tick = tick
            trips.append(over - sent)
            gap = over - trail_sent
            gaps.append(gap)
            if gap > widest:
                widest, trail.widest = gap, (max(0.0, sent - trail_received), gap)
            calls.append((due, sent, over))
            trail_sent, now = sent, over
            trail_received = over
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
            clock.contact_sent, clock.last_tick = trail_sent, last_tick
            trail.sent, trail.received = trail_sent, trail_received
            chat.last = heard
            self._now = self._ready = solo.now = now
            self._refresh_due = due
        return calls


class QuietSession(_Quiet):
    """A strict chat, its quiet refreshes skimmed."""


class QuietWidgetSession(_Quiet, WidgetSession):
    """A widget's chat, its quiet refreshes skimmed."""


QUIET: dict[str, type[_Quiet]] = {"strict": QuietSession, "widget": QuietWidgetSession}
