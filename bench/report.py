"""The files of a run of the benchmark: every repetition as JSON, tables as Markdown, charts as SVG."""

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
    """Write all files of a run, also of an unfinished one: index.md, results.json, one file per chart."""
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
    """Write a file so that it is complete or absent."""
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
        yield from ("**Small numbers (`--quick`): this shows only that the benchmark works.**", "")
    yield from (f"{facts['started']}, {facts['machine']}. {facts['versions']}.", "")
    noisy = sum(not row["noise"]["quiet"] for row in results.rows if "noise" in row)
    measured = sum("noise" in row for row in results.rows)
    yield from (
        f"{measured} repetitions, {noisy} of them on a noisy machine. {len(results.replaced)} others were measured "
        "again, because they were noisy or a new measurement was requested. A figure is the median of the quiet "
        "repetitions, with the smallest and the largest in brackets. If at most half of them were quiet, it is the "
        'median of all, is marked "noisy", and no ratio is formed with it. A repetition is noisy if a generator with '
        f"one thread, or the server, waited for the CPU for more than {WAITED:.0%} of the time; if other processes "
        f"used more than {FOREIGN:.0%} of a core; or if the hypervisor took more than {STEAL:.0%}. docs/bench.md "
        f"describes the method; {RAW} has every repetition.",
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
