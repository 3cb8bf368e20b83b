"""What a row's chats are pointed at: the faulty proxy mostly, or what is no server at all."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.certificates import Certificates
from tests.faults.generator import Generator
from tests.faults.proxy import Call, Proxy
from tests.faults.rows import Row
from tests.integration.wire import started


@dataclass
class World:
    """What rows share: a generator, a simulator a timeout, certificates."""

    generator: Generator
    simulators: dict[int, str]
    certificates: Certificates


#: Gives the URL for the chats, and the proxy where there is one.
Serve = Callable[[World, Row, str], AbstractContextManager[tuple[str, Proxy | None]]]


@contextmanager
def proxied(world: World, row: Row, transport: str) -> Iterator[tuple[str, Proxy | None]]:
    """A faulty proxy in front of the simulator with the row's timeout."""
    context = getattr(world.certificates, row.tls) if row.tls else None
    with Proxy(world.simulators[row.flex], row.deed, row.welcome, context=context, host=row.host) as proxy:
        url = proxy.url
        if row.scheme:
            url = row.scheme + "://" + url.partition("://")[2]
        if row.named:
            url = url.replace(row.host, row.named)
        yield url, proxy


@contextmanager
def nobody(world: World, row: Row, transport: str) -> Iterator[tuple[str, Proxy | None]]:
    """A port that nobody listens at."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}", None


@contextmanager
def never_accepting(world: World, row: Row, transport: str) -> Iterator[tuple[str, Proxy | None]]:
    """A listener that accepts nobody: the kernel connects, and there is nobody to answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", None


@contextmanager
def full_backlog(world: World, row: Row, transport: str) -> Iterator[tuple[str, Proxy | None]]:
    """A listener that accepts nobody, and whose queue is full: the kernel does not connect either."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.1)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", None
        for filler in fillers:
            filler.close()


@contextmanager
def nameless(world: World, row: Row, transport: str) -> Iterator[tuple[str, Proxy | None]]:
    """A name that does not exist, asked of the machine's own resolver."""
    yield "http://no-such-host.invalid", None


@contextmanager
def vanishing_name(world: World, row: Row, transport: str) -> Iterator[tuple[str, Proxy | None]]:
    """The server dies when the second GetMessages comes, and its name with it."""
    with _named(world, row, f"vanishing-{transport}.test", None) as (url, old):
        yield url, old


@contextmanager
def moving_name(world: World, row: Row, transport: str) -> Iterator[tuple[str, Proxy | None]]:
    """The server dies when the second GetMessages comes; its name leads to another address from then on."""
    with _named(world, row, f"moving-{transport}.test", "127.0.0.2") as (url, old):
        with Proxy(world.simulators[row.flex], Call.answer, host="127.0.0.2", port=old.port) as new:
            yield url, new


@contextmanager
def _named(world: World, row: Row, host: str, then: str | None) -> Iterator[tuple[str, Proxy]]:
    def deed(call: Call) -> None:
        if call.operation == "GetMessages" and call.nth == 2:
            world.generator.name(host, then)
            call.proxy.go()
        else:
            call.answer()

    world.generator.name(host, "127.0.0.1")
    with Proxy(world.simulators[row.flex], deed) as proxy:
        yield f"http://{host}:{proxy.port}", proxy


@contextmanager
def few_ports(world: World, row: Row, transport: str) -> Iterator[tuple[str, Proxy | None]]:
    """For two of three chats there is a local port; real sockets, whose kernel is told so (Linux 6.3)."""
    with proxied(world, row, transport) as (url, proxy):
        assert proxy is not None
        most = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[1])
        world.generator.local_ports(proxy.port, most - 9, most - 8)  # outside it the kernel would take no notice
        yield url, proxy


def stopped(for_s: float) -> Serve:
    """A simulator that is stopped (SIGSTOP) for so long by the second GetMessages: connections stay."""

    @contextmanager
    def serve(world: World, row: Row, transport: str) -> Iterator[tuple[str, Proxy | None]]:
        with started("--flex-disconnect-timeout", row.flex, "--no-agents") as (process, url):
            once = threading.Lock()

            def deed(call: Call) -> None:
                if call.operation == "GetMessages" and call.nth == 2 and once.acquire(blocking=False):
                    os.kill(process.pid, signal.SIGSTOP)
                    threading.Timer(for_s, os.kill, (process.pid, signal.SIGCONT)).start()
                call.answer()

            with Proxy(url, deed) as proxy:
                yield proxy.url, proxy

    return serve


@contextmanager
def faulty_simulator(world: World, row: Row, transport: str) -> Iterator[tuple[str, Any]]:
    """A simulator of its own, with faults of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(row.faults)
        file.flush()
        with started("--flex-disconnect-timeout", row.flex, "--no-agents", "--faults", file.name) as (_, url):
            yield url, None
