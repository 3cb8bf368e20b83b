"""Faults of the simulated service: read from TOML, drawn with a seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from math import exp, log1p
from pathlib import Path
from random import Random
from typing import Annotated, Any, NamedTuple, Protocol, get_type_hints

from pydantic import Field, create_model

from chatload.errors import FileError
from chatload.protocol.operations import OPERATION_FIELDS
from chatload.protocol.toml_file import FromFile, checked, load_toml
from chatload.random_numbers import SplitMix64
from chatload.simulator.model.answers import NoAnswer, ServiceAnswer, error
from chatload.simulator.model.config import Chance, Seconds, SettingKind, Switch, Timeout, one_of
from chatload.units import MARKED_SHARE


class FaultKind(NamedTuple):
    """What the faults of one kind have in common.

    meaning: what happens, in Markdown, for the reference page. processed: whether the request reaches the chat server,
    unless the fault has `reaches`. fixed: `reaches` cannot be chosen. answer: what the client gets; None: the usual
    answer to its request.
    """

    meaning: str
    processed: bool
    answer: ServiceAnswer | None = None
    fixed: bool = False


_CLOSED, _INTERNAL_ERROR = ServiceAnswer(silence=NoAnswer.CLOSED), b"Internal error"
KINDS: Mapping[str, FaultKind] = {
    "status_1": FaultKind(
        "statusCode 1: the request failed, the chat continues", False, ServiceAnswer(error(1, "Try again"))
    ),
    "status_1_violation": FaultKind(
        "statusCode 1 with `chatEnded` true, which the documentation excludes",
        False,
        ServiceAnswer({**error(1, "Try again"), "chatEnded": True}),
    ),
    "status_2": FaultKind("statusCode 2, and the chat ends", True, fixed=True),
    "status_2_open": FaultKind(
        "statusCode 2 with `chatEnded` false; the chat continues",
        False,
        ServiceAnswer({**error(2, "Not now"), "chatEnded": False}),
    ),
    "http_500": FaultKind("HTTP 500 with plain text", False, ServiceAnswer(raw=_INTERNAL_ERROR, http_status=500)),
    "http_503": FaultKind("HTTP 503 with plain text", False, ServiceAnswer(raw=_INTERNAL_ERROR, http_status=503)),
    "malformed": FaultKind(
        "an answer that is no complete JSON", True, ServiceAnswer(raw=b'{"statusCode":0,"chatEnded":fal')
    ),
    "html": FaultKind(
        "a web page in place of the answer, as of a login proxy",
        False,
        ServiceAnswer(raw=b"<html><body>Please log in</body></html>"),
    ),
    "unknown_status": FaultKind(
        "statusCode 7, which the documentation does not have",
        True,
        ServiceAnswer({"statusCode": 7, "chatEnded": False, "messages": []}),
    ),
    "slow": FaultKind("the answer is `delay_s` late", True, fixed=True),
    "stall": FaultKind("the processing of the request, and so the answer, is `delay_s` late", True, fixed=True),
    "drop_connection": FaultKind(
        "the connection is closed without an answer, `delay_s` after the request", True, _CLOSED
    ),
    "early_end": FaultKind("the chat ends for a reason other than silence", True, fixed=True),
    "failed_restoration": FaultKind("the chat ends with the quit reason of a failed restoration (8)", True, fixed=True),
    "duplicate": FaultKind("the request is processed twice, the second time `delay_s` later", True, fixed=True),
    "lost": FaultKind(
        "no answer, and the connection stays open; with `reaches` the request is processed, `delay_s` late",
        False,
        ServiceAnswer(silence=NoAnswer.LOST),
    ),
    "outage": FaultKind("the connection is closed without an answer", False, _CLOSED, fixed=True),
    "restart": FaultKind(
        "at `from_s` every chat is lost; until `until_s`, or forever, connections are refused",
        False,
        ServiceAnswer(silence=NoAnswer.REFUSED),
        fixed=True,
    ),
    "timeout_change": FaultKind(
        "from `from_s` to `until_s`, or forever, the flex-disconnect-timeout is `timeout_s`: for open chats too, or "
        "with `open_chats = false` only for chats that begin in that time",
        True,
        fixed=True,
    ),
}
#: Kinds that happen at their instants, without a request.
UNASKED = ("restart", "timeout_change")
#: A delay grows at most to exp(_MOST_GROWTH) times its first value.
_MOST_GROWTH = 20.0
#: Kinds that end the chat, unless they strike a Disconnect.
ENDS = frozenset({"early_end", "failed_restoration"})
_Growth = Annotated[
    float,
    Field(ge=0, allow_inf_nan=False),
    SettingKind("", "expected a part an hour, not below 0, such as 0.01 or 1%", quantity=MARKED_SHARE),
]
_Operations = Annotated[
    frozenset[Annotated[str, one_of(*OPERATION_FIELDS)]],
    Field(strict=False, min_length=1),
    SettingKind("", f"expected a list of {', '.join(OPERATION_FIELDS)}"),
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    kind: one of KINDS. chance: per request. operations: None is all. from_s, until_s: its window, seconds since the
    service's start. delay_s (seconds): of slow and stall, how late the answer is; of drop_connection, how long after
    the request the connection closes; of duplicate, how long after the first request the second arrives; of lost with
    reaches, how late the request arrives. growth_per_hour: the part by which delay_s grows in each hour after from_s,
    like a leak. reaches: whether the request is processed although it fails (None: the default of the kind). timeout_s,
    open_chats: of timeout_change, the new timeout (seconds; 0 is none), and whether it is also that of open chats.

    >>> plan = FaultPlan([Fault("status_1", chance=0.01), Fault("outage", from_s=60.0, until_s=70.0)], seed=1)
    >>> plan.draw(65.0, "GetMessages").kind
    'outage'
    """

    kind: Annotated[str, one_of(*KINDS)]
    chance: Chance = 1.0
    operations: _Operations | None = None
    from_s: Seconds = 0.0
    until_s: Seconds | None = None
    delay_s: Seconds = 0.0
    growth_per_hour: _Growth = 0.0
    reaches: bool | None = None
    timeout_s: Timeout | None = None
    open_chats: Switch = True

    def processed(self) -> bool:
        """Return whether the chat server receives the request."""
        return KINDS[self.kind].processed if self.reaches is None else self.reaches

    def disguise(self, answer: ServiceAnswer) -> ServiceAnswer:
        """Return the answer to a request as the fault changes it."""
        other = KINDS[self.kind].answer
        if other is not None:
            answer = replace(other)
        if self.kind in ("slow", "drop_connection"):
            answer.delay_s = self.delay_s
        return answer

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
    """Decides which request fails, and how, and which chats the server ends. `FaultPlan` is the configured one.

    unasked: the faults of the kinds UNASKED, by their from_s.
    """

    unasked: tuple[Fault, ...]

    def draw(self, elapsed: float, operation: str) -> Fault | None:
        """Return the fault that strikes a request, or None; elapsed: seconds since the start of the service."""

    def draw_end(self, draws: SplitMix64) -> tuple[float, str] | None:
        """Return the age of a new chat (seconds) at which the server's side ends it and the end reason: agent, idle,
        early or unrecoverable; None if only the client, a silence, or what the settings say ends it.
        """


class FaultPlan:
    """Faults in order (a `FaultSource`). The first fault whose window is open and whose chance is drawn strikes."""

    def __init__(self, faults: Iterable[Fault] = (), seed: int = 0) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.kind != "restart"))
        unasked = [fault for fault in self.faults if fault.kind in UNASKED]
        self.unasked = tuple(sorted(unasked, key=lambda fault: fault.from_s))
        self._striking = tuple(fault for fault in self.faults if fault.kind != "timeout_change")
        self._random = Random(seed)

    def draw(self, elapsed: float, operation: str) -> Fault | None:
        """See FaultSource."""
        for fault in self._striking:
            if fault.open_at(elapsed, operation) and (fault.chance >= 1 or self._random.random() < fault.chance):
                return fault.at(elapsed)
        return None

    def draw_end(self, draws: SplitMix64) -> None:
        """See FaultSource: faults of a file strike requests only."""

    @classmethod
    def load(cls, path: str | Path) -> FaultPlan:
        """Return a plan read from TOML; raises FileError with file, key and what was expected."""
        file = load_toml(path, FaultsFile)
        return cls([_fault(path, n, table) for n, table in enumerate(file.fault)], file.seed)


class FaultsFile(FromFile):
    """A file of faults."""

    seed: int = 0
    fault: Annotated[list[Any], SettingKind("", "expected [[fault]] tables")] = Field(default=[])


_HINTS = get_type_hints(Fault, include_extras=True)
#: A table [[fault]]: the fields of Fault. A missing kind is checked as if it was None.
_FaultTable = create_model(
    "_FaultTable",
    __base__=FromFile,
    **{
        f.name: (_HINTS[f.name], Field(default=None if f.default is MISSING else f.default, validate_default=True))
        for f in fields(Fault)
    },
)  # type: ignore[call-overload]


def _fault(path: str | Path, number: int, table: Any) -> Fault:
    fault = Fault(**dict(checked(table, _FaultTable, path, place=("fault", number))))
    key = f"fault[{number + 1}]"
    if fault.kind in UNASKED and table.keys() & {"chance", "operations"}:
        raise FileError(path, f"{key}.kind", f"expected no chance and no operations for {fault.kind}: it strikes all")
    if fault.kind == "timeout_change":
        if fault.timeout_s is None:
            raise FileError(path, f"{key}.timeout_s", "expected the new timeout, 1..1728000 s, such as 20s, or 0")
    elif given := sorted(table.keys() & {"timeout_s", "open_chats"}):
        raise FileError(path, f"{key}.{given[0]}", f"expected no {given[0]} for {fault.kind}: it is of timeout_change")
    _, processed, _, fixed = KINDS[fault.kind]
    if fixed and fault.reaches not in (None, processed):
        expected = f"expected {str(processed).lower()} for {fault.kind}, or to be left out"
        raise FileError(path, f"{key}.reaches", expected)
    return fault
