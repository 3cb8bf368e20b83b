"""Every code block of README.md and docs/: commands are run, files are loaded, and outputs are what is printed.

tests/docs_blocks.py has what is run in place of hosts that do not exist and of runs that take hours.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from chatload import Simulator
from chatload.chat.script import load_script
from chatload.features.campaign.campaign_file import load_campaign
from chatload.protocol.dialect import parse_dialect
from chatload.run.arrivals import load_profile
from chatload.simulator.model.faults import FaultPlan
from chatload.target import read_rules
from chatload.thresholds.metrics import parse
from tests.docs_blocks import BLOCKS, CODES, SHORTER, SUBSTITUTIONS, Block
from tests.integration.processes import ENV, ROOT, chatload_here
from tests.integration.test_stopping import free_port
from tests.unit.campaign_steps import StagedCampaign
from tests.unit.test_dialect import GMS
from tests.unit.test_har import CHAT, recording
from tests.unit.test_history_command import SERVICE, make_run
from tests.virtual.forecast_runs import record

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # the first test waits for all blocks that start processes
#: Pages whose blocks of these languages are run by a test of their own.
OF_ANOTHER_TEST = {
    ("docs/tutorial.md", "sh"): "tests/integration/test_tutorial.py",
    ("docs/simulator.md", "sh"): "tests/integration/test_simulator_docs.py",
    ("docs/simulator.md", "{.sh .webapi}"): "tests/integration/test_simulator_docs.py",
    ("docs/ci.md", "yaml"): "tests/integration/test_ci_recipes.py",
    ("docs/python.md", "python"): "tests/unit/test_public_face.py",  # and tests/integration/test_examples.py
}
#: Everything that no test runs. A new one needs a reason that is as good.
NEVER_RUN = {
    "docs/tutorial.md": "installs packages; tests/integration/test_wheel.py does it with the wheel",
    "docs/simulator-speed.md": "needs wrk, and two cores for a minute",
    "docs/live.md": "needs the packages of OpenTelemetry and a collector",
}
LANGUAGES = {"sh", "{.sh .webapi}", "python", "toml", 'toml title="peak.toml"', "yaml", "csv", "text"}
#: Blocks of these pages that their tests leave out: simulators, and the campaign up to its question. The load of a
#: campaign is that of tests/integration/test_campaign_real.py.
LEFT_OUT = {"docs/tutorial.md": r"8082|chatload campaign", "docs/simulator.md": r"^chatload simulator"}
SHELL = [
    block
    for block in BLOCKS
    if (block.language == "sh" and not block.not_run)
    and ((block.page, "sh") not in OF_ANOTHER_TEST or re.search(LEFT_OUT[block.page], block.text))
]
AT_ONCE = 2

#: Commands that need neither a network nor another process. They are run here: to start one costs more than its work.
HERE = (
    "chatload report", "chatload export", "chatload combine", "chatload compare", "chatload history", "chatload plan",
    "chatload drift", "chatload forecast", "chatload script", "chatload signoff", "chatload reconcile",
)  # fmt: skip
#: Of bash, before each block: `chatload simulator` is started as in another window.
PRELUDE = """
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
chatload() {
  if [ "$1" != simulator ]; then command chatload "$@"; return; fi
  command chatload "$@" > simulator.out &
  until grep -q listening simulator.out; do kill -0 $!; sleep 0.05; done
}
set -e
"""


def filled_in(text: str, url: str) -> str:
    """The text of a block with everything that SUBSTITUTIONS names replaced, as one line a command."""
    text = re.sub(r" *\\\n\s*", " ", text)
    text = re.sub(r" &$", "", text, flags=re.M)  # the prelude starts simulators in the background
    for old, new in SUBSTITUTIONS.items():
        text = text.replace(old, new)
    for place in ("{port}", "{url}", "{root}"):
        if place in text:
            text = text.replace(place, {"{url}": url, "{root}": str(ROOT)}.get(place) or str(free_port()))
    return "".join(shorter(line) + "\n" for line in text.splitlines())


def shorter(line: str) -> str:
    """A command with the options of SHORTER, before its comment."""
    command, comment = re.fullmatch(r"(.*?)(\s+#.*)?", line).groups("")
    if re.match(r"(\w+=\S+ )*locust ", command) or command.startswith("chatload run "):
        kind = re.search(r"\b(arrivals|capacity)\b", command)
        options = SHORTER[kind[1] if kind else "locust"]
        command, *rest = re.split(r"(?= \|\| )", command, maxsplit=1)
        return f"{command} {options}{''.join(rest)}{comment}"
    return line


def commands_of(text: str) -> list[list[str]]:
    """The words of each command; names of files that have a * are those of the folder."""
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [
        [found for word in words for found in (sorted(glob.glob(word)) if "*" in word else [word])]
        for words in lines if words
    ]  # fmt: skip


def is_run_here(block: Block) -> bool:
    """Whether all its commands read files only."""
    lines = re.sub(r" *\\\n\s*", " ", block.text).splitlines()
    return all(" ".join(line.split()[:2]) in HERE for line in lines)


def codes_of(text: str) -> tuple[int, ...]:
    """The exit codes that a command may end with."""
    return next((codes for part, codes in CODES.items() if part in text), (0,))


@pytest.fixture(scope="module")
def server():
    with Simulator("--flex-disconnect-timeout", 3) as simulator:
        yield simulator.url


def furnish(folder: Path) -> None:
    """Put in a folder what the pages find in a checkout, and a recording and a campaign file."""
    folder.mkdir(exist_ok=True)
    for name in ("locustfiles", "examples", "bench", "tests", "chatload"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "locustfiles" / "weekday.csv", folder)
    (folder / "minute.csv").write_text("time,chats_per_hour\n00:00,36000\n00:01,0\n")
    made = recording(folder, CHAT)
    for name in ("monday.har", "tuesday.har"):
        shutil.copy(made, folder / name)
    peak = next(block for block in BLOCKS if block.page == "docs/campaign.md" and block.language == "toml")
    (folder / "peak.toml").write_text(peak.text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of which the pages speak."""
    folder = tmp_path_factory.mktemp("docs")
    furnish(folder)
    for seed, name in enumerate(("reports/mine", "reports/soak", "chatload-run")):
        (folder / name).parent.mkdir(exist_ok=True)
        run = record(folder / name, ("fixed", 9.0, 3.0), users=20, run_s=60.0, chat_s=20.0, seed=seed)
        if name == "reports/mine":
            (folder / "ledger.ndjson").write_text("".join(json.dumps(row) + "\n" for row in run.ledger))
    for night in range(8):
        for name in (("reports/v1", "reports/v2")[night % 2], ("compare/base", "compare/new")[night % 2]):
            make_run(folder / f"{name}-{night}", SERVICE, night)
        make_run(folder / "reports" / "nightly" / f"2026-11-0{night + 1}", SERVICE, night)
    StagedCampaign(folder / "peak").run()
    return folder


@pytest.fixture(scope="module")
def ended(folder: Path, server: str, request: pytest.FixtureRequest):
    """What each block that runs processes came to: by its name, the finished process. Of the pages asked for."""
    items = [item for item in request.session.items if item.module is request.module and hasattr(item, "callspec")]
    pages = {item.callspec.params["block"].page for item in items}
    path = f"{Path(sys.executable).parent}{os.pathsep}{ENV['PATH']}"
    environment = {**ENV, "PATH": path, "COLUMNS": "80"}

    def run(block: Block):
        script = filled_in(block.text, server)
        place = folder / re.sub(r"\W", "-", block.name)
        furnish(place)
        # A block that hangs ends with 124, and fails alone.
        return script, subprocess.run(
            ["timeout", "100", "bash", "-c", PRELUDE + script], cwd=place, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip

    with ThreadPoolExecutor(AT_ONCE) as pool:
        blocks = [block for block in SHELL if block.page in pages and not is_run_here(block)]
        begun = {block.name: pool.submit(run, block) for block in blocks}
        done = {name: future.result() for name, future in begun.items()}
    # Runs of real load, which other blocks of the page read.
    for name in ("sweep", "capacity"):
        for made in folder.glob(f"docs-plan-md-*/reports/{name}"):
            (folder / "reports" / name).symlink_to(made)
    return done


@pytest.mark.parametrize("block", [block for block in SHELL if not is_run_here(block)], ids=lambda block: block.name)
def test_commands_that_start_processes(ended, block):
    script, done = ended[block.name]
    assert "Traceback" not in done.stdout, done.stdout
    assert done.returncode in codes_of(script), f"{script}\nexit {done.returncode}\n{done.stdout}"


@pytest.mark.parametrize("block", [block for block in SHELL if is_run_here(block)], ids=lambda block: block.name)
def test_commands_that_read_files(folder, server, ended, block, monkeypatch):
    monkeypatch.chdir(folder)
    for words in commands_of(filled_in(block.text, server)):
        done = chatload_here(*words[1:])
        assert done.returncode in codes_of(" ".join(words)), f"{words}\n{done.stdout}{done.stderr}"


def test_what_plan_prints_is_on_the_page(monkeypatch, folder):
    """The first command of the page, whose output needs no run."""
    monkeypatch.setenv("COLUMNS", "80")
    blocks = [block for block in BLOCKS if block.page == "docs/plan.md"]
    command = commands_of(filled_in(blocks[0].text, ""))[0]
    printed = chatload_here(*command[1:]).stdout
    shown = next(block for block in blocks if block.language == "text").text
    for part in shown.split("...\n"):
        assert part in printed, printed


def test_files_of_the_pages_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "locustfiles" / "weekday.csv", tmp_path)
    (tmp_path / "customers.toml").write_text('chat_length = "8m"\n')
    loaders = {
        ("docs/campaign.md", "host = "): load_campaign,
        ("docs/tutorial.md", "title"): load_campaign,
        ("docs/personas.md", "[[extras]]"): load_script,
        ("docs/plan.md", "chats_per_day"): lambda file: chatload_here("plan", "--from", file).returncode == 0,
        ("docs/running.md", "Authorization"): lambda file: (
            parse_dialect(
                GMS.replace("[request.headers]\n", file.read_text()), "mine.toml", {"CHAT_LOGIN": "x"}
            ).request.headers
        ),
        ("docs/safety.md", "allowed_hours"): lambda file: read_rules({}, file),
        ("docs/safety.md", "allowed_targets"): lambda file: read_rules({}, file),
        ("docs/simulator.md", "[[fault]]"): FaultPlan.load,
        ("docs/workloads.md", "time,chats"): load_profile,
    }
    for block in BLOCKS:
        kind = block.language.split()[0]
        if kind in ("toml", "csv"):
            file = tmp_path / f"file.{kind}"
            file.write_text(block.text)
            (load,) = (load for (page, part), load in loaders.items() if page == block.page and part in block.text)
            assert load(file), block.name
        elif kind == "yaml" and (block.page, "yaml") not in OF_ANOTHER_TEST:
            assert yaml.safe_load(block.text), block.name


def test_every_threshold_is_one():
    options = [block.text for block in BLOCKS if block.page != "docs/reference/commands.md"]
    expressions = re.findall(r"--threshold '([^']+)'", "".join(options))
    (examples,) = (block.text for block in BLOCKS if block.page == "docs/reference/metrics.md")
    expressions += examples.split("\n")[:-1]
    assert len(expressions) > 15
    for expression in expressions:
        assert parse(expression)


def test_every_block_says_what_it_is():
    """An indented block has no language: nobody could say whether it is a command or an output."""
    wrong = [block.name for block in BLOCKS if block.language not in LANGUAGES]
    assert not wrong, f"write these with a fence and one of {sorted(LANGUAGES)}: {wrong}"
    commands = [
        block.name
        for block in BLOCKS
        if block.language == "text" and re.search(r"^(chatload|locust|make|pip|curl) ", block.text, re.M)
    ]
    assert [name for name in commands if "reference/" not in name] == []


def test_blocks_that_no_test_runs_are_few_and_have_a_reason():
    never = [(block.page, block.not_run) for block in BLOCKS if block.not_run]
    assert sorted(never) == sorted(NEVER_RUN.items())
    python = {block.page for block in BLOCKS if block.language == "python"}
    assert {(page, "python") for page in python} <= OF_ANOTHER_TEST.keys()
    for test in OF_ANOTHER_TEST.values():
        assert (ROOT / test).exists()
    # Each line of the table is used.
    text = "".join(re.sub(r" *\\\n\s*", " ", block.text) for block in BLOCKS)
    assert [old for old in SUBSTITUTIONS if old not in text] == []
