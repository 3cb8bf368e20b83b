"""What HTTP/1.1 asks of the simulator's own server, byte by byte over real sockets."""

import json
import socket
import time
from urllib.parse import urlencode, urlsplit

import pytest

from tests.integration.wire import BASE, FORM, Wire, opened, started


@pytest.fixture(scope="module")
def host():
    with started() as (_, url):
        yield url


class Raw:
    """One connection, on which a test says what it likes."""

    def __init__(self, url, **options):
        where = urlsplit(url)
        self.socket = socket.socket()
        for name, value in options.items():
            self.socket.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        self.socket.settimeout(20)
        self.socket.connect((where.hostname, where.port))
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def say(self, *requests):
        self.socket.sendall(b"".join(requests))

    def head(self):
        status = self.file.readline().decode().strip()
        headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode("latin-1").partition(": ")
            headers[name] = value
        return status, headers

    def answer(self):
        status, headers = self.head()
        return status, headers, self.file.read(int(headers["content-length"]))

    def chat(self):
        status, _, body = self.answer()
        assert status == "HTTP/1.1 200 OK", (status, body)
        return json.loads(body)

    def closed(self):
        return self.file.read() == b""


def request(path, fields=(), method="POST", version="1.1", more=""):
    body = urlencode(dict(fields))
    head = f"{method} {path} HTTP/{version}\r\nHost: x\r\nContent-Type: {FORM}\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize("path", ["/simulator/status", "/simulator/openapi.json", "/simulator/nothing"])
def test_head_is_get_without_the_body(host, path):
    with Raw(host) as raw:
        raw.say(request(path, method="GET"))
        status, headers, body = raw.answer()
        raw.say(request(path, method="HEAD"), request("/simulator/status", method="GET"))
        again, same = raw.head()
        assert (again, same["content-length"]) == (status, headers["content-length"]) and len(body) > 0
        assert "live_sessions" in raw.chat()


def test_head_of_the_ledger_has_no_body_either(host):
    opened(host)
    with Raw(host) as raw:
        raw.say(request("/simulator/ledger", method="HEAD"), request("/simulator/status", method="GET"))
        assert raw.head()[1]["content-type"] == "application/x-ndjson"
        assert "live_sessions" in raw.chat()


@pytest.mark.parametrize("more", ["", "Connection: keep-alive\r\n"])
def test_a_client_of_http_1_0_gets_no_chunks_and_its_connection_closed(host, more):
    _, path, keys, first = opened(host)
    with Raw(host) as raw:
        raw.say(request(f"{path}/refresh", keys, version="1.0", more=more))
        _, headers, body = raw.answer()
        assert json.loads(body)["statusCode"] == 0 and headers["connection"] == "close" and raw.closed()
    with Raw(host) as raw:
        raw.say(request("/simulator/ledger", method="GET", version="1.0", more=more))
        headers = raw.head()[1]
        assert "transfer-encoding" not in headers
        rows = [json.loads(line) for line in raw.file.read().splitlines()]
        assert first["chatId"] in [row["chat_id"] for row in rows]


def test_a_client_that_wants_it_closed_has_it_closed_after_its_answer_alone(host):
    _, path, keys, _ = opened(host)
    with Raw(host) as raw:
        raw.say(request(f"{path}/refresh", keys, more="Connection: close\r\n"), request(f"{path}/disconnect", keys))
        status, headers, _ = raw.answer()
        assert (status, headers["connection"]) == ("HTTP/1.1 200 OK", "close") and raw.closed()
    assert Wire(host).chat(f"{path}/refresh", **keys)["chatEnded"] is False


def test_pipelined_requests_are_answered_in_order(host):
    _, path, keys, _ = opened(host)
    with Raw(host) as raw:
        said = [str(number) for number in range(300)]
        raw.say(
            *(request(f"{path}/send", {**keys, "message": text}) for text in said),
            request("/nowhere"),
            request(f"{path}/refresh", {**keys, "transcriptPosition": 1}),
        )
        positions = [raw.chat()["nextPosition"] for _ in said]
        assert positions == sorted(positions) and len(set(positions)) == len(said)
        assert raw.answer()[0] == "HTTP/1.1 404 Not Found"
        texts = [
            event["text"] for event in raw.chat()["messages"] if event["from"]["type"] == "Client" and "text" in event
        ]
        assert texts == said


def test_behind_an_answer_that_waits_the_others_wait_too(tmp_path):
    faults = tmp_path / "faults.toml"
    faults.write_text('[[fault]]\nkind = "slow"\ndelay_s = 0.3\noperations = ["SendMessage"]\n')
    with started("--faults", faults) as (_, url):
        _, path, keys, _ = opened(url)
        with Raw(url) as raw:
            send = request(f"{path}/send", {**keys, "message": "x"})
            refused = request(f"{path}/refresh", method="GET")
            begun = time.monotonic()
            raw.say(
                send, refused, request(f"{path}/refresh", keys), send, request("/simulator/status", method="GET")[:30]
            )
            assert raw.chat()["nextPosition"] == 3 and time.monotonic() - begun >= 0.3
            assert raw.answer()[0] == "HTTP/1.1 405 Method Not Allowed"
            assert raw.chat()["nextPosition"] == 3
            assert raw.chat()["nextPosition"] == 4 and time.monotonic() - begun >= 0.6
            raw.say(request("/simulator/status", method="GET")[30:])
            assert raw.chat()["live_sessions"] == 1


def test_a_chunked_body_is_a_body(host):
    _, path, keys, _ = opened(host)
    body = urlencode(keys).encode()
    with Raw(host) as raw:
        head = f"POST {path}/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nTransfer-Encoding: chunked\r\n\r\n"
        for piece in (
            head.encode(),
            b"5\r\n" + body[:5] + b"\r\n",
            b"%x\r\n%b\r\n" % (len(body) - 5, body[5:]),
            b"0\r\n\r\n",
        ):
            raw.say(piece)
            time.sleep(0.02)
        assert raw.chat()["statusCode"] == 0
        endless = b"%x\r\n%b\r\n" % (1 << 16, b"x" * (1 << 16))
        raw.say(head.encode(), endless * 17, b"0\r\n\r\n", request(f"{path}/refresh", keys))
        assert raw.answer()[0] == "HTTP/1.1 413 Request Entity Too Large"
        assert raw.chat()["statusCode"] == 0


def test_who_asks_first_is_told_to_go_on_unless_it_is_no_use(host):
    _, path, keys, _ = opened(host)
    whole = request(f"{path}/refresh", keys, more="Expect: 100-continue\r\n")
    split = whole.index(b"\r\n\r\n") + 4
    with Raw(host) as raw:
        raw.say(whole[:split])
        assert raw.head()[0] == "HTTP/1.1 100 Continue"
        raw.say(whole[split:])
        assert raw.chat()["statusCode"] == 0
        refused = request("/nowhere", keys, more="Expect: 100-continue\r\n")
        raw.say(refused[:-5])
        assert raw.answer()[0] == "HTTP/1.1 404 Not Found"
        raw.say(refused[-5:], request(f"{path}/refresh", keys))
        assert raw.head()[0] == "HTTP/1.1 200 OK"


def test_what_wants_an_upgrade_is_answered_without_one(host):
    _, path, keys, _ = opened(host)
    upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    with Raw(host) as raw:
        raw.say(*[request("/simulator/status", method="GET", more=upgrade)] * 3, request(f"{path}/refresh", keys))
        assert ["live_sessions" in raw.chat() for _ in range(3)] == [True] * 3
        assert raw.chat()["statusCode"] == 0


@pytest.mark.parametrize("target", ["http://x{path}/refresh", "{path}/refresh?a=/b", "http://x{path}/refresh?a#b"])
def test_the_path_is_found_in_any_form_of_target(host, target):
    _, path, keys, _ = opened(host)
    with Raw(host) as raw:
        raw.say(request(target.format(path=path), keys))
        assert raw.chat()["statusCode"] == 0


@pytest.mark.parametrize("origin", ["http://a\r\n X-Evil: 1", "http://a\x01b", "http://\xe9"])
def test_an_origin_cannot_make_headers(host, origin):
    with Raw(host) as raw:
        raw.say(f"GET /simulator/status HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\n\r\n".encode("latin-1"))
        headers = raw.head()[1]
        assert "X-Evil" not in headers and "\x01" not in headers.get("access-control-allow-origin", "")


def test_a_ledger_that_is_read_slowly_comes_whole_and_holds_up_nobody(host):
    wire = Wire(host)
    for _ in range(200):
        wire.chat(BASE, nickname="x" * 50)
    chat = opened(host)
    for _ in range(20):
        for _ in range(100):
            chat[0].connection.request("POST", f"{chat[1]}/refresh", urlencode(chat[2]), {"Content-Type": FORM})
            chat[0].connection.getresponse().read()
    with Raw(host, SO_RCVBUF=4096) as raw:
        raw.say(request("/simulator/ledger", method="GET"), request("/simulator/status", method="GET"))
        assert raw.head()[1]["transfer-encoding"] == "chunked"
        begun = time.monotonic()
        assert wire.ask("/simulator/status", method="GET")[0] == 200 and time.monotonic() - begun < 10
        body = b""
        while size := int(raw.file.readline(), 16):
            body += raw.file.read(size)
            assert raw.file.read(2) == b"\r\n"
        assert raw.file.readline() == b"\r\n"
        rows = [json.loads(line) for line in body.splitlines()]
        assert [len(row["contacts"]) for row in rows if row["chat_id"] == chat[3]["chatId"]] == [2001]
        assert "live_sessions" in raw.chat()
