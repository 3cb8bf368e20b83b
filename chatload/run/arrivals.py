"""When chats arrive in an open workload: a Poisson process, whatever becomes of the chats.

A rate over time becomes instants by inversion (Çinlar 1975; Lewis and Shedler 1979): the arrivals of a Poisson
process of rate 1, put through the inverse of the integrated rate, are those of the rate asked for. The inverse is
exact, so that nothing is drawn and thrown away. Sums of independent Poisson processes are Poisson processes, so
that a rate may be shared out among sources that know nothing of each other.
"""

from __future__ import annotations

import csv
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite, sqrt
from pathlib import Path
from random import Random
from typing import NamedTuple

from chatload.errors import FileError

_CLOCK = re.compile(r"(\d+):([0-5]\d)(?::([0-5]\d))?")
_TIMES, _RATES = ("seconds", "time"), ("chats_per_hour", "chats")
_COLUMNS = "expected the columns seconds or time, and chats_per_hour or chats"


class Piece(NamedTuple):
    """A stretch of time in which the rate goes evenly from `first` to `last` (per second); instants: seconds."""

    start: float
    end: float
    first: float
    last: float

    def expected(self, t: float) -> float:
        """Arrivals expected from its start to t, which lies in it."""
        if self.first == self.last:
            return self.first * (t - self.start) if self.first else 0.0
        after = t - self.start
        return after * (self.first + 0.5 * after * self._slope)

    def instant(self, expected: float) -> float:
        """The instant by which so many arrivals are expected since its start: more than 0, at most all of them."""
        if self.first == self.last:
            return self.start + expected / self.first
        # The root of a quadratic in the form that loses no digits where the slope is small.
        speeds = self.first + sqrt(max(0.0, self.first**2 + 2 * self._slope * expected))
        return min(self.start + 2 * expected / speeds, self.end) if speeds else self.start

    @property
    def _slope(self) -> float:
        return (self.last - self.first) / (self.end - self.start)


class RateProfile:
    """How many chats arrive over time: pieces one after the other, from 0 on. Instants: seconds since the start."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = tuple(pieces)
        self._starts = [piece.start for piece in self.pieces]
        self._before = [0.0]
        for piece in self.pieces:
            self._before.append(self._before[-1] + piece.expected(piece.end))

    @classmethod
    def constant(cls, rate: float) -> RateProfile:
        """Always `rate` arrivals per second, without an end."""
        return cls([Piece(0.0, inf, rate, rate)])

    @property
    def length_s(self) -> float:
        """When it is over, seconds; infinite where it never is."""
        return self.pieces[-1].end

    @property
    def total(self) -> float:
        """How many arrivals are expected in all."""
        return self._before[-1]

    def expected(self, t: float) -> float:
        """How many arrivals are expected up to t."""
        if t <= 0:
            return 0.0
        if t >= self.length_s:
            return self.total
        place = bisect_right(self._starts, t) - 1
        return self._before[place] + self.pieces[place].expected(t)

    def instant(self, expected: float) -> float:
        """The inverse of `expected`; infinite for more than `total`."""
        place = bisect_right(self._before, expected) - 1
        if place >= len(self.pieces):
            return inf
        more = expected - self._before[place]
        return self.pieces[place].instant(more) if more else self.pieces[place].start


def arrivals(profile: RateProfile, share: float, seed: str, since: float = 0.0) -> Iterator[float]:
    """The instants (seconds since the profile's start) at which chats arrive at one source from `since` on.

    share: the source's part of the profile's rate, 0 to 1. Deterministic in its arguments; sources with different
    seeds are independent. Ends where the profile does.
    """
    random = Random(f"arrivals {seed}")
    expected = profile.expected(since)
    while True:
        expected += random.expovariate(share)
        instant = profile.instant(expected)
        if instant == inf:
            return
        yield instant


@dataclass(frozen=True)
class _Row:
    line: int
    at: float
    value: float


def load_profile(path: str | Path, compress: float = 1.0) -> RateProfile:
    """A RateProfile from CSV; `compress`: its time runs so many times as fast, at the same rates.

    Columns: `seconds`, or `time` as H:MM or H:MM:SS; and `chats_per_hour`, the rate at that time, which changes
    evenly from row to row, or `chats`, how many arrive, evenly, from that row to the next (the last row only says
    when the profile ends). The profile starts at its first row. Raises FileError, naming the line.
    """
    with_counts, rows = _read(path)
    start = rows[0].at
    pieces = []
    for row, following in pairwise(rows):
        if following.at <= row.at:
            raise FileError(path, f"line {following.line}", "expected a time later than that of the line before")
        first, last = row.value / 3600, following.value / 3600
        if with_counts:
            first = last = row.value / (following.at - row.at)
        pieces.append(Piece((row.at - start) / compress, (following.at - start) / compress, first, last))
    profile = RateProfile(pieces)
    if not profile.total:
        raise FileError(path, "", "nothing ever arrives: every rate is 0")
    return profile


def _read(path: str | Path) -> tuple[bool, list[_Row]]:
    """Whether rows hold counts rather than rates, and the rows, at least two."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream, skipinitialspace=True, strict=True)
            try:
                header = [name.strip().lower() for name in next(lines, [])]
                when, many = _column(path, header, _TIMES), _column(path, header, _RATES)
                seconds: Callable[[str], float] = float if header[when] == "seconds" else _clock
                rows = []
                for cells in lines:
                    if any(cell.strip() for cell in cells):
                        where = f"line {lines.line_num}"
                        if len(cells) != len(header):
                            raise FileError(path, where, f"expected {len(header)} cells, as in the header")
                        at = _cell(path, f"{where}: {header[when]}", seconds, cells[when])
                        rows.append(
                            _Row(lines.line_num, at, _cell(path, f"{where}: {header[many]}", float, cells[many]))
                        )
            except csv.Error as error:
                raise FileError(path, f"line {lines.line_num}", f"not CSV ({error})") from None
    except UnicodeDecodeError:
        raise FileError(path, "", "not UTF-8 text") from None
    except OSError as error:
        raise FileError(path, "", f"cannot be read ({error.strerror or error})") from None
    if len(rows) < 2:
        raise FileError(path, "", "expected at least two rows below the header: the last says when the profile ends")
    return header[many] == "chats", rows


def _column(path: str | Path, header: list[str], names: tuple[str, ...]) -> int:
    found = [place for place, name in enumerate(header) if name in names]
    if len(found) != 1:
        raise FileError(path, "line 1", f"{_COLUMNS}, not {', '.join(header) or 'an empty line'}")
    return found[0]


def _cell(path: str | Path, where: str, number: Callable[[str], float], text: str) -> float:
    try:
        value = number(text.strip())
    except ValueError:
        value = -1.0
    if not isfinite(value) or value < 0:
        expected = "a time such as 8:30 or 08:30:00" if number is _clock else "a number not below 0"
        raise FileError(path, where, f"expected {expected}, not {text.strip()!r}")
    return value


def _clock(text: str) -> float:
    found = _CLOCK.fullmatch(text)
    if not found:
        raise ValueError
    return int(found[1]) * 3600.0 + int(found[2]) * 60.0 + int(found[3] or 0)
