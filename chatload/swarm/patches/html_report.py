"""Locust's --html report is written after the last chat has ended.

Fault: Locust writes it before the chats have disconnected. It does not write it after SIGTERM, or if a signal comes
while it is rendered. If it cannot be written, the outputs that follow it are not written either. Locust 2.47.0,
main.py, `save_html_report`. No upstream issue found; related: https://github.com/locustio/locust/issues/1936
"""

import os
from typing import Any

from locust.env import Environment
from locust.html import get_html_report, process_html_filename

from chatload.errors import UsageError
from chatload.run.writer import replacing


class LocustHtml:
    """Takes --html from Locust's options and writes the report later."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        options: Any = environment.parsed_options
        self._file = getattr(options, "html_file", None)
        if self._file:
            options.html_file = None

    def write(self) -> None:
        """Write the report if --html was given. Raises UsageError if it cannot be written."""
        if not self._file:
            return
        options: Any = self._environment.parsed_options
        options.html_file = self._file
        process_html_filename(options)
        path, options.html_file = options.html_file, None
        page = get_html_report(self._environment, show_download_link=False)
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            # A path such as /dev/stdout is written to, not replaced.
            new = not os.path.exists(path) or os.path.isfile(path)
            with replacing(path) if new else open(path, "w", encoding="utf-8") as stream:
                stream.write(page)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from None
