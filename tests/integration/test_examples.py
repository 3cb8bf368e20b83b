"""examples/ and the locustfiles of docs/python.md are run for a few seconds, several at a time.

An example is run by the commands of its own header.
"""

import ast
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from chatload import Simulator
from tests.integration.processes import ENV, ROOT, assert_balanced, summary_of
from tests.integration.test_stopping import ports
from tests.integration.warm_locust import run_locust
from tests.unit.test_public_face import BLOCKS, is_locustfile

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
URL = "http://127.0.0.1:8080"
PROGRAMS = {"python": (sys.executable,), "locust": (sys.executable, "-m", "locust")}
AT_ONCE = 4
PAGE = [block for block in BLOCKS if is_locustfile(block)]
SERVER = ("--flex-disconnect-timeout", "5")
LOGIN = (*SERVER, "--token-life", "60")


def commands_of(example):
    """The commands in the header: its indented lines, each a list of words."""
    header = ast.get_docstring(ast.parse(example.read_text()))
    lines = header.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("    ")]


#: Not parsed in threads: two of them at once fail with a SystemError, https://github.com/python/cpython/issues/106905.
COMMANDS = {example.name: commands_of(example) for example in EXAMPLES}


def server_of(name):
    """The options of `chatload simulator` that the header gives; None where it starts no simulator."""
    commands = COMMANDS[name]
    return tuple(commands[0][2:]) if commands[0][:2] == ["chatload", "simulator"] else None


def run(words, run_dir):
    """Run one command to its end and return (exit code, output)."""
    command = [*PROGRAMS[words[0]], *(str(run_dir) if word == "reports/mine" else word for word in words[1:])]
    if words[0] == "locust":
        shape = words[2].endswith(("load_shape.py", "fixed_count.py"))
        # Several runs go on at a time: each master needs a port of its own.
        command += map(str, ports()) if "--processes" in words else ()
        command += [*(() if shape else ("-t", "3s")), "--run-dir", str(run_dir), "--only-summary"]
    if words[0] == "locust":
        done = run_locust(command[3:], ENV, timeout=100)
    else:
        done = subprocess.run(command, cwd=ROOT, env=ENV, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout + done.stderr


def run_example(name, url, run_dir):
    """Run the commands of one header, except the simulator; return (exit code, output) of each."""
    commands = [[url if word == URL else word for word in words] for words in COMMANDS[name]]
    return [run(words, run_dir) for words in commands if words[0] != "chatload"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each example came to: (exit code, output) of each of its commands, and its run folder."""
    folder = tmp_path_factory.mktemp("examples")
    with ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as pool:
        servers = {
            options: stack.enter_context(Simulator(*options)) for options in {*map(server_of, COMMANDS), LOGIN} - {None}
        }
        urls = {options: server.url for options, server in servers.items()}
        begun = {}
        for name in COMMANDS:
            run_dir = folder / name.removesuffix(".py")
            begun[name] = pool.submit(run_example, name, urls.get(server_of(name)), run_dir), run_dir
        for number, block in enumerate(PAGE):
            file, run_dir = folder / f"page{number}.py", folder / f"page{number}"
            file.write_text(block)
            url = urls[LOGIN if "/simulator/token" in block else SERVER]
            words = ["locust", "-f", str(file), "--host", url, "--headless", "-u", "5", "-r", "5"]
            words += ["--flex-disconnect-timeout", "5"]
            begun[number] = pool.submit(lambda *a: [run(*a)], words, run_dir), run_dir
        return {name: (future.result(), run_dir) for name, (future, run_dir) in begun.items()}


def test_there_are_ten_examples_at_least():
    assert len(EXAMPLES) >= 10
    assert all(COMMANDS.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(example.name for example in EXAMPLES), *range(len(PAGE))])
def test_example(results, name):
    done, run_dir = results[name]
    uses_locust = name in range(len(PAGE)) or any("locust" in words for words in COMMANDS[name])
    summary = summary_of(run_dir) if uses_locust else None
    for code, output in done:
        # A busy machine makes a run invalid (3); it never makes its books wrong.
        busy = code == 3 and summary is not None and summary["result"] == "invalid"
        assert code == 0 or busy, output
        assert "Traceback" not in output, output
    if summary is not None:
        assert_balanced(summary)
        assert summary["sessions"]["started"] > 0
