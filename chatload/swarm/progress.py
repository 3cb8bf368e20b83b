"""One line that says how a headless run is going."""

from __future__ import annotations

import time
from typing import TextIO

from chatload.session.books import Books

_PLAIN_EVERY_S = 5.0


class Progress:
    """Rewrites one line on a terminal; in a log, a line every five seconds."""

    def __init__(self, stream: TextIO, chats: int) -> None:
        self._stream, self._chats = stream, chats
        self._started = time.monotonic()
        self._last = 0.0
        self._terminal = stream.isatty()
        self._width = 0

    def show(self, books: Books) -> None:
        """Show where the run is."""
        now = time.monotonic()
        if not self._terminal and now - self._last < _PLAIN_EVERY_S:
            return
        self._last = now
        line = self._line(books, now - self._started)
        if self._terminal:
            self._stream.write("\r" + line.ljust(self._width)[:79])
            self._width = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the terminal's line as it is."""
        if self._terminal:
            self._stream.write("\n")
            self._stream.flush()

    def _line(self, books: Books, elapsed: float) -> str:
        ended = books.verdicts.total()
        of = f" of {self._chats}" if self._chats else ""
        dropped = sum(n for verdict, n in books.verdicts.items() if verdict.startswith("dropped"))
        late = books.lateness.quantile(0.99)
        lateness = "" if late is None else f", lateness p99 {late * 1000:.1f} ms"
        held = books.started - ended
        return f"{elapsed:5.0f} s: {held} chats held, {ended}{of} ended, {dropped} dropped{lateness}"
