"""Hooks in virtual time: what customers say by `next_message`, and what `on_event` is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chatload import (
    ChatService,
    CustomerScript,
    Distribution,
    Fault,
    FaultPlan,
    RefreshPolicy,
    SessionSettings,
    SimulatorConfig,
    VirtualSwarm,
)

SCRIPT = CustomerScript(
    chat_length=Distribution("fixed", 300.0), messages=Distribution("fixed", 1.0), think=Distribution("fixed", 2.0)
)
SETTINGS = SessionSettings(RefreshPolicy("fixed", 45.0, 3.0), 10.0, SCRIPT)


class Speaker:
    """Says three things, and remembers what it hears; leaves then, if asked to."""

    has_messages = True

    def __init__(self, leaves=False, texts=("one", "two", "three")):
        self.leaves, self.texts = leaves, texts
        self.said, self.events = {}, {}

    def next_message(self, customer):
        said = self.said.setdefault(customer.number, [])
        if len(said) == len(self.texts):
            if self.leaves:
                customer.leave()
            return None
        said.append(self.texts[len(said)])
        return said[-1]

    def on_event(self, customer, event):
        assert customer.chat_id
        self.events.setdefault(customer.number, []).append(event)


class Listening(ChatService):
    """A service that remembers the texts it was sent."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.texts = {}

    def process(self, now, operation, chat_id, fields, *more):
        if operation == "SendMessage":
            self.texts.setdefault(chat_id, []).append(fields["message"])
        return super().process(now, operation, chat_id, fields, *more)


def run(hooks, settings=SETTINGS, chats=5, **config):
    service = Listening(SimulatorConfig(agent_wait_s=(1.0, 5.0), **config), FaultPlan())
    made = VirtualSwarm(settings, service, users=chats, chats=chats, seed=3, hooks=hooks).run()
    assert made.books.balanced()
    return made, service


@pytest.mark.parametrize("persona", ["strict", "widget"])
@pytest.mark.parametrize("shows_typing", [True, False])
def test_a_customer_says_what_the_hook_returns_once_and_in_order(persona, shows_typing):
    hooks = Speaker()
    settings = replace(SETTINGS, persona=persona, script=replace(SCRIPT, shows_typing=shows_typing))
    made, service = run(hooks, settings)
    # Three messages, although the script says one: their number is the hook's.
    assert list(service.texts.values()) == [["one", "two", "three"]] * 5
    assert [record.messages_sent for record in made.records] == [3] * 5
    assert all(said == ["one", "two", "three"] for said in hooks.said.values())
    assert {record.verdict for record in made.records} == {"completed"}
    assert all(record.ended_at - record.accepted_at > 299 for record in made.records)


def test_a_failed_message_is_said_again_and_not_asked_for_again():
    hooks = Speaker(texts=("a", "b"))
    faults = FaultPlan([Fault("status_1", chance=0.5, operations=("SendMessage",))])
    service = Listening(SimulatorConfig(agent_wait_s=(1.0, 5.0)), faults)
    VirtualSwarm(SETTINGS, service, users=20, chats=20, seed=3, hooks=hooks).run()
    assert all(said == ["a", "b"] for said in hooks.said.values())
    assert [list(dict.fromkeys(texts)) for texts in service.texts.values()] == [["a", "b"]] * 20
    assert sum(map(len, service.texts.values())) > 60, "each is sent twice on average"


def test_a_customer_may_leave():
    made, _ = run(Speaker(leaves=True))
    assert {record.verdict for record in made.records} == {"completed"}
    assert all(record.ended_at - record.accepted_at < 120 for record in made.records)


def test_events_are_told_once_with_their_texts():
    hooks = Speaker()
    made, _ = run(hooks)
    for events in hooks.events.values():
        kinds = [(event.kind, event.who) for event in events]
        assert kinds[0] == ("ParticipantJoined", "Client") and ("ParticipantJoined", "Agent") in kinds
        assert [event.position for event in events] == sorted({event.position for event in events})
        heard = [event.text for event in events if event.kind == "Message" and event.who == "Agent"]
        assert heard and all(heard)
        assert [e.text for e in events if e.kind == "Message" and e.who == "Client"] == ["one", "two", "three"]
    told = sum(len([e for e in events if e.kind == "Message" and e.who == "Agent"]) for events in hooks.events.values())
    assert told == sum(record.messages_received for record in made.records)


class Quiet(Speaker):
    """Only listens: the script says how much is said."""

    has_messages = False


def test_a_hook_that_only_listens_changes_nothing():
    plain, _ = run(None)
    heard, _ = run(Quiet())
    assert heard.records == plain.records and [record.messages_sent for record in plain.records] == [1] * 5
