"""Workers that hold no chats, many in one process: to a master they are chatload's, message for message.

    python bench/scale_workers.py --port 5557 --workers 100 --sessions 10000

Each says client_ready, beats once a second, answers spawn, sends Locust's statistics every 3 s and its facts every
second (chatload's own code makes them): books that grow as they do with so many sessions, refreshed every 3 s and over
after 5 minutes, a row for each that ended, a timeline for one in 200 of them. When drained, its chats say goodbye
within 3 s. Everything is drawn by a seed; clocks are this machine's. The last line says how late it was itself.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import sys
import time
from collections import Counter
from dataclasses import asdict
from typing import Any

import msgpack
import numpy as np
import orjson
import zmq
from locust import __version__ as locust_version

from chatload.chat.record import Contact, SessionRecord, Timeline, WorstTimelines
from chatload.run.books import Books
from chatload.run.histogram import _GAMMA_LOG, CensoredHistogram, Histogram, _middle
from chatload.run.windows import Usage
from chatload.run.writer import row as as_row
from chatload.swarm.worker_report import WorkerReport

CHAT_S, REFRESH_S, GOODBYE_S = 300.0, 3.0, 3
#: Messages a customer sends per second, each with StartTyping and StopTyping.
MESSAGES_PER_S = 1 / 40
#: Books are as after so long a run (seconds): histograms have found their width by then.
GROWN_S = 3600.0


def lognormal(median: float, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Buckets of a histogram and how probable each is."""
    middle, width = math.log(median) / _GAMMA_LOG, sigma / _GAMMA_LOG
    keys = np.arange(math.floor(middle - 5 * width), math.ceil(middle + 5 * width))
    weights = np.exp(-(((keys - middle) / width) ** 2) / 2)
    return keys, weights / weights.sum()


def gaps() -> tuple[np.ndarray, np.ndarray]:
    """Most refreshes come one interval after the last; some sooner, after a message."""
    keys, near = lognormal(REFRESH_S, 0.004)
    low = math.ceil(math.log(0.02) / _GAMMA_LOG)
    every = np.arange(low, int(keys[-1]) + 1)
    sooner = np.exp(every * _GAMMA_LOG) * (every <= math.ceil(math.log(REFRESH_S) / _GAMMA_LOG))
    weights = 0.1 * sooner / sooner.sum()
    weights[keys[0] - low :] += 0.9 * near
    return every, weights / weights.sum()


LATENCY, LATENESS, GAP = lognormal(0.012, 0.5), lognormal(0.0006, 0.35), gaps()


def grow(histogram: Histogram, shape: tuple[np.ndarray, np.ndarray], n: int, draw: np.random.Generator) -> None:
    """Add n samples of a shape."""
    if not n:
        return
    keys, weights = shape
    counts = draw.multinomial(n, weights)
    hit = np.flatnonzero(counts)
    drawn = {
        "buckets": dict(zip(keys[hit].tolist(), counts[hit].tolist(), strict=True)),
        "zeros": 0,
        "count": n,
        "total_us": round(float(counts @ np.exp(keys * _GAMMA_LOG)) * 1e6),
        "min": _middle(int(keys[hit[0]])),
        "max": _middle(int(keys[hit[-1]])),
    }
    histogram.merge(Histogram.from_dict(drawn))


class FakeWorker:
    """One worker: what it says, when."""

    def __init__(self, context: zmq.Context, port: int, number: int, sessions: int, facts: bool) -> None:
        self.name = f"fake_{number:03d}_{'0' * 32}"
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.IDENTITY, self.name.encode())
        self.socket.connect(f"tcp://127.0.0.1:{port}")
        self.books, self.worst = Books(), WorstTimelines()
        self.draw = np.random.default_rng(number)
        self.sessions, self.with_facts = sessions, facts
        self.state, self.users, self.running, self.over = "ready", {}, False, False
        self.goodbyes, self._chats, self._owed = 0, 0, 0.0
        self.run = ""
        self._stats: Counter[str] = Counter()
        self._last = time.time()
        self.say("client_ready", locust_version)

    def say(self, kind: str, data: Any) -> None:
        self.socket.send(msgpack.dumps((kind, data, self.name)))

    # -- what it hears ---------------------------------------------------------------------------

    def hear(self) -> None:
        while not self.over:
            try:
                kind, data, _ = msgpack.loads(self.socket.recv(zmq.NOBLOCK), strict_map_key=False)
            except zmq.Again:
                return
            if kind == "spawn":
                self.say("spawning", None)
                self.users, self.run = data["user_classes_count"], data["parsed_options"]["run_named"]
                self.say("spawning_complete", {"user_classes_count": self.users, "user_count": self.sessions})
                if not self.running and self.state == "ready":
                    self.running, self.state = True, "running"
                    self._begin()
            elif kind == "chatload-drain" and self.running:
                self.goodbyes = GOODBYE_S
            elif kind == "quit":
                self.say("quit", None)
                self.over = True

    def _begin(self) -> None:
        self.books.started = self.sessions
        self.books.states["held"] = self.sessions
        self.books.sent["RequestChat"] = self.sessions
        self._request("RequestChat", self.sessions)
        self._requests(GROWN_S)
        self._last = time.time()

    # -- what it says ----------------------------------------------------------------------------

    def heartbeat(self) -> None:
        self.say("heartbeat", {"state": self.state, "current_cpu_usage": 40.0, "current_memory_usage": 300_000_000})

    def stats(self) -> None:
        now = time.time()
        entries = [_entry(name, n, now) for name, n in self._stats.items()]
        total = _entry("Aggregated", sum(self._stats.values()), now, "")
        self._stats.clear()
        data = {"stats": entries, "stats_total": total, "errors": {}, "user_classes_count": self.users}
        self.say("stats", {**data, "user_count": sum(self.users.values())})

    def facts(self) -> None:
        """What came up in the last second; after the last goodbye the final ones."""
        if not self.running:
            return
        now = time.time()
        elapsed, since, self._last = now - self._last, self._last, now
        if not self.with_facts:
            self._requests(elapsed)
            return
        rows: list[SessionRecord] = []
        if self.goodbyes:
            self.goodbyes -= 1
            rows = self._end(self.books.states["held"] // (self.goodbyes + 1), "cut_off", since, now)
        else:
            self._requests(elapsed)
            self._owed += elapsed * self.sessions / CHAT_S
            ended, self._owed = int(self._owed), self._owed % 1.0
            rows = self._end(ended, "completed", since, now)
            self.books.started += ended
            self.books.states["held"] += ended
            self._count("RequestChat", ended)
        final = self.books.started == self.books.verdicts.total()
        self._hand_over(rows, [t for row in rows if (t := self._timeline(row))], final)
        if final:
            self.running, self.state = False, "stopped"
            self.stats()

    def _hand_over(self, rows: list[SessionRecord], timelines: list[Timeline], final: bool) -> None:
        books = {"": orjson.dumps(self.books.to_dict()).decode()}
        usage, ends = Usage(time.process_time(), 300_000_000), [asdict(timeline) for timeline in timelines]
        sessions = [as_row(record) for record in rows]
        self.say("chatload-report", WorkerReport(sessions, ends, books, usage, final, self.run))

    # -- what happens to it ----------------------------------------------------------------------

    def _count(self, operation: str, n: int) -> None:
        self.books.sent[operation] += n
        self._request(operation, n)

    def _request(self, operation: str, n: int) -> None:
        outcomes = self.books.outcomes.setdefault(operation, Counter())
        failed = int(self.draw.binomial(n, 0.001))
        outcomes["0/false"] += n - failed
        outcomes["1/false"] += failed
        grow(self.books.latency.setdefault(operation, CensoredHistogram()).observed, LATENCY, n, self.draw)
        self._stats[operation] += n

    def _requests(self, elapsed: float) -> None:
        refreshes = round(self.sessions * elapsed / REFRESH_S)
        self._count("GetMessages", refreshes)
        grow(self.books.lateness, LATENESS, refreshes, self.draw)
        grow(self.books.gap.observed, GAP, refreshes, self.draw)
        for operation in ("StartTyping", "SendMessage", "StopTyping"):
            self._count(operation, round(self.sessions * elapsed * MESSAGES_PER_S))

    def _end(self, n: int, verdict: str, since: float, now: float) -> list[SessionRecord]:
        self._count("Disconnect", n)
        self.books.states["held"] -= n
        rows = []
        for at in np.linspace(since, now, n).tolist():
            self._chats += 1
            late = verdict == "completed" and self._chats % 200 == 0
            what = "dropped_late" if late else verdict
            self.books.verdicts[what] += 1
            self.books.blames.update(["network"] * late)
            rows.append(
                SessionRecord(
                    chat_id=f"{self.name[5:8]}{self._chats:013X}",
                    verdict=what,
                    blame="network" if late else "",
                    why="no answer for longer than the timeout" if late else "",
                    started_at=at - CHAT_S,
                    ended_at=at,
                    contacts=121,
                    requests=121,
                    gap_lower_s=2.981234567,
                    gap_upper_s=3.012345678,
                    learned_by="0/true",
                    goodbye_confirmed=True,
                    generator_s=0.000612345,
                    lateness_max_s=0.001523456,
                    messages_sent=7,
                    messages_received=8,
                    worker=self.name,
                    polls=98,
                )
            )
        return rows

    def _timeline(self, row: SessionRecord) -> Timeline | None:
        if row.verdict != "dropped_late":
            return None
        at = row.ended_at
        contacts = [Contact("GetMessages", at - 3 * n, at - 3 * n, at - 3 * n + 0.01, "0/false") for n in range(12)]
        shares = {"plan": 3.0, "generator": 0.001, "server": 0.012, "retries": 0.0, "network": 42.1}
        severity = float(self.draw.exponential(5.0))
        made = Timeline(
            row.chat_id, row.verdict, row.blame, row.why, 45.0, severity, at, at, shares, contacts, self.name
        )
        return made if self.worst.admits(made) else None


def _entry(name: str, n: int, now: float, method: str = "CHAT") -> dict[str, Any]:
    """A row of Locust's own statistics, of some 60 rounded response times."""
    second = int(now)
    return {
        **{"name": name, "method": method, "last_request_timestamp": now, "start_time": now - 3, "num_requests": n},
        **{"num_none_requests": 0, "num_failures": 0, "total_response_time": n * 14.2, "max_response_time": 88.1},
        **{"min_response_time": 2.1, "total_content_length": n * 310, "num_fail_per_sec": {}},
        "response_times": dict.fromkeys(range(3, 63), n // 60 + 1),
        "num_reqs_per_sec": {second - back: n // 3 for back in range(4)},
    }


def run(port: int, count: int, sessions: int, facts: bool, seconds: float) -> None:
    """Until the master says quit, or for so long at most."""
    context, poller = zmq.Context(), zmq.Poller()
    workers = [FakeWorker(context, port, number, sessions, facts) for number in range(count)]
    for worker in workers:
        poller.register(worker.socket, zmq.POLLIN)
    by_socket = {worker.socket: worker for worker in workers}
    due: list[tuple[float, int, str, float]] = []
    began = time.monotonic()
    for worker_number in range(count):
        phase = worker_number / count
        for kind, every in (("heartbeat", 1.0), ("facts", 1.0), ("stats", 3.0)):
            heapq.heappush(due, (began + 1 + phase * every, worker_number, kind, every))
    late: list[float] = []
    while not all(worker.over for worker in workers) and time.monotonic() < began + seconds:
        for socket, _ in poller.poll(max(0.0, (due[0][0] - time.monotonic()) * 1000)):
            by_socket[socket].hear()
        while due[0][0] <= time.monotonic():
            at, worker_number, kind, every = heapq.heappop(due)
            worker = workers[worker_number]
            late.append(time.monotonic() - at)
            # Sent at once after a time it stood still: facts are of the time that passed.
            heapq.heappush(due, (max(at + every, time.monotonic() + every / 2), worker_number, kind, every))
            if not worker.over:
                getattr(worker, kind)()
    late.sort()
    told = {"late_p99_s": late[int(len(late) * 0.99)], "late_max_s": late[-1], "cpu_s": time.process_time()}
    rows = sum(worker.books.verdicts.total() for worker in workers)
    open_ = sum(worker.books.started - worker.books.verdicts.total() for worker in workers)
    print(json.dumps({**told, "rows": rows, "open": open_, "elapsed_s": time.monotonic() - began}), flush=True)
    context.destroy(linger=2000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=10)
    parser.add_argument("--sessions", type=int, default=10_000, help="open sessions of each")
    parser.add_argument("--no-facts", action="store_true", help="speak Locust's messages only")
    parser.add_argument("--seconds", type=float, default=300.0, help="give up after so long")
    asked = parser.parse_args(sys.argv[1:])
    run(asked.port, asked.workers, asked.sessions, not asked.no_facts, asked.seconds)


if __name__ == "__main__":
    main()
