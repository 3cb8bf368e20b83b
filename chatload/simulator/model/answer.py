"""What the model hands back for one request, and a request it keeps waiting (long polling)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


@dataclass(slots=True, eq=False)
class Hold:
    """A GetMessages that is held: answered when an event past its cursor comes, or at `until`.

    position: its transcriptPosition. fields: all it brought. until: the instant at which it is answered at the latest.
    wake: set by whoever holds the connection; called when there is cause to `resume` before the instant
    `ChatService.hold_due` gave last. It must only note that: calling the model from within is not allowed.
    """

    chat_id: str
    position: int
    until: float
    fields: Mapping[str, str]
    wake: Callable[[], None] | None = None


class Silence(Enum):
    """How a request goes without an answer: the connection is closed, or not made, or nothing ever comes back."""

    CLOSED = 1
    REFUSED = 2
    LOST = 3


@dataclass(slots=True)
class Answer:
    """What goes back: payload (JSON to be, names as in gms-v2) or raw bytes under http_status, held for
    delay_s seconds; or nothing (silence).

    raw: of content_type where that is given (else a page of HTML, as a fault has it), and with
    file_name a download. held: there is no answer yet; wait until `ChatService.hold_due(held)` or its
    `wake`, then ask `ChatService.resume`, whose answer may be held again.
    """

    payload: dict[str, Any] | None = None
    raw: bytes | None = None
    http_status: int = 200
    delay_s: float = 0.0
    silence: Silence | None = None
    content_type: str = ""
    file_name: str = ""
    held: Hold | None = None

    @property
    def drop(self) -> bool:
        """Whether there is no connection any more, or none is made."""
        return self.silence is Silence.CLOSED or self.silence is Silence.REFUSED

    @property
    def refused(self) -> bool:
        """Whether no connection is made."""
        return self.silence is Silence.REFUSED

    @property
    def lost(self) -> bool:
        """Whether nothing ever comes back."""
        return self.silence is Silence.LOST


class RefusedError(Exception):
    """A request that is understood and not carried out; the chat goes on."""


def error(status_code: int, advice: str, code: int | None = None) -> dict[str, Any]:
    """The payload of an unsuccessful answer: 1, try again or do without; 2, the session has ended.

    code: of errors[]; 200 + status_code where it is None.
    """
    errors = [{"code": code or 200 + status_code, "advice": advice}]
    return {"statusCode": status_code, "chatEnded": status_code == 2, "errors": errors, "messages": []}
