"""Chats with --poll-jitter, against the simulator's model."""

from collections import Counter
from itertools import pairwise

import pytest

from chatload.chat.effects import Exchange, Wait
from chatload.chat.personas import new_chat
from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.protocol.reply import Reply
from chatload.run.books import Books
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.service import ChatService
from chatload.virtual.driver import VirtualSwarm
from chatload.virtual.network import NetworkModel
from chatload.vocabulary import Outcome

CALL_S = 0.05
TALKS = CustomerScript(
    chat_length=Distribution("fixed", 300.0), messages=Distribution("fixed", 6),
    think=Distribution("uniform", 5.0, 30.0), waits_for_agent=False,
)  # fmt: skip
POLICIES = {"fixed": make_policy("fixed", 20.0, 6.0), "fraction": make_policy("fraction", 20.0)}


def requests(kind, jitter, seed=1, persona="strict", until=290.0):
    """(operation, instant, fields) of each request of a chat until then, when all are answered 0/false."""
    settings = SessionSettings(POLICIES[kind], 10.0, TALKS, persona=persona, poll_jitter=jitter)
    steps, now, sent = new_chat(settings, Books(), seed, 0.0).steps(), 0.0, []
    effect = next(steps)
    while now < until:
        if isinstance(effect, Wait):
            now = max(now, effect.until)
            effect = steps.send(None)
            continue
        sent.append((effect.operation, now, dict(effect.fields)))
        opening = effect.operation == "RequestChat"
        reply = Reply(Outcome.FINE, "chat", "user", "key", "1", 2) if opening else Reply(Outcome.FINE)
        effect = steps.send(Exchange(now, now, now + CALL_S, reply))
        now += CALL_S
    return sent


def polls(*arguments, **more):
    return [at for operation, at, _ in requests(*arguments, **more) if operation == "GetMessages"]


@pytest.mark.parametrize("persona", ["strict", "widget"])
def test_two_polls_are_never_further_apart_than_without_jitter_and_not_much_nearer(persona):
    times = polls("fixed", 0.25, persona=persona)
    gaps = [after - before for before, after in pairwise(times)]
    # A poll that is due while another request is under way leaves that much later.
    assert all(0.75 * 6.0 - CALL_S <= gap <= 6.0 + CALL_S for gap in gaps)
    assert max(gaps) - min(gaps) > 1.0 and len({round(gap, 6) for gap in gaps}) > 0.9 * len(gaps)


def test_by_the_fraction_policy_a_poll_leaves_within_its_share_of_the_last_contact():
    sent = requests("fraction", 0.25)
    silences = [after[1] - before[1] for before, after in pairwise(sent) if after[0] == "GetMessages"]
    assert all(0.75 * 10.0 - 1e-9 <= silence <= 10.0 + 1e-9 for silence in silences) and len(silences) > 20


def test_chats_that_began_together_do_not_stay_in_step():
    assert len({polls("fixed", 0.0, seed)[40] for seed in range(50)}) < 10
    assert len({round(polls("fixed", 0.25, seed)[40], 2) for seed in range(50)}) > 40
    # Nor at their first refresh, where that is due only after an interval.
    assert len({polls("fraction", 0.25, seed)[0] for seed in range(50)}) == 50


@pytest.mark.parametrize("kind", ["fixed", "fraction"])
def test_what_the_customer_does_is_the_same_with_jitter(kind):
    def texts(jitter):
        sent = requests(kind, jitter)
        return [(operation, fields.get("message")) for operation, _, fields in sent if operation != "GetMessages"]

    assert texts(0.25) == texts(0.0)
    assert sum(operation == "SendMessage" for operation, _ in texts(0.0)) == 6


def test_jitter_drops_no_chat_and_a_seed_replays_it():
    def run(seed):
        settings = SessionSettings(make_policy("deadline", 20.0), 5.0, TALKS, poll_jitter=0.5)
        service = ChatService(SimulatorConfig(flex_disconnect_timeout_s=20.0))
        return VirtualSwarm(settings, service, users=20, chats=40, seed=seed, network=NetworkModel()).run()

    one = run(1)
    assert Counter(record.verdict for record in one.records) == {"completed": 40}
    assert one.records == run(1).records != run(2).records
