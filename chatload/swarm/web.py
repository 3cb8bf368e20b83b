"""chatload's page in Locust's web UI: start form, active run, and link to the report; and the check of a start.

The page is the first one of the web UI. Locust's own page has a link to it, and the other way round.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from flask import Blueprint, Response, jsonify, redirect, request, send_file, url_for
from jinja2 import ChoiceLoader, PackageLoader, StrictUndefined
from jinja2 import Environment as Templates
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING
from werkzeug.datastructures import MultiDict

import chatload
from chatload.errors import ChatloadError, UsageError
from chatload.swarm import log
from chatload.swarm.live_page import SwarmSize, live_page
from chatload.swarm.patches.host_login import host_with_login
from chatload.swarm.patches.web_start import state_for_page
from chatload.swarm.report_process import ReportProcess
from chatload.swarm.run import Run
from chatload.swarm.snapshot import RunSnapshot, figures, to_csv
from chatload.swarm.start_form import rule_notices, start_form
from chatload.target import TargetRules, read_rules
from chatload.vocabulary import RunPhase

#: Options that a form may change in an active run.
_OF_USERS = frozenset({"num_users", "spawn_rate", "run_time", "user_classes", "profile"})
#: Files of the page: name -> media type. Those of chatload.render are shared with the report.
_ASSETS = {
    "uPlot.iife.min.js": "text/javascript",
    "uPlot.min.css": "text/css",
    "zoom.js": "text/javascript",
    "page.js": "text/javascript",
    "page.css": "text/css",
}
#: The page loads nothing from elsewhere. A chart sets styles of its elements.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: Put at the top of Locust's own page.
_LINK = (
    '<p style="margin:0;padding:6px 16px;background:#1b212b;font:15px system-ui,sans-serif">'
    '<a style="color:#7db8ff" href="./chatload/">chatload: start a run, live charts, thresholds, report</a></p>'
)


def add_page(run: Run) -> None:
    """Add the page and its data below the web UI's base path, and make it the first page of the web UI."""
    environment, coordinator = run.environment, run.role.coordinator
    assert coordinator is not None
    web_ui: Any = environment.web_ui
    prefix = web_ui.app.blueprints["locust"].url_prefix or ""
    pages = Blueprint("chatload", __name__, url_prefix=f"{prefix}/chatload")
    templates = Templates(
        loader=ChoiceLoader([PackageLoader("chatload.swarm", "page"), PackageLoader("chatload.render")]),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip

    @pages.route("/")
    @web_ui.auth_required_if_enabled
    def page() -> Response:
        options: Any = environment.parsed_options
        used = options.run_dir if coordinator.run_dir is not None else ""
        try:
            rules, notices = read_rules(), []
        except ChatloadError as error:
            rules, notices = TargetRules(), [f"No run can start: {error}."]
        text = templates.get_template("page.html.j2").render(
            groups=start_form(environment, used, rules), notices=[*notices, *rule_notices(rules, time.time())],
            version=chatload.__version__, locustfile=environment.locustfile or "",
        )  # fmt: skip
        response = Response(text, mimetype="text/html")
        response.headers["Content-Security-Policy"] = _POLICY
        return response

    @pages.route("/assets/<name>")
    @web_ui.auth_required_if_enabled
    def asset(name: str) -> Response:
        if name not in _ASSETS:
            return Response("no such file\n", 404, mimetype="text/plain")
        if name == "page.css":
            text = templates.get_template("run.css.j2").render()
        elif name == "page.js":
            text = (files("chatload.swarm") / "page" / name).read_text("utf-8")
        else:
            text = (files("chatload.render") / "assets" / name).read_text("utf-8")
        return Response(text, mimetype=_ASSETS[name])

    @pages.route("/state")
    @web_ui.auth_required_if_enabled
    def state() -> Response:
        shown, after_s = (request.args.get(name, -1.0, type=float) for name in ("started_at", "after_s"))
        options: Any = environment.parsed_options
        workers = None if run.role.holds_chats else environment.runner.worker_count
        swarm = SwarmSize(options.num_users, options.spawn_rate, workers)
        return jsonify(asdict(live_page(coordinator.snapshot(), swarm, shown, after_s)))

    @pages.route("/report")
    @web_ui.auth_required_if_enabled
    def report() -> Response:
        run_dir = coordinator.run_dir
        if run_dir is None or coordinator.snapshot().phase is not RunPhase.ENDED:
            return Response("the report can be opened when the run has ended\n", 404, mimetype="text/plain")
        if coordinator.report is None:  # --no-report
            coordinator.report = ReportProcess(run_dir)
        written = coordinator.report.wait()
        if not written:
            return Response("the report could not be drawn; the log says why\n", 500, mimetype="text/plain")
        return send_file(coordinator.report.page.absolute(), mimetype="text/html")

    @pages.route("/live")
    @web_ui.auth_required_if_enabled
    def live() -> Response:
        return jsonify(figures(coordinator.snapshot()))

    @pages.route("/live.csv")
    @web_ui.auth_required_if_enabled
    def live_csv() -> Response:
        headers = {"Content-Disposition": "attachment;filename=chatload.csv"}
        return Response(to_csv(figures(coordinator.snapshot())), headers=headers, mimetype="text/csv")

    @pages.after_request
    def do_not_cache(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store"
        return response

    web_ui.app.register_blueprint(pages)
    _link_pages(web_ui, coordinator.snapshot)


def _link_pages(web_ui: Any, snapshot: Callable[[], RunSnapshot]) -> None:
    """Link chatload's page and Locust's own, which is shown where its address has a query (?tab=stats)."""
    web_ui.template_args["extended_csv_files"] = [
        *web_ui.template_args.get("extended_csv_files", []),
        {"href": "./chatload/live.csv", "title": "Download chatload's figures CSV"},
    ]
    locusts_page = web_ui.app.view_functions["locust.index"]

    def index() -> Any:
        if not request.args:
            return redirect(url_for("chatload.page"))
        text = locusts_page()
        return text.replace("<body>", f"<body>{_LINK}", 1) if isinstance(text, str) else text

    web_ui.app.view_functions["locust.index"] = index

    @web_ui.app.after_request
    def show_goodbyes(response: Response) -> Response:
        if request.endpoint != "locust.request_stats" or response.status_code != 200 or not response.is_json:
            return response
        # A new response: Locust caches the one at hand for the next requests.
        report = response.get_json()
        return jsonify({**report, "state": state_for_page(report["state"], snapshot().is_active)})


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
        coordinator.refused = ""
        if not form.get("run_time", "?"):
            options.run_time = None  # Locust would keep that of the last run, without stopping after it
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
