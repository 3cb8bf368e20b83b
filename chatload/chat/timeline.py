"""The last requests of sessions that ended badly, for the report: only the worst of each kind are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isnan, nan
from struct import Struct
from typing import Any, NamedTuple

from chatload.vocabulary import DRAWN_ENDINGS, Outcome, Verdict

#: The number of requests that a session remembers.
CONTACTS = 12
#: The number of timelines kept for each verdict and blame.
KEPT = 10
#: One request: due, sent, received.
_INSTANTS = Struct("ddd")
_BYTES, _pack_into = _INSTANTS.size, _INSTANTS.pack_into
_END = CONTACTS * _BYTES
_USUAL = ("GetMessages", Outcome.FINE.value)


class Contact(NamedTuple):
    """One request. due, sent (None: no byte left), received (or given up): seconds; outcome: as in the table."""

    operation: str
    due: float
    sent: float | None
    received: float
    outcome: str


class RecentContacts:
    """A session's last CONTACTS requests, in a ring buffer that is small, because each open session has one.

    Nearly all requests are a GetMessages answered 0/false: operation and outcome are kept only for the others.
    """

    __slots__ = ("_at", "_full", "_instants", "_others")

    def __init__(self) -> None:
        #: The offset (bytes) of the next request; if the buffer is full, the earliest one is there.
        self._at, self._full = 0, False
        self._instants = bytearray(_END)
        self._others: dict[int, tuple[str, str]] | None = None

    def add_refresh(self, due: float, sent: float, received: float) -> None:
        """Add a GetMessages answered 0/false; arguments as for Contact."""
        at = self._at
        _pack_into(self._instants, at, due, sent, received)
        if self._others:
            self._others.pop(at, None)
        at += _BYTES
        if at == _END:
            at, self._full = 0, True
        self._at = at

    def add(self, operation: str, due: float, sent: float | None, received: float, outcome: str) -> None:
        """Add any request; arguments as for Contact."""
        at = self._at
        self.add_refresh(due, nan if sent is None else sent, received)
        if (operation, outcome) != _USUAL:
            if self._others is None:
                self._others = {}
            self._others[at] = operation, outcome

    def contacts(self) -> list[Contact]:
        """Return the requests, the earliest first."""
        found, others = [], self._others or {}
        for at in (*range(self._at, _END if self._full else 0, _BYTES), *range(0, self._at, _BYTES)):
            due, sent, received = _INSTANTS.unpack_from(self._instants, at)
            operation, outcome = others.get(at, _USUAL)
            found.append(Contact(operation, due, None if isnan(sent) else sent, received, outcome))
        return found


@dataclass(slots=True)
class Timeline:
    """The last requests of one session that ended badly. Instants: seconds, as in its record.

    sure_sent, sure_received: the bounds of the last sure contact.
    deadline: the latest instant by which the next contact had to arrive: sure_received + timeout_s.
    shares: what the silence was spent on (seconds; see LatenessShares).
    severity_s: by how much the deciding gap missed the timeout (see `severity`).
    """

    chat_id: str
    verdict: str
    blame: str
    why: str
    timeout_s: float
    severity_s: float
    sure_sent: float
    sure_received: float
    shares: dict[str, float]
    contacts: list[Contact]
    worker: str = ""

    @property
    def deadline(self) -> float:
        """The latest instant by which the next contact had to arrive (seconds)."""
        return self.sure_received + self.timeout_s

    def shift(self, seconds: float) -> None:
        """Move all instants by this much: from the driver's clock to the Unix epoch."""
        self.sure_sent += seconds
        self.sure_received += seconds
        self.contacts = [
            contact._replace(
                due=contact.due + seconds,
                sent=None if contact.sent is None else contact.sent + seconds,
                received=contact.received + seconds,
            )
            for contact in self.contacts
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON and msgpack; `from_dict` reads them."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**plain, "contacts": [list(contact) for contact in self.contacts]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Timeline:
        """Return the timeline that `to_dict` wrote."""
        return cls(**{**data, "contacts": [Contact(*contact) for contact in data["contacts"]]})


def severity(verdict: str, gap_lower_s: float | None, gap_upper_s: float | None, timeout_s: float) -> float | None:
    """Return by how much the deciding gap missed the timeout (seconds).

    Returns:
        0 if the gap says nothing for this verdict; None if sessions with this verdict are not drawn.
    """
    if verdict not in DRAWN_ENDINGS:
        return None
    if gap_lower_s is None or gap_upper_s is None:
        return 0.0
    if verdict == Verdict.DROPPED_LATE:
        return gap_lower_s - timeout_s
    if verdict == Verdict.DROPPED_UNPROVEN:
        return gap_upper_s - timeout_s
    return timeout_s - gap_upper_s if verdict == Verdict.DROPPED_EARLY else 0.0


class WorstTimelines:
    """Chooses the KEPT most severe timelines of each verdict and blame."""

    def __init__(self) -> None:
        self._severities: dict[tuple[str, str], list[float]] = {}

    def admits(self, timeline: Timeline) -> bool:
        """Return whether this timeline is among the worst so far; if so, it is counted as kept."""
        kept = self._severities.setdefault((timeline.verdict, timeline.blame), [])
        if len(kept) >= KEPT:
            if timeline.severity_s <= kept[0]:
                return False
            kept.pop(0)
        kept.append(timeline.severity_s)
        kept.sort()
        return True
