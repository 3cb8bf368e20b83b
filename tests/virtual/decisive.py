"""How many late drops are proven on a clean network: python -m tests.virtual.decisive.

Each row is 2 000 chats of the strict persona that refresh every 1.3 timeouts, with agents who leave and customers
who disconnect.
"""

from __future__ import annotations

from collections import Counter

from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.service import ChatService
from chatload.virtual.driver import VirtualSwarm
from chatload.virtual.network import NetworkModel


def shares(timeout_s: float, dropped_answer: str, resolution_s: float) -> tuple[int, int]:
    """Late drops by the ledger that the run proves, and that it leaves unproven."""
    config = SimulatorConfig(
        flex_disconnect_timeout_s=timeout_s, dropped_answer=dropped_answer, utc_resolution_s=resolution_s
    )
    script = CustomerScript(chat_length=Distribution("uniform", 0.3 * timeout_s, 4 * timeout_s))
    settings = SessionSettings(make_policy("fixed", timeout_s, 1.3 * timeout_s, None, True), timeout_s, script)
    run = VirtualSwarm(settings, ChatService(config), users=100, chats=2000, network=NetworkModel(0.001, 0.5)).run()
    late = {row["chat_id"] for row in run.ledger if row["end_reason"] == "expired" and row["late_contact_at"]}
    verdicts = Counter(record.verdict for record in run.records if record.chat_id in late)
    return verdicts["dropped_late"], verdicts["dropped_unproven"]


def main() -> None:
    """Print a table."""
    for timeout_s in (2.0, 10.0, 45.0):
        for resolution_s in (0.001, 1.0):
            for answer in ("0/true", "2"):
                proven, unproven = shares(timeout_s, answer, resolution_s)
                share = unproven / max(1, proven + unproven)
                print(f"timeout {timeout_s:g} s, stamps to {resolution_s:g} s, answered {answer}: "
                      f"{unproven} of {proven + unproven} unproven ({share:.1%})")  # fmt: skip


if __name__ == "__main__":
    main()
