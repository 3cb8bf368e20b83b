"""A server whose timeout is changed while chats are open: what the verdicts, the blame and the probe say of it."""

import pytest

from chatload.chat.script import CustomerScript, Distribution
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault
from chatload.virtual.network import NetworkModel, Stalls
from tests.virtual.schedules import Schedule
from tests.virtual.test_probe import probed, server_of
from tests.virtual.truth import contradictions, misplaced_blames

TIMEOUT_S, CHANGED_AT_S = 5.0, 12.0
#: Two stalls longer than the configured timeout: one before the change, and one when it has ended chats in time.
STALLS = Stalls(((4.0, 10.5), (20.0, 26.5)))
SCRIPT = CustomerScript(chat_length=Distribution("uniform", 10.0, 60.0), waits_for_agent=False, shows_typing=False)
SERVERS = {
    "stamps": {},
    "answers 2": {"dropped_answer": "2"},
    "error 8209": {"error_8209": True, "end_transcript": False},
    "error 8209, answers 2": {"error_8209": True, "dropped_answer": "2"},
}


def change(timeout_s, from_s=CHANGED_AT_S, open_chats=True):
    return Fault("timeout_change", from_s=from_s, timeout_s=timeout_s, open_chats=open_chats)


def judged(server, *faults, policy=("fraction", TIMEOUT_S, None, 0.8)):
    config = SimulatorConfig(flex_disconnect_timeout_s=TIMEOUT_S, agents=False, seed=3, **SERVERS[server])
    schedule = Schedule(
        TIMEOUT_S, policy, 2.0, faults, NetworkModel(0.005, 0.5), STALLS, config, SCRIPT, 20, None, 3
    )  # fmt: skip
    logs = {}
    run = schedule.run(120, logs)
    beyond, _ = contradictions(schedule, run, logs)
    misplaced, _ = misplaced_blames(schedule, run, logs)
    assert run.books.balanced() and not beyond and not misplaced, (beyond[:3], misplaced[:3])
    timeouts = {row["chat_id"]: row["timeout_s"] for row in run.ledger}
    return [(record, timeouts.get(record.chat_id)) for record in run.records]


@pytest.mark.parametrize("from_s, open_chats", [(CHANGED_AT_S, True), (5.0, False)])
@pytest.mark.parametrize("server", SERVERS)
def test_a_chat_that_a_shortened_timeout_drops_in_time_was_not_late(server, from_s, open_chats):
    chats = judged(server, change(2.0, from_s, open_chats))
    # Refreshed every 4 s, well within the configured 5 s.
    dropped = [record for record, timeout_s in chats if timeout_s == 2.0 and record.ended_at < STALLS.windows[1][0]]
    expected = "failed" if server == "answers 2" else "dropped_early"
    assert len(dropped) > 10 and {record.verdict for record in dropped} == {expected}


@pytest.mark.parametrize("server", SERVERS)
def test_after_that_silences_above_the_configured_timeout_have_no_blame(server):
    chats = judged(server, change(2.0))
    stalled = [record for record, _ in chats if (record.gap_lower_s or 0.0) > TIMEOUT_S]
    before = [record for record in stalled if record.ended_at < CHANGED_AT_S]
    after = [record for record in stalled if record.ended_at > CHANGED_AT_S]
    assert len(before) > 5 and {record.blame for record in before} - {""} == {"generator"}
    assert len(after) > 5 and {record.verdict for record in after} == {"dropped_unproven"}
    assert all(record.generator_suspect for record in after), "the run is invalid all the same"


@pytest.mark.parametrize("server", SERVERS)
def test_a_lengthened_timeout_drops_only_chats_that_were_late_by_both(server):
    chats = judged(server, change(6.0))
    drops = [(record, timeout_s) for record, timeout_s in chats if record.verdict.startswith("dropped")]
    assert {timeout_s for _, timeout_s in drops} == {5.0, 6.0}
    assert {record.verdict for record, _ in drops} <= {"dropped_late", "dropped_unproven"}
    assert {record.blame for record, _ in drops} <= {"generator", ""}


# -- the probe -----------------------------------------------------------------------------------------


def probed_during_change(answer, at_s, timeout_s, open_chats):
    fault = Fault("timeout_change", from_s=at_s, timeout_s=timeout_s, open_chats=open_chats)
    return probed(server_of(TIMEOUT_S, dropped_answer=answer), faults=[fault], configured_s=TIMEOUT_S)[0]


@pytest.mark.parametrize("answer", ["0/true", "2"])
@pytest.mark.parametrize("timeout_s", [4.0, 5.25])
def test_a_probe_during_a_change_for_open_chats_measures_one_of_both(answer, timeout_s):
    found = probed_during_change(answer, 2.5, timeout_s, True)
    assert any(found.timeout_lower_s <= real_s <= found.timeout_upper_s for real_s in (TIMEOUT_S, timeout_s))


@pytest.mark.parametrize("answer", ["0/true", "2"])
@pytest.mark.parametrize("timeout_s", [2.5, 4.0])
def test_a_probe_during_a_change_for_new_chats_has_one_value_within_its_bounds_or_says_that_answers_contradict(
    answer, timeout_s
):
    for at_s in (0.5, 2.5):
        found = probed_during_change(answer, at_s, timeout_s, False)
        said = "answers contradict each other" in str(found.warnings)
        has = [found.timeout_lower_s <= real_s <= found.timeout_upper_s for real_s in (TIMEOUT_S, timeout_s)]
        assert any(has) or said
        # Where only new chats die sooner, and nothing dates their ends, the bounds must not exclude both.
        assert all(has) or not said or answer == "0/true"
