"""What the faulty proxy does to a request or its answer, one function a fault."""

from __future__ import annotations

import gzip
import json
import time

from tests.faults.proxy import Call, Deed, http_answer

_STEP_S = 0.02


def head_of(call: Call) -> bytes:
    """The head of an answer whose body will not come as promised."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(call.body())


def cut_in_head(call: Call) -> None:
    call.say(b"HTTP/1.1 200 OK\r\nContent-Le")
    call.close()


def cut_in_body(call: Call) -> None:
    answer = http_answer(call.body())
    call.say(answer[:-5])
    call.close()


def reset_in_body(call: Call) -> None:
    answer = http_answer(call.body())
    call.say(answer[:-5])
    time.sleep(0.05)  # a reset discards what has not been read yet
    call.reset()


def cut_in_chunks(call: Call) -> None:
    body = call.body()
    call.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(body), body))
    call.close()


def bad_chunks(call: Call) -> None:
    call.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + call.body() + b"\r\n0\r\n\r\n")
    hang(call)


def trickle_head(call: Call) -> None:
    _trickle(call, b"HTTP/1.1 200 OK\r\n" + b"X-Slow: loris\r\n" * 100)


def trickle_body(call: Call) -> None:
    call.say(head_of(call))
    _trickle(call, b" " * 1000)


def _trickle(call: Call, data: bytes) -> None:
    for n in range(len(data)):
        if not call.peer.send(data[n : n + 1]):
            return
        time.sleep(_STEP_S)


def endless_head(call: Call) -> None:
    call.say(b"HTTP/1.1 200 OK\r\n")
    while call.peer.send(b"X-More: and more\r\n" * 1000):
        pass


def endless_body(call: Call) -> None:
    call.say(b"HTTP/1.1 200 OK\r\n\r\n")
    while call.peer.send(b"x" * 65536):
        pass


def hang(call: Call) -> None:
    """Say nothing (more) for as long as the client waits."""
    while call.peer.read():
        pass


def too_late(call: Call) -> None:
    """Answer once nobody waits any more; it says that the session is lost, and must not be heard."""
    body = call.body()
    time.sleep(2.5)
    call.say(http_answer(body.replace(b'"statusCode":0', b'"statusCode":2')))


def too_long_a_length(call: Call) -> None:
    body = call.body()
    call.say(http_answer(body, length=len(body) + 10))
    hang(call)


def too_short_a_length(call: Call) -> None:
    body = call.body()
    call.say(http_answer(body, length=len(body) - 10))


def twice_answered(call: Call) -> None:
    body = call.body()
    call.say(http_answer(body) + http_answer(body.replace(b'"statusCode":0', b'"statusCode":2')))


def unasked_later(call: Call) -> None:
    """A good answer, and then, while the connection is idle, what some gateways say before they close."""
    call.answer()
    time.sleep(0.03)
    call.say(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")


def old_http(call: Call) -> None:
    call.say(b"HTTP/1.0 200 OK\r\n\r\n" + call.body())
    call.close()


def says_close(call: Call) -> None:
    call.say(http_answer(call.body(), "HTTP/1.1 200 OK", "Connection: close"))
    call.close()


def interim(call: Call) -> None:
    call.say(b"HTTP/1.1 100 Continue\r\n\r\n" + http_answer(call.body()))


def gzipped(call: Call) -> None:
    call.say(http_answer(gzip.compress(call.body()), "HTTP/1.1 200 OK", "Content-Encoding: gzip"))


def badly_gzipped(call: Call) -> None:
    call.say(http_answer(call.body(), "HTTP/1.1 200 OK", "Content-Encoding: gzip"))


def answer_then_close(call: Call) -> None:
    call.answer()
    call.close()


def take_then_close(call: Call) -> None:
    """The server does what is asked, and closes without a word: whether it took it, the client cannot know."""
    call.body()
    call.close()


def status(code: str, *headers: str, body: bytes = b"<html>No</html>") -> Deed:
    """An HTTP answer of a gateway's making, that the chat server never saw; `code` with its reason."""
    return lambda call: call.say(http_answer(body, f"HTTP/1.1 {code}", *headers))


def text(body: bytes) -> Deed:
    """This body with HTTP 200, in place of the chat server's."""
    return lambda call: call.say(http_answer(body))


def payload(**members: object) -> Deed:
    """This answer in place of the chat server's."""
    return text(json.dumps(members).encode())


def raw(data: bytes) -> Deed:
    """These bytes, and then the connection is closed."""

    def act(call: Call) -> None:
        call.say(data)
        call.close()

    return act


def reset_in_head(call: Call) -> None:
    call.say(b"HTTP/1.1 200 OK\r\nContent-Le")
    time.sleep(0.05)
    call.reset()


def busy_then_close(call: Call) -> None:
    """1/false the first time; the next is closed upon."""
    if call.nth == 1:
        call.say(http_answer(b'{"statusCode":1,"chatEnded":false,"messages":[]}'))
    else:
        call.close()


def gone(call: Call) -> None:
    """The server dies, listener and all."""
    call.proxy.go()
