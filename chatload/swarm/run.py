"""One run on the Locust side: from test_start to the run folder, in one process or many.

Locust's own order of events at the end differs with how it is stopped, and its master stops
listening half a second after it said "quit". So: a worker hands over its facts when its users have
gone (`test_stop`), the master waits for that (`test_stopping`), and the outputs are written last.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
from flask import has_request_context
from gevent.lock import RLock
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from chatload.chat.engine import ChatEngine
from chatload.chat.personas import new_chat
from chatload.errors import ChatloadError
from chatload.features.report.outputs import write_outputs
from chatload.run.books import Books
from chatload.run.windows import MASTER, Usage
from chatload.run.writer import refuse_unwritable
from chatload.swarm.breather import Breather
from chatload.swarm.ceiling import refuse_above
from chatload.swarm.crew import Crew
from chatload.swarm.endings import Endings
from chatload.swarm.facts import FLUSH_S, MASTER_WRITES_S, Facts
from chatload.swarm.garbage import Collector
from chatload.swarm.lifeline import ALIVE, Lifeline
from chatload.swarm.live import Course
from chatload.swarm.live_figures import Moment
from chatload.swarm.locust_options import remember_defaults
from chatload.swarm.locust_stats import forget_old
from chatload.swarm.login import host_with_login
from chatload.swarm.machine import refuse_beyond_limits
from chatload.swarm.plan import Plan, default_run_dir, make_plan, max_sessions_of, preflight, run_settings
from chatload.swarm.progress import ProgressLine
from chatload.swarm.recorder import Recorder
from chatload.swarm.signals import Signals
from chatload.swarm.stalls import StallMonitor
from chatload.swarm.steering import Steering
from chatload.swarm.tally import Tally
from chatload.swarm.wire import DRAIN, DRAIN_GRACE_S, FACTS, UNFIT, Handover
from chatload.swarm.workload import check_users
from chatload.vocabulary import IncidentKind

log = logging.getLogger("chatload")
#: What `begin` adds to the options, for the workers: no option that a plan comes from on this side.
_OF_THE_START = frozenset({"arrivals_shared", "host_with_login", "agreed_host"})


class Run:
    """The runs of one Locust process, one after another: plan, facts, run file, end."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.runner: Any = environment.runner
        self.is_master = isinstance(self.runner, MasterRunner)
        self.is_worker = isinstance(self.runner, WorkerRunner)
        self.plan: Plan | None = None
        self.facts = Facts("local")
        self.monitor = StallMonitor(self._stalled)
        self.tally = Tally(environment)
        self.breather = Breather()
        self._collector = Collector()
        self.run_dir: Path | None = None
        self._checked: tuple[dict[str, Any], str | None, Plan] | None = None
        self.error: ChatloadError | None = None
        self.course = Course()
        self.steering: Steering | None = None
        self.last_outputs: list[Callable[[], None]] = []
        self._recorder: Recorder | None = None
        self._crew = Crew()
        self._flusher: gevent.Greenlet | None = None
        self._progress: ProgressLine | None = None
        self._ended = self._sources = 0
        self._stop_asked = False
        self._stop_lock = RLock()
        self.signals: Signals | None = None
        self._endings: Endings | None = None
        if self.is_worker:
            remember_defaults()
            self.runner.register_message(DRAIN, self._stop_worker, concurrent=True)
            self._lifeline = Lifeline(self.runner, self._orphaned)
            # Added after the runner's own, so run before it: the last facts go out before the worker's "quit",
            # which may make the master stop inside its only listener, deaf to them from then on.
            environment.events.quitting.add_listener(self._stop_worker)
        else:
            self.runner.start = self._starter(self.runner.start)
        if self.is_master:
            self.runner.register_message(FACTS, self._on_facts)
            self.runner.register_message(UNFIT, self._on_unfit)

    # -- before the run --------------------------------------------------------------------------

    def check(self, options: Any, host: str | None) -> None:
        """Refuse a run with these options on this host that cannot be meant, before it begins; raises UsageError."""
        plan = self.plan_for(options, host)
        if self.steering is not None:
            self.steering.check(plan)
        check_users(self.environment.user_classes, plan.workload)
        refuse_above(plan.rules, options.num_users or 1, plan.settings)
        refuse_unwritable(options.run_dir or default_run_dir(options))
        refuse_beyond_limits(options)
        preflight(plan)

    def plan_for(self, options: Any, host: str | None) -> Plan:
        """The plan of these options on this host; made once for the check of a start and for the start itself."""
        given = {name: value for name, value in vars(options).items() if name not in _OF_THE_START}
        if self._checked is None or self._checked[:2] != (given, host):
            self._checked = given, host, make_plan(options, host)
        return self._checked[2]

    def begin(self) -> None:
        """test_start: a new plan, empty books, a new run folder; raises UsageError."""
        began, options = time.monotonic(), self.environment.parsed_options
        if self.is_worker:
            plan = make_plan(options, options.host_with_login, [options.agreed_host])
        else:
            # Workers get it with the options, that is with every spawn message, also those that come late.
            options.arrivals_shared = (self.runner.target_user_count, time.time())
            plan = self.plan_for(options, host_with_login(self.environment))
            if plan.workload is not None:
                plan = replace(plan, workload=plan.workload.shared_out(*options.arrivals_shared))
        self.plan = plan if self.steering is None else self.steering.begin(plan)
        check_users(self.environment.user_classes, self.plan.workload)
        worker = self.runner.client_id if self.is_worker else "local"
        self.facts = Facts(worker)
        self._crew, self._ended, self._stop_asked = Crew(), 0, False
        self._sources = 0
        self.run_dir, self.error, self.course = None, None, Course()
        if not self.is_worker:
            self._tell_workers(options, self.plan)
            refuse_above(self.plan.rules, options.num_users or 1, self.plan.settings)
            self._endings = Endings(self.plan, time.monotonic())
            run_dir = Path(options.run_dir) if options.run_dir else default_run_dir(options)
            settings = run_settings(self.environment, self.plan)
            if self.steering is not None:
                settings = self.steering.settings(settings)
            self._recorder = Recorder(run_dir, settings, self.facts.now)
            self.run_dir = run_dir
            if options.headless:
                self._progress = ProgressLine(sys.stderr, self.plan.chats, options.run_time)
        if not self.is_master:
            self._collector.begin()
            self.monitor.start()
        if self.is_worker:
            self._lifeline.hold()
        self._flusher = gevent.spawn(self._flush_for_ever)
        self.course.begin(began)

    def _tell_workers(self, options: Any, plan: Plan) -> None:
        """What workers cannot know by themselves goes with Locust's options, which every one of them gets: the host's
        login, which Locust's own message has no longer, and what this machine's chatload.toml agrees to."""
        options.host_with_login = host_with_login(self.environment)
        options.agreed_host = plan.host if plan.owner_agrees else ""

    def _starter(self, start: Callable[..., None]) -> Callable[..., None]:
        """Locust's own start, also for changing the number of users of a run, that never starts more than may be."""

        def start_at_most(user_count: int, spawn_rate: float, *more: Any, **named: Any) -> None:
            # Not the plan's: before the first start, which may be a load shape's, there is none.
            most = None
            with suppress(ChatloadError):
                most = max_sessions_of(self.environment.parsed_options)
            if most is not None and user_count > most:
                what = f"{user_count} users asked for, {most} is the ceiling on sessions"
                log.warning("chatload: %s", what)
                self.course.note(what)
                user_count = most
            start(user_count, spawn_rate, *more, **named)

        return start_at_most

    # -- what users ask for ----------------------------------------------------------------------

    def wants_more(self) -> bool:
        """Whether there is a chat to begin still."""
        return self.plan is not None and not (self.plan.chats and self.facts.books.started >= self.plan.chats)

    @property
    def asked_to_end(self) -> bool:
        """Whether a signal has asked this process to end."""
        return self.signals is not None and bool(self.signals.received)

    def new_session(self) -> ChatEngine | None:
        """The next chat to hold; None where there is none to begin any more."""
        plan, books = self.plan, self.facts.books
        if plan is None or not self.wants_more():
            return None
        number = (plan.seed << 48) + (self._number << 32) + books.started
        return new_chat(plan.settings, books, number, time.monotonic())

    def name_source(self) -> str:
        """A name for another source of arrivals, its own in all processes of a run, the same when that is repeated."""
        self._sources += 1
        return f"{self.plan.seed if self.plan else 0} {self._number} {self._sources}"

    @property
    def _number(self) -> int:
        return self.runner.worker_index + 1 if self.is_worker else 0

    def session_ended(self, session: ChatEngine) -> None:
        """A chat is over."""
        self.facts.ended(session)
        if self.plan and self.plan.chats and not self.is_worker:
            self._count_ended(1)

    # -- facts on their way ----------------------------------------------------------------------

    def _flush_for_ever(self) -> None:
        due = began = time.monotonic()
        writes_s = MASTER_WRITES_S if self.is_master else FLUSH_S
        while True:
            # By the clock, whatever a flush itself takes: what came in meanwhile is waiting.
            due = max(due + writes_s, time.monotonic())
            gevent.sleep(due - time.monotonic())
            if self._flusher is not gevent.getcurrent():
                return
            if due - began < FLUSH_S - MASTER_WRITES_S / 2 and self._recorder is not None:
                self._recorder.flush()
                continue
            began = due
            self._flush()
            forget_old(self.environment.stats)
            self._collector.watch(self.facts.books.states.total())

    def _flush(self, final: bool = False) -> None:
        """Hand this process's facts on: a worker's to the master, others' into the run file."""
        self.tally.flush()
        if self.is_worker:
            self.runner.send_message(FACTS, self.facts.hand_over(final))
            return
        if self.is_master:
            self.runner.send_message(ALIVE)
            self._tell_silent()
        else:
            self._take("local", self.facts.hand_over(final))
        if self._recorder is not None:
            self._recorder.flush()
        # From here to the window nothing else runs, so that the books of all are worked out once at most.
        if self._progress is not None and (final or self._progress.due()):
            self._progress.show(self.moment())
        if not final:
            self._end_if_due()
        if self._recorder is not None:
            own = {MASTER: self.facts.usage()} if self.is_master else {}
            self._recorder.cut_window(self.books, {**self.usage(), **own}, final)

    def _take(self, worker: str, facts: Handover) -> None:
        self.course.saw(facts.sessions)
        if facts.behind:
            whose = "" if worker == "local" else f"worker {worker}: "
            log.warning("chatload: %s%s", whose, facts.behind)
            self._note(IncidentKind.BEHIND, f"{whose}{facts.behind}")
        if self._recorder is not None:
            self._recorder.take(worker, facts)

    def _tell_silent(self) -> None:
        for worker in self._crew.fell_silent(time.monotonic()):
            log.warning("chatload: %s", self._crew.silence_of(worker))
            self._note(IncidentKind.WORKER_SILENT, self._crew.silence_of(worker))

    def _end_if_due(self) -> None:
        ending = None if self._endings is None else self._endings.look(self.books, time.monotonic())
        if ending is None or self._stop_asked:
            return
        if ending.kind:
            what = "the run is stopped" if ending.kind == IncidentKind.CEILING else "the run is ended early"
            log.warning("chatload: %s: %s", what, ending.why)
            self._note(ending.kind, ending.why)
        self._ask_to_stop()

    def spoilt(self, error: ChatloadError) -> None:
        """Facts could not be written: the run goes on, and will not be called good."""
        self.error = error
        log.error("chatload: %s", error)
        self.course.note(str(error))

    def _on_facts(self, environment: Environment, msg: Any, **_: Any) -> None:
        try:
            facts = Handover.read(msg.data)
        except ChatloadError as error:
            if self.error is None:
                self.spoilt(error)
            return
        if self._crew.hear(msg.node_id, facts, time.monotonic()):
            self._note(IncidentKind.WORKER_BACK, f"worker {msg.node_id} is heard of again")
        self._take(msg.node_id, facts)
        if self.plan and self.plan.chats:
            self._count_ended(len(facts.sessions))

    def _on_unfit(self, environment: Environment, msg: Any, **_: Any) -> None:
        what = f"worker {msg.node_id} holds no chats: {msg.data}"
        log.error("chatload: %s", what)
        self._note(IncidentKind.WORKER_UNFIT, what)
        self._crew.unfit.add(msg.node_id)
        if self._crew.unfit.issuperset(self.runner.clients):
            self._ask_to_stop()

    def _count_ended(self, more: int) -> None:
        self._ended += more
        if self.plan and self._ended >= self.plan.chats:
            self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        if not self._stop_asked:
            self._stop_asked = True
            self._stop_soon()

    def _stop_soon(self) -> None:
        headless = self.environment.parsed_options.headless
        gevent.spawn(self.runner.quit if headless else self.runner.stop)

    def refused(self, error: ChatloadError) -> None:
        """It cannot begin. A headless one ends with that: it would idle for its whole time and then be called good."""
        self.plan = None
        self.course.refused = str(error)
        log.error("chatload: %s", error)
        if self.is_worker:
            self.runner.send_message(UNFIT, str(error))
            return
        if self.environment.parsed_options.headless:
            self.environment.process_exit_code = error.exit_code
        self._stop_soon()

    def _note(self, kind: str, what: str) -> None:
        """Write down what happened to the run itself."""
        self.course.note(what)
        if self._recorder is not None:
            self._recorder.note(kind, what)

    def books(self) -> Books:
        """The books of all processes so far, not to be changed."""
        return self._crew.total() if self.is_master else self.facts.books.copy()

    def usage(self) -> dict[str, Usage]:
        """What each generator process has used: this one's as of now, a worker's as of its last facts."""
        return self._crew.usage if self.is_master else {"local": self.facts.usage()}

    @property
    def processes(self) -> int:
        """Generator processes whose facts have come in."""
        return len(self._crew) if self.is_master else int(self.run_dir is not None)

    def moment(self) -> Moment:
        """The run as it stands, for those who watch."""
        return self.course.moment(self)

    # -- the end ---------------------------------------------------------------------------------

    def drain(self) -> None:
        """test_stopping on the master: have every worker stop its users and hand over its last facts."""
        if self.course.stop():
            self._note_early_end()
        if not self.is_master or self._recorder is None:
            return
        workers = set(self.runner.clients)
        # As Locust does it a moment later. Until then it would deal all users anew whenever a worker goes or is late
        # with its heartbeat: with a million of them a second of standing still each time, so that more are late.
        self.runner._users_dispatcher = None
        self.runner.send_message(DRAIN)
        until = time.monotonic() + float(self.environment.stop_timeout or 0) + DRAIN_GRACE_S
        # The goodbyes of a million chats take longer to read than to say.
        while self._crew.awaited(workers) and time.monotonic() < max(until, self._crew.progressed + DRAIN_GRACE_S):
            gevent.sleep(0.05)

    def _note_early_end(self) -> None:
        """Note that somebody ends the run: a signal, or a user in the web UI."""
        gevent.sleep(0)  # Locust's handler of SIGTERM may have been called before the one that notes it
        if self.signals is not None and self.signals.received:
            self._note(IncidentKind.INTERRUPTED, self.signals.received)
        elif has_request_context():
            self._note(IncidentKind.STOPPED, "by a user in the web UI")

    def _stop_worker(self, **_: Any) -> None:
        """Stop this worker's users and hand over the last facts; asked for by the master, by a signal, or both."""
        with self._stop_lock:
            self.runner.stop()

    def _orphaned(self) -> None:
        """The master is gone: say goodbye to the server and end."""
        self._stop_worker()
        self.runner.quit()

    def end(self) -> None:
        """test_stop: everyone has gone; hand over or write down what is left."""
        with self._stop_lock:  # a signal to all processes has the master stop twice
            self._end()

    def _end(self) -> None:
        # Not killed: it may be writing.
        self._flusher = None
        self.monitor.stop()
        self._collector.end()
        if self.is_worker:
            self._lifeline.let_go()
            self._flush(final=True)
            self.runner._send_stats()
            return
        if self._recorder is None or self.run_dir is None:
            return
        self._flush(final=True)
        self._close_progress()
        self._note_lost_workers()
        if not self.books().started:
            self._note(IncidentKind.NOTHING_STARTED, self._why_nothing_started())
        recorder, self._recorder = self._recorder, None
        writes: list[Callable[[Path], Any]] = [lambda _: recorder.finish(), write_outputs]
        writes += [] if self.steering is None else [self.steering.write]
        self._write(writes)
        self.course.end(self)

    def _close_progress(self) -> None:
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    def _write(self, writes: Iterable[Callable[[Path], Any]]) -> None:
        assert self.run_dir is not None
        for write in writes:
            # One that cannot be written keeps no other from it.
            try:
                write(self.run_dir)
            except ChatloadError as error:
                self.spoilt(error)

    def _why_nothing_started(self) -> str:
        if self.is_master and not self.runner.clients:
            return "no worker took part"
        if not any(user_class.tasks for user_class in self.environment.user_classes):
            return "--tags and --exclude-tags leave no task"
        if self.environment.parsed_options.num_users == 0:
            return "-u 0 asks for no users"
        return "no user came to start one"

    def _note_lost_workers(self) -> None:
        if self.is_master:
            for worker in self._crew.lost():
                self._note(IncidentKind.WORKER_LOST, self._crew.silence_of(worker))

    def end_at_once(self) -> bool:
        """A second signal: no goodbyes any more. What came in until now is written. False where the goodbyes are over
        or no run had begun."""
        with self._stop_lock:  # never while `end` writes
            recorder, self._recorder = self._recorder, None
            if recorder is None or self.run_dir is None:
                return False
            if not self.is_master:
                recorder.take("local", self.facts.hand_over(final=False))
            recorder.flush()
            recorder.note(IncidentKind.ENDED_AT_ONCE, "a second signal ended the run without waiting for goodbyes")
            if self.is_master:
                self.runner.send_message("quit")
            self._close_progress()
            self._write([write_outputs])
            return True

    def _stalled(self, seconds: float) -> None:
        self.facts.books.stall(seconds)


def run_of(environment: Environment) -> Run:
    """The Run of an environment, made at its first call."""
    run = getattr(environment, "chatload_run", None)
    if run is None:
        run = Run(environment)
        environment.chatload_run = run
    assert isinstance(run, Run)
    return run
