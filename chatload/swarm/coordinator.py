"""Coordinates a run, in the master or in the only process: records it, watches it, ends it."""

import sys
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
from flask import has_request_context
from gevent.lock import RLock
from locust.env import Environment

from chatload.chat.record import COLUMNS, Timeline, WorstTimelines
from chatload.errors import ChatloadError
from chatload.features.report.view import write_outputs
from chatload.render.words import instant, seconds
from chatload.run.books import Books
from chatload.run.settings import RunSettings
from chatload.run.windows import WindowCutter
from chatload.run.writer import RunWriter
from chatload.swarm import log
from chatload.swarm.checks import refuse_above_ceiling
from chatload.swarm.classes import UserClass, is_customer, read_classes
from chatload.swarm.feeds import RowAllotments
from chatload.swarm.load import LoadController
from chatload.swarm.patches.host_login import host_with_login
from chatload.swarm.plan import RunPlan, make_plan, run_dir_of, run_settings
from chatload.swarm.progress import ProgressLine
from chatload.swarm.report_process import ReportProcess
from chatload.swarm.series import LiveSeries
from chatload.swarm.snapshot import RunSnapshot
from chatload.swarm.worker_report import ProcessFacts, WorkerRegistry, WorkerReport
from chatload.thresholds.gate import Gate
from chatload.thresholds.metrics import Facts
from chatload.vocabulary import IncidentKind, RunPhase, Verdict

#: What `make_plan` adds to the options for workers.
_FOR_WORKERS = frozenset(
    {"arrivals_shared", "host_with_login", "agreed_hosts", "customer_classes", "feeders", "run_named"}
)
#: Number of the newest notes in a snapshot.
_NOTES = 5
_VERDICT, _CONFIRMED, _USER_CLASS = map(COLUMNS.index, ("verdict", "goodbye_confirmed", "user_class"))
#: Counters and usage of all processes of a run.
Figures = ProcessFacts | WorkerRegistry


class Recorder:
    """Writes the run file of an active run: one synced transaction for all reports, every second or more often.

    A worker reports every second, and its report is written within half a second: at most 2 s of facts are lost
    whatever is killed, even if a hundred workers' reports take some time to be written. If nothing can be written any
    more (a full disk), recording stops and the run goes on. This is logged at once and again at the end, and the run is
    invalid. series: the course of the run so far.
    """

    def __init__(self, run_dir: Path, settings: RunSettings, clock: Callable[[], float]) -> None:
        """Create the file. clock: seconds since the Unix epoch. Raises UsageError if the folder cannot take a run."""
        self.error: ChatloadError | None = None
        self.series = LiveSeries(clock(), settings.flex_disconnect_timeout)
        self._writer = RunWriter.create(run_dir, settings)
        self._clock = clock
        self._cutter, self._worst = WindowCutter(clock()), WorstTimelines()
        self._reports: list[tuple[str, WorkerReport]] = []
        self._lost = 0
        self._turn = RLock()

    def take(self, worker: str, report: WorkerReport) -> None:
        """Take the report of a process. The next `flush` writes it."""
        if self.error is None:
            self._reports.append((worker, report))
        else:
            self._lost += len(report.sessions)

    def flush(self) -> None:
        """Write the reports, synced. Other greenlets run meanwhile."""
        reports, self._reports = self._reports, []
        if reports:
            sessions = [session for _, report in reports for session in report.sessions]
            books = {worker: report.books for worker, report in reports}
            timelines = [Timeline.from_dict(data) for _, report in reports for data in report.timelines]
            worst = [timeline for timeline in timelines if self._worst.admits(timeline)]
            self._try(len(sessions), self._writer.keep, sessions, books, worst)

    def cut_window(self, figures: Figures, last: bool) -> None:
        """Write the window that ends now, if one does. last: end the current window in any case."""
        now = self._clock()
        if last or self._cutter.due(now):
            window = self._cutter.cut(now, figures.run_books(), figures.usage)
            self.series.add(window)
            self._try(0, self._writer.add_windows, [window])

    def note(self, kind: str, what: str) -> None:
        self._try(0, self._writer.incident, kind, what, self._clock())

    def finish(self) -> None:
        """Finish the file of an ended run. Raises ChatloadError if the file is not complete."""
        with self._turn:
            stopped = self.error
        if stopped is not None:
            self._mark(stopped)
        else:
            self._writer.finish(self._clock())
        with suppress(ChatloadError):
            self._writer.close()
        if stopped is not None:
            raise stopped

    def _try(self, sessions: int, write: Callable[..., None], *arguments: Any) -> None:
        """Write in a thread: a sync takes milliseconds, in which chats have to be refreshed."""
        with self._turn:
            if self.error is not None:
                self._lost += sessions
                return
            error = gevent.get_hub().threadpool.apply(_attempt, (write, arguments))
            if error is not None:
                self.error, self._lost = error, sessions
                log.error("chatload: RECORDING STOPPED: %s; the run goes on, and is invalid", error)
                self._mark(error)

    def _mark(self, error: ChatloadError) -> None:
        """Write into the file that it is not complete: a few bytes may fit where a transaction did not.

        If they do not fit either, the file says that the run was never finished.
        """
        lost = f", {self._lost} sessions that ended until then are missing" if self._lost else ""
        what = f"at {instant(self._clock(), '%H:%M:%S UTC')}: {error.message}{lost}"
        self._writer.make_room()
        with suppress(ChatloadError):
            self._writer.incident(IncidentKind.RECORDING_STOPPED, what, self._clock())


def _attempt(write: Callable[..., None], arguments: tuple[Any, ...]) -> ChatloadError | None:
    """Return the error instead of raising it: gevent prints exceptions of its threads, even if they are caught."""
    try:
        write(*arguments)
    except ChatloadError as error:
        return error
    return None


class RunCoordinator:
    """Coordinates the runs of one master or single process, one after another.

    figures, run_dir: of the current or last run. error: the last error that made the run invalid. load: controls the
    load; a load shape puts its own here. rows: shares the rows of feeders out. refused: why the last start was refused,
    empty if it was not. report: writes the page of the last run.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self.load = LoadController()
        self._checked: tuple[dict[str, Any], str | None, tuple[UserClass, ...], RunPlan] | None = None
        self.rows = RowAllotments({})
        self._has_feeders = False
        self._reset(WorkerRegistry())

    def _reset(self, figures: Figures) -> None:
        self.figures = figures
        self.run_dir: Path | None = None
        self.error: ChatloadError | None = None
        self.refused = ""
        self.report: ReportProcess | None = None
        self._recorder: Recorder | None = None
        self._progress: ProgressLine | None = None
        self._stop_requested = False
        self._phase = RunPhase.READY
        self._timeout_s: float | None = None
        self._gate, self._series = Gate(), LiveSeries()
        self._summary: dict[str, Any] | None = None
        self._began_at = time.monotonic()
        self._cut_off_confirmed = Counter[str]()
        self._notes: deque[str] = deque(maxlen=_NOTES)
        self._last = RunSnapshot(RunPhase.READY, Facts(Books()))

    def make_plan(self) -> RunPlan:
        """Make the plan of the next run, and add to Locust's options what workers need. Raises UsageError."""
        options: Any = self._environment.parsed_options
        host = host_with_login(self._environment)
        # Locust sends its options to all workers in each spawn message, also to those that connect later.
        options.arrivals_shared = (self._environment.runner.target_user_count, time.time())
        plan = self.plan_for(options, host, self._environment.user_classes)
        if plan.workload is not None:
            plan = replace(plan, workload=plan.workload.shared_out(*options.arrivals_shared))
        options.run_named = uuid.uuid4().hex
        options.host_with_login = host
        options.agreed_hosts = list(plan.agreed)
        options.customer_classes = sorted(one.__name__ for one in self._environment.user_classes if is_customer(one))
        options.feeders = {name: one.rows.sha256 for name, one in plan.classes.items() if one.rows is not None}
        self.rows = RowAllotments(plan.classes)
        self._has_feeders = bool(options.feeders)
        return self.load.begin(plan)

    def plan_for(self, options: Any, host: str | None, user_classes: Iterable[Any] = ()) -> RunPlan:
        """Return the plan of these options and user classes on this host.

        It is made once for the check of a start and the start.
        """
        given = {name: value for name, value in vars(options).items() if name not in _FOR_WORKERS}
        classes = read_classes(user_classes)
        if self._checked is None or self._checked[:3] != (given, host, classes):
            self._checked = given, host, classes, make_plan(options, host, classes=classes)
        return self._checked[3]

    def begin(self, plan: RunPlan, clock: Callable[[], float], figures: Figures) -> None:
        """Begin a run with an empty folder. clock: seconds since the Unix epoch. Raises UsageError."""
        options = self._environment.parsed_options
        self._reset(figures)
        self._timeout_s = plan.settings.timeout_s
        plan.rules.require_now(time.time())  # the plan may have been made for an earlier start
        refuse_above_ceiling(plan.rules, options.num_users or 1, plan.mix)
        run_dir = run_dir_of(options)
        self._recorder = Recorder(run_dir, self.load.settings(run_settings(self._environment, plan)), clock)
        self.run_dir = run_dir
        self._series, self._gate = self._recorder.series, plan.gate
        if options.headless:
            self._progress = ProgressLine(sys.stderr, plan.run.chats, options.run_time)
        self._phase = RunPhase.RUNNING

    def refuse(self, error: ChatloadError) -> None:
        """The run cannot begin. A headless process ends: otherwise it would idle for its whole time and exit with 0."""
        self.refused = str(error)
        if self._environment.parsed_options.headless:
            self._environment.process_exit_code = error.exit_code
        self._stop_runner()

    @property
    def is_recording(self) -> bool:
        """Whether a run has begun and has not ended."""
        return self._recorder is not None

    def take(self, worker: str, report: WorkerReport) -> None:
        """Take the report of a process. It is written by the next `write_reports`."""
        for row in report.sessions:
            if row[_VERDICT] == Verdict.CUT_OFF and row[_CONFIRMED]:
                self._cut_off_confirmed[row[_USER_CLASS]] += 1
        whose = "" if worker == "local" else f"worker {worker}: "
        if report.suspended:
            what = f"{whose}the machine was suspended: its chats could not be refreshed"
            log.error("chatload: %s", what)
            self.note(IncidentKind.SUSPENDED, what)
        if report.jumped_s:
            jump = seconds(report.jumped_s)
            what = f"{whose}the wall clock jumped ahead by {jump}: it was set, or the machine was paused"
            log.warning("chatload: %s", what)
            self.note(IncidentKind.CLOCK_JUMPED, what)
        if report.behind:
            log.warning("chatload: %s%s", whose, report.behind)
            self.note(IncidentKind.BEHIND, f"{whose}{report.behind}")
        if report.ended and self._phase is RunPhase.RUNNING and not self._stop_requested:
            log.error("chatload: the run is stopped: %s", report.ended)
            self.note(IncidentKind.DATA_USED_UP, report.ended)
            self.request_stop()
        if self._recorder is not None:
            self._recorder.take(worker, report)

    def sessions_ended(self, count: int) -> None:
        """`count` sessions ended in some process."""
        if self.load.sessions_ended(count):
            self.request_stop()

    def write_reports(self) -> None:
        if self._recorder is not None:
            self._recorder.flush()

    def update(self, final: bool) -> None:
        """Write reports, show progress, check the stop conditions (not if `final`), write the window that ends now."""
        self.write_reports()
        # Nothing else runs from here to the window, so that the counters of all processes are merged once at most.
        if self._progress is not None and (final or self._progress.due(time.monotonic() - self._began_at)):
            self._progress.show(self.snapshot())
        if not final:
            self._stop_if_due()
        if self._recorder is not None:
            self._recorder.cut_window(self.figures, final)

    def note(self, kind: str, what: str) -> None:
        """Record an incident of the run."""
        by = {IncidentKind.STOPPED: "the run was stopped ", IncidentKind.INTERRUPTED: "the run was interrupted by "}
        self.add_note(f"{by.get(IncidentKind(kind), '')}{what}")
        if self._recorder is not None:
            self._recorder.note(kind, what)

    def add_note(self, what: str) -> None:
        """Show a note with the run's snapshot, without recording it."""
        self._notes.append(what)

    def fail(self, error: ChatloadError) -> None:
        """Facts were lost or could not be written: the run goes on, and is invalid."""
        self.error = error
        log.error("chatload: %s", error)
        self.add_note(str(error))

    def _stop_if_due(self) -> None:
        reason = None if self._stop_requested else self.load.stop_reason(self.figures.run_books, time.monotonic())
        if reason is None and self._are_feeders_used_up():
            self.add_note("the rows of all feeders are used: the run ends")
            log.info("chatload: the rows of all feeders are used: the run ends")
            self.request_stop()
        if reason is None:
            return
        kind, why = reason
        if kind:
            stopped = kind in (IncidentKind.CEILING, IncidentKind.HOURS)
            what = "the run is stopped" if stopped else "the run is ended early"
            log.warning("chatload: %s: %s", what, why)
            self.note(kind, why)
        self.request_stop()

    def _are_feeders_used_up(self) -> bool:
        """Return whether every user waits, because its feeder has no more rows and its chats have ended."""
        users, waiting = self.figures.users_and_waiting
        return self._has_feeders and users == waiting and users >= self._environment.runner.target_user_count > 0

    def request_stop(self) -> None:
        """Stop the run; a headless process ends. May be called again."""
        if not self._stop_requested:
            self._stop_requested = True
            self._stop_runner()

    def _stop_runner(self) -> None:
        runner: Any = self._environment.runner
        gevent.spawn(runner.quit if self._environment.parsed_options.headless else runner.stop)

    def begin_stopping(self, signal_name: str) -> None:
        """The chats begin to disconnect. Record who ended the run, if it was a user. signal_name: empty if none did."""
        if self._phase is not RunPhase.RUNNING:
            return
        self._phase = RunPhase.STOPPING
        if signal_name:
            self.note(IncidentKind.INTERRUPTED, signal_name)
        elif has_request_context():
            self.note(IncidentKind.STOPPED, "by a user in the web UI")

    def end(self, lost: Iterable[str] = ()) -> None:
        """All reports are in: write the outputs. lost: sentences about workers whose final report never came."""
        if self._recorder is None or self.run_dir is None:
            return
        self.update(final=True)
        self._close_progress()
        for what in lost:
            self.note(IncidentKind.WORKER_LOST, what)
        if not self.figures.total().started:
            self.note(IncidentKind.NOTHING_STARTED, self._why_nothing_started())
        recorder, self._recorder = self._recorder, None
        self._write(self.run_dir, [lambda _: recorder.finish(), self._write_outputs, self.load.write])
        if not self._environment.parsed_options.no_report:
            self.report = ReportProcess(self.run_dir)
        self._phase = RunPhase.ENDED
        self._last = self._snapshot_now()

    def end_at_once(self) -> bool:
        """Write the outputs without waiting for chats to disconnect. Return False if no run is active."""
        recorder, self._recorder = self._recorder, None
        if recorder is None or self.run_dir is None:
            return False
        recorder.flush()
        recorder.note(IncidentKind.ENDED_AT_ONCE, "a second signal ended the run without waiting for goodbyes")
        self._close_progress()
        self._write(self.run_dir, [write_outputs])
        return True

    def _write_outputs(self, run_dir: Path) -> None:
        self._summary = write_outputs(run_dir)

    def _close_progress(self) -> None:
        if self._progress is not None:
            self._progress.close()
            self._progress = None  # a report may still be on its way to it

    def _write(self, run_dir: Path, writes: Sequence[Callable[[Path], Any]]) -> None:
        for write in writes:
            # If one output cannot be written, the others still are.
            try:
                write(run_dir)
            except ChatloadError as error:
                self.fail(error)

    def _why_nothing_started(self) -> str:
        environment = self._environment
        if getattr(environment.runner, "clients", None) is not None and not environment.runner.clients:
            return "no worker took part"
        if not any(user_class.tasks for user_class in environment.user_classes):
            return "--tags and --exclude-tags leave no task"
        if environment.parsed_options.num_users == 0:
            return "-u 0 asks for no users"
        return "no user came to start one"

    def snapshot(self) -> RunSnapshot:
        """Return the state of the run; that of the last run if none is active."""
        now = self._snapshot_now() if self._phase in (RunPhase.RUNNING, RunPhase.STOPPING) else self._last
        return replace(now, refused=self.refused, notes=tuple(self._notes))

    def _snapshot_now(self) -> RunSnapshot:
        return RunSnapshot(
            phase=self._phase,
            facts=Facts.so_far(self.figures.run_books(), self._timeout_s, self._cut_off_confirmed),
            elapsed_s=time.monotonic() - self._began_at,
            processes=len(self.figures),
            run="" if self.run_dir is None else self.run_dir.absolute().name,
            gate=self._gate,
            series=self._series,
            summary=self._summary,
        )
