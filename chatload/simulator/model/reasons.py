"""Why a customer was removed: the quit-reason-code of Chat Server [doc: Chat Server "Reason Codes"]."""

from __future__ import annotations

from typing import Any

from chatload.protocol.names import put_in
from chatload.simulator.model.config import SimulatorConfig

#: Where an event has the code.
QUIT_REASON = ("eventAttributes", "GCTI_SYSTEM", "quit-reason-code")
#: Detail of an early end: the session could not be restored on another node.
RESTORATION = "restoration failed"
_RESTORATION_CODE = 8
#: End reason of the ledger -> code.
_CODES = {"disconnected": 0, "expired": 3, "agent": 4, "early": 5, "idle": 7}
#: The codes that answers to clients carry, as documented.
_DELIVERED = frozenset({4, 5, 7, 8})


def attributes(config: SimulatorConfig, reason: str, detail: str) -> dict[str, Any] | None:
    """The members that the customer's ParticipantLeft has beside; None where it carries no code."""
    code = _RESTORATION_CODE if detail == RESTORATION else _CODES[reason]
    if config.quit_reasons == "none" or (config.quit_reasons == "documented" and code not in _DELIVERED):
        return None
    more: dict[str, Any] = {}
    put_in(more, QUIT_REASON, code if config.quit_reason_number else str(code))
    return more


def removes(config: SimulatorConfig) -> bool:
    """Whether the customer's ParticipantLeft is written too when an agent or inactivity control ends a chat."""
    return config.removed_customer_leaves or config.quit_reasons != "none"
