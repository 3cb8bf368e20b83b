"""The Locust command that makes a run again, and the files that it needs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from chatload.errors import printable
from chatload.run.settings import SETTINGS, RunSettings


def repeat_command(run: RunSettings) -> str:
    """Return the Locust command that makes such a run again, an option a line. It holds no secrets."""
    locustfile = run.locustfile or f"locustfiles/{run.name or 'chat'}.py"
    first = f"-f{locustfile}" if locustfile.startswith("-") else "-f"
    words = [word for word in run.user_classes if not word.startswith("-")]
    parts = [["locust", first, *([] if first != "-f" else [locustfile]), *words, "--headless"], *_options(run)]
    return printable(" \\\n  ".join(map(shlex.join, parts)))


def repeat_files(run: RunSettings) -> dict[str, str]:
    """Return the files that the command names, as the run stored them: the name of each, and its text."""
    return {getattr(run, setting.removesuffix("_text")): text for setting, text in run.files().items()}


def _options(run: RunSettings) -> Iterator[list[str]]:
    # What a policy makes of the interval is no option of it: Locust would be refused.
    skipped = {"locustfile"} | (set() if run.refresh_policy == "fixed" else {"refresh_interval"})
    for name, setting in SETTINGS.items():
        value = getattr(run, name)
        if setting.option is not None and setting.is_set(value) and name not in skipped:
            yield from setting.option.words(value)
    for threshold in run.step_thresholds:
        yield ["--threshold", threshold]
