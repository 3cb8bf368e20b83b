"""Installs chatload in a Locust process: workarounds, options, and what happens at Locust's events."""

import logging
import os
import sys
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import gevent
from gevent import subprocess
from locust import events
from locust import log as locust_log
from locust.env import Environment

from chatload import exit_codes
from chatload.errors import ChatloadError, drop_output
from chatload.features.report.summary import exit_code as exit_code_of
from chatload.features.report.summary import summarize
from chatload.features.report.view import summary_document
from chatload.render.terminal import render
from chatload.run.reader import RunReader
from chatload.run.settings import OptionGroup, option_of, unknown_settings
from chatload.swarm import log, options, patches
from chatload.swarm.classes import read_classes
from chatload.swarm.coordinator import RunCoordinator
from chatload.swarm.patches import web_start
from chatload.swarm.patches.garbage_collection import freeze_existing
from chatload.swarm.patches.host_login import hide_login, host_with_login
from chatload.swarm.patches.signals import Signals, exit_on_signal
from chatload.swarm.patches.spawning import limit_users
from chatload.swarm.patches.stopping import load_source_files
from chatload.swarm.run import Run, run_of
from chatload.swarm.web import add_page, start_allowed
from chatload.target import read_rules

_GROUPS = {"arrivals": OptionGroup.ARRIVALS, "capacity": OptionGroup.CAPACITY, "sweep": OptionGroup.SWEEP}
_installed: set[str] = set()
#: The `quit` event does not say of which environment it is.
_environments: list[Environment] = []


def install(workload: str = "") -> None:
    """Install chatload in this process. The base classes of locustfiles call it; further calls have no effect.

    workload: what to install beside the options and listeners of every locustfile: "", "arrivals", "capacity" or
    "sweep" (options), or "soak" (listeners).
    """
    if not _installed:
        exit_on_signal()
        patches.install()
        events.init_command_line_parser.add_listener(options.add_options)
        events.init.add_listener(_init)
        events.test_start.add_listener(lambda environment, **_: run_of(environment).begin())
        events.test_stopping.add_listener(lambda environment, **_: run_of(environment).begin_stopping())
        events.test_stop.add_listener(lambda environment, **_: run_of(environment).end())
        events.cpu_warning.add_listener(_cpu_warning)
        events.user_error.add_listener(_user_error)
        events.quitting.add_listener(_quitting)
        events.quit.add_listener(_quit)
    if workload not in _installed:
        if workload in _GROUPS:
            events.init_command_line_parser.add_listener(partial(options.add_group, group=_GROUPS[workload]))
        elif workload == "soak":
            events.test_start.add_listener(_start_drift_checks)
            events.test_stopping.add_listener(_stop_drift_checks)
    _installed.update(("", workload))


def _init(environment: Environment, **_: Any) -> None:
    _environments.append(environment)
    hide_login(environment)
    load_source_files()
    freeze_existing()
    run = run_of(environment)
    coordinator = run.role.coordinator
    parsed: Any = environment.parsed_options
    waits_for_workers = not run.role.holds_chats and bool(parsed and parsed.headless)
    run.signals = Signals(environment.runner, waits_for_workers, lambda: _end_at_once(run))
    if getattr(parsed, "hide_locust_stats", False):
        logging.getLogger("locust.stats_logger").disabled = True
    if coordinator is None:
        return
    limit_users(environment.runner, lambda: _session_ceiling(environment), coordinator.add_note)
    if parsed is None:
        return
    try:
        own = [one.own["dialect"] for one in read_classes(environment.user_classes) if "dialect" in one.own]
        for warning in unknown_settings([parsed.dialect, *own]):
            log.warning("chatload: %s", warning)
        for shape in (environment.available_shape_classes or {"": environment.shape_class}).values():
            if hasattr(shape, "load_controller"):
                coordinator.load = shape.load_controller(run)
        if parsed.headless or parsed.autostart:
            run.check(parsed, host_with_login(environment), environment.user_classes)
        if environment.web_ui is not None:
            add_page(run)
            web_start.check_starts(environment.web_ui, lambda form: start_allowed(run, form))
        if parsed.prometheus_port:
            # Imported only if asked for: each process of a run would load Prometheus' client.
            from chatload.swarm.prometheus import open_endpoint

            open_endpoint(parsed, coordinator.snapshot)
    except ChatloadError as error:
        print(f"chatload: {error}", file=sys.stderr, flush=True)
        raise SystemExit(error.exit_code) from None


def _session_ceiling(environment: Environment) -> int | None:
    # Not the plan's rules: before the first start, which a load shape may make, there is no plan.
    try:
        given = option_of("max_sessions").value(environment.parsed_options.max_sessions)
        return read_rules().lowered(given, None).max_sessions
    except ChatloadError:
        return None


def _end_at_once(run: Run) -> None:
    if run.end_at_once():
        os._exit(_report(run, exit_codes.INVALID))


def _cpu_warning(environment: Environment, **_: Any) -> None:
    run_of(environment).facts.books.cpu_saturated += 1


def _user_error(user_instance: Any, exception: Exception, tb: TracebackType | None, **_: Any) -> None:
    """An exception in code of a user class, of whichever kind, was reported. user_instance: a User or a TaskSet."""
    user = getattr(user_instance, "user", user_instance)
    if user.tasks:  # --tags may leave a class beside the customers without a task: Locust raises for each of its users
        run_of(user.environment).count_code_error(user, exception, tb)


# -- the end: outputs and the exit code ------------------------------------------------------------


def _quitting(environment: Environment, **_: Any) -> None:
    # Failed requests are facts of a run here, not errors of it.
    if environment.process_exit_code is None:
        failed = locust_log.unhandled_greenlet_exception
        environment.process_exit_code = exit_codes.WRONG_USAGE if failed else exit_codes.PASSED


def _quit(exit_code: int, **_: Any) -> None:
    """Last of all: only now every chat has ended and is counted."""
    code = exit_code
    for environment in _environments:
        run = run_of(environment)
        code = _report(run, code)
        run.role.quit()
    if code != exit_code:
        raise SystemExit(code)


def _report(run: Run, code: int) -> int:
    """Write Locust's report and print the summary, except in a worker; return the exit code, given Locust's."""
    coordinator = run.role.coordinator
    if coordinator is None:
        return code
    try:
        run.html.write()
    except ChatloadError as error:
        coordinator.fail(error)
    if coordinator.run_dir is None:
        return code if coordinator.error is None else exit_codes.INVALID
    try:
        with RunReader.open(coordinator.run_dir) as reader:
            summary = summarize(reader)
    except ChatloadError as error:
        coordinator.fail(error)
        return exit_codes.INVALID
    try:
        own = _print(coordinator, coordinator.run_dir, summary)
        _wait_for_report(coordinator)
    except OSError:
        # The reader of the output is gone (| head, a closed terminal). The run's files have it all.
        drop_output()
        own = _print(coordinator, coordinator.run_dir, summary)
    if coordinator.error is not None:
        return exit_codes.INVALID
    return exit_code_of(summary) or own or code


def _print(coordinator: RunCoordinator, run_dir: Path, summary: dict[str, Any]) -> int:
    """Print the summary and what the load controller found; return the latter's exit code."""
    print(flush=True)
    render(summary_document(summary), sys.stdout)
    try:
        own = coordinator.load.report(run_dir, sys.stdout)
    except ChatloadError as error:
        coordinator.fail(error)
        own = exit_codes.INVALID
    print(f"\nrun: {run_dir}", flush=True)
    return own


def _wait_for_report(coordinator: RunCoordinator) -> None:
    """Wait until report.html is written, and say where it is. A CI would otherwise collect a run without it."""
    if coordinator.report is not None and coordinator.report.wait():
        print(f"report: {coordinator.report.page}", flush=True)


# -- soak tests: what drifts, logged from time to time ---------------------------------------------

#: The first check is made after this time (seconds), each later one when the run is twice as long: the probability of a
#: false alarm is divided among the doublings (see `chatload.features.report.drift`).
FIRST_S = 1200.0
_LIMIT_S = 300.0

_watchers: dict[int, gevent.Greenlet] = {}


def next_check(began: float, last: float) -> float:
    """Return when the next check is due, for a run that began and was last checked at these instants (seconds)."""
    return last + max(last - began, FIRST_S)


def _start_drift_checks(environment: Environment, **_: Any) -> None:
    if run_of(environment).role.coordinator is not None:
        _watchers[id(environment)] = gevent.spawn(_check_drift_repeatedly, environment)


def _stop_drift_checks(environment: Environment, **_: Any) -> None:
    watcher = _watchers.pop(id(environment), None)
    if watcher is not None:
        watcher.kill(block=False)


def _check_drift_repeatedly(environment: Environment) -> None:
    began = last = time.monotonic()
    while True:
        gevent.sleep(max(next_check(began, last) - time.monotonic(), 0))
        last = time.monotonic()
        coordinator = run_of(environment).role.coordinator
        if coordinator is not None and coordinator.run_dir is not None:
            _check_drift(coordinator.run_dir)


def _check_drift(run_dir: Path) -> None:
    """Log what `chatload drift` says. It runs in a process of its own, so that the generator is not stalled by it."""
    command = [sys.executable, "-m", "chatload", "drift", str(run_dir)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("chatload: drift could not be checked: %s", error)
        return
    # One sentence per line; its continuation lines are indented.
    said = done.stdout.split("\n\n", 1)[0].strip().replace("\n  ", " ").replace("\n", "; ")
    log.info("chatload: so far %s", said)
