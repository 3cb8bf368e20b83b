"""`chatload plan`: how many servers the expected demand needs, by measured or given capacities."""

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import click

from chatload import exit_codes
from chatload.click_types import (
    ANY_NUMBER,
    COUNT,
    DURATION,
    MARKED_SHARE,
    NUMBER,
    PERCENTAGE,
    RATE_PER_H,
    RATE_PER_S,
    WHOLE,
    QuantityType,
    warn,
)
from chatload.errors import FileError, NothingTestedError, UsageError
from chatload.features.plan.certificate import SweepInterval, read_search, read_sweep
from chatload.features.plan.compute import INCONCLUSIVE, MISSED, NOT_MEASURED, influences, make_plan
from chatload.features.plan.doubt import doubt_of
from chatload.features.plan.inputs import (
    DEFAULT_TIMEOUT_S,
    MEASURE_READS,
    PRESETS,
    Constraint,
    DayProfile,
    Demand,
    Drops,
    LengthDistribution,
    Measured,
    capacity_of,
    measure_run,
)
from chatload.features.plan.view import PlanReport, plan_document
from chatload.features.report.summary import refuse_unusable, summarize, summary_reads
from chatload.plausibility import doubtful
from chatload.progress import CommandProgress
from chatload.protocol.toml_file import read_toml
from chatload.render.output import deliver
from chatload.run.reader import RunReader

#: Name of an input on the command line and in a file -> field of Demand.
_DEMAND = {item.name.removesuffix("_s"): item.name for item in fields(Demand)}
_EXIT = {
    MISSED: exit_codes.THRESHOLD_FAILED,
    INCONCLUSIVE: exit_codes.INCONCLUSIVE,
    NOT_MEASURED: exit_codes.INCONCLUSIVE,
}
#: A run can be used for a plan if at least this part of its sessions was accepted.
_LEAST_SERVED = 0.5

_RUN = "the run"
_SWEEP = "the sweep"


@click.command(short_help="How many servers the expected chats need.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML with any of these options, such as chats_per_hour = 360. The command line overrides it.",
)
@click.option("--chats-per-hour", type=RATE_PER_H, help="Chats that arrive in the busiest hour.")
@click.option("--chats-per-day", type=NUMBER, help="Or: in a day.")
@click.option("--peak-hour-share", type=MARKED_SHARE, help="Share of the day's chats in its busiest hour.")
@click.option(
    "--arrival-profile",
    metavar="FILE",
    help="Or: the rate over the day, the CSV of locustfiles/arrivals.py. The plan is for its busiest instant.",
)
@click.option(
    "--rate-cv",
    type=MARKED_SHARE,
    help="How much a day's rate differs from the expected one: standard deviation / mean. Default: not at all.",
)
@click.option("--growth", type=MARKED_SHARE, help="Growth to plan for, such as 20%. Default: none.")
@click.option(
    "--handling-time",
    type=DURATION,
    help="Mean length of a chat, waiting for an agent included; with --agents, without it.",
)
@click.option(
    "--handling-distribution",
    type=click.Choice([item.value for item in LengthDistribution]),
    help="Default: exponential.",
)
@click.option("--handling-cv", type=NUMBER, help="Of lognormal: standard deviation / mean.")
@click.option(
    "--agents",
    type=COUNT,
    help="Chats that can be with an agent at once; more wait, and poll. Default: all.",
)
@click.option("--patience", type=DURATION, help="Mean time until a waiting customer gives up. Default: never.")
@click.option(
    "--percentile",
    type=PERCENTAGE,
    help="Plan for chats not exceeded in P % of the hour. Default: 99.9.",
)
@click.option("--peakedness", type=NUMBER, help="Variance / mean of chats open. Default: 1, Poisson.")
@click.option("--poll-interval", type=DURATION, help="Time between two GetMessages of a chat.")
@click.option("--tune", metavar="FILE", help="Take the poll interval that a sweep recommends, from its tune.json.")
@click.option("--flex-disconnect-timeout", type=DURATION, help="The server's setting. Default: 45.")
@click.option("--messages-per-chat", type=ANY_NUMBER, help="Messages of a chat, of both sides.")
@click.option(
    "--other-requests-per-chat",
    type=ANY_NUMBER,
    help="Requests of a chat without polls. Default: RequestChat, Disconnect, and for half the messages "
    "SendMessage, StartTyping, StopTyping.",
)
@click.option("--target-drop-rate", type=MARKED_SHARE, help="Share of chats that may be dropped.")
@click.option("--spare", type=WHOLE, help="Servers that may fail at the peak. Default: 1 (N+1).")
@click.option(
    "--run",
    metavar="RUN",
    help="Take a server's capacity, and figures of chats that are not given, from RUN. Of a capacity search, the "
    "capacity is the interval that it certifies.",
)
@click.option("--run-servers", type=COUNT, help="Servers that carried the run. Default: 1.")
@click.option("--sessions-per-server", type=NUMBER, help="Chats open at once that a server carries.")
@click.option("--requests-per-server", type=RATE_PER_S, help="Requests per second that a server carries.")
@click.option("--starts-per-server", type=RATE_PER_S, help="RequestChat per second that a server carries.")
@click.option("--messages-per-server", type=RATE_PER_S, help="Messages per second that a server carries.")
@click.option("--drop-rate-bound", type=MARKED_SHARE, help="Upper bound of the drops measured at that load.")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="The vendor's own figures for one server.")
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Write it as Markdown too.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write it as one HTML page too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(source: Path | None, markdown: Path | None, html: Path | None, as_json: bool, **given: Any) -> int:
    """How many servers the expected chats need, with how much headroom, and which assumption matters most.

    The mean number of open chats is arrivals x handling time (Little's law). Its distribution is
    Poisson, and the plan is for a percentile of it. The rate may change over the day and from day to
    day, and chats may wait for agents. The capacity of a server is typed in, taken from a run (what was
    held, or what a capacity search certifies) or the vendor's.

    Exit codes: 0, 1 the run shows more drops than --target-drop-rate, 4 too few chats to decide, none
    measured, or most of the run's sessions were never accepted, 2 wrong usage, 3 the run is invalid or
    its books do not balance.

    \b
    Examples:
      chatload plan --chats-per-hour 3600 --handling-time 600 --poll-interval 3 \\
        --preset genesys-sizing --messages-per-chat 12
      chatload plan --chats-per-day 20000 --peak-hour-share 15% \\
        --run reports/mine --html plan.html
      chatload plan --arrival-profile weekday.csv --rate-cv 5% --agents 120 \\
        --patience 180 --handling-time 600 --run reports/capacity
    """
    typed = {name: value for name, value in given.items() if value is not None}
    inputs = {**(_file(source) if source else {}), **typed}
    flags = {f"--{name.replace('_', '-')}": value for name, value in inputs.items() if name not in typed}
    doubts = doubtful({flag: value for flag, value in flags.items() if isinstance(value, int | float)})
    warn(f"{source}: {doubt}" for doubt in doubts)
    report = build(inputs, {name: "given" if name in typed else str(source) for name in inputs})
    deliver(plan_document(report), report.to_dict() if as_json else None, markdown, html)
    return _EXIT.get(report.plan.drops.result, exit_codes.PASSED)


def build(inputs: Mapping[str, Any], origins: Mapping[str, str]) -> PlanReport:
    """Return the plan for inputs by name. origins: where each comes from. Raises UsageError if it cannot be made."""
    if "run_servers" in inputs and "run" not in inputs:
        raise UsageError("--run-servers needs --run")
    if "run" in inputs and "drop_rate_bound" in inputs:
        raise UsageError("--drop-rate-bound contradicts --run, which was measured", "give one of them")
    run_servers = inputs.get("run_servers", 1)
    measured = _measure(inputs["run"], run_servers) if "run" in inputs else None
    sweep = read_sweep(inputs["tune"]) if "tune" in inputs else None
    preset = PRESETS[inputs["preset"]] if "preset" in inputs else None
    values, sources = _demand(inputs, origins, measured, sweep)
    demand = Demand(**values)
    typed = {constraint: float(inputs[constraint]) for constraint in Constraint if constraint in inputs}
    capacity = capacity_of(measured, preset.figures if preset else {}, typed)
    bound = inputs.get("drop_rate_bound")
    if bound is not None and not 0 < bound <= 1:
        raise UsageError("--drop-rate-bound is not above 0 and at most 1", "an upper bound is never 0")
    typed_drops = None if bound is None else Drops(bound=bound)
    made = make_plan(demand, capacity, measured.drops if measured else typed_drops)
    certificate = measured.certificate if measured else None
    doubt = doubt_of(made, certificate, run_servers) if certificate else None
    return PlanReport(made, influences(made), sources, measured, preset, sweep, doubt)


def _demand(
    inputs: Mapping[str, Any], origins: Mapping[str, str], measured: Measured | None, sweep: SweepInterval | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the fields of the demand, and where each comes from: given, else the sweep, the run, or the default."""
    given = {field: name for name, field in _DEMAND.items() if name in inputs}
    of_run = measured.demand if measured else {}
    of_sweep = {"poll_interval_s": sweep.interval_s, "flex_disconnect_timeout_s": sweep.timeout_s} if sweep else {}
    values = {**of_run, **of_sweep, **{field: inputs[name] for field, name in given.items()}}
    sources = {**dict.fromkeys(of_run, _RUN), **dict.fromkeys(of_sweep, _SWEEP)}
    sources |= {field: origins[name] for field, name in given.items()}
    for field, name in (("handling_time_s", "--handling-time"), ("poll_interval_s", "--poll-interval")):
        if field not in values:
            hint = "give it, or a --run to take it from"
            if measured and measured.certificate:
                hint = "give it: a capacity search ends its chats itself, so their length says nothing of a customer's"
            raise UsageError(f"{name} is missing", hint)
    if "agents" in values and sources["handling_time_s"] == _RUN:
        message = "--agents needs --handling-time, the time with an agent"
        raise UsageError(message, "the length of a run's chats includes the wait")
    interval, timeout = values["poll_interval_s"], values.get("flex_disconnect_timeout_s", DEFAULT_TIMEOUT_S)
    if measured and sources["poll_interval_s"] == _RUN and interval >= timeout:
        message = f"{measured.run}: a chat polled every {interval:.3g} s only, not below the timeout of {timeout:g} s"
        raise UsageError(message, "give --poll-interval")
    if "arrival_profile" in values:
        values["arrival_profile"] = DayProfile.load(values["arrival_profile"])
    if "handling_distribution" in values:
        values["handling_distribution"] = LengthDistribution(values["handling_distribution"])
    if "other_requests_per_chat" not in values and values.get("messages_per_chat", 0) > 0:
        # RequestChat and Disconnect; half the messages are the customer's, each with both typing requests.
        values["other_requests_per_chat"] = 2 + 1.5 * values["messages_per_chat"]
        sources["other_requests_per_chat"] = "messages per chat"
    defaults = {item.name: "default" for item in fields(Demand) if item.default not in (None, MISSING)}
    found = {**defaults, **sources}
    return values, {item.name: found[item.name] for item in fields(Demand) if item.name in found}


def _measure(name: str, servers: int) -> Measured:
    """Return the figures of a run. Refuses one whose servers did not carry its load: most sessions not accepted."""
    hint = "it cannot be used for a plan; give another run or --sessions-per-server N"
    with CommandProgress() as progress, RunReader.open(name, progress.advance) as reader:
        progress.stage("reading the run", reader.work(summary_reads(reader) + MEASURE_READS))
        summary = summarize(reader)
        refuse_unusable(summary, name, hint)
        search = read_search(name)
        if search is not None and search.capacity is None:
            # Its windows have loads that were not held, so they say nothing of what a server carries.
            message = f"{name}: this capacity search certifies no capacity ({search.why or search.kind or 'no answer'})"
            held = f"; it held {search.held} sessions" if search.held else ""
            raise NothingTestedError(message + held, "repeat the search, or give --sessions-per-server N")
        accepted, started = summary["sessions"]["accepted"], summary["sessions"]["started"]
        # A capacity search goes beyond what the servers accept on purpose.
        if search is None and accepted < _LEAST_SERVED * started:
            why = summary["sessions"]["not_accepted"][0]["why"]
            message = f"{name}: only {accepted} of {started} sessions were accepted; most often: {why}"
            raise NothingTestedError(message, hint)
        return measure_run(reader, name, servers, search)


def _file(path: Path) -> dict[str, Any]:
    """Return the inputs in a TOML file, each read like its option on the command line."""
    options = {option.name: option for option in plan.params if option.name is not None}
    known = [*_DEMAND, *Constraint, "run", "run_servers", "tune", "drop_rate_bound", "preset"]
    found = {}
    for key, value in read_toml(path).items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise FileError(path, key, f"no input of a plan{f'; is {near[0]} meant?' if near else ''}")
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise FileError(path, key, "a number or text is expected")
        kind = options[key].type
        try:
            found[key] = kind.quantity.read(value) if isinstance(kind, QuantityType) else _text(kind, value)
        except ValueError as error:
            raise FileError(path, key, f"{error}, not {value!r}") from None
    return found


def _text(kind: Any, value: Any) -> Any:
    """Return the value of an option that is a text or a choice. Raises ValueError."""
    try:
        return kind.convert(value, None, None)
    except click.BadParameter as error:
        raise ValueError(error.message) from None
