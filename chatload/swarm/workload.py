"""The open workload: the rate at which chats arrive, and how sources share it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from chatload.errors import UsageError
from chatload.features.doctor.machine import SPARE_FILES
from chatload.run.arrivals import RateProfile, arrivals, load_profile
from chatload.sockets import NO_LIMIT, file_limits

#: The default of --max-open where the number of open files has no limit.
_MANY = 1_000_000


@dataclass(frozen=True)
class OpenWorkload:
    """Chats that arrive whether or not earlier ones have ended.

    Attributes:
        profile: rate over time, of all sources together.
        max_open: maximum number of open chats in one process.
        sources: number of sources that share the rate.
        began: start of the profile (seconds, this process's monotonic clock).
    """

    profile: RateProfile
    max_open: int
    sources: int = 1
    began: float = field(default_factory=time.monotonic)

    def instants(self, seed: str) -> Iterator[float]:
        """Yield when chats arrive at one source from now on (seconds, monotonic)."""
        since = time.monotonic() - self.began
        for instant in arrivals(self.profile, 1 / self.sources, seed, since):
            yield self.began + instant

    def shared_out(self, sources: int, began: float) -> OpenWorkload:
        """Return this workload with its rate shared by `sources`, in a run that began at `began` (Unix seconds)."""
        return replace(self, sources=max(1, sources), began=time.monotonic() - max(0.0, time.time() - began))

    def over(self) -> bool:
        """Return whether the last chat has arrived."""
        return time.monotonic() > self.began + self.profile.length_s


def make_open_workload(
    rate: float | None, file: str | None, compress: float | None, max_open: int, shared: tuple[int, float] | None
) -> OpenWorkload | None:
    """Return the open workload of these options, None if they ask for none.

    Args:
        rate: chats per second.
        file: arrival profile (CSV).
        compress: factor by which the profile's time is faster.
        max_open: maximum number of open chats in one process, 0 for the default.
        shared: number of sources and start of the run (Unix seconds), the same in all processes of a run.

    Raises:
        UsageError: the options contradict each other, or the profile cannot be read.
    """
    if rate is not None and file is not None:
        raise UsageError("--arrival-rate and --arrival-profile contradict each other", "leave one of them out")
    if compress is not None and file is None:
        raise UsageError("--arrival-compress needs --arrival-profile", "a constant rate has no profile to compress")
    if rate is None and file is None:
        return None
    profile = RateProfile.constant(rate) if rate is not None else load_profile(file or "", compress or 1.0)
    return OpenWorkload(profile, max_open or _room()).shared_out(*(shared or (1, time.time())))


def check_users(user_classes: Iterable[Any], workload: OpenWorkload | None) -> None:
    """Raise UsageError if the user classes do not fit the options."""
    sources = {bool(getattr(user_class, "is_source", False)) for user_class in user_classes}
    if True not in sources:
        if workload is not None:
            raise UsageError("--arrival-rate and --arrival-profile are for locustfiles/arrivals.py")
    elif False in sources:
        raise UsageError(
            "the sources of an open workload share its rate with all users of a run",
            "start other users in a locust process of their own",
        )
    elif workload is None:
        raise UsageError("no arrivals are asked for", "give --arrival-rate PER_S or --arrival-profile FILE.csv")


def _room() -> int:
    """Return the number of chats that the limit on open files allows, one connection each."""
    limit, _ = file_limits()
    return _MANY if limit == NO_LIMIT else max(1, limit - SPARE_FILES)
