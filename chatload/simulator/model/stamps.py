"""How a server stamps the events of its transcripts: the habits of its clocks and nodes, and events without a stamp.

Only what a client is told is changed. Deadlines and the ledger keep true time.
"""

from __future__ import annotations

from math import floor
from typing import Any

from chatload.simulator.model.config import CLOCKS, SimulatorConfig, changed
from chatload.simulator.model.draws import Draws
from chatload.simulator.model.ledger import LedgerEntry

#: `alias` of the first node; the others follow.
FIRST_ALIAS = 117


class Stamps:
    """The clocks of one service. started: its start (the caller's clock, seconds), from which steps and drift count."""

    __slots__ = ("_config", "_utc_offset", "started")

    def __init__(self, config: SimulatorConfig, utc_offset: float) -> None:
        """utc_offset: seconds since the Unix epoch at instant 0 of the caller's clock."""
        self._config, self._utc_offset = config, utc_offset
        self.started = 0.0

    def apply(self, item: dict[str, Any], at: float, entry: LedgerEntry) -> None:
        """Change the JSON of an event of a chat that happened at an instant. The same event is always told alike."""
        config = self._config
        draws = Draws(f"{config.seed}/{entry.chat_id}/event {item['index']}")
        if draws.happens(config.undated_chance):
            del item["utcTime"]
        else:
            item["utcTime"] = self._utc_ms(at, self._node(at, entry, draws))
        if not config.participant_ids:
            del item["from"]["participantId"]

    def alias(self, now: float, entry: LedgerEntry) -> str:
        """The name of the node that answers a request of a chat now."""
        draws = Draws(f"{self._config.seed}/{entry.chat_id}/answer {entry.contacts}")
        return str(FIRST_ALIAS + self._node(now, entry, draws))

    def _node(self, at: float, entry: LedgerEntry, draws: Draws) -> int:
        config = self._config
        if config.nodes == 1:
            return 0
        if config.node_changes == "event":
            return draws.bits() % config.nodes
        own = Draws(f"{config.seed}/{entry.chat_id}/nodes")
        first, onward = own.bits() % config.nodes, 1 + own.bits() % (config.nodes - 1)
        moved = at >= entry.started_at + own.within(config.node_moves_after_s)
        return (first + onward) % config.nodes if moved else first

    def _utc_ms(self, at: float, node: int) -> int:
        config, elapsed = self._config, at - self.started
        shown = self._utc_offset + at + config.clock_offset_s + config.clock_drift_ppm * 1e-6 * elapsed
        if config.clock_step_s and elapsed >= config.clock_step_at_s:
            shown += config.clock_step_s
        if node:
            shown += config.node_offset_s * node / (config.nodes - 1)
        if config.utc_resolution_s == 0.001 and config.utc_rounds == "down":
            return int(shown * 1000)
        half = 0.5 if config.utc_rounds == "nearest" else 0.0
        return int(floor(shown / config.utc_resolution_s + half) * config.utc_resolution_s * 1000 + 0.5)


def stamps_of(config: SimulatorConfig, utc_offset: float) -> Stamps | None:
    """The clocks of a service; None where all its stamps are true, to the millisecond."""
    habits = changed(config, CLOCKS) or config.undated_chance > 0 or not config.participant_ids
    return Stamps(config, utc_offset) if habits else None
