"""What goes back for a request: an answer, a held request, or nothing; and the habits of a server in its answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from math import floor
from typing import Any

from chatload.random_numbers import SplitMix64
from chatload.simulator.model.config import CLOCKS, SimulatorConfig, changed
from chatload.simulator.model.ledger import LedgerEntry


@dataclass(slots=True, eq=False)
class HeldRequest:
    """A GetMessages that is held: answered when an event past its cursor comes, or at `until`.

    position: its transcriptPosition. until: the latest instant of its answer. wake: set by the caller; called if
    `resume` is needed before the instant that `ChatService.hold_due` returned last. It must not call the model.
    """

    chat_id: str
    position: int
    until: float
    fields: Mapping[str, str]
    wake: Callable[[], None] | None = None


class NoAnswer(Enum):
    """How a request stays without an answer: the connection is closed, or refused, or nothing comes back."""

    CLOSED = 1
    REFUSED = 2
    LOST = 3


@dataclass(slots=True)
class ServiceAnswer:
    """The answer to a request: payload (to be sent as JSON, names as in gms-v2), raw bytes, or nothing (silence).

    raw: of content_type, or HTML if that is empty; with file_name a download. http_status: of either. delay_s: time
    until it is sent (seconds). held: there is no answer yet; wait until `ChatService.hold_due(held)` or its `wake`,
    then call `ChatService.resume`, whose answer may be held again.
    """

    payload: dict[str, Any] | None = None
    raw: bytes | None = None
    http_status: int = 200
    delay_s: float = 0.0
    silence: NoAnswer | None = None
    content_type: str = ""
    file_name: str = ""
    held: HeldRequest | None = None


class OperationRefusedError(Exception):
    """A request that is understood but not carried out; the chat goes on."""


def error(status_code: int, advice: str, code: int | None = None) -> dict[str, Any]:
    """Return the payload of an unsuccessful answer. status_code 1: the request failed; 2: the session has ended.

    code: the code in errors[]; None: 200 + status_code.
    """
    errors = [{"code": code or 200 + status_code, "advice": advice}]
    return {"statusCode": status_code, "chatEnded": status_code == 2, "errors": errors, "messages": []}


# -- fields of answers -----------------------------------------------------------------------------


#: Field of a request -> field of an answer that has the same value if nothing changed.
_SHOWN = {"user_id": "userId", "secure_key": "secureKey", "alias": "alias"}
_NULLS = ("chatEnded", "alias", "secureKey", "userId", "messages")


def shaped(
    config: SimulatorConfig, operation: str, fields: Mapping[str, str], payload: dict[str, Any]
) -> dict[str, Any]:
    """Return a complete answer with the fields removed or null that the settings leave out."""
    ended = bool(payload["chatEnded"])
    if operation == "Disconnect" and payload["statusCode"] == 0 and config.disconnect_answer != "full":
        return {"statusCode": 0, **(dict.fromkeys(_NULLS) if config.disconnect_answer == "null" else {})}
    if ended and not config.end_transcript:
        payload = {**payload, "messages": []}
    untold = set()
    if config.answer_fields != "full":
        untold = {name for ours, name in _SHOWN.items() if name in payload and fields.get(ours) == payload[name]}
        if not payload["messages"]:
            untold |= {"messages"} if operation == "RequestChat" else {"messages", "nextPosition"}
    if config.chat_ended_told == "never" or (config.chat_ended_told == "true" and not ended):
        untold.add("chatEnded")
    if config.answer_fields == "null":
        return {name: None if name in untold else value for name, value in payload.items()}
    return {name: value for name, value in payload.items() if name not in untold}


# -- timestamps and nodes --------------------------------------------------------------------------


#: `alias` of the first node; the others follow.
FIRST_ALIAS = 117


class ServiceState:
    """What the chats of one service share: its clocks, and the size of their files.

    The settings of the clocks change what clients are told; deadlines and the ledger keep true time.

    utc_offset: seconds since the Unix epoch at instant 0 of the caller's clock. started: the start of the service
    (the caller's clock, seconds), from which steps and drift count. marked: whether `mark` and `alias` are needed.
    timeout_s: the flex-disconnect-timeout of chats that begin now.
    """

    __slots__ = ("config", "files_bytes", "marked", "started", "timeout_s", "utc_offset")

    def __init__(self, config: SimulatorConfig, utc_offset: float) -> None:
        self.config, self.utc_offset = config, utc_offset
        self.marked = changed(config, CLOCKS) or config.undated_chance > 0 or not config.participant_ids
        self.started = 0.0
        self.files_bytes = 0
        self.timeout_s = config.flex_disconnect_timeout_s

    def mark(self, item: dict[str, Any], at: float, entry: LedgerEntry) -> None:
        """Change the JSON of an event that happened at an instant. The same event always gets the same values."""
        config = self.config
        draws = SplitMix64(f"{config.seed}/{entry.chat_id}/event {item['index']}")
        if draws.happens(config.undated_chance):
            del item["utcTime"]
        else:
            item["utcTime"] = self._utc_ms(at, self._node(at, entry, draws))
        if not config.participant_ids:
            del item["from"]["participantId"]

    def alias(self, now: float, entry: LedgerEntry) -> str:
        """Return the name of the node that answers a request of a chat now."""
        draws = SplitMix64(f"{self.config.seed}/{entry.chat_id}/answer {entry.contacts}")
        return str(FIRST_ALIAS + self._node(now, entry, draws))

    def _node(self, at: float, entry: LedgerEntry, draws: SplitMix64) -> int:
        config = self.config
        if config.nodes == 1:
            return 0
        if config.node_changes == "event":
            return draws.bits() % config.nodes
        own = SplitMix64(f"{config.seed}/{entry.chat_id}/nodes")
        first, onward = own.bits() % config.nodes, 1 + own.bits() % (config.nodes - 1)
        moved = at >= entry.started_at + own.uniform(*config.node_moves_after_s)
        return (first + onward) % config.nodes if moved else first

    def _utc_ms(self, at: float, node: int) -> int:
        config, elapsed = self.config, at - self.started
        shown = self.utc_offset + at + config.clock_offset_s + config.clock_drift_ppm * 1e-6 * elapsed
        if config.clock_step_s and elapsed >= config.clock_step_at_s:
            shown += config.clock_step_s
        if node:
            shown += config.node_offset_s * node / (config.nodes - 1)
        if config.utc_resolution_s == 0.001 and config.utc_rounds == "down":
            return int(shown * 1000)
        half = 0.5 if config.utc_rounds == "nearest" else 0.0
        return int(floor(shown / config.utc_resolution_s + half) * config.utc_resolution_s * 1000 + 0.5)
