"""Soaks in virtual time: a constant load for hours or days, its windows cut as a real run's are.

python -m tests.virtual.soak --days 6 --runs 20        no drift is there; how often is one claimed?
python -m tests.virtual.soak --days 6 --leak 0.01      latency grows by 1 % an hour
"""

from __future__ import annotations

import argparse

from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript
from chatload.chat.settings import SessionSettings
from chatload.features.report.drift import Soak, find_drift, steady_part
from chatload.run.books import Books, RunBooks
from chatload.run.windows import Window, WindowCutter
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault, FaultPlan
from chatload.simulator.model.service import ChatService
from chatload.virtual.driver import VirtualSwarm
from chatload.virtual.network import NetworkModel

TIMEOUT_S = 45.0


class Soaked(VirtualSwarm):
    """A swarm whose books are cut into windows of `every_s` seconds; sessions are not kept."""

    def __init__(self, *arguments, every_s, **more):
        super().__init__(*arguments, on_ended=lambda chat: None, **more)
        self.windows: list[Window] = []
        self._cutter, self._every_s = WindowCutter(0.0), every_s
        self.at(every_s, self._cut)

    def _cut(self):
        self.windows.append(self._cutter.cut(self.now, RunBooks(Books.from_dict(self.books.to_dict()))))
        if self.now + self._every_s <= self.stop_at:
            self.at(self.now + self._every_s, self._cut)


def claims(found):
    """What drifts or jumps."""
    return [drift for drift in found.metrics if drift.drifts or drift.jumps]


def soak(hours, users, *faults, seed=0, every_s=60.0) -> list[Window]:
    """The windows of `users` customers who hold one chat after another for so many hours."""
    settings = SessionSettings(make_policy("fraction", TIMEOUT_S), 10.0, CustomerScript().with_chat_length(300.0))
    service = ChatService(SimulatorConfig(flex_disconnect_timeout_s=TIMEOUT_S, seed=seed), FaultPlan(faults, seed))
    network = NetworkModel(median_s=0.01, sigma=0.6, loss=0.0005)
    swarm = Soaked(
        settings, service, users=users, chats=10**9, seed=seed << 40, network=network, spread_s=10.0,
        stop_at=3600.0 * hours, every_s=every_s,
    )  # fmt: skip
    swarm.run()
    return swarm.windows


def drift_of(windows: list[Window], ended=True) -> Soak:
    """What is said of them."""
    steady = steady_part((window.start, window.end, window.open) for window in windows)
    return find_drift(windows, steady, TIMEOUT_S, ended)


def leak(growth_per_hour, delay_s=0.02) -> Fault:
    """Every answer takes longer, from hour to hour."""
    return Fault("slow", delay_s=delay_s, growth_per_hour=growth_per_hour)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=6.0)
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--leak", type=float, default=0.0, help="part by which answers get slower every hour")
    options = parser.parse_args()
    alarmed = 0
    for seed in range(1, options.runs + 1):
        found = drift_of(soak(24 * options.days, options.users, leak(options.leak), seed=seed))
        alarmed += bool(claims(found))
        told = [f"{d.metric} {d.level:.4g} {d.low:+.3g}..{d.high:+.3g}/h jumps {len(d.jumps)}" for d in claims(found)]
        print(f"seed {seed}: {found.why_not or '; '.join(told) or 'no drift'}", flush=True)
    print(f"{alarmed} of {options.runs} runs with a claim")


if __name__ == "__main__":
    main()
