"""The ceilings on sessions and requests per second: refused before a run where it plans for more, and a run that comes
above one all the same is stopped. Requests are never delayed for it: a refresh held back would look like a late one."""

from __future__ import annotations

from chatload.chat.settings import SessionSettings
from chatload.errors import UsageError
from chatload.rules import Rules
from chatload.run.books import Books

#: So many seconds' worth of requests may come at once: all users start their chats within the first seconds, and
#: workers report once a second.
BURST_S = 5.0
#: Of one message of a customer: StartTyping, StopTyping, SendMessage.
_PER_MESSAGE = 3


def planned_rate(users: int, settings: SessionSettings) -> float:
    """Requests per second of so many users once all hold a chat: polls, and what a chat of mean length has beside
    them (RequestChat, Disconnect, as many of the customer's messages as there is time for)."""
    script = settings.script
    length = max(script.chat_length.mean(), 0.1)
    time_for = length / max(script.think.mean() + script.typing.mean(), 0.1)
    others = 2 + _PER_MESSAGE * min(script.messages.mean(), time_for)
    return users * (1 / settings.policy.interval_s + others / length)


def refuse_above(rules: Rules, users: int, settings: SessionSettings) -> None:
    """Raises UsageError where so many users would come above a ceiling."""
    if rules.max_sessions is not None and users > rules.max_sessions:
        ceiling = f"the ceiling of {rules.max_sessions} sessions"
        raise UsageError(f"{users} users are above {ceiling}", rules.origin("max_sessions"))
    rate = planned_rate(users, settings)
    if rules.max_requests_per_s is not None and rate > rules.max_requests_per_s:
        every = settings.policy.interval_s
        message = (
            f"{users} users with a refresh every {every:g} s make about {rate:.3g} requests/s, above the ceiling of "
            f"{rules.max_requests_per_s:g}"
        )
        raise UsageError(message, f"fewer users or a longer interval; {rules.origin('max_requests_per_s')}")


class Ceiling:
    """Watches a run's books. A leaky bucket: it fills by every request sent, leaks at the ceiling's rate, and runs
    over at BURST_S seconds' worth."""

    def __init__(self, rules: Rules, now: float) -> None:
        self._rules = rules
        self._sent, self._level, self._at = 0, 0.0, now

    def exceeded(self, books: Books, now: float) -> str:
        """Why the run has to be stopped; empty while it has not. books: of all processes; now: monotonic, seconds."""
        still = books.started - books.verdicts.total()
        most = self._rules.max_sessions
        if most is not None and still > most:
            return f"{still} sessions open, above the ceiling of {most}"
        rate = self._rules.max_requests_per_s
        sent, elapsed = books.sent.total(), now - self._at
        more = sent - self._sent
        self._sent, self._at = sent, now
        if rate is None:
            return ""
        self._level = max(0.0, self._level + more - rate * elapsed)
        if self._level > rate * BURST_S:
            return f"{more / max(elapsed, 1e-3):.4g} requests/s, above the ceiling of {rate:g}"
        return ""
