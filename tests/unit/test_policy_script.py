"""Refresh schedules and customer scripts."""

from random import Random

import pytest

from chatload.chat.policy import RefreshClock, make_policy
from chatload.chat.script import Customer, CustomerScript, Distribution, load_script
from chatload.errors import FileError, UsageError


def test_fixed_polls_at_once_then_on_a_fixed_clock_and_skips_ticks():
    policy = make_policy("fixed", 45)
    assert policy.interval_s == 3.0
    clock = RefreshClock(100.0, 100.0)
    due = policy.next_refresh(clock, 100.0)
    assert due == 100.0
    policy.ticked(clock, due)
    assert policy.next_refresh(clock, 100.2) == 103.0
    policy.ticked(clock, 103.0)
    # unanswered from 103 to 110: the ticks at 106 and 109 are skipped, not caught up
    assert policy.next_refresh(clock, 110.0) == 112.0


def test_fixed_default_is_a_third_of_a_short_timeout():
    assert make_policy("fixed", 2).interval_s == pytest.approx(2 / 3)


def test_fraction_counts_from_the_last_contact():
    policy = make_policy("fraction", 40, fraction=0.5)
    assert policy.next_refresh(RefreshClock(0.0, 7.0), 9.0) == 27.0


def test_deadline_leaves_room_for_the_tail_and_the_retries():
    policy = make_policy("deadline", 45)
    clock = RefreshClock(0.0, 10.0)
    quick = policy.next_refresh(clock, 10.0)
    assert quick == pytest.approx(55 - 4.5)
    for _ in range(20):
        clock.saw(4.0)
    assert policy.next_refresh(clock, 10.0) == pytest.approx(55 - (4 * 4.0 + 3 * 0.25))
    assert len(clock.round_trips) == 16


def test_retries_back_off_but_never_past_the_deadline():
    policy = make_policy("fixed", 2)
    clock = RefreshClock(0.0, 10.0)
    clock.saw(0.1)
    assert policy.next_retry(clock, 10.5, 1) == pytest.approx(10.6)
    for failures in range(1, 12):
        at = policy.next_retry(clock, 11.7, failures)
        assert 11.7 < at <= 11.9
    assert policy.next_retry(clock, 12.5, 3) > 12.5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("fixed", 0.5), "outside 1..1728000"),
        (("fixed", 1_728_001), "outside 1..1728000"),
        (("fixed", float("nan")), "outside 1..1728000"),
        (("fixed", 45, 45.0), "not within --flex-disconnect-timeout 45"),
        (("fixed", 45, 0.0), "must be above 0"),
        (("fraction", 45, None, 1.0), "--refresh-fraction 1 refreshes every 45 s"),
        (("often", 45), "use fixed, fraction or deadline"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, says):
    with pytest.raises(UsageError, match=says):
        make_policy(*arguments)


def test_a_late_interval_is_allowed_when_asked_for():
    assert make_policy("fixed", 2, 2.1, allow_late=True).interval_s == 2.1


def test_customer_is_the_same_for_the_same_seed_and_not_for_another():
    def plan(seed):
        customer = Customer(CustomerScript(), Random(seed))
        customer.begin(0.0)
        customer.heard("ParticipantJoined", 1.0)
        seen = []
        while customer.action and len(seen) < 30:
            action = customer.action
            seen.append((round(action.due, 6), action.operation, action.message))
            customer.done(action.due, action)
        return customer.end_at, seen

    assert plan(1) == plan(1)
    assert plan(1) != plan(2)
    operations = [operation for _, operation, _ in plan(1)[1]]
    assert operations[:3] == ["StartTyping", "StopTyping", "SendMessage"]


def test_an_answer_shortens_the_wait_and_the_messages_run_out():
    script = CustomerScript(
        messages=Distribution("fixed", 1), think=Distribution("fixed", 2.0), shows_typing=False,
        typing=Distribution("fixed", 1.0), waits_for_agent=False,
    )  # fmt: skip
    customer = Customer(script, Random(0))
    customer.begin(0.0)
    assert customer.action.due == 3.0
    customer.done(3.0, customer.action)
    assert customer.action is None
    two = Customer(CustomerScript(messages=Distribution("fixed", 2), think=Distribution("fixed", 2.0)), Random(0))
    two.begin(0.0)
    two.heard("ParticipantJoined", 0.0)
    two.action.operation = "SendMessage"
    two.done(5.0, two.action)
    assert two.action.due == 27.0
    two.heard("Message", 6.0)
    assert two.action.due == 8.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("chat_length = -1", "chat_length: expected a number or a table"),
        ('think = { shape = "normal" }', "think: expected a number or a table with shape = one of fixed"),
        ('think = { shape = "uniform", low = 3, high = 1 }', "think: expected low not above high"),
        ('think = { shape = "exponential", median = 1 }', "shape exponential expects mean"),
        ("shows_typing = 1", "shows_typing: expected true or false"),
        ("speed = 3", "speed: unknown key"),
        ("x = [", "not valid TOML"),
    ],
)
def test_script_mistakes(tmp_path, text, says):
    file = tmp_path / "s.toml"
    file.write_text(text)
    with pytest.raises(FileError) as caught:
        load_script(file)
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(file))


def test_script_file(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text('chat_length = 9\nthink = { shape = "lognormal", median = 2, sigma = 0.5 }\nnickname = "N"\n')
    script = load_script(file)
    assert script.chat_length == Distribution("fixed", 9.0)
    assert script.think == Distribution("lognormal", 2.0, 0.5)
    assert script.nickname == "N"
