"""The hours in which load is allowed: windows of the week in one time zone. Pure; instants are Unix seconds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EXPECTED: Final = 'expected days and hours, such as "Mon-Fri 08:00-18:00" or "Sat,Sun 22:00-06:00"'
EXPECTED_ZONE: Final = 'expected a time zone such as "Europe/Berlin" or "UTC"'
_WINDOW: Final = re.compile(r"(\S+) +(\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)
#: Names of time zones are shorter (characters); the longest of IANA's has 32.
_LONGEST_ZONE: Final = 64
#: A week, and the days at both ends of it that a window may reach into.
_LOOK_DAYS: Final = 9


@dataclass(frozen=True)
class WeekWindow:
    """Hours of some days of the week. days: 0 is Monday. start, end: minutes since midnight.

    If `end` is not after `start`, the window ends on the next day.
    """

    days: frozenset[int]
    start: int
    end: int

    def has(self, day: int, minute: int) -> bool:
        """Return whether a minute of a day of the week is in the window."""
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        return (day in self.days and minute >= self.start) or ((day - 1) % 7 in self.days and minute < self.end)


def parse_window(text: str) -> WeekWindow:
    """Return the window in "Mon-Fri 08:00-18:00". Raises ValueError that says what is expected."""
    found = _WINDOW.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{EXPECTED}, not {text!r}")
    hours = [int(part) for part in found.groups()[1:]]
    start, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
    if max(hours[1], hours[3]) > 59 or start >= 1440 or end > 1440:
        raise ValueError(f"{EXPECTED}, not {text!r}")
    return WeekWindow(_days(found[1], text), start, end)


def _days(names: str, text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in names.split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(f"{EXPECTED}, not {text!r}")
        begin = DAYS.index(first)
        days.update((begin + n) % 7 for n in range((DAYS.index(last or first) - begin) % 7 + 1))
    return frozenset(days)


def zone_of(name: str) -> tzinfo:
    """Return a time zone. UTC needs no data of the system. Raises ValueError that says what is expected."""
    if len(name) > _LONGEST_ZONE:
        # zoneinfo imports a package for each part of a name, one within the other.
        raise ValueError(EXPECTED_ZONE)
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{EXPECTED_ZONE}, not {name!r}") from None


@dataclass(frozen=True)
class AllowedHours:
    """The windows of one file. texts: as written there. zone: name of the time zone. source: the file."""

    texts: tuple[str, ...]
    windows: tuple[WeekWindow, ...]
    zone: str
    source: str

    @classmethod
    def parse(cls, texts: Sequence[str], zone: str, source: str) -> "AllowedHours":
        """Return the windows of these texts. Raises ValueError."""
        zone_of(zone)
        return cls(tuple(texts), tuple(parse_window(text) for text in texts), zone, source)

    def are_open(self, at: float) -> bool:
        """Return whether load is allowed at an instant."""
        local = self._local(at)
        return any(window.has(local.weekday(), 60 * local.hour + local.minute) for window in self.windows)

    def changes_at(self, at: float) -> float | None:
        """Return when the hours open (or close, if they are open) after an instant; None if they never do."""
        now, local = self.are_open(at), self._local(at)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        minutes = sorted({minute for window in self.windows for minute in (window.start, window.end)})
        for day in range(_LOOK_DAYS):
            for minute in minutes:
                # Wall-clock arithmetic: on a day with a change of the clocks, 08:00 stays 08:00.
                edge = (midnight + timedelta(days=day, minutes=minute)).timestamp()
                if edge > at and self.are_open(edge) is not now:
                    return edge
        return None

    def clock(self, at: float) -> str:
        """Return an instant as day and time of the zone."""
        local = self._local(at)
        return f"{DAYS[local.weekday()]} {local:%H:%M} {self.zone}"

    def __str__(self) -> str:
        return f"{', '.join(self.texts)} {self.zone}"

    def _local(self, at: float) -> datetime:
        return datetime.fromtimestamp(at, zone_of(self.zone))
