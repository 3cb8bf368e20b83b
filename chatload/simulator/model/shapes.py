"""Which fields an answer has: servers that leave out, or leave null, what tells nothing new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatload.simulator.model.config import FIELDS, SimulatorConfig, changed

Payload = dict[str, Any]

#: Field of a request -> the field of an answer that has the same where nothing changed.
_SHOWN = {"user_id": "userId", "secure_key": "secureKey", "alias": "alias"}
_NULLS = ("chatEnded", "alias", "secureKey", "userId", "messages")


class Shape:
    """Turns whole answers into those of a server with less to say."""

    __slots__ = ("_config",)

    def __init__(self, config: SimulatorConfig) -> None:
        self._config = config

    def apply(self, operation: str, fields: Mapping[str, str], payload: Payload) -> Payload:
        """The answer to a request that brought these fields (our names)."""
        config, ended = self._config, bool(payload["chatEnded"])
        if operation == "Disconnect" and payload["statusCode"] == 0 and config.disconnect_answer != "full":
            return {"statusCode": 0, **(dict.fromkeys(_NULLS) if config.disconnect_answer == "null" else {})}
        if ended and not config.end_transcript:
            payload = {**payload, "messages": []}
        untold = set() if config.answer_fields == "full" else _nothing_new(operation, fields, payload)
        if config.chat_ended_told == "never" or (config.chat_ended_told == "true" and not ended):
            untold.add("chatEnded")
        if config.answer_fields == "null":
            return {name: None if name in untold else value for name, value in payload.items()}
        return {name: value for name, value in payload.items() if name not in untold}


def shape_of(config: SimulatorConfig) -> Shape | None:
    """The shape of a service's answers; None where they are whole."""
    return Shape(config) if changed(config, FIELDS) else None


def _nothing_new(operation: str, fields: Mapping[str, str], payload: Payload) -> set[str]:
    untold = set()
    if not payload["messages"]:
        untold.add("messages")
        if operation != "RequestChat":
            untold.add("nextPosition")
    for ours, name in _SHOWN.items():
        if name in payload and fields.get(ours) == payload[name]:
            untold.add(name)
    return untold
