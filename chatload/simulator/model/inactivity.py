"""Inactivity control: alert, alert2, close, counted from the last words of anyone [opt].

Options timeout-alert, timeout-alert2 and timeout-close of Chat Server. Polls do not count.
"""

from __future__ import annotations

from chatload.simulator.model.config import SimulatorConfig


def due(config: SimulatorConfig, last_words: float, alerts: int) -> float:
    """When it next acts, having given so many alerts since the last words."""
    if not config.idle_alert_s:
        return float("inf")
    waits = [config.idle_alert_s]
    if config.idle_alert2_s:
        waits.append(config.idle_alert2_s)
    waits.append(config.idle_close_s or float("inf"))
    return last_words + sum(waits[: alerts + 1])


def closes(config: SimulatorConfig, alerts: int) -> bool:
    """Whether its next act, after so many alerts, is to close the chat."""
    return alerts >= (2 if config.idle_alert2_s else 1)
