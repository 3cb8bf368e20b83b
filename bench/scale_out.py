"""What workers cost their master: measured with real ones, and simulated for as many as you like.

    python bench/scale_out.py real --workers 2 --sessions 1000
    python bench/scale_out.py simulated --workers 1 5 10 20 50 100 --sessions 10000

real: a master and workers of Locust against `chatload simulator`, all on loopback. simulated: a real master, and
bench/scale_workers.py in place of all workers. A line of figures a run, the same as JSON with --json FILE. CPU is CPU
time, not wall time: this machine may have other things to do.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
TIMEOUT = ("--flex-disconnect-timeout", "45")
OURS, LOCUSTS = ("chatload-report",), ("stats", "heartbeat")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started(stack: ExitStack, command: list[str], **more: Any) -> subprocess.Popen[str]:
    """A process that does not outlive the stack."""
    process = subprocess.Popen(command, text=True, **{"env": ENV, **more})

    def end() -> None:
        if process.poll() is None:
            process.kill()
        process.wait(20)

    stack.callback(end)
    return process


def master(stack: ExitStack, folder: Path, port: int, workers: int, users: int, *more: str) -> subprocess.Popen[str]:
    """A headless chatload master with the meter in it."""
    command = [
        *(sys.executable, "-m", "locust", "-f", str(HERE / "scale_locustfile.py"), "--headless", "--only-summary"),
        *("--loglevel", "WARNING", "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)),
        *("--expect-workers", str(workers), "-u", str(users), "--run-dir", str(folder / "run"), *TIMEOUT, *more),
    ]
    env = {**ENV, "CHATLOAD_SCALE_METER": str(folder / "meter.jsonl")}
    out = stack.enter_context((folder / "master.log").open("w"))
    return started(stack, command, env=env, stdout=out, stderr=subprocess.STDOUT)


def lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / "meter.jsonl"
    return (
        [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        if path.exists()
        else []
    )


def wait_for(condition: Any, seconds: float, process: subprocess.Popen[str]) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        if condition():
            return True
        time.sleep(0.2)
    return False


def measure(folder: Path, process: subprocess.Popen[str], workers: int, settle_s: float, seconds: float) -> list[Any]:
    """The meter's lines of `seconds` of a run, once all workers are heard of and `settle_s` have passed."""
    if not wait_for(lambda: any(line["workers"] >= workers for line in lines(folder)), 120, process):
        sys.stderr.write((folder / "master.log").read_text()[-3000:])
    wait_for(lambda: False, settle_s, process)
    first = len(lines(folder))
    wait_for(lambda: False, seconds, process)
    return lines(folder)[first:]


def figures(taken: list[Any], workers: int, sessions: int) -> dict[str, Any]:
    """Of one run: rates per worker and per 1000 sessions, and the master's CPU, flushes and growth."""
    first, last = taken[0], taken[-1]
    seconds = last["at"] - first["at"]

    def rate(table: str, kinds: tuple[str, ...]) -> float:
        return sum(last[table].get(kind, 0) - first[table].get(kind, 0) for kind in kinds) / seconds

    every = tuple(last["in"])
    flushes = [flush for line in taken for flush in line["flush_s"]]
    ages = [age for line in taken for age in line["oldest_s"]]
    return {
        "workers": workers,
        "sessions": sessions,
        "seconds": round(seconds, 1),
        "master_cpu_percent": 100 * (last["cpu_s"] - first["cpu_s"]) / seconds,
        "in_per_s": rate("in", every),
        "in_bytes_per_s": rate("in_bytes", every),
        "facts_per_s": rate("in", OURS),
        "facts_bytes_per_s": rate("in_bytes", OURS),
        "stats_bytes_per_s": rate("in_bytes", ("stats",)),
        "heartbeat_bytes_per_s": rate("in_bytes", ("heartbeat",)),
        "out_per_s": rate("out", tuple(last["out"])),
        "flush_p50_s": statistics.median(flushes) if flushes else None,
        "flush_max_s": max(flushes, default=None),
        "oldest_p50_s": statistics.median(ages) if ages else None,
        "oldest_max_s": max(ages, default=None),
        "late_max_s": max(line["late_s"] for line in taken),
        "rss_mb": last["rss"] / 1e6,
        "file_kb_per_s": (last["file"] - first["file"]) / seconds / 1e3,
        "written_kb_per_s": (last["written"] - first["written"]) / seconds / 1e3,
    }


def ended(folder: Path, process: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """Stop the run as CI would; how long that took, and whether its books balance."""
    before, began = lines(folder)[-1]["cpu_s"], time.monotonic()
    process.send_signal(signal.SIGINT)
    try:
        code: int | None = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return {"end_s": None, "exit": None}
    took = time.monotonic() - began
    summary = json.loads((folder / "run" / "summary.json").read_text())
    with sqlite3.connect(folder / "run" / "run.sqlite") as database:
        rows = database.execute("SELECT count(*) FROM sessions").fetchone()[0]
    told = {"end_s": took, "end_cpu_s": lines(folder)[-1]["cpu_s"] - before, "exit": code, "rows": rows}
    return {**told, "balanced": summary["books"]["balanced"], "imbalances": summary["books"]["imbalances"]}


def simulated(workers: int, asked: argparse.Namespace) -> dict[str, Any]:
    """One real master, `workers` that hold no chats."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scale-")))
        port, users = free_port(), workers * asked.sessions
        # The master looks whether its host is up, and asks nothing of it.
        host = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = f"http://127.0.0.1:{host.getsockname()[1]}"
        process = master(stack, folder, port, workers, users, "-r", str(users), "--host", address)
        command = [sys.executable, str(HERE / "scale_workers.py"), "--port", str(port), "--workers", str(workers)]
        command += ["--sessions", str(asked.sessions), *(["--no-facts"] if asked.no_facts else [])]
        fakes = started(stack, command, stdout=subprocess.PIPE)
        if asked.no_facts:
            wait_for(lambda: "spawn" in (lines(folder) or [{"out": ()}])[-1]["out"], 60, process)
        taken = measure(folder, process, 0 if asked.no_facts else workers, asked.settle, asked.seconds)
        found = figures(taken, workers, asked.sessions)
        if asked.profile:
            _record(process, asked)
        end = ended(folder, process, 240)
        try:
            own = json.loads(fakes.communicate(timeout=30)[0])
        except subprocess.TimeoutExpired:
            own = None  # the master never said quit
        return {**found, **end, "fakes": own, "log": (folder / "master.log").read_text()[-600:]}


def _record(process: subprocess.Popen[str], asked: argparse.Namespace) -> None:
    record = ["py-spy", "record", "-d", "10", "-r", "200", "-f", "raw", "-o", asked.profile, "-p", str(process.pid)]
    subprocess.run([str(Path(sys.executable).with_name(record[0])), *record[1:]], check=False, timeout=60)


def real(workers: int, asked: argparse.Namespace) -> dict[str, Any]:
    """A master and real workers, `asked.sessions` chats each, against the simulator."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scale-")))
        command = [sys.executable, "-m", "chatload", "simulator", "--port", "0", *TIMEOUT]
        server = started(stack, command, stdout=subprocess.PIPE)
        assert server.stdout is not None
        host, port, users = server.stdout.readline().split()[-1], free_port(), workers * asked.sessions
        length = ("--chat-length", str(asked.chat_length))
        process = master(stack, folder, port, workers, users, "-r", str(users / 10), "--host", host, *length)
        worker = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / "chat.py"), "--loglevel", "WARNING"]
        worker += ["--worker", "--master-host", "127.0.0.1", "--master-port", str(port)]
        for number in range(workers):
            log = stack.enter_context((folder / f"worker-{number}.log").open("w"))
            started(stack, worker, stdout=log, stderr=subprocess.STDOUT)
        taken = measure(folder, process, workers, asked.settle, asked.seconds)
        found = {**figures(taken, workers, asked.sessions), "sample": taken[-1]["sample"]}
        return {**found, **ended(folder, process, 120), "log": (folder / "master.log").read_text()[-600:]}


def row(found: dict[str, Any]) -> str:
    """One run in one line."""
    per, cpu = found["workers"], found["master_cpu_percent"]

    def ms(value: float | None) -> str:
        return "-" if value is None else f"{1000 * value:.0f}"

    return (
        f"{per:4d} x {found['sessions']}: CPU {cpu:.1f} % ({cpu / per:.2f} a worker), "
        f"{found['in_per_s'] / per:.2f} messages/s and {found['in_bytes_per_s'] / per / 1000:.1f} kB/s a worker "
        f"(facts {found['facts_bytes_per_s'] / per / 1000:.1f}, stats {found['stats_bytes_per_s'] / per / 1000:.1f}), "
        f"facts {found['facts_per_s']:.1f}/s, flush p50 {ms(found['flush_p50_s'])} max {ms(found['flush_max_s'])} ms, "
        f"oldest fact p50 {ms(found['oldest_p50_s'])} max {ms(found['oldest_max_s'])} ms, loop late max "
        f"{ms(found['late_max_s'])} ms, {found['rss_mb']:.0f} MB, file +{found['file_kb_per_s']:.0f} kB/s, disk "
        f"{found['written_kb_per_s']:.0f} kB/s; end {found.get('end_s') or -1:.1f} s, {found.get('rows')} rows, "
        f"balanced {found.get('balanced')}, exit {found.get('exit')}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("real", "simulated"))
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--sessions", type=int, default=10_000, help="of each worker")
    parser.add_argument("--settle", type=float, default=15.0, help="seconds before measuring")
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds measured")
    parser.add_argument("--chat-length", type=float, default=60.0, help="of real chats, seconds")
    parser.add_argument("--no-facts", action="store_true", help="simulated: Locust's own messages only")
    parser.add_argument("--profile", help="simulated: afterwards 10 s of py-spy into this file")
    parser.add_argument("--json", type=Path, help="append all figures, a line a run")
    asked = parser.parse_args()
    for workers in asked.workers:
        found = simulated(workers, asked) if asked.kind == "simulated" else real(workers, asked)
        print(row(found), flush=True)
        print(f"      {found.get('fakes', found.get('sample'))}", flush=True)
        if asked.json:
            with asked.json.open("a") as stream:
                stream.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
