"""Runs a probe in real time: one greenlet for each request under way, real sockets."""

import signal
import time
from collections import defaultdict
from typing import Any

import click
import gevent
from gevent.event import Event

from chatload.chat.effects import Exchange
from chatload.features.probe.evidence import ProbeSettings
from chatload.features.probe.probe import Probe, ProbeRequest
from chatload.protocol.encode import Encoder
from chatload.protocol.names import ResponseNames
from chatload.protocol.reply import GATEWAY_STATUSES, read
from chatload.swarm.driver import SUSPENDED_S, WallClock, suspended_s
from chatload.transport import OpenTransport, Transport

#: How often progress is reported (seconds).
PROGRESS_S = 5.0


def hide_interrupts() -> None:
    """Let gevent not report a KeyboardInterrupt: the command prints one line about it."""
    hub = gevent.get_hub()
    hub.NOT_ERROR = (*hub.NOT_ERROR, KeyboardInterrupt)


class ProbeRunner:
    """Runs one probe to its end. The first SIGINT or SIGTERM disconnects its chats; the second stops at once."""

    def __init__(
        self, settings: ProbeSettings, encoder: Encoder, names: ResponseNames, open_transport: OpenTransport
    ) -> None:
        self._probe = Probe(settings, time.monotonic())
        self._encoder, self._names = encoder, names
        #: The transport of each chat.
        self._transports: defaultdict[int, Transport] = defaultdict(open_transport)
        self._wake = Event()
        self._signals = 0
        self._error: BaseException | None = None

    def run(self) -> Probe:
        """Return the probe when it is over, or at the second signal."""
        # Python's own handlers: cancelling gevent's would leave the default action, which kills the process.
        before = {number: signal.signal(number, self._signalled) for number in (signal.SIGINT, signal.SIGTERM)}
        probe, told = self._probe, self._probe.begun_at
        wall, suspended_before_s = WallClock(), suspended_s()
        wall.read()
        try:
            while self._signals < 2:
                for order in probe.take(time.monotonic()):
                    gevent.spawn(self._send, order).link_exception(self._failed)
                if probe.over:
                    break
                now = time.monotonic()
                if now >= told + PROGRESS_S:
                    told = now
                    _print_progress(probe, now - probe.begun_at)
                self._wake.wait(min(max(probe.due() - now, 0.0), PROGRESS_S))
                self._wake.clear()
                if self._signals and not probe.interrupted:
                    probe.stop(time.monotonic())
                if self._error is not None:
                    raise self._error
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            for transport in self._transports.values():
                transport.close()
        jumped_s = max(wall.read(), suspended_s() - suspended_before_s)
        probe.jumped_s = jumped_s if jumped_s > SUSPENDED_S else 0.0
        return probe

    def _send(self, order: ProbeRequest) -> None:
        send, transport = order.send, self._transports[order.chat]
        begun = time.monotonic()
        result = transport.call(self._encoder.encode(send.operation, send.fields), send.timeout_s)
        reply, gateway = read(self._names, result), result.http_status in GATEWAY_STATUSES
        exchange = Exchange(
            begun, result.sent_at, result.received_at, reply, answered=result.failure is None, gateway=gateway
        )
        self._probe.receive(order.chat, exchange)
        self._wake.set()

    def _signalled(self, _: int, __: Any) -> None:
        self._signals += 1
        gevent.get_hub().loop.run_callback(self._wake.set)

    def _failed(self, greenlet: gevent.Greenlet) -> None:
        self._error = greenlet.exception
        self._wake.set()


def _print_progress(probe: Probe, elapsed_s: float) -> None:
    board, open_now = probe.board, sum(chat.living for chat in probe.chats)
    if board.refining:
        known = f"the timeout is between {board.bounds.lower_s:.2f} and {board.bounds.upper_s:.2f} s"
    else:
        known = f"silences of {board.longest_survived_s:.2f} s survived so far"
    so_far = f"{elapsed_s:.0f} s of {probe.settings.time_allowed_s:.0f} s at most"
    click.echo(f"{so_far}: {open_now} chats open; {known}", err=True)
