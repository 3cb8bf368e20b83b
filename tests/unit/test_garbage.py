"""Nothing that happens for each request or spawn message is left to the garbage collector, which is off in a run."""

import gc
import subprocess
import sys

import pytest

from chatload.transport.http_messages import Answer


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
        answer = Answer()
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


# In a process of its own: importing Locust patches everything.
CODE = """
import inspect
from locust import argument_parser
from locust.runners import WorkerRunner
from chatload.swarm.locust_options import remember_defaults
plain = argument_parser.default_args_dict()
remember_defaults()
remember_defaults()
assert argument_parser.default_args_dict() == plain and "headless" in plain
assert argument_parser.default_args_dict() is argument_parser.default_args_dict()
assert "argument_parser.default_args_dict()" in inspect.getsource(WorkerRunner), "Locust looks elsewhere now"
print("fine")
"""


@pytest.mark.slow
def test_locusts_defaults_are_worked_out_once():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "fine", done.stderr
