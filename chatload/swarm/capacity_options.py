"""Options of locustfiles/capacity.py beside those of every locustfile, as data. Imports no Locust."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def declare_capacity(add: Callable[..., Any]) -> None:
    """Call `add(flag, default, help, **argparse settings)` for every option, in order."""
    add("--start-sessions", "10", "Sessions of the first step: well below what the server can do.", metavar="N")
    add("--max-sessions", "1000", "The most sessions to open. If they are held, no claim about the server is made.",
        metavar="N")  # fmt: skip
    add("--step-hold", "", "How long a step is held once it has settled, s; up to four times that where a threshold "
        "is undecided. Default: the larger of 10 and three refresh intervals.", metavar="S")  # fmt: skip
    add("--step-bound", "", "How long a step may take to rise, and then to settle, s. Default: six times --step-hold.",
        metavar="S")  # fmt: skip
    add("--resolution", "5", "How near held and not held must come to each other, in %%; a limit that refuses chats is "
        "always found to the unit.", metavar="PERCENT")  # fmt: skip
