"""The vocabulary: every enumeration that a run stores and a report prints, with its groups and its texts.

The values are a contract: run files, summary.json, thresholds and metrics endpoints contain them. This module imports
nothing of chatload, so every other module may import it.
"""

from enum import StrEnum
from typing import Final, Self


class _Word(StrEnum):
    """A value with its meaning in a few words. short: the meaning in fewer words, if it has one."""

    meaning: str
    short: str

    def __new__(cls, value: str, meaning: str = "", short: str = "") -> Self:
        word = str.__new__(cls, value)
        word._value_, word.meaning, word.short = value, meaning, short
        return word


class Outcome(_Word):
    """The result of one request: the five rows of the status table, then what is not in the table.

    meaning: what happened, or what the client does. short: for the story of one session.
    """

    FINE = "0/false", "everything is fine", "ok"
    ENDED = "0/true", "the chat has ended; terminate the session", "chat has ended"
    UNSUCCESSFUL = "1/false", "unsuccessful; retry", "unsuccessful (1/false)"
    VIOLATION = "1/true", "cannot happen; handled as 1 with the last successful chatEnded", "unsuccessful (1/true)"
    UNRECOVERABLE = "2", "unrecoverable error; terminate the session", "unrecoverable error (2)"
    HTTP_ERROR = "http_error", "an HTTP error in place of an answer", "HTTP error"
    TIMEOUT = "timeout", "no answer within --request-timeout", "no answer"
    CONNECTION = "connection", "the connection broke or could not be made", "connection failed"
    MALFORMED = "malformed", "an answer that cannot be read", "unreadable answer"
    UNKNOWN_STATUS = "unknown_status", "a statusCode that the table does not have", "unknown statusCode"

    @property
    def label(self) -> str:
        """How the report writes it."""
        return "2 / either" if self is Outcome.UNRECOVERABLE else self.replace("/", " / ")

    @property
    def ended(self) -> str:
        """Whether it ends the session, as the report says it."""
        if self in TELL_THE_END:
            return "yes"
        return {Outcome.FINE: "no", Outcome.UNSUCCESSFUL: "no", Outcome.VIOLATION: "n/a"}.get(self, "unknown")


#: The outcomes that the status table has, in its order.
STATUS_TABLE: Final = tuple(Outcome)[:5]
#: Outcomes of requests that the server carried out; all others count as unsuccessful.
SUCCESSFUL: Final = frozenset({Outcome.FINE, Outcome.ENDED})
#: Outcomes that tell the client that its chat has ended.
TELL_THE_END: Final = frozenset({Outcome.ENDED, Outcome.UNRECOVERABLE})


class Verdict(_Word):
    """How a session ended. Each session has exactly one verdict."""

    COMPLETED = "completed", "we disconnected, and it was confirmed"
    ENDED_BY_AGENT = "ended_by_agent", "the agent ended the chat"
    CLOSED_IDLE = "closed_idle", "inactivity control closed it: nobody spoke"
    DROPPED_LATE = "dropped_late", "dropped because a refresh came too late, proven"
    DROPPED_EARLY = "dropped_early", "ended by the server though every refresh was in time, proven"
    DROPPED_UNPROVEN = "dropped_unproven", "may have been dropped: what the client saw has more than one reading"
    REFUSED = "refused", "RequestChat was not accepted"
    FAILED = "failed", "an unrecoverable error (statusCode 2) that lateness does not explain"
    GAVE_UP = "gave_up", "the retry budget was spent"
    CUT_OFF = "cut_off", "the run was stopped while the chat was alive"


#: Verdicts of sessions that were surely dropped. `dropped` is these and, possibly, DROPPED_PERHAPS.
DROPPED_SURELY: Final = (Verdict.DROPPED_LATE, Verdict.DROPPED_EARLY)
#: Verdicts of accepted sessions that may have been dropped.
DROPPED_PERHAPS: Final = (Verdict.DROPPED_UNPROVEN, Verdict.GAVE_UP)
#: Verdicts of sessions that were dropped late, or may have been.
PERHAPS_LATE: Final = frozenset({Verdict.DROPPED_LATE, Verdict.DROPPED_UNPROVEN})
#: Verdicts that a session without a chat id may have, beside `refused`, which has no chat id ever.
PERHAPS_UNSERVED: Final = (Verdict.FAILED, Verdict.GAVE_UP, Verdict.CUT_OFF)
#: Endings as planned, endings that are neither good nor bad for the server, and all others.
GOOD_ENDINGS: Final = frozenset({Verdict.COMPLETED, Verdict.ENDED_BY_AGENT})
NEUTRAL_ENDINGS: Final = frozenset({Verdict.CLOSED_IDLE, Verdict.CUT_OFF})
BAD_ENDINGS: Final = frozenset(Verdict) - GOOD_ENDINGS - NEUTRAL_ENDINGS
#: Verdicts of sessions whose last requests are stored, so that a report can draw them.
DRAWN_ENDINGS: Final = BAD_ENDINGS - {Verdict.REFUSED}


def tone(verdict: str) -> str:
    """How a report colours a verdict: "good", "bad", or "warn" where it is neither proven good nor proven bad."""
    if verdict in GOOD_ENDINGS:
        return "good"
    return "bad" if verdict in BAD_ENDINGS and verdict != Verdict.DROPPED_UNPROVEN else "warn"


#: The names of the two rates that cover several verdicts. Each verdict also has a rate of its own.
DROPPED, UNSERVED = "dropped", "unserved"


class Blame(_Word):
    """The cause of the lateness of a dropped_late session."""

    PLAN = "plan", "the chosen refresh interval itself was too long"
    GENERATOR = "generator", "our own lateness"
    SERVER = "server", "answers that were slow or did not come"
    RETRIES = "retries", "unsuccessful requests used the time up"
    NETWORK = "network", "connections that broke or could not be made"


class SilencePart(_Word):
    """What the time of a silence was spent on."""

    PLANNED = "planned", "the planned wait"
    GENERATOR = "generator", "the generator's own lateness"
    SERVER = "server", "waiting for answers that did not come"
    RETRIES = "retries", "unsuccessful requests and the waits after them"
    NETWORK = "network", "broken connections and the waits after them"

    @property
    def label(self) -> str:
        """Its name in the legend of a chart."""
        return "planned wait" if self is SilencePart.PLANNED else self.value


class SessionState(_Word):
    """The state of an open session."""

    OPENING = "opening", "RequestChat under way"
    HELD = "held", "refreshed in time so far"
    RETRYING = "retrying", "the last request was unsuccessful"
    LEAVING = "leaving", "saying goodbye"


class IncidentKind(StrEnum):
    """What happened to the run itself, as the run file has it."""

    ABORTED = "aborted"  # ended by --abort-on
    CEILING = "ceiling"  # stopped at a ceiling on the load
    HOURS = "hours"  # stopped at the end of the allowed hours
    INTERRUPTED = "interrupted"  # by a signal
    STOPPED = "stopped"  # by a user in the web UI
    ENDED_AT_ONCE = "ended_at_once"  # by a second signal: the goodbyes were cut off too
    NOTHING_STARTED = "nothing_started"  # why no session was started
    BEHIND = "behind"  # a generator process does not keep up
    SUSPENDED = "suspended"  # the machine of a generator process was: its chats could not be refreshed
    CLOCK_JUMPED = "clock_jumped"  # its wall clock jumped ahead: it was set, or a virtual machine was paused
    WORKER_SILENT = "worker_silent"
    WORKER_BACK = "worker_back"
    WORKER_LOST = "worker_lost"  # silent until the end: its last counts are missing
    WORKER_UNFIT = "worker_unfit"  # could hold no chats: the load was lower than planned
    REPORT_UNREADABLE = "report_unreadable"  # another version of chatload sent it: facts are missing
    DATA_USED_UP = "data_used_up"  # a feeder has no more rows, and that was to be an error
    RECORDING_STOPPED = "recording_stopped"  # the run file could not be written: facts are missing


#: Incidents by which facts are missing from the run.
FACTS_MISSING: Final = frozenset(
    {IncidentKind.WORKER_LOST, IncidentKind.REPORT_UNREADABLE, IncidentKind.RECORDING_STOPPED}
)


class EndedBy(StrEnum):
    """What ended a run."""

    PLAN = "plan"  # its time was over, its chats had ended, or its load shape was over
    INTERRUPTED = "interrupted"  # by Ctrl-C, SIGTERM or SIGHUP
    STOPPED = "stopped"  # by a user in the web UI
    ABORTED = "aborted"  # by --abort-on
    CEILING = "ceiling"  # at a ceiling on the load
    HOURS = "hours"  # at the end of the allowed hours
    DATA_USED_UP = "data_used_up"  # at the end of a feeder
    UNFINISHED = "unfinished"  # it is still going on, or its process was killed


#: Incidents that end a run.
ENDING_INCIDENTS: Final = frozenset(
    {
        *(IncidentKind.ABORTED, IncidentKind.CEILING, IncidentKind.DATA_USED_UP, IncidentKind.HOURS),
        *(IncidentKind.INTERRUPTED, IncidentKind.STOPPED),
    }
)


class RunPhase(StrEnum):
    """The phase of a run that a process is in."""

    READY = "ready"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class ThresholdResult(StrEnum):
    """The judgement of one threshold."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class RunResult(StrEnum):
    """The result of a whole run."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"
    NOTHING_TESTED = "nothing tested"
    NOT_JUDGED = "not judged"
