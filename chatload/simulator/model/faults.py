"""Faults of the simulated service: read from TOML, drawn with a seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from math import exp, log1p
from pathlib import Path
from random import Random
from typing import Any, Protocol

from chatload.errors import FileError
from chatload.protocol.toml_file import read_toml
from chatload.simulator.model.answers import NoAnswer, ServiceAnswer, error
from chatload.simulator.model.ledger import OPERATIONS

#: Kind of fault -> whether the request reaches the chat server (is processed) where `reaches` is not given.
KINDS = {
    "status_1": False,
    "status_1_violation": False,
    "status_2": True,
    "status_2_open": False,
    "http_500": False,
    "http_503": False,
    "malformed": True,
    "html": False,
    "unknown_status": True,
    "slow": True,
    "stall": True,
    "drop_connection": True,
    "early_end": True,
    "failed_restoration": True,
    "duplicate": True,
    "lost": False,
    "outage": False,
    "restart": False,
}
#: A delay grows at most to exp(_MOST_GROWTH) times its first value.
_MOST_GROWTH = 20.0
_CLOSED = frozenset({"outage", "drop_connection"})
#: Kinds for which `reaches` cannot be chosen.
_REACH_IS_GIVEN = frozenset(
    {"status_2", "slow", "stall", "early_end", "failed_restoration", "duplicate", "outage", "restart"}
)
#: Kinds that end the chat, unless they strike a Disconnect.
ENDS = frozenset({"early_end", "failed_restoration"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    kind: one of KINDS. chance: per request. operations: None is all. from_s, until_s: its window, seconds since the
    service's start. delay_s (seconds): of slow and stall, how late the answer is; of drop_connection, how long after
    the request the connection closes; of duplicate, how long after the first request the second arrives; of lost with
    reaches, how late the request arrives. growth_per_hour: the part by which delay_s grows in each hour after from_s,
    like a leak. reaches: whether the request is processed although it fails (None: the default of the kind).

    >>> plan = FaultPlan([Fault("status_1", chance=0.01), Fault("outage", from_s=60.0, until_s=70.0)], seed=1)
    >>> plan.draw(65.0, "GetMessages").kind
    'outage'
    """

    kind: str
    chance: float = 1.0
    operations: frozenset[str] | None = None
    from_s: float = 0.0
    until_s: float | None = None
    delay_s: float = 0.0
    growth_per_hour: float = 0.0
    reaches: bool | None = None

    def processed(self) -> bool:
        """Return whether the chat server receives the request."""
        return KINDS[self.kind] if self.reaches is None else self.reaches

    def open_at(self, elapsed: float, operation: str) -> bool:
        """Return whether the fault may strike a request now."""
        if self.operations is not None and operation not in self.operations:
            return False
        return self.from_s <= elapsed and (self.until_s is None or elapsed < self.until_s)

    def at(self, elapsed: float) -> Fault:
        """Return the fault with its delay as grown by now."""
        if not self.growth_per_hour:
            return self
        grown = exp(min(log1p(self.growth_per_hour) * (elapsed - self.from_s) / 3600, _MOST_GROWTH))
        return replace(self, delay_s=self.delay_s * grown)


class FaultSource(Protocol):
    """Decides which request fails, and how. `FaultPlan` is the configured one.

    restarts: the faults of kind "restart", by their from_s; they need no request to happen.
    """

    restarts: tuple[Fault, ...]

    def draw(self, elapsed: float, operation: str) -> Fault | None:
        """Return the fault that strikes a request, or None; elapsed: seconds since the start of the service."""


class FaultPlan:
    """Faults in order, restarts first. The first fault whose window is open and whose chance is drawn strikes."""

    def __init__(self, faults: Iterable[Fault] = (), seed: int = 0) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.kind != "restart"))
        restarts = [fault for fault in self.faults if fault.kind == "restart"]
        self.restarts = tuple(sorted(restarts, key=lambda fault: fault.from_s))
        self._random = Random(seed)

    def draw(self, elapsed: float, operation: str) -> Fault | None:
        """Return the fault that strikes a request arriving `elapsed` seconds after the start, or None."""
        for fault in self.faults:
            if fault.open_at(elapsed, operation) and (fault.chance >= 1 or self._random.random() < fault.chance):
                return fault.at(elapsed)
        return None

    @classmethod
    def load(cls, path: str | Path) -> FaultPlan:
        """Return a plan read from TOML; raises FileError with file, key and what was expected."""
        data = read_toml(path)
        for key in data:
            if key not in ("seed", "fault"):
                raise FileError(path, key, "unknown key; expected seed or [[fault]]")
        seed, tables = data.get("seed", 0), data.get("fault", [])
        if type(seed) is not int:
            raise FileError(path, "seed", "expected a whole number")
        if not isinstance(tables, list):
            raise FileError(path, "fault", "expected [[fault]] tables")
        return cls([_fault(path, f"fault[{n}]", table) for n, table in enumerate(tables, 1)], seed)


def disguise(answer: ServiceAnswer, fault: Fault) -> ServiceAnswer:
    """Return the answer as a fault changes it."""
    kind = fault.kind
    if kind in _CLOSED:
        return ServiceAnswer(silence=NoAnswer.CLOSED, delay_s=fault.delay_s if kind == "drop_connection" else 0.0)
    if kind == "restart":
        return ServiceAnswer(silence=NoAnswer.REFUSED)
    if kind == "lost":
        return ServiceAnswer(silence=NoAnswer.LOST)
    if kind == "status_2_open":
        return ServiceAnswer({**error(2, "Not now"), "chatEnded": False})
    if kind in ("status_1", "status_1_violation"):
        return ServiceAnswer({**error(1, "Try again"), "chatEnded": kind == "status_1_violation"})
    if kind in ("http_500", "http_503"):
        return ServiceAnswer(raw=b"Internal error", http_status=int(kind[-3:]))
    if kind == "malformed":
        return ServiceAnswer(raw=b'{"statusCode":0,"chatEnded":fal')
    if kind == "html":
        return ServiceAnswer(raw=b"<html><body>Please log in</body></html>")
    if kind == "unknown_status":
        return ServiceAnswer({"statusCode": 7, "chatEnded": False, "messages": []})
    if kind == "slow":
        answer.delay_s = fault.delay_s
    return answer


def _fault(path: str | Path, key: str, table: Any) -> Fault:
    if not isinstance(table, dict):
        raise FileError(path, key, "expected a table")
    known = [f.name for f in fields(Fault)]
    for name in table:
        if name not in known:
            raise FileError(path, f"{key}.{name}", f"unknown key; expected one of {', '.join(known)}")
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise FileError(path, f"{key}.kind", f"expected one of {', '.join(KINDS)}")
    if not _is_number(table.get("chance", 0)) or table.get("chance", 0) > 1:
        raise FileError(path, f"{key}.chance", "expected 0 to 1")
    for name in ("from_s", "until_s", "delay_s"):
        if not _is_number(table.get(name, 0)):
            raise FileError(path, f"{key}.{name}", "expected seconds, not below 0")
    if not _is_number(table.get("growth_per_hour", 0)):
        raise FileError(path, f"{key}.growth_per_hour", "expected a part an hour, not below 0, such as 0.01")
    if kind == "restart" and table.keys() & {"chance", "operations"}:
        raise FileError(path, f"{key}.kind", "expected no chance and no operations for restart: it strikes all")
    operations = table.get("operations")
    if operations is not None and not _are_operations(operations):
        raise FileError(path, f"{key}.operations", f"expected a list of {', '.join(OPERATIONS)}")
    reaches = table.get("reaches")
    if reaches is not None and not isinstance(reaches, bool):
        raise FileError(path, f"{key}.reaches", "expected true or false")
    if kind in _REACH_IS_GIVEN and reaches not in (None, KINDS[kind]):
        raise FileError(path, f"{key}.reaches", f"expected {str(KINDS[kind]).lower()} for {kind}, or to be left out")
    return Fault(**{**table, "operations": None if operations is None else frozenset(operations)})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _are_operations(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(o, str) and o in OPERATIONS for o in value)
