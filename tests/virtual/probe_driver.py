"""The probe against the simulator's model, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

from chatload.features.probe.evidence import ProbeSettings
from chatload.features.probe.probe import Probe, ProbeRequest
from chatload.protocol.wire import WireResult
from chatload.simulator.model.answers import NoAnswer, ServiceAnswer
from chatload.simulator.model.faults import Fault
from chatload.simulator.model.service import ChatService
from chatload.virtual.driver import read_answer
from chatload.virtual.network import NetworkModel


class VirtualProbe:
    """Runs one probe to its end in virtual time. Deterministic in its arguments."""

    def __init__(
        self,
        settings: ProbeSettings,
        service: ChatService,
        network: NetworkModel = NetworkModel(),
        seed: int = 0,
        stop_at: float | None = None,
        begin_at: float = 0.0,
    ) -> None:
        """stop_at: it is interrupted then. begin_at: the instant it begins, on the service's clock."""
        self.service, self.network, self.random = service, network, Random(seed)
        self.now = begin_at
        self.probe = Probe(settings, begin_at)
        self.requests = 0
        self._stop_at = float("inf") if stop_at is None else stop_at
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._noted = 0
        service.start_at(begin_at)

    def run(self) -> Probe:
        """Run until the probe is over, and return it."""
        probe, heap = self.probe, self._heap
        while not probe.over:
            for order in probe.take(self.now):
                self._transmit(order)
            if probe.over:
                break
            due = max(self.now, min(probe.due(), self._stop_at))
            if heap and heap[0][0] <= due:
                self.now, _, call, arguments = heappop(heap)
                call(*arguments)
            else:
                self.now = due
                if due >= self._stop_at:
                    self._stop_at = float("inf")
                    probe.stop(self.now)
        return probe

    def _at(self, instant: float, call: Callable[..., None], *arguments: Any) -> None:
        self._noted += 1
        heappush(self._heap, (instant, self._noted, call, arguments))

    def _transmit(self, order: ProbeRequest) -> None:
        network, random, now = self.network, self.random, self.now
        self.requests += 1
        call = _RequestUnderWay(self, order)
        if network.refuses(random, now, order.send.operation):
            failed = WireResult(None, 0.0, failure="connection", detail="connection refused")
            self._at(now + network.latency(random), call.receive, failed)
            return
        self._at(now + order.send.timeout_s, call.receive, WireResult(now, 0.0, failure="timeout", detail="timeout"))
        if not network.suffers("loss", random):
            self._at(now + network.latency(random), call.arrive)

    def later(self, delay_s: float, call: Callable[..., None], *arguments: Any) -> None:
        """Call after a delay."""
        self._at(self.now + delay_s, call, *arguments)


class _RequestUnderWay:
    """One request on its way through the network and the service."""

    __slots__ = ("begun", "driver", "open", "order")

    def __init__(self, driver: VirtualProbe, order: ProbeRequest) -> None:
        self.driver, self.order, self.begun, self.open = driver, order, driver.now, True

    def arrive(self) -> None:
        """The request arrives at the service, whether or not the client still waits for the answer."""
        driver = self.driver
        fault = driver.service.draw(driver.now, self.order.send.operation)
        if fault is not None and fault.kind == "stall":
            driver.later(fault.delay_s, self.process, fault)
        else:
            self.process(fault)

    def process(self, fault: Fault | None) -> None:
        """The service acts on it, and answers; the answer may get lost."""
        driver, fields = self.driver, self.order.send.fields
        operation = self.order.send.operation
        answer = driver.service.process(driver.now, operation, fields.get("chat_id"), fields, fault)
        assert answer.held is None, "a request for the whole transcript is never held"
        if answer.silence is not NoAnswer.LOST and not driver.network.suffers("loss", driver.random):
            driver.later(answer.delay_s + driver.network.latency(driver.random), self.receive, answer)

    def receive(self, what: ServiceAnswer | WireResult) -> None:
        """The client receives an answer or a failure."""
        if not self.open:
            return
        self.open = False
        exchange = read_answer(what, self.order.send, self.begun, self.driver.now)
        self.driver.probe.receive(self.order.chat, exchange)
