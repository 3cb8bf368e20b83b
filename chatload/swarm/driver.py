"""The real driver: one session, one greenlet, real sockets, real time. As thin as can be."""

from __future__ import annotations

import time
from collections.abc import Callable

from gevent.event import Event

from chatload.protocol.dialect import Encoder
from chatload.protocol.reply import GATEWAY_STATUSES, Reply, ResponseNames, read, read_file
from chatload.protocol.wire import WireResult
from chatload.session.effects import Exchange, Result, Send, Wait, Woken
from chatload.session.lifecycle import ChatSession
from chatload.swarm.stalls import StallMonitor
from chatload.swarm.transport import Transport

#: Told of every finished request: operation, what the wire showed, the reply.
OnRequest = Callable[[str, WireResult, Reply], None]


class Driver:
    """Runs sessions one after the other over one transport.

    leave: set when the run wants this chat to say goodbye; it ends waits at once.
    """

    def __init__(
        self,
        encoder: Encoder,
        names: ResponseNames,
        transport: Transport,
        monitor: StallMonitor,
        leave: Event,
        on_request: OnRequest,
    ) -> None:
        self._encoder, self._names, self._transport = encoder, names, transport
        self._monitor, self._leave, self._on_request = monitor, leave, on_request

    def hold(self, session: ChatSession) -> None:
        """Hold one chat from RequestChat to its verdict; a kill in between leaves it cut off."""
        steps = session.steps()
        try:
            effect = next(steps)
            while True:
                effect = steps.send(self._wait(effect) if type(effect) is Wait else self._send(effect))  # type: ignore[arg-type]
        except StopIteration:
            pass
        finally:
            session.cut(time.monotonic())

    def _wait(self, wait: Wait) -> Result:
        delay = wait.until - time.monotonic()
        leaving = self._leave.wait(delay) if delay > 0 else self._leave.is_set()
        return Woken(time.monotonic(), bool(leaving))

    def _send(self, send: Send) -> Result:
        begun = time.monotonic()
        request = self._encoder.encode(send.operation, send.fields, send.content)
        result = self._transport.call(request, send.timeout_s)
        reader = read_file if send.operation == "FileDownload" else read
        reply = reader(self._names, result, send.inherited)
        self._on_request(send.operation, result, reply)
        return Exchange(
            begun,
            result.sent_at,
            result.received_at,
            reply,
            result.connect_s,
            self._monitor.within(begun, result.received_at),
            result.failure is None,
            result.http_status in GATEWAY_STATUSES,
            self._leave.is_set(),
            result.resent,
        )
