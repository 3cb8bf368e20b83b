"""The pauses of a generator while it opens chats: what the beat writes, and which of it counts."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.repetition import _worst_pause

STILL_S = 0.08


@pytest.mark.parametrize(
    "beats, expected",
    [
        ([(10.2, 0.004), (11.0, 0.012), (12.0, 0.003)], 0.012),
        # The tool's own beginning, just before its first chat.
        ([(9.99, 0.088), (10.3, 0.002)], 0.002),
        # The last chat was opened after it, or during it.
        ([(19.9, 0.5), (20.4, 0.6)], 0.6),
        ([(10.5, 0.002), (20.4, 0.3)], 0.002),
        ([], None),
    ],
)
def test_pauses_count_from_the_first_chat_opened_to_the_last(tmp_path, beats, expected):
    file = tmp_path / "beat.ndjson"
    file.write_text("".join(json.dumps(beat) + "\n" for beat in beats) + "[21.0, 0.")
    assert _worst_pause(file, 10.0, 20.0) == expected


def test_a_tool_without_a_beat_has_no_pause(tmp_path):
    assert _worst_pause(tmp_path / "beat.ndjson", 10.0, 20.0) is None


#: In a process of its own, for Locust patches whatever imports it.
STANDS_STILL = f"""
import gevent.monkey; gevent.monkey.patch_all()
import gevent, sys, time
from bench.peers.beat import _beat, _write
told = []
beat = gevent.spawn(_beat, told)
gevent.sleep(0.15)
before = time.monotonic()
while time.monotonic() < before + {STILL_S}: pass
print(before, time.monotonic())
gevent.sleep(0.15)
_write(sys.argv[1], told)
"""


def test_the_beat_tells_how_late_the_latest_was_and_when_it_came(tmp_path):
    file = tmp_path / "beat.ndjson"
    command = [sys.executable, "-c", STANDS_STILL, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    before, after = map(float, done.stdout.split())
    came, late = max(map(json.loads, file.read_text().splitlines()), key=lambda line: line[1])
    assert late > STILL_S / 2
    assert after <= came and came - late > before - STILL_S
