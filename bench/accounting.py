"""What store, books and histograms take of our generator's CPU, from what `bench/peers/twice.py` found in it."""

from __future__ import annotations

import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

from chatload.chat.record import SessionRecord
from chatload.run.settings import RunSettings
from chatload.run.writer import RunWriter, row

FILE = "twice.json"
#: A chat of five minutes is refreshed so often, at 5 s; then it is a row.
REFRESHES_A_ROW = 60
_ROWS, _TIMES = 200, 20


def read(file: Path, scratch: Path) -> dict[str, Any] | None:
    """The figures of one run; None where there are none. scratch: a folder to be made, for what a row costs."""
    return None if not file.exists() else cost(json.loads(file.read_text()), row_us(scratch))


def cost(found: dict[str, Any], a_row_us: float) -> dict[str, Any] | None:
    """us_per_refresh: CPU of the whole process; of it booked_us, give or take either_way_us (95 %), stored_us and
    row_us; share: what they are of it. a_second_ms: what is stored takes in a second, whatever the number of chats."""
    pairs = list(zip(found["slices"][::2], found["slices"][1::2], strict=False))
    if len(pairs) < 2 or not all(requests for pair in pairs for *_, requests in pair):
        return None
    differences = []
    for pair in pairs:
        with_, without = sorted(pair, key=lambda each: not each[0])
        differences.append(1e6 * (with_[1] / with_[2] - without[1] / without[2]))
    plain = [each for each in found["slices"] if not each[0]]
    each_us = 1e6 * sum(cpu for _, cpu, _ in plain) / sum(requests for *_, requests in plain)
    requests = sum(requests for *_, requests in found["slices"])
    booked_us = statistics.fmean(differences)
    stored_us, a_refresh_us = 1e6 * found["stored_s"] / requests, a_row_us / REFRESHES_A_ROW
    return {
        "us_per_refresh": each_us,
        "booked_us": booked_us,
        "either_way_us": 1.96 * statistics.stdev(differences) / math.sqrt(len(differences)),
        "stored_us": stored_us,
        "row_us": a_refresh_us,
        "a_second_ms": 1e3 * found["stored_s"] / found["seconds"],
        "share": (booked_us + stored_us + a_refresh_us) / (each_us + a_refresh_us),
        "pairs": len(pairs),
    }


def row_us(folder: Path) -> float:
    """CPU time for the row of a chat that has ended, microseconds: many in a transaction, synced, as in a run."""
    writer = RunWriter.create(folder, RunSettings())
    record = SessionRecord("0" * 32, "completed", why="we disconnected and it was confirmed", worker="local")
    began = time.process_time()
    for _ in range(_TIMES):
        writer.keep([row(record) for _ in range(_ROWS)], {})
    used = time.process_time() - began
    writer.close()
    return 1e6 * used / (_ROWS * _TIMES)
