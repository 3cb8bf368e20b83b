"""`locust` processes without the second of CPU time in which each would import the same modules.

One process for each test process imports them once, and forks for each run, as Locust forks its workers for
`--processes`. The child is a process of its own with its own arguments, environment and outputs. It reads its
locustfile, installs chatload and ends as any other. `chatload.swarm` is imported by each run itself.

Tests of signals, of the terminal and of the start itself use `locust_command()` with subprocess, and so do
the commands of docs/. They import everything as a user's run does.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import random
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: All that a run imports, except `chatload.swarm`.
IMPORTS = (
    "locust.main", "scipy.special", "chatload.chat.customer", "chatload.chat.script", "chatload.features.report.view",
    "chatload.features.report.summary", "chatload.features.report.junit", "chatload.features.doctor.machine",
    "chatload.run.writer", "chatload.thresholds.judgement",
)  # fmt: skip
#: As they are before gevent replaces them by functions that need its event loop.
_recv_fds, _close, _waitpid = socket.recv_fds, os.close, os.waitpid


class LocustProcess:
    """A `locust` process in a session of its own, with the methods of `subprocess.Popen` that tests need.

    pid: its process id. returncode: None until `communicate()` has returned.
    """

    def __init__(self, words: list[str], env: dict[str, str]) -> None:
        """Start `locust` with these words."""
        self.words, self.returncode = words, None
        (out, theirs_out), (err, theirs_err) = os.pipe(), os.pipe()
        self._pipes = (out, err)
        try:
            self.pid = _server().start(words, env, theirs_out, theirs_err)
        finally:
            os.close(theirs_out)
            os.close(theirs_err)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for the end of the process and of its workers; return what they wrote to standard output and error.

        Raises:
            subprocess.TimeoutExpired: it took longer than `timeout` (seconds).
        """
        said = _read_all(self._pipes, time.monotonic() + timeout)
        if said is None:
            raise subprocess.TimeoutExpired(["locust", *self.words], timeout)
        self.returncode = _server().wait(self.pid)
        return said

    def terminate(self) -> None:
        """Send it SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and its workers."""
        os.killpg(self.pid, signal.SIGKILL)


def run_locust(words: list[str], env: dict[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run `locust` with these words to its end, as `subprocess.run` does.

    A run that takes longer than `timeout` (seconds) is killed with its workers.

    Raises:
        subprocess.TimeoutExpired: it took longer.
    """
    process = LocustProcess(words, env)
    try:
        said = process.communicate(timeout)
    except BaseException:
        process.kill()
        raise
    return subprocess.CompletedProcess(["locust", *words], process.returncode, *said)


def _read_all(pipes: tuple[int, int], until: float) -> tuple[str, str] | None:
    """Return what was written to both pipes once all writers have closed them; None if that is not so at `until`."""
    parts: dict[int, list[bytes]] = {pipe: [] for pipe in pipes}
    with selectors.DefaultSelector() as waiting:
        for pipe in pipes:
            waiting.register(pipe, selectors.EVENT_READ)
        while waiting.get_map():
            ready = waiting.select(until - time.monotonic())
            if not ready:
                break
            for key, _ in ready:
                data = os.read(key.fd, 65536)
                parts[key.fd].append(data)
                if not data:
                    waiting.unregister(key.fd)
        ended = not waiting.get_map()
    for pipe in pipes:
        os.close(pipe)
    out, err = (b"".join(part).decode(errors="replace") for part in parts.values())
    return (out, err) if ended else None


class _Server:
    """The process that forks, as its clients see it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.integration.warm_locust", str(theirs.fileno())]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], cwd=ROOT, env=env, stdin=subprocess.DEVNULL
        )
        theirs.close()
        self._lock = threading.Lock()

    def end(self) -> None:
        """End the process."""
        self._socket.close()
        self._process.wait(20)

    def start(self, words: list[str], env: dict[str, str], out: int, err: int) -> int:
        """Start a run in a session of its own; return its process id."""
        request = json.dumps({"words": words, "env": env, "cwd": os.getcwd()}).encode()
        with self._lock:
            socket.send_fds(self._socket, [request], [out, err])
            return int(self._socket.recv(100))

    def wait(self, pid: int) -> int:
        """Wait for the end of a run that has closed its outputs; return its exit code."""
        with open(os.pidfd_open(pid), "rb", buffering=0) as ended:
            select.select([ended], [], [])
        with self._lock:
            self._socket.send(str(pid).encode())
            return int(self._socket.recv(100))


#: Two threads may start their first runs at the same time, and `functools.cache` would let each start a server.
_one_server = threading.Lock()


def _server() -> _Server:
    """Return the server of this process, which the first call starts."""
    with _one_server:
        return _started_server()


@functools.cache
def _started_server() -> _Server:
    server = _Server()
    atexit.register(server.end)
    return server


def main() -> None:
    """Fork for each request on the socket until its other end is closed. The child returns, and runs `locust`."""
    control = socket.socket(fileno=int(sys.argv[1]))
    for name in IMPORTS:
        importlib.import_module(name)
    import gevent

    while True:
        message, fds, _, _ = _recv_fds(control, 1_000_000, 2)
        if not message:
            return
        request = json.loads(message)
        if isinstance(request, int):
            _, status = _waitpid(request, 0)
            control.send(str(os.waitstatus_to_exitcode(status)).encode())
            continue
        if pid := gevent.fork():
            for fd in fds:
                _close(fd)
            control.send(str(pid).encode())
            continue
        control.close()
        _become(request["words"], request["env"], request["cwd"], fds)
        break
    from locust.main import main as locust_main

    locust_main()


def _become(words: list[str], env: dict[str, str], cwd: str, fds: list[int]) -> None:
    """Make this process what `python -m locust WORDS` is at its start."""
    os.setsid()
    for fd, standard in zip(fds, (1, 2), strict=True):
        os.dup2(fd, standard)
        _close(fd)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[0] = cwd
    sys.argv = ["locust", *words]
    random.seed()


if __name__ == "__main__":
    main()
