"""What a probe measured, for a terminal or a CI log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import IO, Any

from chatload.features.probe.measurement import KnownAge, Measurement
from chatload.render.terminal import paper, print_line, print_table
from chatload.render.words import plural, seconds

_NAMES = {"failed_request": "a failed request"}
_RESETS = {True: "resets the clock", False: "does not reset it", None: "not found out"}


def schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of a measurement."""
    text = (resources.files("chatload.features.probe") / "probe.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def render_probe(found: Measurement, stream: IO[str], width: int = 80) -> None:
    """Write a measurement to `stream`, `width` columns wide; plain text where it is no terminal."""
    with paper(stream, width) as console:
        print_line(console, answer(found), "bold" if found.timeout_s is not None else "bold yellow")
        print_table(console, ("", "measured", "bounds"), _rows(found), last_left=True)
        console.print()
        for note in _notes(found):
            print_line(console, note)
        for warning in found.warnings:
            print_line(console, f"warning: {warning}", "yellow")
        opened = f"{plural(found.sessions_opened, 'chat')} opened, {found.sessions_max} at most"
        print_line(console, f"{opened}; it took {seconds(found.duration_s)}", "dim")


def answer(found: Measurement) -> str:
    """The one sentence."""
    if found.timeout_s is None:
        tried = f"silences of up to {seconds(found.silence_survived_s)} were lived through"
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
        yield "dropped chats answer", found.dropped_answer or "not found out", ""
    yield "silence that chats outlived", seconds(found.silence_survived_s), ""
    if found.silence_dropped_s is not None:
        yield "silence that ended one", seconds(found.silence_dropped_s), "at most"
    if found.timeout_s is not None:
        yield "dropped chats stay known", *_age(found.dropped_known)
    yield "disconnected ones stay known", *_age(found.disconnected_known)


def _sweep(found: Measurement) -> tuple[str, str]:
    lower, upper = found.sweep_lower_s or 0.0, found.sweep_upper_s
    if upper is None:
        return ("coarse" if lower > 0 else "not found out"), f"at least {seconds(lower)}" if lower > 0 else ""
    if not found.sweep_s:
        return "none to be seen", f"at most {seconds(upper)}"
    return seconds(found.sweep_s), f"{seconds(lower)} to {seconds(upper)}"


def _age(age: KnownAge) -> tuple[str, str]:
    if age.lower_s is None:
        return ("not asked", "") if age.upper_s is None else ("not at all", f"forgotten within {seconds(age.upper_s)}")
    if age.upper_s is None:
        return f"{seconds(age.lower_s)} or longer", "as long as asked"
    return f"about {seconds((age.lower_s + age.upper_s) / 2)}", f"{seconds(age.lower_s)} to {seconds(age.upper_s)}"


def _notes(found: Measurement) -> Iterator[str]:
    """What the figures mean for who is to keep chats alive."""
    if found.timeout_s is None:
        return
    if found.sweep_s:
        yield (
            "The server looks for silent chats only so often: one lives on after the timeout until the next look. "
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
