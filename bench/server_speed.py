"""How fast the simulator alone is: GetMessages a second of one core, the CPU of each, and how late an expiry is.

    python bench/server_speed.py [--connections 64 2000] [--seconds 10] [--repeat 3] [-- SIMULATOR OPTIONS]

wrk (Debian: apt install wrk) drives the refreshes of chats that are all alive, from core 1; the simulator has
core 0. Meanwhile some chats that say nothing expire, and afterwards /simulator/status tells how long after its
instant the latest of them was booked. `make bench` does it too, as its measure "simulator".

CPU time a refresh is the steadier figure where others use the machine as well.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

HERE = Path(__file__).parent
BASE = "/genesys/2/chat/default"
HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
#: How long a silent chat lives (--flex-disconnect-timeout), and how far apart they expire.
TIMEOUT_S, APART_S = 6.0, 0.02


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


@contextmanager
def simulator(timeout_s: float, arguments: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """One simulator on its core: pid and port."""
    options = ["--port", "0", "--flex-disconnect-timeout", str(timeout_s), *arguments.options]
    command = ["taskset", "-c", str(arguments.cores[0]), sys.executable, "-m", "chatload", "simulator", *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield server.pid, int(server.stdout.readline().rpartition(":")[2])
    finally:
        server.terminate()
        server.wait(timeout=20)


def memory_kb(count: int, arguments: argparse.Namespace) -> float:
    """Resident memory a chat that was opened, and refreshed when its agent was there."""
    with simulator(3600.0, arguments) as (pid, port):
        client = Client(port)
        opened(client, 1000)  # what is made once is made now
        before = rss_kb(pid)
        for chat in opened(client, count):
            client.chat(f"{BASE}/{chat['chatId']}/refresh", **keys(chat), transcriptPosition=1)
        return (rss_kb(pid) - before) / count


def driven(arguments: argparse.Namespace, connections: int, folder: Path, pid: int, port: int) -> dict[str, float]:
    """One run of wrk on a simulator."""
    client = Client(port)
    chats = opened(client, arguments.chats)
    for wait in (0.8, 0.8, 0.8):  # until the agents are there, so that there is nothing new to tell
        time.sleep(wait)
        for chat in chats:
            chat.update(client.chat(f"{BASE}/{chat['chatId']}/refresh", **keys(chat), transcriptPosition=1))
    lines = [
        f"{BASE}/{chat['chatId']}/refresh\t{urlencode({**keys(chat), 'transcriptPosition': chat['nextPosition']})}"
        for chat in chats
    ]
    file = folder / "chats"
    file.write_text("\n".join(lines) + "\n")
    wrk = [
        *("taskset", "-c", arguments.cores[1], "wrk", "-t1", f"-c{connections}", "--timeout", "10s"),
        *("-s", HERE / "peers" / "refresh.lua"),
    ]
    url, environment = f"http://127.0.0.1:{port}", {**os.environ, "BENCH_KEYS": str(file)}
    silent = set()
    for _ in range(arguments.silent):
        silent.add(client.chat(BASE, nickname="Silent")["chatId"])
        time.sleep(APART_S)
    before = cpu_s(pid)
    run = subprocess.run(
        [*map(str, wrk), f"-d{arguments.seconds}s", url], env=environment, capture_output=True, text=True, check=True
    )
    used = cpu_s(pid) - before
    status = json.loads(client.get("/simulator/status"))
    result = json.loads(run.stdout.partition("RESULT ")[2])
    rows = [json.loads(line) for line in client.get("/simulator/ledger").splitlines()]
    held = {chat["chatId"] for chat in chats}
    invalid = any(row["ended_at"] is not None for row in rows if row["chat_id"] in held) or bool(result["failed"])
    if invalid:
        print("INVALID: chats that were refreshed have ended, or requests failed", file=sys.stderr)
    expired = sum(row["end_reason"] == "expired" for row in rows if row["chat_id"] in silent)
    return {
        "refreshes_per_s": result["requests"] / result["duration_us"] * 1e6,
        "cpu_us": used / result["requests"] * 1e6,
        "cores": used / (result["duration_us"] / 1e6),
        "p99_ms": result["p99_us"] / 1e3,
        "expired": expired,
        "invalid": invalid,
        "latest_expiry_ms": status["latest_expiry_s"] * 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, nargs="*", default=[64, 2000])
    parser.add_argument("--chats", type=int, default=2000, help="chats that are refreshed, in turn")
    parser.add_argument("--silent", type=int, default=100, help="chats that expire meanwhile")
    parser.add_argument("--memory-chats", type=int, default=50_000, help="chats opened to measure memory; 0 for none")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--cores", type=int, nargs=2, default=[0, 1], help="the simulator's and wrk's")
    parser.add_argument("--json", action="store_true", help="print a line of JSON each instead")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("options", nargs="*", help="options of the simulator, after --")
    arguments = parser.parse_args()
    if arguments.seconds < TIMEOUT_S + 2:
        parser.error("--seconds: too short for the silent chats to expire under load")
    if arguments.memory_chats:
        kb = memory_kb(arguments.memory_chats, arguments)
        plain = f"{arguments.memory_chats} chats: {kb:.2f} kB each"
        print(json.dumps({"kb": kb}) if arguments.json else plain, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for connections in arguments.connections:
            for _ in range(arguments.repeat):
                with simulator(TIMEOUT_S, arguments) as (pid, port):
                    found = driven(arguments, connections, Path(folder), pid, port)
                shown = ", ".join(f"{name} {value:,.1f}" for name, value in found.items())
                print(json.dumps(found) if arguments.json else f"{connections} connections: {shown}", flush=True)


if __name__ == "__main__":
    main()
