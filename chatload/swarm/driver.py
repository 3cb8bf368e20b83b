"""The real driver: runs a chat in a greenlet, over real sockets, in real time.

A stall is time in which the process did not run its event loop. The server is never blamed for it.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import gevent
from gevent.event import Event

from chatload.chat.effects import Exchange, Result, Send, Wait
from chatload.chat.engine import ChatEngine
from chatload.protocol.encode import Encoder, Headers
from chatload.protocol.names import ResponseNames
from chatload.protocol.reply import GATEWAY_STATUSES, Reply, read, read_file
from chatload.protocol.wire import WireRequest, WireResult
from chatload.transport import Transport
from chatload.transport.connection import GreenletWaiter

#: Interval of the heartbeat, and the delay of a heartbeat that counts as a stall (seconds).
BEAT_S = 0.02
STALL_S = 0.03
#: A suspension of the machine, or a jump of its wall clock, that counts (seconds).
SUSPENDED_S = 1.0
_REMEMBERED = 1000
#: Called with every finished request: operation, result of the transport, reply.
OnRequest = Callable[[str, WireResult, Reply], None]


def suspended_s() -> float:
    """Return for how long the machine was suspended since it booted (seconds); 0 if the system does not know it.

    The monotonic clock stands still meanwhile. Linux's CLOCK_BOOTTIME does not (clock_gettime(2)). The result is too
    small, never too great, by the time for which this process waits for its CPU between the two readings.
    """
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()


class WallClock:
    """How far the wall clock is ahead of the monotonic clock, to notice when it jumps.

    The monotonic clock of a virtual machine may stand still while the machine is paused. Then only the wall clock shows
    the pause, once it has been corrected. A clock that was set looks the same.
    """

    def __init__(self) -> None:
        self._most_s = float("inf")

    def jumped_s(self, before: float, wall: float, after: float) -> float:
        """Return by how much it surely jumped ahead since the last call (seconds); 0 or less if it did not.

        wall: its reading. before, after: readings of the monotonic clock around that. The process may have been stopped
        between any two of these readings.
        """
        most_s, self._most_s = self._most_s, wall - before
        return wall - after - most_s

    def read(self) -> float:
        """Read the clocks; return `jumped_s`."""
        return self.jumped_s(time.monotonic(), time.time(), time.monotonic())


class StallMonitor:
    """A heartbeat in the event loop: what delays it delays every chat.

    `within` does not depend on the order in which greenlets run after a stall: either the heartbeat has recorded the
    stall, or the last heartbeat is old.
    """

    def __init__(
        self,
        on_stall: Callable[[float], None],
        on_suspended: Callable[[], None] = lambda: None,
        on_jump: Callable[[float], None] = lambda _: None,
    ) -> None:
        """on_stall: gets the length of each stall (seconds). on_suspended: the machine was suspended and goes on.
        on_jump: gets by how much the wall clock jumped ahead (seconds), other than by a suspension.
        """
        self._on_stall, self._on_suspended, self._on_jump = on_stall, on_suspended, on_jump
        self._wall = WallClock()
        self._last, self._suspended_s = time.monotonic(), 0.0
        self._stalls: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        self._wall.read()
        self._last, self._suspended_s = time.monotonic(), max(suspended_s() for _ in range(3))
        self._greenlet = gevent.spawn(self._beat)

    def stop(self) -> None:
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
            self._greenlet = None

    def within(self, start: float, end: float) -> float:
        """Return the seconds of [start, end] in which this process was stalled. end: now or just before."""
        stalls = self._stalls
        recorded = bool(stalls) and stalls[-1][1] > start
        unrecorded = end - self._last - BEAT_S > STALL_S and self._greenlet is not None
        if not recorded and not unrecorded:
            return 0.0
        total = end - max(start, self._last + BEAT_S) if unrecorded else 0.0
        if recorded:
            total += sum(max(0.0, min(end, b) - max(start, a)) for a, b in stalls if b > start)
        return max(0.0, total)

    def _beat(self) -> None:
        while True:
            gevent.sleep(BEAT_S)
            now = time.monotonic()
            late = now - self._last - BEAT_S
            if late > STALL_S:
                self._stalls.append((self._last + BEAT_S, now))
                self._on_stall(late)
            self._last = now
            jumped_s = self._wall.read()
            if (suspended := suspended_s()) > self._suspended_s:
                if suspended - self._suspended_s > SUSPENDED_S:
                    self._on_suspended()
                    jumped_s = 0.0
                self._suspended_s = suspended
            if jumped_s > SUSPENDED_S:
                self._on_jump(jumped_s)


@dataclass(slots=True, eq=False)
class SessionDriver:
    """Runs sessions one after the other over one transport.

    names: names in the replies. leave: set when the chat has to disconnect; ends a wait at once. more_headers: returns
    headers beside those of the dialect, for each request.
    """

    encoder: Encoder
    names: ResponseNames
    transport: Transport
    monitor: StallMonitor
    leave: Event
    on_request: OnRequest
    more_headers: Callable[[], Headers] | None = None
    _waiter: GreenletWaiter = field(default_factory=GreenletWaiter)
    _operation: str = ""
    _fields: Mapping[str, str] | None = None
    _more: Headers | None = None
    _request: WireRequest | None = None
    _body: bytes | None = None
    _reply: Reply | None = None

    def hold(self, session: ChatEngine) -> None:
        """Hold one chat from RequestChat to its verdict. If the greenlet is killed, the chat is cut off."""
        steps = session.steps()
        self.leave.rawlink(self._wake)
        try:
            effect = next(steps)
            while True:
                effect = steps.send(self._wait(effect) if type(effect) is Wait else self._send(effect))  # type: ignore[arg-type]
        except StopIteration:
            pass
        finally:
            self.leave.unlink(self._wake)
            session.cut(time.monotonic())

    def _wake(self, _: Event) -> None:
        self._waiter.wake()

    def _wait(self, wait: Wait) -> Result:
        until, leave = wait.until, self.leave
        now = time.monotonic()
        while now < until and not leave.is_set():
            self._waiter.wait(until - now)
            now = time.monotonic()
        return now if leave.is_set() else None

    def _send(self, send: Send) -> Result:
        # Before the request begins: a hook that takes long makes it late, and that is the generator's own lateness.
        more = None if self.more_headers is None else self.more_headers()
        begun = time.monotonic()
        # Refreshes are equal, so the last request is reused as long as its fields are the same.
        request = self._request
        same = send.fields is self._fields and send.operation == self._operation and more == self._more
        if request is None or not same:
            request = self._request = self.encoder.encode(send.operation, send.fields, send.content)
            self._fields, self._operation, self._more = send.fields, send.operation, more
            if more:
                names = {name.lower() for name, _ in more}
                request.headers = (*(each for each in request.headers if each[0].lower() not in names), *more)
        result = self.transport.call(request, send.timeout_s)
        begun += result.waited_s
        reply = self._read(send, result)
        self.on_request(send.operation, result, reply)
        return Exchange(
            begun,
            result.sent_at,
            result.received_at,
            reply,
            result.connect_s,
            self.monitor.within(begun, result.received_at),
            result.failure is None,
            result.http_status in GATEWAY_STATUSES,
            self.leave.is_set(),
            result.resent,
            result.connected_at,
        )

    def _read(self, send: Send, result: WireResult) -> Reply:
        """Return the reply. Equal bytes are parsed once: most replies to refreshes say that nothing is new."""
        if send.operation == "FileDownload":
            return read_file(self.names, result)
        if result.failure is not None or result.http_status != 200:
            return read(self.names, result)
        reply = self._reply
        if reply is None or result.body != self._body:
            reply = self._reply = read(self.names, result)
            self._body = result.body
        return reply
