"""A capacity plan as a document and as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from chatload import __version__
from chatload.errors import UsageError
from chatload.features.plan.compute import (
    INCONCLUSIVE,
    MISSED,
    NOT_MEASURED,
    SHOWN,
    STEP,
    Influence,
    ServerPlan,
    above,
    make_plan,
    servers_needed,
    whole_level,
)
from chatload.features.plan.inputs import LABELS, Constraint, Demand, Measured, Origin, Preset, option
from chatload.render import charts
from chatload.render.document import Bullets, Chart, Document, Section, Sentence, Tone, table
from chatload.render.words import MINUS, number, plural, seconds, with_minus
from chatload.stats.rates import bound_text

#: `schema_version` of the JSON this code makes.
SCHEMA_VERSION = 1
_SHARES = ("peak_hour_share", "growth", "target_drop_rate")
_STEPS = ("−10 %", "+10 %")
_INFLUENCE_CAPTION = (
    "Change of the load in servers when one input is 10 % lower or higher (of the percentile: the share of time above "
    "it), and the value from which on one more server is needed, within a factor of 10."
)
_TONES = {SHOWN: Tone.GOOD, MISSED: Tone.BAD, INCONCLUSIVE: Tone.WARN, NOT_MEASURED: Tone.WARN}
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
        plan, demand = self.plan, self.plan.demand
        return {
            "schema_version": SCHEMA_VERSION,
            "chatload_version": __version__,
            "answer": answer(plan),
            "demand": {**asdict(demand), "arrivals_per_hour": demand.arrivals_per_hour},
            "capacity": {constraint: figure._asdict() for constraint, figure in plan.capacity.items()},
            "peak": asdict(plan.peak),
            "loads": plan.loads,
            "constraints": [
                {
                    "name": row.constraint, "needed": row.needed, "per_server": row.per_server, "origin": row.origin,
                    "servers": row.servers, "margin": row.margin(plan.needed),
                    "margin_with_spare": row.margin(plan.servers),
                }
                for row in plan.rows
            ],
            "servers": {
                "needed": plan.needed, "spare": demand.spare, "total": plan.servers,
                "needed_if_assigned_at_random": plan.at_random,
            },
            "headroom": plan.headroom,
            "drops": asdict(plan.drops),
            "refresh_pool_size": {"total": plan.pool_size, "per_server": plan.pool_size_per_server},
            "sources": dict(self.sources),
            "run": self.measured.run if self.measured else None,
            "preset": {"name": self.preset.name, "source": self.preset.source} if self.preset else None,
            "influences": [asdict(item) for item in self.influences],
            "notes": list(notes(self)),
            "unknown": list(UNKNOWN),
        }  # fmt: skip


def plan_document(report: PlanReport) -> Document:
    """Return the plan as a document."""
    plan = report.plan
    peak = table("What the peak hour brings", ("the peak hour", "mean", "planned for"), list(_peak(plan)))
    constraints = ("constraint", "needed", "a server", "servers", "left", "with spare", "from")
    loads = [
        (
            LABELS[row.constraint], _figure(row.needed), _figure(row.per_server), number(row.servers),
            _percent(row.margin(plan.needed)), _percent(row.margin(plan.servers)), row.origin,
        )
        for row in plan.rows
    ]  # fmt: skip
    carry = table("What servers carry", constraints, loads, sides="lrrrrrl")
    influence = ("input", "value", *_STEPS, "one more server at")
    depends = table("What the plan depends on", influence, list(_influences(report)), caption=_INFLUENCE_CAPTION)
    values = [(name, getattr(plan.demand, name), source) for name, source in report.sources.items()]
    given = [(_label(name), _value(name, value), source) for name, value, source in values if value is not None]
    inputs = table("Inputs", ("input", "value", "from"), given, sides="lrl")
    sections = (
        Section(peak.name, (peak, _chats_chart(plan))),
        Section(carry.name, (carry, _growth_chart(plan))),
        Section(depends.name, (depends, _influence_chart(report))),
        Section(inputs.name, (inputs,), minor=True),
        Section("What must be known with it", (Bullets(list(notes(report))),)),
        Section("What this plan cannot know", (Bullets(UNKNOWN),)),
    )
    lead = (Sentence(_binding(plan)), Sentence(_drops(plan), _TONES.get(plan.drops.result, Tone.PLAIN)))
    return Document(answer=Sentence(answer(plan)), lead=lead, sections=sections)


def answer(plan: ServerPlan) -> str:
    """Return the plan in one sentence."""
    carry = "carries" if plan.needed == 1 else "carry"
    spare = f", {plan.demand.spare} to spare" if plan.demand.spare else ", none to spare"
    return (
        f"{plural(plan.servers, 'server')}: {number(plan.needed)} {carry} the peak of "
        f"{plural(plan.peak.chats, 'chat')} open at once{spare}"
    )


def _binding(plan: ServerPlan) -> str:
    row = plan.binding
    headroom = f"{_percent(row.margin(plan.needed))} headroom with {plural(plan.needed, 'server')}"
    if plan.demand.spare:
        headroom += f", {_percent(row.margin(plan.servers))} with all {number(plan.servers)}"
    more = _percent(max(plan.headroom - 1, 0.0))
    return f"{LABELS[row.constraint]} decide: {headroom}; one more server is needed if chats per hour grow by {more}"


def _drops(plan: ServerPlan) -> str:
    claim = plan.drops
    bound = ""
    if claim.upper is not None:
        bound = f"under {bound_text(claim.upper, up=True)} of chats dropped, with 95 % confidence"
    if claim.target is None:
        return f"no target for the drop rate{f'; {bound}' if bound else ''}"
    target = f"target drop rate {_share(claim.target)}: {claim.result}"
    if claim.result == NOT_MEASURED:
        return f"{target}; give --run, or --drop-rate-bound"
    if claim.result == MISSED and claim.lower is not None:
        return f"{target}; at least {_share(claim.lower)} of chats dropped, with 95 % confidence"
    more = f"; {number(claim.chats_needed)} chats without a drop would show it" if claim.chats_needed else ""
    return f"{target}; {bound}{more}"


def _peak(plan: ServerPlan) -> Iterator[tuple[str, str, str]]:
    peak, demand = plan.peak, plan.demand
    of_chats, of_arrivals = peak.mean_chats / peak.chats, peak.mean_arrivals / peak.arrivals
    yield "chats that arrive in the hour", _figure(peak.mean_arrivals), number(peak.arrivals)
    yield "chats open at once", _figure(peak.mean_chats), number(peak.chats)
    for constraint in (Constraint.REQUESTS, Constraint.STARTS, Constraint.MESSAGES):
        load = plan.loads[constraint]
        if load is not None:
            part = of_arrivals if constraint is Constraint.STARTS else of_chats
            yield LABELS[constraint], _figure(load * part), _figure(load)
    each = 1 / demand.poll_interval_s + demand.other_requests_per_chat / demand.handling_time_s
    yield "requests/s of one chat", _figure(each), _figure(each)


def _influences(report: PlanReport) -> Iterator[tuple[str, ...]]:
    for item in report.influences:
        at = item.one_more_at
        if at is None:
            more = ""
        elif item.name == "percentile":
            more = f"{at:.6g} %"
        else:
            more = f"{_value(item.name, at)} ({_change(item.one_more_change)})"
        yield _label(item.name), _value(item.name, item.value), _change(item.down), _change(item.up), more


def notes(report: PlanReport) -> Iterator[str]:
    """Yield the notes on the figures."""
    yield from _about_arrivals(report.plan)
    yield from _about_capacity(report)
    if report.measured:
        yield from _about_run(report.plan.demand, report.measured)
    yield from _about_servers(report.plan)
    yield (
        f"refreshPoolSize = peak_chat_sessions / (refreshPeriod in s × 5) by the vendor's rule: "
        f"{number(report.plan.pool_size)} in all, {number(report.plan.pool_size_per_server)} on each of "
        f"{plural(report.plan.needed, 'server')} (Genesys Web Engagement, chat options; 10 unless set)"
    )


def _about_arrivals(plan: ServerPlan) -> Iterator[str]:
    demand, peak = plan.demand, plan.peak
    yield (
        f"planned for {demand.percentile:g} %: more chats are open for {seconds(3600 * demand.tail)} of the peak "
        "hour. The number open is Poisson for every distribution of handling time (M/G/infinity), so only "
        "its mean counts"
    )
    if demand.peakedness > 1:
        poisson = whole_level(peak.mean_chats, demand.tail)
        yield (
            f"arrivals in bunches: peakedness {demand.peakedness:g} by Hayward's approximation (bunches of very "
            f"different sizes can be some percent above it); Poisson would be {plural(poisson, 'chat')}"
        )
    else:
        yield f"arrivals are Poisson if many customers decide independently; {_bunched(plan)}"
    if peak.built_up < _LONG_ENOUGH:
        yield (
            f"chats are long compared with the hour: an hour that begins without chats reaches "
            f"{_percent(peak.built_up)} of the mean; the plan is for a rate that lasts longer"
        )


def _bunched(plan: ServerPlan) -> str:
    text = "mailings, outages and opening hours bring bunches: measure the variance-to-mean ratio of chats open"
    try:
        bunched = make_plan(replace(plan.demand, peakedness=_WHAT_IF), plan.capacity)
    except UsageError:
        return f"{text}, and give --peakedness"
    chats, servers = plural(bunched.peak.chats, "chat"), plural(bunched.needed, "server")
    return f"{text}; with a ratio of {_WHAT_IF:g}, {chats} would need {servers}"


def _about_capacity(report: PlanReport) -> Iterator[str]:
    plan = report.plan
    if report.preset:
        yield f"preset {report.preset.name}: {report.preset.about} ({report.preset.source})"
    if any(row.origin is Origin.HELD for row in plan.rows):
        yield "what a run held is not the limit: a server may carry more, but that was not shown"
    if report.measured and plan.binding.origin is Origin.HELD and plan.binding.constraint is not Constraint.SESSIONS:
        yield (
            f"{LABELS[plan.binding.constraint]} decide only because the run tried no more of them; a run with the "
            "plan's chat length and poll interval may show that fewer servers do"
        )
    for constraint, load in plan.loads.items():
        if constraint not in plan.capacity and load is not None:
            yield f"{LABELS[constraint]}: {_figure(load)} needed, but no figure is known for a server: not judged"
        if constraint in plan.capacity and load is None:
            yield f"{LABELS[constraint]}: not judged without --messages-per-chat"


def _about_run(demand: Demand, run: Measured) -> Iterator[str]:
    on = "one server" if run.servers == 1 else f"{run.servers} servers together"
    yield (
        f"run {run.run}: {plural(run.held.sessions, 'session')}, {_figure(run.held.requests_per_s)} requests/s and "
        f"{_figure(run.held.starts_per_s)} chat starts/s held for {seconds(run.held_for_s)} or more by {on}"
    )
    if run.refused:
        yield f"{number(run.refused)} of its {plural(run.sessions, 'session')} were never accepted: a limit was near"
    if run.bursts:
        yield f"its drops came in {plural(run.bursts, 'burst')}: the bound assumes independent drops, so it is too low"
    names = {
        "poll_interval_s": "poll interval",
        "flex_disconnect_timeout_s": "timeout",
        "handling_time_s": "chat length",
    }
    for field, name in names.items():
        was, planned = run.demand.get(field), getattr(demand, field)
        if was is not None and abs(was / planned - 1) > STEP:
            yield (
                f"the run's {name} was {seconds(was)}, the plan's is {seconds(planned)}: the run's drop rate and "
                "other rates are those of its own value"
            )


def _about_servers(plan: ServerPlan) -> Iterator[str]:
    demand = plan.demand
    if plan.at_random is not None and plan.at_random > plan.needed:
        yield (
            f"the plan spreads chats evenly over servers; if they go to random servers, "
            f"{plural(plan.at_random, 'server')} are needed"
        )
    each = -(-plan.peak.chats // plan.servers)
    if plan.servers > 1:
        over = "" if demand.spare else ", and the other servers are above their capacity"
        yield f"if a server fails at the peak, {plural(each, 'chat')} start again at once{over}: not in these rates"
    if demand.poll_interval_s > demand.flex_disconnect_timeout_s / 2:
        yield "the poll interval is over half the timeout: one refresh that fails drops the chat"


def _label(name: str) -> str:
    return option(name).removeprefix("--").replace("-", " ")


def _value(name: str, found: Any) -> str:
    if isinstance(found, str):
        return str(found)
    if name in _SHARES:
        return _share(found)
    if name == "percentile":
        return f"{found:g} %"
    return f"{_figure(found)} s" if name.endswith("_s") else _figure(found)


def _figure(amount: float) -> str:
    """Return a number with three significant digits, or rounded from 1000 on, digits in groups of three."""
    if amount == int(amount) or abs(amount) >= 1000:
        return number(round(amount))
    return f"{amount:.1f}" if abs(amount) >= 100 else f"{amount:.3g}"


def _share(part: float) -> str:
    return with_minus(f"{100 * part:.3g} %")


def _percent(part: float) -> str:
    """Return a share in percent with one decimal, rounded down, so that headroom is not overstated."""
    return f"{int(1000 * part + 1e-9) / 10:.1f} %"


def _change(by: float | None) -> str:
    if by is None:
        return ""
    digits = f"{abs(100 * by):.1f}"
    return "0" if digits == "0.0" else f"{'+' if by > 0 else MINUS}{digits} %"


def _chats_chart(plan: ServerPlan) -> Chart:
    demand, mean = plan.demand, plan.peak.mean_chats
    low = max(2 * mean - plan.peak.chats, 0.0)
    high = plan.peak.chats + 0.1 * (plan.peak.chats - low)
    levels = sorted({round(low + (high - low) * i / _POINTS) for i in range(_POINTS + 1)})
    points = [{"x": n, "y": 100 * above(n, mean, demand.peakedness)} for n in levels]
    shows = (
        f"share of the hour with more chats open: 100 % at {number(round(low))}, about half at the mean of "
        f"{_figure(mean)}, {100 * demand.tail:.3g} % at {number(plan.peak.chats)}"
    )
    line = charts.line(points, charts.x("x", "chats open at once"), charts.y("y", "more are open, % of the hour"))
    marks = [*charts.mark_line(mean, "mean"), *charts.mark_line(plan.peak.chats, "planned for")]
    return Chart("How often more chats are open", {"layer": [line, *marks]}, shows)


def _growth_chart(plan: ServerPlan) -> Chart:
    demand, arrivals = plan.demand, plan.peak.mean_arrivals
    factors = [1 + (_GROWTH - 1) * i / _POINTS for i in range(_POINTS + 1)]
    demands = [replace(demand, growth=(1 + demand.growth) * factor - 1) for factor in factors]
    servers = [servers_needed(more, plan.capacity) for more in demands]
    points = [{"x": arrivals * factor, "y": n} for factor, n in zip(factors, servers, strict=True)]
    shows = (
        f"servers that carry the peak, spare ones not counted: {number(plan.needed)} for "
        f"{_figure(arrivals)} chats an hour, {number(servers[-1])} for {_figure(arrivals * _GROWTH)}"
    )
    up = charts.y("y", "servers needed", scale={"zero": True})
    up["axis"]["tickMinStep"] = 1
    return Chart(
        "Servers that carry more chats an hour",
        charts.line(points, charts.x("x", "chats per hour"), up, "step-after"),
        shows,
    )


def _influence_chart(report: PlanReport) -> Chart:
    items = [item for item in report.influences if round(1000 * item.strength)]
    bars = [
        {"input": _label(item.name), "step": step, "x": 100 * by}
        for item in items
        for step, by in zip(_STEPS, (item.down, item.up), strict=True)
        if by is not None
    ]
    said = "; ".join(
        f"{_label(item.name)} {_change(item.down) or 'no lower'} and {_change(item.up) or 'no higher'}"
        for item in items
    )
    spec = charts.layer(
        bars,
        {"type": "bar"},
        x={"field": "x", "type": "quantitative", "title": "change of the load, %"},
        y=charts.names("input", [_label(item.name) for item in items]),
        yOffset={"field": "step", "type": "nominal", "sort": _STEPS},
        color=charts.colour("step", dict(zip(_STEPS, ("var(--c6)", "var(--good)"), strict=True))),
    )
    shows = "change of the load, the strongest input first"
    heading = "An input 10 % lower and 10 % higher"
    return Chart(heading, {**spec, "height": {"step": 13}}, shows, f"{shows}: {said}")
