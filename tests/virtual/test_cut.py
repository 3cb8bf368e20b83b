"""Chats cut off by their driver, at every point at which one can be: the books balance each time."""

import pytest

from chatload.chat.personas import new_chat
from chatload.chat.policy import make_policy
from chatload.chat.settings import SessionSettings
from chatload.run.books import Books
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import FaultPlan
from chatload.simulator.model.service import ChatService
from chatload.virtual import driver
from chatload.virtual.network import NetworkModel
from tests.virtual.schedules import fault
from tests.virtual.test_findings import SCRIPT

FAULTS = (
    fault("status_1", 0.1),
    fault("drop_connection", 0.1),
    fault("http_503", 0.05),
    fault("status_2", 0.03),
    fault("early_end", 0.03),
    fault("outage", 1.0, (4.0, 6.0)),
)
NETWORK = NetworkModel(0.02, 0.8, loss=0.05, refused=0.1, stale=0.1)


def recorded(monkeypatch, settings):
    """What every chat of a virtual run was answered, in order: (settings of the chat, results)."""
    begun, told = {}, {}
    advance = driver._Driven._advance

    def made(settings, books, seed, started_at, *more):
        session = new_chat(settings, books, seed, started_at, *more)
        begun[session] = seed, started_at
        return session

    def advanced(driven, result):
        told.setdefault(driven.session, []).append(result)
        advance(driven, result)

    monkeypatch.setattr(driver, "new_chat", made)
    monkeypatch.setattr(driver._Driven, "_advance", advanced)
    server = SimulatorConfig(flex_disconnect_timeout_s=2.0, agent_wait_s=(0.1, 1.0), agent_leaves_chance=0.3)
    service = ChatService(server, FaultPlan(FAULTS, 1))
    driver.VirtualSwarm(settings, service, users=10, chats=40, network=NETWORK, stop_at=15.0).run()
    return [(*begun[session], results) for session, results in told.items()]


@pytest.mark.parametrize("persona", ["strict", "widget"])
def test_wherever_a_chat_is_cut_off_the_books_balance(monkeypatch, persona):
    settings = SessionSettings(make_policy("fixed", 2.0, 0.7), 0.6, SCRIPT, persona=persona)
    cuts = verdicts = 0
    for seed, started_at, results in recorded(monkeypatch, settings):
        for number in range(len(results) + 1):
            books = Books()
            session = new_chat(settings, books, seed, started_at)
            steps = session.steps()
            for result in results[:number]:
                if next_of(steps, result):
                    break
            verdict = session.record.verdict
            session.cut(99.0)
            session.cut(100.0)
            steps.close()
            assert session.record.verdict == (verdict or "cut_off")
            assert books.balanced() and books.started == books.verdicts.total() == 1
            assert session.record.requests == books.sent.total()
            assert not any(books.states.values())
            cuts, verdicts = cuts + (not verdict), verdicts + bool(verdict)
    assert cuts > 200 and verdicts == 40


def next_of(steps, result):
    """Whether the chat is over with this."""
    try:
        steps.send(result)
    except StopIteration:
        return True
    return False
