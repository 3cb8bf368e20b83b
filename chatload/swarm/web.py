"""Locust's web UI: chatload's tab, its figures as JSON and CSV, and the check of a start."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from flask import Blueprint, Response, jsonify, request
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING

from chatload.errors import ChatloadError, UsageError
from chatload.swarm.coordinator import RunCoordinator
from chatload.swarm.patches.host_login import host_with_login
from chatload.swarm.patches.web_start import state_for_page
from chatload.swarm.run import Run
from chatload.swarm.snapshot import COLUMNS, RunSnapshot, figures, rows, to_csv

log = logging.getLogger("chatload")

TAB = "chatload"
#: Options that a form may change in an active run.
_OF_USERS = frozenset({"num_users", "spawn_rate", "run_time", "user_classes", "profile"})


def add_tab(web_ui: Any, snapshot: Callable[[], RunSnapshot]) -> None:
    """Add the tab, its download, and `/chatload/live` below the web UI's base path.

    snapshot: returns the state of the run.
    """
    structure = [{"key": key, "title": title} for key, title in COLUMNS.items()]
    for name, entry in (
        ("extended_tabs", {"key": TAB, "title": TAB}),
        ("extended_tables", {"key": TAB, "structure": structure}),
        ("extended_csv_files", {"href": "./chatload/live.csv", "title": "Download chatload's figures CSV"}),
    ):
        web_ui.template_args[name] = [*web_ui.template_args.get(name, []), entry]
    prefix = web_ui.app.blueprints["locust"].url_prefix or ""
    web_ui.app.register_blueprint(_pages(web_ui, snapshot, f"{prefix}/chatload"))

    @web_ui.app.after_request
    def add_figures(response: Response) -> Response:
        if request.endpoint != "locust.request_stats" or response.status_code != 200 or not response.is_json:
            return response
        # A new response: Locust caches the one at hand for the next requests.
        return jsonify(_extended(response.get_json(), snapshot()))


def refusal(run: Run, form: Mapping[str, str]) -> str:
    """Return why a start with this form is refused, empty if it is not or if the form only changes an active run."""
    coordinator = run.role.coordinator
    assert coordinator is not None
    if _is_active(run.environment):
        return ""
    try:
        if not run.role.holds_chats and not run.environment.runner.worker_count:
            # Locust would answer that it has started, and start nothing.
            hint = "start one; after a stop, Locust takes its workers back once --stop-timeout has passed"
            raise UsageError("no worker is connected", hint)
        run.check(_options_of(run.environment, form), host_with_login(run.environment, form.get("host")))
    except ChatloadError as error:
        log.error("chatload: %s", error)
        coordinator.refused = str(error)
        return str(error)
    return ""


@contextmanager
def keep_settings(environment: Environment, coordinator: RunCoordinator) -> Iterator[None]:
    """While Locust reads the form of an active run, keep all options but those about users.

    Workers that connect later go by the same options.
    """
    options, host = environment.parsed_options, environment.host
    before = dict(vars(options)) if _is_active(environment) else {}
    try:
        yield
    finally:
        changed = [name for name in before if name not in _OF_USERS and getattr(options, name) != before[name]]
        if changed:
            vars(options).update({name: before[name] for name in changed})
            environment.host = host
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(changed))
            coordinator.add_note(f"not changed, an active run keeps its settings: {flags}")


def _is_active(environment: Environment) -> bool:
    return environment.runner.state in (STATE_SPAWNING, STATE_RUNNING)


def _options_of(environment: Environment, form: Mapping[str, str]) -> Namespace:
    """Return Locust's options as they will be when Locust has read the form (locust/web.py, `swarm`).

    Locust itself refuses values that it cannot read.
    """
    options = Namespace(**vars(environment.parsed_options))
    for name, text in form.items():
        if name == "user_count":
            with suppress(ValueError):
                options.num_users = int(text)
        elif hasattr(options, name):
            setattr(options, name, text == "true" if isinstance(getattr(options, name), bool) else text)
    return options


def _pages(web_ui: Any, snapshot: Callable[[], RunSnapshot], prefix: str) -> Blueprint:
    pages = Blueprint("chatload", __name__, url_prefix=prefix)

    @pages.route("/live")
    @web_ui.auth_required_if_enabled
    def live() -> Response:
        return _fresh(jsonify(figures(snapshot())))

    @pages.route("/live.csv")
    @web_ui.auth_required_if_enabled
    def live_csv() -> Response:
        response = Response(to_csv(figures(snapshot())), mimetype="text/csv")
        response.headers["Content-Disposition"] = "attachment;filename=chatload.csv"
        return _fresh(response)

    return pages


def _fresh(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


def _extended(report: dict[str, Any], now: RunSnapshot) -> dict[str, Any]:
    """Return Locust's statistics with the tab's rows."""
    tables = [*report.get("extended_stats", []), {"key": TAB, "data": rows(figures(now))}]
    state = state_for_page(report["state"], now.phase in ("running", "stopping"))
    return {**report, "extended_stats": tables, "state": state}
