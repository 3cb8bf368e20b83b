"""What a run of the benchmark leaves: every repetition as JSON, tables as Markdown, charts as SVG."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench import charts, goals
from bench.measures import MEASURES
from bench.noise import FOREIGN, STEAL, WAITED
from bench.results import Results, Scale, Section

RAW = "results.json"


def write(folder: Path, results: Results, scale: Scale, only: Sequence[str], facts: dict[str, Any]) -> None:
    """Everything of a run, also of one that is not over: index.md, results.json, a chart a file."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = {**facts, "measures": list(only), "repetitions": results.rows, "replaced": results.replaced}
    _write(folder / RAW, json.dumps(raw, indent=1) + "\n")
    sections = [MEASURES[name].section(scale, results) for name in only]
    for section in sections:
        for chart in section.charts:
            if chart.rows:
                _write(folder / f"{chart.name}.svg", charts.draw(chart))
        for name, text in section.files.items():
            _write(folder / name, text)
    reached = [] if scale.quick else goals.table(scale, results, only)
    _write(folder / "index.md", "\n".join(_page(sections, reached, results, scale, facts)))


def _write(path: Path, text: str) -> None:
    """A file is whole or not there."""
    unfinished = path.with_name(path.name + ".tmp")
    with unfinished.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(path)


def _page(
    sections: Iterable[Section],
    reached: Sequence[Sequence[str]],
    results: Results,
    scale: Scale,
    facts: dict[str, Any],
) -> Iterable[str]:
    yield from ("# Benchmark", "")
    if scale.quick:
        yield from ("**Tiny numbers (`--quick`): this shows that the benchmark works, and nothing else.**", "")
    yield from (f"{facts['started']}, {facts['machine']}. {facts['versions']}.", "")
    noisy = sum(not row["noise"]["quiet"] for row in results.rows if "noise" in row)
    measured = sum("noise" in row for row in results.rows)
    yield from (
        f"{measured} repetitions, {noisy} of them on a noisy machine; {len(results.replaced)} more were measured "
        "again, being noisy or asked for anew. A figure is the median of the quiet repetitions, "
        "with the least and the greatest in brackets; where not more than half were quiet it is the median of all, "
        '"noisy" stands beside it, and no ratio is formed with it. Noisy: a generator of one thread, or the server, '
        f"waited for the CPU more than {WAITED:.0%} of the time; other processes used more than {FOREIGN:.0%} of a "
        f"core; or the hypervisor took more than {STEAL:.0%}. docs/bench.md says how all of it is measured; "
        f"{RAW} has every repetition.",
        "",
    )
    if len(reached) > 1:
        yield from ("## Goals", "")
        yield from (*_table(reached), "")
    for section in sections:
        yield from (f"## {section.title}", "", section.text, "")
        yield from _table(section.table)
        for chart in section.charts:
            if chart.rows:
                yield from ("", f"![{chart.label}]({chart.name}.svg)")
        yield ""


def _table(table: Sequence[Sequence[str]]) -> Iterable[str]:
    head, *rows = table
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join(['---'] + ['---:'] * (len(head) - 1))}|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
