"""What is known about one session when it has ended: its verdict, and the bounds that it is based on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints


@dataclass(slots=True)
class SessionRecord:
    """The facts about one session: one row of the run file and of `chatload export RUN sessions`.

    chat_id: given by the server; "" if it gave none.
    verdict: a Verdict. worker: the process that held the session.
    blame: set if the verdict is dropped_late. why: the reason of the verdict in a few words.
    started_at, ended_at: seconds since the Unix epoch, or on the driver's clock while the chat is open.
    requests: all attempts. polls: the GetMessages among them. contacts: those that the server may have seen.
    gap_lower_s, gap_upper_s: bounds of the gap that decided the verdict if the server ended the session; otherwise of
        the widest gap between two answered contacts; None if there is none.
    learned_by: the outcome of the answer that told the end. end_evidence: what else the server said about it: codes.
    end_silence_lower_s, end_silence_upper_s: bounds of the time from the last sure contact to the server's own end of
        the chat, by its ParticipantLeft for us; None if nothing dates that.
    goodbye_at: when the Disconnect left that the server surely took (seconds since the Unix epoch); None if none.
    goodbye_confirmed: of a cut_off or gave_up session, its Disconnect was confirmed; of a completed one, the chat
        surely went on until that Disconnect left.
    generator_s: the generator's own part of the deciding gap (seconds). generator_suspect: without that part the gap
        would have been in time.
    lateness_max_s: the greatest lateness of its requests (seconds).
    group: the arm of a sweep that the session belongs to; "" if there is none.
    """

    chat_id: str = ""
    verdict: str = ""
    blame: str = ""
    why: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    contacts: int = 0
    requests: int = 0
    failures: int = 0
    gap_lower_s: float | None = None
    gap_upper_s: float | None = None
    learned_by: str = ""
    goodbye_confirmed: bool = False
    generator_s: float = 0.0
    generator_suspect: bool = False
    lateness_max_s: float = 0.0
    messages_sent: int = 0
    messages_received: int = 0
    worker: str = ""
    polls: int = 0
    group: str = ""
    end_evidence: str = ""
    end_silence_lower_s: float | None = None
    end_silence_upper_s: float | None = None
    goodbye_at: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return column name to value, in the order of COLUMNS."""
        return asdict(self)


class SessionColumn(NamedTuple):
    """A column of session rows. kind: the type of its values; nullable: whether a value may be missing."""

    name: str
    kind: type
    nullable: bool


def _columns() -> Iterator[SessionColumn]:
    kinds = get_type_hints(SessionRecord)
    for item in fields(SessionRecord):
        of = get_args(kinds[item.name]) or (kinds[item.name],)
        yield SessionColumn(item.name, of[0], NoneType in of)


#: Columns of a session row, in order.
SESSION_COLUMNS = tuple(_columns())
COLUMNS = tuple(column.name for column in SESSION_COLUMNS)
