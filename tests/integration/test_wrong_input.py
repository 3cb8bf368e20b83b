"""A user's mistake is one clear line and exit code 2; never a traceback."""

import socket

import pytest

from chatload.errors import UsageError
from tests.integration.processes import ENV, chatload, chatload_here, ledger_of, locust, plan_for, simulator
from tests.integration.test_stopping import ports


@pytest.fixture(scope="module")
def host():
    with simulator("--flex-disconnect-timeout", "5", "--service", "support") as url:
        yield url


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--service", "nowhere"), "has no chat service 'nowhere'"),
        (("--flex-disconnect-timeout", "0.5"), "--flex-disconnect-timeout 0.5 is outside 1..1728000"),
        (("--script", "/nowhere.toml"), "/nowhere.toml: cannot be read"),
        (("--keep-windows", "60"), "--keep-windows 60 is under an hour"),
        (("--refresh-intervall", "3"), "no such option: --refresh-intervall; did you mean --refresh-interval?"),
    ],
)
def test_options(host, tmp_path, options, says):
    refused(locust(host, tmp_path / "run", "-t", "5s", "--service", "support", *options), says)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--flex-disconnect-timeout", "1728001"), "outside 1..1728000"),
        (("--flex-disconnect-timeout", "soon"), "--flex-disconnect-timeout soon: expected a duration"),
        (("--refresh-interval", "45"), "not within --flex-disconnect-timeout 45 s"),
        (("--refresh-policy", "fraction", "--refresh-fraction", "1.5"), "--allow-late-refresh"),
        (("--refresh-fraction", "0.5"), "add --refresh-policy fraction"),
        (("--refresh-policy", "deadline", "--refresh-interval", "3"), "add --refresh-policy fixed"),
        (("--dialect", "klingon"), "no dialect named 'klingon'"),
        (("--client-cert", "/nowhere.pem"), "--client-cert /nowhere.pem: expected a file that exists"),
        (("--chats", "many"), "--chats many: expected a whole number"),
        (("--chats", "-1"), "--chats -1: expected a whole number"),
    ],
)
def test_options_are_refused_by_the_plan(options, says):
    """A plan that cannot be made ends every run as the options above do, so these need no process."""
    with pytest.raises(UsageError) as refusal:
        plan_for("http://127.0.0.1:9", *options)
    assert says in str(refusal.value)


def test_unreadable_toml(host, tmp_path):
    file = tmp_path / "script.toml"
    file.write_text("think = [")
    refused(locust(host, tmp_path / "run", "--service", "support", "--script", file), "not valid TOML")


def test_unreachable_host(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    refused(locust(f"http://127.0.0.1:{port}", tmp_path / "run"), "cannot be reached: connection refused")


def test_a_host_that_is_no_url(tmp_path):
    refused(locust("127.0.0.1:80", tmp_path / "run"), "--host")


def test_an_existing_run_is_never_overwritten(host, tmp_path):
    run_dir = tmp_path / "run"
    options = ("--service", "support", "-t", "3s", "--flex-disconnect-timeout", "5")
    assert locust(host, run_dir, *options).returncode == 0
    before = (run_dir / "summary.json").read_bytes()
    refused(locust(host, run_dir, *options), "a run is already there")
    assert (run_dir / "summary.json").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "says"),
    [("file", "file: is not a folder"), ("file/run", "file: is not a folder"), ("x" * 300, "File name too long")],
)
def test_a_folder_that_cannot_be_written(host, tmp_path, name, says):
    (tmp_path / "file").touch()
    refused(locust(host, tmp_path / name, "--service", "support", "-t", "60s", timeout=30), says)


TAKEN = """
from pathlib import Path
from locust import events
from chatload.swarm.user import ChatUser

class Customer(ChatUser):
    pass

# After the class: then it is called after the checks of chatload.
@events.init.add_listener
def _another_run_takes_the_folder(environment, **_):
    run_dir = Path(environment.parsed_options.run_dir)
    run_dir.mkdir(exist_ok=True)
    (run_dir / "run.sqlite").touch()
"""


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_folder_taken_after_the_checks_ends_a_run_before_its_first_chat(host, tmp_path, processes):
    locustfile = tmp_path / "taken.py"
    locustfile.write_text(TAKEN)
    more = ("--processes", processes, *ports()) if processes != "0" else ()
    before = ledger_of(host)
    run = locust(host, tmp_path / "run", "--service", "support", "-t", "60s", *more, locustfile=locustfile, timeout=30)
    assert run.returncode == 2, run.stdout + run.stderr
    assert "a run is already there" in run.stderr and "Traceback" not in run.stderr
    assert ledger_of(host) == before


LATE_WORKER = """
import os
from gevent.monkey import get_original
from chatload import ChatUser, CustomerScript

forks = []
os.register_at_fork(
    before=lambda: forks.append(1), after_in_child=lambda: len(forks) == 1 and get_original("time", "sleep")(3)
)

class Customer(ChatUser):
    script = CustomerScript()
"""


def test_workers_end_with_a_master_that_refuses_the_start_connected_or_not(host, tmp_path):
    locustfile = tmp_path / "late_worker.py"
    locustfile.write_text(LATE_WORKER)
    script, settings = tmp_path / "customers.toml", tmp_path / "mine.conf"
    script.touch()
    settings.write_text(f"script = {script}\n")
    # It is waited for until the workers have closed their output.
    more = ("--config", settings, "--service", "support", "-t", "60s", "--processes", "2", *ports())
    run = locust(host, tmp_path / "run", *more, locustfile=locustfile, timeout=30)
    assert run.returncode == 2, run.stdout + run.stderr
    assert f"--script {script} has no effect: user class Customer has its own; leave it out of mine.conf" in run.stderr
    assert "ERROR" not in run.stderr and "Traceback" not in run.stderr, "no worker says more than the master"


def test_busy_port():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        refused(chatload("simulator", "--port", busy.getsockname()[1]), "in use")


def test_a_command():
    refused(chatload("report", "/nowhere"), "/nowhere")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("simulator", "--flex-disconnect-timeout", "0.5"), "1..1728000"),
        (("simulator", "--faults", "/nowhere.toml"), "/nowhere.toml"),
        (("reconcile", "/nowhere", "--ledger", "x"), "/nowhere"),
        (("export", "/nowhere", "sessions"), "/nowhere"),
    ],
)
def test_commands(arguments, says):
    refused(chatload_here(*arguments), says)


def refused(run, says):
    assert run.returncode == 2, run.stdout + run.stderr
    assert says in run.stderr
    assert "Traceback" not in run.stderr
    ours = [line for line in run.stderr.splitlines() if line.startswith("chatload:")]
    assert len(ours) == 1, run.stderr


def test_options_come_from_the_environment_too(host, tmp_path, monkeypatch):
    monkeypatch.setitem(ENV, "CHATLOAD_FLEX_DISCONNECT_TIMEOUT", "0.25")
    refused(locust(host, tmp_path / "run", "--service", "support"), "--flex-disconnect-timeout 0.25 is outside")


def test_every_option_is_listed():
    listed = chatload("options")
    assert listed.returncode == 0, listed.stderr
    for option in ("--flex-disconnect-timeout", "--refresh-policy", "--transport", "--chat-seed", "--run-dir"):
        assert f"\n  {option} " in listed.stdout
