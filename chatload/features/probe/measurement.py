"""The result of a probe: figures with their bounds, warnings, and the document that says them."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from chatload import __version__
from chatload.features.probe.bounds import TimeoutBounds, spanned
from chatload.features.probe.evidence import OPERATIONS, PRECISION, KnownCheck
from chatload.features.probe.probe import Probe
from chatload.render import charts
from chatload.render.document import Badge, Chart, Document, Section, Sentence, Tile, Tone, table
from chatload.render.words import plural, seconds

#: A configured value this close to a bound (seconds) counts as equal.
_ROUNDING_S = 1e-3
_NAMES = {"failed_request": "a failed request"}
_RESETS = {True: "resets the clock", False: "does not reset it", None: "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The result of a probe, as the published JSON (probe.schema.json) has it; docs/probe.md describes each figure.

    Times are in seconds. The timeout and its bounds are None if no chat was dropped; those of the sweep if its upper
    bound is not known. An ended chat stays known for at least ended_known_s, None if it was not known at the first
    question, and less than ended_known_upper_s, None if it was never forgotten; likewise a disconnected one.
    """

    timeout_s: float | None = None
    timeout_lower_s: float | None = None
    timeout_upper_s: float | None = None
    configured_s: float | None
    silence_survived_s: float
    silence_dropped_s: float | None = None
    sweep_s: float | None = None
    sweep_lower_s: float | None = None
    sweep_upper_s: float | None = None
    resets_clock: dict[str, bool | None]
    dropped_answer: str | None = None
    ended_known_s: float | None = None
    ended_known_upper_s: float | None = None
    disconnected_known_s: float | None
    disconnected_known_upper_s: float | None
    sessions_opened: int
    sessions_max: int
    duration_s: float
    longest_s: float
    interrupted: bool
    counts: dict[str, int]
    warnings: list[str]

    def to_dict(self) -> dict[str, Any]:
        return {"schema_version": 1, "chatload_version": __version__, **asdict(self)}


def measurement(probe: Probe) -> Measurement:
    """Return what the probe has measured so far, or at its end."""
    board, sweep = probe.board, probe.board.sweep
    found = spanned(board.silences, board.bounds)
    counts = {
        "survived": sum(silence.ended_by is None for silence in board.silences),
        "dropped": len(found.drops),
        "odd": len(found.odd),
        "ended_by_agent": board.counts["agent"],
        "closed_idle": board.counts["idle"],
        "not_opened": board.counts["not_opened"],
        "lost": sum(chat.lost and chat.opened for chat in probe.chats),
        "unclear_requests": board.counts["unclear"],
        "goodbyes_unconfirmed": sum(chat.opened and not chat.ended for chat in probe.chats),
    }
    left_known_s, left_known_upper_s = _age(board.left_known, 0.0)
    result = Measurement(
        configured_s=probe.settings.configured_s,
        silence_survived_s=board.longest_survived_s,
        resets_clock=dict.fromkeys(OPERATIONS),
        disconnected_known_s=left_known_s,
        disconnected_known_upper_s=left_known_upper_s,
        sessions_opened=board.counts["opened"],
        sessions_max=probe.settings.chats,
        duration_s=probe.ended_at - probe.begun_at,
        longest_s=probe.settings.longest_s,
        interrupted=probe.interrupted,
        counts=counts,
        warnings=list(_warnings(probe, found, counts)),
    )
    # A single drop may have had another reason; so may all, if nothing shows that a chat was alive after its opening.
    if len(found.drops) < 2 or _no_chat_lived(probe):
        return result
    checks = [check for check in board.known if check.end in found.drops]
    known_s, known_upper_s = _age(checks, found.lower_s)
    sweep_s: float | None = sweep.lower_s if sweep.likely_s is None else sweep.likely_s
    if sweep.lower_s <= _ROUNDING_S:  # nothing shows that it is coarse
        sweep_s = None if sweep.upper_s is None else 0.0
    # A survived silence is longer than the timeout only under a coarse sweep, which shows in survived silences that are
    # longer than fatal ones.
    longest = board.longest_survived_s
    likely_lower_s = max(found.lower_s, longest) if longest < found.upper_s else found.lower_s
    return replace(
        result,
        timeout_s=(likely_lower_s + found.upper_s) / 2,
        timeout_lower_s=found.lower_s,
        timeout_upper_s=found.upper_s,
        silence_dropped_s=found.drops[0].dropped_s,
        sweep_s=sweep_s,
        sweep_lower_s=sweep.lower_s,
        sweep_upper_s=sweep.upper_s,
        resets_clock={name: board.resets(name) for name in OPERATIONS},
        dropped_answer=("0/true" if any(check.known for check in checks) else "2") if checks else None,
        ended_known_s=known_s,
        ended_known_upper_s=known_upper_s,
    )


def _no_chat_lived(probe: Probe) -> bool:
    """Return whether chats ended, and nothing shows that any chat was alive at some time after its opening."""
    board = probe.board
    survived = any(silence.ended_by is None for silence in board.silences)
    return bool(board.bounds.drops) and board.bounds.lower_s <= 0 and not survived


def _age(checks: Sequence[KnownCheck], timeout_lower_s: float) -> tuple[float | None, float | None]:
    """Return bounds of the age at which an ended chat is forgotten, by the least favourable reading of each answer."""
    ends = [(check, check.end.end(timeout_lower_s)) for check in checks]
    known = [check.asked.earliest - end.latest for check, end in ends if check.known]
    forgotten = [check.asked.latest - end.earliest for check, end in ends if not check.known]
    return max(0.0, *known) if known else None, min(forgotten, default=None)


def _warnings(probe: Probe, found: TimeoutBounds, counts: dict[str, int]) -> Iterator[str]:
    board = probe.board
    told = len(found.drops) > 1 and not _no_chat_lived(probe)
    if _no_chat_lived(probe):
        yield (
            "each chat had ended by the first request after RequestChat: the server may refuse these requests (keys, "
            "--service, --dialect), and then this is no timeout"
        )
    if probe.interrupted:
        yield "interrupted: what was measured until then"
    if probe.jumped_s:
        yield (
            f"this machine was suspended or paused for {seconds(probe.jumped_s)}, or its clock was set ahead by that: "
            "after a pause the bounds are too low. Repeat the probe"
        )
    configured = probe.settings.configured_s
    if told and configured is not None:
        if not found.lower_s - _ROUNDING_S <= configured <= found.upper_s + _ROUNDING_S:
            way = "shorter" if found.upper_s < configured else "longer"
            yield (
                f"the server's timeout is {way} than the {configured:g} s configured: "
                f"{found.lower_s:.2f} to {found.upper_s:.2f} s"
            )
    elif configured is not None and board.longest_survived_s > configured:
        yield f"{configured:g} s are configured, but chats were silent for {board.longest_survived_s:.1f} s and lived"
    if found.contradicts:
        yield (
            "the server's answers contradict each other, and the bounds span what they say: the timeout may have been "
            "changed during the probe, or some chats have another timeout"
        )
    elif told and (width_s := found.upper_s - found.lower_s) > max(PRECISION * found.upper_s, board.sweep.lower_s):
        apart = f"{100 * width_s / found.upper_s:.1f} % apart"
        yield f"the bounds are {apart}: slow or failing requests, or a change of the timeout, blur them"
    if len(found.drops) == 1:
        yield f"one chat alone ended, after at most {found.drops[0].dropped_s:.2f} s: that may have had another reason"
    if counts["odd"]:
        yield (
            f"{counts['odd']} chats ended though others that had been silent for longer lived on: they ended for "
            "reasons of their own, or the server does not look at all chats at once"
        )
    if "failed_request" in board.taken:
        yield "the server took the request that was meant to fail (SendMessage without a message)"
    for name in OPERATIONS if told else ():
        if board.resets(name) is None and name not in board.taken:
            yield f"whether {name} resets the clock was not found out"
    if counts["not_opened"]:
        yield f"{counts['not_opened']} chats could not be opened: {board.refusal}"
    for kind, what in (("ended_by_agent", "ended by an agent"), ("closed_idle", "closed by inactivity control")):
        if counts[kind]:
            yield f"{counts[kind]} chats were {what} before they could be dropped for silence: they count for nothing"
    if counts["lost"]:
        yield f"{counts['lost']} chats were given up: none of several requests got a clear answer"
    if counts["goodbyes_unconfirmed"]:
        yield f"{counts['goodbyes_unconfirmed']} chats may still be open: their goodbye was not confirmed"


def probe_document(found: Measurement) -> Document:
    rows = table("Measured", ("figure", "measured", "bounds"), tuple(_rows(found)), sides="lrl")
    opened = f"{plural(found.sessions_opened, 'chat')} opened, {found.sessions_max} at most"
    warnings = [Sentence(f"warning: {warning}", Tone.WARN) for warning in found.warnings]
    remarks = [
        *map(Sentence, _notes(found)),
        Sentence(f"{opened}; it took {seconds(found.duration_s)}", Tone.SOFT),
    ]
    said = Sentence(answer(found), Tone.WARN if found.timeout_s is None else Tone.PLAIN)
    word, tone = ("not measured", Tone.WARN) if found.timeout_s is None else ("measured", Tone.GOOD)
    badge = Badge(word, tone, in_text=False)
    sections = (Section("Measured", (rows,)), Section("Remarks", remarks))
    return Document(said, sections, badge, warnings, tiles=list(_tiles(found)), overview=_chart(found))


def _chart(found: Measurement) -> Chart | None:
    """Return how long chats may be silent: what they survived, the timeout, and what dropped them; None without one."""
    if found.timeout_s is None or found.silence_dropped_s is None:
        return None
    longest = max(found.longest_s, found.silence_survived_s)
    spans = [
        ("survived", 0.0, found.silence_survived_s, None, "var(--pass)"),
        ("timeout", found.timeout_lower_s, found.timeout_upper_s, found.timeout_s, "var(--good)"),
        ("dropped", found.silence_dropped_s, longest, None, "var(--bad)"),
    ]
    if found.configured_s is not None:
        spans.append(("configured", found.configured_s, found.configured_s, found.configured_s, "var(--warn)"))
    rows: list[dict[str, Any]] = [
        {"name": name, "low": low, "high": high, "at": at, "colour": colour,
         "tip": f"{name}: {seconds(low)} to {seconds(high)}"}
        for name, low, high, at, colour in spans
    ]  # fmt: skip
    across = {"type": "quantitative", "title": "silence of a chat, s", "axis": {"grid": True}}
    said = "green: silences that chats survived; blue: the timeout with its bounds; red: silences that dropped a chat"
    said += "; amber: the timeout that is configured" if found.configured_s is not None else ""
    told = ", ".join(row["tip"] for row in rows)
    return Chart("How long a chat may be silent", charts.intervals(rows, across), said, told)


def _tiles(found: Measurement) -> Iterator[Tile]:
    """Yield timeout, the silences it follows from, and the chats that were opened."""
    if found.timeout_s is None:
        dropped = found.counts["dropped"] > 1
        why = "no chat lived until its first refresh" if dropped else "no chat was dropped"
        yield Tile("timeout", "unknown", why, Tone.WARN)
    else:
        bounds = f"{_exact(found.timeout_lower_s)} to {_exact(found.timeout_upper_s)}"
        yield Tile("timeout", _exact(found.timeout_s), bounds, Tone.GOOD)
    yield Tile("survived", seconds(found.silence_survived_s), "the longest silence of a chat that lived")
    if found.silence_dropped_s is not None:
        yield Tile("dropped", seconds(found.silence_dropped_s), "the shortest silence that dropped a chat, at most")
    if found.timeout_s is not None:
        value, detail = _sweep_cells(found)
        yield Tile("sweep", value, detail)
        yield Tile("dropped chats answer", found.dropped_answer or "unknown")
    opened = f"{found.sessions_max} at most, in {seconds(found.duration_s)}"
    yield Tile("chats opened", str(found.sessions_opened), opened)


def answer(found: Measurement) -> str:
    """Return what was found, in one sentence."""
    if found.timeout_s is None:
        tried = f"chats survived silences of up to {seconds(found.silence_survived_s)}"
        if found.interrupted:
            return f"interrupted before any timeout showed: {tried}"
        if found.counts["dropped"] > 1:
            return "no flex-disconnect-timeout was measured: no chat lived until its first refresh"
        return f"no flex-disconnect-timeout within the time allowed: {tried}"
    bounds = f"between {_exact(found.timeout_lower_s)} and {_exact(found.timeout_upper_s)}"
    return f"the server's flex-disconnect-timeout is {_exact(found.timeout_s)}, {bounds}"


def _rows(found: Measurement) -> Iterator[tuple[str, str, str]]:
    if found.timeout_s is not None:
        yield "timeout", _exact(found.timeout_s), f"{_exact(found.timeout_lower_s)} to {_exact(found.timeout_upper_s)}"
        yield "sweep", *_sweep_cells(found)
        for name, resets in found.resets_clock.items():
            yield _NAMES.get(name, name), _RESETS[resets], ""
        yield "dropped chats answer", found.dropped_answer or "unknown", ""
    yield "longest silence survived", seconds(found.silence_survived_s), ""
    if found.silence_dropped_s is not None:
        yield "shortest silence that dropped a chat", seconds(found.silence_dropped_s), "at most"
    if found.timeout_s is not None:
        yield "dropped chats stay known", *_age_cells(found.ended_known_s, found.ended_known_upper_s)
    yield "disconnected chats stay known", *_age_cells(found.disconnected_known_s, found.disconnected_known_upper_s)


def _sweep_cells(found: Measurement) -> tuple[str, str]:
    lower, upper = found.sweep_lower_s or 0.0, found.sweep_upper_s
    if upper is None:
        return ("coarse" if lower > 0 else "unknown"), f"at least {seconds(lower)}" if lower > 0 else ""
    if not found.sweep_s:
        return "none seen", f"at most {seconds(upper)}"
    return seconds(found.sweep_s), f"{seconds(lower)} to {seconds(upper)}"


def _age_cells(lower: float | None, upper: float | None) -> tuple[str, str]:
    if lower is None:
        return ("not asked", "") if upper is None else ("not at all", f"forgotten within {seconds(upper)}")
    if upper is None:
        return f"{seconds(lower)} or longer", "as long as asked"
    return f"about {seconds((lower + upper) / 2)}", f"{seconds(lower)} to {seconds(upper)}"


def _notes(found: Measurement) -> Iterator[str]:
    """Yield what the figures mean for the choice of a refresh interval."""
    if found.timeout_s is None:
        return
    if found.sweep_s:
        yield (
            "The server checks for silent chats at intervals: a chat lives on after the timeout until the next check. "
            "Refresh within the timeout all the same."
        )
    configured, lower, upper = found.configured_s, found.timeout_lower_s, found.timeout_upper_s
    if configured is not None and lower is not None and upper is not None and lower <= configured <= upper:
        yield f"That agrees with the {configured:g} s configured."
    if found.disconnected_known_s is not None:
        yield f"A dialect for this server may say keeps_ended_s = {found.disconnected_known_s:.1f}."


def _exact(value: float | None) -> str:
    """A timeout to the hundredth; below 10 s to the thousandth."""
    if value is None:
        return ""
    return f"{value:.3f} s" if value < 10 else f"{value:.2f} s"
