"""What the simulator command refuses before it listens."""

import pytest

from chatload.errors import UsageError
from chatload.simulator.command import simulator

WRONG = [
    ("--flex-disconnect-timeout", "0.99"),
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
    ("--faults", "/nowhere/faults.toml"),
]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_mistakes_are_usage_errors_in_one_line(monkeypatch, arguments):
    monkeypatch.setattr("chatload.simulator.serve.run", lambda *_: pytest.fail("it went on to listen"))
    with pytest.raises(UsageError) as caught:
        simulator.main(["--port", "0", *arguments], standalone_mode=False)
    assert arguments[0] in str(caught.value) or arguments[-1] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_reach_the_model(monkeypatch):
    seen = []
    monkeypatch.setattr("chatload.simulator.serve.run", lambda config, *_: seen.append(config))
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
