"""Options of locustfiles/capacity.py beside those of every locustfile, as data. Imports no Locust."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chatload.errors import UsageError
from chatload.features.capacity.step import Rules
from chatload.swarm.option_values import number, whole
from chatload.swarm.run_checks import planned_rate

if TYPE_CHECKING:
    from chatload.swarm.plan import Plan

_LEAST_HOLD_S = 10.0
#: The most sessions to open where neither --max-sessions nor chatload.toml says.
MOST_SESSIONS = 1000


def declare_capacity(add: Callable[..., Any]) -> None:
    """Call `add(flag, default, help, **argparse settings)` for every option, in order."""
    add("--start-sessions", "10", "Sessions of the first step: well below what the server can do.", metavar="N")
    add("--step-hold", "", "How long a step is held once it has settled, s; up to four times that where a threshold "
        "is undecided. Default: the larger of 10 and three refresh intervals.", metavar="S")  # fmt: skip
    add("--step-bound", "", "How long a step may take to rise, and then to settle, s. Default: six times --step-hold.",
        metavar="S")  # fmt: skip
    add("--resolution", "5", "How near held and not held must come to each other, in %%; a limit that refuses chats is "
        "always found to the unit.", metavar="PERCENT")  # fmt: skip


def rules_of(options: Namespace, plan: Plan) -> Rules:
    """The search's rules in Locust's options; raises UsageError for what cannot be meant."""
    policy = plan.settings.policy
    start, ceiling = start_of(options), _ceiling(plan)
    if ceiling < start:
        message = f"--start-sessions {start} is above the ceiling of {ceiling} sessions"
        raise UsageError(message, plan.rules.origin("max_sessions"))
    hold = number(options, "step_hold") or max(_LEAST_HOLD_S, 3 * policy.interval_s)
    percent = number(options, "resolution") or 5.0
    if percent > 50:
        raise UsageError(f"--resolution {percent:g} is above 50 %")
    return Rules(
        start=start,
        ceiling=ceiling,
        interval_s=policy.interval_s,
        timeout_s=policy.timeout_s,
        hold_s=hold,
        bound_s=number(options, "step_bound") or 6 * hold,
        resolution=percent / 100,
        thresholds=plan.gate.thresholds,
        confidence=plan.gate.confidence,
    )


def _ceiling(plan: Plan) -> int:
    """The most sessions the search may open, by the run's ceilings on sessions and on requests per second."""
    rules = plan.rules
    most = MOST_SESSIONS if rules.max_sessions is None else rules.max_sessions
    if rules.max_requests_per_s is not None:
        most = min(most, int(rules.max_requests_per_s / planned_rate(1, plan.settings)))
    return most


def start_of(options: Namespace) -> int:
    """Sessions of the first step; raises UsageError."""
    return whole(options, "start_sessions", least=1)
