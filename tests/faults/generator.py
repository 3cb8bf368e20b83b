"""A generator process without Locust: chats by the real driver, over both transports, as a test asks for them.

Run as a module. A line of JSON on standard input asks (see `Generator`), a line on standard output answers. It
is patched by gevent, as Locust is, and one process serves every row: starting a Locust for each costs seconds.
"""

from __future__ import annotations

import gevent.monkey

if __name__ == "__main__":
    gevent.monkey.patch_all()

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any

import gevent
import gevent.socket
from gevent.event import Event
from gevent.fileobject import FileObjectThread

from chatload.chat.personas import new_chat
from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.protocol.dialect import load_dialect
from chatload.protocol.encode import Encoder
from chatload.protocol.reply import Reply
from chatload.protocol.wire import WireResult
from chatload.run.books import Books
from chatload.swarm.driver import SessionDriver, StallMonitor
from chatload.transport import Endpoint, make_factory
from tests.integration.processes import ENV, ROOT

#: Linux 6.3 and later: the local ports a socket may take, least and most.
_IP_LOCAL_PORT_RANGE = 51


class Generator:
    """The process, from a test's side. Used as a context."""

    def __enter__(self) -> Generator:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.generator"], cwd=ROOT, env=ENV, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._asked: dict[int, Future[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        try:
            assert self._process.wait(10) == 0
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def ask(self, **what: Any) -> Future[dict[str, Any]]:
        """See `_hold`; or name, address, and ports, server: see below."""
        with self._lock:
            number = len(self._asked)
            self._asked[number] = answer = Future()
            self._process.stdin.write(json.dumps({"number": number, **what}) + "\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        return answer

    def name(self, host: str, address: str | None) -> None:
        """From now on `host` resolves to `address`; None: to nothing."""
        self.ask(name=host, address=address).result(10)

    def local_ports(self, server: int, least: int, most: int) -> None:
        """Connections to the server at this port may have these local ports only."""
        self.ask(server=server, ports=(least, most)).result(10)

    def _listen(self) -> None:
        for line in self._process.stdout:  # type: ignore[union-attr]
            answer = json.loads(line)
            self._asked[answer.pop("number")].set_result(answer)


# -- in the process ------------------------------------------------------------------------------

_addresses: dict[str, str | None] = {}
#: Port of a server -> the local ports that connections to it may have, least and most.
_ports: dict[int, tuple[int, int]] = {}


def _hold(asked: dict[str, Any], monitor: StallMonitor) -> dict[str, Any]:
    """Chats, all at once; gives their records, every request and the books.

    asked: transport, url, ca_file, chats, flex_s, interval_s, request_s, refreshes, messages. A chat ends not at
    some instant but after so many GetMessages and messages: on a busy machine nothing else is missed.
    """
    script = CustomerScript(
        Distribution("fixed", 1e6), Distribution("fixed", asked["messages"]), think=Distribution("fixed", 0.05),
        typing=Distribution("fixed", 0.05), waits_for_agent=False, shows_typing=False,
        answer_patience=Distribution("fixed", 0.1),
    )  # fmt: skip
    policy = make_policy("fixed", asked["flex_s"], asked["interval_s"])
    settings = SessionSettings(policy, asked["request_s"], script)
    dialect = load_dialect("gms-v2")
    opener = make_factory(asked["transport"], Endpoint(asked["url"], ca_file=asked.get("ca_file")))
    books = Books()
    requests: list[tuple[str, str, str, bool]] = []

    def one(number: int) -> dict[str, Any]:
        session = new_chat(settings, books, number, time.monotonic())
        transport = opener()
        done: Counter[str] = Counter()

        def note(operation: str, result: WireResult, reply: Reply) -> None:
            requests.append((operation, reply.outcome.value, str(reply.detail), result.resent))
            done[operation] += 1
            if done["GetMessages"] >= asked["refreshes"] and done["SendMessage"] >= asked["messages"]:
                session.customer.end_at = 0.0  # the customer has had enough

        SessionDriver(Encoder(dialect, "default"), dialect.response, transport, monitor, Event(), note).hold(session)
        transport.close()
        return asdict(session.record)

    chats = [gevent.spawn_later(0.02 * number, one, number) for number in range(asked["chats"])]
    gevent.joinall(chats, timeout=100, raise_error=True)
    return {"records": [chat.get(block=False) for chat in chats], "requests": requests, "books": books.to_dict()}


def _wrap_names() -> None:
    really = gevent.socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        address = _addresses.get(name, name)
        if address is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return really(address, *rest, **more)

    gevent.socket.getaddrinfo = socket.getaddrinfo = getaddrinfo


def _wrap_ports() -> None:
    for kind in (gevent.socket.socket, gevent.monkey.get_original("socket", "socket")):  # of one transport each
        _wrap_connect(kind)


def _wrap_connect(kind: Any) -> None:
    really = kind.connect

    def connect(sock: Any, address: Any) -> Any:
        if len(address) == 2 and address[1] in _ports:
            low_and_high = struct.pack("HH", *_ports[address[1]])
            sock.setsockopt(socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, low_and_high)
        return really(sock, address)

    kind.connect = connect


def _answer(asked: dict[str, Any], monitor: StallMonitor) -> None:
    answer: dict[str, Any] = {}
    if "name" in asked:
        _addresses[asked["name"]] = asked["address"]
    elif "ports" in asked:
        _ports[asked["server"]] = asked["ports"]
    else:
        try:
            answer = _hold(asked, monitor)
        except Exception as error:  # noqa: BLE001 - it is the test's to raise
            answer = {"error": repr(error)}
    print(json.dumps({"number": asked["number"], **answer}), flush=True)


def main() -> None:
    """Answer until standard input ends."""
    _wrap_names()
    _wrap_ports()
    monitor = StallMonitor(lambda _: None)
    monitor.start()
    for line in FileObjectThread(sys.stdin.buffer, "rb"):
        gevent.spawn(_answer, json.loads(line), monitor)


if __name__ == "__main__":
    main()
