"""Ceilings on sessions and requests per second, and the host's login, without a run."""

from dataclasses import replace

import pytest

from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.errors import UsageError
from chatload.protocol.secret import without_login
from chatload.run.books import Books
from chatload.swarm.checks import planned_rate, refuse_above_ceiling
from chatload.swarm.load import CeilingMonitor
from chatload.target import TargetRules

SCRIPT = CustomerScript(
    chat_length=Distribution("fixed", 60.0),
    messages=Distribution("fixed", 4.0),
    think=Distribution("fixed", 3.0),
    typing=Distribution("fixed", 2.0),
)
SETTINGS = SessionSettings(make_policy("fixed", 45.0, 3.0), 5.0, SCRIPT)


def test_the_planned_rate_is_polls_and_what_a_chat_has_beside_them():
    # 1/3 for polls; RequestChat, Disconnect and 4 x 3 of messages in 60 s
    assert planned_rate(30, SETTINGS) == pytest.approx(30 * (1 / 3 + 14 / 60))
    # With jitter a refresh leaves after 2.25 s on average.
    assert planned_rate(30, replace(SETTINGS, poll_jitter=0.5)) == pytest.approx(30 * (1 / 2.25 + 14 / 60))


@pytest.mark.parametrize(
    ("rules", "users", "says"),
    [
        (TargetRules(max_sessions=30), 31, "31 users are above the ceiling of 30 sessions; raise --max-sessions"),
        (TargetRules(max_sessions=30, locks={"max_sessions": "/etc/x"}), 31, "/etc/x has locked it"),
        (TargetRules(max_requests_per_s=16.9), 30, "about 17 requests/s, above the ceiling of 16.9"),
    ],
)
def test_a_plan_above_a_ceiling_is_refused(rules, users, says):
    with pytest.raises(UsageError) as refused:
        refuse_above_ceiling(rules, users, [(1.0, SETTINGS)])
    assert says in str(refused.value)


def test_a_plan_at_the_ceilings_is_not():
    refuse_above_ceiling(TargetRules(), 10**6, [(1.0, SETTINGS)])
    refuse_above_ceiling(TargetRules(max_sessions=30, max_requests_per_s=17.1), 30, [(1.0, SETTINGS)])


def test_requests_of_hooks_count_too():
    monitor, books = CeilingMonitor(TargetRules(max_requests_per_s=10.0), 0.0), Books()
    books.fetched["token"] = 61
    assert monitor.exceeded(books, 1.0) == "61 requests/s, above the ceiling of 10"


def test_a_plan_of_two_classes_counts_each_by_its_share():
    # 20 users that poll each 3 s and 10 that poll each second, and the other 14 requests of each chat in a minute.
    busy = replace(SETTINGS, policy=replace(SETTINGS.policy, interval_s=1.0))
    rate = 20 * (1 / 3 + 14 / 60) + 10 * (1 + 14 / 60)
    mix = [(2 / 3, SETTINGS), (1 / 3, busy)]
    refuse_above_ceiling(TargetRules(max_requests_per_s=rate + 0.1), 30, mix)
    with pytest.raises(UsageError, match="30 users with a refresh every 3 s or 1 s make about"):
        refuse_above_ceiling(TargetRules(max_requests_per_s=rate - 0.1), 30, mix)


def books(started=0, ended=0, sent=0):
    made = Books()
    made.started = started
    made.verdicts["completed"] = ended
    made.sent["GetMessages"] = sent
    return made


def test_more_sessions_open_than_may_be():
    ceiling = CeilingMonitor(TargetRules(max_sessions=5), 0.0)
    assert ceiling.exceeded(books(started=15, ended=10), 1.0) == ""
    assert ceiling.exceeded(books(started=16, ended=10), 2.0) == "6 sessions open, above the ceiling of 5"


def test_a_rate_at_the_ceiling_goes_on_for_ever_and_one_above_it_does_not():
    at, above = (CeilingMonitor(TargetRules(max_requests_per_s=100.0), 0.0) for _ in range(2))
    assert all(at.exceeded(books(sent=100 * second), float(second)) == "" for second in range(1, 1000))
    found = [above.exceeded(books(sent=125 * second), float(second)) for second in range(1, 30)]
    # 25 too many a second, 500 may come at once
    assert found[:20] == [""] * 20 and found[20] == "125 requests/s, above the ceiling of 100"


def test_a_burst_is_not_a_rate_and_late_reports_are_not_either():
    ceiling = CeilingMonitor(TargetRules(max_requests_per_s=100.0), 0.0)
    assert ceiling.exceeded(books(sent=550), 1.0) == ""
    assert ceiling.exceeded(books(sent=560), 5.0) == ""
    assert ceiling.exceeded(books(sent=560), 25.0) == ""
    # What was not used in a pause is not saved up.
    assert ceiling.exceeded(books(sent=560 + 700), 26.0) != ""


@pytest.mark.parametrize(
    ("url", "shown"),
    [("https://u:p@h:1/x", "https://h:1/x"), ("https://h", "https://h"), ("http://u:p/w@h", "http://h"),
     ("u:p@h", "h"), ("http://a@b@h/", "http://h/")],
)  # fmt: skip
def test_without_login(url, shown):
    assert without_login(url) == shown
