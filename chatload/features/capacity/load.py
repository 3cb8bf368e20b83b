"""The capacity search on the Locust side: a shape that puts on the load the search wants.

A locustfile imports CapacityShape from here; importing registers the options and listeners. The thresholds of the
run are judged step by step by the search, and not of the run as a whole: that is overloaded on purpose.
"""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from locust import LoadTestShape, events
from locust.env import Environment

from chatload import exit_codes
from chatload.errors import ChatloadError
from chatload.features.capacity.console import render
from chatload.features.capacity.html import write_page
from chatload.features.capacity.search import CapacitySearch, rules_of
from chatload.features.capacity.step import Look, Rules
from chatload.features.capacity.view import exit_code, facts_of, read_capacity, write_capacity
from chatload.run.options import Group
from chatload.run.settings import RunSettings, option_of
from chatload.swarm.login import host_with_login
from chatload.swarm.options import add_group
from chatload.swarm.plan import Plan
from chatload.swarm.run import Run, run_of

log = logging.getLogger("chatload")
#: The course of a search is kept at so many instants at most.
_COURSE = 1000


def _start_of(options: Any) -> int:
    """Sessions of the first step, also before there is a plan; raises UsageError."""
    return int(option_of("start_sessions").value(options.start_sessions) or 1)


class Steering:
    """The capacity search that steers one Run: rules from its options, a look each second, its files in the end."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._search: CapacitySearch | None = None
        self._began = 0.0
        self._course: list[tuple[float, int, int]] = []
        self._load, self._rate = 0, 1.0

    def check(self, plan: Plan) -> None:
        """Refuse options that make no search; raises UsageError."""
        rules_of(plan)

    def begin(self, plan: Plan) -> Plan:
        """A run begins by this plan; what it should go by instead. Raises UsageError."""
        rules = rules_of(plan)
        self._search, self._began, self._course = CapacitySearch(rules), time.monotonic(), []
        self._load = 0
        return replace(plan, gate=replace(plan.gate, thresholds=()), run=replace(plan.run, thresholds=()))

    def settings(self, run: RunSettings) -> RunSettings:
        """The settings of a run that this steers: those of the search, without a number and a rate of users."""
        assert self._search is not None
        rules = self._search.rules
        return replace(
            run,
            users=None,
            spawn_rate=None,
            start_sessions=rules.start,
            max_sessions=rules.ceiling,
            step_hold=rules.hold_s,
            step_bound=rules.bound_s,
            resolution=100 * rules.resolution,
            step_thresholds=tuple(str(threshold) for threshold in rules.thresholds),
        )

    def tick(self) -> tuple[int, float] | None:
        """Users wanted, and how fast they come; None once the search or its time is over."""
        run, search = self._run, self._search
        if search is None or run.plan is None or search.result is not None:
            # Not begun, or not begun anew: Locust begins the run by the first answer.
            return _start_of(run.environment.parsed_options), 100.0
        now = time.monotonic()
        look = Look(now, run.books(), {who: usage.cpu_s for who, usage in run.usage().items()})
        limit_s = run.environment.parsed_options.run_time
        wanted = search.look(look)
        self._note(now - self._began, wanted or 0, look.open)
        if wanted is None or (limit_s and now - self._began >= limit_s):
            search.stop()
            return None
        return wanted, self._rate_for(wanted, search.rules)

    def write(self, run_dir: Path) -> None:
        """The run is over: write what was found beside its file. Raises UsageError."""
        if self._search is not None:
            self._search.stop()
            write_capacity(run_dir, facts_of(self._search, self._began, self._course))

    def report(self, run_dir: Path, stream: IO[str]) -> int:
        """Print what was found, and draw it; gives the exit code. Raises UsageError."""
        facts = read_capacity(run_dir)
        if facts is None:
            return exit_codes.INVALID
        # Drawing takes a second, in which the generator stands still: only now is everybody gone.
        write_page(run_dir, facts)
        render(facts, stream)
        return exit_code(facts)

    def _rate_for(self, wanted: int, rules: Rules) -> float:
        """New chats are spread over a refresh interval: all at once they would refresh all at once, ever after."""
        if wanted != self._load:
            more = wanted - self._load
            # Locust warns of more than 100 a second, and on the way down nobody is in a hurry.
            self._rate = max(1.0, more / rules.window_s) if more > 0 else 100.0
            self._load = wanted
        return self._rate

    def _note(self, at: float, wanted: int, still: int) -> None:
        self._course.append((round(at, 3), wanted, still))
        if len(self._course) >= 2 * _COURSE:
            self._course = self._course[::2]


class CapacityShape(LoadTestShape):
    """Raises the sessions in steps, as the search wants them. Derive from it in a locustfile."""

    abstract = True
    #: Its users are the search's, and --run-time is kept to: no warning that they were ignored.
    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """Users wanted and how many come a second; None at the end."""
        if self.runner is None:
            return None
        steering = run_of(self.runner.environment).steering
        assert isinstance(steering, Steering)
        return steering.tick()


@events.init_command_line_parser.add_listener
def _add_options(parser: Any, **_: Any) -> None:
    add_group(parser, Group.CAPACITY)


@events.init.add_listener
def _init(environment: Environment, **_: Any) -> None:
    run = run_of(environment)
    options: Any = environment.parsed_options
    if run.is_worker or options is None:
        return
    run.steering = Steering(run)
    if options.num_users is not None or options.spawn_rate is not None:
        log.warning("chatload: --users and --spawn-rate mean nothing to a capacity search; see --max-sessions")
    try:
        if options.headless or options.autostart:
            run.steering.check(run.plan_for(options, host_with_login(environment)))
    except ChatloadError as error:
        print(f"chatload: {error}", file=sys.stderr, flush=True)
        raise SystemExit(error.exit_code) from None
