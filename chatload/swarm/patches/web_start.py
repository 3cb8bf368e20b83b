"""A start from the web UI can be refused, and cannot change the settings of an active run.

Faults, Locust 2.47.0, web.py, `swarm`; no upstream issues found:
- The web UI has no hook that can refuse a start. A `test_start` listener is too late: the page shows a started run.
- The form of an active run ("Edit") sets all options, not only the number of users. Workers that connect later get
  other settings than the rest.
- As soon as the users have stopped, the page polls no more, although the chats have not disconnected yet.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from flask import Response, jsonify, request

from chatload.errors import ChatloadError

#: States in which the web UI stops polling.
_FINAL_STATES = frozenset({"cleanup", "stopping", "stopped"})


def check_starts(web_ui: Any, allowed: Callable[[Mapping[str, str]], AbstractContextManager[None]]) -> None:
    """Let Locust start a run, or change an active one, only within the context that `allowed` returns for the form.

    A ChatloadError of it refuses the start, and is the answer to the form.
    """
    start = web_ui.app.view_functions["locust.swarm"]

    @web_ui.auth_required_if_enabled
    def start_unless_refused() -> Response:
        try:
            with allowed(request.form):
                answer: Response = start()
                return answer
        except ChatloadError as error:
            return jsonify({"success": False, "message": str(error), "host": web_ui.environment.host})

    web_ui.app.view_functions["locust.swarm"] = start_unless_refused


def state_for_page(state: str, active: bool) -> str:
    """Return the state to send to the page: "running" until the last chats have ended. active: they have not."""
    return "running" if active and state in _FINAL_STATES else state
