"""The settings of a run, and the table of the options that give them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib import resources
from pathlib import Path

import pytest
from click.testing import CliRunner

from chatload.chat.script import load_script
from chatload.errors import UsageError
from chatload.protocol.dialect import load_dialect
from chatload.protocol.toml_file import format_toml
from chatload.run.settings import (
    OTHER_OPTIONS,
    SETTINGS,
    OptionGroup,
    RunSettings,
    not_replayed,
    option_of,
    options_of,
    session_settings,
    settings_differences,
    stored_dialect,
    stored_script,
)
from chatload.swarm.options import options_command

ROOT = Path(__file__).resolve().parents[2]


def test_every_option_is_declared_once():
    flags = [option.flag for group in OptionGroup for option in options_of(group)]
    assert len(set(flags)) == len(flags)
    assert {option.flag for option in OTHER_OPTIONS} < set(flags)
    ours = [option for group in OptionGroup if group is not OptionGroup.LOCUST for option in options_of(group)]
    assert all((option.help and option.variable) or option.flag == "--insecure" for option in ours)


def test_the_reference_page_is_current():
    """After a change: chatload options --markdown > docs/options.md"""
    assert CliRunner().invoke(options_command, ["--markdown"]).output == (ROOT / "docs" / "options.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chat", "soak", "arrivals", "capacity", "interval_sweep"])
def test_the_command_in_the_report_repeats_the_run(name):
    file = str(Path(__file__).parent / "repeat_side.py")
    code = f"import locust, sys, pytest; sys.exit(pytest.main(['-q', {file!r}]))"
    environment = {**os.environ, "CHATLOAD_LOCUSTFILE": name, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=False, env=environment
    )
    assert run.returncode == 0 and " passed" in run.stdout, run.stdout + run.stderr


# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("flex_disconnect_timeout", "45", 45.0),
        ("flex_disconnect_timeout", "45s", 45.0),
        ("refresh_interval", "250ms", 0.25),
        ("chat_length", "8m", 480.0),
        ("keep_windows", "24h", 86400.0),
        ("keep_windows", "0", 0.0),
        ("refresh_fraction", "50%", 0.5),
        ("refresh_fraction", "1.02", 1.02),
        ("poll_jitter", "0", 0.0),
        ("poll_jitter", "10%", 0.1),
        ("poll_jitter", "0.3", 0.3),
        ("confidence", "99.9", 0.999),
        ("confidence", "95%", 0.95),
        ("resolution", "5%", 5.0),
        ("sweep", "1.02,0.5", (0.5, 1.02)),
        ("thresholds", "a.rate < 1%; b.rate < 2%", ("a.rate < 1%", "b.rate < 2%")),
        ("target_owner_agrees", "a.example; b.example", ("a.example", "b.example")),
        ("allow_late_refresh", "false", False),
        ("allow_late_refresh", True, True),
        ("chats", "", None),
    ],
)
def test_a_text_becomes_a_value_and_the_value_a_text(name, text, value):
    option = option_of(name)
    assert option.value(text) == value
    if value and not option.kind.repeated and value is not True:
        ((flag, again),) = option.words(value)
        assert flag == option.flag and option.value(again) == value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("chat_length", "5 minutes", "--chat-length 5 minutes: expected a duration above 0, such as 300, 300s or 5m"),
        ("chat_length", "inf", "expected a duration"),
        ("refresh_fraction", "0", "expected a share above 0, such as 0.5 or 50%"),
        ("poll_jitter", "1", "--poll-jitter 1: expected 0, or a share below 1, such as 0.1 or 10%"),
        ("poll_jitter", "100%", "expected 0, or a share below 1"),
        ("poll_jitter", "-0.1", "expected 0, or a share below 1"),
        ("chats", "-1", "expected a whole number from 0 on"),
        ("max_sessions", "0", "expected a whole number from 1 on"),
        ("ca_file", "/nowhere.pem", "--ca-file /nowhere.pem: expected a file that exists"),
        ("persona", "robot", "--persona robot: expected one of strict, widget"),
    ],
)
def test_a_text_that_is_no_value_is_refused_with_what_is_expected(name, text, expected):
    with pytest.raises(UsageError) as refused:
        option_of(name).value(text)
    assert expected in str(refused.value)


# -- in the run file -------------------------------------------------------------------------------


def test_settings_are_read_back_as_they_were():
    run = RunSettings(
        name="n", host="http://h", user_classes=("A",), users=5, tags=("a", "b"), flex_disconnect_timeout=45.0,
        sweep=(0.5, 1.02), script="s.toml", script_text="messages = 1\n", target_owner_agrees=("a", "b"),
        thresholds=("x < 1",), confidence=0.99, workload="open", max_open=7, start_sessions=3, keep_windows=0.0,
    )  # fmt: skip
    stored = json.loads(json.dumps(run.to_dict()))
    assert RunSettings.from_dict(stored, run.files()) == run
    assert stored["target_owner_agrees"] == "a; b" and stored["tags"] == ["a", "b"] and "script_text" not in stored


def test_settings_of_other_workloads_are_left_out():
    other = {
        option.dest
        for group in (OptionGroup.ARRIVALS, OptionGroup.SWEEP, OptionGroup.CAPACITY)
        for option in options_of(group)
    }
    assert not other & set(RunSettings().to_dict())
    assert {"persona", "refresh_fraction", "chats", "keep_windows"} <= set(RunSettings().to_dict())


@pytest.mark.parametrize(
    ("name", "value"),
    [("users", "5"), ("users", 1.5), ("confidence", "high"), ("thresholds", "x < 1"), ("thresholds", [1]),
     ("host", 5), ("sweep", ["a"]), ("run_time", "1h"), ("flex_disconnect_timeout", True), ("poll_jitter", 1.0),
     ("poll_jitter", -0.1)],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(name, value):
    with pytest.raises(ValueError, match=f"settings: {name} is not"):
        RunSettings.from_dict({name: value})


def test_one_function_makes_a_chats_settings():
    run = RunSettings(
        flex_disconnect_timeout=30.0, request_timeout=4.0, refresh_policy="fraction", refresh_interval=99.0,
        refresh_fraction=0.3, chat_length=7.0, long_poll=2.0, sweep=(0.5, 1.1), poll_jitter=0.2,
    )  # fmt: skip
    made = session_settings(run)
    assert [each.poll_jitter for each in (made, *made.arms)] == [0.2, 0.2, 0.2]
    assert (made.policy.interval_s, made.request_timeout_s, made.long_poll_s, made.keeps_ended_s) == (9.0, 4.0, 2.0, 60)
    assert made.script.chat_length.mean() == 7.0 and [arm.policy.interval_s for arm in made.arms] == [15.0, 33.0]
    with pytest.raises(UsageError, match="settings of the run are missing"):
        session_settings(RunSettings())


# -- files that a run stores -----------------------------------------------------------------------

SCRIPT = """
nickname = "Frederica"
subject = "invoice 2209"
chat_length = { shape = "uniform", low = 1.5, high = 5.0 }
[[extras]]
operation = "PushUrl"
chance = 0.5
url = "https://frederica.example"
"""


def test_a_stored_script_has_no_names_and_puts_on_the_same_load(tmp_path):
    given, again = tmp_path / "given.toml", tmp_path / "again.toml"
    given.write_text(SCRIPT)
    stored = stored_script(given)
    assert "rederica" not in stored and "2209" not in stored
    again.write_text(stored)
    assert stored_script(again) == stored  # so that both runs have one digest
    before, after = load_script(given), load_script(again)
    assert after.chat_length == before.chat_length and len(after.nickname) == len(before.nickname)
    assert after.extras[0].chance == 0.5


def test_a_stored_dialect_reads_its_keys_from_the_environment(tmp_path):
    text = (resources.files("chatload.protocol") / "dialects" / "gms-v2.toml").read_text()
    given, again = tmp_path / "given.toml", tmp_path / "again.toml"
    text = text.replace("[request.headers]\n", '[request.headers]\napikey = "k-5b21"\nX-Gate = "g-77"\n')
    text = text.replace("[operations.GetMessages]\n", "[operations.GetMessages]\nfixed = { token = 'k-9' }\n")
    given.write_text(text)
    stored = stored_dialect(given)
    assert "k-5b21" not in stored and "g-77" not in stored and "k-9" not in stored
    again.write_text(stored)
    assert stored_dialect(again) == stored
    environment = {"CHATLOAD_APIKEY": "k-5b21", "CHATLOAD_X_GATE": "g-77", "CHATLOAD_GETMESSAGES_TOKEN": "k-9"}
    before, after = load_dialect(str(given)), load_dialect(str(again), environment)
    assert set(before.request.headers) == set(after.request.headers) and set(before.operations) == set(after.operations)
    assert str(after.operations["GetMessages"].fixed["token"]) == "***"
    with pytest.raises(UsageError, match="CHATLOAD_APIKEY is not set"):
        load_dialect(str(again), {})


@pytest.mark.parametrize("name", ["gms-v2", "webapi"])
def test_toml_is_written_as_it_is_read(name):
    data = tomllib.loads((resources.files("chatload.protocol") / "dialects" / f"{name}.toml").read_text())
    assert tomllib.loads(format_toml(data)) == data


def test_toml_of_odd_names_and_texts():
    data = {"a b": 'q"\\\n\x7f', "list": [1, 2.5, True, "x"], "empty": [], "t": {"ü.": [{"x": 1}, {}], "y": {"z": {}}}}
    assert tomllib.loads(format_toml(data)) == data


# -- runs beside each other ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("persona", "strict", "widget"),
        ("connections", 0, 4),
        ("connections_in_all", 4, 8),
        ("long_poll", 0.0, 10.0),
        ("poll_jitter", 0.0, 0.1),
        ("script_sha256", "", "ab"),
        ("max_sessions", None, 5),
        ("step_hold", 10.0, 20.0),
        ("tags", (), ("a",)),
    ],
)
def test_what_changes_the_load_must_agree(name, one, other):
    (difference,) = settings_differences([RunSettings(**{name: one})], [RunSettings(**{name: other})])
    assert difference.defines_load


def test_a_file_is_known_by_its_content():
    one, same = (RunSettings(script=name, script_sha256="ab", script_text="t") for name in ("a.toml", "b/a.toml"))
    assert settings_differences([one], [same]) == []
    other = RunSettings(script="a.toml", script_sha256="cd", script_text="u")
    assert [difference.name for difference in settings_differences([one], [other])] == ["script_sha256"]


def test_0_is_a_value_where_it_is_not_the_default():
    assert settings_differences([RunSettings()], [RunSettings(connections=0, long_poll=0.0)]) == []
    (difference,) = settings_differences([RunSettings()], [RunSettings(keep_windows=0.0)])
    assert str(difference) == "keep_windows: base 86400; new 0"


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [("host", "a", "b"), ("workers", 1, 2), ("chats", 1, 2), ("run_time", 1.0, 2.0), ("thresholds", ("a",), ("b",)),
     ("ca_file", "a", "b"), ("service", "a", "b")],
)  # fmt: skip
def test_what_does_not_is_named_only(name, one, other):
    (difference,) = settings_differences([RunSettings(**{name: one})], [RunSettings(**{name: other})])
    assert not difference.defines_load and not SETTINGS[name].changes_load


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, ""),
        ({"long_poll": 0.0, "connections": 0, "persona": "widget"}, ""),
        ({"long_poll": 10.0}, "--long-poll 10"),
        ({"connections": 4}, "--connections 4"),
        ({"sweep": (0.5, 1.02)}, "--sweep 0.5,1.02"),
        ({"workload": "open"}, "workload open"),
        ({"start_sessions": 3}, "--start-sessions 3"),
    ],
)
def test_a_forecast_refuses_what_it_does_not_model(settings, said):
    assert not_replayed(RunSettings(**settings)) == said


def test_each_setting_says_what_it_is():
    assert set(SETTINGS) == {field.name for field in fields(RunSettings)}


@pytest.mark.parametrize(
    ("name", "value", "is_set"),
    [
        ("users", 5, True), ("users", 0, False), ("users", None, False), ("host", "x", True), ("tags", (), False),
        ("tags", ("a",), True), ("insecure", False, False), ("insecure", True, True), ("stop_timeout", 0.0, True),
        ("stop_timeout", None, False), ("keep_windows", 0.0, True),
    ],
)  # fmt: skip
def test_whether_a_value_is_anything_but_the_default(name, value, is_set):
    assert SETTINGS[name].is_set(value) is is_set


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("run_time", 90.0, "90s"), ("run_time", 1.5, "1.5s"), ("sweep", (0.5, 1.0), "0.5,1"),
        ("confidence", 0.95, "95"), ("confidence", 0.999, "99.9"), ("resolution", 0.1 + 0.2, "0.3"),
        ("resolution", 0.123456789, "0.123456789"), ("chat_length", 1e16, "10000000000000000"),
    ],
)  # fmt: skip
def test_a_value_as_its_option_takes_it(name, value, text):
    assert option_of(name).words(value) == [[option_of(name).flag, text]]


def test_differences_that_define_the_load_come_first_and_then_the_alphabet():
    base = [RunSettings(host="a", users=5, tags=("x",), chats=1, name="n")]
    new = [
        RunSettings(host="b", users=6, tags=("y", "x"), chats=1, name="m"),
        RunSettings(host="b", users=5, chats=2, insecure=True),
    ]
    found = settings_differences(base, new)
    assert [(d.name, d.base, d.new, d.defines_load) for d in found] == [
        ("tags", ("x",), ("y,x", "not set"), True),
        ("users", ("5",), ("6", "5"), True),
        ("chats", ("1",), ("1", "2"), False),
        ("host", ("a",), ("b",), False),
        ("insecure", ("not set",), ("not set", "true"), False),
    ]
    assert found[0]._asdict() == {
        "name": "tags", "base": ("x",), "new": ("y,x", "not set"), "defines_load": True
    }  # fmt: skip


def test_runs_of_one_side_that_differ_are_named_too():
    side = [RunSettings(users=5), RunSettings(users=6)]
    (difference,) = settings_differences(side, side)
    assert str(difference) == "users: base 5, 6; new 5, 6"


def test_numbers_that_differ_in_rounding_only_are_equal():
    one = RunSettings(spawn_rate=0.3)
    assert settings_differences([RunSettings(spawn_rate=0.1 + 0.2)], [one]) == []
    assert settings_differences([RunSettings(spawn_rate=0.30001)], [one]) != []
