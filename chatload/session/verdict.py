"""The verdict on a session that the server says has ended."""

from __future__ import annotations

from typing import NamedTuple

from chatload.protocol.status import Outcome
from chatload.session.record import Verdict
from chatload.session.trail import Trail
from chatload.session.transcript import Transcript

#: A timestamp is a witness only where clocks and contact are known this well (part of the timeout).
_STAMP_TOLERANCE = 0.1


class Finding(NamedTuple):
    """A verdict, why, and the bounds (seconds) of the silence it stands on."""

    verdict: Verdict
    why: str
    lower_s: float
    upper_s: float


def judge(
    trail: Trail,
    transcript: Transcript,
    outcome: Outcome,
    sent: float,
    received: float,
    timeout_s: float,
    keeps_ended_s: float,
    *,
    goodbye: bool = False,
    keys_rotate: bool = False,
) -> Finding:
    """What became of a session that a request in [sent, received] found ended.

    goodbye: that request, or one after it, was our own Disconnect. keys_rotate: the server has been
    seen to replace keys.

    Late is proven where every reading has a silence above timeout_s, refuted where none has. A
    proven lateness is claimed only where nothing else can have ended the session unseen.
    """
    lower, upper = trail.bounds(sent, received)
    told = transcript.ended_by(_explained(trail, transcript, sent, upper, timeout_s, goodbye))
    if told == "idle":
        return Finding(Verdict.CLOSED_IDLE, "the transcript has an IdleClose", lower, upper)
    if told == "agent":
        return Finding(Verdict.ENDED_BY_AGENT, "the transcript has the agent's ParticipantLeft", lower, upper)
    if told == "either":
        why = "the agent left in the same moment: it does not show who ended it"
        return Finding(Verdict.DROPPED_UNPROVEN, why, lower, upper)
    if upper <= timeout_s:
        if outcome is Outcome.UNRECOVERABLE:
            return Finding(Verdict.FAILED, "statusCode 2 though every refresh was in time", lower, upper)
        if not told and not goodbye:
            return Finding(Verdict.DROPPED_UNPROVEN, "the transcript does not say how it ended", lower, upper)
        return Finding(Verdict.DROPPED_EARLY, "ended though every refresh was in time", lower, upper)
    if told == "self" and _stamped(trail, transcript, sent, timeout_s):
        why = "the server's own timestamp ends it one timeout after the last answered contact"
        return Finding(Verdict.DROPPED_LATE, why, max(lower, sent - trail.received), upper)
    if trail.feasible(timeout_s, sent):
        return Finding(Verdict.DROPPED_UNPROVEN, "the bounds straddle the timeout", lower, upper)
    doubt = _doubt(trail, transcript, outcome, upper, timeout_s, keeps_ended_s)
    if not doubt and keys_rotate and outcome is Outcome.UNRECOVERABLE and trail.attempts:
        doubt = "our key may have been replaced in an answer that was not a success"
    if not doubt and goodbye and outcome is Outcome.ENDED and _at_last(transcript, sent):
        doubt = "the server may have let it live on, and our own Disconnect ended it"
    if doubt:
        return Finding(Verdict.DROPPED_UNPROVEN, doubt, lower, upper)
    return Finding(Verdict.DROPPED_LATE, "the silence was longer than the timeout", lower, upper)


def _explained(
    trail: Trail, transcript: Transcript, sent: float, upper: float, timeout_s: float, goodbye: bool
) -> bool:
    """Whether our own ParticipantLeft may be our Disconnect's doing, or the timeout's."""
    left = transcript.left_at()
    if goodbye and (left is None or left[1] >= sent):
        return True
    if upper <= timeout_s or left is None:
        return upper > timeout_s
    reach = max((attempt.latest for attempt in trail.attempts), default=trail.received)
    return left[1] >= trail.sent + timeout_s and left[0] <= max(reach, trail.received) + timeout_s


def _stamped(trail: Trail, transcript: Transcript, sent: float, timeout_s: float) -> bool:
    """Whether the server's timestamp of our own ParticipantLeft alone proves the timeout: it lies one
    timeout after the last sure contact, so that no failed request in between can have been a contact,
    and before the request that found it, so that this was not its doing.
    """
    left = transcript.left_at()
    if left is None or left[1] - left[0] > timeout_s * _STAMP_TOLERANCE or _unregistered(trail, transcript, timeout_s):
        return False
    if left[1] >= sent or left[1] < trail.sent + timeout_s or left[0] > trail.received + timeout_s:
        return False
    return trail.received - trail.sent <= timeout_s * _STAMP_TOLERANCE and not _hidden(trail, left, timeout_s)


def _at_last(transcript: Transcript, sent: float) -> bool:
    """Whether our own ParticipantLeft may have been written only after the instant `sent`."""
    left = transcript.left_at()
    return left is None or left[1] >= sent


def _unregistered(trail: Trail, transcript: Transcript, timeout_s: float) -> bool:
    """Whether it may have been ended sooner than one timeout after it was opened, for never having been refreshed."""
    return not trail.refreshed and not transcript.outlived(timeout_s)


def _hidden(trail: Trail, left: tuple[float, float], timeout_s: float) -> bool:
    """Whether an answer that was lost may have told of the end stamped within `left`: an end while
    that request was under way, or soon after, may have been its doing."""
    return any(
        attempt.sent <= left[1] and left[0] <= min(attempt.over, attempt.sent + timeout_s / 2)
        for attempt in trail.lost()
    )


def _doubt(
    trail: Trail,
    transcript: Transcript,
    outcome: Outcome,
    upper: float,
    timeout_s: float,
    keeps_ended_s: float,
) -> str:
    """Why a proven lateness may yet not be what ended the session; empty where there is no such reason."""
    lost = trail.lost()
    if outcome is Outcome.ENDED and not transcript.left:
        return "the transcript does not say how it ended"
    if _unregistered(trail, transcript, timeout_s):
        return "it may have been ended for never having been refreshed"
    if outcome is Outcome.UNRECOVERABLE:
        if lost:
            return "an unanswered request may have told of another end"
        if upper > keeps_ended_s:
            return "silent for longer than the server keeps ended chats"
        return ""
    left = transcript.left_at()
    if left is None:
        return "an unanswered request may have told of another end" if lost else ""
    if left[1] < trail.sent + timeout_s:
        return "the server's own timestamp puts the end before the deadline"
    return "an unanswered request may have told of another end" if _hidden(trail, left, timeout_s) else ""
