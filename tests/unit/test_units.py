"""Quantities as users write them, wherever they write them."""

import re
from importlib import resources

import pytest
from click.testing import CliRunner

from chatload import cli, units
from chatload.errors import FileError, UsageError
from chatload.protocol.dialect import parse_dialect
from chatload.run.settings import option_of
from chatload.simulator.model.faults import FaultPlan
from chatload.target import read_rules
from chatload.thresholds.metrics import parse


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45", 45), ("45s", 45), ("250ms", 0.25), ("1.1ms", 0.0011), ("8m", 480), ("8min", 480), ("1h", 3600),
        ("1h30m", 5400), ("1h 30m 5s", 5405), ("2d", 172_800), ("-2s", -2), (" 4,000 ", 4000), ("45 000 ms", 45),
        ("1e3", 1000), (".5h", 1800), ("0", 0),
    ],
)  # fmt: skip
def test_a_duration(text, seconds):
    assert units.duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "s",
        "5 minutes",
        "30m1h",
        "1m1m",
        "--5",
        "inf",
        "nan",
        "\u0664\u0665",  # digits of other scripts
        "\u0664\u0665s",
        "2,5s",
        "4,00",
        "1h-30m",
        "45S",
        "4.000,5",
    ],
)
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match=r"not a|too l"):
        units.duration(text)


@pytest.mark.parametrize(
    ("text", "likely"),
    [
        ("1e300", ""), ("1e400s", ""), ("1e9h", "; did you mean 1e9ms, that is 1000000s?"), ("99999999h30m", ""),
        ("320000000", "; did you mean 320000000ms, that is 320000s?"),
        ("60,000d", "; did you mean 60,000s, that is 60000s?"), ("100000h", "; did you mean 100000s, that is 100000s?"),
    ],
)  # fmt: skip
def test_a_duration_that_is_too_long_says_what_is_likely_meant(text, likely):
    with pytest.raises(units.TooLongError) as wrong:
        units.DURATION.read(text)
    assert str(wrong.value) == f"expected at most 10 years (3650d){likely}"
    assert units.duration("3650d") == units.LONGEST_S


def test_a_duration_that_needs_its_unit():
    assert units.duration("45s", unit_needed=True) == 45
    with pytest.raises(ValueError, match="not a duration"):
        units.duration("45", unit_needed=True)


@pytest.mark.parametrize(
    ("text", "per_s"), [("20", 20), ("20/s", 20), ("600/min", 10), ("600/m", 10), ("7,200/h", 2), ("7200 / h", 2)]
)
def test_a_rate(text, per_s):
    assert units.rate(text) == per_s
    assert units.rate(f"{text}" if "/" in text else f"{text}/s", "h") == per_s * 3600


def test_a_share_a_percentage_and_a_count():
    assert units.share("50%") == units.share("0.5") == 0.5
    assert units.marked_share("150%") == 1.5 and units.percentage("95%") == units.percentage("95") == 95
    assert units.count("4,000") == units.count("4000") == units.count("4_000") == 4000
    for parse_text, text in ((units.marked_share, "20"), (units.count, "1.5"), (units.rate, "4/week")):
        with pytest.raises(ValueError, match=r"not a|no % sign"):
            parse_text(text)


@pytest.mark.parametrize("given", ["0", 0, "-1s", "inf", float("nan"), "soon"])
def test_a_quantity_says_what_it_expects(given):
    with pytest.raises(ValueError, match=r"^expected a duration above 0, such as 300, 300s or 5m$"):
        units.DURATION.read(given)


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [
        ("arrival_rate", "4000/h", 4000 / 3600), ("max_requests_per_s", "600/min", 10), ("max_sessions", "4,000", 4000),
        ("chats", "10 000", 10_000), ("sweep", "50%,0.9", (0.5, 0.9)), ("judge", "2m-1h", "120-3600"),
    ],
)  # fmt: skip
def test_an_option_of_a_run(setting, text, value):
    assert option_of(setting).value(text) == value


def test_a_threshold():
    assert parse("margin.p1 > 1m").limit == 60 and parse("latency.p95 < 1s in every 1h").every_s == 3600
    assert str(parse("dropped.per_chat_hour < 0.2/h")) == "dropped.per_chat_hour < 0.2/h"


def rules(path):
    return read_rules({"CHATLOAD_CONFIG": str(path)}, path.parent / "no-site-file.toml")


@pytest.mark.parametrize(
    ("name", "text", "read", "value"),
    [
        ("f.toml", '[[fault]]\nkind = "slow"\ndelay_s = "250ms"', lambda p: FaultPlan.load(p).faults[0].delay_s, 0.25),
        ("chatload.toml", 'max_requests_per_s = "7,200/h"', lambda path: rules(path).max_requests_per_s, 2),
        ("chatload.toml", 'max_sessions = "4,000"', lambda path: rules(path).max_sessions, 4000),
    ],
)
def test_a_key_of_a_file(name, text, read, value, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    assert read(path) == value
    path.write_text(text.rpartition("=")[0] + '= "some"')
    with pytest.raises(FileError, match="expected"):
        read(path)


def test_a_time_of_a_dialect():
    text = resources.files("chatload.protocol.dialects").joinpath("gms-v2.toml").read_text()
    text = re.sub(r"(?m)^(keeps_ended_s|long_poll_s) *=.*\n", "", text)
    assert parse_dialect(text.replace("[server]", '[server]\nlong_poll_s = "25s"'), "x.toml").server.long_poll_s == 25


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("doctor --refresh-interval soon", "--refresh-interval soon: expected a duration from 10ms on, such as 3s"),
        ("doctor --users 4.5", "--users 4.5: expected a whole number from 1 on"),
        ("tune --host http://127.0.0.1:9 -r 0/min", "--spawn-rate 0/min: expected a rate above 0, such as 20 or 20/s"),
        ("plan --chats-per-hour 5/week", "--chats-per-hour 5/week: expected a rate above 0, such as 4000 or 4000/h"),
        ("simulator --agent-wait 1s later", "--agent-wait later: expected"),
        ("demo --seconds 1e300", "--seconds 1e300: expected at most 10 years (3650d)"),
        ("tune --host http://127.0.0.1:9 --chat-length 1e9h", "--chat-length 1e9h: expected at most 10 years (3650d);"),
        ("simulator --agent-wait 1s 1e300", "--agent-wait 1e300: expected"),
        ("report x --confidence 3", "--confidence 3: expected a percentage of 50 or more, below 100, such as 95"),
    ],
)
def test_an_option_of_a_command_is_named_with_an_example(command, says):
    with pytest.raises(UsageError) as refused:
        CliRunner().invoke(cli.main, command.split(), standalone_mode=False, catch_exceptions=False)
    assert says in str(refused.value)


@pytest.mark.parametrize("name", ["doctor", "forecast", "plan", "probe", "simulator", "tune"])
def test_the_help_of_a_command_says_how_its_quantities_are_written(name):
    told = " ".join(CliRunner().invoke(cli.main, [name, "--help"]).output.split())
    assert "DURATION: 45 or 45s, 250ms, 8m, 1h30m." in told
    assert ("RATE: 20/s" in told) == (name in ("plan", "tune"))
    assert " FLOAT " not in told and " S " not in told.partition("Options:")[2]


def test_a_plan_in_units():
    options = "--chats-per-hour 3,600 --handling-time 10m --poll-interval 3s --requests-per-server 18,000/min --json"
    plain = "--chats-per-hour 1/s --handling-time 600 --poll-interval 3 --requests-per-server 300 --json"
    made = [
        CliRunner().invoke(cli.main, ["plan", *text.split()], standalone_mode=False).output for text in (options, plain)
    ]
    assert made[0] == made[1] and '"chats"' in made[0]
