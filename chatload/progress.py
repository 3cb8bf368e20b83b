"""Shows on stderr how far a long command is: one line on a terminal, plain lines in a log.

A command declares its stages with the work of each, and reports what it has done. Runs have a line of their own
(`chatload.swarm.progress`).
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Self, TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

#: A command shows nothing for so long; then it updates its line, or writes a line to a log, this often (seconds).
PATIENCE_S, _REFRESH_S, _PLAIN_EVERY_S = 2.0, 0.2, 10.0
_BAR_WIDTH = 10
_ROWS_AT_ONCE = 1000
#: The time left is not shown before this part of a stage is done: what came before its first row would count most.
_LEAST_SHARE = 0.03
T = TypeVar("T")


class PipeConsole(Console):
    """rich's console exits when the reader is gone; this one raises BrokenPipeError."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class CommandProgress:
    """The progress of one command, as a context manager. The line on a terminal is removed at the end.

    stream: by default stderr; nothing is shown if it is closed. clock: seconds, monotonic.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = sys.stderr if stream is None else stream, clock
        self._began = self._shown_at = self._stage_began = clock()
        self._what, self._unit, self._done, self._work = "", "", 0.0, 0.0
        self._bar: Progress | None = None

    def stage(self, what: str, work: float = 0.0, unit: str = "") -> None:
        """Begin a stage.

        Args:
            what: what is done, such as "reading the run".
            work: how much there is to do; 0: not known.
            unit: what the work is counted in, such as "customers"; "": shown as a share only.
        """
        self._what, self._unit, self._work, self._done = what, unit, work, 0.0
        self._stage_began = self._clock()
        self._show()

    def advance(self, work: float = 1.0) -> None:
        """Report that so much more of the stage is done."""
        self._done += work
        self._show()

    def reach(self, done: float) -> None:
        """Report how much of the stage is done in all."""
        self.advance(done - self._done)

    @contextmanager
    def part(self, work: float) -> Iterator[Callable[[float], None]]:
        """Do one unit of the stage, which consists of so much work. Yields a function that reports how much is done."""
        first = self._done

        def advance(done: float) -> None:
            self.reach(min(self._done + done / max(work, 1.0), first + 1.0))

        yield advance
        self.reach(first + 1.0)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Do a stage that cannot report, because it waits for another program."""
        self.stage(what)
        over = threading.Event()

        def show() -> None:
            while not over.wait(_REFRESH_S):
                self._show()

        thread = threading.Thread(target=show, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def counted(self, rows: Iterable[T]) -> Iterator[T]:
        """Yield the rows, and report how many of them were taken."""
        number = 0
        for number, row in enumerate(rows, 1):
            yield row
            if not number % _ROWS_AT_ONCE:
                self.advance(_ROWS_AT_ONCE)
        self.advance(number % _ROWS_AT_ONCE)

    def during(self, what: str, work: float, unit: str, rows: Iterable[T]) -> Iterator[T]:
        """Begin a stage when the first of these rows is asked for, and yield them."""
        self.stage(what, work, unit)
        yield from rows

    def close(self) -> None:
        """Remove the line."""
        with suppress(OSError, ValueError):
            if self._bar is not None:
                self._bar.stop()
        self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _show(self) -> None:
        stream, now = self._stream, self._clock()
        if stream is None or now - self._began < PATIENCE_S:
            return
        try:
            terminal = stream.isatty()
            if now - self._shown_at < (_REFRESH_S if terminal else _PLAIN_EVERY_S):
                return
            self._shown_at = now
            parts = self._parts(now)
            if terminal:
                self._show_bar(stream, parts)
            else:
                stream.write(f"{', '.join(parts)}\n")
                stream.flush()
        except (OSError, ValueError):  # the reader is gone, or the stream was closed
            self._stream = None

    def _parts(self, now: float) -> list[str]:
        if not self._work:
            done = [f"{self._done:.0f} {self._unit}"] if self._unit and self._done else []
            return [self._what, *done]
        share = min(self._done / self._work, 1.0)
        parts = [f"{self._what}: {share:.0%}"]
        if self._unit:
            parts.append(f"{int(self._done)} of {self._work:.0f} {self._unit}")
        if share >= _LEAST_SHARE:
            parts.append(f"{clock_text((now - self._stage_began) * (1 - share) / share)} left")
        return parts

    def _show_bar(self, stream: TextIO, parts: Iterable[str]) -> None:
        if self._bar is None:
            console = PipeConsole(file=stream, highlight=False, markup=False, emoji=False)
            text = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True))
            # rich's automatic refresh is a thread; the replays of a forecast start processes.
            self._bar = Progress(
                BarColumn(_BAR_WIDTH), text, console=console, auto_refresh=False, transient=True,
                redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip
            self._bar.add_task("", total=1.0)
            self._bar.start()
            console.show_cursor(True)  # a killed process could not show it again
        share = self._done / self._work if self._work else 0.0
        line = fit(parts, self._bar.console.width - _BAR_WIDTH - 2, ", ")
        self._bar.update(self._bar.task_ids[0], completed=share, description=line)
        self._bar.refresh()


def fit(parts: Iterable[str], width: int, between: str = "; ") -> str:
    """Return as many of the parts as fit into `width` columns. The first, most important one may be cut."""
    line = ""
    for part in parts:
        longer = f"{line}{between}{part}" if line else part[:width]
        if len(longer) > width:
            break
        line = longer
    return line


def clock_text(seconds: float) -> str:
    """Return a duration as on a clock, such as "1:05" or "1:00:00"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
