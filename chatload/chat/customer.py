"""The customer of one chat, and the hooks by which a locustfile takes part in a chat."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Protocol

from chatload.errors import ChatloadError
from chatload.protocol.operations import USER_DATA_PREFIX
from chatload.protocol.reply import Event

#: The methods that a user class may define, in the order in which a chat calls them first.
HOOKS = ("before_chat", "headers", "next_message", "on_event")


class FetchError(ChatloadError):
    """A request of `ChatCustomer.fetch` got no answer with a status of 200 to 299. It is counted already."""


@dataclass(frozen=True)
class FetchAnswer:
    """The answer to a request of a hook. status: 200 to 299. body: not shown, because it may hold a token."""

    status: int
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The body as text (UTF-8; what is not is replaced)."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body as JSON. Raises ValueError if it is not."""
        return json.loads(self.body)


@dataclass(frozen=True)
class FetchRequest:
    """A request of a hook.

    url: absolute, or a path below the host of the user class. form, json: the body, as one or the other. key: tells
    apart what is kept, for example the customer's login; "" shares it among all chats of the class. keep_s: for how
    long an answer is used again (seconds), or a function of the answer that returns it.
    """

    method: str
    url: str
    name: str
    form: Mapping[str, str] | None = None
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    keep_s: float | Callable[[FetchAnswer], float] = 0.0


Fetch = Callable[[FetchRequest], FetchAnswer]


def _cannot_fetch(request: FetchRequest) -> FetchAnswer:
    raise FetchError(f"{request.name}: nothing is sent in virtual time")


@dataclass(slots=True, eq=False)
class ChatCustomer:
    """The customer of one chat, as hooks see it.

    number: of the chat, unique in the run. nickname, ..., user_data: sent with RequestChat; `before_chat` may change
    them. row: the values of the feeder for this customer; empty without a feeder. chat_id: "" until the chat was
    accepted. own: for what a hook wants to keep until the chat ends, such as `customer.own.token`.
    """

    number: int = 0
    nickname: str = ""
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    subject: str = ""
    user_data: dict[str, str] = field(default_factory=dict)
    row: Mapping[str, str] = field(default_factory=dict)
    chat_id: str = ""
    own: SimpleNamespace = field(default_factory=SimpleNamespace)
    is_leaving: bool = False
    send: Fetch = field(default=_cannot_fetch, repr=False)

    def introduction(self) -> dict[str, str]:
        """Return the fields of RequestChat that are given."""
        names = {name: getattr(self, name) for name in INTRODUCTION}
        given = {name: value for name, value in names.items() if value}
        return given | {f"{USER_DATA_PREFIX}{key}": value for key, value in self.user_data.items()}

    def leave(self) -> None:
        """End the chat after the hook: the customer disconnects."""
        self.is_leaving = True

    def fetch(
        self,
        method: str,
        url: str,
        *,
        name: str,
        form: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] = {},
        key: str = "",
        keep_s: float | Callable[[FetchAnswer], float] = 0.0,
    ) -> FetchAnswer:
        """Send a request that is not one of the chat, and return its answer.

        It is counted under `name`, apart from the chat's own requests. Several chats that want the same answer at the
        same time send one request. Other arguments: see `FetchRequest`.

        Raises:
            FetchError: no answer, or one with a status below 200 or above 299. Raised from `before_chat`, it means that
                the customer gets no chat, which counts as one that was never accepted.
        """
        return self.send(FetchRequest(method, url, name, form, json, headers, key, keep_s))


#: Who the customer is.
INTRODUCTION = ("nickname", "first_name", "last_name", "email", "subject")


class ChatHooks(Protocol):
    """The hooks that the engine calls. They raise nothing.

    has_messages: whether next_message is asked for texts; otherwise the script has them.
    next_message: the text that the customer sends now; None: the customer has nothing more to say. on_event: an event
    of the transcript was received.
    """

    @property
    def has_messages(self) -> bool: ...
    def next_message(self, customer: ChatCustomer) -> str | None: ...
    def on_event(self, customer: ChatCustomer, event: Event) -> None: ...
