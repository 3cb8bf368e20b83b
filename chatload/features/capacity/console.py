"""What a capacity search found, as text for a terminal or a CI log."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import IO, Any

from chatload.features.capacity.view import answer, sentences
from chatload.render.words import number, seconds

HEADS = ("sessions", "step", "outcome", "p50", "p95", "refused", "dropped", "requests/s", "own lateness p99")
_LEFT = ("step", "outcome")


def render(facts: Mapping[str, Any], stream: IO[str], width: int = 80) -> None:
    """Write the answer, what must be said with it, and a line a step."""
    stream.write("\n")
    for text in (answer(facts), *sentences(facts)):
        stream.write("\n".join(textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)) + "\n")
    rows = [step_row(step) for step in facts["steps"]]
    heads = (*HEADS[:-1], "lateness")
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    stream.write("\n")
    for row in (heads, *rows):
        cells = (
            cell.ljust(wide) if head in _LEFT else cell.rjust(wide)
            for cell, head, wide in zip(row, heads, widths, strict=True)
        )
        stream.write(f"{'  '.join(cells)}".rstrip() + "\n")


def step_row(step: Mapping[str, Any]) -> tuple[str, ...]:
    """A step's cells, in the order of HEADS."""
    rate = step["requests_per_s"]
    return (
        number(step["load"]), step["purpose"], step["outcome"],
        seconds(step["latency_p50_s"]), seconds(step["latency_p95_s"]), number(step["refused"]),
        number(step["dropped"]), "" if rate is None else f"{rate:.4g}", seconds(step["lateness_p99_s"]),
    )  # fmt: skip
