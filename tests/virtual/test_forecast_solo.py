"""Customers held one after the other: the same fates as on a common clock, and the shortcuts change nothing."""

from collections import Counter
from random import Random

import orjson
import pytest

from chatload.chat.personas import new_chat
from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.features.forecast import lean_server
from chatload.features.forecast.conditions import Agents, Conditions, Odds, Stretch, Weather
from chatload.features.forecast.solo import Solo
from chatload.protocol.reply import ResponseNames, parse_payload
from chatload.run.books import Books
from chatload.run.histogram import Histogram
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.service import ChatService

SCRIPT = CustomerScript(
    chat_length=Distribution("uniform", 2.0, 60.0), messages=Distribution("uniform", 0.0, 3.0),
    think=Distribution("lognormal", 2.0, 0.6), typing=Distribution("fixed", 1.0),
)  # fmt: skip
POLICIES = [
    ("fixed", 5.0, 1.0), ("fixed", 5.0, 4.9), ("fixed", 5.0, 6.0, None, True), ("fraction", 5.0, None, 0.5),
    ("fraction", 5.0, None, 0.97), ("deadline", 5.0),
]  # fmt: skip
FAILURES = (
    ("connection", 0.01), ("http_error", 0.01), ("malformed", 0.005), ("refused", 0.005), ("status_1", 0.02),
    ("timeout", 0.01),
)  # fmt: skip


def trips(median, sigma=0.5, seed=1):
    histogram, random = Histogram(), Random(seed)
    for _ in range(2000):
        histogram.add(median * random.lognormvariate(0.0, sigma))
    return histogram


def conditions(**more):
    calm = {"": Odds(trips(0.05), FAILURES), "GetMessages": Odds(trips(0.03, 1.0), FAILURES)}
    bad = {"": Odds(trips(0.4), (("timeout", 0.9),))}
    agents = Agents(0.8, 0.7, ((0.0, 0.0), (5.0, 0.01), (30.0, 0.0)), ((0.0, 0.001),), 0.0005, 0.0005)
    stretches = (Stretch(0.0, calm), Stretch(40.0, bad, 0, 0.3), Stretch(49.0, calm))
    return Conditions(**{"stretches": stretches, "length_s": 90.0, "agents": agents, **more})


class EveryStep(Solo):
    """Every refresh is the engine's own."""

    def session(self, seed):
        return new_chat(self.settings, self.books, seed, self.now)


def image(make, policy, persona="strict", customers=12, **more):
    """All that came of it, in bytes."""
    settings = SessionSettings(make_policy(*policy), 2.0, SCRIPT, persona=persona)
    books, records = Books(), []
    solo = make(settings, Weather(conditions(**more)), books, lambda session: records.append(session), seed=3)
    for number in range(customers):
        solo.customer(number, number / customers, 200.0)
    solo.close()
    assert books.balanced()
    rows = [[session.record.to_dict(), timeline and timeline.to_dict()]
            for session in records for timeline in [session.timeline()]]  # fmt: skip
    return orjson.dumps([rows, books.to_dict()], option=orjson.OPT_SORT_KEYS), Counter(books.verdicts)


@pytest.mark.parametrize(
    "policy, persona", [*((policy, "strict") for policy in POLICIES), (POLICIES[0], "widget"), (POLICIES[2], "widget")]
)
def test_skimmed_refreshes_come_out_as_the_engines_own_byte_for_byte(policy, persona):
    skimmed, verdicts = image(Solo, policy, persona)
    assert skimmed == image(EveryStep, policy, persona)[0]
    assert len(verdicts) >= 4, verdicts


def test_most_refreshes_are_skimmed():
    steps = Counter()

    class Counting(Solo):
        def _transmit(self, request, now):
            steps[request.operation] += 1
            return super()._transmit(request, now)

    settings = SessionSettings(make_policy("fixed", 5.0, 1.0), 2.0, SCRIPT)
    books = Books()
    solo = Counting(settings, Weather(conditions(stretches=(Stretch(0.0, {"": Odds(trips(0.02))}),))), books, id)
    solo.customer(1, 0.0, 3000.0)
    solo.close()
    assert steps["GetMessages"] < 0.25 * books.sent["GetMessages"]


class FullServer(Solo):
    """The same customers at the simulator's own model."""

    def session(self, seed):
        return new_chat(self.settings, self.books, seed, self.now)

    def _process(self, at, request):
        if request.operation == "RequestChat":
            config = SimulatorConfig(
                flex_disconnect_timeout_s=self.settings.timeout_s, agent_wait_s=(0.8, 0.8), agent_answer_s=(0.7, 0.7),
                agent_leaves_chance=1.0, agent_leaves_after_s=(20.0, 20.0), idle_alert_s=0.0,
                keeps_ended_s=self.settings.keeps_ended_s, dropped_answer=self._conditions.dropped_answer,
            )  # fmt: skip
            self.service, self.chat = ChatService(config), True
        fields = request.fields
        answer = self.service.process(at, request.operation, fields.get("chat_id"), fields)
        return parse_payload(ResponseNames(), answer.payload)


@pytest.mark.parametrize("dropped_answer", ["0/true", "2"])
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_the_lean_server_gives_every_chat_the_fate_that_the_simulators_gives_it(policy, dropped_answer, monkeypatch):
    # The two draw differently: here agents come, answer and leave after fixed times.
    monkeypatch.setattr(lean_server, "around", lambda mean, random: mean)
    monkeypatch.setattr(lean_server, "age_of", lambda hazard, random: 20.8 if hazard else float("inf"))

    def fates(make):
        settings = SessionSettings(make_policy(*policy), 2.0, SCRIPT)
        books, found = Books(), []
        agents = Agents(0.8, 0.7, leaving=((0.0, 1.0),))
        weather = Weather(conditions(dropped_answer=dropped_answer, agents=agents))
        solo = make(settings, weather, books, lambda session: found.append(session.record), seed=7)
        for number in range(8):
            solo.customer(number, 0.1 * number, 300.0)
        solo.close()
        return [(r.verdict, r.blame, r.why, r.started_at, r.ended_at, r.gap_lower_s, r.requests, r.messages_sent,
                 r.messages_received) for r in found]  # fmt: skip

    lean = fates(Solo)
    assert lean == fates(FullServer)
    # Where every refresh is late, an agent hardly finds a chat to end.
    expected = {"dropped_late", "completed"} if policy[-1] is True else {"ended_by_agent", "completed"}
    assert expected < {fate[0] for fate in lean}
