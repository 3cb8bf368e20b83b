"""The settings that all sessions of a run share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from chatload.chat.observed_server import ObservedServer
from chatload.chat.policy import RefreshPolicy
from chatload.chat.script import CustomerScript

#: A customer whose chat was not accepted waits this long before the next one (seconds).
PAUSE_AFTER_REFUSAL_S = 1.0


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """The settings that all sessions of a run share.

    request_timeout_s: the total time of one call; a GetMessages may be held for long_poll_s in addition.
    keeps_ended_s, long_poll_s, agent_end_removes_customer: the dialect's (see Dialect).
    persona: a name in `chatload.chat.personas.PERSONAS`.
    group, arms: of a sweep (see `chatload.chat.sweep`).
    server: what the sessions of this process together learn about the server.
    """

    policy: RefreshPolicy
    request_timeout_s: float
    script: CustomerScript = CustomerScript()
    keeps_ended_s: float = 60.0
    long_poll_s: float = 0.0
    persona: str = "strict"
    agent_end_removes_customer: bool = False
    group: str = ""
    arms: tuple[SessionSettings, ...] = ()
    server: ObservedServer = field(default_factory=ObservedServer, compare=False, repr=False)

    @property
    def timeout_s(self) -> float:
        """The server's flex-disconnect-timeout, seconds."""
        return self.policy.timeout_s

    def for_a_run(self) -> SessionSettings:
        """Return the same settings for a new run, in which nothing is known about the server yet."""
        server = ObservedServer()
        return replace(self, server=server, arms=tuple(replace(arm, server=server) for arm in self.arms))
