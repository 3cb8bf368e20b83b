"""locustfiles/chat.py with a meter on the master: what comes in and goes out by kind of message, its CPU time, its
memory, its run file, and how old the oldest session row is when it is synced to the disk.

A line of JSON a second goes into the file CHATLOAD_SCALE_METER names. Nothing of the product is changed: the meter
stands between Locust's socket and its reader, and behind the writer's `keep`. CHATLOAD_SCALE_PROFILE names a file for
cProfile's figures of the master's main thread.
"""

from __future__ import annotations

import atexit
import cProfile
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

import gevent
import psutil
from locust import events
from locust.rpc import protocol
from locust.runners import MasterRunner

from chatload.run.writer import RunWriter
from chatload.swarm.run import run_of
from chatload.swarm.user import ChatUser


class Customer(ChatUser):
    """A customer in a browser: one chat, one connection, refreshed until it ends."""


class Meter:
    """Counts on the master, since it began."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter] = {"in": Counter(), "in_bytes": Counter(), "out": Counter()}
        self.last: dict[str, bytes] = {}
        self.flushes: list[float] = []
        self.ages: list[float] = []
        self._seen = 0

    def install(self, environment) -> None:
        message, keep = protocol.Message, RunWriter.keep
        unserialize, serialize = message.unserialize.__func__, message.serialize

        def counted_in(cls, data):
            made = unserialize(cls, data)
            self.counts["in"][made.type] += 1
            self.counts["in_bytes"][made.type] += len(data)
            self.last[made.type] = data
            return made

        def counted_out(made):
            self.counts["out"][made.type] += 1
            return serialize(made)

        def timed(writer, *arguments):
            began = time.monotonic()
            keep(writer, *arguments)
            self.flushes.append(time.monotonic() - began)
            sql = "SELECT min(ended_at), max(rowid) FROM sessions WHERE rowid > ?"
            oldest, last = writer._database.execute(sql, (self._seen,)).fetchone()
            if oldest is not None:
                self.ages.append(time.time() - oldest)
                self._seen = last

        message.unserialize, message.serialize, RunWriter.keep = classmethod(counted_in), counted_out, timed
        gevent.spawn(self._write, environment, Path(os.environ["CHATLOAD_SCALE_METER"]))

    def _write(self, environment, path: Path) -> None:
        process, due = psutil.Process(), time.monotonic()
        with path.open("a", buffering=1) as stream:
            while True:
                due += 1.0
                gevent.sleep(max(0.0, due - time.monotonic()))
                flushes, self.flushes = self.flushes, []
                ages, self.ages = self.ages, []
                coordinator = run_of(environment).role.coordinator
                run_dir = coordinator.run_dir
                files = [] if run_dir is None else list(run_dir.glob("run.sqlite*"))
                line = {
                    "at": time.monotonic(),
                    "late_s": time.monotonic() - due,
                    "cpu_s": time.process_time(),
                    "rss": process.memory_info().rss,
                    "flush_s": flushes,
                    "oldest_s": ages,
                    "file": sum(file.stat().st_size for file in files if file.name == "run.sqlite"),
                    "written": process.io_counters().write_bytes,
                    "workers": len(coordinator.figures),
                    "sample": {kind: len(data) for kind, data in self.last.items()},
                    **{name: dict(counter) for name, counter in self.counts.items()},
                }
                stream.write(json.dumps(line) + "\n")


@events.init.add_listener
def _init(environment, **_) -> None:
    if isinstance(environment.runner, MasterRunner) and "CHATLOAD_SCALE_METER" in os.environ:
        Meter().install(environment)
        if "CHATLOAD_SCALE_PROFILE" in os.environ:
            _profile(os.environ["CHATLOAD_SCALE_PROFILE"])


def _profile(path: str) -> None:
    """cProfile knows nothing of greenlets, and its own times are right all the same: the thread is one."""
    profile = cProfile.Profile(time.thread_time)
    profile.enable()
    atexit.register(lambda: (profile.disable(), profile.dump_stats(path), print(path, file=sys.stderr)))
