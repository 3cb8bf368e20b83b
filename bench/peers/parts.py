"""chatload itself, its chats built part by part: all of them make one part and wait, memory is looked at, and all make
the next. The last is that they are held as ever.

What nobody needs by itself (a customer's script, an engine without a driver) is made once more, and kept to the end.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any, NamedTuple

import gevent
from gevent.event import Event
from locust import events, task

from bench.peers import MADE
from chatload.chat.effects import Exchange, Wait
from chatload.chat.engine import Steps
from chatload.chat.personas import new_chat
from chatload.chat.record import CONTACTS
from chatload.chat.script import Customer as ScriptedCustomer
from chatload.protocol.reply import read
from chatload.protocol.wire import WireResult
from chatload.random_numbers import SplitMix64
from chatload.run.books import Books
from chatload.swarm.driver import SessionDriver
from chatload.swarm.plan import RunPlan
from chatload.swarm.user import ChatHolder
from chatload.transport.connection import connect

_CHATS = int(os.environ["BENCH_CHATS"])
_INTERVAL_S = float(os.environ["BENCH_INTERVAL_S"])
_PAGE = os.sysconf("SC_PAGE_SIZE")
#: Connections are opened over so long (seconds).
_CONNECTING_S = 4.0
_OPENED = (
    '{"statusCode":0,"chatEnded":false,"chatId":"%032x","userId":"%016x","secureKey":"%032x","alias":"117",'
    '"nextPosition":2}'
)
_NOTHING_NEW = b'{"statusCode":0,"chatEnded":false,"alias":"117","nextPosition":2}'


class Look(NamedTuple):
    """Bytes. kernel: what the machine's kernel holds in its own objects, both ends of all connections in it."""

    rss: int
    kernel: int


def look() -> Look:
    """Now."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return Look(int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE, 1024 * int(lines["Slab"].split()[0]))


def engine(plan: RunPlan, number: int, books: Books) -> Steps:
    """A chat that was opened and refreshed so often that it remembers all it ever does, with nothing but itself."""
    now = time.monotonic()
    steps = new_chat(plan.settings, books, number, now).steps()
    opened, names = (_OPENED % (number, number, number)).encode(), plan.of("").dialect.response
    replies = [read(names, WireResult(now, now, 0.0, 200, body)) for body in (opened, _NOTHING_NEW)]
    effect = next(steps)
    for _ in range(2 * CONTACTS + 1):
        if isinstance(effect, Wait):
            now = effect.until
            effect = steps.send(None)
        else:
            reply = replies[effect.operation != "RequestChat"]
            effect = steps.send(Exchange(now, now, now, reply))
    return steps


class Stages:
    """Where all chats wait for one another."""

    def __init__(self) -> None:
        self.looks: list[Look] = []
        self._gates = {part: Event() for part in MADE[1:-1]}
        self._there = dict.fromkeys(self._gates, 0)
        self._idle: list[gevent.Greenlet] = []

    def made(self, part: str) -> None:
        """A chat has made a part; back when all have."""
        self._there[part] += 1
        self._gates[part].wait()

    def begin(self) -> None:
        """Before there is any user: as many greenlets that do nothing."""
        self.looks.append(look())
        never = Event()
        self._idle = [gevent.spawn(never.wait) for _ in range(_CHATS)]
        gevent.sleep(0.5)
        self.looks.append(look())
        gevent.spawn(self.lead)

    def lead(self) -> None:
        """Look whenever all have made a part."""
        for part, gate in self._gates.items():
            while self._there[part] < _CHATS:
                gevent.sleep(0.1)
            gevent.sleep(0.5)
            self.looks.append(look())
            gate.set()


_stages = Stages()
_spare = Books()


class Customer(ChatHolder):
    """A customer who says nothing, made part by part."""

    #: No customer as a locustfile has them: its one task is not chatload's.
    holds_chats = False

    @task
    def chat(self) -> None:
        """One chat."""
        run, plan = self.chat_run, self.chat_run.plan
        assert plan is not None
        mine = plan.of("")
        _stages.made("user")
        script = ScriptedCustomer(plan.settings.script, SplitMix64(id(self)))
        script.begin(0.0)
        _stages.made("script")
        spare = engine(plan, _spare.started, _spare)
        _stages.made("engine")
        transport: Any = mine.open_transport()
        _stages.made("transport")
        driver = SessionDriver(
            mine.encoder, mine.dialect.response, transport, run.monitor, self.leave, run.statistics.request
        )
        _stages.made("driver")
        gevent.sleep(random.uniform(0.0, _CONNECTING_S))
        transport._connection = connect(transport._endpoint, 10.0)
        _stages.made("connection")
        gevent.sleep(random.uniform(0.0, _INTERVAL_S))
        session = run.new_session(self)
        assert session is not None
        try:
            driver.hold(session)
        finally:
            transport.close()
            run.session_ended(session)
            del script, spare


@events.init.add_listener
def _init(environment: Any, **_: Any) -> None:
    def write(**_: Any) -> None:
        asked = environment.chatload_run.facts.books.sent["GetMessages"]
        found = {"chats": _CHATS, "refreshes": asked / _CHATS, "looks": [*_stages.looks, look()]}
        Path(os.environ["BENCH_PARTS"]).write_text(json.dumps(found))

    environment.events.test_start.add_listener(lambda **_: _stages.begin())
    environment.events.test_stopping.add_listener(write)
