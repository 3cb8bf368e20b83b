"""A start from Locust's web UI, checked before Locust makes it."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from locust.runners import STATE_RUNNING, STATE_SPAWNING

from chatload.errors import ChatloadError, UsageError
from chatload.swarm.login import host_with_login

if TYPE_CHECKING:
    from chatload.swarm.run import Run

log = logging.getLogger("chatload")


#: Options that a form may change in a run that is under way.
_OF_USERS = frozenset({"num_users", "spawn_rate", "run_time", "user_classes", "profile"})


def refusal(run: Run, form: Mapping[str, str]) -> str:
    """Why the start that this form asks for is refused; empty where it is not, or where a run is under way, which
    the form only changes."""
    if _under_way(run):
        return ""
    try:
        if run.is_master and not run.runner.worker_count:
            # Locust would answer that it has started, and start nothing.
            hint = "start one; after a stop, Locust takes its workers back once --stop-timeout has passed"
            raise UsageError("no worker is connected", hint)
        run.check(_asked_for(run, form), host_with_login(run.environment, form.get("host")))
    except ChatloadError as error:
        log.error("chatload: %s", error)
        run.course.refused = str(error)
        return str(error)
    return ""


@contextmanager
def settings_kept(run: Run) -> Iterator[None]:
    """While Locust reads a form. That of a run that is under way changes its users only: all other options keep the
    values that the run began with, by which workers that come late go too."""
    options, host = run.environment.parsed_options, run.environment.host
    before = dict(vars(options)) if _under_way(run) else {}
    try:
        yield
    finally:
        changed = [name for name in before if name not in _OF_USERS and getattr(options, name) != before[name]]
        if changed:
            vars(options).update({name: before[name] for name in changed})
            run.environment.host = host
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(changed))
            run.course.note(f"not changed, for a run under way keeps its settings: {flags}")


def _under_way(run: Run) -> bool:
    return run.runner.state in (STATE_SPAWNING, STATE_RUNNING)


def _asked_for(run: Run, form: Mapping[str, str]) -> Namespace:
    """Locust's options as they will be once Locust has read the form, which it does as it starts (locust/web.py,
    `swarm`). What it cannot read it refuses itself."""
    options = Namespace(**vars(run.environment.parsed_options))
    for name, text in form.items():
        if name == "user_count":
            with suppress(ValueError):
                options.num_users = int(text)
        elif hasattr(options, name):
            setattr(options, name, text == "true" if isinstance(getattr(options, name), bool) else text)
    return options
