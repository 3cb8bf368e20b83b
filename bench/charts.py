"""Charts of the benchmark: Vega-Lite, drawn as SVG on white."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import vl_convert

from bench.generators import ARTILLERY_PEER, FAST, K6, NAIVE, OURS, OURS_REQUESTS

_COLOURS = {
    OURS.name: "#0b6bcb", OURS_REQUESTS.name: "#7aa7d9", f"{OURS.name}, shared": "#0b8f6b", K6.name: "#7d4cdb",
    ARTILLERY_PEER.name: "#c2410c", FAST.name: "#b7791f", NAIVE.name: "#9b2c2c", "wrk": "#666666",
}  # fmt: skip
_Row = dict[str, Any]


def draw(results: Mapping[str, Any], folder: Path) -> list[tuple[str, str]]:
    """Write what can be drawn; (file name, what it shows) of each."""
    rows = _rows(results)
    made = [
        _write(folder, "lateness.svg", rows, "late", "p99.9 of the error between two refreshes, ms", log=True,
               text="How late refreshes are, the more chats are held"),
        _write(folder, "memory.svg", rows, "kb", "kB a chat", log=True, text="Memory a chat, the more are held"),
        _write(folder, "cpu.svg", rows, "us", "CPU us a refresh", log=True, text="CPU a refresh, the more are held"),
    ]  # fmt: skip
    return [each for each in made if each is not None]


def _rows(results: Mapping[str, Any]) -> list[_Row]:
    bases = {row["generator"]: row["rss"] for row in results.get("base", ()) if row["rss"]}
    found = []
    for kind, more in (("held", ""), ("shared", ", shared")):
        for row in results.get(kind, ()):
            if row["failed"] or not row["gap"]:
                continue
            base = bases.get(row["generator"])
            found.append({
                "generator": row["generator"] + more, "chats": row["chats"], "late": 1000 * row["gap"]["p99_9"],
                "us": row["cpu_us"], "kb": (row["rss"] - base) / row["held"] / 1000 if base else None,
            })  # fmt: skip
    return found


def _write(
    folder: Path, name: str, rows: Iterable[_Row], field: str, title: str, *, log: bool, text: str
) -> tuple[str, str] | None:
    values = [row for row in rows if row[field] is not None and row[field] > 0]
    if not values:
        return None
    names = list(dict.fromkeys(row["generator"] for row in values))
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white", "width": 720, "height": 300, "padding": 12,
        "data": {"values": values},
        "mark": {"type": "line", "point": {"size": 60}, "strokeWidth": 2},
        "encoding": {
            "x": {"field": "chats", "type": "quantitative", "scale": {"type": "log"}, "title": "chats held"},
            "y": {"field": field, "type": "quantitative", "scale": {"type": "log"} if log else {}, "title": title},
            "color": {"field": "generator", "type": "nominal", "title": None, "sort": names,
                      "scale": {"domain": names, "range": [_COLOURS.get(each, "#444444") for each in names]}},
        },
        "config": {"font": "system-ui, sans-serif", "view": {"stroke": None}},
    }  # fmt: skip
    (folder / name).write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
    return name, text
