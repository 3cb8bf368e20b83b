"""The open workload's part of a run's plan: how chats arrive, and at how many sources."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from chatload.errors import UsageError
from chatload.run.arrivals import RateProfile, arrivals, load_profile

#: Files a process needs beside its chats' connections: what --max-open leaves of the limit unless set.
_OTHER_FILES = 200
_NO_LIMIT = 1_000_000


@dataclass(frozen=True)
class OpenWorkload:
    """Chats that arrive whether or not earlier ones are done.

    profile: their rate over time, of all sources together. max_open: chats open at once in one process, at
    most. sources: among so many the rate is shared out. began: when the profile began, on this process's
    monotonic clock.
    """

    profile: RateProfile
    max_open: int
    sources: int = 1
    began: float = field(default_factory=time.monotonic)

    def instants(self, seed: str) -> Iterator[float]:
        """When chats arrive at one source from now on, on the monotonic clock."""
        since = time.monotonic() - self.began
        for instant in arrivals(self.profile, 1 / self.sources, seed, since):
            yield self.began + instant

    def shared_out(self, sources: int, began: float) -> OpenWorkload:
        """The same among so many sources of a run that began at this instant (Unix seconds)."""
        return replace(self, sources=max(1, sources), began=time.monotonic() - max(0.0, time.time() - began))

    def over(self) -> bool:
        """Whether the last chat has arrived."""
        return time.monotonic() > self.began + self.profile.length_s


def make_open_workload(
    rate: float | None, file: str | None, compress: float | None, max_open: int, shared: tuple[int, float] | None
) -> OpenWorkload | None:
    """The open workload that options ask for, None where they ask for none; raises UsageError.

    shared: what all processes of a run must know alike, the number of sources and when it began (Unix seconds).
    """
    if rate is not None and file is not None:
        raise UsageError("--arrival-rate and --arrival-profile contradict each other", "leave one of them out")
    if compress is not None and file is None:
        raise UsageError("--arrival-compress needs --arrival-profile", "a rate that is always the same has no shape")
    if rate is None and file is None:
        return None
    profile = RateProfile.constant(rate) if rate is not None else load_profile(file or "", compress or 1.0)
    return OpenWorkload(profile, max_open or _room()).shared_out(*(shared or (1, time.time())))


def check_users(user_classes: Iterable[Any], workload: OpenWorkload | None) -> None:
    """Raise UsageError where the users are not what the options are about."""
    sources = {bool(getattr(user_class, "is_source", False)) for user_class in user_classes}
    if True not in sources:
        if workload is not None:
            raise UsageError("--arrival-rate and --arrival-profile are for locustfiles/arrivals.py")
    elif False in sources:
        raise UsageError(
            "sources of an open workload share its rate among all users of a run",
            "start users of another kind with a locust of their own",
        )
    elif workload is None:
        raise UsageError("no arrivals are asked for", "give --arrival-rate PER_S or --arrival-profile FILE.csv")


def _room() -> int:
    """How many chats the limit of open files leaves room for, a connection each."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _NO_LIMIT if limit == resource.RLIM_INFINITY else max(1, limit - _OTHER_FILES)
