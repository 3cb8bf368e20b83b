"""What the simulator command refuses before it listens."""

from dataclasses import fields

import click
import pytest

from chatload.errors import FileError, UsageError
from chatload.simulator.command import simulator
from chatload.simulator.model.config import SETTINGS, SimulatorConfig

WRONG = [
    ("--flex-disconnect-timeout", "0.99"),
    ("--flex-disconnect-timeout", "-1"),
    ("--sweep-interval", "-1"),
    ("--flex-disconnect-timeout", "1728001"),
    ("--flex-disconnect-timeout", "nan"),
    ("--agent-wait", "2", "1"),
    ("--agent-answer", "-1", "1"),
    ("--agent-leaves-after", "0", "inf"),
    ("--agent-leaves-chance", "1.1"),
    ("--agent-leaves-chance", "nan"),
    ("--keeps-ended", "-1"),
    ("--idle-alert", "-1"),
    ("--idle-close", "inf"),
    ("--limit-for-sessions", "0"),
    ("--limit-for-flex-users", "0"),
    ("--limits-restore-threshold", "1.5"),
    ("--long-poll", "nan"),
    ("--transfer-gap", "2", "1"),
    ("--key-rotates-answers", "-1"),
    ("--message-max-bytes", "0"),
    ("--file-types", ""),
    ("--config", "/nowhere/simulator.toml"),
    ("--faults", "/nowhere/faults.toml"),
    ("--tls-cert", "/nowhere/cert.pem"),
    ("--tls-key", "/nowhere/key.pem"),
    ("--tls-cert", "/nowhere/cert.pem", "--tls-key", __file__),
    ("--tls-key", "/nowhere/key.pem", "--tls-cert", __file__),
    ("--tls-cert", __file__, "--tls-key", __file__),
]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_mistakes_are_usage_errors_in_one_line(monkeypatch, arguments):
    monkeypatch.setattr("chatload.simulator.http.server.run", lambda *_: pytest.fail("it went on to listen"))
    with pytest.raises(UsageError) as caught:
        simulator.main(["--port", "0", *arguments], standalone_mode=False)
    assert arguments[0] in str(caught.value) or arguments[-1] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_reach_the_model(monkeypatch):
    seen = []
    monkeypatch.setattr("chatload.simulator.http.server.run", lambda handler, *_: seen.append(handler.service.config))
    options = [
        "--flex-disconnect-timeout",
        "1.5",
        "--agent-wait",
        "1",
        "2",
        "--dropped-answer",
        "2",
        "--idle-alert",
        "0",
    ]
    simulator.main(options, standalone_mode=False)
    (config,) = seen
    assert (config.flex_disconnect_timeout_s, config.agent_wait_s) == (1.5, (1.0, 2.0))
    assert (config.dropped_answer, config.idle_alert_s, config.keeps_ended_s) == ("2", 0.0, 60.0)


def configured(monkeypatch, *options):
    seen = []
    monkeypatch.setattr("chatload.simulator.http.server.run", lambda handler, *_: seen.append(handler.service.config))
    simulator.main([str(option) for option in options], standalone_mode=False)
    (config,) = seen
    return config


def test_without_options_everything_is_as_the_model_has_it(monkeypatch):
    assert configured(monkeypatch) == SimulatorConfig()


def test_a_file_gives_settings_and_options_win_over_it(monkeypatch, tmp_path):
    file = tmp_path / "simulator.toml"
    file.write_text(
        'long-poll = "25s"\nagent-wait = [1, "2500ms"]\nagents = false\n'
        'limit-for-sessions = 9\ndropped-answer = "2"\nseed = -3\n'
    )
    config = configured(monkeypatch, "--config", file, "--long-poll", "7", "--file-deletes")
    assert (config.long_poll_s, config.agent_wait_s, config.agents) == (7.0, (1.0, 2.5), False)
    assert (config.limit_for_sessions, config.dropped_answer, config.seed) == (9, "2", -3)
    assert config.idle_alert_s == 255.0
    # Wherever it stands, the file comes first.
    assert configured(monkeypatch, "--agents", "--config", file).agents is True


MISTAKES = [
    ("long_poll = 1", "long_poll", "unknown key"),
    ("long-poll = true", "long-poll", "a duration"),
    ("long-poll = -1", "long-poll", "a duration"),
    ("long-poll = inf", "long-poll", "a duration"),
    ('long-poll = "soon"', "long-poll", "a duration such as 45s"),
    ("flex-disconnect-timeout = 0.5", "flex-disconnect-timeout", "1..1728000"),
    ("agent-wait = [2, 1]", "agent-wait", "LOW HIGH"),
    ("agent-wait = 2", "agent-wait", "LOW HIGH"),
    ("agent-wait = [1, 2, 3]", "agent-wait", "LOW HIGH"),
    ("agents = 1", "agents", "true or false"),
    ("bot-chance = 2", "bot-chance", "a share from 0 to 1"),
    ("repeat-events = 1.5", "repeat-events", "whole number"),
    ("limit-for-sessions = 0", "limit-for-sessions", "a whole number from 1 on"),
    ('refresh-message = "say"', "refresh-message", "auto, send, draft"),
    ("service = 3", "service", "text"),
    ("x", "", "not valid TOML"),
]


@pytest.mark.parametrize("text, key, expected", MISTAKES)
def test_mistakes_in_the_file_name_file_key_and_what_was_expected(tmp_path, text, key, expected):
    file = tmp_path / "simulator.toml"
    file.write_text(text)
    with pytest.raises(FileError) as caught:
        simulator.main(["--config", str(file)], standalone_mode=False)
    line = str(caught.value)
    assert line.startswith(f"{file}: {key}: " if key else f"{file}: ") and expected in line and "\n" not in line


def test_every_setting_has_an_option_with_help_and_stands_in_its_group():
    text = simulator.get_help(click.Context(simulator, info_name="simulator"))
    assert len(SETTINGS) == len(fields(SimulatorConfig))
    for key, setting in SETTINGS.items():
        group, after = text.index(f"\n{setting.metadata['group']}:\n"), text.index(f"  --{key} ")
        assert group < after and setting.metadata["help"]
        assert "\n\n" not in text[group + 1 : after]


@pytest.mark.parametrize(
    "arguments, says",
    [
        (("--read-timeout", "0"), "--read-timeout 0"),
        (("--read-timeout", "nan"), "--read-timeout nan"),
        (("--apikey", " a"), "--apikey is not fit for a header"),
        (("--apikey", ""), "--apikey is not fit for a header"),
        (("--dialect", "klingon"), "no dialect named 'klingon'"),
    ],
)
def test_mistakes_about_the_wire(monkeypatch, arguments, says):
    monkeypatch.setattr("chatload.simulator.http.server.run", lambda *_: pytest.fail("it went on to listen"))
    with pytest.raises(UsageError) as caught:
        simulator.main(["--port", "0", *arguments], standalone_mode=False)
    assert str(caught.value).startswith(says)
