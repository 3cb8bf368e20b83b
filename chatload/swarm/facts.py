"""The facts of one process, and how a worker's reach the master."""

from __future__ import annotations

import time
from typing import Any

from chatload.session.books import Books
from chatload.session.record import SessionRecord

#: A worker reports, and the run file is written, this often (seconds).
FLUSH_S = 1.0


class Facts:
    """Books and finished sessions of this process; `take` hands the sessions on, once each."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.books = Books()
        self._finished: list[SessionRecord] = []
        self._epoch = time.time() - time.monotonic()

    def ended(self, record: SessionRecord) -> None:
        """A session is over. Its instants become seconds since the Unix epoch."""
        record.worker = self.worker
        record.started_at += self._epoch
        record.ended_at += self._epoch
        self._finished.append(record)

    def take(self) -> list[dict[str, Any]]:
        """The rows of sessions that ended since the last call."""
        finished, self._finished = self._finished, []
        return [record.to_dict() for record in finished]
