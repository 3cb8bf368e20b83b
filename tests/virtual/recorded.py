"""A run file made in virtual time: for reports of runs too long or too large to hold for real."""

from __future__ import annotations

from dataclasses import replace

from chatload.chat.record import WorstTimelines
from chatload.run.books import Books, RunBooks
from chatload.run.settings import RunSettings
from chatload.run.windows import WindowCutter
from chatload.run.writer import RunWriter
from chatload.virtual.driver import VirtualSwarm
from tests.run_files import add_sessions, add_timelines, put_books

#: 2023-11-14, the simulator's own (seconds since the Unix epoch).
EPOCH = 1_700_000_000.0
_AT_ONCE = 5000


class RecordingSwarm(VirtualSwarm):
    """A virtual swarm that writes its sessions, windows and worst timelines as a real run does."""

    def __init__(self, run_dir, settings, service, *, named=None, **more):
        super().__init__(settings, service, on_ended=self._keep, **more)
        run = RunSettings(name="virtual", flex_disconnect_timeout=settings.timeout_s, users=more["users"])
        self._writer = RunWriter.create(run_dir, replace(run, **(named or {})), started_at=EPOCH)
        self._worst, self._cutter = WorstTimelines(), WindowCutter(EPOCH)
        self._rows = []
        self.at(1.0, self._tick)

    def _keep(self, session):
        record, timeline = session.record, session.timeline(EPOCH)
        record.started_at += EPOCH
        record.ended_at += EPOCH
        record.worker = "virtual"
        self._rows.append(record)
        if timeline is not None and self._worst.admits(timeline):
            add_timelines(self._writer, [timeline])
        if len(self._rows) >= _AT_ONCE:
            self._flush()

    def run(self):
        """Run until every chat is over, and finish the run file."""
        result = super().run()
        self._flush()
        self._cut()
        put_books(self._writer, "virtual", self.books)
        self._writer.finish(EPOCH + self.now)
        self._writer.close()
        return result

    def _tick(self):
        if self._cutter.due(EPOCH + self.now):
            self._cut()
        if self._heap:
            self.at(self.now + 1.0, self._tick)

    def _cut(self):
        books = RunBooks(Books.from_dict(self.books.to_dict()))
        self._writer.add_windows([self._cutter.cut(EPOCH + self.now, books)])

    def _flush(self):
        add_sessions(self._writer, self._rows)
        self._rows = []
