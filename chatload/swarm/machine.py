"""Whether this machine can hold so many users, asked before a headless run: what would otherwise fail in its middle."""

from __future__ import annotations

import logging
import os
from argparse import Namespace

from chatload.errors import UsageError
from chatload.features.doctor.checks import MachineFacts, PlannedLoad, files, ports
from chatload.features.doctor.reading import local_ports, raise_file_limit

log = logging.getLogger("chatload")


def refuse_beyond_limits(options: Namespace) -> None:
    """Raises UsageError where the processes on this machine may not open a file for every user; too few local ports are
    only warned of, for a host may have several addresses."""
    soft, hard = raise_file_limit()
    processes = options.processes or 1
    if options.master and not options.processes:
        return  # its workers are elsewhere, with limits of their own
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
