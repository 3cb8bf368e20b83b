"""Guards of real runs: targets, ceilings, TLS, addresses listened on, limits of this machine."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import jsonschema
import psutil
import pytest

from tests.integration.live import web_ui
from tests.integration.processes import (
    CHAT,
    ENV,
    chatload,
    ledger_of,
    locust,
    locust_command,
    report_here,
    simulator,
    summary_of,
)  # fmt: skip
from tests.integration.rawserver import stop_listening
from tests.integration.recorder import _pump
from tests.integration.test_stopping import free_port, ports, wait_for
from tests.schemas import read_schema

pytestmark = pytest.mark.slow
#: Of a network that documentation has to itself (RFC 5737): nobody answers there.
PUBLIC = "203.0.113.77"
#: All of it, by hand: CHATLOAD_EVERY_WAY=1.
EVERY_WAY = bool(os.environ.get("CHATLOAD_EVERY_WAY"))
TIMEOUT = ("--flex-disconnect-timeout", "3")


def said(run):
    return [line for line in run.stderr.splitlines() if line.startswith("chatload:")]


def test_a_public_host_needs_a_word_and_a_locked_file_may_forbid_it(tmp_path, monkeypatch):
    refused = locust(f"http://{PUBLIC}:9", tmp_path / "run", "-t", "5s")
    assert refused.returncode == 2
    assert said(refused) == [
        f"chatload: {PUBLIC} is not loopback or private: load on it may be an outage; if its owner agrees, "
        f"add --target-owner-agrees {PUBLIC}"
    ]
    config = tmp_path / "rules.toml"
    config.write_text('locked = true\nallowed_targets = ["chat.example"]\n')
    monkeypatch.setitem(ENV, "CHATLOAD_CONFIG", str(config))
    locked = locust(f"http://{PUBLIC}:9", tmp_path / "run", "-t", "5s", "--target-owner-agrees", PUBLIC)
    assert locked.returncode == 2 and f"{config} does not allow it" in locked.stderr
    other_day = time.strftime("%a", time.gmtime(time.time() + 2 * 86400))
    config.write_text(f'allowed_hours = ["{other_day} 08:00-18:00"]\n')
    closed = locust(f"http://127.0.0.1:{free_port()}", tmp_path / "run", "-t", "5s")
    assert closed.returncode == 2 and f"is outside the allowed hours of {config}" in said(closed)[0]
    assert not (tmp_path / "run").exists()


def test_the_web_ui_is_guarded_as_well(tmp_path):
    with (
        simulator(*TIMEOUT) as host,
        web_ui(host, *TIMEOUT, "--chat-length", "30", "--max-sessions", "4") as ui,
    ):
        public = ui.json("/swarm", user_count=2, spawn_rate=2, host=f"http://{PUBLIC}:9", run_dir=tmp_path / "public")
        assert not public["success"] and "--target-owner-agrees" in public["message"]
        many = ui.json("/swarm", user_count=5, spawn_rate=5, host=host, run_dir=tmp_path / "many")
        assert not many["success"] and "5 users are above the ceiling of 4 sessions" in many["message"]
        assert not (tmp_path / "public").exists() and not (tmp_path / "many").exists()
        ui.start(2, host=host, run_dir=tmp_path / "few")
        wait_for(lambda: ui.figures()["sessions"]["open"] == 2)
        ui.start(9)  # more users for a run that is under way
        wait_for(lambda: ui.figures()["sessions"]["open"] == 4)
        time.sleep(1.5)
        assert ui.figures()["sessions"]["started"] == 4
        ui.json("/stop", any="thing")
        assert len(ledger_of(host)) == 4


def test_a_run_above_its_rate_is_stopped_and_not_called_good(tmp_path):
    faults = '[[fault]]\nkind = "status_2"\noperations = ["GetMessages"]\n'  # so that every chat is short
    with simulator(*TIMEOUT, faults=faults, tmp_path=tmp_path) as host:
        run = locust(host, tmp_path / "run", "-u", "4", "-r", "4", "-t", "60s", *TIMEOUT, "--max-requests-per-s", "15")
    assert run.returncode == 3, run.stdout + run.stderr
    summary = summary_of(tmp_path / "run")
    assert summary["books"]["balanced"] and not summary["valid"]
    assert "above the ceiling of 15" in summary["invalid_reasons"][0]
    assert summary["ended_at"] - summary["started_at"] < 45


@contextmanager
def tls_in_front_of(url, folder):
    """A TLS server with a certificate that nobody vouches for, in front of `url`; gives its address."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=elsewhere",
         "-keyout", folder / "key", "-out", folder / "cert"], check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert", folder / "key")
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    port = int(url.rpartition(":")[2])

    def serve():
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=carry, args=(client,), daemon=True).start()

    def carry(client):
        with suppress(OSError):
            secured = context.wrap_socket(client, server_side=True)
            server = socket.create_connection(("127.0.0.1", port), 10)
            server.settimeout(None)
            threading.Thread(target=_pump, args=(server, secured, bytearray()), daemon=True).start()
            _pump(secured, server, bytearray())

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop_listening(listener)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_tls_is_verified_unless_told_otherwise_and_then_the_report_says_so(tmp_path):
    with simulator(*TIMEOUT) as url, tls_in_front_of(url, tmp_path) as host:
        strict = locust(host, tmp_path / "strict", "-t", "3s", *TIMEOUT)
        assert strict.returncode == 2 and "certificate from an unknown authority" in strict.stderr
        for transport in ("lean", "requests") if EVERY_WAY else ("lean",):
            run_dir = tmp_path / transport
            run = locust(host, run_dir, "-t", "3s", *TIMEOUT, "--insecure", "--transport", transport)
            assert run.returncode == 0, run.stdout + run.stderr
            assert report_here(run_dir).returncode == 0
            assert summary_of(run_dir)["settings"]["insecure"] is True
            sentence = "TLS certificates not verified (--insecure)"
            assert sentence in " ".join(run.stdout.split())
            assert all(sentence in (run_dir / name).read_text() for name in ("summary.md", "report.html"))
        examined = json.loads(chatload("doctor", "--host", host, "--json").stdout)
        assert {row["name"]: row["state"] for row in examined["checks"]}["TLS"] == "bad"
        examined = json.loads(chatload("doctor", "--host", host, "--insecure", "--json").stdout)
        jsonschema.validate(examined, read_schema("doctor", "doctor"))
        states = {row["name"]: row["state"] for row in examined["checks"]}
        assert (states["TLS"], states["chat"]) == ("warn", "ok")


def listening(process):
    """Where a process and its children listen."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return {
        c.laddr.ip: c.laddr.port for p in family for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN
    }


@pytest.mark.parametrize(
    ("options", "addresses"),
    [((), {"127.0.0.1"})] + EVERY_WAY * [(("--web-host", "127.0.0.2"), {"127.0.0.2", "127.0.0.1"})],
)
def test_everything_listens_on_loopback(options, addresses):
    metrics, web = free_port(), free_port()
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        str(CHAT),
        "--web-port",
        str(web),
        "--prometheus-port",
        str(metrics),
    ]
    process = subprocess.Popen([*command, *options], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(listening(process)) and set(listening(process)) >= addresses)
        wait_for(lambda: {c.laddr.port for c in psutil.Process(process.pid).net_connections("tcp")} >= {web, metrics})
        assert set(listening(process)) == addresses
    finally:
        process.terminate()
        process.wait(30)


def test_the_simulator_listens_on_loopback():
    process = subprocess.Popen(
        [sys.executable, "-m", "chatload", "simulator", "--port", "0"], env=ENV, stdout=subprocess.PIPE, text=True
    )
    try:
        process.stdout.readline()
        assert set(listening(process)) == {"127.0.0.1"}
    finally:
        process.terminate()
        process.wait(30)


def test_too_few_files_are_told_before_the_run_and_by_doctor(tmp_path):
    command = " ".join(map(str, locust_command("http://127.0.0.1:9", tmp_path / "run", "-u", "400")))
    run = subprocess.run(
        ["bash", "-c", f"ulimit -n 256; {command}; {sys.executable} -m chatload doctor --users 400"],
        env=ENV, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert run.returncode == 1, run.stdout + run.stderr
    (line,) = said(run)
    assert "too few open files: 256 open files (256 at most); 400 chats" in line and "ulimit -n 600" in line
    assert "bad   open files" in run.stdout and "ulimit -n 600" in run.stdout
    assert os.path.exists(tmp_path / "run") is False


def test_workers_take_the_masters_word(tmp_path):
    config = tmp_path / "rules.toml"
    config.write_text('allowed_targets = ["localhost"]\n')
    with simulator(*TIMEOUT) as host:
        run = locust(
            host.replace("127.0.0.1", "user:word@localhost"), tmp_path / "run", "-u", "4", "-r", "4", "-t", "4s",
            "--processes", "2", *TIMEOUT, *ports(), "--max-sessions", "4",
        )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert summary_of(tmp_path / "run")["sessions"]["started"] >= 4


SHAPE = """
from locust import LoadTestShape
from chatload.swarm.user import ChatUser

class Customer(ChatUser):
    pass

class Shape(LoadTestShape):
    def tick(self):
        return (30, 30) if self.get_run_time() < 6 else None
"""


def test_a_load_shape_never_starts_more_sessions_than_may_be(tmp_path):
    locustfile = tmp_path / "shape.py"
    locustfile.write_text(SHAPE)
    with simulator(*TIMEOUT) as host:
        run = locust(
            host, tmp_path / "run", *TIMEOUT, "--chat-length", "60", "--max-sessions", "5", locustfile=locustfile
        )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "30 users requested; the ceiling on sessions is 5" in run.stderr
    assert summary_of(tmp_path / "run")["sessions"]["started"] == 5


REFUSING = """
import os
from pathlib import Path
from locust import events
from locust.runners import WorkerRunner
from chatload.swarm.user import ChatUser

HERE = Path(__file__).parent

@events.init.add_listener
def _so_many_workers_have_a_locked_file_of_their_own(environment, **_):
    for number in range(int(os.environ["REFUSING"]) if isinstance(environment.runner, WorkerRunner) else 0):
        try:
            (HERE / f"refusing{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        os.environ["CHATLOAD_CONFIG"] = str(HERE / "locked.toml")
        break

class Customer(ChatUser):
    pass
"""


@pytest.mark.parametrize("refusing", [1, 2])
def test_a_worker_that_refuses_its_part_is_told_of_and_the_run_not_called_good(tmp_path, monkeypatch, refusing):
    (tmp_path / "locked.toml").write_text("max_sessions = 2\nlocked = true\n")
    locustfile = tmp_path / "refusing.py"
    locustfile.write_text(REFUSING)
    monkeypatch.setitem(ENV, "REFUSING", str(refusing))
    more = ("-u", "4", "-r", "4", "-t", "6s" if refusing == 1 else "90s", "--processes", "2", *ports())
    with simulator(*TIMEOUT) as host:
        run = locust(
            host, tmp_path / "run", *TIMEOUT, "--max-sessions", "4", *more, locustfile=locustfile, timeout=60
        )  # fmt: skip
    assert run.returncode == 3, run.stdout + run.stderr
    summary = summary_of(tmp_path / "run")
    assert len(summary["invalid_reasons"]) == refusing
    assert all("holds no chats: --max-sessions 4 is above the 2 that" in why for why in summary["invalid_reasons"])
    assert (summary["sessions"]["started"] > 0) == (refusing == 1)
