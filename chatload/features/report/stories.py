"""The story of one badly ended session, in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from chatload.chat.record import CONTACTS, Contact, Timeline
from chatload.render import words
from chatload.vocabulary import TELL_THE_END, Outcome, SilencePart

#: Requests shown before the last sure contact: they show the rhythm before the silence.
_BEFORE = 3
#: Requests are shown back to this share of the time after the last sure contact; older ones would squeeze the picture.
_PAST = 0.7
_SAME_S = 1e-6
_SHORT = {outcome.value: outcome.short for outcome in Outcome}
_PARTS = {part.value: part.meaning for part in SilencePart}


@dataclass(frozen=True)
class StoryStep:
    """One request; left (or was due), over: seconds since the last sure contact was answered. kind: answered, failed,
    or found (it told that the chat has ended). sure: it is the last sure contact."""

    operation: str
    due: float
    left: float
    over: float
    outcome: str
    kind: str
    sure: bool = False
    never_left: bool = False

    @property
    def says(self) -> str:
        """The outcome of the request in a few words."""
        what = _SHORT.get(self.outcome, self.outcome)
        if self.never_left:
            return f"{what}, never left"
        took = self.over - self.left
        if self.outcome == Outcome.TIMEOUT.value:
            return f"{what} in {words.seconds(took)}"
        return what if took < 0.1 else f"{what} after {words.seconds(took)}"


def steps(timeline: Timeline) -> list[StoryStep]:
    """Return the requests around the silence in order: a few before it, all in it, and the one that found the end."""
    contacts = sorted(timeline.contacts, key=_left)
    before = [c for c in contacts if _left(c) < timeline.sure_sent - _SAME_S]
    sure = [c for c in contacts if abs(_left(c) - timeline.sure_sent) <= _SAME_S and c.sent is not None][-1:]
    after = [c for c in contacts if _left(c) > timeline.sure_sent - _SAME_S and c not in sure]
    told = next((i for i, c in enumerate(after) if c.outcome in TELL_THE_END), len(after) - 1)
    after = after[: told + 1]
    zero, last = timeline.sure_received, max([timeline.deadline, *(c.received for c in after)])
    past = [c for c in before[-_BEFORE:] if zero - _left(c) <= _PAST * (last - zero)]
    # Of a session with many failures the contact itself may no longer be kept; that it was there is known.
    unkept = Contact("(a contact)", timeline.sure_sent, timeline.sure_sent, zero, Outcome.FINE.value)
    middle = sure or [unkept]
    return [
        *(_step(c, zero) for c in past),
        *(_step(c, zero, sure=True) for c in middle),
        *(_step(c, zero) for c in after),
    ]


def found(shown: list[StoryStep]) -> StoryStep | None:
    """Return the request whose answer said that the chat had ended; None where no answer did."""
    return shown[-1] if shown and shown[-1].kind == "found" else None


def headline(timeline: Timeline) -> str:
    """Return verdict, blame, and how late the session was."""
    blame = f", blame {timeline.blame}" if timeline.blame else ""
    told = found(steps(timeline))
    if told is None:
        return f"{timeline.verdict}{blame}"
    return f"{timeline.verdict}{blame}: {late(timeline, told)}"


def late(timeline: Timeline, told: StoryStep) -> str:
    """Return how long before or after the deadline the request left that found the chat ended."""
    by = told.left - timeline.timeout_s
    if by <= 0:
        return f"{words.seconds(-by)} before the deadline" if by < 0 else "at the deadline"
    return f"{'up to ' if timeline.verdict == 'dropped_unproven' else ''}{words.seconds(by)} too late"


def story(timeline: Timeline) -> str:
    """Return how the session ended, in a few sentences."""
    shown = steps(timeline)
    told = found(shown)
    since = shown[next(i for i, step in enumerate(shown) if step.sure) + 1 :]
    failed = [step for step in since if step.kind == "failed"]
    parts = [_failures(timeline, failed), _end(timeline, told, since), _spent(timeline, told)]
    if timeline.verdict == "dropped_unproven" and failed:
        which = "It" if len(failed) == 1 else "Any of those that failed"
        parts.append(f"{which} may have reached the server, and then the silence was shorter.")
    return " ".join(part for part in [*parts, f"Why this verdict: {timeline.why}."] if part)


def spent(timeline: Timeline) -> list[tuple[str, float]]:
    """Return what the silence was spent on, the largest part first, without parts below 1 %."""
    total = sum(timeline.shares.values())
    shares = [(cause, s) for cause, s in timeline.shares.items() if s >= 0.01 * total and s > 0]
    return sorted(shares, key=lambda share: -share[1])


def _failures(timeline: Timeline, failed: list[StoryStep]) -> str:
    start = f"The server allows {_s(timeline.timeout_s)} of silence after a contact"
    if not failed:
        return f"{start}; no request went wrong."
    kinds = Counter(_SHORT.get(step.outcome, step.outcome) for step in failed)
    what = next(iter(kinds)) if len(kinds) == 1 else ", ".join(f"{n} × {kind}" for kind, n in kinds.items())
    if len(failed) == 1:
        return f"{start}. {failed[0].operation} at {_plus(failed[0].left)} went wrong ({failed[0].says})."
    kept = "the last " if len(timeline.contacts) == CONTACTS and len(failed) + 1 >= CONTACTS else ""
    between = f"between {_plus(failed[0].left)} and {_plus(failed[-1].over)}"
    return f"{start}. {kept.capitalize()}{words.plural(len(failed), 'request')} went wrong {between} ({what})."


def _end(timeline: Timeline, told: StoryStep | None, since: list[StoryStep]) -> str:
    if told is None:
        return f"The last word was {since[-1].says}, {_plus(since[-1].over)}." if since else ""
    return f"{told.operation} at {_plus(told.left)} found the chat ended: {late(timeline, told)}."


def _spent(timeline: Timeline, told: StoryStep | None) -> str:
    shares = spent(timeline)
    if not shares or told is None or told.left <= 0:
        return ""
    parts = [f"{_PARTS.get(cause, cause)} took {words.seconds(s)}" for cause, s in shares]
    return f"Of these {words.seconds(told.left)} {', '.join(parts)}."


def _step(contact: Contact, zero: float, sure: bool = False) -> StoryStep:
    kind = (
        "found"
        if contact.outcome in TELL_THE_END
        else "answered"
        if contact.outcome == Outcome.FINE.value
        else "failed"
    )
    left = _left(contact)
    operation, due, sent, over, outcome = contact
    return StoryStep(operation, due - zero, left - zero, max(over, left) - zero, outcome, kind, sure, sent is None)


def _left(contact: Contact) -> float:
    return contact.due if contact.sent is None else contact.sent


def _plus(seconds: float) -> str:
    return f"{seconds:+.2f} s"


def _s(seconds: float) -> str:
    return f"{seconds:.6g} s"
