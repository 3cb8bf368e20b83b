"""The life of a chat as a Locust user of the usual kind writes it; `self.client` is whichever the user has."""

from __future__ import annotations

import os

from locust import constant, constant_pacing

_PATH = "/genesys/2/chat/default"
_INTERVAL_S = float(os.environ["BENCH_INTERVAL_S"])
_KEYS = {"userId": "userId", "secureKey": "secureKey", "alias": "alias", "nextPosition": "transcriptPosition"}


class Life:
    """RequestChat, GetMessages every so often, Disconnect; each answer's JSON is read and its statusCode checked."""

    # The nearest that Locust has to an absolute schedule.
    wait_time = constant_pacing(_INTERVAL_S) if _INTERVAL_S else constant(0)

    def on_start(self) -> None:
        self.chat = ""
        self.keys: dict[str, str] = {}
        body = self.ask("", "RequestChat", {"nickname": "chatload", "subject": "load test"})
        self.chat = body.get("chatId", "")

    def refresh(self) -> None:
        self.ask(f"/{self.chat}/refresh", "GetMessages", self.keys)

    def on_stop(self) -> None:
        self.ask(f"/{self.chat}/disconnect", "Disconnect", self.keys)

    def ask(self, path: str, name: str, form: dict[str, str]) -> dict:
        """One operation, and the keys its answer brought."""
        with self.client.post(_PATH + path, data=form, name=name, catch_response=True) as answer:
            try:
                body = answer.json()
            except ValueError:
                answer.failure("no JSON")
                return {}
            if body.get("statusCode") != 0:
                answer.failure("statusCode")
        self.keys = {ours: str(body[theirs]) for theirs, ours in _KEYS.items() if body.get(theirs) is not None}
        return body
