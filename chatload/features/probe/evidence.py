"""Settings of a probe, what its chats have shown, and when each chat sends next."""

from collections import Counter, defaultdict
from dataclasses import dataclass

from chatload.chat.transcript import ServerClock
from chatload.errors import UsageError
from chatload.features.probe.bounds import ObservedSilence, TimeSpan, bounds, longest_survived, sweep
from chatload.vocabulary import Outcome

_INF = float("inf")
#: The shortest silence that is tried (seconds); the timeout is at least 1 s [opt].
_SHORTEST_S = 0.7
#: The longest silence if no timeout is configured (seconds), and as a multiple of a configured one.
LONGEST_S, _LONGEST_OF_CONFIGURED = 60.0, 1.5
MIN_CHATS, MAX_CHATS, DEFAULT_CHATS = 20, 1000, 96
#: A ceiling on requests per second allows this many seconds' worth of requests at once.
_BURST_S = 5.0
#: Time between the openings of two chats (seconds): Chat Server accepts rare peaks of 30 per second.
APART_S = 1 / 30
#: Operations that may reset the clock -> operation on the wire, its fields, the outcome that is expected.
OPERATIONS: dict[str, tuple[str, dict[str, str], Outcome]] = {
    "SendMessage": ("SendMessage", {"message": "chatload probe"}, Outcome.FINE),
    "StartTyping": ("StartTyping", {}, Outcome.FINE),
    "failed_request": ("SendMessage", {}, Outcome.UNSUCCESSFUL),
}
#: Bounds are precise enough if they differ by at most this part of the timeout.
PRECISION = 0.02
#: A contact is narrow if its interval is at most this wide (seconds), or this many times the narrowest.
_NARROW_S, _NARROW_OF_BEST = 0.004, 2.0
#: Bounds of the sweep are good within this many PRECISIONs, or this many times each other.
_SWEEP_PRECISION, _SWEEP_RATIO = 2.0, 2.0
#: Operations that may keep a chat alive are sent at intervals of this part of the timeout. While the timeout is
#: not known, the first interval is this long (seconds), and each next one longer by this factor.
_STEP, _FIRST_S, _RATIO = 0.4, 0.4, 1.4
#: The bounds are tested at their edges once survived and fatal silences differ by less than this part of PRECISION.
_EDGE = 0.3


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """Settings of one probe; times in seconds.

    longest_s: the longest silence tried. time_allowed_s: for everything but the goodbyes. configured_s: the timeout
    that the server is said to have. chats: opened at most. ended_for_s: how long ended chats are asked whether they are
    still known; 0: for the time that is left.
    """

    longest_s: float
    time_allowed_s: float
    configured_s: float | None
    chats: int
    ended_for_s: float
    request_timeout_s: float
    seed: int

    @property
    def operation_chats(self) -> int:
        """Chats for each operation that may reset the clock."""
        return 3 if self.chats >= 64 else 2

    @property
    def rungs(self) -> int:
        """Chats whose first silences have different lengths."""
        return max(6, (self.chats - 11) * 3 // 8)

    @property
    def silent(self) -> int:
        """Chats that are silent until the others have bounded the timeout."""
        return max(4, self.chats // 8)

    @property
    def disconnected(self) -> int:
        """Chats that are disconnected at once and then asked whether they are known."""
        return 2 if self.chats >= 64 else 1

    @property
    def first(self) -> int:
        """Chats of the first round; the others are opened if the bounds need them."""
        return self.rungs + self.silent + self.operation_chats * len(OPERATIONS) + self.disconnected

    def silences(self) -> list[float]:
        """Return the silences of the first round (seconds), longest first, in a geometric series."""
        shortest = min(_SHORTEST_S, self.longest_s / 2)
        ratio = (self.longest_s / shortest) ** (1 / (self.rungs - 1))
        return [self.longest_s / ratio**rung for rung in range(self.rungs)]

    def announcement(self) -> str:
        """Return a sentence that says what the probe will do."""
        return (
            f"opening {self.first} chats, {self.chats} at most, silent for up to {self.longest_s:g} s each. "
            f"This takes one to four times the server's timeout, {self.time_allowed_s:g} s at most. "
            "Shorter: a smaller --longest if the timeout is known to be below it, or a limit (--time-allowed)."
        )


def chats_within(chats: int, max_sessions: int | None, max_requests_per_s: float | None) -> int:
    """Return how many chats a probe may open under the ceilings of chatload.toml; raises UsageError if too few.

    All chats may be asked at once, so their requests have to fit in the burst that a ceiling on the rate allows: five
    seconds' worth of it, for two requests of each chat.
    """
    by_rate = chats if max_requests_per_s is None else int(_BURST_S * max_requests_per_s / 2)
    most = min(chats, by_rate, chats if max_sessions is None else max_sessions)
    if most < MIN_CHATS <= chats:
        message = f"the ceilings of chatload.toml allow {most} chats, and a probe needs {MIN_CHATS}"
        raise UsageError(message, "ask the owner of that file")
    return most


def make_settings(
    configured_s: float | None = None,
    longest_s: float | None = None,
    time_allowed_s: float | None = None,
    chats: int = DEFAULT_CHATS,
    ended_for_s: float = 0.0,
    request_timeout_s: float = 5.0,
    seed: int = 0,
) -> ProbeSettings:
    """Return settings from the values of the options; raises UsageError for values outside their range."""
    for name, value in (
        ("--flex-disconnect-timeout", configured_s), ("--longest", longest_s), ("--time-allowed", time_allowed_s),
        ("--request-timeout", request_timeout_s), ("--ended-for", ended_for_s or None),
    ):  # fmt: skip
        if value is not None and not 0 < value < _INF:
            raise UsageError(f"{name} {value:g} is not a number of seconds above 0")
    if not MIN_CHATS <= chats <= MAX_CHATS:
        raise UsageError(f"--sessions {chats} is outside {MIN_CHATS}..{MAX_CHATS}")
    if longest_s is None:
        longest_s = LONGEST_S if configured_s is None else max(_LONGEST_OF_CONFIGURED * configured_s, 5.0)
        if time_allowed_s is not None:
            longest_s = min(longest_s, 0.8 * time_allowed_s)
    if time_allowed_s is None:
        time_allowed_s = 3 * longest_s + ended_for_s + 15.0
    if longest_s < 1.0:
        raise UsageError(f"the longest silence, {longest_s:g} s, is below the least timeout there is, 1 s")
    if longest_s > time_allowed_s:
        raise UsageError(f"--longest {longest_s:g} is longer than --time-allowed {time_allowed_s:g}")
    return ProbeSettings(longest_s, time_allowed_s, configured_s, chats, ended_for_s, request_timeout_s, seed)


@dataclass(frozen=True, slots=True)
class KnownCheck:
    """Whether the server still knew an ended chat when asked. end: the silence within which the chat ended."""

    end: ObservedSilence
    asked: TimeSpan
    known: bool


class ProbeEvidence:
    """All evidence of one probe.

    refining: two chats have been dropped, so that the timeout is known roughly. hurried: the time for refining is over.
    known, left_known: whether dropped and disconnected chats were still known. outlived, lapsed: for chats that were
    kept alive by one operation only, the least time without another contact of those found alive, and the most time
    since the operation of those found ended. taken: operations that were meant to fail and did not. chats: opened so
    far. retried: RequestChats sent again.

    Computed from the silences: the bounds of timeout and sweep; good: whether they are precise enough;
    longest_survived_s: the longest silence that two chats survived; overlaps: whether some chats survived a silence
    that ended others, because the sweep is coarse; lapse_s: a silence that no chat survives, infinite while not known.
    """

    def __init__(self, settings: ProbeSettings) -> None:
        self.settings = settings
        self.refining = self.hurried = False
        self.silences: list[ObservedSilence] = []
        self.known: list[KnownCheck] = []
        self.left_known: list[KnownCheck] = []
        self.outlived: defaultdict[str, list[float]] = defaultdict(list)
        self.lapsed: defaultdict[str, list[float]] = defaultdict(list)
        self.taken: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.server_clock = ServerClock()
        self.refusal = ""
        self.chats = self.retried = 0
        self._best_s = _INF
        self._compute()

    def _compute(self) -> None:
        self.bounds = bounds(self.silences)
        self.sweep = sweep(self.silences, self.bounds)
        self.longest_survived_s = longest_survived(self.silences)
        self.overlaps = self.longest_survived_s >= self.bounds.upper_s
        self.lapse_s = _INF if self.sweep.upper_s is None else self.bounds.upper_s + self.sweep.upper_s
        fine = PRECISION * self.bounds.upper_s
        self.good = (
            len(self.bounds.drops) > 1
            and not self.bounds.contradicts
            and self.bounds.upper_s - self.bounds.lower_s <= max(fine, self.sweep.lower_s)
            and self.sweep.upper_s is not None
            and self.sweep.upper_s <= max(_SWEEP_PRECISION * fine, _SWEEP_RATIO * self.sweep.lower_s)
        )

    def add(self, silence: ObservedSilence) -> None:
        """Add a silence that is over."""
        if silence.survived_s > 0 or silence.ended_by is not None:
            self.silences.append(silence)
            self._compute()
        self._best_s = min(self._best_s, silence.found.latest - silence.found.earliest)

    @property
    def room(self) -> int:
        """How many more chats may be opened."""
        return self.settings.chats - self.chats - self.retried

    def narrow(self, contact: TimeSpan) -> bool:
        """Whether the interval of a contact is about as narrow as intervals get on this connection."""
        return contact.latest - contact.earliest <= max(_NARROW_S, _NARROW_OF_BEST * self._best_s)

    def pause_s(self, last_s: float | None) -> float:
        """Return the time from the last other contact to the next operation that may keep the chat alive (seconds).

        last_s: that time for the previous operation; None for the first. While the timeout is not known, the intervals
        grow, so that each is a part of any timeout exceeded so far.
        """
        if self.refining and self.bounds.lower_s > self.bounds.upper_s / 2:
            return (last_s or 0.0) + _STEP * self.bounds.lower_s
        return _FIRST_S if last_s is None else last_s * _RATIO

    def resets(self, operation: str) -> bool | None:
        """Whether an operation resets the clock; None if nothing shows it."""
        if operation in self.taken:
            return None
        if any(silent_s > self.lapse_s for silent_s in self.outlived[operation]):
            return True
        ended = sum(since_s < self.bounds.lower_s for since_s in self.lapsed[operation])
        # One chat may have ended for another reason, and a transient fault looks like a failed request.
        return False if ended > 1 else None

    def decided(self, operation: str) -> bool:
        """Whether no more trials of an operation are needed."""
        return operation in self.taken or self.resets(operation) is not None

    def ask_at(self, contact: TimeSpan, rung: float | None, verifies: bool, draw: float) -> float:
        """Return the instant at which a silent chat is asked next.

        rung: length of its first silence. verifies: it is asked early, to confirm a single drop. draw: the chat's
        random number, 0 to 1.
        """
        if self.refining:
            return (contact.earliest + contact.latest) / 2 + self._target(draw)
        if verifies and len(self.bounds.drops) == 1:
            return contact.latest
        return contact.latest + (self.settings.longest_s if rung is None else rung)

    def lapsed_at(self, since: TimeSpan) -> float:
        """Return when a chat without contact since then is surely dropped; infinite while not known well enough."""
        if not self.refining or not (self.good or self.hurried):
            return _INF
        return since.latest + 1.005 * self.lapse_s + 0.01

    def _target(self, draw: float) -> float:
        """Return the length of silence that tells most, less the time its request takes to the server (seconds).

        While survived and fatal silences are far apart: anywhere between them. Then at one edge or the other, because
        bounds need both. If they overlap, as under a coarse sweep: anywhere around the overlap.
        """
        found, longest = self.bounds, self.longest_survived_s
        upper, on_the_way = found.upper_s, self._best_s / 2
        if self.overlaps:
            margin = (longest - upper) / 4 + PRECISION / 2 * upper
            return upper - margin + draw * (longest - upper + 2 * margin)
        lower = max(longest, found.lower_s)
        if upper - lower > _EDGE * PRECISION * upper + 2 * self._best_s:
            return lower + (0.1 + 0.8 * draw) * (upper - lower) - on_the_way
        return upper if draw < 0.5 else lower - 2 * on_the_way
