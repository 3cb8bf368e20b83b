"""The settings that all sessions of a run share, and those of the arms of a sweep of refresh intervals."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from chatload.chat.policy import RefreshPolicy, make_policy
from chatload.chat.script import CustomerScript
from chatload.chat.transcript import ObservedServer
from chatload.errors import UsageError
from chatload.units import share

#: A customer whose chat was not accepted waits this long before the next one (seconds).
PAUSE_AFTER_REFUSAL_S = 1.0
#: The default sweep: refresh intervals as fractions of the timeout.
DEFAULT_SWEEP = "0.5,0.7,0.8,0.9,0.95,0.98,1.02"
#: Each process numbers its sessions from its own multiple of this.
_PER_PROCESS = 1 << 32
_HINT = "write parts of the timeout with commas between, such as 0.5,0.9,1.02"


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """The settings that all sessions of a run share.

    All arms of a sweep run at the same time, and so under the same load. Sessions are assigned in permuted blocks: each
    block has every arm once, in a random order. So all arms meet the same conditions, and no user always gets the same
    arm. Source: R. A. Fisher, "The Design of Experiments", 1935, on randomised blocks.

    request_timeout_s: the total time of one call; a GetMessages may be held for long_poll_s in addition.
    keeps_ended_s, long_poll_s, agent_end_removes_customer: see ServerTable.
    persona: a name in `chatload.chat.personas.PERSONAS`.
    poll_jitter: each refresh leaves up to this share of its interval earlier, by chance: 0 or more, below 1.
    group: the arm of a sweep that these are the settings of. user_class: the user class; "" in a run with only one.
    arms: those of each arm, if there is a sweep.
    server: what the sessions of this process together learn about the server.
    """

    policy: RefreshPolicy
    request_timeout_s: float
    script: CustomerScript = CustomerScript()
    keeps_ended_s: float = 60.0
    long_poll_s: float = 0.0
    persona: str = "strict"
    agent_end_removes_customer: bool = False
    poll_jitter: float = 0.0
    group: str = ""
    user_class: str = ""
    arms: tuple[SessionSettings, ...] = ()
    server: ObservedServer = field(default_factory=ObservedServer, compare=False, repr=False)

    @property
    def timeout_s(self) -> float:
        """The server's flex-disconnect-timeout, seconds."""
        return self.policy.timeout_s

    @property
    def mean_interval_s(self) -> float:
        """The mean time between two refreshes, seconds."""
        return self.policy.interval_s * (1.0 - self.poll_jitter / 2)

    def for_a_run(self) -> SessionSettings:
        """Return the same settings for a new run, in which nothing is known about the server yet."""
        server = ObservedServer()
        return replace(self, server=server, arms=tuple(replace(arm, server=server) for arm in self.arms))

    def arm_of(self, number: int) -> SessionSettings:
        """Return the settings of the session of this number: those of its arm, if there are arms."""
        if not self.arms:
            return self
        process, index = divmod(number, _PER_PROCESS)
        block, place = divmod(index, len(self.arms))
        order = list(range(len(self.arms)))
        Random(process * _PER_PROCESS + block).shuffle(order)
        return self.arms[order[place]]


def fractions_in(text: str | None) -> tuple[float, ...]:
    """Return the fractions of the timeout in a text such as "0.5,0.9,1.02", ascending. Raises UsageError."""
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    try:
        found = sorted(share(word) for word in words)
    except ValueError:
        raise UsageError(f"--sweep {text}: not numbers", _HINT) from None
    names = {f"{fraction:g}" for fraction in found}
    if any(fraction <= 0 for fraction in found) or len(names) < len(found):
        raise UsageError(f"--sweep {text}: every part must be above 0 and there once", _HINT)
    return tuple(found)


def swept(settings: SessionSettings, fractions: tuple[float, ...]) -> SessionSettings:
    """Return the settings with an arm for each fraction of the timeout; a fraction may be above 1."""
    if fractions and settings.persona == "widget":
        raise UsageError("--persona widget polls on its own clock and cannot be swept", "leave --persona out")
    arms = []
    for part in fractions:
        policy = make_policy("fraction", settings.timeout_s, fraction=part, allow_late=True)
        arms.append(replace(settings, policy=policy, group=f"{part:g}"))
    return replace(settings, arms=tuple(arms))
