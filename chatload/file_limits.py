"""How many files (sockets among them) this process may open."""

from __future__ import annotations

import resource
from contextlib import suppress

#: What is returned where the system has no limit.
NO_LIMIT = 2**31


def file_limits() -> tuple[int, int]:
    """Return RLIMIT_NOFILE of this process, soft and hard; NO_LIMIT where there is none."""
    soft, hard = (NO_LIMIT if n == resource.RLIM_INFINITY else n for n in resource.getrlimit(resource.RLIMIT_NOFILE))
    return soft, hard


def raise_file_limit() -> tuple[int, int]:
    """Raise the soft limit to the hard one, as far as the system allows it; return both limits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard and hard != resource.RLIM_INFINITY:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return file_limits()
