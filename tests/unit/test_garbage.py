"""Nothing that happens for each request is left to the garbage collector, which is off during a run."""

import gc

import pytest

from chatload.transport.http_messages import AnswerParser


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n{}",
    ],
)
def test_an_answer_is_freed_without_the_collector(data):
    def read():
        answer = AnswerParser()
        answer.feed(data)
        if not answer.done:
            answer.end()
        return answer.result()[1]

    assert read() == b"{}"
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            read()
        assert gc.collect() == 0
    finally:
        gc.enable()
