"""The rows of one run of the benchmark, and what measures make of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.figures import Figure, Ratio, Row, figure, is_quiet
from bench.tools import TOOLS
from bench.work import Step, Work


@dataclass(frozen=True)
class Scale:
    """How much is measured. repetitions: of closed loops, and of what is held; quick: tiny numbers, only to see that
    all of it works; soak_min: length of the soak, 0 is none."""

    repetitions: int = 3
    held_repetitions: int = 1
    steady_s: float = 20.0
    closed_s: float = 6.0
    quick: bool = False
    soak_min: float = 0.0

    def chats(self, wanted: int) -> int:
        """So many chats, or of a quick run a hundredth."""
        return max(2, wanted // 100) if self.quick else wanted


@dataclass
class Results:
    """All repetitions so far. replaced: those that do not count, for they were measured again."""

    rows: list[Row] = field(default_factory=list)
    replaced: list[Row] = field(default_factory=list)
    done: set[Step] = field(default_factory=set)

    def add(self, step: Step, row: Row) -> None:
        """What came of a step. Where it was measured before, this counts in its place, if it is a measurement."""
        before = [each for each in self.rows if _is_of(each, step)]
        if before and "problem" in row:
            self.replaced.append(row)
        else:
            self.replaced += before
            self.rows = [each for each in self.rows if each not in before] + [row]
        self.done.add(step)

    def noisy(self, step: Step) -> bool:
        """Whether what is known of a step was measured on a noisy machine."""
        return any(_is_of(row, step) and "noise" in row and not is_quiet(row) for row in self.rows)

    def of(self, tool: str, work: Work) -> list[Row]:
        """The repetitions of one piece of work by one tool."""
        wanted = work.to_dict()
        return [row for row in self.rows if row["tool"] == tool and row["work"] == wanted]

    def figure(self, tool: str, work: Work, value: Callable[[Row], float | None]) -> Figure | None:
        """The median over them; None where nothing was measured."""
        return figure((row for row in self.of(tool, work) if "problem" not in row), value)

    def label(self, tool: str, work: Work) -> str:
        """The tool's name, and how it ended where that was not well."""
        rows = [row for row in self.of(tool, work) if "problem" not in row]
        codes = sorted({row["exit_code"] for row in rows if row["exit_code"] and not row["ended_by_us"]})
        wrong = sum(row["wrong_answers"] for row in rows)
        late = sum(row["ended_by_us"] for row in rows)
        said = [f"exit code {code}" for code in codes] + [f"{wrong} wrong answers"] * bool(wrong)
        said += ["did not end by itself"] * bool(late)
        return TOOLS[tool].label + (f" ({', '.join(said)})" if said else "")

    def problem(self, tool: str, work: Work) -> str:
        """Why there is nothing, where there is nothing."""
        rows = self.of(tool, work)
        if not rows:
            return "not measured: not reached"
        return next((f"not measured: {row['problem']}" for row in rows if "problem" in row), "not measured")


def _is_of(row: Row, step: Step) -> bool:
    return (row["tool"], row["work"], row["repetition"]) == (step.tool, step.work.to_dict(), step.repetition)


@dataclass(frozen=True)
class Chart:
    """A chart to be drawn into `name`.svg. kind: "bars" (name, value, low, high) or "lines" (x, y, name)."""

    name: str
    label: str
    kind: str
    rows: Sequence[dict[str, Any]]
    y_title: str
    x_title: str = ""
    log: bool = False


@dataclass(frozen=True)
class Section:
    """What one measure shows. table: the first row is the header. files: what else is written, name to text."""

    title: str
    text: str
    table: Sequence[Sequence[str]]
    charts: Sequence[Chart] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, thousands apart."""
    if value == 0:
        return "0"
    whole = f"{value:,.{max(0, digits - 1 - _exponent(value))}f}"
    return whole.replace(",", " ")


def _exponent(value: float) -> int:
    return int(f"{abs(value):e}".partition("e")[2])


def shown(found: Figure | None, unit: str = "", digits: int = 3) -> str:
    """A figure with its spread, and a word where the machine was too noisy for it."""
    if found is None:
        return "-"
    text = number(found.median, digits) + unit
    if found.n > 1:
        text += f" ({number(found.low, digits)}..{number(found.high, digits)})"
    return text if found.quiet else f"{text}, noisy"


def shown_ratio(found: Ratio, goal: str) -> str:
    """A ratio beside its goal, or why there is none."""
    return f"no ratio: {found.why}" if found.value is None else f"{found.value:.2f} (goal: {goal})"


def milliseconds(row: Row, where: str, which: str) -> float | None:
    """A percentile of the gap error, ms."""
    errors = (row.get("gap_error_s") or {}).get(where)
    return None if errors is None else 1e3 * errors[which]
