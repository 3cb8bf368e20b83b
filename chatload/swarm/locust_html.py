"""Locust's own --html, written last of all.

Locust 2.47 writes it before the chats have said goodbye; on SIGTERM, or where a signal comes while it renders, not at
all; and where it cannot be written, what comes after it is not written either.
"""

from __future__ import annotations

import os
from typing import Any

from locust.env import Environment
from locust.html import get_html_report, process_html_filename

from chatload.errors import UsageError
from chatload.run.writer import replacing


class LocustHtml:
    """The --html of one Locust process: taken from Locust when made."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        options: Any = environment.parsed_options
        self._file = getattr(options, "html_file", None)
        if self._file:
            options.html_file = None

    def write(self) -> None:
        """All is over: write it, where it is wanted. Raises UsageError where it cannot be."""
        if not self._file:
            return
        options: Any = self._environment.parsed_options
        options.html_file = self._file
        process_html_filename(options)
        path, options.html_file = options.html_file, None
        page = get_html_report(self._environment, show_download_link=False)
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            # What is no file, such as /dev/stdout, is written to and not replaced.
            file = replacing(path) if not os.path.exists(path) or os.path.isfile(path) else open(path, "w")
            with file as stream:
                stream.write(page)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from None
