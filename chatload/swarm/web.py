"""Locust's web UI: chatload's tab, its figures as JSON and CSV, and the check of a start."""

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from flask import Blueprint, Response, jsonify, request
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING
from werkzeug.datastructures import MultiDict

from chatload.errors import ChatloadError, UsageError
from chatload.swarm import log
from chatload.swarm.patches.host_login import host_with_login
from chatload.swarm.patches.web_start import state_for_page
from chatload.swarm.run import Run
from chatload.swarm.snapshot import COLUMNS, RunSnapshot, figures, rows, to_csv

TAB = "chatload"
#: Options that a form may change in an active run.
_OF_USERS = frozenset({"num_users", "spawn_rate", "run_time", "user_classes", "profile"})


def add_tab(web_ui: Any, snapshot: Callable[[], RunSnapshot]) -> None:
    """Add the tab, its download, and `/chatload/live` below the web UI's base path."""
    structure = [{"key": key, "title": title} for key, title in COLUMNS.items()]
    for name, entry in (
        ("extended_tabs", {"key": TAB, "title": TAB}),
        ("extended_tables", {"key": TAB, "structure": structure}),
        ("extended_csv_files", {"href": "./chatload/live.csv", "title": "Download chatload's figures CSV"}),
    ):
        web_ui.template_args[name] = [*web_ui.template_args.get(name, []), entry]
    prefix = web_ui.app.blueprints["locust"].url_prefix or ""
    pages = Blueprint("chatload", __name__, url_prefix=f"{prefix}/chatload")

    @pages.route("/live")
    @web_ui.auth_required_if_enabled
    def live() -> Response:
        return jsonify(figures(snapshot()))

    @pages.route("/live.csv")
    @web_ui.auth_required_if_enabled
    def live_csv() -> Response:
        headers = {"Content-Disposition": "attachment;filename=chatload.csv"}
        return Response(to_csv(figures(snapshot())), headers=headers, mimetype="text/csv")

    @pages.after_request
    def do_not_cache(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store"
        return response

    web_ui.app.register_blueprint(pages)

    @web_ui.app.after_request
    def add_figures(response: Response) -> Response:
        if request.endpoint != "locust.request_stats" or response.status_code != 200 or not response.is_json:
            return response
        # A new response: Locust caches the one at hand for the next requests.
        report, now = response.get_json(), snapshot()
        tables = [*report.get("extended_stats", []), {"key": TAB, "data": rows(figures(now))}]
        state = state_for_page(report["state"], now.is_active)
        return jsonify({**report, "extended_stats": tables, "state": state})


@contextmanager
def start_allowed(run: Run, form: Mapping[str, str]) -> Iterator[None]:
    """Check a start with this form. Locust reads an allowed one within this context. Raises ChatloadError.

    The form may change an active run: then all options but those about users are kept, because workers that connect
    later go by the same options.
    """
    environment, coordinator = run.environment, run.role.coordinator
    assert coordinator is not None
    options, host, before = environment.parsed_options, environment.host, {}
    if environment.runner.state in (STATE_SPAWNING, STATE_RUNNING):
        before = dict(vars(options))
    else:
        try:
            if not run.role.holds_chats and not environment.runner.worker_count:
                # Locust would answer that it has started, and start nothing.
                hint = "start one; after a stop, Locust takes its workers back once --stop-timeout has passed"
                raise UsageError("no worker is connected", hint)
            host = host_with_login(environment, form.get("host"))
            run.check(_options_of(environment, form), host, _picked(environment, form))
        except ChatloadError as error:
            log.error("chatload: %s", error)
            coordinator.refused = str(error)
            raise
    try:
        yield
    finally:
        changed = [name for name in before if name not in _OF_USERS and getattr(options, name) != before[name]]
        if changed:
            vars(options).update({name: before[name] for name in changed})
            environment.host = host
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(changed))
            coordinator.add_note(f"not changed, an active run keeps its settings: {flags}")


def _picked(environment: Environment, form: Mapping[str, str]) -> list[Any]:
    """Return the user classes of a start: those that the form picks (--class-picker), otherwise all."""
    names = form.getlist("user_classes") if isinstance(form, MultiDict) else []
    available = environment.available_user_classes or {}
    picked = [available[name] for name in names if name in available]
    return picked or list(environment.user_classes)


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
