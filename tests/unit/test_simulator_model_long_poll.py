"""Held GetMessages: when they are answered, and what they mean for the clocks."""

import pytest

from chatload.simulator.model.faults import Fault
from tests.unit.simulated import TIMEOUT, Client, kinds, service, status

HOLD = 4.0


class Waiter(Client):
    """Holds one request the way a driver of the model does."""

    def hold(self, at, position="2"):
        answer = self.answer(at, position=position)
        assert answer.held is not None and answer.payload is None
        self.woken = 0
        answer.held.wake = self._woken
        return answer.held

    def _woken(self):
        self.woken += 1


def holding(**changes):
    return Waiter(service(long_poll_s=HOLD, **changes))


def test_without_an_event_it_is_answered_at_its_until_and_not_before():
    client = holding()
    hold = client.hold(1.0)
    assert client.chats.hold_due(hold) == 5.0
    assert client.chats.resume(4.999, hold).held is hold
    answer = client.chats.resume(5.0, hold)
    assert answer.held is None and status(answer.payload) == (0, False)
    assert (answer.payload["messages"], answer.payload["nextPosition"]) == ([], 2)


@pytest.mark.parametrize("position", [None, "0", "1", "x"])
def test_what_has_news_or_wants_none_is_answered_at_once(position):
    answer = holding().answer(1.0, **({} if position is None else {"position": position}))
    assert answer.held is None and answer.payload["statusCode"] == 0


def test_other_operations_and_an_ended_chat_are_answered_at_once():
    client = holding()
    assert client.answer(1.0, "StartTyping", position="9").held is None
    assert client.answer(2.0, "Disconnect", position="9").held is None
    assert client.answer(3.0, position="9").held is None


@pytest.mark.parametrize("kind", ["slow", "stall", "malformed", "status_1", "early_end"])
def test_what_a_fault_strikes_is_answered_at_once(kind):
    assert holding().answer(1.0, position="2", fault=Fault(kind, reaches=None)).held is None


@pytest.mark.parametrize("other, event", [("SendMessage", "Message"), ("Disconnect", "ParticipantLeft")])
def test_an_event_by_another_request_wakes_it(other, event):
    client = holding()
    hold = client.hold(1.0)
    client.ask(2.0, other, message="hi")
    assert client.woken
    answer = client.chats.resume(2.0, hold).payload
    assert kinds(answer) == [(event, "Client")] and answer["chatEnded"] is (other == "Disconnect")
    assert client.row(3.0)["late_contact_at"] is None


def test_what_others_do_of_themselves_comes_at_its_instant():
    client = holding(agents=True, agent_wait_s=(2.0, 2.0))
    hold = client.hold(1.0)
    assert client.chats.hold_due(hold) == 2.0
    assert kinds(client.chats.resume(2.0, hold).payload) == [("ParticipantJoined", "Agent")]


def test_a_request_that_shortens_the_wait_wakes_it():
    """The agent's answer is planned only once something has been said."""
    client = holding(agents=True, agent_wait_s=(0.5, 0.5), agent_answer_s=(1.0, 1.0), typing_events=False)
    hold = client.hold(1.0, position="4")
    client.ask(1.5, "SendMessage", message="hi")
    assert client.woken and client.chats.resume(1.5, hold).held is hold
    assert client.chats.hold_due(hold) == 2.5
    assert kinds(client.chats.resume(2.5, hold).payload) == [("Message", "Agent")]


def test_inactivity_control_closes_a_chat_that_is_held():
    client = holding(idle_alert_s=2.0, idle_close_s=1.0)
    hold = client.hold(2.5, position="3")
    assert client.chats.hold_due(hold) == 3.0
    client.chats.sweep(3.5)
    assert client.woken
    assert status(client.chats.resume(3.5, hold).payload) == (0, True)
    row = client.row(9.0)
    assert (row["end_reason"], row["ended_at"], row["late_contact_at"]) == ("idle", 3.0, None)


def test_the_next_poll_lets_the_one_before_go():
    client = holding()
    first = client.hold(1.0)
    woken = []
    first.wake = lambda: woken.append(True)
    second = client.hold(2.0)
    assert woken and client.chats.hold_due(first) < 2.0
    assert client.chats.resume(2.0, first).payload["statusCode"] == 0
    assert client.chats.resume(2.0, second).held is second
    assert client.row(2.5)["contacts"][1:] == [[1.0, "GetMessages", 2.0], [2.0, "GetMessages"]]


# -- the flex-disconnect-timeout -----------------------------------------------------------------


@pytest.mark.parametrize("timeout, hold", [(10.0, 4.0), (2.0, 30.0)])
def test_silence_counts_from_the_answer_and_no_expiry_strikes_before(timeout, hold):
    client = Waiter(service(long_poll_s=hold, flex_disconnect_timeout_s=timeout))
    held = client.hold(1.0)
    client.chats.sweep(1.0 + hold)
    assert client.chats.live_sessions == 1
    client.chats.resume(1.0 + hold, held)
    client.chats.sweep(1.0 + hold + timeout)
    assert client.chats.live_sessions == 1
    client.chats.sweep(1.001 + hold + timeout)
    row = client.row(100.0)
    assert (row["end_reason"], row["ended_at"]) == ("expired", 1.0 + hold + timeout)


def test_silence_counts_from_the_client_hanging_up():
    client = holding()
    client.chats.abandon(3.0, client.hold(1.0))
    client.chats.sweep(2.999 + TIMEOUT)
    assert client.chats.live_sessions == 1
    assert client.row(99.0)["ended_at"] == 3.0 + TIMEOUT


def test_hanging_up_after_the_answer_changes_nothing():
    client = holding()
    hold = client.hold(1.0)
    client.chats.resume(5.0, hold)
    client.chats.abandon(9.0, hold)
    assert client.row(99.0)["ended_at"] == 5.0 + TIMEOUT


def test_a_held_request_is_one_contact_and_ends_the_silence_as_long_as_it_lasts():
    client = holding()
    client.chats.resume(5.0, client.hold(1.0))
    client.ask(7.0)
    row = client.row(8.0)
    assert row["contacts"] == [[0.0, "RequestChat"], [1.0, "GetMessages", 5.0], [7.0, "GetMessages"]]
    assert row["max_gap_s"] == 2.0


def test_what_comes_while_one_is_held_ends_no_silence():
    client = holding()
    hold = client.hold(0.5, position="3")
    client.ask(4.0, "StartTyping")
    client.chats.resume(4.5, hold)
    assert client.row(5.0)["max_gap_s"] == 0.5


def test_a_chat_forgotten_meanwhile_is_unknown():
    client = holding(keeps_ended_s=0.0)
    hold = client.hold(1.0)
    client.ask(2.0, "Disconnect")
    client.chats.sweep(3.0)
    assert client.chats.resume(3.0, hold).payload["statusCode"] == 2
