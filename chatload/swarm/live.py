"""A running swarm's figures for those who watch: where the run is in its course, the web UI's tab, the endpoint."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chatload.chat.record import COLUMNS
from chatload.run.books import Books
from chatload.swarm.live_figures import Moment
from chatload.swarm.metrics import open_endpoint
from chatload.swarm.web import add_tab, check_starts
from chatload.swarm.web_start import refusal, settings_kept
from chatload.vocabulary import RunPhase, Verdict

if TYPE_CHECKING:
    from chatload.swarm.run import Run

#: So many of the newest notes are shown.
_NOTES = 5
_VERDICT, _CONFIRMED = COLUMNS.index("verdict"), COLUMNS.index("goodbye_confirmed")


class Course:
    """The course of one run, on the master or in a single process. Once over, its last moment stays as it is."""

    def __init__(self) -> None:
        self._phase = RunPhase.READY
        self._began = 0.0
        self._cut_off_confirmed = 0
        self._last = Moment(RunPhase.READY, Books())
        #: Why the last start was refused; empty where it was not.
        self.refused = ""
        self._notes: deque[str] = deque(maxlen=_NOTES)

    def begin(self, at: float) -> None:
        """The run began at this instant of time.monotonic()."""
        self._phase, self._began = RunPhase.RUNNING, at

    def stop(self) -> bool:
        """Its chats are to say goodbye; whether that is new."""
        was_running = self._phase is RunPhase.RUNNING
        if was_running:
            self._phase = RunPhase.STOPPING
        return was_running

    def note(self, what: str) -> None:
        """This happened to the run itself."""
        self._notes.append(what)

    def saw(self, rows: Iterable[Sequence[Any]]) -> None:
        """These sessions are over."""
        for row in rows:
            self._cut_off_confirmed += row[_VERDICT] == Verdict.CUT_OFF and bool(row[_CONFIRMED])

    def end(self, run: Run) -> None:
        """Its facts are all in: what is shown from now on is what its files say."""
        self._phase = RunPhase.ENDED
        self._last = self._now(run)

    def moment(self, run: Run) -> Moment:
        """The run as it stands."""
        now = self._last if self._phase in (RunPhase.READY, RunPhase.ENDED) else self._now(run)
        return replace(now, refused=self.refused, notes=tuple(self._notes))

    def _now(self, run: Run) -> Moment:
        return Moment(
            phase=self._phase,
            books=run.books(),
            timeout_s=None if run.plan is None else run.plan.settings.timeout_s,
            elapsed_s=time.monotonic() - self._began,
            processes=run.processes,
            cut_off_confirmed=self._cut_off_confirmed,
            run="" if run.run_dir is None else run.run_dir.absolute().name,
        )


def attach(run: Run) -> None:
    """init: give the web UI its tab and open the Prometheus endpoint, where wanted; raises UsageError."""
    if run.is_worker:
        return
    if run.environment.web_ui is not None:
        add_tab(run.environment.web_ui, run.moment)
        check_starts(run.environment.web_ui, lambda form: refusal(run, form), lambda: settings_kept(run))
    open_endpoint(run.environment.parsed_options, run.moment)
