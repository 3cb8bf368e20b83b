"""`chatload doctor`: what is said of which facts."""

import io
import json

import jsonschema
import pytest

from chatload import cli
from chatload.features.doctor import host, machine
from chatload.features.doctor.host import HostFacts, check_host
from chatload.features.doctor.machine import MachineFacts, PlannedLoad, check_machine, read_machine
from chatload.features.doctor.view import CheckResult, doctor_document, to_dict, worst
from chatload.protocol.dialect import load_dialect
from chatload.render.terminal import render
from tests.schemas import read_schema

GIB = 2**30
FINE = {
    "files_soft": 20_000, "files_hard": 20_000, "ports_low": 32_768, "ports_high": 60_999, "tw_reuse": 2, "cores": 4.0,
    "load": 0.3, "steal": 0.0, "pressure": 0.0, "clock_resolution_s": 1e-9, "clock_synchronised": True,
    "clock_drift": 1e-6, "memory_available": 16 * GIB, "swap_used": 0, "disk_free": 50 * GIB, "entropy": 256,
    "versions": {"python": "3.11.7", "chatload": "0.1.0", "locust": "2.47.0", "gevent": "26.9.0"},
}  # fmt: skip


def rows(users=1000, processes=1, **facts):
    wish = PlannedLoad(users, processes)
    return {row.name: row for row in check_machine(MachineFacts(**{**FINE, **facts}), wish)}


def test_a_fine_machine():
    assert {row.state for row in rows().values()} == {"ok"}
    assert not any(row.change for row in rows().values())


def test_what_is_not_known_is_not_said():
    assert {row.name for row in check_machine(MachineFacts(), PlannedLoad())} == {"cores", "versions", "Locust's ports"}


@pytest.mark.parametrize(
    ("name", "state", "change", "facts"),
    [
        ("open files", "bad", "ulimit -n 1200", {"files_soft": 1024, "files_hard": 1024}),
        ("open files", "bad", "--processes 2", {"files_soft": 1024, "files_hard": 1024}),
        ("open files", "warn", "ulimit -n 1200", {"files_soft": 1024}),
        ("local ports", "bad", "ip_local_port_range", {"ports_low": 60_001, "ports_high": 60_999}),
        ("local ports", "bad", "ip_local_port_range", {"time_wait": 27_500}),
        ("local ports", "bad", "ip_local_port_range", {"ports_reserved": 27_500}),
        ("local ports", "warn", "tcp_tw_reuse=1", {"ports_low": 60_000, "ports_high": 61_499}),
        ("cores", "bad", "--worker", {"users": 30_000, "cores": 1.0}),
        ("cores", "bad", "--processes 3", {"users": 30_000, "files_soft": 40_000, "files_hard": 40_000}),
        ("load", "warn", "ps ", {"load": 5.0}),
        ("steal", "warn", "of its own", {"steal": 0.05}),
        ("run queue", "warn", "nice", {"pressure": 0.5}),
        ("clock", "bad", "clocksource", {"clock_resolution_s": 0.016}),
        ("clock drift", "warn", "NTP", {"clock_drift": 0.01}),
        ("clock sync", "warn", "timedatectl", {"clock_synchronised": False}),
        ("memory", "bad", "--master", {"memory_available": 150 * 2**20}),
        ("swap", "warn", "swapoff", {"swap_used": GIB}),
        ("disk", "bad", "--run-dir", {"disk_free": 10**8}),
        ("disk", "warn", "--run-dir", {"disk_free": GIB}),
        ("entropy", "warn", "rng-tools", {"entropy": 20}),
        ("versions", "bad", "pip install", {"versions": {"locust": "2.40.1"}}),
        ("versions", "bad", "pip install", {"versions": {"locust": "3.0"}}),
        ("versions", "bad", "pip install", {"versions": {"gevent": None}}),
        ("versions", "bad", "install Python", {"versions": {"python": "3.10.2"}}),
        ("Locust's ports", "warn", "--web-port", {"busy_ports": (8089,)}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_what_to_change(name, state, change, facts):
    row = rows(**facts)[name]
    assert (row.state, change in row.change) == (state, True), row


def test_more_processes_share_files_and_cpu():
    many = rows(users=30_000, processes=4, cores=4.0)
    assert many["open files"].state == "ok" and many["cores"].state == "ok"


def test_ports_that_are_taken_again_at_once_need_no_second_set():
    assert rows(users=1000, tw_reuse=1, ports_low=60_000, ports_high=61_499)["local ports"].state == "ok"


HOST = HostFacts(
    "http://h", addresses=("10.0.0.1",), resolve_s=0.01, connect_s=0.01, outcome="0/false", chat_s=0.1, goodbye="0/true"
)
TLS = {"tls": True, "tls_s": 0.02}


@pytest.mark.parametrize(
    ("facts", "name", "state"),
    [
        ({}, "chat", "ok"),
        ({"refused": "h is public; ask"}, "target", "bad"),
        ({"addresses": ()}, "name", "bad"),
        ({"resolve_s": 2.0}, "name", "warn"),
        ({"connect_s": None, "trouble": "refused"}, "connection", "bad"),
        ({"connect_s": 0.5}, "connection", "warn"),
        ({"tls": True, "trouble": "TLS failed"}, "TLS", "bad"),
        ({**TLS}, "TLS", "ok"),
        ({**TLS, "verified": False}, "TLS", "warn"),
        ({**TLS, "expires_in_s": -86400.0}, "certificate", "bad"),
        ({**TLS, "expires_in_s": 5 * 86400.0}, "certificate", "warn"),
        ({**TLS, "expires_in_s": 90 * 86400.0}, "certificate", "ok"),
        ({"outcome": "2"}, "chat", "bad"),
        ({"outcome": ""}, "chat", "bad"),
        ({"goodbye": "http_error"}, "chat", "warn"),
        ({"clock_gap_s": 90.0}, "server's clock", "warn"),
        ({"clock_gap_s": -1.0}, "server's clock", "ok"),
    ],
)
def test_the_way_to_a_host(facts, name, state):
    found = {row.name: row for row in check_host(HostFacts(**{**vars(HOST), **facts}))}
    assert found[name].state == state
    assert bool(found[name].change) == (state != "ok")


@pytest.mark.parametrize(
    ("trouble", "change"),
    [
        ("self-signed certificate", "--ca-file"),
        ("unable to get local issuer certificate", "--ca-file"),
        ("certificate has expired", "renew"),
        ("certificate is not yet valid", "date"),
        ("Hostname mismatch, certificate is not valid for 'h'.", "--host"),
        ("IP address mismatch, certificate is not valid for '10.0.0.1'.", "--host"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", "http://"),
        ("_ssl.c:989: The handshake operation timed out", "port"),
    ],
)
def test_what_mends_tls_is_said_by_what_is_wrong_with_it(trouble, change):
    (*_, row) = check_host(HostFacts(**{**vars(HOST), "tls": True, "trouble": f"TLS failed: {trouble}"}))
    assert row.name == "TLS" and change in row.change
    assert ("--insecure" in row.change) == (change == "--ca-file")


@pytest.mark.parametrize("status", [401, 403])
def test_a_host_that_wants_a_login(status):
    (*_, row) = check_host(HostFacts(**{**vars(HOST), "outcome": "http_error", "http_status": status}))
    assert row.state == "bad" and "a header of --dialect" in row.change and "--service" not in row.change
    (*_, row) = check_host(HostFacts(**{**vars(HOST), "outcome": "http_error", "http_status": 404}))
    assert row.change.startswith("check --service")


def test_nothing_is_sent_to_a_host_that_the_guard_refuses(monkeypatch):
    monkeypatch.setattr(host, "resolve", lambda name: ["203.0.113.5"])
    monkeypatch.setattr(host.socket, "create_connection", lambda *_: pytest.fail("it was connected to"))
    facts = host.examine("https://user:word@chat.example/x", load_dialect("gms-v2"), "default")
    (row,) = check_host(facts)
    assert row.state == "bad" and "--target-owner-agrees chat.example" in row.change
    assert "word" not in str(facts)


def test_the_console_and_json(capsys):
    found = [
        *rows(files_soft=300, files_hard=300, load=9.0).values(),
        CheckResult("x", "warn", "\x1b[2Jevil", "\x1b[2J"),
    ]
    stream = io.StringIO()
    render(doctor_document(found), stream)
    assert "bad   open files: 300 open files" in stream.getvalue()
    assert "change: as root: ulimit -n 1200, and run from there" in stream.getvalue()
    assert stream.getvalue().startswith("1 bad, 2 warnings\n") and "\x1b" not in stream.getvalue()
    jsonschema.validate(to_dict(found, 1000, 1), read_schema("doctor", "doctor"))
    assert worst(found) == "bad" and worst([]) == "ok"


def test_the_command_on_this_machine(capsys):
    with pytest.raises(SystemExit) as left:
        cli.run(["doctor", "--users", "1", "--json"])
    made = json.loads(capsys.readouterr().out)
    jsonschema.validate(made, read_schema("doctor", "doctor"))
    assert left.value.code == (1 if made["state"] == "bad" else 0)
    with pytest.raises(SystemExit) as left:
        cli.run(["doctor", "--users", "10000000", "--json"])
    assert left.value.code == 1 and json.loads(capsys.readouterr().out)["state"] == "bad"


@pytest.mark.parametrize(
    "arguments", [("--users", "0"), ("--host", "ftp://x"), ("--host", "http://u:secret@:0"), ("--dialect", "x")]
)
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        cli.run(["doctor", *arguments])
    err = capsys.readouterr().err
    assert left.value.code == 2 and len(err.splitlines()) == 1 and "secret" not in err


def test_steal_is_a_share_of_the_sample_also_on_one_core(monkeypatch):
    before = machine.psutil.cpu_times()
    after = before._replace(idle=before.idle + 0.489, steal=before.steal + 0.011)
    monkeypatch.setattr(machine.psutil, "cpu_times", iter((before, after)).__next__)
    assert read_machine(sample_s=0.01).steal == pytest.approx(0.022)


def test_facts_of_this_machine_are_read():
    facts = read_machine(sample_s=0.01)
    assert facts.files_soft and facts.cores >= 0.1 and facts.versions["locust"] and facts.disk_free


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/", {"cpu.max": "25000 100000", "memory.max": "4096", "memory.current": "96"}),
        ("0::/a/b", {"a/cpu.max": "25000 100000", "a/b/cpu.max": "max 100000", "a/memory.max": "4096",
                     "a/memory.current": "96"}),
        ("4:memory:/a\n3:cpu,cpuacct:/a\n0::/",
         {"cpu/a/cpu.cfs_quota_us": "25000", "cpu/a/cpu.cfs_period_us": "100000", "cpu/cpu.cfs_quota_us": "-1",
          "memory/a/memory.limit_in_bytes": "4096", "memory/a/memory.usage_in_bytes": "96"}),
        ("3:cpu:/docker/1\n2:memory:/docker/1",
         {"cpu/cpu.cfs_quota_us": "25000", "cpu/cpu.cfs_period_us": "100000",
          "memory/memory.limit_in_bytes": "4096", "memory/memory.usage_in_bytes": "96"}),
    ],
    ids=["container", "slice", "version 1", "container of version 1"],
)  # fmt: skip
def test_what_control_groups_leave_of_the_machine(own, files, tmp_path, monkeypatch):
    for name, text in {"own": own, **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(machine, "_GROUPS", tmp_path)
    monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "own")
    facts = read_machine(sample_s=0.01)
    assert (facts.cores, facts.memory_available) == (0.25, 4000)
