"""The benchmark's tables and charts."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import charts
from bench.generators import ARTILLERY_PEER, FAST, K6, NAIVE, OURS

Row = Mapping[str, Any]
NOISY = "too noisy"


def write(results: Mapping[str, Any], folder: Path) -> None:
    """index.md and the charts, of what has been measured so far."""
    about = results.get("about", {})
    lines = [
        "# chatload beside other load generators",
        "",
        f"Measured on {about.get('measured_at')} at {about.get('commit')}, Python {about.get('python')}, Linux "
        f"{about.get('kernel')}, on two cores: the server (chatload's simulator) on one, the generator on the other. "
        "What is measured and how: [docs/bench.md](../../docs/bench.md). Every repetition: results.json.",
    ]
    if about.get("quick"):
        lines += ["", "**A quick run: hardly any chats. These are no figures.**"]
    for title, table in (
        ("Goals", goals(results)), ("Closed loop", closed_loop(results)), ("Chats held", held(results)),
        ("Over shared connections", shared(results)), ("TLS", tls(results)), ("CPU by part", parts(results)),
    ):  # fmt: skip
        if table:
            lines += ["", f"## {title}", "", *table]
    drawn = charts.draw(results, folder)
    if drawn:
        lines += ["", "## Growth", "", *(f"![{text}]({name})\n" for name, text in drawn)]
    (folder / "index.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


# -- what follows from the rows ----------------------------------------------------------------------


def good(rows: Iterable[Row], generator: str) -> list[Row]:
    """Its rows that are neither failed nor noisy."""
    return [row for row in rows if row["generator"] == generator and not row["failed"] and not row["noise"]]


def middle(rows: Iterable[Row], generator: str, key: str) -> float | None:
    """The median of its good rows."""
    values = [row[key] for row in good(rows, generator)]
    return statistics.median(values) if values else None


def ratio(rows: Sequence[Row], ours: str, theirs: str, key: str = "per_s") -> float | None:
    """Ours over theirs; None where either was too noisy or failed."""
    a, b = middle(rows, ours, key), middle(rows, theirs, key)
    return a / b if a is not None and b else None


def memory(results: Mapping[str, Any], row: Row) -> float | None:
    """Bytes a chat held: what the process took more than with one chat."""
    bases = [base["rss"] for base in results.get("base", ()) if base["generator"] == row["generator"] and base["rss"]]
    return (row["rss"] - bases[0]) / row["held"] if bases and row["held"] and not row["failed"] else None


def goals(results: Mapping[str, Any]) -> list[str]:
    """The goals, with what was reached."""
    rows = []
    closed = results.get("closed_loop", ())
    for name, goal in ((K6.name, 4.0), (NAIVE.name, 18.0), ("wrk", 0.4)):
        if closed:
            rows.append(
                (f"refreshes/s, closed loop, times {name}", f"{goal:g}", _number(ratio(closed, OURS.name, name)))
            )
    own = _largest(results.get("held", ()), OURS.name)
    if own:
        rows += _held_goals(results, own, "own connections", "19 000", 0.5)
        kb = memory(results, own)
        rows.append(("memory a chat held, own connection", "18 kB", "" if kb is None else f"{kb / 1000:.1f} kB"))
    rows += _shared_goals(results)
    ramp = [
        r for r in results.get("held", ()) if r["generator"] == OURS.name and r["chats"] <= 10000 and not r["failed"]
    ]
    if ramp:
        rows.append(("worst pause, ramp to 10 000", "20 ms", _ms(max(ramp, key=lambda r: r["chats"])["pause_ramp"])))
    for row in tls_rows(results):
        if row["generator"] == OURS.name and row["tls"]:
            said = f"{row['kb']:.0f} kB, {row['ms']:.1f} ms"
            rows.append(("to start a chat over TLS", "60 kB, 2 ms", said))
    shares = _shares(results)
    if shares:
        rows.append(
            (
                "store, books and histograms",
                "10 % of CPU",
                f"{100 * shares.get('store, books and histograms', 0):.1f} %",
            )
        )
    return _table(("measure", "to reach", "reached"), rows) if rows else []


def _held_goals(results: Mapping[str, Any], row: Row, what: str, chats: str, cpu: float) -> list[tuple[str, str, str]]:
    late, ramp = row["late"] or {}, row["late_ramp"] or {}
    noise = f" ({row['noise']})" if row["noise"] else ""
    return [
        (f"{row['chats']:,} held, {what}: p99.9 lateness".replace(",", " "), "10 ms", _ms(late.get("p99_9")) + noise),
        (f"{what}: of a core", f"{cpu:g}", f"{row['cpu']:.2f}"),
        (f"{what}: p99.9 lateness including the ramp", "50 ms", _ms(ramp.get("p99_9")) + noise),
    ]


def _shared_goals(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    found = {row["chats"]: row for row in results.get("shared", ()) if not row["failed"]}
    rows = []
    if largest := found.get(60000):
        late = (largest["late"] or {}).get("p99_9")
        rows.append(("60 000 held, shared connections: p99.9 lateness", "10 ms", _ms(late) + _noise(largest)))
        rows.append(("60 000 held, shared connections: of a core", "1", f"{largest['cpu']:.2f}"))
    if ramp := found.get(40000):
        late = (ramp["late_ramp"] or {}).get("p99_9")
        rows.append(
            ("40 000, shared connections: p99.9 lateness including the ramp", "50 ms", _ms(late) + _noise(ramp))
        )
    return rows


def closed_loop(results: Mapping[str, Any]) -> list[str]:
    """Refreshes a second of one core."""
    rows = results.get("closed_loop", ())
    names = list(dict.fromkeys(row["generator"] for row in rows))
    table = []
    for name in names:
        mine = [row for row in rows if row["generator"] == name]
        if failed := next((row["failed"] for row in mine if row["failed"]), ""):
            table.append((name, f"not measured: {_short(failed)}", "", "", "", "", ""))
            continue
        taken = [row for row in mine if not row["noise"]] or mine
        rates = sorted(row["per_s"] for row in taken)
        noisy = sum(bool(row["noise"]) for row in mine)
        table.append((
            name, f"{statistics.median(rates):,.0f}".replace(",", " "),
            f"{rates[0]:,.0f} to {rates[-1]:,.0f}".replace(",", " "),
            f"{statistics.median(row['cpu_us'] for row in taken):.1f}",
            f"{statistics.median(row['server_cpu'] for row in taken):.2f}",
            _ratio_text(rows, name), f"{noisy} of {len(mine)}",
        ))  # fmt: skip
    head = ("generator", "refreshes/s", "spread", "CPU us each", "server's core", "chatload is", "noisy")
    return _table(head, table) if table else []


def _ratio_text(rows: Sequence[Row], name: str) -> str:
    if name == OURS.name:
        return ""
    times = ratio(rows, OURS.name, name)
    return NOISY if times is None else f"{times:.2f} x"


def held(results: Mapping[str, Any]) -> list[str]:
    """Chats held, a connection each."""
    return _held_table(results, results.get("held", ()))


def shared(results: Mapping[str, Any]) -> list[str]:
    """Chats held over shared connections."""
    return _held_table(results, results.get("shared", ()))


def _held_table(results: Mapping[str, Any], rows: Iterable[Row]) -> list[str]:
    table = []
    for row in rows:
        chats = f"{row['chats']:,}".replace(",", " ")
        if row["failed"]:
            table.append((row["generator"], chats, f"not held: {_short(row['failed'])}", *[""] * 9))
            continue
        late, ramp, gap, kb = row["late"] or {}, row["late_ramp"] or {}, row["gap"] or {}, memory(results, row)
        table.append((
            row["generator"], chats, _ms(gap.get("p50")), _ms(gap.get("p99_9")), _ms(gap.get("max")),
            _ms(late.get("p50")), _ms(late.get("p99_9")), _ms(ramp.get("p99_9")), f"{row['cpu']:.2f}",
            "" if kb is None else f"{kb / 1000:.1f}", f"{_ms(row['pause_ramp'])} / {_ms(row['pause'])}", row["noise"],
        ))  # fmt: skip
    head = (
        "generator", "chats", "gap error p50", "p99.9", "max", "own lateness p50", "p99.9", "p99.9 with ramp", "cores",
        "kB a chat", "worst pause, ramp / held", "noise",
    )  # fmt: skip
    return _table(head, table) if table else []


def tls_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a start took: kB and ms of CPU a chat."""
    bases = {row["generator"]: row["rss"] for row in results.get("base", ())}
    found = []
    for row in results.get("tls", ()):
        if not row["failed"] and row["held"] and bases.get(row["generator"]):
            kb = (row["rss"] - bases[row["generator"]]) / row["held"] / 1000
            found.append({**row, "kb": kb, "ms": 1000 * row["start_cpu_s"] / row["held"]})
    return found


def tls(results: Mapping[str, Any]) -> list[str]:
    """Starting chats with and without TLS."""
    rows = [
        (row["generator"], "yes" if row["tls"] else "no", f"{row['kb']:.0f}", f"{row['ms']:.2f}", row["noise"])
        for row in tls_rows(results)
    ]
    return _table(("generator", "TLS", "kB a chat", "CPU ms to start a chat", "noise"), rows) if rows else []


def _shares(results: Mapping[str, Any]) -> dict[str, float]:
    found = results.get("store") or [{}]
    return dict(found[0].get("parts") or {})


def parts(results: Mapping[str, Any]) -> list[str]:
    """Where chatload's CPU goes."""
    rows = [(part, f"{100 * share:.1f} %") for part, share in _shares(results).items()]
    return _table(("part", "of chatload's CPU"), rows) if rows else []


def _largest(rows: Iterable[Row], generator: str) -> Row | None:
    done = [row for row in rows if row["generator"] == generator and not row["failed"]]
    return max(done, key=lambda row: row["chats"]) if done else None


def _noise(row: Row) -> str:
    return f" ({row['noise']})" if row["noise"] else ""


def _number(value: float | None) -> str:
    return NOISY if value is None else f"{value:.2f}"


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"


def _short(text: str) -> str:
    return text.strip().splitlines()[-1][:120].replace("|", "/") if text.strip() else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(map(str, row))} |" for row in rows),
    ]  # fmt: skip


__all__ = ["ARTILLERY_PEER", "FAST", "write"]
