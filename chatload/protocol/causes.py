"""The causes of the end of a chat, as the server names them: reason codes of the transcript, error codes of answers.

Sources: Genesys documentation, Chat Server "Reason Codes" (GCTI_SYSTEM / quit-reason-code), and the vendor's support
in its public forum for the error codes. Other services use other codes: a dialect names them (`[response.quit_reasons]`
and `[response.error_codes]`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class EndCause(StrEnum):
    """What the server names as the cause of an end.

    LOGOUT: the customer disconnected. INACTIVITY: no request within flex-disconnect-timeout. PARTICIPANT: removed by
    an agent, supervisor or bot. SYSTEM: removed by the server itself. BAD_KEY: removed for a wrong secure key.
    IDLE: closed by inactivity control. RESTORATION: lost while the session was restored on another server.
    UNKNOWN_SESSION: the server does not know the session (any more); this says nothing about the cause.
    """

    LOGOUT = "logout"
    INACTIVITY = "inactivity"
    PARTICIPANT = "participant"
    SYSTEM = "system"
    BAD_KEY = "bad_key"
    IDLE = "idle"
    RESTORATION = "restoration"
    UNKNOWN_SESSION = "unknown_session"


#: Code of the customer's ParticipantLeft -> cause, in the built-in dialects.
QUIT_REASONS: Mapping[str, EndCause] = {
    "0": EndCause.LOGOUT,
    "3": EndCause.INACTIVITY,
    "4": EndCause.PARTICIPANT,
    "5": EndCause.SYSTEM,
    "6": EndCause.BAD_KEY,
    "7": EndCause.IDLE,
    "8": EndCause.RESTORATION,
}
#: Code in `errors` of an answer -> cause, in the built-in dialects.
ERROR_CODES: Mapping[str, EndCause] = {
    "8209": EndCause.INACTIVITY,
    "8201": EndCause.UNKNOWN_SESSION,
    "8210": EndCause.BAD_KEY,
}
