"""The chat service's status table as one pure function.

Source: Web API Developer Guide, "Chat Server Status Codes" (the seed document).
"""

from __future__ import annotations

from typing import NamedTuple

from chatload.vocabulary import Outcome


class Classified(NamedTuple):
    """An outcome, and whether it ends the session (the third column of the table)."""

    outcome: Outcome
    ended: bool


def classify(status_code: object, chat_ended: object, inherited: bool = False) -> Classified:
    """Return the outcome for `statusCode` and `chatEnded` from JSON; inherited: the last successful chatEnded.

    Strict: "0", 0.0, true and a missing code are malformed, not 0. On status 1 the answer's own
    chatEnded carries no information; (1, true) cannot happen by the table, so it is counted under
    its own outcome and then handled as (1, inherited).
    """
    if type(status_code) is not int:
        return Classified(Outcome.MALFORMED, inherited)
    if status_code == 0:
        if chat_ended is False:
            return Classified(Outcome.FINE, False)
        if chat_ended is True:
            return Classified(Outcome.ENDED, True)
        if chat_ended is None:
            return Classified(Outcome.ENDED if inherited else Outcome.FINE, inherited)
        return Classified(Outcome.MALFORMED, inherited)
    if status_code == 1:
        return Classified(Outcome.VIOLATION if chat_ended is True else Outcome.UNSUCCESSFUL, inherited)
    if status_code == 2:
        return Classified(Outcome.UNRECOVERABLE, True)
    return Classified(Outcome.UNKNOWN_STATUS, inherited)
