"""Schedules of virtual runs: everything that can go wrong or be unusual, drawn by a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from chatload.chat.contacts import ContactLog
from chatload.chat.engine import ChatEngine
from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault, FaultPlan
from chatload.simulator.model.service import ChatService
from chatload.virtual.driver import VirtualRun, VirtualSwarm
from chatload.virtual.network import NetworkModel, Stalls
from tests.virtual.habits import FAULT_HABITS, NETWORK_HABITS, SERVER_HABITS, STARTS, TIMEOUT_HABITS


@dataclass(frozen=True)
class Schedule:
    """One virtual run, fully determined."""

    timeout_s: float
    policy: tuple
    request_timeout_s: float
    faults: tuple[Fault, ...]
    network: NetworkModel
    stalls: Stalls
    server: SimulatorConfig
    script: CustomerScript
    users: int
    stop_at: float | None
    seed: int
    persona: str = "strict"
    starts_at: float = 0.0
    habits: tuple[str, ...] = ()

    def run(self, chats: int, logs: dict[str, ContactLog] | None = None) -> VirtualRun:
        """Run it. logs: receives, by chat id, the contacts on which the verdict of each accepted chat is based."""
        settings = SessionSettings(
            make_policy(*self.policy), self.request_timeout_s, self.script, 60.0, self.server.long_poll_s, self.persona
        )
        service = ChatService(self.server, FaultPlan(self.faults, self.seed))
        swarm = VirtualSwarm(
            settings,
            service,
            users=self.users,
            chats=chats,
            seed=self.seed,
            network=self.network,
            stalls=self.stalls,
            stop_at=self.stop_at,
            starts_at=self.starts_at,
        )
        if logs is not None:

            def ended(chat: ChatEngine) -> None:
                swarm.records.append(chat.record)
                if chat.contacts is not None:
                    logs[chat.record.chat_id] = chat.contacts

            swarm.on_ended = ended
        return swarm.run()


def fault(kind, chance, window=None, delay_s=0.0, reaches=None, operations=None):
    more = {} if reaches is None else {"reaches": reaches}
    start, end = window or (0.0, None)
    return Fault(
        kind=kind, chance=chance, from_s=start, until_s=end, delay_s=delay_s,
        operations=None if operations is None else frozenset(operations), **more,
    )  # fmt: skip


TRANSFERS = {"transfer_chance": 0.7, "transfer_after_s": (0.2, 3.0), "transfer_gap_s": (0.05, 1.5)}
#: What a server may do besides: name -> settings. Times suit timeouts of a few seconds.
HABITS: Mapping[str, Mapping[str, Any]] = {
    "alerts twice": {"idle_alert_s": 1.0, "idle_alert2_s": 0.7, "idle_close_s": 0.5},
    "rotates keys": {"key_rotates_answers": 2},
    "repeats events": {"repeat_events": 4},
    "has bots": {"bot_chance": 0.6},
    "has supervisors": {
        "supervisor_chance": 0.7,
        "supervisor_after_s": (0.1, 1.0),
        "supervisor_stays_s": (0.1, 1.0),
    },
    "pushes notices": {"notice_every_s": 0.6},
    "has talkative agents": {"agent_types": True, "agent_pushes_chance": 0.5},
    "limits customers": {"limit_for_flex_users": 8, "limits_restore_threshold": 0.5},
    "holds": {"long_poll_s": 0.7},
    "holds for longer than the timeout": {"long_poll_s": 6.0},
    "hands chats on": TRANSFERS,
    "hands chats on to a namesake": {**TRANSFERS, "transfer_overlaps": True, "agents_share_name": True},
    "sweeps": {"sweep_interval_s": 1.5},
    "ends chats early": {"removed_chance": 0.3, "removed_after_s": (0.2, 6.0)},
    **SERVER_HABITS,
    **TIMEOUT_HABITS,
}
#: All habits, of the server, of its faults and of the network, in the order in which the schedules take turns.
ALL_HABITS = (*HABITS, *FAULT_HABITS, *NETWORK_HABITS)

_CHANCES = (0.01, 0.05, 0.2)


def with_habit(schedule: Schedule, name: str) -> Schedule:
    """The schedule with one habit more."""
    schedule = replace(schedule, habits=(*schedule.habits, name))
    if name in HABITS:
        return replace(schedule, server=replace(schedule.server, **HABITS[name]))
    if name in FAULT_HABITS:
        return replace(schedule, faults=(*FAULT_HABITS[name], *schedule.faults))
    return replace(schedule, network=replace(schedule.network, **NETWORK_HABITS[name]))


def draw(seed: int) -> Schedule:
    """The schedule of a seed: of a server with up to three habits besides its faults. Some on a fixed clock are of
    the vendor's browser client. Every second one has no faults and a clean network, so that habits show by
    themselves; every second one has a habit in turn."""
    random = Random(seed)
    schedule = _plain(random, seed)
    if random.random() < 0.5:
        schedule = replace(schedule, faults=(), network=replace(schedule.network, loss=0.0, refused=0.0, stale=0.0))
        if random.random() < 0.5:
            schedule = replace(schedule, stalls=Stalls())
    names = random.sample(ALL_HABITS, random.randint(0, 3))
    if seed % 2:
        names.append(ALL_HABITS[seed // 2 % len(ALL_HABITS)])
    for name in names:
        schedule = with_habit(schedule, name)
    widget = schedule.policy[0] == "fixed" and random.random() < 0.25
    starts_at = random.choice(STARTS)
    return replace(schedule, persona="widget" if widget else "strict", starts_at=starts_at)


def _fault(random: Random) -> Fault:
    chance, start = random.choice(_CHANCES), random.uniform(0, 15)
    window = start, start + random.uniform(0.2, 8)
    kind = random.choice(("any", "any", "given", "slow", "outage", "window"))
    if kind == "any":
        name = random.choice(["status_1", "http_500", "http_503", "malformed", "drop_connection"])
        return fault(name, chance, reaches=random.random() < 0.5)
    if kind == "given":
        return fault(random.choice(["status_1_violation", "status_2", "early_end", "unknown_status", "html"]), chance)
    if kind == "slow":
        return fault(random.choice(["slow", "stall"]), chance, delay_s=random.uniform(0.05, 6))
    if kind == "outage":
        return fault("outage", 1.0, window)
    return fault(random.choice(["status_1", "http_500", "drop_connection"]), 1.0, window)


def _stalls(random: Random, timeout: float) -> Stalls:
    windows, at = [], 0.0
    for _ in range(random.choice((0, 0, 1, 2, 3))):
        wait, length = random.uniform(1, 6), random.uniform(0.05, 2.5 * timeout)
        windows.append((at + wait, at + wait + length))
        at += wait + length
    return Stalls(tuple(windows))


def _plain(random: Random, seed: int) -> Schedule:
    def pick(values: Sequence[Any]) -> Any:
        return random.choice(values)

    timeout = pick([1.0, 2.0, 5.0])
    policies = [
        ("fixed", timeout),
        ("fixed", timeout, 0.95 * timeout),
        ("fixed", timeout, 1.02 * timeout, None, True),
        ("fixed", timeout, 1.1 * timeout, None, True),
        ("fixed", timeout, 1.5 * timeout, None, True),
        ("fraction", timeout, None, 0.5),
        ("fraction", timeout, None, 0.98),
        ("deadline", timeout),
    ]
    return Schedule(
        timeout,
        pick(policies),
        pick([0.3, 1.0]) * timeout * pick([1, 3]),
        tuple(_fault(random) for _ in range(random.randint(0, 4))),
        NetworkModel(
            pick([0.0005, 0.01, 0.05]), pick([0.2, 0.8]), pick([0.0, 0.0, 0.01, 0.05]), pick([0.0, 0.0, 0.05]),
            pick([0.0, 0.0, 0.03]),
        ),
        _stalls(random, timeout),
        SimulatorConfig(
            flex_disconnect_timeout_s=timeout,
            dropped_answer=pick(["0/true", "2"]),
            agent_wait_s=(0.1, 1.0),
            agent_answer_s=(0.2, 1.0),
            agent_leaves_chance=pick([0.0, 0.3]),
            agent_leaves_after_s=(0.5, 5.0),
            keeps_ended_s=60.0,
            idle_alert_s=pick([255.0, 2.0]),
            idle_close_s=1.0,
            limit_for_sessions=pick([None, None, 10]),
            seed=seed,
        ),
        CustomerScript(
            chat_length=Distribution("uniform", 1.0, 4 * timeout),
            think=Distribution("lognormal", 0.8, 0.6),
            typing=Distribution("lognormal", 0.4, 0.5),
            answer_patience=Distribution("fixed", 3.0),
            messages=Distribution("uniform", 0.0, 3.0),
            shows_typing=random.random() < 0.5,
            waits_for_agent=random.random() < 0.5,
        ),
        pick([5, 30]),
        pick([None, None, None, 6.0]),
        random.randrange(2**20),
    )  # fmt: skip
