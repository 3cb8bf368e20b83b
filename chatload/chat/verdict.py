"""The verdict on a session that the server says has ended: a pure function of the evidence.

The evidence is taken in this order: the server's own word (reason and error codes); the transcript; the bounds of the
silence, and the server's clock. If two readings are possible, the weaker claim is made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from chatload.chat.contacts import ContactLog
from chatload.chat.observed_server import Interval, ObservedServer
from chatload.chat.transcript import Transcript
from chatload.protocol.names import EndCause
from chatload.vocabulary import Outcome, Verdict

#: A timestamp shows that the timeout ended a session only if it is this precise (part of the timeout).
STAMP_TOLERANCE = 0.1

_BY_REASON = {
    EndCause.PARTICIPANT: (Verdict.ENDED_BY_AGENT, "removed by an agent, a supervisor or a bot"),
    EndCause.IDLE: (Verdict.CLOSED_IDLE, "closed by inactivity control"),
    EndCause.SYSTEM: (Verdict.DROPPED_EARLY, "removed by the server for system reasons"),
    EndCause.RESTORATION: (Verdict.DROPPED_EARLY, "lost while the session was restored on another server"),
    EndCause.BAD_KEY: (Verdict.FAILED, "removed for a wrong secure key"),
}


class Finding(NamedTuple):
    """A verdict, why, and the bounds (seconds) of the silence that it is based on.

    confirmed: the chat surely went on until our Disconnect left.
    """

    verdict: Verdict
    why: str
    lower_s: float
    upper_s: float
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Our own Disconnect, sent before the end was learned.

    verdict, why: what holds if no evidence contradicts it.
    sent: when the first Disconnect left.
    taken: when the Disconnect left that the server surely processed; None if there is none.
    alive: its answer said that the chat had gone on until then.
    """

    verdict: Verdict
    why: str
    sent: float
    taken: float | None = None
    alive: bool = False


@dataclass(frozen=True, slots=True)
class EndEvidence:
    """What is known when a session has ended. Instants and durations in seconds.

    outcome: of the answer that told the end. Its request left at `sent`, and was answered at `received`.
    keeps_ended_s: see Dialect.
    ended_told: that answer said chatEnded true.
    server: what all chats of this process have seen of the server.
    cause, code: the cause that its `errors` name, and the code.
    left: bounds of the instant at which the server wrote our own ParticipantLeft; None if nothing dates it.
    goodbye: our own Disconnect, if one left before the end was learned.
    """

    contacts: ContactLog
    transcript: Transcript
    outcome: Outcome
    sent: float
    received: float
    timeout_s: float
    keeps_ended_s: float
    ended_told: bool = True
    server: ObservedServer = field(default_factory=ObservedServer)
    cause: EndCause | None = None
    code: str = ""
    left: Interval | None = None
    goodbye: Goodbye | None = None

    @property
    def silent_until(self) -> float:
        """When the request left that learned the end, or the first goodbye before it."""
        return self.sent if self.goodbye is None else min(self.sent, self.goodbye.sent)


def judge(evidence: EndEvidence) -> Finding:
    """Return what became of a session that the server says has ended.

    Lateness is proven if every reading of the contacts has a silence above the timeout, and refuted if none has. A
    proven silence makes a late drop only if nothing else can have ended the session unseen.
    """
    lower, upper = evidence.contacts.bounds(evidence.silent_until, evidence.received)
    verdict, why, confirmed = (
        _server_says(evidence, upper) or _transcript_says(evidence, upper) or _bounds_say(evidence, upper)
    )
    return Finding(verdict, why, lower, upper, confirmed)


_Said = tuple[Verdict, str, bool]


def _server_says(evidence: EndEvidence, upper: float) -> _Said | None:
    """Return what the server's codes say about the end; None if they decide nothing."""
    transcript, timeout_s = evidence.transcript, evidence.timeout_s
    reason = transcript.cause if transcript.left else None
    if reason in _BY_REASON:
        verdict, why = _BY_REASON[reason]
        return verdict, f"{why} (quit reason {transcript.quit_reason})", False
    if evidence.cause is EndCause.BAD_KEY:
        why = f"the server rejected our secure key (error {evidence.code})"
        if upper > timeout_s:
            return Verdict.DROPPED_UNPROVEN, f"{why}, after a silence that may have been too long", False
        return Verdict.FAILED, why, False
    if EndCause.INACTIVITY not in (reason, evidence.cause):
        return None
    code = (
        f"error {evidence.code}" if evidence.cause is EndCause.INACTIVITY else f"quit reason {transcript.quit_reason}"
    )
    if upper > timeout_s or evidence.contacts.untold_gap:
        return Verdict.DROPPED_LATE, f"the server removed us for inactivity ({code})", False
    why = f"the server removed us for inactivity ({code}) though every refresh was within {timeout_s:g} s"
    return Verdict.DROPPED_EARLY, f"{why}: its timeout is shorter", False


def _transcript_says(evidence: EndEvidence, upper: float) -> _Said | None:
    """Return who ended the chat by the events; None if that is open, or if it was our own ParticipantLeft."""
    transcript = evidence.transcript
    told = transcript.ended_by(_explained(evidence, upper))
    if told == "idle":
        return Verdict.CLOSED_IDLE, "the transcript has an IdleClose", False
    if told == "agent":
        if not transcript.left and evidence.goodbye is not None:
            return None  # the agent may have handed the chat on before our Disconnect
        if not transcript.left and upper > evidence.timeout_s:
            return Verdict.DROPPED_UNPROVEN, "an agent had left, and the silence may have been too long", False
        if not transcript.left and evidence.server.hands_chats_on:
            why = "an agent had left, but this server hands chats on to other agents"
            return Verdict.DROPPED_UNPROVEN, why, False
        return Verdict.ENDED_BY_AGENT, "the transcript has the agent's ParticipantLeft", False
    if told == "either":
        why = "the agent left at the same moment: this does not show who ended the chat"
        return Verdict.DROPPED_UNPROVEN, why, False
    return None


def _bounds_say(evidence: EndEvidence, upper: float) -> _Said:
    contacts, timeout_s = evidence.contacts, evidence.timeout_s
    unrecoverable = evidence.outcome is Outcome.UNRECOVERABLE
    if upper <= timeout_s:
        if contacts.untold_gap:
            why = "the server does not tell whether a chat has ended, and a silence was longer than the timeout"
            return Verdict.DROPPED_UNPROVEN, why, False
        if evidence.goodbye is not None:
            return _goodbye_says(evidence, evidence.goodbye)
        if unrecoverable:
            return Verdict.FAILED, "statusCode 2 though every refresh was in time", False
        if not evidence.transcript.ended_by():
            return Verdict.DROPPED_UNPROVEN, "the transcript does not say how it ended", False
        if evidence.transcript.agents:
            # A server need not write an event of the agent who ends a chat.
            return Verdict.DROPPED_UNPROVEN, "an agent was there: the transcript does not say who ended it", False
        return Verdict.DROPPED_EARLY, "ended though every refresh was in time", False
    left = evidence.left
    if contacts.feasible(timeout_s, evidence.silent_until) and (left is None or left[1] >= evidence.silent_until):
        return Verdict.DROPPED_UNPROVEN, "the bounds lie on both sides of the timeout", False
    doubt = _doubt_of_lost(evidence, upper) if unrecoverable else _doubt_of_ended(evidence)
    if doubt:
        return Verdict.DROPPED_UNPROVEN, doubt, False
    return Verdict.DROPPED_LATE, "the silence was longer than the timeout", False


def _goodbye_says(evidence: EndEvidence, goodbye: Goodbye) -> _Said:
    """Return what an end means that was learned after our Disconnect had left, if every contact was in time."""
    left, contacts = evidence.left, evidence.contacts
    taken = goodbye.taken
    if evidence.outcome is Outcome.UNRECOVERABLE and taken is None:
        # The server may no longer have known the chat when the Disconnect came.
        return Verdict.FAILED, "statusCode 2 to our Disconnect, though every refresh was in time", False
    if left is not None and left[1] < goodbye.sent:
        return Verdict.DROPPED_UNPROVEN, "the server's timestamp puts the end before our Disconnect", False
    unanswered = any(attempt.sent < goodbye.sent for attempt in contacts.lost())
    if unanswered and left is None and goodbye.verdict is Verdict.COMPLETED and not goodbye.alive:
        why = "an unanswered request before our Disconnect may have told of another end"
        return Verdict.DROPPED_UNPROVEN, why, False
    confirmed = goodbye.alive or (left is not None and taken is not None and left[0] >= taken)
    return goodbye.verdict, goodbye.why, confirmed


def _explained(evidence: EndEvidence, upper: float) -> bool:
    """Return whether our Disconnect or the timeout may be the cause of our own ParticipantLeft."""
    contacts, timeout_s, left = evidence.contacts, evidence.timeout_s, evidence.left
    if evidence.goodbye is not None and (left is None or left[1] >= evidence.goodbye.sent):
        return True
    if upper <= timeout_s or left is None:
        return upper > timeout_s
    reach = max((attempt.latest for attempt in contacts.attempts), default=contacts.received)
    return left[1] >= contacts.sent + timeout_s and left[0] <= max(reach, contacts.received) + timeout_s


def _doubt_of_lost(evidence: EndEvidence, upper: float) -> str:
    """Return why a session unknown to the server after a proven silence may have ended otherwise; "" if it cannot."""
    contacts = evidence.contacts
    if not evidence.ended_told:
        return "statusCode 2 came without chatEnded true: the chat may have gone on"
    if contacts.attempts:
        return "a request failed since the last contact, and may have told of another end"
    if contacts.broken:
        return "the connection was lost since the last contact: the server may have been restarted"
    if evidence.server.replaces_keys:
        return "the server replaces keys: it may have taken our key for a wrong one"
    if evidence.server.outlived_timeout:
        return "the server has let a chat go on after such a silence"
    if evidence.server.lost_in_time:
        return "the server has answered statusCode 2 to a chat that was refreshed in time"
    if evidence.server.tells_silent_ends:
        return "the server answers 0/true to a chat that ended by its silence"
    if upper > evidence.keeps_ended_s:
        return "the silence was longer than the server keeps ended chats"
    return _doubt_of_opening(evidence)


def _doubt_of_ended(evidence: EndEvidence) -> str:
    """Return why a session that had ended by 0/true may not have ended by silence; "" if silence is the only cause.

    The server's timestamp must put the end at the deadline, to within STAMP_TOLERANCE.
    """
    contacts, timeout_s, left = evidence.contacts, evidence.timeout_s, evidence.left
    tolerance = STAMP_TOLERANCE * timeout_s
    if not evidence.transcript.left:
        return "the transcript does not say how it ended"
    if left is None:
        return "nothing dates the end: it may have come before the deadline"
    if left[1] < contacts.sent + timeout_s:
        return "the server's own timestamp puts the end before the deadline"
    if contacts.sent + timeout_s - left[0] > tolerance:
        return "the server's timestamps are too coarse to tell whether the end came before the deadline"
    if contacts.received - contacts.sent > tolerance:
        return "the last answer took too long to tell where the deadline was"
    if evidence.goodbye is not None and left[1] >= evidence.goodbye.sent:
        return "the server may have let the chat go on until our own Disconnect ended it"
    if not _at_deadline(contacts, left, timeout_s):
        return "the server's own timestamp puts the end after the deadline"
    if _hidden(contacts, left, timeout_s):
        return "an unanswered request may have told of another end"
    return _doubt_of_opening(evidence)


def _at_deadline(contacts: ContactLog, left: Interval, timeout_s: float) -> bool:
    """Return whether an end stamped within `left`, not before the deadline, is at the deadline to STAMP_TOLERANCE.

    A failed request may have put the deadline off. Then the deadline counts from the sure contact, or from the last
    failed request before the end.
    """
    tolerance = STAMP_TOLERANCE * timeout_s
    latest = contacts.received + timeout_s
    if left[1] <= latest + tolerance and not (contacts.attempts and left[0] > latest):
        return True
    before = [attempt.sent + timeout_s for attempt in contacts.attempts if attempt.sent + tolerance < left[1]]
    if not before:
        return False
    deadline = max(before)
    return deadline <= left[1] <= deadline + tolerance and deadline - left[0] <= tolerance


def _doubt_of_opening(evidence: EndEvidence) -> str:
    if evidence.contacts.refreshed or evidence.transcript.outlived(evidence.timeout_s):
        return ""
    return "it may have been ended because it was never refreshed"


def _hidden(contacts: ContactLog, left: Interval, timeout_s: float) -> bool:
    """Return whether a request without an answer may be the cause of the end stamped within `left`: the end came while
    it was under way, or soon after."""
    return any(
        attempt.sent <= left[1] and left[0] <= min(attempt.over, attempt.sent + timeout_s / 2)
        for attempt in contacts.lost()
    )
