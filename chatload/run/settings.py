"""The settings of a run as one typed value, with the options that set them.

`RunSettings` is built once from the parsed options, written to the run file, and read back. Each field declares
which option sets it, and whether it changes the load. From these fields come Locust's parser, `chatload options`,
docs/options.md, the report's command that repeats a run, and what must be equal in runs that are compared.

To add an option, add a field here and use it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from chatload import units
from chatload.chat.customer import INTRODUCTION
from chatload.chat.personas import PERSONAS
from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, load_script, script_table
from chatload.chat.settings import DEFAULT_SWEEP, SessionSettings, fractions_in, swept
from chatload.errors import UsageError
from chatload.plausibility import SIMULATOR_KEY, unknown_variables
from chatload.protocol.dialect import Dialect, load_dialect, parse_dialect, variables_of
from chatload.protocol.toml_file import format_toml, loads_toml, read_toml
from chatload.run.windows import KEEP_S
from chatload.target import VARIABLE as CONFIG_VARIABLE

#: The names of the gates; `chatload.thresholds.gate` has their thresholds.
GATES: Final = ("standard",)

#: Values of --judge; the third is FROM-TO.
ALL, STEADY = "all", "steady"


def written(value: Any) -> str:
    """Return a value as text for the command line: numbers exactly, whole ones without fraction, lists with commas."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, tuple | list):
        return ",".join(map(written, value))
    return str(value)


@dataclass(frozen=True)
class OptionKind:
    """The type of an option's value.

    parse: returns the value of a text; raises ValueError. stored: validates the value that a run file has. expected:
    what the text must be, for error messages. write: returns the text for the command line. dump: returns the value as
    JSON. repeated: the option is written once per item of a tuple.
    """

    parse: Callable[[str], Any]
    stored: TypeAdapter[Any]
    expected: str = "text"
    write: Callable[[Any], str] = written
    dump: Callable[[Any], Any] = lambda value: list(value) if isinstance(value, tuple) else value
    repeated: bool = False


def _file(text: str) -> str:
    if not Path(text).is_file():
        raise ValueError
    return text


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())


#: The start of a run as FROM of --judge.


def _judge(text: str) -> str:
    """Return ALL, STEADY, or "FROM-TO" in seconds."""
    if text in (ALL, STEADY):
        return text
    first, _, last = text.partition("-")
    start, end = (units.DURATION_OR_0.read(part) for part in (first, last))
    if not start < end:
        raise ValueError
    return f"{written(start)}-{written(end)}"


def _rounded(value: float) -> str:
    return written(round(value, 9))


_FiniteNumber = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_NUMBER: TypeAdapter[float] = TypeAdapter(_FiniteNumber)
_WHOLE: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(strict=True)])
_TEXT, _TEXTS = TypeAdapter(str), TypeAdapter(tuple[str, ...])


def _quantity(
    quantity: units.Quantity, stored: TypeAdapter[Any] = _NUMBER, write: Callable[[Any], str] = written
) -> OptionKind:
    return OptionKind(quantity.read, stored, quantity.expected, write)


TEXT: Final = OptionKind(str, _TEXT)
FLAG: Final = OptionKind(
    lambda text: text.strip().lower() in ("true", "1", "yes", "on"), TypeAdapter(bool), "true or false"
)
DURATION: Final = _quantity(units.DURATION)
DURATION_OR_0: Final = _quantity(units.DURATION_OR_0)
RUN_TIME: Final = _quantity(units.DURATION, write=lambda seconds: f"{written(seconds)}s")
NUMBER: Final = _quantity(units.NUMBER)
RATE_PER_S: Final = _quantity(units.RATE_PER_S)
SHARE: Final = _quantity(units.SHARE)
SHARE_BELOW_1: Final = _quantity(units.SHARE_BELOW_1, TypeAdapter(Annotated[float, Field(strict=True, ge=0, lt=1)]))
#: PERCENT: text and value are percentages. CONFIDENCE: the text is a percentage, the value lies between 0 and 1.
PERCENT: Final = _quantity(units.PERCENTAGE, write=_rounded)
CONFIDENCE: Final = OptionKind(
    lambda text: round(units.PERCENTAGE.read(text) / 100, 9),
    _NUMBER,
    "a percentage such as 95",
    write=lambda share: _rounded(100 * share),
)
WHOLE: Final = _quantity(units.WHOLE, _WHOLE)
COUNT: Final = _quantity(units.COUNT, _WHOLE)
FILE: Final = OptionKind(_file, _TEXT, "a file that exists")
WORDS: Final = OptionKind(_split, _TEXTS, "words")
PARTS: Final = OptionKind(
    fractions_in, TypeAdapter(tuple[_FiniteNumber, ...]), "parts of the timeout, such as 0.5,0.9,1.02"
)
JUDGE: Final = OptionKind(
    _judge, TypeAdapter(Annotated[str, AfterValidator(_judge)]), "all, steady, or FROM-TO such as 2m-10m"
)
EXPRESSIONS: Final = OptionKind(_split, _TEXTS, "thresholds", repeated=True)
#: Host names separated by ";", in JSON too.
HOSTS: Final = OptionKind(
    _split,
    TypeAdapter(Annotated[tuple[str, ...], BeforeValidator(lambda v: _split(v) if isinstance(v, str) else None)]),
    "host names",
    write="; ".join,
    dump="; ".join,
)


@dataclass(frozen=True)
class ClassSettings:
    """The settings of one user class of a run that has several, as its chats used them; names as in RunSettings.

    weight, fixed_count: how Locust shares the users out. tags: of its task, beside "chat". hooks: the hooks that it
    defines. feeder: the file of its customers' values and how they are drawn.
    """

    name: str
    weight: float = 1.0
    fixed_count: int = 0
    tags: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    host: str = ""
    service: str = ""
    dialect: str = ""
    dialect_sha256: str = ""
    persona: str = ""
    script: str = ""
    script_sha256: str = ""
    chat_length: float | None = None
    feeder: str = ""
    feeder_sha256: str = ""
    refresh_policy: str = ""
    refresh_interval: float | None = None
    poll_jitter: float = 0.0
    request_timeout: float | None = None
    long_poll: float | None = None


#: The settings of the user classes of a run, as a list of objects in JSON.
CLASSES: Final = OptionKind(
    lambda text: (),
    TypeAdapter(tuple[ClassSettings, ...]),
    "user classes",
    write=lambda classes: ", ".join(one.name for one in classes),
    dump=lambda classes: [asdict(one) for one in classes],
)


class OptionGroup(StrEnum):
    """Who declares an option, and which locustfiles have it."""

    RUN = "every locustfile"
    ARRIVALS = "locustfiles/arrivals.py"
    SWEEP = "locustfiles/interval_sweep.py"
    CAPACITY = "locustfiles/capacity.py"
    LOCUST = "Locust itself"


@dataclass(frozen=True)
class Option:
    """One option of the command line.

    default: as text, for the parser and the web UI; "": not set. choices: the texts that are allowed. environment: it
    can be set by its environment variable. web_ui: it can be set in Locust's web UI. attribute: its name in the parsed
    options, if it differs from the flag.
    """

    flag: str
    help: str = ""
    default: str = ""
    kind: OptionKind = TEXT
    metavar: str = ""
    choices: tuple[str, ...] = ()
    group: OptionGroup = OptionGroup.RUN
    environment: bool = True
    web_ui: bool = True
    attribute: str = ""

    @property
    def dest(self) -> str:
        return self.attribute or self.flag.strip("-").replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable that sets it; "" if there is none."""
        return "CHATLOAD_" + self.dest.upper() if self.environment and self.group is not OptionGroup.LOCUST else ""

    def value(self, given: Any) -> Any:
        """Return the value of what the parser gave; None if it is not set. Raises UsageError."""
        if given is None or given in ("", "None"):
            return None
        if not isinstance(given, str):
            return tuple(given) if isinstance(given, list) else given
        if self.group is OptionGroup.LOCUST and self.kind is not TEXT:
            return None  # a text from the form of the web UI: Locust itself parses it later
        if self.choices and given not in self.choices:
            raise UsageError(f"{self.flag} {given}: expected one of {', '.join(filter(None, self.choices))}")
        try:
            return self.kind.parse(given.strip())
        except units.TooLongError as error:
            raise UsageError(f"{self.flag} {given}: {error}") from None
        except ValueError:
            raise UsageError(f"{self.flag} {given}: expected {self.kind.expected}") from None

    def words(self, value: Any) -> list[list[str]]:
        """Return the words of the command line that set it to this value, one list for each use of the option."""
        if self.kind is FLAG:
            return [[self.flag]]
        if self.kind is WORDS:
            # A word that begins with a dash would be read as an option.
            return [[self.flag, *(word for word in value if not word.startswith("-"))]]
        texts = map(written, value) if self.kind.repeated else [self.kind.write(value)]
        return [[f"{self.flag}={text}"] if text.startswith("-") else [self.flag, text] for text in texts]

    def add_to(self, parser: Any, **more: Any) -> None:
        """Add it to an argparse parser, or to one of its groups; more: further arguments of `add_argument`."""
        if self.kind is FLAG:
            parser.add_argument(self.flag, default=False, action="store_true", help=self.help, **more)
            return
        if self.choices:
            more["choices"] = list(self.choices)
        else:
            more["metavar"] = self.metavar
        if self.kind in (EXPRESSIONS, HOSTS):
            more["action"] = _Joined
        parser.add_argument(self.flag, default=self.default, help=self.help, **more)


class _Joined(argparse._AppendAction):
    """A repeatable option whose value is one text, joined with "; ": Locust's web UI cannot show a list.

    A subclass of argparse's own class, because ConfigArgParse reads lists in a configuration file only for that one.
    """

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Add a value; the first one replaces the default."""
        given = getattr(namespace, f"_{self.dest}", [])
        setattr(namespace, f"_{self.dest}", [*given, values])
        setattr(namespace, self.dest, "; ".join([*given, values]))


@dataclass(frozen=True)
class Setting:
    """What a field of RunSettings is.

    option: sets it; None if no option does. changes_load: runs with different values of it have different loads.
    replayed: `forecast` can replay a run in which it is set. zero: 0 is a value of its own and does not mean "not set".
    apart: it is the text of a whole file and is stored beside the settings. digest: the setting that is compared in its
    place, if that is set: files are compared by content, not by name.
    """

    kind: OptionKind
    option: Option | None = None
    changes_load: bool = False
    replayed: bool = True
    zero: bool = False
    apart: bool = False
    digest: str = ""

    def is_set(self, value: Any) -> bool:
        return bool(value) or (self.zero and value == 0 and value is not None)


def _fact(unset: Any, kind: OptionKind = TEXT, **meaning: Any) -> Any:
    """Declare a setting that no option sets."""
    return field(default=unset, metadata={"setting": Setting(kind, **meaning)})


def _option(unset: Any, flag: str, kind: OptionKind = TEXT, help: str = "", default: str = "", **more: Any) -> Any:
    """Declare a setting and its option; more: fields of Option (metavar, choices, group, ...) or of Setting."""
    names = ("metavar", "choices", "group", "environment", "web_ui", "attribute")
    of_option = {name: more.pop(name) for name in names if name in more}
    return _fact(unset, kind, option=Option(flag, help, default, kind, **of_option), **more)


def _locust(unset: Any, flag: str, kind: OptionKind, attribute: str = "", **meaning: Any) -> Any:
    """Declare a setting that one of Locust's own options sets."""
    return _option(unset, flag, kind, group=OptionGroup.LOCUST, attribute=attribute, **meaning)


@dataclass(frozen=True)
class RunSettings:
    """All settings of one run. Durations are seconds, shares 0 to 1; None: not set.

    The values are those that the run used: `refresh_interval`, `request_timeout` and `long_poll` are set even if the
    user left them to chatload. `chat_length` is None if the script's own lengths are used. In a run with several user
    classes, of which some have settings of their own, `classes` has the values, and those of OF_A_CLASS are as the
    options gave them. `other_user_classes` hold no chats, such as an HttpUser. No field holds a secret: the script and
    the dialect are stored without names, texts and keys (see `stored_script`, `stored_dialect`).
    """

    name: str = _fact("")
    started_at: float | None = _fact(None, NUMBER)
    locustfile: str = _locust("", "-f", TEXT, "locustfile")
    user_classes: tuple[str, ...] = _fact((), WORDS, changes_load=True)
    classes: tuple[ClassSettings, ...] = _fact((), CLASSES, changes_load=True, replayed=False)
    other_user_classes: tuple[str, ...] = _fact((), WORDS, changes_load=True)
    host: str = _locust("", "--host", TEXT)
    users: int | None = _locust(None, "-u", COUNT, "num_users", changes_load=True)
    spawn_rate: float | None = _locust(None, "-r", RATE_PER_S, "spawn_rate", changes_load=True)
    run_time: float | None = _locust(None, "-t", RUN_TIME, "run_time")
    stop_timeout: float | None = _locust(None, "-s", NUMBER, "stop_timeout", zero=True)
    workers: int = _locust(0, "--processes", WHOLE)
    tags: tuple[str, ...] = _locust((), "--tags", WORDS, changes_load=True)
    exclude_tags: tuple[str, ...] = _locust((), "--exclude-tags", WORDS, changes_load=True)
    equal_weights: bool = _locust(False, "--equal-weights", FLAG, changes_load=True)

    flex_disconnect_timeout: float | None = _option(
        None, "--flex-disconnect-timeout", DURATION,
        "The server's flex-disconnect-timeout, from 1 s to 20 days: it ends a chat from which no request came for "
        "longer than this. Default: 45, the server's own default.",
        "45", metavar="DURATION", changes_load=True,
    )  # fmt: skip
    persona: str = _option(
        "strict", "--persona", TEXT,
        "The wire behaviour of customers: strict (by the status table) or widget (as the vendor's browser client: "
        "polls every 3 s, gives up a request after 3 s).",
        "strict", choices=tuple(PERSONAS), changes_load=True,
    )  # fmt: skip
    refresh_policy: str = _option(
        "fixed", "--refresh-policy", TEXT,
        "When GetMessages is sent: fixed (every --refresh-interval), fraction (after a part of the timeout), deadline "
        "(as late as is safe).",
        "fixed", choices=("fixed", "fraction", "deadline"), changes_load=True,
    )  # fmt: skip
    refresh_interval: float | None = _option(
        None, "--refresh-interval", DURATION,
        "Time between two GetMessages of a chat, for --refresh-policy fixed. Default: 3s, or a third of "
        "--flex-disconnect-timeout where that is less.",
        metavar="DURATION", changes_load=True,
    )  # fmt: skip
    refresh_fraction: float | None = _option(
        None, "--refresh-fraction", SHARE,
        "The same as a part of the timeout, for --refresh-policy fraction. Default: 0.5.", metavar="SHARE",
    )  # fmt: skip
    poll_jitter: float = _option(
        0.0, "--poll-jitter", SHARE_BELOW_1,
        "Refresh up to this share of the interval earlier, by chance and never later, so that chats that began "
        "together do not stay in step. 0: do not.",
        "0", metavar="SHARE", changes_load=True,
    )  # fmt: skip
    allow_late_refresh: bool = _option(
        False, "--allow-late-refresh", FLAG,
        "Allow an interval as long as the timeout or longer, to drop chats on purpose.",
    )  # fmt: skip
    sweep: tuple[float, ...] = _option(
        (), "--sweep", PARTS,
        "Refresh intervals to sweep, as parts of the timeout; above 1 drops chats on purpose. All run at once, in "
        "permuted blocks.",
        DEFAULT_SWEEP, metavar="X,X,...", group=OptionGroup.SWEEP, changes_load=True, replayed=False,
    )  # fmt: skip
    service: str = _option("default", "--service", TEXT, "Name of the chat service in the URL.", "default",
                           metavar="NAME")  # fmt: skip
    dialect: str = _option(
        "gms-v2", "--dialect", TEXT,
        "How the service names operations and fields: a built-in dialect, or a .toml file.",
        "gms-v2", metavar="NAME_OR_FILE", changes_load=True, digest="dialect_sha256",
    )  # fmt: skip
    dialect_sha256: str = _fact("", changes_load=True)
    dialect_text: str = _fact("", apart=True)
    script: str = _option(
        "", "--script", TEXT, "What customers do: a .toml file. Default: a short conversation.",
        metavar="FILE", changes_load=True, digest="script_sha256",
    )  # fmt: skip
    script_sha256: str = _fact("", changes_load=True)
    script_text: str = _fact("", apart=True)
    feeder: str = _fact("")
    feeder_sha256: str = _fact("", changes_load=True)
    chat_length: float | None = _option(
        None, "--chat-length", DURATION,
        "Mean length of a chat; lengths are exponential. Default: that of the script (60s without one).",
        metavar="DURATION", changes_load=True,
    )  # fmt: skip
    chats: int = _option(0, "--chats", WHOLE, "End the run once this many chats have ended. 0: no limit.", "0",
                         metavar="N")  # fmt: skip
    chat_seed: int = _option(0, "--chat-seed", WHOLE, "Seed of what customers do.", "0", metavar="N")
    request_timeout: float | None = _option(
        None, "--request-timeout", DURATION,
        "Total time that one request may take. Default: 10s, or half the timeout where that is less.",
        metavar="DURATION", changes_load=True,
    )  # fmt: skip
    long_poll: float | None = _option(
        None, "--long-poll", DURATION,
        "How long the server may hold a GetMessages. Default: what the dialect says, 0 for gms-v2.",
        metavar="DURATION", changes_load=True, replayed=False,
    )  # fmt: skip
    transport: str = _option(
        "lean", "--transport", TEXT, "HTTP client: lean (fast, exact instants) or requests (for proxies).",
        "lean", choices=("lean", "requests"), changes_load=True,
    )  # fmt: skip
    connections: int = _option(
        0, "--connections", WHOLE,
        "The chats of a process share this many connections, as behind a reverse proxy. The time that a request waits "
        "for a free connection delays it. 0: each chat has its own.",
        "0", metavar="N", changes_load=True, replayed=False,
    )  # fmt: skip
    # --connections is per process.
    connections_in_all: int = _fact(0, WHOLE, changes_load=True)
    ca_file: str = _option(
        "", "--ca-file", FILE, "Certificate authorities to trust instead of the system's, PEM.", metavar="FILE"
    )
    client_cert: str = _option(
        "", "--client-cert", FILE, "Client certificate and its key in one file, PEM.", metavar="FILE"
    )
    # No environment variable: it would apply to every run.
    insecure: bool = _option(
        False, "--insecure", FLAG, "Do not verify the server's certificate, for this run; its reports say so.",
        environment=False,
    )  # fmt: skip
    target_owner_agrees: tuple[str, ...] = _option(
        (), "--target-owner-agrees", HOSTS,
        "The owner of this host agrees to load on it. Needed for every --host that is not loopback or private; "
        "repeatable, or ';' between.",
        metavar="HOST",
    )  # fmt: skip
    # A load shape that asks for more is limited to it, and a capacity search goes no higher.
    max_sessions: int | None = _option(
        None, "--max-sessions", COUNT, "Never have more sessions open than this. chatload.toml may lock it.",
        metavar="N", changes_load=True,
    )  # fmt: skip
    max_requests_per_s: float | None = _option(
        None, "--max-requests-per-s", RATE_PER_S,
        "Refuse a run that plans for more requests per second, and stop one that makes more. chatload.toml may lock "
        "it.",
        metavar="RATE",
    )  # fmt: skip

    workload: str = _fact("", changes_load=True, replayed=False)
    arrival_rate: float | None = _option(
        None, "--arrival-rate", RATE_PER_S,
        "Chats arrive at this rate, of all users together: per second, or with a unit such as 4000/h.",
        metavar="RATE", group=OptionGroup.ARRIVALS, changes_load=True,
    )  # fmt: skip
    arrival_profile: str = _option(
        "", "--arrival-profile", FILE,
        "Chats arrive at a rate that changes over time: a .csv file (docs/workloads.md). The run ends with its last "
        "chat.",
        metavar="FILE", group=OptionGroup.ARRIVALS, changes_load=True, digest="arrival_profile_sha256",
    )  # fmt: skip
    arrival_profile_sha256: str = _fact("", changes_load=True)
    arrival_profile_text: str = _fact("", apart=True)
    arrival_compress: float | None = _option(
        None, "--arrival-compress", NUMBER,
        "Run the profile's time this many times as fast, at the same rates: 24 makes an hour of a day.",
        metavar="X", group=OptionGroup.ARRIVALS, changes_load=True,
    )  # fmt: skip
    max_open: int | None = _option(
        None, "--max-open", WHOLE,
        "Chats that may be open in one process; what arrives beyond is counted as not started. Default: what the limit "
        "of open files leaves room for.",
        metavar="N", group=OptionGroup.ARRIVALS, changes_load=True,
    )  # fmt: skip

    start_sessions: int | None = _option(
        None, "--start-sessions", COUNT, "Sessions of the first step, well below what the server can hold.",
        "10", metavar="N", group=OptionGroup.CAPACITY, changes_load=True, replayed=False,
    )  # fmt: skip
    step_hold: float | None = _option(
        None, "--step-hold", DURATION,
        "How long a step is held once it has settled; up to four times that if a threshold has too few samples. "
        "Default: the larger of 10s and three refresh intervals.",
        metavar="DURATION", group=OptionGroup.CAPACITY, changes_load=True,
    )  # fmt: skip
    step_bound: float | None = _option(
        None, "--step-bound", DURATION,
        "How long a step may take to rise, and then to settle. Default: six times --step-hold.",
        metavar="DURATION", group=OptionGroup.CAPACITY, changes_load=True,
    )  # fmt: skip
    confirm_hold: float | None = _option(
        None, "--confirm-hold", DURATION,
        "How long the lower end of the capacity is held at the end, at least one timeout and one refresh interval. The "
        "bound on drops comes from this time. Default: three timeouts and one refresh interval.",
        metavar="DURATION", group=OptionGroup.CAPACITY, changes_load=True,
    )  # fmt: skip
    resolution: float | None = _option(
        None, "--resolution", PERCENT,
        "How wide the interval of the capacity may be, in percent of it; a limit that refuses chats is always found to "
        "the unit.",
        "10", metavar="PERCENT", group=OptionGroup.CAPACITY, changes_load=True,
    )  # fmt: skip
    step_thresholds: tuple[str, ...] = _fact((), EXPRESSIONS, changes_load=True)

    thresholds: tuple[str, ...] = _option(
        (), "--threshold", EXPRESSIONS,
        "What must hold, such as 'dropped_late.rate < 0.1%%', 'GetMessages.latency.p99 < 300ms', or of one user class "
        "'Vip: dropped.rate < 1%%'; repeatable, or ';' between. See chatload thresholds.",
        metavar="EXPR",
    )  # fmt: skip
    abort_on: tuple[str, ...] = _option(
        (), "--abort-on", EXPRESSIONS,
        "End the run early once this threshold is lost, such as 'dropped.rate < 5%%'; repeatable. A run that meets it "
        "is ended with a chance of 5 %% at most.",
        metavar="EXPR",
    )  # fmt: skip
    confidence: float = _option(
        0.95, "--confidence", CONFIDENCE, "Confidence that thresholds demand, in percent.", "95", metavar="PERCENT"
    )
    incident_size: int = _option(
        1, "--incident-size", COUNT,
        "The largest number of sessions that one incident takes, as you know it from other runs or from production. A "
        "threshold on a rate of sessions passes only if it holds for incidents of this size. An incident of the run "
        "that is larger counts in its place.",
        "1", metavar="N",
    )  # fmt: skip
    allow_inconclusive: bool = _option(
        False, "--allow-inconclusive", FLAG,
        "A threshold that too few sessions leave undecided does not fail the run, if what was seen keeps it. A run in "
        "which no session was accepted tested nothing all the same.",
    )  # fmt: skip
    judge: str = _option(
        STEADY, "--judge", JUDGE,
        "The part of the run on which percentiles of latency and response time are judged: all, steady (without the "
        "ramp, where there is one), or FROM-TO such as 2m-10m. All else is judged on the whole run.",
        STEADY, metavar="PART",
    )  # fmt: skip
    keep_windows: float = _option(
        KEEP_S, "--keep-windows", DURATION_OR_0,
        "Merge windows that are older than this; the older they are, the more of them into one. 0 keeps each. Default: "
        "86400, a day.",
        "86400", metavar="DURATION", zero=True,
    )  # fmt: skip
    approval_id: str = _fact("")
    allowed_hours: tuple[str, ...] = _fact((), WORDS)
    chatload_version: str = _fact("")
    locust_version: str = _fact("")
    python_version: str = _fact("")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON, without texts of files and without unused settings of other workloads."""
        return {
            name: setting.kind.dump(getattr(self, name))
            for name, setting in SETTINGS.items()
            if not setting.apart and self._has(name)
        }

    def files(self) -> dict[str, str]:
        """Return the texts of the files that the run used, by setting; `from_dict` takes them beside the settings."""
        return {name: getattr(self, name) for name, setting in SETTINGS.items() if setting.apart and self._has(name)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], files: Mapping[str, Any] | None = None) -> RunSettings:
        """Return the settings that `to_dict` and `files` wrote. Unknown names are ignored. Raises ValueError."""
        found: dict[str, Any] = {}
        for name, setting in SETTINGS.items():
            value = ((files or {}) if setting.apart else data).get(name)
            if value is None:
                continue
            try:
                found[name] = setting.kind.stored.validate_python(value)
            except ValidationError:
                raise ValueError(f"settings: {name} is not {setting.kind.expected}") from None
        return cls(**found)

    def _has(self, name: str) -> bool:
        """Return whether a setting belongs to a run of this workload."""
        option, setting = SETTINGS[name].option, SETTINGS[name]
        if setting.is_set(getattr(self, name)):
            return True
        group = OptionGroup.RUN if option is None else option.group
        optional = setting.apart or name in _OF_SOME_WORKLOADS
        return not optional and group in (OptionGroup.RUN, OptionGroup.LOCUST)


#: The Setting of each field of RunSettings. The command that repeats a run has its options in this order.
SETTINGS: Final[Mapping[str, Setting]] = {f.name: f.metadata["setting"] for f in fields(RunSettings)}
_OF_SOME_WORKLOADS = frozenset({
    "workload", "arrival_profile_sha256", "step_thresholds", "classes", "other_user_classes", "feeder", "feeder_sha256",
})  # fmt: skip
#: Settings that a user class may set for its own chats, as an attribute of the same name. `host` is one more: Locust's.
OF_A_CLASS: Final = (
    "persona", "refresh_policy", "refresh_interval", "refresh_fraction", "poll_jitter", "allow_late_refresh", "service",
    "dialect", "script", "chat_length", "request_timeout", "long_poll",
)  # fmt: skip
#: Options that are no settings: where a run is watched, where its files go, and --gate, which sets thresholds.
OTHER_OPTIONS: Final = (
    Option(
        "--gate",
        "standard: thresholds that any chat service should meet (docs/ci.md). A --threshold about the same metric "
        "takes the place of one.",
        choices=("", *GATES),
    ),
    Option(
        "--prometheus-port", "Serve metrics for Prometheus at this port. 0: do not.", "0", WHOLE, "PORT", web_ui=False
    ),
    Option(
        "--prometheus-host", "Address that --prometheus-port is opened on.", "127.0.0.1", metavar="ADDRESS",
        web_ui=False,
    ),
    Option(
        "--hide-locust-stats", "Do not print Locust's own tables: the summary of the run has their figures.", "", FLAG,
        web_ui=False,
    ),
    Option("--run-dir", "Folder for the run's files. Default: reports/<UTC time>-<name>.", metavar="DIR"),
    Option(
        "--no-report", "Do not write report.html when the run has ended; chatload report writes it later.", "", FLAG,
        web_ui=False,
    ),
)  # fmt: skip


def options_of(group: OptionGroup) -> Iterator[Option]:
    """Yield the options of a group, in the order of `chatload options`."""
    for setting in SETTINGS.values():
        if setting.option is not None and setting.option.group is group:
            yield setting.option
    if group is OptionGroup.RUN:
        yield from OTHER_OPTIONS


def option_of(setting: str) -> Option:
    option = SETTINGS[setting].option
    assert option is not None
    return option


def unknown_settings(dialects: Iterable[str]) -> list[str]:
    """Return a warning for each CHATLOAD_ variable of the environment that nothing reads (see `known_variables`)."""
    return unknown_variables(os.environ, known_variables(dialects))


def known_variables(dialects: Iterable[str]) -> set[str]:
    """Return the environment variables that an option, a file of chatload or a dialect reads.

    dialects: names or files of all dialects in use. Raises FileError if such a file cannot be read.
    """
    options = {option.variable for group in OptionGroup for option in options_of(group)}
    return {*options, CONFIG_VARIABLE, SIMULATOR_KEY}.union(*map(variables_of, dialects))


def values_of(options: Any) -> dict[str, Any]:
    """Return the values of all settings that the parsed options set, by the name of the setting. Raises UsageError."""
    found = {}
    for name, setting in SETTINGS.items():
        if setting.option is not None:
            found[name] = setting.option.value(getattr(options, setting.option.dest, None))
    return {name: value for name, value in found.items() if value is not None}


# -- a chat's settings -----------------------------------------------------------------------------


def session_settings(
    run: RunSettings, dialect: Dialect | None = None, script: CustomerScript | None = None
) -> SessionSettings:
    """Return the settings that the chats of a run share: for the swarm, `tune` and `forecast`.

    dialect, script: as loaded for the run; by default those stored with it, which have no keys and no texts of people.
    Raises FileError, or UsageError if settings contradict each other or are missing.
    """
    if dialect is None and run.dialect_text:
        dialect = parse_dialect(run.dialect_text, f"the run's {run.dialect}", None)
    elif dialect is None:
        dialect = load_dialect(run.dialect, None)
    if script is None:
        # The default of each key is that of a customer without a script.
        script = loads_toml(run.script_text, CustomerScript, f"the run's {run.script}")
    timeout_s, request_timeout_s = run.flex_disconnect_timeout, run.request_timeout
    if timeout_s is None or request_timeout_s is None:
        raise UsageError("some settings of the run are missing", "give a run that chatload made")
    interval_s, fraction = run.refresh_interval, run.refresh_fraction
    if fraction is None and interval_s is not None:
        fraction = interval_s / timeout_s
    # --allow-late-refresh was checked when the run began.
    policy = make_policy(run.refresh_policy, timeout_s, interval_s, fraction, allow_late=True)
    settings = SessionSettings(
        policy,
        request_timeout_s,
        script if run.chat_length is None else script.with_chat_length(run.chat_length),
        dialect.server.keeps_ended_s,
        dialect.server.long_poll_s if run.long_poll is None else run.long_poll,
        run.persona,
        dialect.server.agent_end_removes_customer,
        run.poll_jitter,
    )
    return swept(settings, run.sweep)


# -- files that a run stores -----------------------------------------------------------------------

#: Headers whose values are not secret.
_OPEN_HEADERS = frozenset(
    {"accept", "accept-encoding", "accept-language", "cache-control", "content-type", "origin", "pragma", "referer",
     "user-agent", "x-requested-with"}
)  # fmt: skip
_SECRET_NAME = re.compile("key|token|auth|secret|passw|cookie|session|credential", re.IGNORECASE)


def stored_script(script: str | Path | CustomerScript) -> str:
    """Return the TOML of a script, or of a script's file, as a run stores it.

    "x" replaces the characters of names and texts. The feeder is left out: the run has its name and digest.
    """
    if isinstance(script, CustomerScript):
        data = script_table(script)
    else:
        load_script(script)
        data = read_toml(script)
    data.pop("feeder", None)
    texts = (*INTRODUCTION, "user_data")
    hidden = {name: _crossed(value) if name in texts else value for name, value in data.items()}
    if "extras" in data:
        kept = ("operation", "file_type")
        hidden["extras"] = [
            {name: value if name in kept else _crossed(value) for name, value in extra.items()}
            for extra in data["extras"]
        ]
    return format_toml(hidden)


def stored_dialect(path: str | Path) -> str:
    """Return the TOML of a dialect as a run stores it: environment variables replace values that may be keys."""
    data = read_toml(path)
    request, operations = data.get("request", {}), data.get("operations", {})
    hidden = {
        **request,
        "headers": _without_keys(request.get("headers", {}), "", closed=True),
        "fixed": _without_keys(request.get("fixed", {}), ""),
    }
    stored = {
        name: {**table, "fixed": _without_keys(table["fixed"], f"{name}_")} if "fixed" in table else table
        for name, table in operations.items()
    }
    return format_toml({**data, "request": {name: part for name, part in hidden.items() if part}, "operations": stored})


def _without_keys(table: Mapping[str, Any], prefix: str, closed: bool = False) -> dict[str, Any]:
    """Return the table with { env = ... } for texts with secret names; closed: for all except _OPEN_HEADERS."""
    hidden: dict[str, Any] = {}
    for name, value in table.items():
        secret = bool(_SECRET_NAME.search(name)) or (closed and name.lower() not in _OPEN_HEADERS)
        if isinstance(value, dict) and set(value) != {"env"}:
            hidden[name] = _without_keys(value, f"{prefix}{name}_", secret)
        elif isinstance(value, str) and secret:
            hidden[name] = {"env": f"CHATLOAD_{re.sub('[^A-Z0-9]', '_', f'{prefix}{name}'.upper())}"}
        else:
            hidden[name] = value
    return hidden


def digest(text: str) -> str:
    """Return the SHA-256 of a stored file, "" for an empty text. Files are compared by it: a name may be reused."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def _crossed(value: Any) -> Any:
    """Return the value with an "x" for each character of its texts."""
    if isinstance(value, dict):
        return value if "shape" in value else {name: _crossed(inner) for name, inner in value.items()}
    return "x" * len(value) if isinstance(value, str) else value


# -- comparing runs --------------------------------------------------------------------------------

#: Settings that differ between any two runs and do not matter in a comparison.
_OWN = frozenset({"name", "started_at", "chat_seed"})
_ABSENT = "not set"


def not_replayed(run: RunSettings) -> str:
    """Return the first setting of a run that `forecast` cannot replay, as its option; "" if there is none."""
    for name, setting in SETTINGS.items():
        value = getattr(run, name)
        if not setting.replayed and setting.is_set(value):
            return f"{setting.option.flag if setting.option else name} {setting.kind.write(value)}"
    return ""


class SettingDifference(NamedTuple):
    """A setting that differs between runs: its different values on each side, in order of appearance."""

    name: str
    base: tuple[str, ...]
    new: tuple[str, ...]
    defines_load: bool

    @property
    def label(self) -> str:
        """Its name for people."""
        return "user classes" if self.name == "classes" else self.name

    def __str__(self) -> str:
        return f"{self.label}: base {', '.join(self.base)}; new {', '.join(self.new)}"


def settings_differences(base: Sequence[RunSettings], new: Sequence[RunSettings]) -> list[SettingDifference]:
    """Return the settings that differ between any of the runs, those that define the load first.

    Differences within one side count too: such runs are not repetitions of each other.
    """
    found = []
    for name, setting in SETTINGS.items():
        if name in _OWN or setting.apart:
            continue
        if setting.kind is CLASSES:
            texts = _compared_classes([run.classes for run in (*base, *new)])
            before, after = texts[: len(base)], texts[len(base) :]
        else:
            before, after = ([_compared(name, setting, run) for run in side] for side in (base, new))
        if len({*before, *after}) > 1:
            base_values, new_values = (tuple(dict.fromkeys(side)) for side in (before, after))
            found.append(SettingDifference(name, base_values, new_values, setting.changes_load))
    return sorted(found, key=lambda difference: (not difference.defines_load, difference.name))


def _compared(name: str, setting: Setting, run: RunSettings) -> str:
    value = getattr(run, name)
    if not setting.is_set(value) or (setting.digest and getattr(run, setting.digest)):
        return _ABSENT
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.12g}"
    if isinstance(value, tuple):
        return written(value)
    return value if isinstance(value, str) else json.dumps(setting.kind.dump(value))


def _compared_classes(runs: Sequence[tuple[ClassSettings, ...]]) -> list[str]:
    """Return a text for the user classes of each run: their names, each with the values that differ between the runs.

    Two runs have the same text only if their classes are equal.
    """
    values: dict[tuple[str, str], set[Any]] = {}
    for one in chain.from_iterable(runs):
        for name, value in vars(one).items():
            values.setdefault((one.name, name), set()).add(value)

    def text(one: ClassSettings) -> str:
        differ = [f"{name} {written(value)}" for name, value in vars(one).items() if len(values[one.name, name]) > 1]
        return f"{one.name} ({'; '.join(differ)})" if differ else one.name

    return [", ".join(map(text, classes)) or "none" for classes in runs]
