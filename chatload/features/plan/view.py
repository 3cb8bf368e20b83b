"""A capacity plan as a document and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chatload import __version__
from chatload.errors import UsageError
from chatload.features.plan import drops as drop_claims
from chatload.features.plan.compute import ServerPlan, peak_of, plan_dict, servers_needed
from chatload.features.plan.inputs import Constraint, Demand, Origin, Preset, option
from chatload.features.plan.run_inputs import Measured
from chatload.features.plan.sensitivity import STEP, Influence
from chatload.render import charts
from chatload.render.charts import Spec
from chatload.render.document import Bullets, Chart, Document, Section, Sentence, Tone, table
from chatload.render.output import read_schema
from chatload.render.words import MINUS, with_minus
from chatload.render.words import number as _number
from chatload.render.words import plural as _plural
from chatload.render.words import seconds as _seconds
from chatload.stats import queueing
from chatload.stats.rates import bound_text

#: `schema_version` of the JSON this code makes.
SCHEMA_VERSION = 1
_SHARES = ("peak_hour_share", "growth", "target_drop_rate")
_STEPS = ("−10 %", "+10 %")
_INFLUENCE_CAPTION = (
    "Change of the load in servers when one input is 10 % lower or higher (of the percentile: the share of time above "
    "it), and the value from which on one more server is needed, within a factor of 10."
)
_TONES = {
    drop_claims.SHOWN: Tone.GOOD, drop_claims.MISSED: Tone.BAD,
    drop_claims.INCONCLUSIVE: Tone.WARN, drop_claims.NOT_MEASURED: Tone.WARN,
}  # fmt: skip
#: Points of a curve, and the largest growth drawn (factor on the chats per hour).
_POINTS, _GROWTH = 120, 2.0
#: The peakedness used to show the effect of bunched arrivals on a plan for Poisson arrivals.
_WHAT_IF = 2.0
#: A note is added if an hour that begins without chats reaches less than this part of the mean.
_LONG_ENOUGH = 0.95

#: What no plan of this kind can know.
UNKNOWN = (
    "whether the expected chats come: they are an input",
    "how long chats wait for an agent: waiting is part of the handling time, and too few agents make it longer",
    "what happens above the capacity: if it is what a run held, more was never tried",
    "whether n servers carry n times as much as one: a shared database or load balancer may prevent it",
    "other work of the servers, and peaks of a few seconds: rates are means over the peak hour",
)


@dataclass(frozen=True)
class PlanReport:
    """A plan with what is reported with it. sources: where each input comes from, by its name."""

    plan: ServerPlan
    influences: Sequence[Influence]
    sources: Mapping[str, str]
    measured: Measured | None = None
    preset: Preset | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the published JSON (plan.schema.json)."""
        return {
            "schema_version": SCHEMA_VERSION,
            "chatload_version": __version__,
            "answer": answer(self.plan),
            **plan_dict(self.plan),
            "sources": dict(self.sources),
            "run": self.measured.run if self.measured else None,
            "preset": {"name": self.preset.name, "source": self.preset.source} if self.preset else None,
            "influences": [item.to_dict() for item in self.influences],
            "notes": list(notes(self)),
            "unknown": list(UNKNOWN),
        }


def schema() -> dict[str, Any]:
    """Return the published JSON Schema of a plan."""
    return read_schema("chatload.features.plan", "plan.schema.json")


def plan_document(report: PlanReport) -> Document:
    """Return the plan as a document."""
    plan = report.plan
    return Document(
        answer=Sentence(answer(plan)),
        lead=(Sentence(binding(plan)), Sentence(drops(plan), _TONES.get(plan.drops.result, Tone.PLAIN))),
        sections=(
            _section(
                "What the peak hour brings",
                ("the peak hour", "mean", "planned for"),
                tuple(peak_rows(plan)),
                chart=chats_chart(plan),
            ),
            _section(
                "What servers carry",
                ("constraint", "needed", "a server", "servers", "left", "with spare", "from"),
                tuple(constraint_rows(plan)),
                "lrrrrrl",
                growth_chart(plan),
            ),
            _section(
                "What the plan depends on",
                ("input", "value", *_STEPS, "one more server at"),
                tuple(influence_rows(report)),
                chart=influence_chart(report),
                caption=_INFLUENCE_CAPTION,
            ),
            _section("Inputs", ("input", "value", "from"), tuple(input_rows(report)), "lrl", minor=True),
            Section("What must be known with it", (Bullets(tuple(notes(report))),)),
            Section("What this plan cannot know", (Bullets(UNKNOWN),)),
        ),
    )


def _section(
    heading: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    sides: str = "",
    chart: Chart | None = None,
    caption: str = "",
    minor: bool = False,
) -> Section:
    shown = table(heading, headings, rows, sides=sides, caption=caption)
    return Section(heading, (shown,) if chart is None else (shown, chart), minor=minor)


def answer(plan: ServerPlan) -> str:
    """Return the plan in one sentence."""
    carry = "carries" if plan.needed == 1 else "carry"
    spare = f", {plan.demand.spare} to spare" if plan.demand.spare else ", none to spare"
    return (
        f"{_plural(plan.servers, 'server')}: {_number(plan.needed)} {carry} the peak of "
        f"{_plural(plan.peak.chats, 'chat')} open at once{spare}"
    )


def binding(plan: ServerPlan) -> str:
    """Return which constraint decides, and what is left of it."""
    row = plan.binding
    headroom = f"{percent(row.margin(plan.needed))} headroom with {_plural(plan.needed, 'server')}"
    if plan.demand.spare:
        headroom += f", {percent(row.margin(plan.servers))} with all {_number(plan.servers)}"
    more = percent(max(plan.headroom - 1, 0.0))
    return f"{row.constraint.label} decide: {headroom}; one more server is needed if chats per hour grow by {more}"


def drops(plan: ServerPlan) -> str:
    """Return what is known of the drop rate."""
    claim = plan.drops
    bound = ""
    if claim.upper is not None:
        bound = f"under {bound_text(claim.upper, up=True)} of chats dropped, with 95 % confidence"
    if claim.target is None:
        return f"no target for the drop rate{f'; {bound}' if bound else ''}"
    target = f"target drop rate {share(claim.target)}: {claim.result}"
    if claim.result == drop_claims.NOT_MEASURED:
        return f"{target}; give --run, or --drop-rate-bound"
    if claim.result == drop_claims.MISSED and claim.lower is not None:
        return f"{target}; at least {share(claim.lower)} of chats dropped, with 95 % confidence"
    more = f"; {_number(claim.chats_needed)} chats without a drop would show it" if claim.chats_needed else ""
    return f"{target}; {bound}{more}"


def peak_rows(plan: ServerPlan) -> Iterator[tuple[str, str, str]]:
    """Yield the loads of the peak hour: label, mean, planned value."""
    peak, demand = plan.peak, plan.demand
    of_chats, of_arrivals = peak.mean_chats / peak.chats, peak.mean_arrivals / peak.arrivals
    yield "chats that arrive in the hour", figure(peak.mean_arrivals), _number(peak.arrivals)
    yield "chats open at once", figure(peak.mean_chats), _number(peak.chats)
    for constraint in (Constraint.REQUESTS, Constraint.STARTS, Constraint.MESSAGES):
        load = plan.loads[constraint]
        if load is not None:
            part = of_arrivals if constraint is Constraint.STARTS else of_chats
            yield constraint.label, figure(load * part), figure(load)
    each = 1 / demand.poll_interval_s + demand.other_requests_per_chat / demand.handling_time_s
    yield "requests/s of one chat", figure(each), figure(each)


def constraint_rows(plan: ServerPlan) -> Iterator[tuple[str, ...]]:
    """Yield label, needed, per server, servers, margin on those needed, margin with the spare ones, origin."""
    for row in plan.rows:
        yield (
            row.constraint.label, figure(row.needed), figure(row.per_server), _number(row.servers),
            percent(row.margin(plan.needed)), percent(row.margin(plan.servers)), row.origin.value,
        )  # fmt: skip


def influence_rows(report: PlanReport) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield input, value, change of the load if it is lower and higher, value that needs one more server."""
    for item in report.influences:
        more = "" if item.one_more_at is None else one_more(item)
        yield label(item.name), value(item.name, item.value), change(item.down), change(item.up), more


def one_more(item: Influence) -> str:
    """Return the value from which on one more server is needed, with its relative change."""
    at, by = item.one_more_at or 0.0, item.one_more_change or 0.0
    if item.name == "percentile":
        return f"{at:.6g} %"
    return f"{value(item.name, at)} ({change(by)})"


def input_rows(report: PlanReport) -> Iterator[tuple[str, str, str]]:
    """Yield every input with its value and where it comes from."""
    demand = report.plan.demand
    for name in report.sources:
        found = getattr(demand, name, None)
        if found is not None:
            yield label(name), value(name, found), report.sources[name]


def notes(report: PlanReport) -> Iterator[str]:
    """Yield the notes on the figures."""
    yield from _about_arrivals(report.plan)
    yield from _about_capacity(report)
    if report.measured:
        yield from _about_run(report.plan.demand, report.measured)
    yield from _about_servers(report.plan)
    yield (
        f"refreshPoolSize = peak_chat_sessions / (refreshPeriod in s × 5) by the vendor's rule: "
        f"{_number(report.plan.pool_size)} in all, {_number(report.plan.pool_size_per_server)} on each of "
        f"{_plural(report.plan.needed, 'server')} (Genesys Web Engagement, chat options; 10 unless set)"
    )


def _about_arrivals(plan: ServerPlan) -> Iterator[str]:
    demand, peak = plan.demand, plan.peak
    yield (
        f"planned for {demand.percentile:g} %: more chats are open for {_seconds(3600 * demand.tail)} of the peak "
        "hour. The number open is Poisson for every distribution of handling time (M/G/infinity), so only "
        "its mean counts"
    )
    if demand.peakedness > 1:
        poisson = queueing.peak(peak.mean_chats, demand.tail)
        yield (
            f"arrivals in bunches: peakedness {demand.peakedness:g} by Hayward's approximation (bunches of very "
            f"different sizes can be some percent above it); Poisson would be {_plural(poisson, 'chat')}"
        )
    else:
        yield f"arrivals are Poisson if many customers decide independently; {_bunched(plan)}"
    if peak.built_up < _LONG_ENOUGH:
        yield (
            f"chats are long compared with the hour: an hour that begins without chats reaches "
            f"{percent(peak.built_up)} of the mean; the plan is for a rate that lasts longer"
        )


def _bunched(plan: ServerPlan) -> str:
    text = "mailings, outages and opening hours bring bunches: measure the variance-to-mean ratio of chats open"
    try:
        bunched = replace(plan.demand, peakedness=_WHAT_IF)
    except UsageError:
        return f"{text}, and give --peakedness"
    chats = _plural(peak_of(bunched).chats, "chat")
    servers = _plural(servers_needed(bunched, plan.capacity), "server")
    return f"{text}; with a ratio of {_WHAT_IF:g}, {chats} would need {servers}"


def _about_capacity(report: PlanReport) -> Iterator[str]:
    plan = report.plan
    if report.preset:
        yield f"preset {report.preset.name}: {report.preset.about} ({report.preset.source})"
    if any(row.origin is Origin.HELD for row in plan.rows):
        yield "what a run held is not the limit: a server may carry more, but that was not shown"
    if report.measured and plan.binding.origin is Origin.HELD and plan.binding.constraint is not Constraint.SESSIONS:
        yield (
            f"{plan.binding.constraint.label} decide only because the run tried no more of them; a run with the "
            "plan's chat length and poll interval may show that fewer servers do"
        )
    for constraint, load in plan.loads.items():
        if plan.capacity.of(constraint) is None and load is not None:
            yield f"{constraint.label}: {figure(load)} needed, but no figure is known for a server: not judged"
        if plan.capacity.of(constraint) is not None and load is None:
            yield f"{constraint.label}: not judged without --messages-per-chat"


def _about_run(demand: Demand, run: Measured) -> Iterator[str]:
    on = "one server" if run.servers == 1 else f"{run.servers} servers together"
    yield (
        f"run {run.run}: {_plural(run.held.sessions, 'session')}, {figure(run.held.requests_per_s)} requests/s and "
        f"{figure(run.held.starts_per_s)} chat starts/s held for {_seconds(run.held_for_s)} or more by {on}"
    )
    if run.refused:
        yield f"{_number(run.refused)} of its {_plural(run.sessions, 'session')} were never accepted: a limit was near"
    if run.bursts:
        yield f"its drops came in {_plural(run.bursts, 'burst')}: the bound assumes independent drops, so it is too low"
    pairs = (
        ("poll interval", run.poll_interval_s, demand.poll_interval_s),
        ("timeout", run.timeout_s, demand.flex_disconnect_timeout_s),
        ("chat length", run.chat_length_s, demand.handling_time_s),
    )
    for name, was, planned in pairs:
        if was is not None and abs(was / planned - 1) > STEP:
            yield (
                f"the run's {name} was {_seconds(was)}, the plan's is {_seconds(planned)}: the run's drop rate and "
                "other rates are those of its own value"
            )


def _about_servers(plan: ServerPlan) -> Iterator[str]:
    demand = plan.demand
    if plan.at_random is not None and plan.at_random > plan.needed:
        yield (
            f"the plan spreads chats evenly over servers; if they go to random servers, "
            f"{_plural(plan.at_random, 'server')} are needed"
        )
    each = -(-plan.peak.chats // plan.servers)
    if plan.servers > 1:
        over = "" if demand.spare else ", and the other servers are above their capacity"
        yield f"if a server fails at the peak, {_plural(each, 'chat')} start again at once{over}: not in these rates"
    if demand.poll_interval_s > demand.flex_disconnect_timeout_s / 2:
        yield "the poll interval is over half the timeout: one refresh that fails drops the chat"


def label(name: str) -> str:
    """Return an input in words: its option without the dashes."""
    return option(name).removeprefix("--").replace("-", " ")


def value(name: str, found: Any) -> str:
    """Return an input's value with its unit."""
    if isinstance(found, str):
        return str(found)
    if name in _SHARES:
        return share(found)
    if name == "percentile":
        return f"{found:g} %"
    return f"{figure(found)} s" if name.endswith("_s") else figure(found)


def figure(number: float) -> str:
    """Return a number with three significant digits, or rounded from 1000 on, digits in groups of three."""
    if number == int(number) or abs(number) >= 1000:
        return _number(round(number))
    return f"{number:.1f}" if abs(number) >= 100 else f"{number:.3g}"


def share(part: float) -> str:
    """Return a share in percent with three significant digits."""
    return with_minus(f"{100 * part:.3g} %")


def percent(part: float) -> str:
    """Return a share in percent with one decimal, rounded down, so that headroom is not overstated."""
    return f"{int(1000 * part + 1e-9) / 10:.1f} %"


def change(by: float | None) -> str:
    """Return a relative change with its sign; empty for None."""
    if by is None:
        return ""
    digits = f"{abs(100 * by):.1f}"
    return "0" if digits == "0.0" else f"{'+' if by > 0 else MINUS}{digits} %"


def chats_chart(plan: ServerPlan) -> Chart:
    """Return the share of the hour in which more than so many chats are open."""
    demand, mean = plan.demand, plan.peak.mean_chats
    low = max(2 * mean - plan.peak.chats, 0.0)
    high = plan.peak.chats + 0.1 * (plan.peak.chats - low)
    levels = sorted({round(low + (high - low) * i / _POINTS) for i in range(_POINTS + 1)})
    points = [{"x": n, "y": 100 * queueing.above(n, mean, demand.peakedness)} for n in levels]
    shows = (
        f"share of the hour with more chats open: 100 % at {_number(round(low))}, about half at the mean of "
        f"{figure(mean)}, {100 * demand.tail:.3g} % at {_number(plan.peak.chats)}"
    )
    line = charts.line(points, _across("chats open at once"), charts.y("y", "more are open, % of the hour"))
    marks = [*charts.mark_line(mean, "mean"), *charts.mark_line(plan.peak.chats, "planned for")]
    return Chart("How often more chats are open", {"layer": [line, *marks]}, shows)


def growth_chart(plan: ServerPlan) -> Chart:
    """Return the servers needed for up to _GROWTH times the chats per hour."""
    demand, arrivals = plan.demand, plan.peak.mean_arrivals
    factors = [1 + (_GROWTH - 1) * i / _POINTS for i in range(_POINTS + 1)]
    demands = [replace(demand, growth=(1 + demand.growth) * factor - 1) for factor in factors]
    servers = [servers_needed(more, plan.capacity) for more in demands]
    points = [{"x": arrivals * factor, "y": n} for factor, n in zip(factors, servers, strict=True)]
    shows = (
        f"servers that carry the peak, spare ones not counted: {_number(plan.needed)} for "
        f"{figure(arrivals)} chats an hour, {_number(servers[-1])} for {figure(arrivals * _GROWTH)}"
    )
    up = charts.y("y", "servers needed", scale={"zero": True})
    up["axis"]["tickMinStep"] = 1
    return Chart(
        "Servers that carry more chats an hour",
        charts.line(points, charts.x("x", "chats per hour"), up, "step-after"),
        shows,
    )


def _across(title: str) -> Spec:
    return charts.x("x", title, scale={"zero": False})


def influence_chart(report: PlanReport) -> Chart:
    """Return the change of the load for each input that matters, 10 % lower and 10 % higher."""
    bars: list[dict[str, Any]] = [
        {"input": label(item.name), "step": step, "x": 100 * by}
        for item in report.influences
        for step, by in zip(_STEPS, (item.down, item.up), strict=True)
        if by is not None and round(1000 * item.strength)
    ]
    names = list(dict.fromkeys(bar["input"] for bar in bars))
    said = "; ".join(
        f"{label(item.name)} {change(item.down) or 'no lower'} and {change(item.up) or 'no higher'}"
        for item in report.influences
        if label(item.name) in names
    )
    spec: Spec = {
        "data": {"values": bars},
        "height": {"step": 13},
        "mark": {"type": "bar"},
        "encoding": {
            "x": {"field": "x", "type": "quantitative", "title": "change of the load, %"},
            "y": charts.names("input", names),
            "yOffset": {"field": "step", "type": "nominal", "sort": _STEPS},
            "color": charts.colour("step", dict(zip(_STEPS, ("var(--c6)", "var(--good)"), strict=True))),
        },
    }
    shows = "change of the load, the strongest input first"
    return Chart("An input 10 % lower and 10 % higher", spec, shows, f"{shows}: {said}")
