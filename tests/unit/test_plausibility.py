"""Warnings about values that are surely meant otherwise, and about variables that set nothing."""

import pytest
from click.testing import CliRunner

from chatload import cli
from chatload.errors import UsageError
from chatload.plausibility import PAIRS, VALUES, doubtful, unknown_variables
from chatload.protocol.dialect import variables_of
from chatload.run.settings import ClassSettings, RunSettings, unknown_settings
from chatload.swarm.checks import doubts
from chatload.thresholds.gate import make_gate

#: One doubtful value for each rule, and the warning.
DOUBTFUL = [
    ({"--flex-disconnect-timeout": 45000}, "45000 is 12.5 hours: did you mean 45000ms, that is 45s?"),
    ({"--refresh-interval": 3000}, "3000 is 50 minutes: did you mean 3000ms, that is 3s?"),
    ({"--poll-interval": 3000}, "did you mean 3000ms, that is 3s?"),
    ({"--long-poll": 25000}, "did you mean 25000ms, that is 25s?"),
    ({"--chat-length": 480_000}, "480000 is 5.56 days: did you mean 480000ms, that is 480s?"),
    ({"--handling-time": 8}, "8 is 8 seconds: did you mean 8m?"),
    ({"--handling-time": 480_000}, "did you mean 480000ms, that is 480s?"),
    ({"--patience": 3}, "3 is 3 seconds: did you mean 3m?"),
    ({"--service-time": 20}, "20 is 20 seconds: did you mean 20ms, that is 0.02s?"),
    ({"--arrival-rate": 4000}, "4000 is 4000 chats per second: did you mean 4000/h, that is 1.11/s?"),
    ({"--resolution": 0.1}, "0.1 is 0.1 %: did you mean 10%?"),
    ({"--target": 1}, "1 is 100 %: did you mean 1%?"),
    ({"--target-drop-rate": 1}, "1 is 100 %: did you mean 1%?"),
    ({"--drop-rate-bound": 1}, "1 is 100 %: did you mean 1%?"),
    (
        {"--request-timeout": 3000, "--flex-disconnect-timeout": 45},
        "did you mean 3000ms, that is 3s? A request may take",
    ),
    ({"--request-timeout": 60, "--flex-disconnect-timeout": 45}, "60 is 1 minute: did you mean less? A request"),
]


@pytest.mark.parametrize(("values", "says"), DOUBTFUL)
def test_a_doubtful_value_is_one_warning_with_the_likely_meaning(values, says):
    (warning,) = doubtful(values)
    flag = next(iter(values))
    assert warning.startswith(f"{flag} {values[flag]:g} is ") and says in warning
    assert doubtful(values, about=flag) == [warning] and doubtful(values, about="--users") == []


def test_every_rule_has_a_case_and_an_option():
    of_values = [flag for values, _ in DOUBTFUL if len(values) == 1 for flag in values]
    assert sorted(of_values) == sorted(rule.flag for rule in VALUES)
    assert {tuple(values) for values, _ in DOUBTFUL if len(values) == 2} == {(pair.flag, pair.other) for pair in PAIRS}
    commands = [cli.main.get_command(None, name) for name in ("plan", "simulator", "tune")]
    flags = {flag for command in commands for parameter in command.params for flag in parameter.opts}
    flags |= {setting.metadata["setting"].option.flag for setting in RunSettings.__dataclass_fields__.values()
              if setting.metadata["setting"].option}  # fmt: skip
    assert {*of_values, *(pair.flag for pair in PAIRS)} <= flags


def test_usual_values_are_not_doubted():
    usual = {
        "--flex-disconnect-timeout": 3600, "--refresh-interval": 600, "--request-timeout": 10, "--chat-length": 7200,
        "--handling-time": 60, "--patience": 20, "--arrival-rate": 100, "--resolution": 5, "--target-drop-rate": 0.01,
    }  # fmt: skip
    assert doubtful(usual) == []


def test_a_run_and_its_thresholds():
    run = RunSettings(flex_disconnect_timeout=45000.0, request_timeout=10.0)
    gate = make_gate(["dropped_late.rate < 1", "unserved.rate < 100%", "unserved.rate < 99%"], ["dropped.rate < 1"])
    timeout, late, unserved, abort = doubts(run, gate)
    assert timeout.startswith("--flex-disconnect-timeout 45000 is 12.5 hours")
    assert late == (
        "threshold 'dropped_late.rate < 1' is met by any rate below 100 %: did you mean 'dropped_late.rate < 1%'?"
    )
    assert "unserved.rate < 100%" in unserved and "'dropped.rate < 1%'?" in abort
    assert doubts(RunSettings(flex_disconnect_timeout=45.0), make_gate([], named="standard")) == []


def test_the_settings_of_a_user_class_are_doubted_too():
    classes = (ClassSettings("Web", refresh_interval=3000.0), ClassSettings("App", refresh_interval=3.0))
    run = RunSettings(flex_disconnect_timeout=45.0, refresh_interval=3.0, classes=classes)
    (warning,) = doubts(run, make_gate([], named="standard"))
    assert warning.startswith("user class Web: --refresh-interval 3000 is 50 minutes: did you mean 3000ms")


def test_a_command_warns_on_stderr_and_goes_on(tmp_path):
    options = [
        "--chats-per-hour",
        "3600",
        "--handling-time",
        "8",
        "--poll-interval",
        "3",
        "--preset",
        "genesys-sizing",
        "--json",
    ]
    made = CliRunner().invoke(cli.main, ["plan", *options], standalone_mode=False)
    warning = "--handling-time 8 is 8 seconds: did you mean 8m?\n"
    assert made.exception is None and made.stderr == f"chatload: warning: {warning}" and made.stdout.startswith("{")
    file = tmp_path / "plan.toml"
    file.write_text('handling_time = "8s"\n')
    made = CliRunner().invoke(
        cli.main, ["plan", "--from", str(file), *options[:2], *options[4:]], standalone_mode=False
    )
    assert made.stderr == f"chatload: warning: {file}: {warning}"


@pytest.mark.parametrize("words", [("--request-timeout", "60", "--flex-disconnect-timeout", "45"),
                                   ("--flex-disconnect-timeout", "45", "--request-timeout", "60")])  # fmt: skip
def test_two_options_of_a_command_in_either_order(words):
    made = CliRunner().invoke(cli.main, ["probe", "--host", "nowhere", *words], standalone_mode=False)
    assert isinstance(made.exception, UsageError)
    assert made.stderr.count("A request may take longer than --flex-disconnect-timeout (45s)") == 1


def test_a_variable_that_sets_nothing_is_named_with_the_closest_one(monkeypatch):
    known = ["CHATLOAD_REFRESH_INTERVAL", "CHATLOAD_CONFIG"]
    given = ["CHATLOAD_REFRESH_INTERVALL", "CHATLOAD_CONFIG", "HOME", "CHATLOAD_X"]
    closest, other = unknown_variables(given, known)
    assert closest == (
        "the environment variable CHATLOAD_REFRESH_INTERVALL sets nothing; did you mean CHATLOAD_REFRESH_INTERVAL?"
    )
    assert other.startswith("the environment variable CHATLOAD_X sets nothing; chatload options lists")


def test_the_variables_of_options_files_and_dialects_are_known(monkeypatch, tmp_path):
    for name in ("CHATLOAD_REFRESH_POLICY", "CHATLOAD_CONFIG", "CHATLOAD_SIMULATOR_APIKEY", "CHATLOAD_RUN_DIR"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("CHATLOAD_TOKEN", "x")
    others = [text for text in unknown_settings(["gms-v2"]) if "CHATLOAD_TOKEN" not in text]
    dialect = tmp_path / "mine.toml"
    dialect.write_text('[request.headers]\nToken = { env = "CHATLOAD_TOKEN" }\n')
    assert variables_of(str(dialect)) == {"CHATLOAD_TOKEN"} and variables_of("gms-v2") == set()
    assert unknown_settings([str(dialect)]) == others
    assert len(unknown_settings(["gms-v2"])) == len(others) + 1


@pytest.mark.parametrize(
    ("words", "name", "told"),
    [
        (["doctor", "--users", "x"], "CHATLOAD_DIALEKT", "did you mean CHATLOAD_DIALECT?"),
        (["probe", "--host", "nowhere"], "CHATLOAD_DIALEKT", "did you mean CHATLOAD_DIALECT?"),
        (["simulator", "--port", "x"], "CHATLOAD_SIMULATOR_APIKEI", "did you mean CHATLOAD_SIMULATOR_APIKEY?"),
        (["campaign", "peak.toml"], "CHATLOAD_DIALEKT", "did you mean CHATLOAD_DIALECT?"),
        (["doctor", "--users", "x", "--dialect=mine.toml"], "CHATLOAD_DIALEKT", ""),
    ],
)
def test_commands_without_locust_name_a_variable_that_sets_nothing(words, name, told, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, "x")
    (tmp_path / "mine.toml").write_text('[request.headers]\nToken = { env = "CHATLOAD_DIALEKT" }\n')
    (tmp_path / "peak.toml").write_text('host = "http://203.0.113.7"\nhandling_time = "8m"\nchats_per_hour = 9\n'
                                        'time_available = "1h"\n')  # fmt: skip
    with pytest.raises(SystemExit) as left:
        cli.run(words)
    assert left.value.code == 2
    warned = [line for line in capsys.readouterr().err.splitlines() if name in line]
    assert [line.endswith(told) for line in warned] == ([True] if told else [])


def test_a_default_is_not_meant_otherwise():
    words = ["probe", "--host", "nowhere", "--flex-disconnect-timeout", "3s"]
    made = CliRunner().invoke(cli.main, words, standalone_mode=False)
    # The default of --request-timeout is 5 s.
    assert "warning" not in made.stderr
