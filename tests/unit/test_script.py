"""A customer's script: its distributions, what a customer does next, and its file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from chatload.chat.script import Action, Customer, CustomerScript, Distribution, Extra, load_script
from chatload.errors import FileError
from chatload.random_numbers import SplitMix64

FIXED = CustomerScript(
    chat_length=Distribution("fixed", 50.0), messages=Distribution("fixed", 3.0), think=Distribution("fixed", 4.0),
    typing=Distribution("fixed", 2.0), answer_patience=Distribution("fixed", 20.0),
    message_bytes=Distribution("fixed", 9.0),
)  # fmt: skip


@pytest.mark.parametrize(
    ("distribution", "mean"),
    [
        (Distribution("fixed", 7.0), 7.0),
        (Distribution("uniform", 2.0, 5.0), 3.5),
        (Distribution("exponential", 4.0), 4.0),
        (Distribution("exponential", 0.0), 0.0),
        (Distribution("lognormal", 3.0, 0.5), 3.0 * math.exp(0.125)),
        (Distribution("lognormal", 0.0, 0.5), 0.0),
    ],
)
def test_the_mean_of_a_distribution_is_that_of_its_draws(distribution: Distribution, mean: float) -> None:
    draws = SplitMix64(1)
    drawn = [distribution.sample(draws) for _ in range(20_000)]
    assert distribution.mean() == pytest.approx(mean)
    assert sum(drawn) / len(drawn) == pytest.approx(mean, rel=0.03)
    assert min(drawn) >= 0
    if distribution.shape == "uniform":
        assert 2.0 <= min(drawn) < 2.01 and 4.99 < max(drawn) <= 5.0
    if distribution.shape == "lognormal":
        assert sorted(drawn)[10_000] == pytest.approx(distribution.a, rel=0.03)


def customer(script: CustomerScript, now: float = 100.0) -> Customer:
    made = Customer(script, SplitMix64(1))
    made.begin(now)
    return made


def carried_out(made: Customer, now: float | None = None) -> tuple[float, str, str]:
    """What comes next, carried out at once or at `now`."""
    action = made.next()
    assert action is not None
    made.done(action.due if now is None else now, action)
    return action.due, action.operation, action.message


def test_a_customer_waits_for_the_agent_types_and_waits_for_an_answer() -> None:
    made = customer(FIXED)
    assert made.end_at == 150.0
    assert made.next() is None
    made.heard("Message", 101.0)
    assert made.next() is None, "nothing is said before an agent has joined"
    made.heard("ParticipantJoined", 102.0)
    made.heard("ParticipantJoined", 103.0)
    assert carried_out(made) == (106.0, "StartTyping", "")
    assert carried_out(made) == (108.0, "StopTyping", "")
    assert carried_out(made, 108.5) == (108.0, "SendMessage", "the quick")
    # 20 s of patience, and 4 s to think.
    assert made.next() is not None and made.next().due == 132.5
    made.heard("Message", 110.0)
    assert made.next().due == 114.0, "an answer was heard"
    made.heard("Message", 140.0)
    assert made.next().due == 118.0, "heard of after the next utterance was due"
    assert carried_out(made)[1] == "StartTyping"
    made.heard("Message", 118.5)
    assert carried_out(made) == (120.0, "StopTyping", ""), "who is typing goes on"
    assert carried_out(made)[1] == "SendMessage"
    for _ in range(3):
        carried_out(made)
    assert made.next() is None and made.left == 0, "three messages"
    made.heard("Message", 130.0)
    assert made.next() is None


def test_a_customer_that_shows_no_typing_sends_after_thinking_and_typing() -> None:
    script = CustomerScript(
        messages=Distribution("fixed", 1.4), think=Distribution("fixed", 4.0), typing=Distribution("fixed", 2.0),
        message_bytes=Distribution("fixed", 0.2), shows_typing=False, waits_for_agent=False,
    )  # fmt: skip
    made = customer(script)
    made.heard("Message", 101.0)
    assert carried_out(made) == (107.0, "SendMessage", "t"), "one byte at least"
    assert made.next() is None


def test_a_customer_without_a_message_says_none() -> None:
    made = customer(CustomerScript(messages=Distribution("fixed", 0.4), waits_for_agent=False))
    assert made.next() is None


@pytest.mark.parametrize("size", [1, 74, 75, 76, 77, 200, 2**20, 2**20 + 5])
def test_a_message_has_the_length_that_was_drawn_up_to_a_mebibyte(size: int) -> None:
    script = CustomerScript(
        messages=Distribution("fixed", 1), message_bytes=Distribution("fixed", float(size)), shows_typing=False,
        waits_for_agent=False,
    )  # fmt: skip
    action = customer(script).next()
    assert action is not None
    assert len(action.message) == min(size, 2**20)
    assert action.message.startswith("the quick brown fox"[:size])


def test_extras_come_in_their_turn_each_once() -> None:
    script = CustomerScript(
        messages=Distribution("fixed", 1), waits_for_agent=False, chat_length=Distribution("fixed", 50.0),
        extras=(Extra("PushUrl", 1.0, {"url": "u"}), Extra("ReadReceipt", 1.0)),
    )  # fmt: skip
    made = customer(script)
    first, second = made.extras
    assert 100.0 <= first.due <= second.due <= 150.0
    made.action = Action(first.due, "SendMessage")
    assert made.next() is made.action, "the conversation goes first"
    made.action.due = first.due + 0.001
    assert made.next() is first
    made.action = None
    assert made.next() is first
    made.done(first.due, first)
    assert made.next() is second and made.left == 1, "an extra is no message"
    made.done(second.due, second)
    assert made.next() is None and made.extras == []


def test_an_introduction_has_what_is_given() -> None:
    assert CustomerScript().customer().introduction() == {"nickname": "chatload", "subject": "load test"}
    named = CustomerScript(nickname="", first_name="A", last_name="B", email="a@b", subject="")
    assert named.customer().introduction() == {"first_name": "A", "last_name": "B", "email": "a@b"}
    assert CustomerScript().with_chat_length(5.0).chat_length == Distribution("exponential", 5.0)


def loaded(folder: Path, text: str) -> CustomerScript:
    (folder / "s.toml").write_text(text)
    return load_script(folder / "s.toml")


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("think = 0", Distribution("fixed", 0.0)),
        ("think = 1e9", Distribution("fixed", 1e9)),
        ("think = 2.5", Distribution("fixed", 2.5)),
        ('think = "250ms"', Distribution("fixed", 0.25)),
        ('think = { shape = "lognormal", median = "1m", sigma = 0.5 }', Distribution("lognormal", 60.0, 0.5)),
        ('think = { shape = "fixed", value = 3 }', Distribution("fixed", 3.0)),
        ('think = { shape = "uniform", low = 2, high = 2 }', Distribution("uniform", 2.0, 2.0)),
        ('think = { shape = "uniform", high = 3, low = 2 }', Distribution("uniform", 2.0, 3.0)),
        ('think = { shape = "exponential", mean = 4 }', Distribution("exponential", 4.0)),
        ('think = { shape = "lognormal", median = 4, sigma = 10 }', Distribution("lognormal", 4.0, 10.0)),
    ],
)
def test_a_distribution_in_a_file(tmp_path: Path, text: str, distribution: Distribution) -> None:
    assert loaded(tmp_path, text).think == distribution


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("think = 1.1e9", "think: expected a number or a table"),
        ("think = true", "think: expected a number or a table"),
        ("think = -0.1", "think: expected a number or a table"),
        ("think = nan", "think: expected a number or a table"),
        ('think = "soon"', "think: expected a number or a table"),
        ('messages = "3s"', "messages: expected a number or a table"),
        ('think = { shape = ["fixed"], value = 1 }', "think: expected a number or a table"),
        ('think = { shape = "uniform", low = 3, high = 2.9 }', "think: expected low not above high"),
        (
            'think = { shape = "uniform", low = 3 }',
            "think: shape uniform expects low and high, numbers from 0 to 1e",
        ),
        ('think = { shape = "fixed", value = 3, mean = 3 }', "think: shape fixed expects value"),
        ('think = { shape = "fixed", value = "x" }', "think: shape fixed expects value"),
        ('think = { shape = "lognormal", median = 4, sigma = 10.1 }', "think: expected sigma not above 10"),
        ("shows_typing = 0", "shows_typing: expected true or false"),
        ('nickname = ""', "nickname: expected text"),
        ("nickname = 5", "nickname: expected text"),
        ("extras = [1]", "extras: expected [[extras]] tables"),
        ('extras = "x"', "extras: expected [[extras]] tables"),
        ("[[extras]]\n", "extras[1].operation: expected one of"),
        ('[[extras]]\noperation = "PushUrl"\nchance = 1.1', "extras[1].chance: expected a number from 0 to 1"),
        ('[[extras]]\noperation = "PushUrl"\nchance = -0.1', "extras[1].chance: expected a number from 0 to 1"),
        ('[[extras]]\noperation = "PushUrl"\nurl = ""', "extras[1].url: PushUrl takes chance, url, each as text"),
        ('[[extras]]\noperation = "PushUrl"\n[[extras]]\noperation = "x"', "extras[2].operation: expected one of"),
        ('[[extras]]\noperation = "FileUpload"\nurl = "x"', "extras[1].url: FileUpload takes chance, "),
    ],
)
def test_a_mistake_in_a_file(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(FileError) as refused:
        loaded(tmp_path, text)
    assert f": {says}" in str(refused.value)


def test_extras_in_a_file(tmp_path: Path) -> None:
    text = """
        waits_for_agent = false
        [[extras]]
        operation = "UpdateData"
        user_data = { plan = "gold", rank = 5 }
        chance = 0
        [[extras]]
        operation = "FileUpload"
        [[extras]]
        operation = "FileUpload"
        size = 10
        file_name = "a.pdf"
        file_type = "application/pdf"
    """
    script = loaded(tmp_path, text)
    assert script.waits_for_agent is False
    assert script.extras == (
        Extra("UpdateData", 0.0, {"user_data.plan": "gold", "user_data.rank": "5"}, None),
        Extra("FileUpload", 1.0, {"file_name": "chatload.txt", "file_type": "text/plain"}, None),
        Extra("FileUpload", 1.0, {"file_name": "a.pdf", "file_type": "application/pdf"}, Distribution("fixed", 10.0)),
    )
