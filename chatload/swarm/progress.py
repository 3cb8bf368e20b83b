"""The progress of a headless run: a bar with the time left on a terminal, plain lines in a log."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from chatload.features.report.summary import rate
from chatload.progress import PipeConsole, clock_text, fit
from chatload.render import words
from chatload.swarm.snapshot import RunSnapshot
from chatload.vocabulary import SessionState

_PLAIN_EVERY_S = 5.0
#: Width of a plain line (columns). Only its first part may be cut.
_PLAIN_WIDTH = 80
_BAR_WIDTH = 10
_ERASE_LINE = "\r\x1b[2K"


class ProgressLine:
    """Updates one line on a terminal; writes a line every five seconds to a log.

    chats, run_time_s: end the run after so many chats or seconds; 0 or None if they do not.
    """

    def __init__(self, stream: TextIO, chats: int, run_time_s: float | None) -> None:
        self._stream, self._chats, self._run_time_s = stream, chats, run_time_s
        self._bar: _Bar | None = None
        console = PipeConsole(file=stream, highlight=False, markup=False, emoji=False)
        if stream.isatty() and not console.is_dumb_terminal:
            self._bar = _Bar(console, stream, bounded=bool(chats or run_time_s))
        self._next = 0.0
        self._reader_gone = False

    def due(self, elapsed_s: float) -> bool:
        """Return whether to show the state of the run, `elapsed_s` seconds after its beginning."""
        return not self._reader_gone and (self._bar is not None or elapsed_s >= self._next)

    def show(self, snapshot: RunSnapshot) -> None:
        """Show the state of the run. Nothing is shown once the reader is gone (| head, a closed terminal)."""
        left = time_left(snapshot.elapsed_s, self._run_time_s, snapshot.books.verdicts.total(), self._chats)
        parts = _parts(snapshot, left, self._chats)
        try:
            if self._bar is not None:
                self._bar.show(parts, snapshot.elapsed_s, left)
            else:
                # `due` is asked about once a second.
                self._next = snapshot.elapsed_s + _PLAIN_EVERY_S - 0.5
                self._stream.write(f"{fit(parts, _PLAIN_WIDTH)}\n")
                self._stream.flush()
        except OSError:
            self._reader_gone = True

    def close(self) -> None:
        """Leave the last line on the terminal."""
        with suppress(OSError):
            if self._bar is not None:
                self._bar.close()


class _Bar:
    """A progress bar in one line: rewriting several lines would erase log lines between them."""

    def __init__(self, console: Console, stream: TextIO, bounded: bool) -> None:
        column = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True))
        bar = [BarColumn(_BAR_WIDTH)] if bounded else []
        self._console, self._taken = console, _BAR_WIDTH + 2 if bounded else 1
        # rich's automatic refresh is a thread; a refresh per second is enough.
        self._progress = Progress(
            *bar, column, console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._task: TaskID = self._progress.add_task("", total=1.0)
        self._progress.start()
        console.show_cursor(True)  # a killed process could not show it again
        self._logs = _logs_to(stream)
        for log in self._logs:
            log.setStream(_Above(stream, self._progress))

    def show(self, parts: Sequence[str], elapsed_s: float, left_s: float | None) -> None:
        # As in the text: "0:00 left" is a full bar.
        whole = elapsed_s + (left_s if left_s is not None and round(left_s) else 0.0)
        text = fit(parts, self._console.width - self._taken)
        self._progress.update(self._task, completed=elapsed_s / whole if whole else 0.0, description=text)
        self._progress.refresh()

    def close(self) -> None:
        try:
            self._progress.stop()
        finally:
            for log in self._logs:
                log.setStream(self._console.file)


class _Above:
    """The stream of a log while there is a bar: log lines are printed above it, not on its line."""

    def __init__(self, stream: TextIO, progress: Progress) -> None:
        self._stream, self._progress = stream, progress

    def write(self, text: str) -> None:
        self._stream.write(_ERASE_LINE + text)
        self._progress.refresh()

    def flush(self) -> None:
        self._stream.flush()


def _logs_to(stream: TextIO) -> set[logging.StreamHandler[Any]]:
    """Return the log handlers that write to this stream."""
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    handlers = {handler for logger in loggers for handler in logger.handlers}
    return {each for each in handlers if isinstance(each, logging.StreamHandler) and each.stream is stream}


def time_left(elapsed_s: float, run_time_s: float | None, ended: int, chats: int) -> float | None:
    """Return the seconds until the run ends, by its time or by its chats at the rate so far, whichever is sooner.

    None if neither limits the run, or no chat has ended yet.
    """
    bounds = [run_time_s - elapsed_s] if run_time_s else []
    if chats and ended:
        bounds.append(elapsed_s * (chats - ended) / ended)
    return max(0.0, min(bounds)) if bounds else None


def _parts(snapshot: RunSnapshot, left_s: float | None, chats: int) -> list[str]:
    books = snapshot.books
    states = {state.value: books.states[state] for state in SessionState}
    still = ", ".join(f"{words.number(n)} {state}" for state, n in states.items() if n or state == "held")
    left = "" if left_s is None else f", {clock_text(left_s)} left"
    of = f" of {words.number(chats)}" if chats else ""
    dropped = rate("dropped", snapshot.facts)
    between = words.bounds(dropped).replace(" % to ", "-")
    parts = [
        f"{clock_text(snapshot.elapsed_s)}{left}: {still}",
        f"{words.number(books.verdicts.total())}{of} ended",
        f"{words.number(dropped['most'])} dropped" + (f" ({between})" if between else ""),
    ]
    widest = books.gap.maximum
    if snapshot.timeout_s is not None and widest is not None:
        left = words.seconds(snapshot.timeout_s - widest.seconds)
        parts.append(f"margin under {left}" if widest.over else f"margin {left}")
    late = books.lateness.quantile(0.99)
    if late is not None:
        parts.append(f"lateness p99 {words.seconds(late)}")
    return parts
