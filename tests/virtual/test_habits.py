"""Every habit does in a virtual run what its name says, in the same way each time."""

from collections import Counter
from dataclasses import asdict, replace

import orjson
import pytest

from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.simulator.model.answers import NoAnswer
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault, FaultPlan
from chatload.simulator.model.service import ChatService
from chatload.virtual.driver import VirtualSwarm
from chatload.virtual.network import NetworkModel, Stalls
from tests.virtual.habits import FAULT_HABITS, NETWORK_HABITS, SERVER_HABITS, STARTS, TIMEOUT_HABITS

TIMEOUT = 2.0
SETTINGS = SessionSettings(
    make_policy("fixed", TIMEOUT, 1.0),
    1.0,
    CustomerScript(
        chat_length=Distribution("uniform", 1.0, 8.0),
        think=Distribution("lognormal", 0.8, 0.6),
        messages=Distribution("uniform", 0.0, 3.0),
    ),
)
SERVER = SimulatorConfig(
    flex_disconnect_timeout_s=TIMEOUT, agent_wait_s=(0.1, 1.0), agent_answer_s=(0.2, 1.0), agent_leaves_chance=0.3,
    agent_leaves_after_s=(0.5, 5.0),
)  # fmt: skip
NETWORK = NetworkModel(0.01)


class Recording(ChatService):
    """Keeps what it answered."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.answers = []

    def process(self, *arguments):
        answer = super().process(*arguments)
        self.answers.append(answer)
        return answer


def run(server=(), faults=(), network=(), chats=80, **more):
    """A run, and what the service answered in it."""
    service = Recording(replace(SERVER, **dict(server)), FaultPlan(faults, 1))
    swarm = VirtualSwarm(
        SETTINGS, service, users=20, chats=chats, seed=1, network=replace(NETWORK, **dict(network)), **more
    )
    return swarm.run(), service.answers


_CLOSED = (NoAnswer.CLOSED, NoAnswer.REFUSED)


def image(done, answers):
    told = [
        [answer.payload, answer.raw and len(answer.raw), answer.silence in _CLOSED, answer.silence is NoAnswer.LOST]
        for answer in answers
    ]
    return orjson.dumps([[asdict(record) for record in done.records], done.ledger, done.books.to_dict(), told])


PLAIN = image(*run())
HABITS = [
    *(pytest.param({"server": habit}, id=name) for name, habit in {**SERVER_HABITS, **TIMEOUT_HABITS}.items()),
    *(pytest.param({"faults": faults}, id=name) for name, faults in FAULT_HABITS.items()),
    *(pytest.param({"network": habit}, id=name) for name, habit in NETWORK_HABITS.items()),
]
#: What only a chat dropped for silence, or a key that was replaced, would show.
SHOWN_BY_LATE_CHATS = {"error codes, 0/true", "error codes, 2", "error code 8209 alone"}

SHOWN_BY_NOTHING = (
    "times out later than told", "never times out", "lengthens its timeout", "ends chats whose client never came back",
)  # fmt: skip


@pytest.mark.parametrize("habit", HABITS)
def test_a_habit_shows_is_the_same_each_time_and_the_books_balance(habit, request):
    done, answers = run(**habit)
    assert done.books.balanced() and done.books.started == len(done.records) == 80
    assert image(done, answers) == image(*run(**habit))
    name = request.node.callspec.id
    if name in SHOWN_BY_LATE_CHATS:
        late = {"faults": (Fault("lost", chance=0.2),), "server": {**habit["server"], "user_register_timeout_s": 0.0}}
        _, answers = run(**late)
        codes = {error["code"] for answer in answers for error in (answer.payload or {}).get("errors") or []}
        assert 8209 in codes
    elif name not in SHOWN_BY_NOTHING:
        assert image(done, answers) != PLAIN


# -- when a run begins -------------------------------------------------------------------------


@pytest.mark.parametrize("start", STARTS)
def test_a_run_is_the_same_wherever_its_clock_begins(start):
    stalls, arrivals = Stalls(((2.0, 3.5),)), [0.1 * n for n in range(80)]
    timing = {"stalls": stalls, "arrivals": arrivals, "stop_at": 7.0}
    first, _ = run(server={"service_time_s": 0.001}, **timing)
    moved, _ = run(server={"service_time_s": 0.001}, **timing, starts_at=start)
    assert [record.verdict for record in moved.records] == [record.verdict for record in first.records]
    assert moved.ended_at == pytest.approx(start + first.ended_at)
    for row, other in zip(first.ledger, moved.ledger, strict=True):
        assert row["end_reason"] == other["end_reason"]
        assert other["started_at"] == pytest.approx(start + row["started_at"])
        assert other["ended_at"] == pytest.approx(start + row["ended_at"])


def test_windows_of_faults_count_from_the_start_of_the_run():
    done, _ = run(faults=FAULT_HABITS["restarts"], starts_at=-1000.0)
    ends = {row["ended_at"] for row in done.ledger if row["end_reason"] == "restarted"}
    assert ends == {-996.0}


# -- restarts, and requests that come twice, late or never ---------------------------------------


def test_a_restart_ends_the_chats_of_that_instant_and_refuses_connections():
    done, answers = run(faults=FAULT_HABITS["restarts"])
    restarted = [row for row in done.ledger if row["end_reason"] == "restarted"]
    alive = [row for row in done.ledger if row["started_at"] < 4.0 <= row["ended_at"]]
    assert restarted == alive != [] and {row["ended_at"] for row in restarted} == {4.0}
    assert not [row for row in done.ledger if 4.0 < row["started_at"] < 7.2]
    assert any(answer.silence is NoAnswer.REFUSED for answer in answers)
    assert any("refused" in detail for record in done.records for detail in map(str, asdict(record).values()))


def contacts(done, operation):
    return Counter(row["chat_id"] for row in done.ledger for _, name, *_ in row["contacts"] if name == operation)


def test_a_duplicated_request_is_taken_twice_before_or_after_the_first_is_answered():
    done, _ = run(network={"duplicated": 1.0})
    assert len(done.ledger) == 160
    sent = sum(record.messages_sent for record in done.records)
    assert sent < sum(contacts(done, "SendMessage").values()) <= 2 * sent


def test_a_late_request_is_a_timeout_for_the_client_and_taken_afterwards():
    done, _ = run(network={"late": 1.0})
    assert {str(record.verdict) for record in done.records} == {"gave_up"}
    assert len(done.ledger) >= len(done.records)


def test_a_lost_request_is_a_timeout_and_not_in_the_ledger():
    done, _ = run(faults=(Fault("lost"),))
    assert {str(record.verdict) for record in done.records} == {"gave_up"} and done.ledger == []


def test_no_draw_is_made_for_habits_that_are_off():
    assert image(*run(network={"duplicated": 0.0, "late": 0.0})) == PLAIN


# -- a server whose timeout is not the one told ------------------------------------------------


def test_the_servers_timeout_may_differ_from_the_one_told():
    sooner, _ = run(server={"flex_disconnect_timeout_s": 0.8})
    assert SETTINGS.timeout_s == TIMEOUT
    expired = [row for row in sooner.ledger if row["end_reason"] == "expired"]
    assert len(expired) > 70 and all(row["max_gap_s"] <= 0.8 for row in expired)
    never, _ = run(server={"flex_disconnect_timeout_s": 0.0}, stop_at=5.0)
    assert not [row for row in never.ledger if row["end_reason"] == "expired"]
