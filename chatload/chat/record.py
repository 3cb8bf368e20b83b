"""What is known of one session when it is over: its verdict, with the bounds it stands on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(slots=True)
class SessionRecord:
    """One session's facts; also one row of the run file and of `chatload export RUN sessions`.

    chat_id: the server's, empty where it gave none. blame: set where verdict is dropped_late.
    why: the verdict's reason in a few words. started_at, ended_at: seconds since the Unix epoch, as
    the driver's clock has it. contacts: requests the server may have seen; requests: all attempts.
    gap_lower_s, gap_upper_s: bounds of the gap that decided the verdict where the server ended the
    session, else of the widest gap between two answered contacts; None where there was none.
    learned_by: the outcome that told of the end. end_evidence: what else the server told with it (codes, as they were
    sent). end_silence_lower_s, end_silence_upper_s: bounds of the time from the last sure contact to the server's own
    end of the chat, by its ParticipantLeft for us; None where nothing dates that. goodbye_at: when the Disconnect left
    that the server surely took (seconds since the Unix epoch), None where none was. goodbye_confirmed: of a cut_off or
    gave_up session, whether its Disconnect was confirmed; of a completed one, whether the chat surely went on until
    that Disconnect left. generator_s: the generator's own part of the deciding gap.
    generator_suspect: taking that part away would have refuted lateness. polls: GetMessages among the requests.
    group: the arm of a sweep it belongs to, empty where there is none.
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
        """Column name to value, in the order of COLUMNS."""
        return asdict(self)


#: Columns of a session row, in order.
COLUMNS = tuple(f.name for f in fields(SessionRecord))
