"""`chatload campaign` for real: one campaign on a simulator whose limit and timeout the campaign does not know."""

import json
import signal
import subprocess
import sys

import jsonschema
import pytest

from tests.integration.processes import ENV, simulator
from tests.schemas import read_schema

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
LIMIT, TIMEOUT_S = 24, 1.6
FILE = """
host = "{host}"
chats_per_hour = 36000
handling_time = "3s"
flex_disconnect_timeout = "3s"
target_drop_rate = "40%"
time_available = "6m"
spare = 0
percentile = 95
"""


def test_a_campaign_finds_what_the_server_hides_and_proves_it(tmp_path):
    with simulator("--flex-disconnect-timeout", TIMEOUT_S, "--limit-for-sessions", LIMIT) as host:
        (tmp_path / "chatload.toml").write_text('approval_id = "CHG-7"\nmax_sessions = 60\n')
        (tmp_path / "peak.toml").write_text(FILE.format(host=host))
        command = [sys.executable, "-m", "chatload", "campaign", "peak.toml", "--yes"]
        # Ctrl-C during the second step; the same command goes on with it.
        first = subprocess.Popen(
            command, cwd=tmp_path, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for line in first.stdout:
            if line.startswith("2/6 probe ..."):
                first.send_signal(signal.SIGINT)
                break
        _, errors = first.communicate(timeout=60)
        assert first.returncode == 130 and "the same command resumes the campaign" in errors, errors
        done = subprocess.run(command, cwd=tmp_path, env=ENV, capture_output=True, text=True, timeout=360, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    folder = tmp_path / "peak"
    assert (folder / "2-probe.try-1").is_dir() and (folder / "signoff.html").is_file()
    facts = json.loads((folder / "signoff.json").read_text())
    jsonschema.validate(facts, read_schema("signoff", "signoff"))
    # What the server hides.
    assert (facts["capacity"]["lower"], facts["capacity"]["upper"]) == (LIMIT, LIMIT)
    assert facts["timeout"]["lower_s"] <= TIMEOUT_S <= facts["timeout"]["upper_s"] and facts["timeout"]["used_s"] < 3
    # 30 chats on average, 39 in 95 % of the hour: two servers with 20 each.
    assert facts["servers"] == {"needed": 2, "spare": 0, "total": 2} and facts["proof"]["chats"] == 20
    assert facts["refresh_interval_s"] < TIMEOUT_S and facts["proof"]["result"] == "passed"
    assert facts["permission"] == {"approval_id": "CHG-7", "allowed_hours": [], "max_sessions": 60,
                                   "max_requests_per_s": None}  # fmt: skip
    assert [step["exit_code"] for step in facts["steps"]] == [0] * 6 and all(step["sha256"] for step in facts["steps"])
