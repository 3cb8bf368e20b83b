"""The sign-off as a document, which prints on two sheets of paper, and as JSON."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from chatload import __version__
from chatload.features.campaign.findings import Findings
from chatload.features.campaign.view import (
    capacity_sentence,
    demand,
    probe_sentence,
    proof_sentence,
    timeout_bounds,
    tune_sentence,
)
from chatload.features.signoff.compute import SignedStep, SignOff, SignOffResult
from chatload.render.document import (
    Badge,
    Block,
    Bullets,
    Code,
    Document,
    Fold,
    Section,
    Sentence,
    Table,
    TableCell,
    TableRow,
    Terms,
    Text,
    Tile,
    Tone,
    Verbatim,
    columns,
    table,
)
from chatload.render.words import duration, instant, number, percent, plural, seconds
from chatload.stats.rates import bound_text

#: `schema_version` of the JSON this code makes.
SCHEMA_VERSION = 2
_TONES = {
    SignOffResult.PROVEN: Tone.GOOD,
    SignOffResult.NOT_MET: Tone.BAD,
    SignOffResult.INCONCLUSIVE: Tone.WARN,
    SignOffResult.INCOMPLETE: Tone.WARN,
}
_SIGNING = ("Name", "Date", "Signature")
#: Room to write in (no-break spaces).
_BLANK = "\u00a0" * 30


def answer(signed: SignOff) -> str:
    """Return the answer in one sentence."""
    found, plan = signed.found, signed.found.plan
    if plan is None:
        return f"no answer yet: {signed.stopped}"
    needed, spare = number(plan.servers.needed), number(plan.servers.spare)
    servers = f"{plural(plan.servers.total, 'server')}: {needed} carry the peak, {spare} to spare"
    said = f"{servers}; each chat is refreshed every {seconds(found.interval_s)}"
    return said if signed.result is SignOffResult.PROVEN else f"{said} ({signed.stopped})"


def signoff_document(signed: SignOff) -> Document:
    """Return the page: one sheet for the decision, and one with the facts that it rests on."""
    found = signed.found
    title = found.file.title or f"Chat service {found.file.service} on {found.file.host}"
    return Document(
        Sentence(answer(signed), strong=True),
        (
            Section("The demand", (Bullets([*demand(found.file, _peak(found)), _tested(found)]),)),
            Section("The answer", (Terms(list(_figures(signed))),)),
            Section("What is assumed and was not measured", (Bullets(list(signed.assumptions)),)),
            Section("Permission", (Bullets(list(_permission(signed))),)),
            Section("Signatures", (_signatures(signed),)),
            Section("Appendix: what was measured", list(_measured(signed)), new_sheet=True),
            Section("Files and their SHA-256", (Bullets(_files(signed)),)),
            Section("Machine and versions", (Bullets(_machines(signed)), _commands(signed))),
        ),
        badge=Badge(signed.result.value, _TONES[signed.result]),
        tiles=list(_tiles(signed)),
        lead=[Sentence((title, f", {instant(signed.made_at, '%Y-%m-%d %H:%M UTC')}"), Tone.SOFT)],
        title=f"Sign-off: {title}",
        footer=f"chatload {__version__}; chatload signoff {found.folder} makes this page again from the same files.",
    )


def _tiles(signed: SignOff) -> Iterator[Tile]:
    """Yield the figures of the answer that are there: servers, chats, refresh interval, timeout, and drops."""
    found, plan, proof = signed.found, signed.found.plan, signed.found.proof
    if plan is not None:
        spare = f"{number(plan.servers.needed)} carry the peak, {number(plan.servers.spare)} to spare"
        yield Tile("servers", number(plan.servers.total), spare, _TONES[signed.result])
        yield Tile("chats at the peak", number(_peak(found)), "open at once")
        yield Tile("refresh every", seconds(found.interval_s), "each chat")
    bounds = timeout_bounds(found)
    if found.probe is not None and bounds:
        yield Tile("timeout", seconds(found.probe.timeout_s), f"{bounds}, by the probe")
    else:
        yield Tile("timeout", seconds(found.timeout_s), "as the file says")
    if found.capacity is not None:
        yield Tile("one host", number(found.capacity.held), "chats held")
    if proof is not None:
        dropped = proof.exposure.dropped_per_chat_hour
        count = number(dropped.most) if dropped.least == dropped.most else f"{dropped.least} to {dropped.most}"
        yield Tile("dropped", count, f"of {plural(proof.sessions.accepted, 'session')} of the proof")


def _tested(found: Findings) -> str:
    file = found.file
    return f"tested on {file.host} ({plural(file.servers, 'server')}, service {file.service})"


def _peak(found: Findings) -> int:
    return found.budget.peak.chats if found.plan is None else found.plan.peak.chats


def _figures(signed: SignOff) -> Iterator[tuple[str, str]]:
    """Yield the figures of the answer, each with how sure it is."""
    found, plan = signed.found, signed.found.plan
    if plan is not None:
        yield "servers", plan.answer
        if plan.doubt is not None:
            shown = [row for row in plan.doubt.chances if 0 <= plan.servers.needed - row.servers <= 1]
            chances = ", ".join(f"{row.servers} with a chance of {bound_text(row.chance, up=False)}" for row in shown)
            yield "enough", f"{chances}, at a random instant of the peak"
        yield "room to grow", f"one more server is needed if the chats per hour grow by {percent(plan.headroom - 1)}"
    if found.capacity is not None:
        yield "one host", capacity_sentence(found)
    if found.probe is not None:
        yield "timeout", probe_sentence(found)
    if found.tune is not None:
        yield "refresh interval", tune_sentence(found)
    if found.proof is not None:
        yield "proof", proof_sentence(found)


def _signatures(signed: SignOff) -> Table:
    # The empty note leaves room to write in.
    rows = [TableRow([role, *([_BLANK] * len(_SIGNING))], note=_BLANK[0]) for role in signed.found.file.signers]
    return Table("Signatures", columns(("Role", *_SIGNING), "llll"), rows)


def _measured(signed: SignOff) -> Iterator[Block]:
    yield Terms([(step.step.value, f"{step.found} ({_when(step)})") for step in signed.steps])
    for step in signed.steps:
        if step.attempts:
            yield Sentence(f"{step.step} began {plural(step.attempts, 'time')} before, without an answer")
    if signed.found.proof is not None:
        thresholds = signed.found.proof.thresholds
        judged = [(TableCell(Code(row.expression)), row.result) for row in thresholds]
        yield table("What the proof had to show", ("the proof had to show", "result"), judged, sides="ll")
        yield Fold(
            "The ground of each result", [Bullets([(Code(row.expression), f": {row.why}") for row in thresholds])]
        )


def _when(step: SignedStep) -> str:
    took = step.end.ended_at - step.end.began_at
    return instant(step.end.began_at, "%Y-%m-%d %H:%M UTC") + (f", {duration(took)}" if took else "")


def _permission(signed: SignOff) -> Iterator[str]:
    yield f"approval: {signed.approval_id or 'none given in chatload.toml'}"
    yield f"allowed hours: {'; '.join(signed.hours) or 'not limited in chatload.toml'}"
    rules = signed.found.rules
    ceilings = {"sessions": rules.max_sessions, "requests/s": rules.max_requests_per_s}
    limits = [f"{limit:g} {what}" for what, limit in ceilings.items() if limit is not None]
    yield f"ceilings: {', '.join(limits) or 'none in chatload.toml'}"


def _files(signed: SignOff) -> list[Text]:
    files = [*signed.inputs, *((step.path, step.sha256) for step in signed.steps if step.path)]
    return [(f"{path}: ", Code(digest)) for path, digest in files]


def _machines(signed: SignOff) -> list[str]:
    return list(dict.fromkeys(step.end.machine for step in signed.steps if step.end.machine)) or ["not recorded"]


def _commands(signed: SignOff) -> Fold:
    lines = [shlex.join(_short(step.end.command)) for step in signed.steps if step.end.command]
    return Fold("The command of each step", [Verbatim("\n\n".join(lines))])


def _short(command: Sequence[str]) -> Sequence[str]:
    """Return a command without the path of Python: `chatload ...` or `locust ...`."""
    return command[2:] if command[1:2] == ("-m",) else command


def to_dict(signed: SignOff) -> dict[str, Any]:
    """Return the published JSON (signoff.schema.json). Durations are seconds, shares fractions."""
    found, plan = signed.found, signed.found.plan
    file, interval, probe = found.file, None if found.capacity is None else found.capacity.interval, found.probe
    return {
        "schema_version": SCHEMA_VERSION,
        "chatload_version": __version__,
        "made_at": signed.made_at,
        "title": file.title,
        "result": signed.result.value,
        "stopped": signed.stopped,
        "answer": answer(signed),
        "demand": {
            "host": file.host, "service": file.service, "servers_tested": file.servers,
            "chats_per_hour": found.demand.arrivals_per_hour, "handling_time_s": file.handling_time,
            "agents": file.agents, "patience_s": file.patience, "mean_open_s": found.chats.length_s,
            "arrival_profile": file.arrival_profile or None, "persona": file.persona,
            "target_drop_rate": file.target_drop_rate, "chats_at_peak": _peak(found),
        },
        "servers": None if plan is None else plan.servers.model_dump(),
        "headroom": None if plan is None else plan.headroom,
        "chances": [] if plan is None or plan.doubt is None else [row.model_dump() for row in plan.doubt.chances],
        "refresh_interval_s": None if plan is None else found.interval_s,
        "timeout": {
            "configured_s": file.flex_disconnect_timeout, "used_s": found.timeout_s,
            "measured_s": None if probe is None else probe.timeout_s,
            "lower_s": None if probe is None else probe.timeout_lower_s,
            "upper_s": None if probe is None else probe.timeout_upper_s,
        },
        "capacity": None if interval is None else interval.model_dump(),
        "sweep": None if found.swept is None else found.swept.model_dump(),
        "proof": None if found.proof is None else {
            "chats_per_hour": 3600 * found.proof_load.rate_per_s(found.chats.length_s),
            "mean_chats": found.proof_load.chats, "part_of_rate": found.proof_load.part,
            **found.proof.model_dump(exclude={"settings", "rates"}),
        },
        "inputs": [{"file": path, "sha256": digest} for path, digest in signed.inputs],
        "steps": [
            {
                "step": step.step.value, "found": step.found, "exit_code": step.end.exit_code,
                "began_at": step.end.began_at, "ended_at": step.end.ended_at, "command": list(step.end.command),
                "file": step.path, "sha256": step.sha256, "attempts": step.attempts, "machine": step.end.machine,
            }
            for step in signed.steps
        ],
        "permission": {
            "approval_id": signed.approval_id, "allowed_hours": list(signed.hours),
            "max_sessions": found.rules.max_sessions, "max_requests_per_s": found.rules.max_requests_per_s,
        },
        "assumptions": list(signed.assumptions),
        "signers": list(file.signers),
    }  # fmt: skip
