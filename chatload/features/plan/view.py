"""A capacity plan as a document and as JSON."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from chatload import __version__
from chatload.errors import UsageError
from chatload.features.plan.agents import WaitingFigures
from chatload.features.plan.certificate import CapacityCertificate, SweepInterval
from chatload.features.plan.compute import (
    INCONCLUSIVE,
    MISSED,
    NOT_MEASURED,
    SHOWN,
    STEP,
    ExpectedDrops,
    Influence,
    ServerPlan,
    expected_drops,
    loads_of,
    make_plan,
    servers_needed,
)
from chatload.features.plan.doubt import Doubt
from chatload.features.plan.inputs import (
    LABELS,
    Constraint,
    DayProfile,
    Demand,
    Measured,
    Origin,
    Preset,
    option,
)
from chatload.features.plan.queueing import built_up, mean_open, whole_level
from chatload.render import charts
from chatload.render.document import Badge, Bullets, Chart, Document, Section, Sentence, Tile, Tone, table
from chatload.render.words import MINUS, confidence, duration, number, percent, plural, seconds, with_minus
from chatload.stats.rates import bound_text

#: `schema_version` of the JSON this code makes.
SCHEMA_VERSION = 1
_SHARES = ("peak_hour_share", "rate_cv", "growth", "target_drop_rate")
_STEPS = ("−10 %", "+10 %")
_INFLUENCE_CAPTION = (
    "Change of the load in servers when one input is 10 % lower or higher (of the percentile: the share of time above "
    "it), and the value from which on one more server is needed, within a factor of 10."
)
_TONES = {SHOWN: Tone.GOOD, MISSED: Tone.BAD, INCONCLUSIVE: Tone.WARN, NOT_MEASURED: Tone.WARN}
#: Points of a curve, and the largest growth drawn (factor on the chats per hour).
_POINTS, _GROWTH = 120, 2.0
#: Other poll intervals that are shown, as parts of the plan's.
_INTERVALS = (0.5, 2.0, 4.0)
#: What is used to show the effect of inputs that were not given: the peakedness, the coefficient of variation of the
#: day's rate, and the length (seconds) and the height (share of the rate) of a peak within the hour.
_WHAT_IF, _WHAT_IF_CV, _WHAT_IF_PEAK_S, _WHAT_IF_PEAK = 2.0, 0.05, 900.0, 0.4
#: A factor on the chats per hour is exceeded by this part of it, to see what happens above it.
_JUST_MORE = 1e-6
#: A note is added if an hour that begins without chats reaches less than this part of the mean.
_LONG_ENOUGH = 0.95

#: What no plan of this kind can know.
UNKNOWN = (
    "whether the expected chats come: they are an input",
    "how many agents work, and how long customers wait before they give up: both are inputs, or are left out",
    "what happens above the capacity: if it is what a run held, more was never tried",
    "whether n servers carry n times as much as one: a shared database or load balancer may prevent it",
    "other work of the servers, and peaks of a few seconds: rates are means over the peak hour",
)


class IntervalRow(NamedTuple):
    """What a poll interval (seconds) needs: requests/s, servers for them, and servers for all constraints.

    what: why the interval is in the table, as a text to add to it.
    """

    interval_s: float
    what: str
    requests_per_s: float
    by_requests: int
    needed: int


@dataclass(frozen=True)
class PlanReport:
    """A plan with what is reported with it. sources: where each input comes from, by its name.

    doubt: how sure it is that servers are enough; None without the certificate of a capacity search.
    """

    plan: ServerPlan
    influences: Sequence[Influence]
    sources: Mapping[str, str]
    measured: Measured | None = None
    preset: Preset | None = None
    sweep: SweepInterval | None = None
    doubt: Doubt | None = None

    @property
    def certificate(self) -> CapacityCertificate | None:
        """What the capacity search of the run certifies; None if the run was no such search, or there is no run."""
        return self.measured.certificate if self.measured else None

    def to_dict(self) -> dict[str, Any]:
        """Return the published JSON (plan.schema.json)."""
        plan, demand = self.plan, self.plan.demand
        return {
            "schema_version": SCHEMA_VERSION,
            "chatload_version": __version__,
            "answer": answer(plan),
            "demand": {
                **asdict(demand), "arrivals_per_hour": demand.arrivals_per_hour,
                "arrival_profile": demand.arrival_profile.name if demand.arrival_profile else None,
            },
            "capacity": {constraint: figure._asdict() for constraint, figure in plan.capacity.items()},
            "peak": {
                **asdict(plan.peak), "waiting": plan.peak.waiting._asdict() if plan.peak.waiting else None,
            },
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
            "certificate": self.certificate.model_dump() if self.certificate else None,
            "doubt": _doubt_json(self.doubt) if self.doubt else None,
            "refresh_intervals": [row._asdict() for row in interval_rows(self)],
            "drops": {
                **asdict(plan.drops), "expected": [asdict(item) for item in expected_drops(plan.drops, demand)],
            },
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
    intervals = table(
        "What the refresh interval changes",
        ("poll interval", "requests/s", "servers for requests/s", "servers in all"),
        [
            (
                seconds(row.interval_s) + row.what, _figure(row.requests_per_s), number(row.by_requests),
                number(row.needed),
            )
            for row in interval_rows(report)
        ],
    )  # fmt: skip
    influence = ("input", "value", *_STEPS, "one more server at")
    depends = table("What the plan depends on", influence, list(_influences(report)), caption=_INFLUENCE_CAPTION)
    values = [(name, getattr(plan.demand, name), source) for name, source in report.sources.items()]
    given = [(_label(name), _value(name, value), source) for name, value, source in values if value is not None]
    inputs = table("Inputs", ("input", "value", "from"), given, sides="lrl")
    sections = (
        Section(peak.name, (peak, *_day_chart(plan), _chats_chart(plan))),
        Section(carry.name, (carry,)),
        *_chances(report),
        *([Section(intervals.name, (intervals,))] if intervals.rows else []),
        Section(depends.name, (depends, _influence_chart(report))),
        Section(inputs.name, (inputs,), minor=True),
        Section("What must be known with it", (Bullets(list(notes(report))),)),
        Section("What this plan cannot know", (Bullets(UNKNOWN),)),
    )
    lead = [Sentence(_binding(plan)), Sentence(_drops(plan), _TONES.get(plan.drops.result, Tone.PLAIN))]
    more = [Sentence(text) for text in (*_sure(report), _busiest(plan), _waiting(plan)) if text]
    if found := expected_drops(plan.drops, plan.demand):
        more.append(Sentence(_expected(found)))
    return Document(
        answer=Sentence(answer(plan)),
        badge=Badge("plan", _TONES.get(plan.drops.result, Tone.PLAIN), in_text=False),
        lead=lead,
        notes=more,
        sections=sections,
        tiles=list(_tiles(report)),
        overview=_growth_chart(plan),
    )


def _tiles(report: PlanReport) -> Iterator[Tile]:
    """Yield servers, headroom, chats, requests, the limit that decides, and the drop rate."""
    plan, demand = report.plan, report.plan.demand
    spare = f"{number(plan.needed)} carry the peak, {number(demand.spare)} spare"
    yield Tile("servers", number(plan.servers), spare, Tone.GOOD)
    headroom = f"more chats per hour before {plural(plan.needed, 'server')} are full"
    yield Tile("headroom", _percent(plan.headroom - 1), headroom)
    arrive = f"{_figure(plan.peak.mean_arrivals)} arrive in the peak hour"
    yield Tile("chats at once", number(plan.peak.chats), f"planned for {demand.percentile:g} %; {arrive}")
    requests = plan.loads[Constraint.REQUESTS]
    if requests is not None:
        yield Tile("requests per second", _figure(requests), f"a refresh every {demand.poll_interval_s:.3g} s")
    binding = plan.binding
    yield Tile("decides", LABELS[binding.constraint], f"{_figure(binding.per_server)} a server, {binding.origin}")
    claim = plan.drops
    bound = "not known" if claim.upper is None else f"≤ {bound_text(claim.upper, up=True)}"
    target = "no target" if claim.target is None else f"target {_share(claim.target)}: {claim.result}"
    yield Tile("drop rate", bound, target, _TONES.get(claim.result, Tone.PLAIN))


def interval_rows(report: PlanReport) -> list[IntervalRow]:
    """Return what other poll intervals would need; none if the requests/s of a server are not known."""
    plan, demand = report.plan, report.plan.demand
    if Constraint.REQUESTS not in plan.capacity:
        return []
    names = {demand.poll_interval_s: ", the plan's"}
    if report.sweep is not None:
        names.setdefault(report.sweep.interval_s, ", of the sweep")
    searched_s = report.measured.demand.get("poll_interval_s") if report.measured and report.certificate else None
    if searched_s is not None:
        names.setdefault(searched_s, ", of the capacity search")
    for factor in _INTERVALS:
        # One refresh that fails drops a chat whose interval is over half the timeout.
        if factor * demand.poll_interval_s <= demand.flex_disconnect_timeout_s / 2:
            names.setdefault(factor * demand.poll_interval_s, "")
    rows = []
    for interval_s in sorted(names):
        try:
            other = make_plan(replace(demand, poll_interval_s=interval_s), plan.capacity)
        except UsageError:  # Not below the timeout.
            continue
        row = next(row for row in other.rows if row.constraint is Constraint.REQUESTS)
        rows.append(IntervalRow(interval_s, names[interval_s], row.needed, row.servers, other.needed))
    return rows


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
    try:
        plan.demand.grown(plan.headroom * (1 + _JUST_MORE))
        then = "one more server is needed"
    except UsageError:
        then = "the agents can no longer end all chats, whatever the servers carry,"
    more = _percent(max(plan.headroom - 1, 0.0))
    return f"{LABELS[row.constraint]} decide: {headroom}; {then} if chats per hour grow by {more}"


def _sure(report: PlanReport) -> Iterator[str]:
    """Yield how sure it is that the servers are enough, and where the doubt comes from, if it is known."""
    doubt, plan = report.doubt, report.plan
    if doubt is None:
        return
    numbers = dict.fromkeys((plan.needed, plan.servers))
    chances = " and ".join(f"{plural(n, 'server')} with {_chance(doubt.chances[n])}" for n in numbers)
    yield f"chance that the servers are enough at an instant of the peak: {chances}"
    sources = {
        "the measured capacity": doubt.by_capacity,
        "servers that do not hold the same load every time": doubt.by_steps,
        "the day's rate": doubt.by_rate,
        "chance within a day": doubt.by_chance,
    }
    parts = [f"{_share(part)} from {source}" for source, part in sources.items() if part]
    yield f"of the doubt, {', '.join(parts)}"


def _chances(report: PlanReport) -> Iterator[Section]:
    """Yield the chance by the number of servers, if it is known."""
    if report.doubt is not None:
        rows = [(number(n), _chance(chance)) for n, chance in report.doubt.chances.items()]
        text = (
            "the chance that all servers hold their part of the chats open at an instant of the peak, by the "
            "certificate of the capacity search and the distribution of the demand"
        )
        heading = "How sure it is that the servers are enough"
        yield Section(heading, (table(heading, ("servers", "chance"), rows, "rr"), Sentence(text)))


def _chance(share: float) -> str:
    """Return a chance in percent, rounded down."""
    return "over 99.99 %" if share > 0.9999 else bound_text(share, up=False)


def _doubt_json(doubt: Doubt) -> dict[str, Any]:
    chances = [{"servers": n, "chance": chance} for n, chance in doubt.chances.items()]
    return {**asdict(doubt), "chances": chances}


def _busiest(plan: ServerPlan) -> str:
    """Return when the peak of the profile is; empty without one, or if chats may wait."""
    profile, at_s = plan.demand.arrival_profile, plan.peak.at_s
    if profile is None or at_s is None:
        return ""
    return f"most chats are open at {profile.clock(at_s)}: {_figure(plan.peak.mean_chats)} on average"


def _waiting(plan: ServerPlan) -> str:
    """Return what customers feel; empty if there are as many agents as chats."""
    found: WaitingFigures | None = plan.peak.waiting
    if found is None or plan.demand.agents is None:
        return ""
    leave = f", and {percent(found.give_up_share)} of the customers give up" if plan.demand.patience_s else ""
    return (
        f"with {_figure(plan.demand.agents)} agents at the peak, {percent(found.wait_share)} of the chats wait "
        f"({seconds(found.mean_wait_s)} on average over all chats){leave}"
    )


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


def _expected(found: Sequence[ExpectedDrops]) -> str:
    """Return the drops to expect, in one sentence."""
    parts = []
    for item in found:
        of = f"{number(round(item.chats))} chats" + (f" of {item.period}" if item.period else "")
        most = f"at most {_rounded_up(item.upper)}"
        if item.expected:
            most = f"{_figure(item.expected)} ({most})"
        parts.append(f"{most} of {of}")
    unseen = "no drop was measured; " if found[0].expected == 0 else ""
    return f"{unseen}dropped chats to expect: {', '.join(parts)}; each bound with 95 % confidence"


def _rounded_up(amount: float) -> str:
    """Return a bound with two significant digits, rounded up."""
    step = 10.0 ** (math.floor(math.log10(amount)) - 1) if amount > 0 else 1.0
    return _figure(round(math.ceil(amount / step - 1e-9) * step, 9))


def _peak(plan: ServerPlan) -> Iterator[tuple[str, str, str]]:
    peak, demand = plan.peak, plan.demand
    means = loads_of(demand, peak.mean_chats, peak.mean_arrivals)
    hour = "in an hour at the highest rate" if demand.arrival_profile else "in the hour"
    yield f"chats that arrive {hour}", _figure(peak.mean_arrivals), number(peak.arrivals)
    yield "chats open at once", _figure(peak.mean_chats), number(peak.chats)
    for constraint in (Constraint.REQUESTS, Constraint.STARTS, Constraint.MESSAGES):
        mean, load = means[constraint], plan.loads[constraint]
        if mean is not None and load is not None:
            yield LABELS[constraint], _figure(mean), _figure(load)
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
    yield from _about_percentile(demand)
    if demand.agents is not None:
        yield (
            "arrivals are Poisson, and handling times and patience are exponential (Erlang A and C). Chats that wait "
            "for an agent poll like the others, so they count as open"
        )
    elif demand.peakedness > 1:
        poisson = whole_level(demand.offered, demand.tail, rate_cv=demand.rate_cv)
        yield (
            f"arrivals in bunches: peakedness {demand.peakedness:g} by Hayward's approximation (bunches of very "
            f"different sizes can be some percent above it); Poisson would be {plural(poisson, 'chat')}"
        )
    else:
        bunched = _with(plan, f"a ratio of {_WHAT_IF:g}", peakedness=_WHAT_IF)
        yield (
            "arrivals are Poisson if many customers decide independently; mailings, outages and opening hours bring "
            f"bunches: measure the variance-to-mean ratio of chats open, and give --peakedness{bunched}"
        )
    yield from _about_rate(plan)
    if peak.built_up < _LONG_ENOUGH and demand.arrival_profile is None:
        yield (
            f"chats are long compared with the hour: an hour that begins without chats reaches "
            f"{_percent(peak.built_up)} of the mean; the plan is for a rate that lasts longer"
        )


def _about_percentile(demand: Demand) -> Iterator[str]:
    open_for = f"for {seconds(3600 * demand.tail)} of the peak hour"
    if demand.arrival_profile is not None:
        when = "highest rate" if demand.busiest is None else "busiest instant"
        open_for = f"at the {when} with a chance of {100 * demand.tail:.3g} %"
    days = f", over days whose rates vary by {_share(demand.rate_cv)} (standard deviation)" if demand.rate_cv else ""
    yield f"planned for {demand.percentile:g} %: more chats are open {open_for}{days}"
    if demand.agents is None:
        yield (
            "for a given rate the number open is Poisson for every distribution of handling time (M/G/infinity), so "
            "only its mean counts"
        )


def _about_rate(plan: ServerPlan) -> Iterator[str]:
    """Yield what is assumed of the rate, and the effect of what was not given."""
    demand = plan.demand
    if not demand.rate_cv:
        varied = _with(plan, f"a standard deviation of {_share(_WHAT_IF_CV)}", rate_cv=_WHAT_IF_CV)
        yield f"every day is taken to have the same rate; if days vary, give --rate-cv{varied}"
    profile = demand.arrival_profile
    if profile is not None:
        yield (
            f"before the profile begins, its first rate is assumed to have lasted; its rows are up to "
            f"{duration(profile.longest_row_s)} apart, and peaks that are shorter are not in it"
        )
        if demand.agents is not None and demand.patience_s is None:
            yield "without --patience the highest rate of the profile is taken as lasting: an upper bound of open chats"
        elif demand.agents is not None:
            yield "the chats open at the peak are approximated by a fluid model of the day and Erlang A"
        return
    lengths = (demand.handling_time_s, demand.handling_distribution, demand.handling_cv)
    higher = 1 + _WHAT_IF_PEAK * (1 if demand.agents else built_up(_WHAT_IF_PEAK_S, *lengths))
    text = "the rate is taken as constant in the peak hour; if it has peaks, give --arrival-profile"
    what = f"{100 * _WHAT_IF_PEAK:g} % more arrivals for {_WHAT_IF_PEAK_S / 60:g} minutes"
    yield f"{text}{_with(plan, what, growth=(1 + demand.growth) * higher - 1)}"


def _with(plan: ServerPlan, what: str, **changes: float) -> str:
    """Return what a changed demand would need, as the end of a sentence; empty if that cannot be planned."""
    try:
        other = make_plan(replace(plan.demand, **changes), plan.capacity)  # type: ignore[arg-type]
    except UsageError:
        return ""
    return f"; with {what}, {plural(other.peak.chats, 'chat')} would need {plural(other.needed, 'server')}"


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
    certificate = report.certificate
    if certificate is not None:
        servers = report.measured.servers if report.measured else 1
        share = "" if servers == 1 else f" of {servers} servers"
        if certificate.lower == certificate.upper:
            what = f"the limit{share} that the search found, {_figure(certificate.lower)} chats"
        else:
            interval = f"{_figure(certificate.lower)} to {_figure(certificate.upper)} chats"
            sure = confidence(certificate.confidence)
            what = f"the lower end of the capacity{share} that the search found, {interval} with {sure} confidence"
        yield f"the plan uses {what}; all servers are taken to have the same capacity"
        searched_s = report.measured.demand.get("poll_interval_s") if report.measured else None
        if searched_s is not None and certificate.lower < certificate.upper:
            yield (
                f"so many chats are held with a refresh every {seconds(searched_s)}: with a longer interval a server "
                "may hold more, and with a shorter one fewer; a search with the plan's interval shows it"
            )
        if certificate.requests_per_s is not None:
            yield (
                f"requests/s are those of {_figure(certificate.lower)} chats in the search: a server may carry more of "
                "them, but that was not shown"
            )
        if certificate.chat_hours:
            seen = f"{_figure(certificate.drops)} in {certificate.chat_hours:.3g} chat-hours"
            yield (
                f"drops at the certified load: {seen}; the bound assumes that drops are independent, and that a chat "
                "is in equal danger at each age"
            )
    for constraint, load in plan.loads.items():
        if constraint not in plan.capacity and load is not None:
            yield f"{LABELS[constraint]}: {_figure(load)} needed, but no figure is known for a server: not judged"
        if constraint in plan.capacity and load is None:
            yield f"{LABELS[constraint]}: not judged without --messages-per-chat"


def _about_run(demand: Demand, run: Measured) -> Iterator[str]:
    if run.certificate is None:
        yield from _about_held(run)
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


def _about_held(run: Measured) -> Iterator[str]:
    """Yield what a run held that was no capacity search."""
    on = "one server" if run.servers == 1 else f"{run.servers} servers together"
    yield (
        f"run {run.run}: {plural(run.held.sessions, 'session')}, {_figure(run.held.requests_per_s)} requests/s and "
        f"{_figure(run.held.starts_per_s)} chat starts/s held for {seconds(run.held_for_s)} or more by {on}"
    )
    if run.refused:
        yield f"{number(run.refused)} of its {plural(run.sessions, 'session')} were never accepted: a limit was near"
    if run.bursts:
        yield f"its drops came in {plural(run.bursts, 'burst')}: the bound assumes independent drops, so it is too low"


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
    if isinstance(found, DayProfile):
        return found.name
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


def _day_chart(plan: ServerPlan) -> Iterator[Chart]:
    """Yield the chart of the day, if the plan is for a profile and chats need not wait."""
    demand = plan.demand
    profile, at_s = demand.arrival_profile, plan.peak.at_s
    if profile is None or at_s is None or demand.agents is not None:
        return
    instants = np.union1d(np.linspace(0.0, profile.rate.length_s, 2 * _POINTS), [at_s])
    lengths = (demand.handling_time_s, demand.handling_distribution, demand.handling_cv)
    means = mean_open(profile.rate, instants, *lengths) * (1 + demand.growth)
    start = profile.rate.first_row_s
    points = [{"x": (start + t) / 3600, "y": mean} for t, mean in zip(instants.tolist(), means.tolist(), strict=True)]
    shows = (
        f"mean number of open chats over the day: most at {profile.clock(at_s)}, {_figure(plan.peak.mean_chats)}; "
        f"{number(plan.peak.chats)} are planned for"
    )
    up = charts.y("y", "chats open at once, mean", scale={"domain": [0, 1.15 * plan.peak.chats]})
    line = charts.line(points, charts.x("x", "hour of the profile"), up)
    marks = charts.level_line(plan.peak.chats, "planned for")
    yield Chart("Open chats over the day", {"layer": [line, *marks]}, shows)


def _chats_chart(plan: ServerPlan) -> Chart:
    demand, mean = plan.demand, plan.peak.mean_chats
    low = max(2 * mean - plan.peak.chats, 0.0)
    high = plan.peak.chats + 0.1 * (plan.peak.chats - low)
    levels = sorted({round(low + (high - low) * i / _POINTS) for i in range(_POINTS + 1)})
    points = [{"x": n, "y": 100 * demand.chats_above(n)} for n in levels]
    shows = (
        f"share of the hour with more chats open: {points[0]['y']:.3g} % at {number(levels[0])}, about half "
        f"at the mean of {_figure(mean)}, {100 * demand.tail:.3g} % at {number(plan.peak.chats)}"
    )
    line = charts.line(points, charts.x("x", "chats open at once"), charts.y("y", "more are open, % of the hour"))
    marks = [*charts.mark_line(mean, "mean"), *charts.mark_line(plan.peak.chats, "planned for")]
    return Chart("How often more chats are open", {"layer": [line, *marks]}, shows)


def _growth_chart(plan: ServerPlan) -> Chart:
    arrivals = plan.peak.mean_arrivals
    points = []
    for i in range(_POINTS + 1):
        factor = 1 + (_GROWTH - 1) * i / _POINTS
        try:
            points.append({"x": arrivals * factor, "y": servers_needed(plan.demand.grown(factor), plan.capacity)})
        except UsageError:  # More chats than the agents can end.
            break
    most = points[-1]
    shows = (
        f"servers that carry the peak, spare ones not counted: {number(plan.needed)} for "
        f"{_figure(arrivals)} chats an hour, {number(round(most['y']))} for {_figure(most['x'])}"
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
