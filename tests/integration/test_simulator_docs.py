"""docs/simulator.md: every line in it that one can type is typed, and does what it says."""

import json
import re
import subprocess

import pytest

from chatload.protocol.dialect import load_dialect
from tests.integration.processes import ROOT, ledger_of
from tests.integration.wire import started

PAGE = (ROOT / "docs" / "simulator.md").read_text()


def lines(kind):
    blocks = re.findall(rf"^```{re.escape(kind)}\n(.*?)^```", PAGE, re.M | re.S)
    # Its other commands start simulators (test_docs_blocks.py).
    return [line for block in blocks for line in block.splitlines() if not line.startswith("chatload ")]


def typed(url, commands):
    """What each printed, all in one shell that stops at the first that fails."""
    script = "set -eu\n" + "".join(f"{command}\nprintf '\\0'\n" for command in commands)
    script = script.replace("http://127.0.0.1:8080", url).replace("curl -s", "curl -sf --max-time 10")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return dict(zip(commands, done.stdout.split("\0"), strict=False))


def test_every_line_works():
    commands = lines("sh")
    with started() as (_, url):
        printed = typed(url, commands)
        (row,) = ledger_of(url)
    answers = [json.loads(text) for command, text in printed.items() if "$ID" in command and text[:1] == "{"]
    assert len(answers) == 12 and all(answer["statusCode"] == 0 for answer in answers), answers
    assert [text for command, text in printed.items() if "/download" in command] == ["a file\n"]
    done = [operation for _, operation, *_ in row["contacts"]]
    assert sorted(done) == sorted(load_dialect("gms-v2").operations) and done[-1] == "Disconnect"
    assert len(done) == sum("curl" in command and "/simulator/" not in command for command in commands)


def test_the_line_for_the_other_dialect_works():
    (command,) = lines("{.sh .webapi}")
    with started("--dialect", "webapi") as (_, url):
        assert json.loads(typed(url, [f"HOST={url}", command])[command])["statusCode"] == 0


@pytest.mark.parametrize("operation", load_dialect("gms-v2").operations)
def test_every_operation_is_named(operation):
    assert f"**{operation}**" in PAGE
