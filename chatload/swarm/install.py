"""Installs chatload in a Locust process: workarounds, options, and what happens at Locust's events."""

from __future__ import annotations

import os
import sys
from typing import Any

from locust import events
from locust.env import Environment

from chatload import exit_codes
from chatload.errors import ChatloadError
from chatload.swarm import options, outcome, patches, soak
from chatload.swarm.patches import web_start
from chatload.swarm.patches.garbage_collection import freeze_existing
from chatload.swarm.patches.host_login import hide_login, host_with_login
from chatload.swarm.patches.html_report import LocustHtml
from chatload.swarm.patches.signals import Signals, exit_on_signal
from chatload.swarm.patches.spawning import limit_users
from chatload.swarm.patches.stopping import load_source_files
from chatload.swarm.plan import max_sessions_of
from chatload.swarm.prometheus import open_endpoint
from chatload.swarm.run import Run, run_of
from chatload.swarm.web import add_tab, keep_settings, refusal

_installed: set[str] = set()
#: The `quit` event does not say of which environment it is.
_environments: list[Environment] = []


def install(workload: str = "") -> None:
    """Install chatload in this process. The base classes of locustfiles call it; further calls have no effect.

    Args:
        workload: what to install beside the options and listeners of every locustfile: "", "arrivals" (options),
            "sweep" (option) or "soak" (listeners).
    """
    if not _installed:
        exit_on_signal()
        patches.install()
        events.init_command_line_parser.add_listener(options.add_options)
        events.init.add_listener(_init)
        events.test_start.add_listener(_test_start)
        events.test_stopping.add_listener(_test_stopping)
        events.test_stop.add_listener(_test_stop)
        events.cpu_warning.add_listener(_cpu_warning)
        events.quitting.add_listener(_quitting)
        events.quit.add_listener(_quit)
    if workload not in _installed:
        _installed.add(workload)
        _WORKLOADS[workload]()
    _installed.add("")


_WORKLOADS = {
    "": lambda: None,
    "arrivals": lambda: events.init_command_line_parser.add_listener(options.add_arrival_options),
    "sweep": lambda: events.init_command_line_parser.add_listener(options.add_sweep_options),
    "soak": soak.install,
}


def _init(environment: Environment, **_: Any) -> None:
    _environments.append(environment)
    hide_login(environment)
    load_source_files()
    freeze_existing()
    html = LocustHtml(environment)
    run = run_of(environment)
    coordinator = run.role.coordinator
    parsed: Any = environment.parsed_options
    _handle_signals(run, waits_for_workers=not run.role.holds_chats and bool(parsed and parsed.headless))
    if coordinator is None:
        return
    coordinator.last_outputs.append(html.write)
    limit_users(environment.runner, lambda: _session_ceiling(environment), coordinator.add_note)
    if parsed is None:
        return
    try:
        # A capacity search checks its own start, with its own limits first.
        if (parsed.headless or parsed.autostart) and not getattr(environment.shape_class, "checks_start", False):
            run.check(parsed, host_with_login(environment))
        if environment.web_ui is not None:
            add_tab(environment.web_ui, coordinator.snapshot)
            web_start.check_starts(
                environment.web_ui, lambda form: refusal(run, form), lambda: keep_settings(environment, coordinator)
            )
        open_endpoint(parsed, coordinator.snapshot)
    except ChatloadError as error:
        print(f"chatload: {error}", file=sys.stderr, flush=True)
        raise SystemExit(error.exit_code) from None


def _session_ceiling(environment: Environment) -> int | None:
    # Not the plan's rules: before the first start, which a load shape may make, there is no plan.
    try:
        return max_sessions_of(environment.parsed_options)
    except ChatloadError:
        return None


def _handle_signals(run: Run, waits_for_workers: bool) -> None:
    """Locust calls listeners in reverse order of registration: these come before those of its runner, which wait until
    the chats have disconnected."""
    signals = run.signals = Signals(run.environment.runner, waits_for_workers, lambda: _end_at_once(run))
    run.environment.events.test_start.add_listener(lambda **_: signals.watch_sigterm())
    run.environment.events.quitting.add_listener(lambda **_: signals.run_ends())
    run.environment.events.quit.add_listener(lambda **_: signals.ignore_all())


def _end_at_once(run: Run) -> None:
    if run.end_at_once():
        os._exit(outcome.report(run, exit_codes.INVALID))


def _test_start(environment: Environment, **_: Any) -> None:
    run = run_of(environment)
    try:
        run.begin()
    except ChatloadError as error:
        run.refuse(error)


def _test_stopping(environment: Environment, **_: Any) -> None:
    run_of(environment).begin_stopping()


def _test_stop(environment: Environment, **_: Any) -> None:
    run_of(environment).end()


def _cpu_warning(environment: Environment, **_: Any) -> None:
    run_of(environment).facts.books.cpu_saturated += 1


def _quitting(environment: Environment, **_: Any) -> None:
    if environment.process_exit_code is None:
        environment.process_exit_code = outcome.exit_code_for_locust()


def _quit(exit_code: int, **_: Any) -> None:
    """Last of all: only now every chat has ended and is counted."""
    code = exit_code
    for environment in _environments:
        code = outcome.report(run_of(environment), code)
    if code != exit_code:
        raise SystemExit(code)
