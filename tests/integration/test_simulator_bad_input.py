"""What no good client sends: the documented answer each time, and nobody else's chat is hurt."""

import os
import resource
import select
import socket
import subprocess
import sys
import time
from urllib.parse import urlencode, urlsplit

import pytest

from chatload.protocol.dialect import load_dialect
from tests.integration.processes import ENV
from tests.integration.wire import BASE, FORM, Speaker, Wire, opened, started

READ_TIMEOUT_S = 1.0
MULTIPART = "multipart/form-data; boundary=b"
PART = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n%s\r\n--b--\r\n'


@pytest.fixture(scope="module")
def host():
    limits = ("--message-max-bytes", 100, "--file-max-bytes", 100, "--file-types", "txt")
    with started("--read-timeout", READ_TIMEOUT_S, *limits) as (_, url):
        yield url


@pytest.fixture(scope="module")
def webapi():
    with started("--dialect", "webapi") as (_, url):
        yield url


@pytest.fixture
def bystander(host):
    """A chat of somebody else, which has to go on."""
    wire, path, keys, _ = opened(host)
    yield
    assert wire.chat(f"{path}/refresh", **keys)["statusCode"] == 0


def post(wire, path, body, content_type):
    wire.connection.request("POST", path, body, {"Content-Type": content_type})
    answer = wire.connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize(
    "where, changed, code",
    [
        ("{chat}/refresh", {"secureKey": "wrong"}, 2),
        ("{chat}/refresh", {"userId": "wrong"}, 2),
        ("{chat}/refresh", {"secureKey": ""}, 2),
        (f"{BASE}/unknown/refresh", {}, 2),
        (f"{BASE}/%00%2F..%2F/send", {"message": "x"}, 2),
        ("{chat}/send", {"message": "x" * 101}, 1),
        ("{chat}/send", {}, 1),
        ("{chat}/refresh", {"transcriptPosition": "-1"}, 0),
        ("{chat}/refresh", {"transcriptPosition": "9" * 50}, 0),
        ("{chat}/file/none/download", {}, 1),
        (BASE, {"subject": "nobody"}, 2),
    ],
)
def test_a_request_the_service_understands(host, bystander, where, changed, code):
    wire, path, keys, _ = opened(host)
    answer = wire.chat(where.format(chat=path), **{**keys, **changed})
    assert answer["statusCode"] == code and bool(answer.get("errors")) == (code != 0)
    assert wire.chat(f"{path}/refresh", **keys)["statusCode"] == 0


@pytest.mark.parametrize(
    "where, body, content_type, status",
    [
        ("{chat}/dance", "", FORM, 404),
        ("{chat}/refresh/more", "", FORM, 404),
        ("{chat}/refresh", "{}", "application/json", 415),
        ("{chat}/file", "x", "application/octet-stream", 415),
        ("{chat}/file", "x", "multipart/form-data", 400),
        ("{chat}/file", PART[:-6] % "x", MULTIPART, 400),
        ("{chat}/file", "no part at all", MULTIPART, 400),
        ("{chat}/file", "", MULTIPART, 400),
        ("{chat}/file", PART.replace("\r\n", "\n") % "x", MULTIPART, 400),
        ("{chat}/send", "message=" + "x" * (1 << 20), FORM, 413),
        ("{chat}/file", PART % ("x" * (3 << 19)), MULTIPART, 413),
        ("{chat}/refresh", "\xff\xfe%%%&&=&=x".encode("latin-1"), FORM, 200),
    ],
)
def test_a_request_it_does_not(host, bystander, where, body, content_type, status):
    wire, path, keys, _ = opened(host)
    assert post(wire, where.format(chat=path), body, content_type)[0] == status
    assert wire.chat(f"{path}/refresh", **keys)["statusCode"] == 0  # on the same connection


@pytest.mark.parametrize("name, content, code", [("a.txt", 100, 0), ("a.txt", 101, 1), ("a.exe", 1, 1), ("", 1, 1)])
def test_a_file_beyond_the_limits_is_refused_and_the_chat_goes_on(host, bystander, name, content, code):
    speaker = Speaker(host, load_dialect("gms-v2"))
    speaker.open()
    assert speaker.say("FileUpload", b"x" * content, file_name=name, file_type="text/plain")["statusCode"] == code
    assert speaker.say("GetMessages")["statusCode"] == 0


@pytest.mark.parametrize(
    "body, content_type, status",
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"serviceName":"default"}', "application/json", 404),
        (b'{"serviceName":"default","operationName":"dance"}', "application/json", 404),
        (b'{"serviceName":"default","operationName":["logout"]}', "application/json", 400),
        (b'{"serviceName":"other","operationName":"logout"}', "application/json", 404),
        (b'{"operationName":"logout"}', "application/json", 404),
        (b'{"serviceName":"default","operationName":"refreshChat","sessionId":{}}', "application/json", 400),
        (b'{"serviceName":"default","operationName":"requestChat","userData":1}', "application/json", 400),
        (b'{"serviceName":"default","operationName":"fileUpload","file":{"base64":"%"}}', "application/json", 400),
        (b"operationName=logout", FORM, 415),
        (b"", "", 415),
        (b'{"serviceName":"default","operationName":"logout","sessionId":7}', "application/json", 200),
    ],
)
def test_broken_json(webapi, body, content_type, status):
    wire = Wire(webapi)
    assert post(wire, "/WebAPI/services/chat", body, content_type)[0] == status
    assert wire.ask("/simulator/status", method="GET")[0] == 200


# -- clients that take their time ----------------------------------------------------------------


def connected(host):
    where = urlsplit(host)
    return socket.create_connection((where.hostname, where.port), timeout=20)


def head(path, length):
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: {length}\r\n\r\n".encode()


def closed(client):
    """What the server still says before it closes."""
    said = b""
    try:
        while data := client.recv(65536):
            said += data
    except ConnectionResetError:
        pass
    return said


@pytest.mark.parametrize(
    "sent, trickle, says",
    [
        (b"POST / HTTP/1.1\r\nHo", b"", b"HTTP/1.1 408"),
        (b"POST / HTTP/1.1\r\nX: ", b"a", b"HTTP/1.1 408"),
        (head(BASE, 1000), b"", b"HTTP/1.1 408"),
        (head(BASE, 1000) + b"nickname=", b"a", b"HTTP/1.1 408"),
        (b"", b"", b""),
    ],
    ids=["half a head", "a trickled head", "no body", "a trickled body", "nothing"],
)
def test_a_request_that_does_not_come_is_cut_off(host, bystander, sent, trickle, says):
    begun = time.monotonic()
    with connected(host) as client:
        client.sendall(sent)
        if trickle:
            client.settimeout(0.1)
            while time.monotonic() - begun < 20:
                try:
                    client.sendall(trickle)
                    if client.recv(1, socket.MSG_PEEK) or True:
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
            client.settimeout(20)
        assert closed(client)[:12] == says
        assert time.monotonic() - begun > READ_TIMEOUT_S * 0.9


def test_one_that_comes_slowly_but_comes_and_one_that_idles_between_requests_are_not(host, bystander):
    body = urlencode({"nickname": "Ann"}).encode()
    whole = head(BASE, len(body)) + body
    with connected(host) as client:
        for _ in range(2):
            for piece in (whole[:30], whole[30 : len(whole) - 4], whole[len(whole) - 4 :]):
                client.sendall(piece)
                time.sleep(READ_TIMEOUT_S * 0.6)
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
            time.sleep(READ_TIMEOUT_S * 2.5)


def test_endless_headers_are_refused(host, bystander):
    with connected(host) as client:
        client.sendall(b"POST / HTTP/1.1\r\n")
        try:
            for _ in range(200):
                client.sendall(b"X-Long: " + b"x" * 1000 + b"\r\n")
                time.sleep(0.001)
        except OSError:
            return
        assert closed(client).startswith(b"HTTP/1.1 431")


def test_what_is_not_http_is_refused(host, bystander):
    with connected(host) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        assert closed(client).startswith(b"HTTP/1.1 400")


HALF_OPEN = """
import resource, socket, sys, time
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
opened = []
for number in range(count):
    client = socket.create_connection((host, port), timeout=20)
    if number % 2:
        client.sendall(b"POST / HTTP/1.1\\r\\nHo")
    opened.append(client)
print(len(opened), flush=True)
sys.stdin.readline()
"""


def test_ten_thousand_half_open_connections_hurt_nobody():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = min(10_000, hard - 500)
    with started("--flex-disconnect-timeout", 5, "--read-timeout", 3) as (process, url):
        chats = [opened(url) for _ in range(20)]
        where = urlsplit(url)
        command = [sys.executable, "-c", HALF_OPEN, where.hostname, str(where.port), str(count)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        flood = subprocess.Popen(command, text=True, env=ENV, **pipes)
        try:
            begun, polls, said = time.monotonic(), 0, None
            while said is None and time.monotonic() - begun < 60:
                for wire, path, keys, _ in chats:
                    assert wire.chat(f"{path}/refresh", **keys)["statusCode"] == 0
                    polls += 1
                if select.select([flood.stdout], [], [], 0.2)[0]:
                    said = flood.stdout.readline()
            assert said is not None and int(said) == count
            newcomer, path, keys, _ = opened(url)
            assert newcomer.chat(f"{path}/refresh", **keys)["statusCode"] == 0
            while len(os.listdir(f"/proc/{process.pid}/fd")) > 200:
                assert time.monotonic() - begun < 90, "half-open connections are never closed"
                for wire, path, keys, _ in chats:
                    assert wire.chat(f"{path}/refresh", **keys)["statusCode"] == 0
                time.sleep(0.5)
            assert polls >= 20
        finally:
            flood.kill()
            flood.communicate()


def test_half_a_request_after_one_that_is_still_held_gets_no_answer_of_that_ones(tmp_path):
    faults = tmp_path / "faults.toml"
    faults.write_text('[[fault]]\nkind = "slow"\ndelay_s = 30\n')
    with started("--read-timeout", 0.5, "--faults", faults) as (_, url):
        body = b"nickname=Ann"
        with connected(url) as client:
            client.sendall(head(BASE, len(body)) + body + b"POST / HTTP/1.1\r\nHo")
            assert closed(client) == b""


def test_a_body_that_stops_after_it_was_refused_gets_one_answer(host, bystander):
    with connected(host) as client:
        client.sendall(head("/nowhere", 1000) + b"x")
        said = closed(client)
    assert said.startswith(b"HTTP/1.1 404") and said.count(b"HTTP/1.1") == 1
