"""What is to be reached, and whether a run of the benchmark shows it: one table for all measures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bench.figures import Figure, Ratio
from bench.measures import closed_loop, held, ramp, shared, simulator, store, tls
from bench.results import Results, Row, Scale, milliseconds, number, shown
from bench.tools import OURS, TOOLS
from bench.work import Work

Cells = tuple[str, str, str, str]
HEADER: Cells = ("measure", "goal", "measured", "reached")
#: Chats with a connection each, over shared connections, and of these with the ramp.
_OWN, _SHARED, _SHARED_RAMP = 19_000, 60_000, 40_000


def table(scale: Scale, results: Results, only: Sequence[str]) -> list[Sequence[str]]:
    """A row a goal of the measures that were asked for; only the header where none has any."""
    return [HEADER, *(line for name in only if name in _GOALS for line in _GOALS[name](scale, results))]


def _closed_loop(scale: Scale, results: Results) -> Iterable[Cells]:
    for tool, least in closed_loop.GOALS.items():
        for which, found in zip(("CPU", "wall"), closed_loop.against(scale, results, tool), strict=True):
            yield _ratio(f"back to back, ours / {TOOLS[tool].label}, by the {which}", least, found)


def _held(scale: Scale, results: Results) -> Iterable[Cells]:
    work = held.rung(scale, _OWN)
    chats = f"{number(_OWN)} chats, a connection each"
    yield from _on_time(chats, results, work)
    yield _most(f"{chats}: gap error p99.9 with the ramp", 50, " ms", _gap_error(results, work, "with_ramp"))
    yield _most(f"{chats}: CPU of a core", 50, " %", results.figure(OURS, work, _cpu))
    yield _most(f"{chats}: memory of each", 18, " kB", held.memory_kb(scale, results, OURS, work))
    balanced = [row["books_balanced"] for row in results.of(OURS, work) if "books_balanced" in row]
    said = "not measured" if not balanced else "all" if all(balanced) else "not all"
    yield (
        f"{chats}: recorded, the books balance",
        "all",
        said,
        "yes" if said == "all" else "no" if balanced else "not said",
    )


def _shared(scale: Scale, results: Results) -> Iterable[Cells]:
    work, ramped = shared.rung(scale, _SHARED), shared.rung(scale, _SHARED_RAMP)
    yield from _on_time(f"{number(_SHARED)} chats over shared connections", results, work)
    chats = f"{number(_SHARED_RAMP)} chats over shared connections"
    yield _most(f"{chats}: gap error p99.9 with the ramp", 50, " ms", _gap_error(results, ramped, "with_ramp"))


def _on_time(chats: str, results: Results, work: Work) -> Iterable[Cells]:
    there = results.figure(OURS, work, lambda row: row["chats"])
    if there is not None and there.median < work.chats:
        yield chats, "all of them", number(there.median), "no"
    yield _most(f"{chats}: lateness p99.9, with the ramp", 10, " ms", held.lateness_ms(results, OURS, work))
    yield _most(f"{chats}: gap error p99.9, the server's delays in it", 10, " ms", _gap_error(results, work, "steady"))


def _gap_error(results: Results, work: Work, where: str) -> Figure | None:
    return results.figure(OURS, work, lambda row: milliseconds(row, where, "p99_9"))


def _cpu(row: Row) -> float:
    return 100 * row["cpu_share"]


def _ramp(scale: Scale, results: Results) -> Iterable[Cells]:
    yield _most("worst pause while ramping to 10 000", ramp.GOAL_MS, " ms", ramp.pause_ms(scale, results, OURS))


def _tls(scale: Scale, results: Results) -> Iterable[Cells]:
    yield _most("a start over TLS: CPU", tls.GOAL_MS, " ms", tls.cpu_ms(scale, results, OURS))
    yield _most("a start over TLS: memory", tls.GOAL_KB, " kB", tls.memory_kb(scale, results, OURS))


def _store(scale: Scale, results: Results) -> Iterable[Cells]:
    goal = "store, books and histograms, of the CPU", f"at most {store.GOAL} %"
    found = store.share(scale, results)
    if found is None:
        yield *goal, "not measured", "not said"
        return
    share, either_way = found
    clear = abs(share - store.GOAL) >= either_way
    yield *goal, f"{number(share, 2)} ± {number(either_way, 2)} %", _word(share <= store.GOAL) if clear else "not said"


def _simulator(scale: Scale, results: Results) -> Iterable[Cells]:
    for connections in simulator.CONNECTIONS:
        under, fast = f"the simulator under {connections} connections", simulator.RATE
        rate = simulator.figure(scale, results, connections, "refreshes_per_s")
        yield _least(f"{under}: refreshes/s of its core", fast, rate)
        late = simulator.figure(scale, results, connections, "latest_expiry_ms")
        yield _most(f"{under}: the latest expiry", simulator.LATE_MS, " ms", late)
    yield _most("the simulator's memory of a chat", simulator.KB, " kB", simulator.memory_kb(scale, results))


_GOALS: dict[str, Callable[[Scale, Results], Iterable[Cells]]] = {
    **{closed_loop.NAME: _closed_loop, held.NAME: _held, shared.NAME: _shared, ramp.NAME: _ramp},
    **{tls.NAME: _tls, store.NAME: _store, simulator.NAME: _simulator},
}


def _least(what: str, limit: float, found: Figure | None) -> Cells:
    what, _, measured, reached = _most(what, limit, "", found)
    if reached != "not said" and found is not None:
        reached = _word(found.median >= limit)
    return what, f"at least {number(limit)}", measured, reached


def _most(what: str, limit: float, unit: str, found: Figure | None) -> Cells:
    """A figure that has a limit; a noisy one reaches nothing and misses nothing."""
    goal = f"at most {limit:g}{unit}"
    if found is None:
        return what, goal, "not measured", "not said"
    return what, goal, shown(found, unit), _word(found.median <= limit) if found.quiet else "not said"


def _ratio(what: str, least: float, found: Ratio) -> Cells:
    goal = f"at least {least:g}"
    if found.value is None:
        return what, goal, f"no ratio: {found.why}", "not said"
    return what, goal, f"{found.value:.2f}", _word(found.value >= least)


def _word(reached: bool) -> str:
    return "yes" if reached else "no"
