"""A real Locust run on the simulator, fitted and reproduced."""

import json

import pytest

from chatload.features.forecast import fit as fitting
from tests.integration.processes import HASTY, assert_balanced, chatload_here, locust, simulator, summary_of

pytestmark = pytest.mark.slow

FAULTS = """
seed = 3
[[fault]]
kind = "status_1"
chance = 0.05
[[fault]]
kind = "slow"
chance = 0.05
delay_s = 0.8
[[fault]]
kind = "outage"
from_s = 6.0
until_s = 8.4
"""
AGENTS = ("--agent-wait", "0.1", "0.6", "--agent-answer", "0.1", "0.5", "--agent-leaves-chance", "0.2",
          "--agent-leaves-after", "0.5", "2")  # fmt: skip


def test_a_real_run_is_reproduced_and_then_carried_on(tmp_path, monkeypatch):
    script = tmp_path / "script.toml"
    script.write_text(HASTY)
    with simulator("--flex-disconnect-timeout", "2", *AGENTS, faults=FAULTS, tmp_path=tmp_path) as host:
        made = locust(
            host, tmp_path / "run", "-u", "120", "-r", "120", "-t", "14s", "--flex-disconnect-timeout", "2",
            "--refresh-interval", "0.7", "--script", script,
        )  # fmt: skip
    assert "Traceback" not in made.stderr, made.stderr
    summary = summary_of(tmp_path / "run")
    assert_balanced(summary)
    if not summary["valid"]:
        pytest.skip(f"the machine had no time for the run: {summary['invalid_reasons']}")
    # A sixth of the replays for the fit, a third of those that judge it: each costs a second of CPU.
    monkeypatch.setattr(fitting, "FITTING_REQUESTS", 10_000)
    monkeypatch.setattr(fitting, "OFTEN", 8)
    told = chatload_here(
        "forecast", tmp_path / "run", "--sessions", "10000", "--customers", "100", "--for", "1m", "--processes", "1",
        "--json",
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    report = json.loads(told.stdout)
    requests, dropped = report["goodness"]["figures"][:2]
    assert (
        summary["sessions"]["by_verdict"]["dropped_late"] + summary["sessions"]["by_verdict"]["dropped_unproven"] > 10
    )
    assert requests["reproduced"] == pytest.approx(requests["measured"], rel=0.03)
    assert dropped["low"] <= dropped["reproduced"] <= dropped["high"]
    assert report["run"]["requests"] == sum(row["sent"] for row in summary["requests"]["by_operation"].values())
    (incident,) = report["fitted"]["incidents"]
    assert incident["end_s"] - incident["start_s"] == pytest.approx(2.4, abs=0.8)
    (prediction,) = report["predictions"]
    assert prediction["customers"] == 100
    assert prediction["requests_per_s"] == pytest.approx(10_000 / 120 * requests["measured"], rel=0.2)
