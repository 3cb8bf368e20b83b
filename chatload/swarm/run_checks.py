"""Checks before a run: the ceilings on sessions and requests, and the limits of this machine."""

from __future__ import annotations

import logging
import os
from argparse import Namespace

from chatload.chat.settings import SessionSettings
from chatload.errors import UsageError
from chatload.features.doctor.machine import MachineFacts, PlannedLoad, files, ports
from chatload.sockets import local_ports, raise_file_limit
from chatload.target import TargetRules

log = logging.getLogger("chatload")

#: Requests per message of a customer: StartTyping, StopTyping, SendMessage.
_PER_MESSAGE = 3


def planned_rate(users: int, settings: SessionSettings) -> float:
    """Return the requests per second of `users` that all hold a chat.

    They are polls, and the other requests of a chat of mean length: RequestChat, Disconnect, and as many messages of
    the customer as there is time for.
    """
    script = settings.script
    length = max(script.chat_length.mean(), 0.1)
    time_for = length / max(script.think.mean() + script.typing.mean(), 0.1)
    others = 2 + _PER_MESSAGE * min(script.messages.mean(), time_for)
    return users * (1 / settings.policy.interval_s + others / length)


def refuse_above_ceiling(rules: TargetRules, users: int, settings: SessionSettings) -> None:
    """Raise UsageError if so many users would exceed a ceiling."""
    if rules.max_sessions is not None and users > rules.max_sessions:
        ceiling = f"the ceiling of {rules.max_sessions} sessions"
        raise UsageError(f"{users} users are above {ceiling}", rules.origin("max_sessions"))
    rate = planned_rate(users, settings)
    if rules.max_requests_per_s is not None and rate > rules.max_requests_per_s:
        every = settings.policy.interval_s
        message = (
            f"{users} users with a refresh every {every:g} s make about {rate:.3g} requests/s, above the ceiling of "
            f"{rules.max_requests_per_s:g}"
        )
        raise UsageError(message, f"fewer users or a longer interval; {rules.origin('max_requests_per_s')}")


def refuse_beyond_limits(options: Namespace) -> None:
    """Raise UsageError if this machine's processes may not open a file for every user.

    Too few local ports are only logged: a host may have several addresses.
    """
    soft, hard = raise_file_limit()
    processes = options.processes or 1
    if options.master and not options.processes:
        return  # its workers are on other machines, with limits of their own
    low, high = local_ports()
    machine = MachineFacts(files_soft=soft, files_hard=hard, ports_low=low, ports_high=high)
    users = options.num_users or 1
    wish = PlannedLoad(
        min(users, int(options.connections or 0) or users), processes if processes > 0 else os.cpu_count() or 1
    )
    for row in files(machine, wish):
        if row.state == "bad":
            raise UsageError(f"too few open files: {row.found}", row.change)
    for row in ports(machine, wish):
        if row.state == "bad":
            log.warning("chatload: too few local ports: %s; %s", row.found, row.change)
