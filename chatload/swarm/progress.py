"""How a headless run is going: a bar with the time left on a terminal, plain lines in a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from chatload.features.report.summary import rate
from chatload.render import words
from chatload.swarm.live_figures import Moment
from chatload.thresholds.metrics import Facts
from chatload.vocabulary import SessionState

_PLAIN_EVERY_S = 5.0
#: A plain line is not longer than this where it can be helped (columns).
_PLAIN_WIDTH = 80
_BAR_WIDTH = 10
_ERASE_LINE = "\r\x1b[2K"


class ProgressLine:
    """Keeps one line of a terminal up to date; in a log, writes a line every five seconds.

    chats, run_time_s: what bounds the run, 0 or None where it does not.
    """

    def __init__(self, stream: TextIO, chats: int, run_time_s: float | None) -> None:
        self._stream, self._chats, self._run_time_s = stream, chats, run_time_s
        self._bar: _Bar | None = None
        console = _Console(file=stream, highlight=False, markup=False, emoji=False)
        if stream.isatty() and not console.is_dumb_terminal:
            self._bar = _Bar(console, stream, bounded=bool(chats or run_time_s))
        self._began, self._next = time.monotonic(), 0.0
        self._unwritten = ""
        self._unread = False

    def due(self) -> bool:
        """Whether there is anything new to be seen of `show`."""
        if self._unread:
            return False
        return self._bar is not None or time.monotonic() - self._began >= self._next

    def show(self, moment: Moment) -> None:
        """Show where the run is; to nobody once its reader is gone (| head, a closed terminal): the run goes on."""
        try:
            self._show(moment)
        except OSError:
            self._unread = True

    def _show(self, moment: Moment) -> None:
        ended = moment.books.verdicts.total()
        left = time_left(moment.elapsed_s, self._run_time_s, ended, self._chats)
        parts = _parts(moment, left, self._chats)
        if self._bar is not None:
            self._bar.show(parts, moment.elapsed_s, left)
            return
        self._unwritten = fit(parts, _PLAIN_WIDTH)
        if moment.elapsed_s >= self._next:
            # Asked once a second, not to the millisecond.
            self._next = moment.elapsed_s + _PLAIN_EVERY_S - 0.5
            self._write()

    def close(self) -> None:
        """The run is over: what was shown last stays."""
        with suppress(OSError):
            if self._bar is not None:
                self._bar.close()
            elif not self._unread:
                self._write()

    def _write(self) -> None:
        if self._unwritten:
            self._stream.write(f"{self._unwritten}\n")
            self._stream.flush()
            self._unwritten = ""


class _Console(Console):
    """rich's, which would end the greenlet that records where its reader is gone."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class _Bar:
    """One line: rewriting several would erase what others log in between."""

    def __init__(self, console: Console, stream: TextIO, bounded: bool) -> None:
        columns = [TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True))]
        bar = [BarColumn(_BAR_WIDTH)] if bounded else []
        self._console, self._taken = console, _BAR_WIDTH + 2 if bounded else 1
        # No refresh of its own: that would be a thread, and the run's beat suffices.
        self._progress = Progress(
            *bar, *columns, console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._task: TaskID = self._progress.add_task("", total=1.0)
        self._progress.start()
        console.show_cursor(True)  # a process that is killed cannot give it back
        self._logs = list(_logs_to(stream))
        for log in self._logs:
            log.setStream(_Above(stream, self._progress))

    def show(self, parts: Sequence[str], elapsed_s: float, left_s: float | None) -> None:
        whole = elapsed_s + (left_s or 0.0)
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
    """The stream of a log while there is a bar: what is logged comes above it, not behind it on its line."""

    def __init__(self, stream: TextIO, progress: Progress) -> None:
        self._stream, self._progress = stream, progress

    def write(self, text: str) -> None:
        self._stream.write(_ERASE_LINE + text)
        self._progress.refresh()

    def flush(self) -> None:
        self._stream.flush()


def _logs_to(stream: TextIO) -> Iterator[logging.StreamHandler[Any]]:
    """Every handler that logs to this very stream, once."""
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    handlers = {id(handler): handler for logger in loggers for handler in logger.handlers}
    for handler in handlers.values():
        if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
            yield handler


def time_left(elapsed_s: float, run_time_s: float | None, ended: int, chats: int) -> float | None:
    """Seconds until the run is over, by what comes first: its time, or its chats ending as they did so far.
    None where nothing bounds it, or no chat has ended yet."""
    bounds = []
    if run_time_s:
        bounds.append(max(0.0, run_time_s - elapsed_s))
    if chats and ended:
        bounds.append(max(0.0, elapsed_s * (chats - ended) / ended))
    return min(bounds, default=None)


def fit(parts: Iterable[str], width: int) -> str:
    """As many of the parts, the most important first, as fit on a line of `width`; the first is cut to it."""
    line = ""
    for part in parts:
        longer = f"{line}; {part}" if line else part[:width]
        if len(longer) > width:
            break
        line = longer
    return line


def _parts(moment: Moment, left_s: float | None, chats: int) -> list[str]:
    books = moment.books
    states = {state.value: books.states[state] for state in SessionState}
    still = ", ".join(f"{words.number(n)} {state}" for state, n in states.items() if n or state == "held")
    left = "" if left_s is None else f", {_clock(left_s)} left"
    of = f" of {words.number(chats)}" if chats else ""
    dropped = rate("dropped", Facts(books, moment.timeout_s, moment.cut_off_confirmed), moment.confidence)
    between = words.bounds(dropped).replace(" % to ", "-")
    parts = [
        f"{_clock(moment.elapsed_s)}{left}: {still}",
        f"{words.number(books.verdicts.total())}{of} ended",
        f"{words.number(dropped['most'])} dropped" + (f" ({between})" if between else ""),
    ]
    widest = books.gap.maximum
    if moment.timeout_s is not None and widest is not None:
        left = words.seconds(moment.timeout_s - widest.seconds)
        parts.append(f"margin under {left}" if widest.over else f"margin {left}")
    late = books.lateness.quantile(0.99)
    if late is not None:
        parts.append(f"lateness p99 {words.seconds(late)}")
    return parts


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
