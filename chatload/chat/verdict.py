"""The verdict on a session that the server says has ended: a pure function of the evidence.

The evidence is taken in this order: the server's own word (reason and error codes); the transcript; the bounds of the
silence, and the server's clock. If two readings are possible, the weaker claim is made.
"""

from dataclasses import dataclass
from typing import NamedTuple

from chatload.chat.contacts import ContactLog
from chatload.chat.effects import Exchange
from chatload.chat.settings import SessionSettings
from chatload.chat.transcript import Interval, Transcript
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
    lower_s: float = 0.0
    upper_s: float = 0.0
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

    exchange: the answer that told the end.
    cause, code: the cause that its `errors` name, and the code.
    left: bounds of the instant at which the server wrote our own ParticipantLeft; None if nothing dates it.
    goodbye: our own Disconnect, if one left before the end was learned.
    """

    contacts: ContactLog
    transcript: Transcript
    exchange: Exchange
    settings: SessionSettings
    cause: EndCause | None = None
    code: str = ""
    left: Interval | None = None
    goodbye: Goodbye | None = None

    @property
    def unrecoverable(self) -> bool:
        """Whether the end was told by a statusCode 2."""
        return self.exchange.reply.outcome is Outcome.UNRECOVERABLE

    @property
    def silent_until(self) -> float:
        """When the request left that learned the end, or the first goodbye before it."""
        sent = self.exchange.received_at if self.exchange.sent_at is None else self.exchange.sent_at
        return sent if self.goodbye is None else min(sent, self.goodbye.sent)


def judge(evidence: EndEvidence) -> Finding:
    """Return what became of a session that the server says has ended.

    Lateness is proven if every reading of the contacts has a silence above the timeout, and refuted if none has. A
    proven silence makes a late drop only if nothing else can have ended the session unseen.
    """
    lower, upper = evidence.contacts.bounds(evidence.silent_until, evidence.exchange.received_at)
    found = _server_says(evidence, upper) or _transcript_says(evidence, upper) or _bounds_say(evidence, upper)
    return found._replace(lower_s=lower, upper_s=upper)


def _unproven(why: str) -> Finding:
    return Finding(Verdict.DROPPED_UNPROVEN, why)


def _server_says(evidence: EndEvidence, upper: float) -> Finding | None:
    """Return what the server's codes say about the end; None if they decide nothing."""
    transcript, timeout_s = evidence.transcript, evidence.settings.timeout_s
    reason = transcript.cause if transcript.left else None
    if reason in _BY_REASON:
        verdict, why = _BY_REASON[reason]
        return Finding(verdict, f"{why} (quit reason {transcript.quit_reason})")
    if evidence.cause is EndCause.BAD_KEY:
        why = f"the server rejected our secure key (error {evidence.code})"
        if upper > timeout_s:
            return _unproven(f"{why}, after a silence that may have been too long")
        return Finding(Verdict.FAILED, why)
    if evidence.cause is EndCause.INACTIVITY:
        why = f"the server removed us for inactivity (error {evidence.code})"
    elif reason is EndCause.INACTIVITY:
        why = f"the server removed us for inactivity (quit reason {transcript.quit_reason})"
    else:
        return None
    if upper > timeout_s or evidence.contacts.untold_gap:
        if evidence.settings.server.drops_in_time and _doubt_of_ended(evidence):
            return _unproven(f"{why}, and before that a chat that was refreshed in time: its timeout may be shorter")
        return Finding(Verdict.DROPPED_LATE, why)
    why = f"{why} though every refresh was within {timeout_s:g} s: its timeout is shorter"
    return Finding(Verdict.DROPPED_EARLY, why)


def _transcript_says(evidence: EndEvidence, upper: float) -> Finding | None:
    """Return who ended the chat by the events; None if that is open, or if it was our own ParticipantLeft."""
    transcript = evidence.transcript
    told = transcript.ended_by(_explained(evidence, upper))
    if told == "idle":
        return Finding(Verdict.CLOSED_IDLE, "the transcript has an IdleClose")
    if told == "agent":
        if not transcript.left and evidence.goodbye is not None:
            return None  # the agent may have handed the chat on before our Disconnect
        if not transcript.left and upper > evidence.settings.timeout_s:
            return _unproven("an agent had left, and the silence may have been too long")
        if not transcript.left and evidence.settings.server.hands_chats_on:
            return _unproven("an agent had left, but this server hands chats on to other agents")
        return Finding(Verdict.ENDED_BY_AGENT, "the transcript has the agent's ParticipantLeft")
    if told == "either":
        return _unproven("an agent, a supervisor or a bot left too: this does not show who ended the chat")
    return None


def _bounds_say(evidence: EndEvidence, upper: float) -> Finding:
    contacts, timeout_s, left = evidence.contacts, evidence.settings.timeout_s, evidence.left
    if upper <= timeout_s:
        if contacts.untold_gap:
            return _unproven(
                "the server does not tell whether a chat has ended, and a silence was longer than the timeout"
            )
        if evidence.goodbye is not None:
            return _goodbye_says(evidence, evidence.goodbye)
        if evidence.unrecoverable:
            return Finding(Verdict.FAILED, "statusCode 2 though every refresh was in time")
        if not evidence.transcript.ended_by():
            return _unproven("the transcript does not say how it ended")
        if evidence.transcript.agents:
            # A server need not write an event of the agent who ends a chat.
            return _unproven("an agent was there: the transcript does not say who ended it")
        if evidence.transcript.others:
            return _unproven("a supervisor, a bot or an agent was there: the transcript does not say who ended it")
        if evidence.transcript.incomplete:
            return _unproven("events are missing in the transcript: they may say who ended it")
        return Finding(Verdict.DROPPED_EARLY, "ended though every refresh was in time")
    if contacts.feasible(timeout_s, evidence.silent_until) and (left is None or left[1] >= evidence.silent_until):
        return _unproven("the bounds lie on both sides of the timeout")
    doubt = _doubt_of_lost(evidence, upper) if evidence.unrecoverable else _doubt_of_ended(evidence)
    return _unproven(doubt) if doubt else Finding(Verdict.DROPPED_LATE, "the silence was longer than the timeout")


def _goodbye_says(evidence: EndEvidence, goodbye: Goodbye) -> Finding:
    """Return what an end means that was learned after our Disconnect had left, if every contact was in time."""
    left, taken = evidence.left, goodbye.taken
    if evidence.unrecoverable and taken is None:
        # The server may no longer have known the chat when the Disconnect came.
        return Finding(Verdict.FAILED, "statusCode 2 to our Disconnect, though every refresh was in time")
    if left is not None and left[1] < goodbye.sent:
        return _unproven("the server's timestamp puts the end before our Disconnect")
    unanswered = any(attempt.sent < goodbye.sent for attempt in evidence.contacts.lost())
    if unanswered and left is None and goodbye.verdict is Verdict.COMPLETED and not goodbye.alive:
        return _unproven("an unanswered request before our Disconnect may have told of another end")
    confirmed = goodbye.alive or (left is not None and taken is not None and left[0] >= taken)
    return Finding(goodbye.verdict, goodbye.why, confirmed=confirmed)


def _explained(evidence: EndEvidence, upper: float) -> bool:
    """Return whether our Disconnect or the timeout may be the cause of our own ParticipantLeft."""
    contacts, timeout_s, left = evidence.contacts, evidence.settings.timeout_s, evidence.left
    if evidence.goodbye is not None and (left is None or left[1] >= evidence.goodbye.sent):
        return True
    if upper <= timeout_s or left is None:
        return upper > timeout_s
    reach = max((attempt.latest for attempt in contacts.attempts), default=contacts.received)
    return left[1] >= contacts.sent + timeout_s and left[0] <= max(reach, contacts.received) + timeout_s


def _doubt_of_lost(evidence: EndEvidence, upper: float) -> str:
    """Return why a session unknown to the server after a proven silence may have ended otherwise; "" if it cannot."""
    contacts, server, reply = evidence.contacts, evidence.settings.server, evidence.exchange.reply
    doubts = (
        (reply.still_open or not reply.told, "statusCode 2 came without chatEnded true: the chat may have gone on"),
        (contacts.attempts, "a request failed since the last contact, and may have told of another end"),
        (contacts.broken, "the connection was lost since the last contact: the server may have been restarted"),
        (server.replaces_keys, "the server replaces keys: it may have taken our key for a wrong one"),
        (server.outlived_timeout, "the server has let a chat go on after such a silence"),
        (server.lost_in_time, "the server has answered statusCode 2 to a chat that was refreshed in time"),
        (server.tells_silent_ends, "the server answers 0/true to a chat that ended by its silence"),
        (upper > evidence.settings.keeps_ended_s, "the silence was longer than the server keeps ended chats"),
    )
    return next((why for holds, why in doubts if holds), "") or _doubt_of_opening(evidence)


def _doubt_of_ended(evidence: EndEvidence) -> str:
    """Return why a session that had ended by 0/true may not have ended by silence; "" if silence is the only cause.

    The server's timestamp must put the end at the deadline, to within STAMP_TOLERANCE.
    """
    contacts, timeout_s, left = evidence.contacts, evidence.settings.timeout_s, evidence.left
    tolerance = STAMP_TOLERANCE * timeout_s
    if not evidence.transcript.left:
        return "the transcript does not say how it ended"
    if left is None:
        return "nothing dates the end: it may have come before the deadline"
    deadline = contacts.sent + timeout_s
    if left[1] < deadline:
        return "the server's own timestamp puts the end before the deadline"
    if deadline - left[0] > tolerance:
        return "the server's timestamps are too coarse to tell whether the end came before the deadline"
    if contacts.received - contacts.sent > tolerance:
        return "the last answer took too long to tell where the deadline was"
    if evidence.goodbye is not None and left[1] >= evidence.goodbye.sent:
        return "the server may have let the chat go on until our own Disconnect ended it"
    if not _at_deadline(contacts, left, timeout_s):
        return "the server's own timestamp puts the end after the deadline"
    # The end may have come during a request without an answer, or soon after.
    for lost in contacts.lost():
        if lost.sent <= left[1] and left[0] <= min(lost.over, lost.sent + timeout_s / 2):
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
    if evidence.contacts.refreshed or evidence.transcript.outlived(evidence.settings.timeout_s):
        return ""
    return "it may have been ended because it was never refreshed"
