"""What a probe measured, as a document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatload.features.probe.measurement import KnownAge, Measurement
from chatload.render.document import Document, Section, Sentence, Tone, table
from chatload.render.output import read_schema
from chatload.render.words import plural, seconds

_NAMES = {"failed_request": "a failed request"}
_RESETS = {True: "resets the clock", False: "does not reset it", None: "unknown"}


def schema() -> dict[str, Any]:
    """Return the published JSON Schema of a measurement."""
    return read_schema("chatload.features.probe", "probe.schema.json")


def probe_document(found: Measurement) -> Document:
    """Return the measurement as a document."""
    rows = table("Measured", ("", "measured", "bounds"), tuple(_rows(found)), sides="lrl")
    opened = f"{plural(found.sessions_opened, 'chat')} opened, {found.sessions_max} at most"
    return Document(
        answer=Sentence(answer(found), Tone.WARN if found.timeout_s is None else Tone.PLAIN),
        sections=(
            Section("Measured", (rows,)),
            Section(
                "Remarks",
                (
                    *map(Sentence, _notes(found)),
                    *(Sentence(f"warning: {warning}", Tone.WARN) for warning in found.warnings),
                    Sentence(f"{opened}; it took {seconds(found.duration_s)}", Tone.SOFT),
                ),
            ),
        ),
    )


def answer(found: Measurement) -> str:
    """Return what was found, in one sentence."""
    if found.timeout_s is None:
        tried = f"chats survived silences of up to {seconds(found.silence_survived_s)}"
        if found.interrupted:
            return f"interrupted before any timeout showed: {tried}"
        return f"no flex-disconnect-timeout within the time allowed: {tried}"
    assert found.timeout_lower_s is not None and found.timeout_upper_s is not None
    bounds = f"between {_exact(found.timeout_lower_s)} and {_exact(found.timeout_upper_s)}"
    return f"the server's flex-disconnect-timeout is {_exact(found.timeout_s)}, {bounds}"


def _rows(found: Measurement) -> Iterator[tuple[str, str, str]]:
    if found.timeout_s is not None:
        yield "timeout", _exact(found.timeout_s), f"{_exact(found.timeout_lower_s)} to {_exact(found.timeout_upper_s)}"
        yield "sweep", *_sweep(found)
        for name, resets in found.resets_clock.items():
            yield _NAMES.get(name, name), _RESETS[resets], ""
        yield "dropped chats answer", found.dropped_answer or "unknown", ""
    yield "longest silence survived", seconds(found.silence_survived_s), ""
    if found.silence_dropped_s is not None:
        yield "shortest silence that dropped a chat", seconds(found.silence_dropped_s), "at most"
    if found.timeout_s is not None:
        yield "dropped chats stay known", *_age(found.dropped_known)
    yield "disconnected chats stay known", *_age(found.disconnected_known)


def _sweep(found: Measurement) -> tuple[str, str]:
    lower, upper = found.sweep_lower_s or 0.0, found.sweep_upper_s
    if upper is None:
        return ("coarse" if lower > 0 else "unknown"), f"at least {seconds(lower)}" if lower > 0 else ""
    if not found.sweep_s:
        return "none seen", f"at most {seconds(upper)}"
    return seconds(found.sweep_s), f"{seconds(lower)} to {seconds(upper)}"


def _age(age: KnownAge) -> tuple[str, str]:
    if age.lower_s is None:
        return ("not asked", "") if age.upper_s is None else ("not at all", f"forgotten within {seconds(age.upper_s)}")
    if age.upper_s is None:
        return f"{seconds(age.lower_s)} or longer", "as long as asked"
    return f"about {seconds((age.lower_s + age.upper_s) / 2)}", f"{seconds(age.lower_s)} to {seconds(age.upper_s)}"


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
    if found.disconnected_known.lower_s is not None:
        yield f"A dialect for this server may say keeps_ended_s = {found.disconnected_known.lower_s:.1f}."


def _exact(value: float | None) -> str:
    """A timeout to the hundredth; below 10 s to the thousandth."""
    if value is None:
        return ""
    return f"{value:.3f} s" if value < 10 else f"{value:.2f} s"
