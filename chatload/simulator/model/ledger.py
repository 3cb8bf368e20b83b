"""The server's own account of every session."""

from struct import Struct
from typing import Any

from chatload.protocol.operations import OPERATION_FIELDS

#: One contact, packed in nine bytes: its instant and the index of its operation. A session of a soak has tens of
#: thousands of contacts.
_CONTACT = Struct("<dB")
_OPERATIONS = tuple(OPERATION_FIELDS)
_CODES = {name: code for code, name in enumerate(_OPERATIONS)}
#: Attributes that are columns of a row; `contacts` is another.
_COLUMNS = ("chat_id", "started_at", "ended_at", "end_reason", "detail", "late_contact_at", "max_gap_s", "timeout_s")


class LedgerEntry:
    """One session as the server saw it. Instants: the service's clock, seconds.

    end_reason: disconnected, agent, idle, expired, unrecoverable, early, restarted; None while alive. detail: what
    exactly ended it, if the reason leaves that open. late_contact_at: the first request for it after its end.
    max_gap_s: the widest gap between contacts; a held request is one contact from its arrival to its release.
    timeout_s: the flex-disconnect-timeout that ended an expired chat (seconds).
    """

    __slots__ = ("_contacts", "_last", "_releases", *_COLUMNS)

    def __init__(self, chat_id: str, started_at: float) -> None:
        self.chat_id, self.started_at = chat_id, started_at
        self.ended_at: float | None = None
        self.end_reason: str | None = None
        self.detail = ""
        self.late_contact_at: float | None = None
        self.max_gap_s = 0.0
        self.timeout_s: float | None = None
        self._last = started_at
        self._contacts = bytearray()
        self._releases: dict[int, float] | None = None

    def contact(self, at: float, operation: str, unbroken: bool = False) -> None:
        """Add a request that reset the clock. unbroken: another request was held until it, so it ends no silence."""
        self._contacts += _CONTACT.pack(at, _CODES[operation])
        gap = at - self._last
        if gap > 0:
            self._last = at
            if gap > self.max_gap_s and not unbroken:
                self.max_gap_s = gap

    def released(self, contact: int, at: float) -> None:
        """Note the end of a held contact. contact: its number, from 0."""
        if self._releases is None:
            self._releases = {}
        self._releases[contact] = at
        self._last = max(self._last, at)

    @property
    def contacts(self) -> int:
        """Number of requests that reset the clock."""
        return len(self._contacts) // _CONTACT.size

    def row(self) -> dict[str, Any]:
        """Return a JSON-safe row. contacts: [instant, operation], of a held one also the instant of its release."""
        contacts: list[list[Any]] = [[at, _OPERATIONS[code]] for at, code in _CONTACT.iter_unpack(self._contacts)]
        for number, at in (self._releases or {}).items():
            contacts[number].append(at)
        return {name: getattr(self, name) for name in _COLUMNS} | {"contacts": contacts}
