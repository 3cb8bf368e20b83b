"""How the simulated chat service behaves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """Settings of one simulated chat service. Times in seconds; pairs are (low, high), uniform.

    agent_answer_s: from a customer's message to the agent's. agent_leaves_chance: of one chat, that
    its agent leaves agent_leaves_after_s after joining, which ends the chat. dropped_answer: what a
    chat dropped by flex-disconnect-timeout answers next, "0/true" or "2". keeps_ended_s: for this
    long an ended chat answers 0/true with its transcript; then it is unknown. limit_for_sessions:
    above it RequestChat is refused; None is no limit. idle_*: inactivity control, 0 is off.
    """

    flex_disconnect_timeout_s: float = 45.0
    service: str | None = "default"
    agents: bool = True
    agent_wait_s: tuple[float, float] = (0.5, 2.0)
    agent_answer_s: tuple[float, float] = (0.5, 2.0)
    agent_leaves_chance: float = 0.0
    agent_leaves_after_s: tuple[float, float] = (5.0, 30.0)
    dropped_answer: str = "0/true"
    keeps_ended_s: float = 60.0
    limit_for_sessions: int | None = None
    idle_alert_s: float = 255.0
    idle_alert2_s: float = 0.0
    idle_close_s: float = 45.0
    seed: int = 0
