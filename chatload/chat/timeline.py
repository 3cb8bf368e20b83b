"""The last contacts of sessions that ended badly: kept to be drawn, the worst of each kind only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isnan, nan
from struct import Struct
from typing import Any, NamedTuple

from chatload.vocabulary import DRAWN_ENDINGS, Outcome, Verdict

#: A session remembers its last so many requests.
CONTACTS = 12
#: So many timelines are kept of each verdict and blame.
KEPT = 10
#: Of one request: due, sent, received.
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
    """A session's last CONTACTS requests, compact: every session there is has one. Nearly all are a GetMessages
    answered 0/false, so only of the others the names are kept."""

    __slots__ = ("_at", "_full", "_instants", "_others")

    def __init__(self) -> None:
        #: Where the next goes, and the earliest is once all have been written.
        self._at, self._full = 0, False
        self._instants = bytearray(_END)
        self._others: dict[int, tuple[str, str]] | None = None

    def add_refresh(self, due: float, sent: float, received: float) -> None:
        """A GetMessages was answered 0/false; arguments as of Contact."""
        at = self._at
        _pack_into(self._instants, at, due, sent, received)
        if self._others:
            self._others.pop(at, None)
        at += _BYTES
        if at == _END:
            at, self._full = 0, True
        self._at = at

    def add(self, operation: str, due: float, sent: float | None, received: float, outcome: str) -> None:
        """Any request has ended; arguments as of Contact."""
        at = self._at
        self.add_refresh(due, nan if sent is None else sent, received)
        if (operation, outcome) != _USUAL:
            if self._others is None:
                self._others = {}
            self._others[at] = operation, outcome

    def contacts(self) -> list[Contact]:
        """From the earliest on."""
        found, others = [], self._others or {}
        for at in (*range(self._at, _END if self._full else 0, _BYTES), *range(0, self._at, _BYTES)):
            due, sent, received = _INSTANTS.unpack_from(self._instants, at)
            operation, outcome = others.get(at, _USUAL)
            found.append(Contact(operation, due, None if isnan(sent) else sent, received, outcome))
        return found


@dataclass(slots=True)
class Timeline:
    """How one session came to its bad end. Instants: seconds, as in its record.

    sure_sent, sure_received: the last contact that surely was one. deadline: the latest instant by
    which the next had to arrive, sure_received + timeout_s. shares: what the silence went into,
    seconds (see Shares). severity_s: by how much the deciding gap missed the timeout.
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
        """The latest instant by which the next contact had to arrive."""
        return self.sure_received + self.timeout_s

    def shift(self, seconds: float) -> None:
        """Move all instants, from the driver's clock to the Unix epoch."""
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
        """A JSON- and msgpack-safe form; `from_dict` reads it back."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**plain, "contacts": [list(contact) for contact in self.contacts]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Timeline:
        """The timeline that `to_dict` wrote."""
        return cls(**{**data, "contacts": [Contact(*contact) for contact in data["contacts"]]})


def severity(verdict: str, gap_lower_s: float | None, gap_upper_s: float | None, timeout_s: float) -> float | None:
    """By how much the deciding gap missed the timeout (seconds), 0 where that means nothing; None where
    the verdict is not a bad one."""
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
    """The KEPT most severe timelines of each verdict and blame."""

    def __init__(self) -> None:
        self._severities: dict[tuple[str, str], list[float]] = {}

    def admits(self, timeline: Timeline) -> bool:
        """Whether this one is among the worst so far; counts it where it is."""
        kept = self._severities.setdefault((timeline.verdict, timeline.blame), [])
        if len(kept) >= KEPT:
            if timeline.severity_s <= kept[0]:
                return False
            kept.pop(0)
        kept.append(timeline.severity_s)
        kept.sort()
        return True
