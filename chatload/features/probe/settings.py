"""Settings of a probe, and how many chats it opens for which purpose."""

from __future__ import annotations

from dataclasses import dataclass

from chatload.errors import UsageError

#: The shortest silence that is tried (seconds); the timeout is at least 1 s [opt].
SHORTEST_S = 0.7
#: The longest silence if no timeout is configured (seconds), and as a multiple of a configured one.
LONGEST_S, LONGEST_OF_CONFIGURED = 60.0, 1.5
MIN_CHATS, MAX_CHATS, DEFAULT_CHATS = 20, 1000, 96
#: Time between the openings of two chats (seconds): Chat Server accepts rare peaks of 30 per second.
APART_S = 1 / 30
#: Chats for each operation that may reset the clock (if there are many chats, or few); chats disconnected at once.
_EACH_OPERATION, _AT_LEAST, _DISCONNECTED = 3, 2, 2
OPERATIONS = ("SendMessage", "StartTyping", "failed_request")
#: Bounds are precise enough if they differ by at most this part of the timeout.
PRECISION = 0.02


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """Settings of one probe; times in seconds.

    longest_s: the longest silence tried. time_allowed_s: for everything but the goodbyes. configured_s: the timeout
    that the server is said to have. chats: opened at most. ended_for_s: how long ended chats are asked whether they are
    still known; 0: for the time that is left.
    """

    longest_s: float
    time_allowed_s: float
    configured_s: float | None = None
    chats: int = DEFAULT_CHATS
    ended_for_s: float = 0.0
    request_timeout_s: float = 5.0
    seed: int = 0

    @property
    def operation_chats(self) -> int:
        """Chats for each operation."""
        return _EACH_OPERATION if self.chats >= 64 else _AT_LEAST

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
        return _DISCONNECTED if self.chats >= 64 else 1

    @property
    def first(self) -> int:
        """Chats of the first round; the others are opened if the bounds need them."""
        return self.rungs + self.silent + self.operation_chats * len(OPERATIONS) + self.disconnected

    def silences(self) -> list[float]:
        """Return the silences of the first round (seconds), longest first, in a geometric series."""
        count, shortest = self.rungs, min(SHORTEST_S, self.longest_s / 2)
        ratio = (self.longest_s / shortest) ** (1 / (count - 1))
        return [self.longest_s / ratio**rung for rung in range(count)]

    def announcement(self) -> str:
        """Return a sentence that says what the probe will do."""
        first, most = self.first, self.chats
        return (
            f"opening {first} chats, {most} at most, silent for up to {self.longest_s:g} s each. "
            f"This takes one to four times the server's timeout, {self.time_allowed_s:g} s at most."
        )


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
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"{name} {value:g} is not a number of seconds above 0")
    if not MIN_CHATS <= chats <= MAX_CHATS:
        raise UsageError(f"--sessions {chats} is outside {MIN_CHATS}..{MAX_CHATS}")
    if longest_s is None:
        longest_s = LONGEST_S if configured_s is None else max(LONGEST_OF_CONFIGURED * configured_s, 5.0)
        if time_allowed_s is not None:
            longest_s = min(longest_s, 0.8 * time_allowed_s)
    if time_allowed_s is None:
        time_allowed_s = 3 * longest_s + ended_for_s + 15.0
    if longest_s < 1.0:
        raise UsageError(f"the longest silence, {longest_s:g} s, is below the least timeout there is, 1 s")
    if longest_s > time_allowed_s:
        raise UsageError(f"--longest {longest_s:g} is longer than --time-allowed {time_allowed_s:g}")
    return ProbeSettings(longest_s, time_allowed_s, configured_s, chats, ended_for_s, request_timeout_s, seed)
