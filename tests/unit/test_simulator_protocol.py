"""The simulator's connections: idle ones, those left at the end, and a handler that fails."""

import asyncio
import time

from chatload.simulator.http.protocol import (
    KEEP_ALIVE_S,
    HttpExchange,
    ServedConnection,
    ServerConnections,
    SlowClientGuard,
)

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"
PARTS, PART = 1000, b"x" * 65536


class Handler:
    """Answers by path."""

    def head(self, exchange: HttpExchange) -> None:
        if exchange.path == "/fails-early":
            raise RuntimeError("early")

    def whole(self, exchange: HttpExchange) -> None:
        if exchange.path == "/fails":
            raise RuntimeError("whole")
        if exchange.path == "/later":
            exchange.later(self.later(exchange))
        elif exchange.path == "/endless":
            exchange.later(exchange.stream(b"", self.parts()))
        elif exchange.path == "/fails-later":
            exchange.later(self.fails())
        else:
            exchange.reply(200, b"", exchange.path.encode())

    def parts(self):
        for self.taken in range(PARTS):
            yield PART

    async def later(self, exchange: HttpExchange) -> None:
        await asyncio.sleep(0.2)
        exchange.reply(200, b"", b"later")

    async def fails(self) -> None:
        raise RuntimeError("later")


def played(play):
    """Run `play(shared, ask)`; ask(path) gives what came on a connection of its own, until it closes."""

    async def run():
        failures = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(str(context["exception"])))
        shared = ServerConnections(Handler(), SlowClientGuard(10.0, 100))
        server = await loop.create_server(lambda: ServedConnection(shared), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        kept = []  # a writer nobody holds is closed

        async def opened(path):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET % path)
            kept.append(writer)
            return reader, writer

        try:
            return await asyncio.wait_for(play(shared, opened), 20), failures
        finally:
            server.close()
            await shared.stop(0.0)

    return asyncio.run(run())


def test_a_mistake_of_ours_is_a_500_is_reported_and_ends_that_connection_only():
    async def play(shared, opened):
        bystander = await opened(b"/a")
        said = []
        for path in (b"/fails-early", b"/fails", b"/fails-later"):
            reader, _ = await opened(path)
            said.append((await reader.read())[:12])
        bystander[1].write(GET % b"/b")
        answers = await bystander[0].readuntil(b"/b")
        return said, answers.count(b"200 OK")

    assert played(play) == (([b"HTTP/1.1 500"] * 3, 2), ["early", "whole", "later"])


def test_a_client_that_does_not_read_is_not_sent_more():
    async def play(shared, opened):
        reader, _ = await opened(b"/endless")
        await reader.readuntil(b"\r\n\r\n")
        before = -1
        while before != shared.handler.taken:
            before = shared.handler.taken
            await asyncio.sleep(0.2)
        body = await reader.readexactly(PARTS * len(b"10000\r\n%b\r\n" % PART) + len(b"0\r\n\r\n"))
        return before, body.endswith(b"0\r\n\r\n")

    (taken, whole), failures = played(play)
    assert taken < PARTS / 2 and whole and not failures


def test_only_connections_idle_for_long_enough_are_closed():
    async def play(shared, opened):
        idle, _ = await opened(b"/idle")
        busy, _ = await opened(b"/later")
        await idle.readuntil(b"/idle")
        now = time.monotonic()
        shared.close_idle(now + KEEP_ALIVE_S - 5)
        await asyncio.sleep(0)
        early = len(shared.connections)
        shared.close_idle(now + KEEP_ALIVE_S + 5)
        return early, await idle.read(), (await busy.readuntil(b"later"))[:12]

    assert played(play) == ((2, b"", b"HTTP/1.1 200"), [])


def test_at_the_end_an_answer_may_still_come_and_who_waits_longer_is_cut_off():
    async def play(shared, opened):
        waiting, _ = await opened(b"/later")
        idle, _ = await opened(b"/idle")
        await idle.readuntil(b"/idle")
        await asyncio.sleep(0.05)  # the other request is there as well
        await shared.stop(5.0)
        first = await waiting.read()
        late, _ = await opened(b"/later")
        await asyncio.sleep(0.05)
        await shared.stop(0.0)
        try:
            rest = await late.read()
        except ConnectionResetError:
            rest = b""
        return b"connection: close" in first and first.endswith(b"later"), await idle.read(), rest

    assert played(play) == ((True, b"", b""), [])
