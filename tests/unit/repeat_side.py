"""Run by test_settings.py in a process for each locustfile: Locust's parser keeps the options of all it imported."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from locust import argument_parser, events
from locust.env import Environment
from locust.util.load_locustfile import load_locustfile

from chatload.features.report.page import repeat_command, repeat_files
from chatload.run.settings import OptionGroup, RunSettings, options_of, session_settings
from chatload.swarm.coordinator import RunCoordinator
from chatload.swarm.load import LoadController
from chatload.swarm.plan import make_plan, run_settings

ROOT = Path(__file__).resolve().parents[2]
NAME = os.environ["CHATLOAD_LOCUSTFILE"]
FILE = str(ROOT / "locustfiles" / f"{NAME}.py")
USER_CLASSES, SHAPES = load_locustfile(FILE)


def settings_of(argv):
    """What a run with this command line writes down, and the plan its sessions go by."""
    options = argument_parser.get_parser(default_config_files=[]).parse_args(argv)
    environment = Environment(
        user_classes=list(USER_CLASSES.values()), parsed_options=options, host=options.host,
        stop_timeout=float(options.stop_timeout),
    )  # fmt: skip
    environment.runner = object()  # a real one would listen and spawn
    plan, load = make_plan(options, options.host), LoadController()
    if NAME == "capacity":
        from chatload.features.capacity.load import CapacityLoad

        load = CapacityLoad(SimpleNamespace(environment=environment))
    plan = load.begin(plan)
    return load.settings(replace(run_settings(environment, plan), started_at=0.0)), plan


SCRIPT = """
chat_length = { shape = "uniform", low = 1.5, high = 5.0 }
messages = 2
"""
COMMON = [
    [],
    ["-u", "7", "-r", "2.5", "-t", "1h3m", "-s", "0"],
    ["--script", "SCRIPT"],
    ["--script", "SCRIPT", "--chat-length", "12.5"],
    ["--chat-length", "33.3", "--chats", "7", "--chat-seed", "9"],
    ["--connections", "4", "--long-poll", "10", "--request-timeout", "0.7"],
    ["--transport", "requests", "--insecure", "--service", "a b", "--dialect", "DIALECT"],
    ["--max-sessions", "900", "--max-requests-per-s", "5000.5", "--keep-windows", "0"],
    ["--threshold", "dropped_late.rate < 0.1%", "--threshold", "GetMessages.latency.p99 < 300ms; gap.max < 4s",
     "--abort-on", "dropped.rate < 5%", "--confidence", "99.9", "--allow-inconclusive"],
    ["--host", "http://user:word@[::1]:8080/prefix/"],
    ["--tags", "a", "b", "--exclude-tags", "c", "--equal-weights"],
    ["--target-owner-agrees", "203.0.113.7", "--target-owner-agrees", "chat.example", "--host", "http://203.0.113.7"],
]  # fmt: skip
CLOSED = [
    ["--persona", "widget"],
    ["--persona", "widget", "--refresh-interval", "1.1", "--request-timeout", "2"],
    ["--refresh-policy", "deadline"],
    ["--refresh-policy", "fraction"],
    ["--refresh-policy", "fraction", "--refresh-fraction", "0.3333333333"],
    ["--refresh-interval", "20.123456789", "--allow-late-refresh"],
]
OWN = {
    "chat": [*COMMON, *CLOSED, [next(iter(USER_CLASSES)), "--tags", "a"]],
    "soak": [*COMMON, *CLOSED],
    "arrivals": [
        ["--arrival-rate", "12.3456789", *more] for more in (*COMMON, ["--max-open", "17"])
    ] + [["--arrival-profile", "PROFILE", "--arrival-compress", "24"]],
    "capacity": [
        *COMMON[:1], *COMMON[2:8], *CLOSED[:5],
        ["--start-sessions", "3", "--step-hold", "11.5", "--step-bound", "99", "--confirm-hold", "70",
         "--resolution", "7", "--threshold", "dropped.rate < 1%", "--max-sessions", "50"],
    ],
    "interval_sweep": [*COMMON, ["--sweep", "0.5,0.123456789,1.25"], ["--sweep", "0.9", "--refresh-fraction", "0.4"]],
}  # fmt: skip


@pytest.fixture
def files(tmp_path):
    (tmp_path / "script.toml").write_text(SCRIPT)
    (tmp_path / "day.csv").write_text("seconds,chats_per_hour\n0,100\n60,500\n120,0\n")
    dialect = (ROOT / "chatload" / "protocol" / "dialects" / "gms-v2.toml").read_text()
    (tmp_path / "mine.toml").write_text(dialect)
    names = {"SCRIPT": "script.toml", "PROFILE": "day.csv", "DIALECT": "mine.toml"}
    return {word: str(tmp_path / name) for word, name in names.items()}


@pytest.mark.parametrize("given", OWN[NAME], ids=" ".join)
def test_the_command_in_the_report_makes_the_same_run(given, files):
    argv = ["-f", FILE, "--host", "http://127.0.0.1:1", "--headless", "--flex-disconnect-timeout", "41.7"]
    argv += [files.get(word, word) for word in given]
    settings, plan = settings_of(argv)
    assert "word" not in repeat_command(settings)
    command = shlex.split(repeat_command(settings).replace("\\\n", " "))
    assert command[0] == "locust"
    again, plan_again = settings_of(command[1:])
    assert again == settings
    assert plan_again.settings == plan.settings
    assert plan_again.gate == plan.gate
    # A capacity search that was given no ceiling has one, and the command names it.
    assert plan_again.rules == plan.rules or NAME == "capacity"


def test_a_start_that_was_checked_has_the_plan_of_the_check():
    argv = ["-f", FILE, "--host", "http://127.0.0.1:1", "--headless"]
    options = argument_parser.get_parser(default_config_files=[]).parse_args(argv)
    coordinator = RunCoordinator(Environment(parsed_options=options))
    plan = coordinator.plan_for(options, options.host)
    options.arrivals_shared = (1, 0.0)  # what the start itself adds
    assert coordinator.plan_for(options, options.host) is plan
    options.chat_length = "7m"
    assert coordinator.plan_for(options, options.host).run.chat_length == 420.0


def test_locust_has_the_options_of_the_table():
    groups = {"arrivals": OptionGroup.ARRIVALS, "capacity": OptionGroup.CAPACITY, "interval_sweep": OptionGroup.SWEEP}
    parser = argument_parser.get_empty_argument_parser(default_config_files=[])
    events.init_command_line_parser.fire(parser=parser)
    ours = {action.option_strings[0]: action for action in parser._actions}
    for option in (one for group in {OptionGroup.RUN, groups.get(NAME, OptionGroup.RUN)} for one in options_of(group)):
        action = ours.pop(option.flag)
        # Locust's own form would set them back before each run.
        assert action.env_var == (option.variable or None) and not action.include_in_web_ui
    assert set(ours) <= {"-h", "-f", "--config"}


def test_a_script_and_a_dialect_stored_with_the_run_repeat_it(files, tmp_path):
    """From the run file alone: the files that the command names are gone, and those stored are put in their place."""
    more = ["--arrival-profile", files["PROFILE"]] if NAME == "arrivals" else []
    argv = ["-f", FILE, "--host", "http://127.0.0.1:1", "--headless", "--script", files["SCRIPT"],
            "--dialect", files["DIALECT"], *more]  # fmt: skip
    settings, plan = settings_of(argv)
    stored = RunSettings.from_dict(json.loads(json.dumps(settings.to_dict())), settings.files())
    assert stored == settings
    for name, text in repeat_files(stored).items():
        Path(name).unlink()
        Path(name).write_text(text)
    again, plan_again = settings_of(shlex.split(repeat_command(stored).replace("\\\n", " "))[1:])
    assert again == settings
    assert replace(plan_again.settings, script=plan.settings.script) == plan.settings
    assert session_settings(stored) == plan_again.settings


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("--no-such-option", "no such option: --no-such-option; chatload options lists chatload's options, locust"),
        ("--refresh-intervall=3 -u 1", "no such option: --refresh-intervall; did you mean --refresh-interval? "),
        ("-u 1 --run-tme 3 --other", "no such option: --run-tme; did you mean --run-time? chatload options lists"),
        ("--refresh-policy odd", "argument --refresh-policy: invalid choice: 'odd' (choose from 'fixed'"),
        ("-u", "argument -u/--users: expected one argument"),
    ],
)
def test_a_wrong_command_line_is_one_line_that_says_what_to_do(argv, says, capsys):
    with pytest.raises(SystemExit) as left:
        settings_of(["-f", FILE, *argv.split()])
    said = capsys.readouterr().err
    assert left.value.code == 2 and said.startswith(f"chatload: {says}") and said.count("\n") == 1
