"""What goes between the master and its workers, beside Locust's own messages. Both run the same chatload.

A master has a hundred of these a second to read, so nothing in them is taken apart that is only to be written down:
rows are rows already, and books the JSON that the run file keeps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from chatload.chat.record import COLUMNS
from chatload.errors import ChatloadError
from chatload.run.windows import Usage

#: A worker's facts; why it can hold no chats; and the master's word to say goodbye to all chats and hand over the
#: last of them.
FACTS, UNFIT, DRAIN = "chatload-facts", "chatload-unfit", "chatload-drain"
#: How much longer than --stop-timeout the master waits for its workers' last facts, and how long for any more of
#: them once it has waited so long (seconds).
DRAIN_GRACE_S = 10.0


class Handover(NamedTuple):
    """The facts a process hands over.

    sessions: rows of those that ended since the last time, columns in the order of COLUMNS. timelines: of the worst
    among them, as of `Timeline.to_dict`. books: its books so far, as of `Books.to_dict`, in JSON. usage: what it has
    used so far. final: whether it is the last. behind: why its refreshes leave late, "" where they do not.
    """

    sessions: list[Any]
    timelines: list[dict[str, Any]]
    books: str
    usage: Usage
    final: bool
    behind: str = ""

    @classmethod
    def read(cls, data: Any) -> Handover:
        """What came in as a message; raises ChatloadError where it is none of this version's."""
        try:
            sessions, timelines, books, usage, final, behind = data
            if sessions and len(sessions[0]) != len(COLUMNS):
                raise ValueError(f"{len(sessions[0])} columns of a session instead of {len(COLUMNS)}")
            return cls(sessions, timelines, books, Usage(*usage), final, str(behind))
        except (TypeError, ValueError) as error:
            message = f"a worker's facts cannot be read ({error})"
            raise ChatloadError(message, "do all processes run the same chatload?") from None
