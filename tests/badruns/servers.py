"""The servers of the table of bad runs: small stubs, faulty proxies, and simulators that are killed or restarted."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.badruns.rows import Serve, World
from tests.faults.proxy import Call, Deed, Proxy, http_answer, let_through
from tests.integration.processes import ledger_of
from tests.integration.rawserver import Peer
from tests.integration.test_stopping import free_port
from tests.integration.wire import started

#: How many chats a killed simulator must have had before its time begins to count.
_SOME_CHATS = 20


class Stub(Proxy):
    """A chat server without a memory: every chat lives until its client disconnects, whatever its clock says."""

    def __init__(self, deed: Deed, welcome: Callable[[Peer], None] | None = None, **more: Any) -> None:
        super().__init__("", deed, welcome, **more)

    def fetch(self, call: Call) -> bytes:
        """The right answer to a request."""
        answer = {"statusCode": 0, "chatEnded": call.operation == "Disconnect", "messages": [], "alias": "117"}
        if call.operation == "RequestChat":
            answer |= {"chatId": f"CHAT{call.nth}", "userId": "7", "secureKey": "key", "messages": [_joined()]}
        return json.dumps({**answer, "nextPosition": 2}).encode()


def _joined() -> dict[str, Any]:
    customer = {"nickname": "chatload", "participantId": 1, "type": "Client"}
    return {"from": customer, "index": 1, "type": "ParticipantJoined", "utcTime": round(time.time() * 1000)}


def stub(
    make_deed: Callable[[], Deed] = lambda: let_through,
    *,
    welcome: Callable[[Peer], None] | None = None,
    tls: str = "",
    scheme: str = "",
) -> Serve:
    """A `Stub`. make_deed: called once a run, for a deed may remember; tls, scheme: as in the fault table."""

    @contextmanager
    def serve(world: World, folder: Path) -> Iterator[str]:
        context = getattr(world.certificates, tls) if tls else None
        with Stub(make_deed(), welcome, context=context) as server:
            yield f"{scheme}://127.0.0.1:{server.port}" if scheme else server.url

    return serve


def simulator(*options: object, faults: str = "") -> Serve:
    """A simulator of the row's own, with these options and faults (TOML)."""

    @contextmanager
    def serve(world: World, folder: Path) -> Iterator[str]:
        with started(*_simulator_options(folder, options, faults)) as (_, url):
            yield url

    return serve


def proxied(deed: Deed, *options: object, faults: str = "") -> Serve:
    """A faulty proxy in front of a simulator of the row's own."""

    @contextmanager
    def serve(world: World, folder: Path) -> Iterator[str]:
        with started(*_simulator_options(folder, options, faults)) as (_, url), Proxy(url, deed) as proxy:
            yield proxy.url

    return serve


def disturbed(disturb: Callable[[ExitStack, subprocess.Popen[str], tuple[object, ...]], None], after_s: float) -> Serve:
    """A simulator to which `disturb` is done `after_s` seconds after its first chats; it gets an ExitStack for what
    it starts, the simulator's process and options."""

    @contextmanager
    def serve(world: World, folder: Path) -> Iterator[str]:
        options = ("--port", free_port(), *_simulator_options(folder, (), ""))
        with ExitStack() as stack:
            process, url = stack.enter_context(started(*options))
            over = threading.Event()

            def wait_and_disturb() -> None:
                while len(ledger_of(url)) < _SOME_CHATS:
                    if over.wait(0.05):
                        return
                if not over.wait(after_s):
                    disturb(stack, process, options)

            waiting = threading.Thread(target=wait_and_disturb)
            waiting.start()
            try:
                yield url
            finally:
                over.set()
                waiting.join(30)

    return serve


def kill(stack: ExitStack, process: subprocess.Popen[str], options: tuple[object, ...]) -> None:
    """The server process is gone, and nothing listens at its port."""
    process.kill()
    process.wait()


def restart(stack: ExitStack, process: subprocess.Popen[str], options: tuple[object, ...]) -> None:
    """The server process is killed, and another one that knows no chat takes its port."""
    kill(stack, process, options)
    stack.enter_context(started(*options, "--seed", "7"))


def freeze(stack: ExitStack, process: subprocess.Popen[str], options: tuple[object, ...]) -> None:
    """The server process stands still until the end of the run: its kernel still accepts connections."""
    os.kill(process.pid, signal.SIGSTOP)


def _simulator_options(folder: Path, options: tuple[object, ...], faults: str) -> tuple[object, ...]:
    if faults:
        file = folder / "faults.toml"
        file.write_text(faults)
        options = (*options, "--faults", file)
    return ("--flex-disconnect-timeout", 2, "--no-agents", *options)


def of_the_fault_table(serve: Callable[..., AbstractContextManager[tuple[str, Any]]]) -> Serve:
    """A server of tests/faults/servers.py that needs nothing of the fault table."""

    @contextmanager
    def served(world: World, folder: Path) -> Iterator[str]:
        with serve(None, None, "") as (url, _):
            yield url

    return served


def after(second: float, deed: Deed) -> Deed:
    """The deed for every request from that second after the first RequestChat on; those before pass."""

    def act(call: Call) -> None:
        (deed if call.proxy.age_s >= second else let_through)(call)

    return act


def now_and_then(share: float, deed: Deed, seed: int = 1) -> Callable[[], Deed]:
    """Makes a deed for this share of requests, drawn with a fixed seed; the others pass."""

    def make() -> Deed:
        drawn = random.Random(seed)
        return lambda call: (deed if drawn.random() < share else let_through)(call)

    return make


def to(operation: str, deed: Deed, other: Deed = let_through) -> Deed:
    """The deed for all requests of an operation; `other` for the rest."""
    return lambda call: (deed if call.operation == operation else other)(call)


def from_nth(nth: int, deed: Deed) -> Deed:
    """The deed from the nth request of its operation in its chat on (of all chats, for RequestChat)."""
    return lambda call: (deed if call.nth >= nth else let_through)(call)


def edited(edit: Callable[[Call, dict[str, Any]], Any]) -> Deed:
    """The right answer as `edit` changes it: called with the call and the decoded answer, gives what is sent."""
    return lambda call: call.say(http_answer(json.dumps(edit(call, json.loads(call.body()))).encode()))


def edited_events(edit: Callable[[Call, dict[str, Any]], None]) -> Deed:
    """The right answer with every event of its transcript as `edit` changes it."""

    def edit_all(call: Call, answer: dict[str, Any]) -> dict[str, Any]:
        for event in answer.get("messages") or ():
            edit(call, event)
        return answer

    return edited(edit_all)


def chunked(call: Call) -> None:
    """The right answer in chunks of 16 bytes."""
    body = call.body()
    parts = [body[n : n + 16] for n in range(0, len(body), 16)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    call.say(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
             + chunks + b"0\r\n\r\n")  # fmt: skip
