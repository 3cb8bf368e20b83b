"""chatload's tab in Locust's web UI, the same figures as JSON and CSV, and the answer to a start that is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from flask import Blueprint, Response, jsonify, request

from chatload.swarm.live_figures import COLUMNS, Moment, figures, rows, to_csv

TAB = "chatload"
#: States at which the web UI asks for no more statistics.
_NO_MORE = frozenset({"cleanup", "stopping", "stopped"})


def add_tab(web_ui: Any, moment: Callable[[], Moment]) -> None:
    """Add the tab, its download, and `/chatload/live` below the web UI's base path."""
    structure = [{"key": key, "title": title} for key, title in COLUMNS.items()]
    for name, entry in (
        ("extended_tabs", {"key": TAB, "title": TAB}),
        ("extended_tables", {"key": TAB, "structure": structure}),
        ("extended_csv_files", {"href": "./chatload/live.csv", "title": "Download chatload's figures CSV"}),
    ):
        web_ui.template_args[name] = [*web_ui.template_args.get(name, []), entry]
    prefix = web_ui.app.blueprints["locust"].url_prefix or ""
    web_ui.app.register_blueprint(_pages(web_ui, moment, f"{prefix}/chatload"))

    @web_ui.app.after_request
    def add_figures(response: Response) -> Response:
        if request.endpoint != "locust.request_stats" or response.status_code != 200 or not response.is_json:
            return response
        # A response of its own: the one at hand is Locust's, kept for whoever asks next.
        return jsonify(_extended(response.get_json(), moment()))


def check_starts(
    web_ui: Any, refusal: Callable[[Mapping[str, str]], str], settings_kept: Callable[[], AbstractContextManager[None]]
) -> None:
    """Ask `refusal` about the form of each start. The reason it gives is the form's answer, and Locust does not start;
    it gives "" for a start that may begin, whose form Locust reads within `settings_kept`."""
    start = web_ui.app.view_functions["locust.swarm"]

    @web_ui.auth_required_if_enabled
    def start_unless_refused() -> Response:
        reason = refusal(request.form)
        if reason:
            return jsonify({"success": False, "message": reason, "host": web_ui.environment.host})
        with settings_kept():
            answer: Response = start()
        return answer

    web_ui.app.view_functions["locust.swarm"] = start_unless_refused


def _pages(web_ui: Any, moment: Callable[[], Moment], prefix: str) -> Blueprint:
    pages = Blueprint("chatload", __name__, url_prefix=prefix)

    @pages.route("/live")
    @web_ui.auth_required_if_enabled
    def live() -> Response:
        return _fresh(jsonify(figures(moment())))

    @pages.route("/live.csv")
    @web_ui.auth_required_if_enabled
    def live_csv() -> Response:
        response = Response(to_csv(figures(moment())), mimetype="text/csv")
        response.headers["Content-Disposition"] = "attachment;filename=chatload.csv"
        return _fresh(response)

    return pages


def _fresh(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


def _extended(report: dict[str, Any], now: Moment) -> dict[str, Any]:
    """Locust's statistics with the tab's rows added."""
    tables = [*report.get("extended_stats", []), {"key": TAB, "data": rows(figures(now))}]
    state = report["state"]
    if now.phase in ("running", "stopping") and state in _NO_MORE:
        # Users stop before their last facts are in. Told of it now, the web UI would never ask for those.
        state = "running"
    return {**report, "extended_stats": tables, "state": state}
