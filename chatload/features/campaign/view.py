"""What a campaign says: its plan before it starts, a sentence for each step, and the answer at its end."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from chatload.errors import UsageError
from chatload.exit_codes import INCONCLUSIVE
from chatload.features.campaign.budget import CampaignBudget, StepCost
from chatload.features.campaign.campaign_file import CampaignFile
from chatload.features.campaign.findings import Findings
from chatload.features.campaign.rules import CampaignResult, CampaignStep
from chatload.render.document import Bullets, Document, Section, Sentence, Table, Tone, table
from chatload.render.words import confidence, duration, number, percent, plural, seconds
from chatload.stats.rates import bound_text, per_unit_text

_PURPOSE = {
    CampaignStep.DOCTOR: "this machine, and the host",
    CampaignStep.PROBE: "the timeout of the server",
    CampaignStep.CAPACITY: "how many chats it holds",
    CampaignStep.TUNE: "the refresh interval",
    CampaignStep.PLAN: "how many servers are needed",
    CampaignStep.PROOF: "the target at the peak rate",
}
#: A change is named if it leaves less than this part of a step's time.
_WORTH = 0.9


def announcement(findings: Findings) -> Document:
    """Return what the campaign will do, how long it takes, and how much load it is."""
    file, budget = findings.file, findings.budget
    costs = budget.costs()
    chats, requests = max(cost.chats for cost in costs), max(cost.requests_per_s for cost in costs)
    time = _span(sum(cost.least_s for cost in costs), sum(cost.most_s for cost in costs))
    limit = f"{duration(file.time_available)} at most"
    if not budget.fits:
        limit = f"but time_available is {duration(file.time_available)}"
    answer = (
        f"campaign on {file.host}: about {time}, {limit}; up to {plural(chats, 'chat')} open at once and "
        f"{requests:.3g} requests/s"
    )
    lead = [Sentence(f"the files are in {findings.folder}", Tone.SOFT)]
    notes = [*ceilings(findings), _assumption(budget)]
    steps = Section("Steps", (_costs(costs), *(Sentence(note, Tone.SOFT) for note in notes)))
    return Document(
        Sentence(answer, strong=True),
        (steps, Section("The demand", (Bullets(list(demand(file, budget.peak.chats))),)),
         Section("What would shorten it", (Bullets(list(shorter(findings))),))),
        lead=lead,
    )  # fmt: skip


def ceilings(findings: Findings) -> Iterator[str]:
    """Yield the ceilings on the load of all steps, if there are any."""
    frame = findings.frame
    limits = [] if frame.max_sessions is None else [f"{plural(frame.max_sessions, 'chat')} open at once"]
    limits += [] if frame.max_requests_per_s is None else [f"{frame.max_requests_per_s:g} requests/s"]
    if limits:
        yield f"no step exceeds the ceilings: {' and '.join(limits)}"


def _costs(costs: list[StepCost]) -> Table:
    rows = [
        (
            cost.step.value, _PURPOSE[cost.step], _times(cost),
            number(cost.chats) if cost.least_s and cost.chats else "",
            f"{cost.requests_per_s:.3g}" if cost.least_s and cost.requests_per_s else "",
        )
        for cost in costs
    ]  # fmt: skip
    return table("Steps", ("step", "finds", "time", "chats", "requests/s"), rows, sides="lwrrr")


def _times(cost: StepCost) -> str:
    return _span(cost.least_s, cost.most_s) if cost.least_s else "left out"


def _span(least_s: float, most_s: float) -> str:
    """Return a range of durations; one of them if both are written in the same way."""
    least, most = duration(least_s), duration(most_s)
    return least if least == most else f"{least} to {most}"


def _assumption(budget: CampaignBudget) -> str:
    limit = ", and never longer than time_available" if budget.fits else ""
    held = plural(budget.assumed, "chat")
    return f"the times of tune and proof assume that the host holds {held}; they are longer if it holds fewer{limit}"


def demand(file: CampaignFile, peak_chats: int) -> Iterator[str]:
    """Yield the demand in sentences."""
    wanted = file.demand(1.0)
    length = duration(file.handling_time)
    rate = f"{number(round(wanted.arrivals_per_hour))} chats an hour at the peak"
    source = f" (the highest rate of {file.arrival_profile})" if file.arrival_profile else ""
    if wanted.agents is None:
        yield f"{rate}{source}, {length} each"
    else:
        patience = wanted.patience_s
        gives_up = "" if patience is None else f"; a waiting customer gives up after {duration(patience)} on average"
        yield f"{rate}{source}, {length} each with one of {number(file.agents or 0)} agents{gives_up}"
        yield f"with the wait for an agent, a chat is open for {duration(wanted.open_s)} on average"
    yield f"planned for {plural(peak_chats, 'chat')} open at once"
    yield f"at most {percent(file.target_drop_rate)} of the chats may be dropped"


def shorter(findings: Findings) -> Iterator[str]:
    """Yield what would make the steps shorter, and by how much."""
    file, budget = findings.file, findings.budget
    if file.flex_disconnect_timeout is None:
        yield "probe: flex_disconnect_timeout, if you know about what the server has: it need not be searched for"
    lower = replace(budget, ceiling=max(1, budget.ceiling // 2))
    if _least_s(CampaignStep.CAPACITY, lower) < _WORTH * _least_s(CampaignStep.CAPACITY, budget):
        said = _instead(CampaignStep.CAPACITY, lower, budget)
        yield f"capacity: max_sessions = {lower.ceiling}, if you know that the host holds no more: {said}"
    target = min(2 * file.target_drop_rate, 0.5)
    higher = replace(budget, chats=replace(budget.chats, target=target))
    for step in (CampaignStep.TUNE, CampaignStep.PROOF):
        if _least_s(step, higher) < _WORTH * _least_s(step, budget):
            yield f'{step}: target_drop_rate = "{100 * target:g}%": {_instead(step, higher, budget)}'
    if _least_s(CampaignStep.TUNE, budget):
        yield "tune: a shorter time_available: it then tries fewer intervals, with fewer chats each, or is left out"


def _least_s(step: CampaignStep, budget: CampaignBudget) -> float:
    return next(cost.least_s for cost in budget.costs() if cost.step is step)


def _instead(step: CampaignStep, changed: CampaignBudget, budget: CampaignBudget) -> str:
    return f"about {duration(_least_s(step, changed))} instead of {duration(_least_s(step, budget))}"


def refusal(file: Path, findings: Findings) -> UsageError:
    """Return why a campaign whose time is too short does not begin. file: that of the campaign."""
    budget = findings.budget
    missing = f"takes at least {duration(budget.least_s)}, and time_available is {duration(budget.time_s)}"
    more = ", or see above what would shorten it" if any(shorter(findings)) else ""
    return UsageError(f"{file}: the campaign {missing}", f"raise time_available{more}")


# -- a sentence for each step ----------------------------------------------------------------------


def step_sentence(step: CampaignStep, found: Findings) -> str:
    """Return what a step found, as a sentence without its capital and full stop."""
    return _SENTENCES[step](found)


def _doctor(found: Findings) -> str:
    checks = () if found.doctor is None else found.doctor.checks
    warnings = sum(check.state == "warn" for check in checks)
    return "nothing bad" + (f", {plural(warnings, 'warning')}" if warnings else "")


def probe_sentence(found: Findings) -> str:
    """Return what the timeout of the server is."""
    probe, said, bounds = found.probe, found.file.flex_disconnect_timeout, timeout_bounds(found)
    if probe is None or not bounds:
        return "no timeout was found"
    configured = f"; the file says {seconds(said)}" if said is not None and said != found.timeout_s else ""
    return f"the timeout of the server is {seconds(probe.timeout_s)} ({bounds}){configured}"


def timeout_bounds(found: Findings) -> str:
    """Return the bounds of the timeout that was measured, rounded outward; empty without one."""
    probe = found.probe
    if probe is None or probe.timeout_s is None or probe.timeout_lower_s is None or probe.timeout_upper_s is None:
        return ""
    steps = 100 if probe.timeout_lower_s >= 1 else 1000
    low, high = math.floor(steps * probe.timeout_lower_s) / steps, math.ceil(steps * probe.timeout_upper_s) / steps
    return f"{seconds(low)} to {seconds(high)}"


def capacity_sentence(found: Findings) -> str:
    """Return how many chats the host holds."""
    capacity = found.capacity
    if capacity is None:
        return "no capacity was found"
    interval = capacity.interval
    if interval is None:
        held = f"; {plural(capacity.held, 'chat')} were held" if capacity.held else ""
        return f"no limit of the host was found: {capacity.why or capacity.kind}{held}"
    if interval.lower == interval.upper:
        return f"the host holds {plural(interval.lower, 'chat')}, and refuses one more"
    sure = confidence(interval.confidence)
    return f"the host holds {number(interval.lower)} to {number(interval.upper)} chats ({sure} confidence)"


def tune_sentence(found: Findings) -> str:
    """Return which refresh interval is recommended."""
    best, tune = found.swept, found.tune
    if best is None or tune is None:
        return f"no interval is recommended; {seconds(found.interval_s)} is used, as in the capacity search"
    return (
        f"refresh every {seconds(best.interval_s)} ({best.fraction:g} of the timeout): at most "
        f"{bound_text(best.upper, up=True)} of the chats are dropped ({confidence(tune.confidence)} confidence)"
    )


def _plan(found: Findings) -> str:
    return "no plan" if found.plan is None else found.plan.answer


def proof_sentence(found: Findings) -> str:
    """Return what the run at the rate of the peak showed."""
    proof = found.proof
    if proof is None:
        return "no proof"
    drops, exposure = proof.exposure.dropped_per_chat_hour, proof.exposure
    bound = "" if drops.high is None else f", so at most {per_unit_text(drops.high, up=True)} per chat-hour"
    dropped = str(drops.least) if drops.least == drops.most else f"{drops.least} to {drops.most}"
    sessions = number(proof.sessions.accepted)
    return (
        f"{proof.result}: {arrivals_text(found)}; {dropped} of {sessions} dropped in "
        f"{exposure.chat_hours:.3g} chat-hours{bound} ({confidence(proof.confidence)} confidence)"
    )


def arrivals_text(found: Findings) -> str:
    """Return the load of the proof."""
    load = found.proof_load
    rate = number(round(3600 * load.rate_per_s(found.chats.length_s)))
    tested, needed = found.file.servers, 0 if found.plan is None else found.plan.servers.needed
    part = f" for {number(tested)} of {number(needed)} servers" if tested < needed else ""
    return f"{rate} chats an hour{part}, {load.chats:.3g} open at once on average"


_SENTENCES: Mapping[CampaignStep, Callable[[Findings], str]] = {
    CampaignStep.DOCTOR: _doctor,
    CampaignStep.PROBE: probe_sentence,
    CampaignStep.CAPACITY: capacity_sentence,
    CampaignStep.TUNE: tune_sentence,
    CampaignStep.PLAN: _plan,
    CampaignStep.PROOF: proof_sentence,
}


def result_sentence(result: CampaignResult) -> str:
    """Return how the campaign ended."""
    if result.rule.why:
        longer = "; another campaign (--dir) with more time_available may decide it"
        hint = longer if result.exit_code == INCONCLUSIVE else ""
        return f"the campaign ended with {result.step}: {result.rule.why}{hint}"
    return "the campaign is complete: the target was shown at the rate of the peak"
