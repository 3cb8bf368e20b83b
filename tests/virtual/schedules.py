"""Fault schedules for virtual runs: everything that can go wrong, drawn by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from hypothesis import strategies as st

from chatload.session.policy import make_policy
from chatload.session.script import CustomerScript, Distribution
from chatload.session.settings import SessionSettings
from chatload.simulator.config import SimulatorConfig
from chatload.simulator.faults import Fault, FaultPlan
from chatload.simulator.model import ChatService
from chatload.virtual.driver import VirtualRun, VirtualSwarm
from chatload.virtual.network import NetworkModel, Stalls


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

    def run(self, chats: int) -> VirtualRun:
        settings = SessionSettings(
            make_policy(*self.policy), self.request_timeout_s, self.script, 60.0, self.server.long_poll_s, self.persona
        )
        service = ChatService(self.server, FaultPlan(self.faults, self.seed))
        return VirtualSwarm(
            settings,
            service,
            users=self.users,
            chats=chats,
            seed=self.seed,
            network=self.network,
            stalls=self.stalls,
            stop_at=self.stop_at,
        ).run()


def fault(kind, chance, window=None, delay_s=0.0, reaches=None, operations=None):
    more = {} if reaches is None else {"reaches": reaches}
    start, end = window or (0.0, None)
    return Fault(
        kind=kind, chance=chance, from_s=start, until_s=end, delay_s=delay_s,
        operations=None if operations is None else frozenset(operations), **more,
    )  # fmt: skip


CHANCES = st.sampled_from([0.01, 0.05, 0.2])
WINDOWS = st.tuples(st.floats(0, 15), st.floats(0.2, 8)).map(lambda w: (w[0], w[0] + w[1]))
FAULTS = st.one_of(
    st.builds(
        fault,
        st.sampled_from(["status_1", "http_500", "http_503", "malformed", "drop_connection"]),
        CHANCES,
        reaches=st.booleans(),
    ),
    st.builds(
        fault,
        st.sampled_from(["status_1_violation", "status_2", "early_end", "unknown_status", "html"]),
        CHANCES,
    ),
    st.builds(fault, st.sampled_from(["slow", "stall"]), CHANCES, delay_s=st.floats(0.05, 6)),
    st.builds(fault, st.just("outage"), st.just(1.0), WINDOWS),
    st.builds(fault, st.sampled_from(["status_1", "http_500", "drop_connection"]), st.just(1.0), WINDOWS),
)
TIMEOUTS = st.sampled_from([1.0, 2.0, 5.0])

TRANSFERS = {"transfer_chance": 0.7, "transfer_after_s": (0.2, 3.0), "transfer_gap_s": (0.05, 1.5)}
#: What a server may do besides: name -> settings. Times suit timeouts of a few seconds.
HABITS = {
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
}


@st.composite
def habitual(draw, habits=HABITS, least=0):
    """Schedules of a server with some of these habits, by the schedule's own seed: so all get their turn. Some on
    a fixed clock are of the vendor's browser client."""
    schedule = draw(schedules())
    random = Random(schedule.seed)
    server = schedule.server
    for name in random.sample(sorted(habits), random.randint(least, min(3, len(habits)))):
        server = replace(server, **habits[name])
    widget = schedule.policy[0] == "fixed" and random.random() < 0.3
    return replace(schedule, server=server, persona="widget" if widget else "strict")


@st.composite
def schedules(draw):
    timeout = draw(TIMEOUTS)
    policy = draw(
        st.sampled_from(
            [
                ("fixed", timeout),
                ("fixed", timeout, 0.95 * timeout),
                ("fixed", timeout, 1.02 * timeout, None, True),
                ("fixed", timeout, 1.5 * timeout, None, True),
                ("fraction", timeout, None, 0.5),
                ("fraction", timeout, None, 0.98),
                ("deadline", timeout),
            ]
        )
    )
    stalls, at = [], 0.0
    for wait, length in draw(st.lists(st.tuples(st.floats(1, 6), st.floats(0.05, 2.5 * timeout)), max_size=3)):
        stalls.append((at + wait, at + wait + length))
        at += wait + length
    return Schedule(
        timeout,
        policy,
        draw(st.sampled_from([0.3, 1.0])) * timeout * draw(st.sampled_from([1, 3])),
        tuple(draw(st.lists(FAULTS, max_size=4))),
        NetworkModel(
            draw(st.sampled_from([0.0005, 0.01, 0.05])), draw(st.sampled_from([0.2, 0.8])),
            draw(st.sampled_from([0.0, 0.0, 0.01, 0.05])), draw(st.sampled_from([0.0, 0.0, 0.05])),
            draw(st.sampled_from([0.0, 0.0, 0.03])),
        ),
        Stalls(tuple(stalls)),
        SimulatorConfig(
            flex_disconnect_timeout_s=timeout,
            dropped_answer=draw(st.sampled_from(["0/true", "2"])),
            agent_wait_s=(0.1, 1.0),
            agent_answer_s=(0.2, 1.0),
            agent_leaves_chance=draw(st.sampled_from([0.0, 0.3])),
            agent_leaves_after_s=(0.5, 5.0),
            keeps_ended_s=60.0,
            idle_alert_s=draw(st.sampled_from([255.0, 2.0])),
            idle_close_s=1.0,
            limit_for_sessions=draw(st.sampled_from([None, None, 10])),
        ),
        CustomerScript(
            chat_length=Distribution("uniform", 1.0, 4 * timeout),
            think=Distribution("lognormal", 0.8, 0.6),
            typing=Distribution("lognormal", 0.4, 0.5),
            answer_patience=Distribution("fixed", 3.0),
            messages=Distribution("uniform", 0.0, 3.0),
            shows_typing=draw(st.booleans()),
            waits_for_agent=draw(st.booleans()),
        ),
        draw(st.sampled_from([5, 30])),
        draw(st.sampled_from([None, None, None, 6.0])),
        draw(st.integers(0, 2**20)),
    )  # fmt: skip
