"""Full runs of real Locust processes in a dialect made by a user, with everything going wrong."""

import pytest

from tests.integration.processes import ENV, HASTY, ROOT, assert_balanced, chatload_here, locust, simulator, summary_of

pytestmark = pytest.mark.slow

FAULTS = """
seed = 7
[[fault]]
kind = "outage"
from_s = 4.0
until_s = 6.5
[[fault]]
kind = "status_1"
chance = 0.05
[[fault]]
kind = "status_1_violation"
chance = 0.02
[[fault]]
kind = "status_2"
chance = 0.01
[[fault]]
kind = "malformed"
chance = 0.02
[[fault]]
kind = "http_503"
chance = 0.02
[[fault]]
kind = "drop_connection"
chance = 0.02
"""
AGENTS = ("--agent-wait", "0.1", "0.6", "--agent-answer", "0.1", "0.5", "--agent-leaves-chance", "0.2")
LEAVES = ("--agent-leaves-after", "0.5", "2")


def of_ones_own(tmp_path):
    """A dialect made from the worked example, with names of its own and a key from the environment."""
    text = (ROOT / "chatload" / "protocol" / "dialects" / "webapi.toml").read_text()
    changed = (
        text.replace('"sessionId"', '["session", "id"]')
        .replace('operation = "operationName"', 'operation = ["call", "name"]')
        .replace('messages = ["transcript", "events"]', 'messages = ["answer", "script", "rows"]')
        .replace('status_code = "statusCode"', 'status_code = ["answer", "code"]')
        .replace("[request.headers]\n", '[request.headers]\napikey = { env = "CHATLOAD_APIKEY" }\n')
    )
    assert changed.count("[") >= text.count("[") + 4
    file = tmp_path / "own.toml"
    file.write_text(changed)
    return file


@pytest.mark.parametrize(
    "transport",
    ["lean", "requests"],
)
def test_a_dialect_of_ones_own_holds_chats_like_any(transport, tmp_path, monkeypatch):
    dialect = of_ones_own(tmp_path)
    monkeypatch.setitem(ENV, "CHATLOAD_APIKEY", "k-17")
    monkeypatch.setitem(ENV, "CHATLOAD_SIMULATOR_APIKEY", "k-17")
    script = tmp_path / "script.toml"
    script.write_text(HASTY)
    run_dir = tmp_path / "run"
    options = ("--flex-disconnect-timeout", "2", "--dialect", dialect, *AGENTS, *LEAVES)
    with simulator(*options, faults=FAULTS, tmp_path=tmp_path) as host:
        run = locust(
            host, run_dir, "-u", "30", "-r", "30", "--chats", "120", "-t", "60s", "--flex-disconnect-timeout", "2",
            "--script", script, "--dialect", dialect, "--transport", transport,
        )  # fmt: skip
        assert "Traceback" not in run.stderr, run.stderr
        reconciled = chatload_here("reconcile", run_dir, "--ledger", host)
    assert reconciled.returncode == 0, reconciled.stdout + reconciled.stderr
    summary = summary_of(run_dir)
    assert_balanced(summary)
    verdicts = summary["sessions"]["by_verdict"]
    assert summary["sessions"]["started"] == 120
    assert verdicts["completed"] > 20 and verdicts["dropped_late"] > 0 and verdicts["ended_by_agent"] > 0


def test_a_key_that_is_missing_and_a_key_that_is_wrong_stop_the_run_before_any_chat(tmp_path, monkeypatch):
    own = of_ones_own(tmp_path)
    with simulator("--dialect", own, "--apikey", "k-17") as host:
        ask = (host, tmp_path / "run", "-u", "1", "-t", "5s", "--flex-disconnect-timeout", "2", "--dialect", own)
        missing = locust(*ask)
        monkeypatch.setitem(ENV, "CHATLOAD_APIKEY", "k-18")
        wrong = locust(*ask)
    assert missing.returncode == 2 and wrong.returncode == 2
    assert "request.headers.apikey: the environment variable CHATLOAD_APIKEY is not set" in missing.stderr
    assert "HTTP 403" in wrong.stderr and "k-18" not in wrong.stderr + wrong.stdout
