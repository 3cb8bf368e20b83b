"""The simulator as a process of its own, for tests and examples."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from types import TracebackType
from typing import Any

from chatload.errors import ChatloadError

#: The process gets this long (seconds) to end after SIGTERM.
_STOP_S = 10.0
_LEDGER_TIMEOUT_S = 30.0


class Simulator:
    """A running `chatload simulator` on a free port of loopback.

    Use it as a context manager, or call `stop`. `url` is its base URL, for example http://127.0.0.1:40123.

        with Simulator("--flex-disconnect-timeout", 2) as simulator:
            requests.post(f"{simulator.url}/genesys/2/chat/default", {"nickname": "Ann"})
    """

    def __init__(self, *options: object) -> None:
        """Start the process and wait until it listens.

        Args:
            options: options of `chatload simulator`, for example "--flex-disconnect-timeout", 2.

        Raises:
            ChatloadError: it did not start; its own message is on stderr.
        """
        command = [sys.executable, "-m", "chatload", "simulator", "--port", "0", *map(str, options)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        announced = self._process.stdout.readline().split()
        if announced[:2] != ["listening", "on"]:
            self.stop()
            raise ChatloadError("the simulator did not start", "see its message above")
        self.url = announced[-1]

    def ledger(self) -> bytes:
        """Return what the server saw of each chat, as NDJSON: the input of `chatload reconcile --ledger`."""
        with urllib.request.urlopen(f"{self.url}/simulator/ledger", timeout=_LEDGER_TIMEOUT_S) as answer:
            body: bytes = answer.read()
        return body

    def chats(self) -> list[dict[str, Any]]:
        """Return the ledger as one dict per chat."""
        return [json.loads(line) for line in self.ledger().splitlines()]

    def stop(self) -> None:
        """End the process. Does nothing if it has ended."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
