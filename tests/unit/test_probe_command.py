"""`chatload probe`: wrong usage, and what it prints of a measurement."""

from __future__ import annotations

import io
import socket

import jsonschema
import pytest

from chatload import cli
from chatload.features.probe.evidence import make_settings
from chatload.features.probe.measurement import measurement, probe_document
from chatload.render.terminal import render
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.service import ChatService
from tests.schemas import read_schema
from tests.virtual.probe_driver import VirtualProbe

URL = ["--host", "http://127.0.0.1:9"]


def probe(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.run(["probe", *(str(argument) for argument in arguments)])
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "Missing option '--host'"),
        (["--host", "nowhere"], "is not the URL of a host"),
        ([*URL, "--sessions", 19], "--sessions 19 is outside 20..1000"),
        ([*URL, "--flex-disconnect-timeout", -1], "--flex-disconnect-timeout -1: expected a duration above 0"),
        ([*URL, "--longest", "nan"], "--longest nan: expected a duration"),
        ([*URL, "--longest", 0.9], "0.9 s, is below the least timeout"),
        ([*URL, "--time-allowed", 10, "--longest", 20], "--longest 20 is longer than --time-allowed 10"),
        ([*URL, "--ended-for", -3], "--ended-for -3"),
        ([*URL, "--dialect", "klingon"], "no dialect named 'klingon'"),
        ([*URL, "--ca-file", "nowhere.pem"], "--ca-file nowhere.pem: no such file"),
    ],
)
def test_wrong_usage_is_2_and_one_line(arguments, said, capsys):
    assert probe(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and err.startswith("chatload: ") and err.count("\n") == 1


def test_a_host_that_cannot_be_reached_is_2_before_a_chat_is_announced(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listening
        assert probe("--host", f"http://127.0.0.1:{taken.getsockname()[1]}") == 2
    err = capsys.readouterr().err
    assert "cannot be reached: connection refused" in err and err.count("\n") == 1


@pytest.mark.parametrize("chats", [20, 39, 64, 96, 1000])
def test_the_first_round_leaves_room_for_retries(chats):
    settings = make_settings(chats=chats)
    assert settings.first + 3 <= chats
    silences = settings.silences()
    assert silences[0] == pytest.approx(60) and silences[-1] == pytest.approx(0.7)
    assert str(settings.first) in settings.announcement() and f"{chats} at most" in settings.announcement()


@pytest.mark.parametrize(
    "given, longest, allowed",
    [
        ({}, 60.0, 195.0),
        ({"configured_s": 45.0}, 67.5, 217.5),
        ({"configured_s": 2.0}, 5.0, 30.0),
        ({"time_allowed_s": 30.0}, 24.0, 30.0),
        ({"longest_s": 10.0, "ended_for_s": 100.0}, 10.0, 145.0),
    ],
)
def test_how_long_it_tries(given, longest, allowed):
    settings = make_settings(**given)
    assert (settings.longest_s, settings.time_allowed_s) == (longest, allowed)


def measured(server, stop_at=None, **given):
    settings = make_settings(**given)
    return measurement(VirtualProbe(settings, ChatService(SimulatorConfig(**server)), stop_at=stop_at).run())


CASES = [
    ({"flex_disconnect_timeout_s": 5.0}, {"configured_s": 5.0}, ["agrees with the 5 s", "none seen"]),
    ({"flex_disconnect_timeout_s": 5.0, "sweep_interval_s": 2.0}, {}, ["lives on after the timeout"]),
    ({"flex_disconnect_timeout_s": 5.0, "typing_keeps_alive": False}, {}, ["does not reset it"]),
    ({"flex_disconnect_timeout_s": 5.0, "keeps_ended_s": 1.0}, {}, ["about"]),
    ({"flex_disconnect_timeout_s": 0.0}, {"longest_s": 4.0}, ["no flex-disconnect-timeout within the time allowed"]),
    ({"flex_disconnect_timeout_s": 45.0}, {"stop_at": 9.0}, ["interrupted before any timeout showed"]),
]  # fmt: skip


@pytest.mark.parametrize("server, given, said", CASES)
def test_what_it_prints_and_the_json_keeps_to_its_schema(server, given, said):
    found, stream = measured(server, **given), io.StringIO()
    jsonschema.validate(found.to_dict(), read_schema("probe", "probe"))
    render(probe_document(found), stream)
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    for words in said:
        assert words in " ".join(text.split())


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(read_schema("probe", "probe"))
    broken = {**measured({"flex_disconnect_timeout_s": 5.0}).to_dict(), "dropped_answer": "1/true"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, read_schema("probe", "probe"))
