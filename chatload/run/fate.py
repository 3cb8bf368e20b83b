"""Accepted, unserved, dropped, known: defined here, used by thresholds, comparisons, forecasts and reports alike.

accepted: the server gave the session a chat id. unserved: started, and ended without one. dropped, surely: late or
early, of the accepted. dropped, possibly: also those whose end has more than one reading, and those that gave up:
their last requests were in vain, and nobody knows what became of the chat. known: the accepted, without those cut
off by the end of the run whose goodbye was not confirmed: of these nobody knows either, and they are censored.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from chatload.chat.record import SessionRecord
from chatload.vocabulary import DROPPED_PERHAPS, DROPPED_SURELY, PERHAPS_UNSERVED, Verdict


class Range(NamedTuple):
    """A count that is known within a range: at least, at most."""

    least: int
    most: int


class Fates(NamedTuple):
    """What became of sessions. verdicts: of all; unserved: of those that were never accepted."""

    verdicts: Counter[str]
    unserved: Counter[str]

    def accepted_with(self, *verdicts: str) -> int:
        """Accepted sessions with one of these verdicts."""
        return sum(self.verdicts[v] - self.unserved[v] for v in verdicts if v != Verdict.REFUSED)

    @property
    def ended(self) -> int:
        """Sessions with a verdict."""
        return self.verdicts.total()

    @property
    def accepted(self) -> int:
        """Sessions with a verdict that had a chat id."""
        return self.accepted_with(*self.verdicts)

    @property
    def never_accepted(self) -> Range:
        """Unserved sessions; one that the run's end cut off might have been accepted."""
        most = self.ended - self.accepted
        return Range(most - self.unserved[Verdict.CUT_OFF], most)

    @property
    def dropped(self) -> Range:
        """Dropped sessions."""
        surely = self.accepted_with(*DROPPED_SURELY)
        return Range(surely, surely + self.accepted_with(*DROPPED_PERHAPS))

    def known(self, cut_off_confirmed: int) -> int:
        """Accepted sessions whose fate is known, given how many of those cut off had their goodbye confirmed."""
        return self.accepted - self.accepted_with(Verdict.CUT_OFF) + cut_off_confirmed


def is_unserved(record: SessionRecord) -> bool:
    """Whether a session that ended was never accepted."""
    return record.verdict == Verdict.REFUSED or (not record.chat_id and record.verdict in PERHAPS_UNSERVED)


def may_be_dropped(record: SessionRecord) -> bool:
    """Whether a session that ended was dropped, or may have been."""
    if record.verdict in DROPPED_SURELY:
        return True
    return record.verdict in DROPPED_PERHAPS and not is_unserved(record)
