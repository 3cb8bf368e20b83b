"""docs/tutorial.md: its commands before the campaign, in the order of the page, with shorter runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.processes import ENV, ROOT, fails_by_stalls_alone, summary_of
from tests.integration.test_stopping import free_port

PAGE = (ROOT / "docs" / "tutorial.md").read_text()
#: The first block installs chatload. The campaign has a test of its own (test_campaign_real.py).
OTHERS = ("pip install", "chatload campaign", "8082")


@pytest.mark.slow
def test_its_commands_do_what_the_page_says(tmp_path):
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S)
    script = "".join(block for block in blocks if not any(word in block for word in OTHERS))
    assert script.count("locust") == 3 and script.count("chatload simulator") == 2
    for port in ("8080", "8081"):
        script = script.replace(port, str(free_port()))
    script = re.sub(r"^locust(.*?)(?: -t \S+)?$", r"locust\1 -t 6s -u 20; echo EXIT $?", script, flags=re.M)
    # The address that `chatload init` writes is that of the first simulator.
    first = re.search(r"--port (\d+)", script)[1]
    script = script.replace("cd first\n", f"cd first; sed -i s/8080/{first}/ locust.conf\n")
    # A shell that runs a script starts the next command before a simulator listens.
    listens = "until grep -q listening simulator.out; do sleep 0.1; done; rm simulator.out"
    script = re.sub(r"^(chatload simulator .*) &$", rf"\1 > simulator.out &\n{listens}", script, flags=re.M)
    environment = {**ENV, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{ENV['PATH']}"}
    done = subprocess.run(
        [shutil.which("bash"), "-c", "trap 'kill $(jobs -p)' EXIT\n" + script],
        cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=150, check=False,
    )  # fmt: skip
    said = done.stdout
    runs = sorted((tmp_path / "first" / "reports").glob("*/run.sqlite"))
    summaries = [summary_of(run.parent) for run in sorted(runs, key=lambda run: run.stat().st_ctime)]
    # Too few chats in six seconds; another timeout, with drops in bursts or not; too few chats.
    for code, expected, summary in zip(
        re.findall(r"^EXIT (\d+)", said, re.M), ("4", "14", "4"), summaries, strict=True
    ):
        assert code in expected or fails_by_stalls_alone(summary, ("pass", "inconclusive")), said
    words = " ".join(said.split())
    assert "were or may have been dropped by the server" in words and "The timeout of 45 s is probably wrong" in words
    lower, upper = map(float, re.search(r"^timeout +[\d.]+ s +([\d.]+) s to ([\d.]+) s", said, re.M).groups())
    assert 2.4 < lower <= 2.5 <= upper < 2.6
