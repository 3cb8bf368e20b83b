"""How fast the simulator alone is: GetMessages a second of one core, the CPU of each, and how late an expiry is.

    python bench/server_speed.py [--connections 64 2000] [--seconds 10] [--repeat 3] [-- SIMULATOR OPTIONS]

wrk (Debian: apt install wrk) drives the refreshes of chats that are all alive, from core 1; the simulator has
core 0. Meanwhile some chats say nothing, and a watcher asks /simulator/status how many are left: each expiry was
booked after the last answer that still counted the chat left, and before the first that did not any more arrived.
Against the instant it was due (ended_at of the ledger: the same machine's clock) that gives two bounds of its
lateness. The upper holds the waiting of the watcher's own request behind wrk's, too.

CPU time a refresh is the steadier figure where others use the machine as well.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

HERE = Path(__file__).parent
BASE = "/genesys/2/chat/default"
HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
#: How long a silent chat lives (--flex-disconnect-timeout), and how far apart they expire.
TIMEOUT_S, APART_S = 4.0, 0.023


class Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get(self, path: str) -> bytes:
        self._connection.request("GET", path)
        return self._connection.getresponse().read()

    def chat(self, path: str, **fields: str | int) -> dict:
        self._connection.request("POST", path, urlencode(fields), HEADERS)
        return json.loads(self._connection.getresponse().read())


def cpu_s(pid: int) -> float:
    """CPU time a process has used, user and system, from /proc/PID/stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def rss_kb(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])


def opened(client: Client, count: int) -> list[dict]:
    return [client.chat(BASE, nickname="Ann") for _ in range(count)]


def keys(first: dict) -> dict[str, str]:
    return {name: first[name] for name in ("userId", "secureKey", "alias")}


class Watcher(threading.Thread):
    """Opens silent chats, and notes how many chats are left, when asked and when answered."""

    def __init__(self, port: int, silent: int) -> None:
        super().__init__(daemon=True)
        self.port, self.silent = port, silent
        self.seen: list[tuple[float, float, int]] = []
        self.ids: list[str] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        client, opening = Client(self.port), Client(self.port)
        due = time.monotonic()
        while not self.stopping.is_set():
            if len(self.ids) < self.silent and time.monotonic() >= due:
                self.ids.append(opening.chat(BASE, nickname="Silent")["chatId"])
                due = time.monotonic() + APART_S
            asked = time.monotonic()
            left = json.loads(client.get("/simulator/status"))["live_sessions"]
            self.seen.append((asked, time.monotonic(), left))
            self.stopping.wait(0.004)


def lateness(
    watcher: Watcher, ended: dict[str, float], started: dict[str, float], held: int
) -> list[tuple[float, float]]:
    """Bounds of how late each silent chat's expiry was booked. held: chats that go on."""
    ends, starts = sorted(ended.values()), sorted(started.values())
    bounds = []
    for number, due in enumerate(ends, 1):
        # At an instant, `begun` silent chats had been opened for certain, so that many less `left` are booked.
        surely_not = [
            asked for asked, answered, left in watcher.seen
            if left - held >= sum(start <= answered for start in starts) - number + 1 and asked >= starts[0]
        ]  # fmt: skip
        surely = [
            answered for asked, answered, left in watcher.seen
            if answered >= due and left - held <= sum(start <= asked for start in starts) - number
        ]  # fmt: skip
        if surely:
            bounds.append((max(0.0, max(surely_not, default=due) - due), surely[0] - due))
    return bounds


def measure(arguments: argparse.Namespace, connections: int, folder: Path) -> dict[str, float]:
    """One simulator, one run of wrk on it."""
    options = ["--flex-disconnect-timeout", str(TIMEOUT_S), *arguments.options]
    command = ["taskset", "-c", "0", sys.executable, "-m", "chatload", "simulator", "--port", "0", *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        port = int(server.stdout.readline().rpartition(":")[2])
        return driven(arguments, connections, folder, server.pid, port)
    finally:
        server.terminate()
        server.wait(timeout=20)


def driven(arguments: argparse.Namespace, connections: int, folder: Path, pid: int, port: int) -> dict[str, float]:
    client, empty_kb = Client(port), rss_kb(pid)
    chats = opened(client, arguments.chats)
    per_chat = (rss_kb(pid) - empty_kb) / len(chats)
    for wait in (0.8, 0.8, 0.8):  # until the agents are there, so that there is nothing new to tell
        time.sleep(wait)
        for chat in chats:
            chat.update(client.chat(f"{BASE}/{chat['chatId']}/refresh", **keys(chat), transcriptPosition=1))
    lines = [
        f"{BASE}/{chat['chatId']}/refresh {urlencode({**keys(chat), 'transcriptPosition': chat['nextPosition']})}"
        for chat in chats
    ]
    file = folder / "chats"
    file.write_text("\n".join(lines) + "\n")
    wrk = [
        "taskset",
        "-c",
        "1",
        "wrk",
        "-t1",
        f"-c{connections}",
        "--timeout",
        "10s",
        "-s",
        HERE / "server_refresh.lua",
    ]
    url, environment = f"http://127.0.0.1:{port}", {**os.environ, "CHATS": str(file)}
    watcher = Watcher(port, arguments.silent)
    watcher.start()
    before = cpu_s(pid)
    run = subprocess.run(
        [*map(str, wrk), f"-d{arguments.seconds}s", url], env=environment, capture_output=True, text=True, check=True
    )
    used = cpu_s(pid) - before
    watcher.stopping.set()
    watcher.join(30)
    result = json.loads(run.stdout.partition("RESULT ")[2])
    rows = [json.loads(line) for line in client.get("/simulator/ledger").splitlines()]
    held = {chat["chatId"] for chat in chats}
    if any(row["ended_at"] is not None for row in rows if row["chat_id"] in held) or result["failed"]:
        print("INVALID: chats that were refreshed have ended, or requests failed", file=sys.stderr)
    silent = set(watcher.ids)
    ended = {row["chat_id"]: row["ended_at"] for row in rows if row["chat_id"] in silent and row["ended_at"]}
    started = {row["chat_id"]: row["started_at"] for row in rows if row["chat_id"] in silent}
    bounds = lateness(watcher, ended, started, len(held))
    return {
        "refreshes_per_s": result["requests"] / result["duration_us"] * 1e6,
        "cpu_us": used / result["requests"] * 1e6,
        "cores": used / (result["duration_us"] / 1e6),
        "p99_ms": result["p99_us"] / 1e3,
        "expired": len(bounds),
        "late_ms_lower": max((low for low, _ in bounds), default=0.0) * 1e3,
        "late_ms_upper": max((high for _, high in bounds), default=0.0) * 1e3,
        "late_ms_median_upper": statistics.median([high for _, high in bounds] or [0.0]) * 1e3,
        "kb_a_chat": per_chat,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, nargs="+", default=[64, 2000])
    parser.add_argument("--chats", type=int, default=2000, help="chats that are refreshed, in turn")
    parser.add_argument("--silent", type=int, default=100, help="chats that expire meanwhile")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("options", nargs="*", help="options of the simulator, after --")
    arguments = parser.parse_args()
    if arguments.seconds < TIMEOUT_S + arguments.silent * APART_S * 1.5:
        parser.error("--seconds: too short for the silent chats to expire under load")
    with tempfile.TemporaryDirectory() as folder:
        for connections in arguments.connections:
            for _ in range(arguments.repeat):
                found = measure(arguments, connections, Path(folder))
                shown = ", ".join(f"{name} {value:,.1f}" for name, value in found.items())
                print(f"{connections} connections: {shown}", flush=True)


if __name__ == "__main__":
    main()
