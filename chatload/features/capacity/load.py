"""The capacity search on the Locust side: a load shape that follows the search.

A locustfile derives a class from CapacityShape; defining it installs the search's options. The search judges the
thresholds for each step, not for the run as a whole, which overloads the server on purpose.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from locust import LoadTestShape

from chatload import exit_codes
from chatload.features.capacity.length import forecast
from chatload.features.capacity.search import CapacitySearch, rules_of
from chatload.features.capacity.step import Look
from chatload.features.capacity.view import CAPACITY_FILE, report_capacity, search_facts
from chatload.render.output import write_json
from chatload.run.settings import RunSettings, option_of
from chatload.run.windows import MASTER
from chatload.swarm import log
from chatload.swarm.install import install
from chatload.swarm.load import LoadController
from chatload.swarm.plan import RunPlan
from chatload.swarm.run import Run, run_of

#: Number of instants of a search that are recorded for its chart.
_MAX_HISTORY = 1000


class CapacityLoad(LoadController):
    """Load controller of a capacity search: a step each second, its results at the end."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        options: Any = run.environment.parsed_options
        if options.num_users is not None or options.spawn_rate is not None:
            log.warning("chatload: --users and --spawn-rate have no effect on a capacity search; see --max-sessions")
        self._run = run
        self._search: CapacitySearch | None = None
        self._began = 0.0
        self._history: list[tuple[float, int, int]] = []
        self._load, self._rate = 0, 1.0

    def check(self, plan: RunPlan) -> None:
        """Raise UsageError if the options make no search."""
        rules_of(plan)

    def begin(self, plan: RunPlan) -> RunPlan:
        """Begin a search; return the plan without thresholds. Raises UsageError."""
        rules = rules_of(plan)
        self._search, self._began = CapacitySearch(rules), time.monotonic()
        self._history, self._load = [], 0
        log.info("chatload: %s", forecast(rules))
        super().begin(plan)
        return replace(plan, gate=replace(plan.gate, thresholds=()), run=replace(plan.run, thresholds=()))

    def settings(self, run: RunSettings) -> RunSettings:
        """Return the settings of the search. Locust's number of users and spawn rate do not apply."""
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
            confirm_hold=rules.confirming_s,
            resolution=100 * rules.resolution,
            step_thresholds=tuple(str(threshold) for threshold in rules.thresholds),
        )

    def tick(self) -> tuple[int, float] | None:
        """Return users wanted and spawn rate (per second), None when the search or its time is over."""
        run, search, coordinator = self._run, self._search, self._run.role.coordinator
        assert coordinator is not None
        options: Any = run.environment.parsed_options
        if search is None or run.plan is None or search.result is not None:
            # The search has not begun, or not again: Locust starts the run with the first values.
            return int(option_of("start_sessions").value(options.start_sessions) or 1), 100.0
        now = time.monotonic() - self._began
        figures = coordinator.figures
        cpu_s = {who: usage.cpu_s for who, usage in figures.usage.items() if who != MASTER}
        look = Look(now, figures.total(), cpu_s)
        wanted = search.look(look)
        self._history.append((round(now, 3), wanted or 0, look.open))
        if len(self._history) >= 2 * _MAX_HISTORY:
            self._history = self._history[::2]
        if wanted is None or (options.run_time and now >= options.run_time):
            search.stop()
            return None
        more = wanted - self._load
        if more:
            self._load = wanted
            # New chats are spread over a refresh interval. Locust warns above 100 per second.
            self._rate = max(1.0, more / search.rules.window_s) if more > 0 else 100.0
        return wanted, self._rate

    def write(self, run_dir: Path) -> None:
        """Write the results into the folder of the run. Raises UsageError."""
        if self._search is not None:
            write_json(search_facts(self._search, self._history), run_dir / CAPACITY_FILE)

    def report(self, run_dir: Path, stream: IO[str]) -> int:
        """Print the results and write their page; return the exit code. Raises UsageError."""
        # Rendering takes a second, in which the generator is stalled: it waits until all chats have ended.
        code = report_capacity(run_dir, stream)
        return exit_codes.INVALID if code is None else code


class CapacityShape(LoadTestShape):
    """Changes the number of users as the capacity search wants it. Derive from it in a locustfile."""

    abstract = True
    #: Prevents Locust's warning that --run-time is ignored: it is not.
    use_common_options = True
    #: Makes the load controller of a process's runs.
    load_controller = CapacityLoad

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        if not cls.abstract:
            install("capacity")

    def tick(self) -> tuple[int, float] | None:
        """Return users wanted and spawn rate (per second), None at the end."""
        if self.runner is None:
            return None
        coordinator = run_of(self.runner.environment).role.coordinator
        assert coordinator is not None and isinstance(coordinator.load, CapacityLoad)
        return coordinator.load.tick()
