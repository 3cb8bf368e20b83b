"""The end of a run on a master or worker.

Faults, all of Locust 2.47.0, runners.py; no upstream issues found (related to rebalancing:
https://github.com/locustio/locust/issues/2332):
- Until its `test_stopping` listeners have returned, a stopping master redistributes all users whenever a worker leaves
  or is late with a heartbeat. With a million users this takes a second each time, which delays more heartbeats.
- A worker's last statistics are sent by a timer, every 3 s: those of the last seconds are lost at "quit".
- `Runner.stop` calls `inspect.stack()`, which reads all source files at its first call: a third of a second in which
  no chat can disconnect.
"""

import inspect
from typing import Any


def stop_rebalancing(runner: Any) -> None:
    """Discard the master's user dispatcher, as Locust does itself later in `stop`."""
    runner._users_dispatcher = None


def send_final_statistics(runner: Any) -> None:
    """Send a worker's statistics to the master now."""
    runner._send_stats()


def load_source_files() -> None:
    """Let `inspect` read the source files before the run instead of at its end."""
    inspect.stack()
