"""The simulator over real sockets: routes, refusals, faults on the wire, the ledger, its end."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import urlencode, urlsplit

import pytest

from tests.integration.processes import ENV, ledger_of
from tests.integration.wire import BASE, FORM, Wire, opened, started


@pytest.fixture(scope="module")
def host():
    with started("--flex-disconnect-timeout", 45) as (_, url):
        yield url


def faults_file(tmp_path, text):
    file = tmp_path / "faults.toml"
    file.write_text(text)
    return file


def test_one_chat_from_beginning_to_end(host):
    wire, path, keys, first = opened(host)
    assert (first["statusCode"], first["chatEnded"]) == (0, False)
    for operation in ("refresh", "startTyping", "stopTyping"):
        assert wire.chat(f"{path}/{operation}", **keys)["statusCode"] == 0
    wire.chat(f"{path}/send", **keys, message="grüße & mehr=ja+nein")
    seen = wire.chat(f"{path}/refresh", **keys, transcriptPosition=1)
    assert "grüße & mehr=ja+nein" in [event.get("text") for event in seen["messages"]]
    assert seen["nextPosition"] == seen["messages"][-1]["index"] + 1
    assert abs(seen["messages"][0]["utcTime"] / 1000 - time.time()) < 30
    assert wire.chat(f"{path}/disconnect", **keys)["chatEnded"] is True
    (row,) = [row for row in ledger_of(host) if row["chat_id"] == first["chatId"]]
    assert row["end_reason"] == "disconnected"
    assert [operation for _, operation in row["contacts"]] == [
        "RequestChat", "GetMessages", "StartTyping", "StopTyping", "SendMessage", "GetMessages", "Disconnect",
    ]  # fmt: skip


def test_a_trailing_slash_is_tolerated(host):
    wire = Wire(host)
    first = wire.chat(BASE + "/", nickname="Ann")
    keys = {key: first[key] for key in ("userId", "secureKey")}
    assert wire.chat(f"{BASE}/{first['chatId']}/refresh/", **keys)["statusCode"] == 0


@pytest.mark.parametrize(
    "path, method, content_type, status",
    [
        ("/genesys/2/chat/other", "POST", FORM, 404),
        (f"{BASE}/x/nothing", "POST", FORM, 404),
        ("/", "POST", FORM, 404),
        (BASE, "GET", FORM, 405),
        (f"{BASE}/x/refresh", "GET", FORM, 405),
        (BASE, "POST", "application/json", 415),
        (BASE, "POST", FORM + "evil", 415),
        (BASE, "POST", None, 415),
        (BASE, "POST", "Application/X-WWW-Form-Urlencoded; charset=utf-8", 200),
    ],
)
def test_what_is_not_an_operation(host, path, method, content_type, status):
    wire = Wire(host)
    assert wire.ask(path, {"nickname": "Ann"}, method, content_type)[0] == status
    assert wire.ask("/simulator/status", method="GET")[0] == 200  # the same connection goes on


def test_a_request_cut_off_half_way_is_not_processed(host):
    _, path, keys, first = opened(host)
    body = urlencode(keys)
    where = urlsplit(host)
    with socket.create_connection((where.hostname, where.port)) as cut:
        head = f"POST {path}/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: {len(body) + 5}\r\n"
        cut.sendall(f"{head}\r\n{body}".encode())
        time.sleep(0.2)
    time.sleep(0.2)
    (row,) = [row for row in ledger_of(host) if row["chat_id"] == first["chatId"]]
    assert len(row["contacts"]) == 1


def test_an_expiry_nobody_asks_about_is_booked_in_the_background():
    with started("--flex-disconnect-timeout", 1) as (_, url):
        wire, path, keys, _ = opened(url)
        time.sleep(2.0)
        assert json.loads(wire.ask("/simulator/status", method="GET")[1])["live_sessions"] == 0
        assert wire.chat(f"{path}/refresh", **keys)["chatEnded"] is True
        (row,) = ledger_of(url)
        assert row["end_reason"] == "expired" and row["late_contact_at"] >= row["started_at"] + 2.0
        assert row["ended_at"] == row["contacts"][-1][0] + 1.0


@pytest.mark.parametrize("reaches", ["true", "false"])
def test_drop_connection_closes_it_unanswered(tmp_path, reaches):
    text = f'[[fault]]\nkind = "drop_connection"\nreaches = {reaches}\noperations = ["GetMessages"]\n'
    with started("--faults", faults_file(tmp_path, text)) as (process, url):
        wire, path, keys, _ = opened(url)
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            wire.ask(f"{path}/refresh", keys)
        assert (len(ledger_of(url)[0]["contacts"]) == 2) == (reaches == "true")
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=10)[1] == ""


@pytest.mark.parametrize("kind, contact_after", [("slow", 0.0), ("stall", 0.6)])
def test_slow_is_taken_on_arrival_and_stall_only_after_the_delay(tmp_path, kind, contact_after):
    text = f'[[fault]]\nkind = "{kind}"\ndelay_s = 0.6\noperations = ["GetMessages"]\n'
    with started("--faults", faults_file(tmp_path, text)) as (_, url):
        wire, path, keys, _ = opened(url)
        begun = time.monotonic()
        assert wire.chat(f"{path}/refresh", **keys)["statusCode"] == 0
        assert 0.6 <= time.monotonic() - begun < 5
        at = ledger_of(url)[0]["contacts"][-1][0] - begun  # one machine: the same monotonic clock
        assert contact_after <= at < contact_after + 0.5


@pytest.mark.parametrize(
    "kind, status, body",
    [
        ("http_500", 500, b""),
        ("http_503", 503, b""),
        ("malformed", 200, b'{"statusCode":0'),
        ("html", 200, b"<html>"),
        ("unknown_status", 200, b'{"statusCode":7'),
    ],
)
def test_faults_on_the_wire(tmp_path, kind, status, body):
    with started("--faults", faults_file(tmp_path, f'[[fault]]\nkind = "{kind}"\n')) as (_, url):
        got = Wire(url).ask(BASE, {"nickname": "Ann"})
        assert got[0] == status and got[1].startswith(body)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_even_with_connections_open_and_an_answer_held(tmp_path, number):
    text = '[[fault]]\nkind = "slow"\ndelay_s = 60\noperations = ["GetMessages"]\n'
    with started("--faults", faults_file(tmp_path, text)) as (process, url):
        wire, path, keys, _ = opened(url)
        idle = opened(url)
        wire.connection.request("POST", f"{path}/refresh", urlencode(keys), {"Content-Type": FORM})
        time.sleep(0.3)
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out, err) == (0, "", "")
        assert idle is not None


def test_a_busy_port_is_one_line():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        command = [sys.executable, "-m", "chatload", "simulator", "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, env=ENV, timeout=30, check=False)
    assert done.returncode == 2
    assert f"port {port} is in use; choose another with --port, or 0 for any free one" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
