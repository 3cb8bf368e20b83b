"""What is kept of a session when it has ended: the record of each, and the last requests of the worst."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heappush, heappushpop
from math import isnan, nan
from struct import Struct
from typing import Any, NamedTuple, get_type_hints

from chatload.vocabulary import DRAWN_ENDINGS, Outcome, Verdict


@dataclass(slots=True)
class SessionRecord:
    """The facts about one session: one row of the run file and of `chatload export RUN sessions`.

    chat_id: given by the server; "" if it gave none. worker: the process that held the session.
    blame: set if the verdict is dropped_late. why: the reason of the verdict in a few words.
    started_at, ended_at: seconds since the Unix epoch, or on the driver's clock while the chat is open.
    requests: all attempts. polls: the GetMessages among them. contacts: those that the server may have seen.
    gap_lower_s, gap_upper_s: bounds of the gap that decided the verdict if the server ended the session; otherwise of
        the widest gap between two answered contacts; None if there is none.
    learned_by: the outcome of the answer that told the end. end_evidence: the codes that the server gave for it.
    end_silence_lower_s, end_silence_upper_s: bounds of the time from the last sure contact to the server's own end of
        the chat, by its ParticipantLeft for us; None if nothing dates that.
    goodbye_at: when the Disconnect left that the server surely took (seconds since the Unix epoch); None if none.
    goodbye_confirmed: of a cut_off or gave_up session, its Disconnect was confirmed; of a completed one, the chat
        surely went on until that Disconnect left.
    generator_s: the generator's own part of the deciding gap (seconds). generator_suspect: without that part the gap
        would have been in time.
    lateness_max_s: the greatest lateness of its requests (seconds).
    group: the arm of a sweep that the session belongs to; "" if there is none.
    accepted_at: when the answer to RequestChat came (seconds since the Unix epoch); None if the chat was not accepted.
    user_class: the Locust user class of the customer; "" in a run with only one.
    alive_s: the time from accepted_at for which the chat was surely open (seconds): until the last request left that
        the server surely took, but not beyond its first Disconnect. None if the chat was not accepted.
    """

    chat_id: str = ""
    verdict: str = ""
    blame: str = ""
    why: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    contacts: int = 0
    requests: int = 0
    failures: int = 0
    gap_lower_s: float | None = None
    gap_upper_s: float | None = None
    learned_by: str = ""
    goodbye_confirmed: bool = False
    generator_s: float = 0.0
    generator_suspect: bool = False
    lateness_max_s: float = 0.0
    messages_sent: int = 0
    messages_received: int = 0
    worker: str = ""
    polls: int = 0
    group: str = ""
    end_evidence: str = ""
    end_silence_lower_s: float | None = None
    end_silence_upper_s: float | None = None
    goodbye_at: float | None = None
    accepted_at: float | None = None
    alive_s: float | None = None
    user_class: str = ""


#: The columns of a session row, in order, and the type of the values of each.
COLUMN_TYPES: Mapping[str, Any] = get_type_hints(SessionRecord)
COLUMNS = tuple(COLUMN_TYPES)

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
    """A session's last CONTACTS requests, in a small ring buffer: each open session has one.

    Nearly all requests are a GetMessages answered 0/false: operation and outcome are kept only for the others.
    """

    __slots__ = ("_at", "_full", "_instants", "_others")

    def __init__(self) -> None:
        #: The offset (bytes) of the next request; if the buffer is full, the earliest one is there.
        self._at, self._full = 0, False
        self._instants = bytearray(_END)
        self._others: dict[int, tuple[str, str]] | None = None

    def add_refresh(self, due: float, sent: float, received: float) -> None:
        """Add a GetMessages answered 0/false."""
        at = self._at
        _pack_into(self._instants, at, due, sent, received)
        if self._others:
            self._others.pop(at, None)
        at += _BYTES
        if at == _END:
            at, self._full = 0, True
        self._at = at

    def add(self, operation: str, due: float, sent: float | None, received: float, outcome: str) -> None:
        at = self._at
        self.add_refresh(due, nan if sent is None else sent, received)
        if (operation, outcome) != _USUAL:
            if self._others is None:
                self._others = {}
            self._others[at] = operation, outcome

    def contacts(self, epoch: float = 0.0) -> list[Contact]:
        """Return the requests, the earliest first. epoch: is added to their instants (seconds)."""
        found, others = [], self._others or {}
        for at in (*range(self._at, _END if self._full else 0, _BYTES), *range(0, self._at, _BYTES)):
            due, sent, received = _INSTANTS.unpack_from(self._instants, at)
            operation, outcome = others.get(at, _USUAL)
            left = None if isnan(sent) else sent + epoch
            found.append(Contact(operation, due + epoch, left, received + epoch, outcome))
        return found


@dataclass(slots=True)
class Timeline:
    """The last requests of one session that ended badly. Instants: seconds, as in its record.

    sure_sent, sure_received: bounds of the last sure contact. severity_s: see `severity`. shares: see LatenessShares.
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
    user_class: str = ""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Timeline:
        return cls(**{**data, "contacts": [Contact(*contact) for contact in data["contacts"]]})


def severity(verdict: str, gap_lower_s: float | None, gap_upper_s: float | None, timeout_s: float) -> float | None:
    """Return by how much the deciding gap missed the timeout (seconds); 0 if the gap says nothing for this verdict, and
    None if sessions with this verdict are not drawn."""
    if verdict not in DRAWN_ENDINGS:
        return None
    if gap_lower_s is None or gap_upper_s is None:
        return 0.0
    missed_by = {
        Verdict.DROPPED_LATE: gap_lower_s - timeout_s,
        Verdict.DROPPED_UNPROVEN: gap_upper_s - timeout_s,
        Verdict.DROPPED_EARLY: timeout_s - gap_upper_s,
    }
    return missed_by.get(Verdict(verdict), 0.0)


class WorstTimelines:
    """Chooses the KEPT most severe timelines of each user class, verdict and blame."""

    def __init__(self) -> None:
        self._severities: dict[tuple[str, str, str], list[float]] = {}

    def admits(self, timeline: Timeline) -> bool:
        """Return whether this timeline is among the worst so far; if so, it is counted as kept."""
        kept = self._severities.setdefault((timeline.user_class, timeline.verdict, timeline.blame), [])
        if len(kept) < KEPT:
            heappush(kept, timeline.severity_s)
            return True
        return heappushpop(kept, timeline.severity_s) < timeline.severity_s
