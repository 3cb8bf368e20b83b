"""What each option of a run means to its load, said once: `compare`, `forecast` and the report's command go by it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chatload.analysis.settings import (
    LOAD_DEFINING,
    NOT_SETTINGS,
    SETTINGS,
    not_replayed,
    settings_differences,
    written,
)
from chatload.swarm.capacity_options import declare_capacity
from chatload.swarm.option_list import declare, declare_arrivals, declare_sweep


def test_every_option_is_classified_once():
    flags: list[str] = []
    for declared in (declare, declare_arrivals, declare_sweep, declare_capacity):
        declared(lambda flag, default, text, **more: flags.append(flag))
    known = {setting.flag for setting in SETTINGS if setting.flag}
    missing = set(flags) - known - NOT_SETTINGS
    assert not missing, f"say in chatload/analysis/settings.py what {sorted(missing)} does to the load of a run"
    assert set(flags) >= NOT_SETTINGS and not NOT_SETTINGS & known
    names = [setting.name for setting in SETTINGS]
    assert len(set(names)) == len(names)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chat", "soak", "arrivals", "capacity", "interval_sweep"])
def test_the_command_in_the_report_repeats_the_run(name):
    file = str(Path(__file__).parent / "repeat_side.py")
    code = f"import locust, sys, pytest; sys.exit(pytest.main(['-q', '-p', 'no:xdist', {file!r}]))"
    environment = {**os.environ, "CHATLOAD_LOCUSTFILE": name}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=False, env=environment
    )
    assert run.returncode == 0 and " passed" in run.stdout, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("persona", "strict", "widget"),
        ("connections", 0, 4),
        ("connections_in_all", 4, 8),
        ("long_poll", 0.0, 10.0),
        ("script_sha256", "", "ab"),
        ("max_sessions", None, 5),
        ("step_hold", 10.0, 20.0),
        ("tags", None, ["a"]),
    ],
)
def test_what_changes_the_load_must_agree(name, one, other):
    (difference,) = settings_differences([{name: one}], [{name: other}])
    assert difference.defines_load


def test_the_default_is_the_same_written_down_or_not():
    old, new = {"users": 5}, {"users": 5.0, "connections": 0, "long_poll": 0.0, "tags": None, "insecure": False}
    assert settings_differences([old], [new]) == []
    (difference,) = settings_differences([{"keep_windows": 86400.0}], [{"keep_windows": 0}])  # 0 keeps each
    assert str(difference) == "keep_windows: base 86400; new 0"


@pytest.mark.parametrize("name", ["host", "workers", "chats", "run_time", "thresholds", "ca_file", "service"])
def test_what_does_not_is_named_only(name):
    (difference,) = settings_differences([{name: "1"}], [{name: "2"}])
    assert not difference.defines_load and name not in LOAD_DEFINING


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, ""),
        ({"long_poll": 0.0, "connections": 0, "sweep": None, "persona": "widget"}, ""),
        ({"long_poll": 10.0}, "--long-poll 10"),
        ({"connections": 4}, "--connections 4"),
        ({"sweep": [0.5, 1.02]}, "--sweep 0.5,1.02"),
        ({"workload": "open"}, "workload open"),
        ({"start_sessions": 3}, "--start-sessions 3"),
    ],
)
def test_a_forecast_refuses_what_it_does_not_model(settings, said):
    assert not_replayed(settings) == said


@pytest.mark.parametrize(
    ("name", "value", "is_set"),
    [
        ("users", 5, True), ("users", 0, False), ("users", "0", False), ("users", None, False), ("users", "", False),
        ("users", "None", False), ("host", "http://x", True), ("tags", [], False), ("tags", ["a"], True),
        ("insecure", False, False), ("insecure", True, True), ("stop_timeout", 0, True), ("stop_timeout", "0", True),
        ("stop_timeout", None, False), ("keep_windows", 0.0, True), ("keep_windows", "", False),
    ],
)  # fmt: skip
def test_whether_a_value_is_anything_but_the_default(name, value, is_set):
    assert {setting.name: setting for setting in SETTINGS}[name].is_set(value) is is_set


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("run_time", 90.0, "90s"), ("run_time", 1.5, "1.5s"), ("sweep", [0.5, 1.0], "0.5,1"), ("sweep", "0.5", "0.5"),
        ("sweep", (0.5, 2), "0.5,2"), ("confidence", 0.95, "95"), ("confidence", 0.999, "99.9"),
        ("resolution", 0.1 + 0.2, "0.3"), ("resolution", 0.12345678912, "0.123456789"),
    ],
)  # fmt: skip
def test_a_value_as_its_option_takes_it(name, value, text):
    assert {setting.name: setting for setting in SETTINGS}[name].write(value) == text


def test_a_number_is_written_exactly():
    assert [written(value) for value in (3.0, 3, 0.1, "x", 1e16)] == ["3", "3", "0.1", "x", "10000000000000000"]


def test_differences_that_define_the_load_come_first_and_then_the_alphabet():
    base = [{"host": "a", "users": 5, "tags": ["x"], "chats": 1, "name": "n", "seed": 1, "unknown": {"b": 1, "a": 2}}]
    new = [
        {"host": "b", "users": 6, "tags": ["y", "x"], "chats": 1, "name": "m", "seed": 2, "unknown": {"a": 2, "b": 1}},
        {"host": "b", "users": 5, "chats": 2, "insecure": True},
    ]
    found = settings_differences(base, new)
    assert [(d.name, d.base, d.new, d.defines_load) for d in found] == [
        ("tags", ('["x"]',), ('["y", "x"]', "not set"), True),
        ("users", ("5",), ("6", "5"), True),
        ("chats", ("1",), ("1", "2"), False),
        ("host", ("a",), ("b",), False),
        ("insecure", ("not set",), ("not set", "true"), False),
        ("unknown", ('{"a": 2, "b": 1}',), ('{"a": 2, "b": 1}', "not set"), False),
    ]
    assert found[0].to_dict() == {
        "name": "tags", "base": ('["x"]',), "new": ('["y", "x"]', "not set"), "defines_load": True
    }  # fmt: skip


def test_runs_of_one_side_that_differ_are_named_too():
    (difference,) = settings_differences([{"users": 5}, {"users": 6}], [{"users": 5}, {"users": 6}])
    assert str(difference) == "users: base 5, 6; new 5, 6"


def test_numbers_that_differ_in_rounding_only_are_equal():
    assert settings_differences([{"spawn_rate": 0.1 + 0.2}], [{"spawn_rate": 0.3}]) == []
    assert settings_differences([{"spawn_rate": 0.30001}], [{"spawn_rate": 0.3}]) != []


#: A run with another value of these put another load on.
LOAD = """
user_classes users spawn_rate tags exclude_tags equal_weights flex_disconnect_timeout persona refresh_policy
refresh_interval sweep dialect dialect_sha256 script script_sha256 chat_length request_timeout long_poll transport
connections connections_in_all max_sessions workload arrival_rate arrival_profile arrival_profile_sha256
arrival_compress max_open start_sessions step_hold step_bound resolution step_thresholds
"""


def test_the_settings_that_define_the_load_are_these_and_no_others():
    assert set(LOAD.split()) == LOAD_DEFINING
    assert {s.name for s in SETTINGS if not s.replayed} == {
        "sweep", "long_poll", "connections", "workload", "start_sessions",
    }  # fmt: skip
    assert {s.name for s in SETTINGS if s.zero} == {"stop_timeout", "keep_windows"}
