"""Refresh policies: when the next GetMessages is due, given the server's deadline."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from math import floor

from chatload.errors import UsageError
from chatload.random_numbers import SplitMix64

#: The range of flex-disconnect-timeout (seconds): up to 20 days.
MIN_TIMEOUT_S, MAX_TIMEOUT_S = 1.0, 1_728_000.0
#: The interval at which the vendor's browser client polls (seconds).
WIDGET_INTERVAL_S = 3.0
#: The number of round trips that are remembered.
_ROUND_TRIPS = 16
#: Rounding tolerance (in intervals) when the number of a tick is computed from its instant.
_TICK_TOLERANCE = 1e-6


@dataclass(slots=True)
class RefreshClock:
    """What a policy knows about one session. Instants: the driver's clock; durations: seconds.

    anchor: the instant from which a fixed clock counts its ticks. With jitter: the last tick that was used.
    contact_sent: when the last sure contact left; the server saw it then or later.
    last_tick: the number of the last fixed tick that was used.
    jitter: the share of its interval by which a refresh may leave earlier. random: draws how much earlier; None without
        jitter.
    part: the part of its interval after which the next refresh is due: above 1 - jitter, up to 1.
    """

    anchor: float
    contact_sent: float
    last_tick: int = -1
    round_trips: array[float] = field(default_factory=lambda: array("d"))
    jitter: float = 0.0
    random: SplitMix64 | None = None
    part: float = 1.0

    def __post_init__(self) -> None:
        self.draw()

    def draw(self) -> None:
        """Draw when the next refresh is due within its interval."""
        if self.random is not None:
            self.part = 1.0 - self.jitter * self.random.random()

    def saw(self, round_trip: float) -> None:
        trips = self.round_trips
        trips.append(round_trip)
        if len(trips) > _ROUND_TRIPS:
            del trips[0]

    def tail(self) -> float:
        """Return the slowest of the remembered round trips; 0 if there are none."""
        return max(self.round_trips, default=0.0)


@dataclass(frozen=True, slots=True)
class RefreshPolicy:
    """When to refresh.

    kind: `fixed`: every interval_s, on a fixed clock. `fraction`: interval_s after the last sure contact, a fraction of
        the timeout. `deadline`: as late as is safe.
    timeout_s: the flex-disconnect-timeout.
    retries: how many times a failed request is retried. backoff_s: the wait before the first retry. The deadline policy
        leaves room for both.
    """

    kind: str
    timeout_s: float
    interval_s: float
    retries: int = 3
    backoff_s: float = 0.25

    def next_refresh(self, clock: RefreshClock, now: float) -> float:
        """Return the instant at which the next GetMessages should leave; at once if that is past."""
        if self.kind == "fixed":
            anchor, interval = clock.anchor, self.interval_s * clock.part
            due = anchor + (clock.last_tick + 1) * interval
            if now > due and clock.last_tick >= 0:
                # Ticks that passed during a slow request are skipped, as the widget skips them.
                passed = floor((now - anchor) / interval)
                on_tick = anchor + passed * interval >= now
                due = anchor + (passed if on_tick else passed + 1) * interval
            return due
        if self.kind == "fraction":
            return clock.contact_sent + self.interval_s * clock.part
        room = (self.retries + 1) * clock.tail() + self.retries * self.backoff_s
        room = max(room, 0.1 * self.timeout_s)
        return clock.contact_sent + max(self.timeout_s - room, 0.1 * self.timeout_s) * clock.part

    def ticked(self, clock: RefreshClock, due: float) -> None:
        """Note that the refresh due at `due` is being sent; a retry between two ticks does not count as either tick."""
        if self.kind != "fixed":
            clock.draw()
            return
        interval = self.interval_s * clock.part
        tick = floor((due - clock.anchor) / interval + _TICK_TOLERANCE)
        if tick > clock.last_tick:
            clock.last_tick = tick
            if clock.random is not None:
                # The next interval has a length of its own: the clock counts from this tick.
                clock.anchor, clock.last_tick = clock.anchor + tick * interval, 0
                clock.draw()

    def next_retry(self, clock: RefreshClock, now: float, failures: int) -> float:
        """Return the instant of the next retry after `failures` unsuccessful requests in a row.

        The back-off doubles each time, but a retry is not delayed past a deadline that can still be met.
        """
        backoff = min(self.backoff_s * 2.0 ** min(failures - 1, 16), max(self.interval_s, self.backoff_s))
        latest = clock.contact_sent + self.timeout_s - clock.tail() - 0.05 * self.timeout_s
        if now < latest < now + backoff:
            return latest
        return now + backoff


def make_policy(
    kind: str,
    timeout_s: float,
    interval_s: float | None = None,
    fraction: float | None = None,
    allow_late: bool = False,
    retries: int = 3,
) -> RefreshPolicy:
    """Return the policy that the options' values describe.

    The default interval of `fixed` is 3 s or a third of the timeout, whichever is less; of `fraction`, 0.5 of it.
    Raises UsageError if a value is out of range, or the interval is not below the timeout and allow_late is false.
    """
    if not MIN_TIMEOUT_S <= timeout_s <= MAX_TIMEOUT_S:
        raise UsageError(
            f"--flex-disconnect-timeout {timeout_s:g} is outside {MIN_TIMEOUT_S:g}..{MAX_TIMEOUT_S:.0f} s",
            "give the server's own setting",
        )
    if kind == "fixed":
        interval = min(WIDGET_INTERVAL_S, timeout_s / 3) if interval_s is None else interval_s
        option = f"--refresh-interval {interval:g}"
    elif kind == "fraction":
        share = 0.5 if fraction is None else fraction
        interval, option = share * timeout_s, f"--refresh-fraction {share:g}"
    elif kind == "deadline":
        interval, option = timeout_s / 2, "--refresh-policy deadline"
    else:
        raise UsageError(f"--refresh-policy {kind} is not known", "use fixed, fraction or deadline")
    if not 0 < interval < float("inf"):
        raise UsageError(f"{option} must be above 0")
    if interval >= timeout_s and not allow_late:
        raise UsageError(
            f"{option} refreshes every {interval:g} s, not within --flex-disconnect-timeout {timeout_s:g} s",
            "choose a shorter one, or add --allow-late-refresh to drop chats on purpose",
        )
    return RefreshPolicy(kind, timeout_s, interval, retries, min(0.25, timeout_s / 20))
