"""The words of every report, explained."""

from __future__ import annotations

from collections.abc import Mapping

VERDICTS: Mapping[str, str] = {
    "completed": "we disconnected, and it was confirmed",
    "ended_by_agent": "the agent ended the chat",
    "closed_idle": "inactivity control closed it: nobody spoke",
    "dropped_late": "dropped because a refresh came too late, proven",
    "dropped_early": "ended by the server though every refresh was in time, proven",
    "dropped_unproven": "may have been dropped: what the client saw has more than one reading",
    "refused": "RequestChat was not accepted",
    "failed": "an unrecoverable error (statusCode 2) that lateness does not explain",
    "gave_up": "the retry budget was spent",
    "cut_off": "the run was stopped while the chat was alive",
}
BLAMES: Mapping[str, str] = {
    "plan": "the chosen refresh interval itself was too long",
    "generator": "our own lateness",
    "server": "answers that were slow or did not come",
    "retries": "unsuccessful requests used the time up",
    "network": "connections that broke or could not be made",
}
#: statusCode, chatEnded, whether the session has ended, what the client does: the seed's table.
OUTCOMES: Mapping[str, tuple[str, str, str, str]] = {
    "0/false": ("0", "false", "no", "everything is fine"),
    "0/true": ("0", "true", "yes", "the chat has ended; terminate the session"),
    "1/false": ("1", "false", "no", "unsuccessful; retry"),
    "1/true": ("1", "true", "n/a", "cannot happen; handled as 1 with the last successful chatEnded"),
    "2": ("2", "either", "yes", "unrecoverable error; terminate the session"),
    "http_error": ("none", "none", "unknown", "an HTTP error in place of an answer"),
    "timeout": ("none", "none", "unknown", "no answer within --request-timeout"),
    "connection": ("none", "none", "unknown", "the connection broke or could not be made"),
    "malformed": ("none", "none", "unknown", "an answer that cannot be read"),
    "unknown_status": ("other", "any", "unknown", "a statusCode that the table does not have"),
}
MEANINGS: Mapping[str, str] = {
    "contact": "a request the server may have seen",
    "gap": "the time between two contacts; here its upper bound, from one leaving to the next one's answer",
    "deadline": "the instant by which the next contact must have arrived: last contact plus flex-disconnect-timeout",
    "margin": "what was left of the timeout when the contact came",
    "lateness": "how much later than scheduled a refresh left: the generator's own fault",
    "arrival": "a chat that is to begin at its own time, whether or not earlier ones are done: the open workload",
    "late start": "an arrival whose chat began more than 100 ms after its time: the generator's own fault",
    "blame": "whichever share of a silence, taken away, would have saved the session",
    "inconclusive": "too few samples to say with the confidence asked for",
}
