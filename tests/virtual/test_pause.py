"""A generator on a virtual machine that is paused: its monotonic clock stands still, the server's timeouts go on."""

import pytest

from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript
from chatload.chat.settings import SessionSettings
from chatload.features.report.summary import summarize
from chatload.run.reader import RunReader
from chatload.run.settings import RunSettings
from chatload.run.writer import RunWriter
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.service import ChatService
from chatload.virtual.driver import VirtualSwarm
from chatload.vocabulary import IncidentKind, RunResult
from tests.run_files import add_sessions, put_books

TIMEOUT_S, PAUSED_AT_S, PAUSE_S = 5.0, 20.0, 12.0


class PausedService(ChatService):
    """The service as a client sees it whose clock stood still for a while."""

    def draw(self, now, operation):
        return super().draw(self._true(now), operation)

    def process(self, now, *arguments):
        return super().process(self._true(now), *arguments)

    def _true(self, now):
        return now + PAUSE_S if now >= PAUSED_AT_S else now


@pytest.fixture(scope="module", params=["0/true", "2"])
def run(request):
    server = SimulatorConfig(flex_disconnect_timeout_s=TIMEOUT_S, agents=False, dropped_answer=request.param)
    settings = SessionSettings(
        make_policy("fixed", TIMEOUT_S, 1.0), 2.0, CustomerScript(waits_for_agent=False).with_chat_length(15.0)
    )
    return VirtualSwarm(settings, PausedService(server), users=10, chats=40, seed=1).run()


def summary_of(folder, run, jumped_at=None):
    settings = RunSettings(flex_disconnect_timeout=TIMEOUT_S, thresholds=("dropped.rate < 50%",))
    with RunWriter.create(folder, settings, started_at=0.0) as writer:
        add_sessions(writer, run.records)
        put_books(writer, "local", run.books)
        if jumped_at is not None:
            writer.incident(IncidentKind.CLOCK_JUMPED, "the wall clock jumped ahead by 12.0 s", jumped_at)
        writer.finish(run.ended_at)
    with RunReader.open(folder) as reader:
        return summarize(reader)


def test_the_verdicts_alone_blame_the_server(run):
    ended = {record.verdict for record in run.records if PAUSED_AT_S < record.ended_at < PAUSED_AT_S + TIMEOUT_S}
    assert ended & {"dropped_early", "failed"}


@pytest.mark.parametrize("after_s", [0.0, 300.0])
def test_a_jump_of_the_wall_clock_then_makes_the_run_invalid(run, tmp_path, after_s):
    """The clock may be corrected long after the pause."""
    summary = summary_of(tmp_path / "run", run, PAUSED_AT_S + after_s)
    assert summary["result"] == RunResult.INVALID
    (why,) = summary["invalid_reasons"]
    assert why.startswith("the wall clock jumped ahead by 12.0 s. A pause may have caused the end of ")


def test_a_clock_that_was_set_while_no_chat_ended_badly_changes_nothing(run, tmp_path):
    without = summary_of(tmp_path / "without", run)
    before = summary_of(tmp_path / "before", run, PAUSED_AT_S - 3 * TIMEOUT_S)
    much_later = summary_of(tmp_path / "later", run, PAUSED_AT_S + 2000.0)
    assert without["result"] == before["result"] == much_later["result"] != RunResult.INVALID
