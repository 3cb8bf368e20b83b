"""The server's own account of every session."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any


@dataclass(slots=True)
class LedgerEntry:
    """One session as the server saw it. Instants: the service's clock, seconds.

    contacts: every request that reset the clock. end_reason: disconnected, agent, idle, expired,
    unrecoverable, early; None while alive. late_contact_at: the first request for it after its end.
    """

    chat_id: str
    started_at: float
    contacts: list[tuple[float, str]] = field(default_factory=list)
    ended_at: float | None = None
    end_reason: str | None = None
    late_contact_at: float | None = None

    def row(self) -> dict[str, Any]:
        """A JSON-safe row; max_gap_s is the widest gap between contacts, seconds."""
        instants = [at for at, _ in self.contacts]
        gaps = [b - a for a, b in pairwise(instants)]
        return {
            "chat_id": self.chat_id,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "end_reason": self.end_reason,
            "late_contact_at": self.late_contact_at,
            "max_gap_s": max(gaps, default=0.0),
            "contacts": [[at, operation] for at, operation in self.contacts],
        }
