"""Writes parts of a run file as the recorder does."""

from __future__ import annotations

import json
from collections.abc import Iterable

from chatload.chat.record import SessionRecord, Timeline
from chatload.run.books import Books
from chatload.run.writer import RunWriter, row


def add_sessions(writer: RunWriter, records: Iterable[SessionRecord]) -> None:
    """Store the records of sessions that ended."""
    writer.keep(map(row, records), {})


def put_books(writer: RunWriter, worker: str, books: Books, user_class: str = "") -> None:
    """Store the books of one process so far; they replace its earlier ones."""
    writer.keep((), {worker: {user_class: json.dumps(books.to_dict())}})


def add_timelines(writer: RunWriter, timelines: Iterable[Timeline]) -> None:
    """Store the timelines of sessions that ended badly."""
    writer.keep((), {}, timelines)
