"""Both transports over real sockets: what they report is what happened, and nothing is sent twice.

The lean transport is tested as it is; a second pytest under gevent's monkey-patching, as Locust has
it, then tests both.
"""

from __future__ import annotations

import gc
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import gevent.monkey
import pytest

from chatload.errors import UsageError
from chatload.protocol.wire import MAX_BODY_BYTES, Detail, WireRequest, WireResult
from chatload.transport import Endpoint, Transport, http_messages, make_factory
from chatload.transport.endpoint import detail_of
from tests.integration.rawserver import OK, Peer, RawServer, answering, once

KINDS = os.environ.get("CHATLOAD_TESTED_TRANSPORTS", "lean,shared").split(",")
REFRESH = WireRequest("POST", "/chat/1/refresh", (("Content-Type", "text/plain"),), b"key=1")
Opener = Callable[..., Transport]


@pytest.fixture(params=KINDS)
def opener(request: pytest.FixtureRequest) -> Iterator[Opener]:
    opened: list[Transport] = []

    def open_transport(url: str, **options: object) -> Transport:
        kind, shares = ("lean", 1) if request.param == "shared" else (request.param, 0)
        opened.append(make_factory(kind, Endpoint(url, **options), connections=shares)())  # type: ignore[arg-type]
        return opened[-1]

    yield open_transport
    for transport in opened:
        transport.close()


def _failed(result: WireResult) -> tuple[str | None, str]:
    assert (result.http_status, result.body) == (0, b"")
    return result.failure, result.detail


def _got(result: WireResult) -> tuple[int, bytes]:
    assert result.failure is None, result
    return result.http_status, result.body


def test_one_connection_is_kept_alive(opener: Opener) -> None:
    with RawServer(answering(OK)) as server:
        chat = opener(server.url + "/prefix/")
        results = [chat.call(REFRESH, 5) for _ in range(5)]
    assert [_got(r) for r in results] == [(200, b"ok")] * 5
    assert (server.connections, len(server.seen)) == (1, 5)
    assert results[0].connect_s > 0 and not any(r.connect_s > 0.02 for r in results[1:])
    first = server.seen[0][1]
    assert first.startswith(b"POST /prefix/chat/1/refresh HTTP/1.1\r\n") and first.endswith(b"\r\n\r\nkey=1")
    assert b"accept-encoding: identity" in first.lower()


def test_the_server_saw_the_request_between_the_two_instants(opener: Opener) -> None:
    with RawServer(answering(OK)) as server:
        chat = opener(server.url)
        results = [chat.call(REFRESH, 5) for _ in range(20)]
    for result, (seen_at, _) in zip(results, server.seen, strict=True):
        assert result.sent_at is not None and result.sent_at <= seen_at <= result.received_at


def test_a_trickling_body_ends_at_the_total_deadline(opener: Opener) -> None:
    def trickle(peer: Peer, _: int) -> None:
        peer.read()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while peer.send(b"x"):
            time.sleep(0.05)

    with RawServer(trickle) as server:
        begun = time.monotonic()
        result = opener(server.url).call(REFRESH, 0.4)
        took = time.monotonic() - begun
    assert _failed(result) == ("timeout", "timeout waiting for the answer")
    assert result.sent_at is not None and 0.35 < took < 10  # the body takes 50 s


@pytest.mark.skipif("requests" in KINDS, reason="the server would stand still too")
def test_what_it_took_to_send_is_part_of_the_total(opener: Opener) -> None:
    upload = WireRequest("POST", "/chat/1/file", (), b"x" * 8_000_000)

    def read_late_and_say_nothing(peer: Peer, _: int) -> None:
        time.sleep(2.0)
        peer.read_bytes(len(upload.body))
        time.sleep(10)

    with RawServer(read_late_and_say_nothing) as server:
        begun = time.monotonic()
        result = opener(server.url).call(upload, 2.5)
        took = time.monotonic() - begun
    assert result.failure == "timeout"
    assert 2.45 < took < 4.5  # 2.0 + 2.5 s if it were not


def test_a_request_that_nobody_reads_times_out_waiting(opener: Opener) -> None:
    def never_read(_: Peer, __: int) -> None:
        time.sleep(2)

    with RawServer(never_read) as server:
        result = opener(server.url).call(WireRequest("POST", "/chat/1/file", (), b"x" * 32_000_000), 0.5)
    assert _failed(result) == ("timeout", "timeout waiting for the answer")
    assert result.sent_at is not None


@pytest.mark.skipif("requests" in KINDS, reason="the server would stand still too")
def test_a_call_has_its_whole_time_however_long_we_were_busy_before(opener: Opener) -> None:
    upload = WireRequest("POST", "/chat/1/file", (), b"x" * 8_000_000)

    def read_late(peer: Peer, _: int) -> None:
        while peer.read():
            peer.send(OK)
            peer.read_bytes(1)
            time.sleep(0.8)
            peer.read_bytes(len(upload.body))
            peer.send(OK)

    def busy_then_upload(chat: Transport) -> WireResult:
        gevent.sleep(0.01)
        time.sleep(2.0)
        return chat.call(upload, 2.5)

    with RawServer(read_late) as server:
        chat = opener(server.url)
        assert _got(chat.call(REFRESH, 5)) == (200, b"ok")
        assert _got(gevent.spawn(busy_then_upload, chat).get()) == (200, b"ok")


@pytest.mark.skipif("requests" in KINDS, reason="the server would stand still too")
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("size", [2, 60_000])
def test_what_lay_waiting_whole_while_we_stood_still_is_an_answer(
    opener: Opener, pem: Path, size: int, secure: bool
) -> None:
    long = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size)
    with RawServer(answering(OK, long), context=_tls(pem) if secure else None) as server:
        chat = opener(server.url, verify=False)
        assert _got(chat.call(REFRESH, 5)) == (200, b"ok")
        gevent.spawn_later(0.0, time.sleep, 0.6)
        result = chat.call(REFRESH, 0.3)
    assert _got(result) == (200, b"x" * size)
    assert result.sent_at is not None and result.received_at - result.sent_at > 0.5


def test_a_server_that_sends_without_end_is_not_read_without_end(opener: Opener) -> None:
    def flood(peer: Peer, _: int) -> None:
        peer.read()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1")
        while peer.send(b";x=" + b"y" * 60_000):
            pass

    with RawServer(flood) as server:
        begun = time.monotonic()
        result = opener(server.url).call(REFRESH, 0.3)
        took = time.monotonic() - begun
    assert result.failure is not None and took < 10


def test_a_silent_server_times_out_and_the_next_call_has_a_new_connection(opener: Opener) -> None:
    def script(peer: Peer, number: int) -> None:
        while peer.read():
            if number:
                peer.send(OK)

    with RawServer(script) as server:
        chat = opener(server.url)
        assert _failed(chat.call(REFRESH, 0.2)) == ("timeout", "timeout waiting for the answer")
        assert _got(chat.call(REFRESH, 5)) == (200, b"ok")
    assert (server.connections, len(server.seen)) == (2, 2)


@pytest.mark.parametrize("before_s", [0.1, 60.0])
def test_a_calls_deadline_is_its_own_whatever_that_of_the_call_before(opener: Opener, before_s: float) -> None:
    def once_and_no_more(peer: Peer, _: int) -> None:
        peer.read()
        peer.send(OK)
        peer.read()
        peer.read()

    with RawServer(once_and_no_more) as server:
        chat = opener(server.url)
        assert _got(chat.call(REFRESH, before_s)) == (200, b"ok")
        begun = time.monotonic()
        result = chat.call(REFRESH, 0.6)
        took = time.monotonic() - begun
    assert _failed(result) == ("timeout", "timeout waiting for the answer")
    assert server.connections == 1 and 0.6 <= took < 30.0


def test_a_listener_that_never_accepts_times_out_while_connecting(opener: Opener) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.1)
        result = opener(url).call(REFRESH, 0.3)
        for filler in fillers:
            filler.close()
    assert _failed(result) == ("timeout", "timeout while connecting")
    assert result.sent_at is None and result.connect_s == pytest.approx(0.3, abs=0.2)


def test_refused(opener: Opener) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        result = opener(f"http://127.0.0.1:{unused.getsockname()[1]}").call(REFRESH, 5)
    assert _failed(result) == ("connection", "connection refused")
    assert result.sent_at is None


def test_name_not_resolved(opener: Opener) -> None:
    result = opener("http://no-such-host.invalid").call(REFRESH, 10)
    assert _failed(result) == ("connection", "name not resolved")
    assert result.sent_at is None


@pytest.mark.parametrize(
    ("answer", "reset", "failure", "detail"),
    [
        (b"", False, "connection", "connection closed before the answer"),
        (b"", True, "connection", "connection reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", False, "connection", "answer cut short"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", True, "connection", "answer cut short"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsho",
            False,
            "connection",
            "answer cut short",
        ),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", False, "malformed", "answer is not HTTP"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1) + b"x" * (MAX_BODY_BYTES + 1),
            False,
            "malformed",
            "body too large",
        ),
    ],
    ids=["closed", "reset", "truncated", "reset in body", "chunks truncated", "not http", "huge"],
)
def test_a_broken_answer_is_told_apart_and_never_resent(
    opener: Opener, answer: bytes, reset: bool, failure: str, detail: str
) -> None:
    with RawServer(once(answer, reset=reset)) as server:
        chat = opener(server.url)
        for method in ("POST", "GET", "DELETE"):
            before = len(server.seen)
            result = chat.call(WireRequest(method, "/x", (), b""), 5)
            time.sleep(0.05)
            assert _failed(result) == (failure, detail)
            assert result.sent_at is not None and result.sent_at <= result.received_at
            assert len(server.seen) - before == 1


@pytest.mark.parametrize("length", [*range(1, 20), len(OK) - 5, len(OK) - 3, len(OK) - 1])
def test_an_answer_that_ends_anywhere_is_cut_short(opener: Opener, length: int) -> None:
    with RawServer(once(OK[:length])) as server:
        assert _failed(opener(server.url).call(REFRESH, 5)) == ("connection", "answer cut short")


@pytest.mark.parametrize("interim", [b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_interim_answer_is_none(opener: Opener, interim: bytes) -> None:
    with RawServer(once(interim)) as server:
        result = opener(server.url).call(REFRESH, 5)
    assert (result.http_status, result.failure) == (0, "connection")


@pytest.mark.parametrize("begun", [b"S", b"HTTX", b"HTTP/1.1 2x", b"GET / HTTP/1.1\r\n\r\n", b"<html>"])
def test_what_begins_otherwise_is_no_http_however_soon_it_ends(opener: Opener, begun: bytes) -> None:
    with RawServer(once(begun)) as server:
        assert _failed(opener(server.url).call(REFRESH, 5)) == ("malformed", "answer is not HTTP")


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.0 200 OK\r\n\r\nall there is"
SAID_CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall there is"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nSet-Cookie: a=b\r\n\r\n"
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (CHUNKED, 200, b"abcde"),
        (UNTIL_CLOSE, 200, b"all there is"),
        (SAID_CLOSE, 200, b"all there is"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 102 Processing\r\n\r\n" + OK, 200, b"ok"),
        (HINTS + b"HTTP/1.1 199 X\r\n\r\n" + b"HTTP/1.1 100 Continue\r\n\r\n" + HINTS + CHUNKED, 200, b"abcde"),
        (REDIRECT, 302, b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (OK + b"rubbish", 200, b"ok"),
        (OK + OK, 200, b"ok"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nsad", 500, b"sad"),
    ],
    ids=[
        "chunked",
        "http 1.0",
        "close",
        "interim",
        "102",
        "many interim",
        "redirect",
        "no body",
        "rubbish",
        "two",
        "500",
    ],
)
def test_ways_to_answer(opener: Opener, answer: bytes, status: int, body: bytes) -> None:
    with RawServer(once(answer)) as server:
        chat = opener(server.url)
        for _ in range(2):
            assert _got(chat.call(REFRESH, 5)) == (status, body)
            time.sleep(0.05)  # a close still under way when the next request leaves is rightly a failure
    assert len(server.seen) == 2


def test_bytes_after_the_answer_close_the_connection(opener: Opener) -> None:
    with RawServer(answering(OK + b"HTTP/1.1 500 Stale\r\nContent-Length: 0\r\n\r\n")) as server:
        chat = opener(server.url)
        assert [_got(chat.call(REFRESH, 5)) for _ in range(3)] == [(200, b"ok")] * 3
    # urllib3 drops what came with the answer unseen, and keeps the connection.
    assert server.connections == 3 or type(chat).__name__ == "RequestsTransport"


def test_late_unasked_bytes_are_not_taken_for_the_next_answer(opener: Opener) -> None:
    def script(peer: Peer, number: int) -> None:
        peer.read()
        peer.send(OK)
        if number == 0:
            time.sleep(0.05)
            peer.send(b"HTTP/1.1 408 Idle\r\nContent-Length: 0\r\n\r\n")
        peer.read()

    with RawServer(script) as server:
        chat = opener(server.url)
        assert _got(chat.call(REFRESH, 5)) == (200, b"ok")
        time.sleep(0.15)
        assert _got(chat.call(REFRESH, 5)) == (200, b"ok")
    assert server.connections == 2


def test_an_answer_that_comes_before_all_is_sent_is_read_as_soon_as_it_is(opener: Opener) -> None:
    upload = WireRequest("POST", "/chat/1/file", (), b"x" * 8_000_000)

    def answer_first(peer: Peer, _: int) -> None:
        peer.read_bytes(1)
        peer.send(OK)
        time.sleep(0.3)
        peer.read_bytes(len(upload.body))
        peer.read_bytes(2 * len(upload.body))

    with RawServer(answer_first) as server:
        result = opener(server.url).call(upload, 10.0)
    assert _got(result) == (200, b"ok")
    assert result.sent_at is not None and result.received_at - result.sent_at < 8.0


@pytest.mark.skipif("requests" in KINDS, reason="its connections are not on the loop")
@pytest.mark.parametrize("unasked", [b"", b"HTTP/1.1 408 Idle\r\n\r\n"])
def test_a_connection_that_idles_wakes_the_loop_for_nothing_it_was_told_before(opener: Opener, unasked: bytes) -> None:
    def script(peer: Peer, _: int) -> None:
        peer.read()
        peer.send(OK)
        time.sleep(0.05)
        if unasked:
            peer.send(unasked)
            peer.read()

    with RawServer(script) as server:
        chat = opener(server.url)
        assert _got(chat.call(REFRESH, 5)) == (200, b"ok")
        gevent.sleep(0.2)
        before = gevent.get_hub().loop.iteration
        gevent.sleep(0.2)
        assert gevent.get_hub().loop.iteration - before < 100


def test_an_idle_connection_closed_by_the_server_is_reopened_before_sending(opener: Opener) -> None:
    with RawServer(once(OK)) as server:
        chat = opener(server.url)
        for _ in range(3):
            assert _got(chat.call(REFRESH, 5)) == (200, b"ok")
            time.sleep(0.05)
    assert (server.connections, len(server.seen)) == (3, 3)


def test_cookies_are_sent_back_until_taken_back(opener: Opener) -> None:
    def setting(*cookies: bytes) -> bytes:
        lines = b"".join(b"Set-Cookie: %b\r\n" % cookie for cookie in cookies)
        return b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 0\r\n\r\n"

    answers = setting(b"node=a1; Path=/; HttpOnly", b"b=2"), setting(b"b=; Max-Age=0"), setting()
    with RawServer(answering(*answers)) as server:
        chat = opener(server.url)
        for _ in range(3):
            chat.call(REFRESH, 5)
        opener(server.url).call(REFRESH, 5)
    sent = [[ln for ln in r.split(b"\r\n") if ln.lower().startswith(b"cookie:")] for _, r in server.seen]
    assert sent[0] == sent[3] == [] and sent[2] == [b"Cookie: node=a1"]
    assert sent[1] in ([b"Cookie: node=a1; b=2"], [b"Cookie: b=2; node=a1"])


def _setting(*cookies: bytes) -> bytes:
    lines = b"".join(b"Set-Cookie: %b\r\n" % cookie for cookie in cookies)
    return b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 0\r\n\r\n"


def _cookies_sent(opener: Opener, *answers: bytes) -> dict[bytes, bytes]:
    """What is sent back after these answers, by name."""
    with RawServer(answering(*answers, OK)) as server:
        chat = opener(server.url)
        for _ in range(len(answers) + 1):
            assert chat.call(REFRESH, 5).failure is None
    _, last = server.seen[-1]
    lines = [ln.partition(b":")[2] for ln in last.split(b"\r\n") if ln.lower().startswith(b"cookie:")]
    return dict(pair.strip().split(b"=", 1) for line in lines for pair in line.split(b";"))


def test_cookies_are_bounded_one_by_one_in_number_and_in_all(
    opener: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http_messages, "_cookie_limit_logged", False)
    large = _cookies_sent(opener, _setting(b"a=1"), _setting(b"b=" + b"x" * 60_000), _setting(b"a=" + b"x" * 4096))
    assert large == {b"a": b"1"}
    assert len(caplog.records) == 1 and "sets more cookies than are stored" in caplog.text
    many = _cookies_sent(opener, *(_setting(*(b"n%d=%d" % (n, n) for n in range(k, k + 30))) for k in (0, 30)))
    assert len(many) == 50
    total = _cookies_sent(opener, *(_setting(b"c%d=" % n + b"x" * 4000) for n in range(20)))
    assert sorted(total) == [b"c0", b"c1", b"c2", b"c3"]
    assert len(caplog.records) == 1


def test_a_cookie_that_is_set_anew_takes_the_place_of_the_old(opener: Opener) -> None:
    anew = [_setting(b"node=" + b"%d" % n * 3000) for n in range(9)]
    assert _cookies_sent(opener, *anew) == {b"node": b"8" * 3000}


def test_anothers_timeout_and_a_kill_go_through(opener: Opener) -> None:
    if not _cooperative(opener):
        pytest.skip("needs monkey-patching")
    with RawServer(lambda peer, _: None if not peer.read() else time.sleep(10)) as server:
        chat = opener(server.url)
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
            chat.call(REFRESH, 5)
        greenlet = gevent.spawn(chat.call, REFRESH, 5)
        gevent.sleep(0.1)
        begun = time.monotonic()
        greenlet.kill()
        assert time.monotonic() - begun < 4
        assert isinstance(greenlet.value, gevent.GreenletExit)


def _cooperative(opener: Opener) -> bool:
    return "requests" not in KINDS or gevent.monkey.is_module_patched("socket")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", folder / "key", "-out",
         folder / "cert"],
        check=True, capture_output=True,
    )  # fmt: skip
    both = folder / "both.pem"
    both.write_bytes((folder / "key").read_bytes() + (folder / "cert").read_bytes())
    return both


def _tls(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_tls_with_and_without_verification(opener: Opener, pem: Path) -> None:
    with RawServer(answering(OK), _tls(pem)) as server:
        believing = opener(server.url, ca_file=str(pem))
        assert [_got(believing.call(REFRESH, 5)) for _ in range(3)] == [(200, b"ok")] * 3
        assert server.connections == 1
        assert _got(opener(server.url, verify=False).call(REFRESH, 5)) == (200, b"ok")
        result = opener(server.url).call(REFRESH, 5)
    assert _failed(result) == ("connection", "certificate from an unknown authority")
    assert result.sent_at is None and len(server.seen) == 4


def test_tls_idle_connection_closed_by_the_server(opener: Opener, pem: Path) -> None:
    with RawServer(once(OK), _tls(pem)) as server:
        chat = opener(server.url, ca_file=str(pem))
        for _ in range(3):
            assert _got(chat.call(REFRESH, 5)) == (200, b"ok")
            time.sleep(0.05)
    assert (server.connections, len(server.seen)) == (3, 3)


def test_a_server_without_tls_fails_the_handshake(opener: Opener) -> None:
    def script(peer: Peer, _: int) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        time.sleep(0.2)

    with RawServer(script) as server:
        result = opener(server.url.replace("http", "https"), verify=False).call(REFRESH, 5)
    assert (_failed(result), result.sent_at) == (("connection", "TLS failed"), None)


@pytest.mark.skipif("requests" in KINDS, reason="what requests leaves is its own")
@pytest.mark.parametrize("fault", ["refused", "cut short", "not HTTP", "trickling", "untrusted"])
def test_a_call_that_fails_leaves_nothing_for_the_collector(opener: Opener, pem: Path, fault: str) -> None:
    timeout_s = 0.1 if fault == "trickling" else 5.0
    said = {"cut short": OK[:-1], "not HTTP": b"\0\0", "trickling": OK[:-1]}.get(fault, b"")

    def script(peer: Peer, _: int) -> None:
        peer.read()
        peer.send(said)
        time.sleep(0.2 if fault == "trickling" else 0)

    with RawServer(script, _tls(pem) if fault == "untrusted" else None) as server:
        if fault == "refused":
            server.stop_listening()
        chat = opener(server.url)
        gc.disable()
        try:
            for _ in range(2):  # the first sees to what is made once
                assert all(chat.call(REFRESH, timeout_s).failure for _ in range(10))
                time.sleep(0.3)
                left = gc.collect()
        finally:
            gc.enable()
    assert left < 10


@pytest.mark.skipif("requests" in KINDS, reason="what requests leaves is its own")
def test_a_connection_to_the_second_address_leaves_nothing_for_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(answering(OK)) as server, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # nothing listens there
        endpoint = Endpoint(server.url)
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", unused.getsockname()), *endpoint.addresses()]
        monkeypatch.setattr(endpoint, "addresses", lambda: addresses)
        open_transport = make_factory("lean", endpoint)
        gc.disable()
        try:
            for _ in range(2):  # the first round collects what is made once
                for _ in range(20):
                    chat = open_transport()
                    assert chat.call(REFRESH, 5.0).failure is None
                    chat.close()
                time.sleep(0.3)
                left = gc.collect()
        finally:
            gc.enable()
    assert left < 10


def test_all_chats_share_one_context() -> None:
    endpoint = Endpoint("https://localhost")
    assert endpoint.context is endpoint.context


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8080",
        "ftp://h",
        "http://",
        "http://h:99999",
        "http://h:0",
        "http://h/p?q=1",
        "http://a b",
    ],
)
def test_a_bad_host_is_one_line_naming_the_option(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Endpoint(url)
    assert "--host" in str(caught.value) and "\n" not in str(caught.value)


def test_a_bad_host_keeps_its_password_to_itself() -> None:
    with pytest.raises(UsageError) as caught:
        Endpoint("http://user:secret@host:x")
    assert "secret" not in str(caught.value)


def test_a_good_host() -> None:
    endpoint = Endpoint("https://[::1]:8443/genesys/")
    assert (endpoint.host, endpoint.port, endpoint.prefix) == ("::1", 8443, "/genesys")
    assert endpoint.url == "https://[::1]:8443/genesys"
    assert Endpoint("http://Chat.Example").port == 80


@pytest.mark.skipif("requests" in KINDS, reason="this is the inner run")
def test_both_transports_under_monkey_patching() -> None:
    """Everything above once more as it is under Locust, the requests transport included."""
    inner = "import sys, gevent.monkey; gevent.monkey.patch_all(); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", inner, "-q", "-p", "no:cacheprovider", __file__],
        env={
            **os.environ,
            "CHATLOAD_TESTED_TRANSPORTS": "lean,requests",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_a_connection_reset_before_it_was_asked_for_its_peer_was_reset():
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as ours:
        ours.connect(listening.getsockname())
        theirs, _ = listening.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        with pytest.raises(ConnectionError):
            ours.recv(1)
        with pytest.raises(OSError, match="not connected") as caught:
            ours.getpeername()
    assert detail_of(caught.value) is Detail.RESET
