"""What the benchmark says of the accounting's cost, and that what is booked twice is what a chat books."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench import accounting
from bench.measures import store
from bench.results import Results, Scale
from bench.work import Step

SCALE = Scale()


def found(single_us=30.0, double_us=32.0, pairs=10, wobble=0.0):
    slices = []
    for number in range(pairs):
        drift = 1.0 + wobble * number
        pair = [[True, 1e-3 * double_us * drift, 1000], [False, 1e-3 * single_us * drift, 1000]]
        slices += pair if number % 2 else reversed(pair)
    return {"slices": slices, "stored_s": 0.02, "cpu_s": 1.0, "seconds": 10.0}


def test_booking_costs_what_a_refresh_takes_more_when_it_is_done_twice():
    cost = accounting.cost(found(), a_row_us=24.0)
    assert cost["us_per_refresh"] == pytest.approx(30.0)
    assert cost["booked_us"] == pytest.approx(2.0)
    assert cost["either_way_us"] == pytest.approx(0.0, abs=1e-9)
    assert (cost["stored_us"], cost["row_us"], cost["a_second_ms"]) == pytest.approx((1.0, 0.4, 2.0))
    assert cost["share"] == pytest.approx(3.4 / 30.4)


def test_a_machine_that_grows_slower_changes_both_turns_alike():
    cost = accounting.cost(found(wobble=0.1), a_row_us=0.0)
    assert cost["booked_us"] / cost["us_per_refresh"] == pytest.approx(2.0 / 30.0, rel=0.05)
    assert cost["either_way_us"] > 0


@pytest.mark.parametrize("slices", [[], [[True, 1.0, 5], [False, 1.0, 5]], [[True, 1.0, 0], [False, 1.0, 0]] * 3])
def test_nothing_is_said_of_too_little(slices):
    assert accounting.cost({**found(), "slices": slices}, 1.0) is None


def test_a_row_has_a_cost(tmp_path):
    assert 0.1 < accounting.row_us(tmp_path / "rows") < 10_000
    assert accounting.read(tmp_path / "none", tmp_path / "more") is None


def test_the_accounting_is_judged_by_its_sum():
    results = Results()
    step = store.steps(SCALE, results)[0]
    assert step.work.twice and not step.work.profile
    cost = accounting.cost(found(), a_row_us=24.0)
    results.rows.append({"tool": step.tool, "work": step.work.to_dict(), "repetition": 0, "accounting": cost})
    table = {line[0]: line[1:] for line in store.section(SCALE, results).table}
    assert table["store + books + histograms"] == ["3.40", "11 %", "at most 10 %"]
    assert table["books and histograms"][1] == "6.6 %"
    assert table["all the process does"] == ["30.4", "100 %", ""]
    assert isinstance(step, Step)


#: In a process of its own, for Locust patches whatever imports it.
BOTH = """
import json, locust, sys
from bench.peers.twice import Again
from chatload.protocol.reply import Reply
from chatload.vocabulary import Outcome
from chatload.run.books import Books
from chatload.chat.effects import Exchange, Wait
from chatload.chat.personas import new_chat
from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript
from chatload.chat.settings import SessionSettings

again, books, now, answered = Again(), Books(), 0.0, 0
settings = SessionSettings(make_policy("fixed", 30.0, 5.0), 10.0, CustomerScript().with_chat_length(1e6))
session = new_chat(settings, books, 1, now)
steps = session.steps()
effect = next(steps)
while answered < 40:
    if isinstance(effect, Wait):
        now = effect.until
        effect = steps.send(None)
        continue
    names = ("chat", "user", "key", "1", 2) if effect.operation == "RequestChat" else ()
    exchange = Exchange(now, now, now + 0.01, Reply(Outcome.FINE, *names))
    if effect.operation == "GetMessages":
        again.book(0.01, 0.0, 5.0, 0.01)
        answered += 1
    effect = steps.send(exchange)
mine, its = books.to_dict(), again.books.to_dict()
print(json.dumps([
    [b["latency"]["GetMessages"]["observed"]["count"] + b["lateness"]["count"] + b["gap"]["observed"]["count"]
     for b in (mine, its)],
    [b["outcomes"]["GetMessages"] for b in (mine, its)], [b["sent"]["GetMessages"] for b in (mine, its)],
    [session.usual_refreshes, again.usual],
    [len(session.recent.contacts()), len(again.recent.contacts())],
]))
"""


def test_what_is_booked_twice_is_what_a_chat_books():
    done = subprocess.run([sys.executable, "-c", BOTH], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for mine, its in json.loads(done.stdout):
        assert mine == its
