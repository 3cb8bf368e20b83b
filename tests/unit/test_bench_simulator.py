"""The simulator's own figures in the benchmark: taken from what `server_speed.py` prints, or refused."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace

import pytest

from bench import goals, repetition
from bench.measures import simulator
from bench.tools import SIMULATOR, TOOLS
from bench.work import Step, Work
from tests.unit.bench_rows import SCALE, filled

WORK = Work(chats=2, ramp_s=0.0, steady_s=1.0, connections=64)
SPEED = {"refreshes_per_s": 61_000.0, "cpu_us": 16.0, "cores": 0.99, "latest_expiry_ms": 40.0, "invalid": False}


@pytest.fixture
def measured(monkeypatch):
    """One repetition of a tool that prints so."""

    def carried_out(printed):
        says = replace(TOOLS[SIMULATOR], command=lambda *_: [sys.executable, "-c", printed], missing=lambda: "")
        monkeypatch.setitem(repetition.TOOLS, SIMULATOR, says)
        core = min(os.sched_getaffinity(0))
        return repetition.measure(Step(SIMULATOR, WORK), (core, core))

    return carried_out


@pytest.mark.skipif(sys.platform != "linux", reason="pins to a core")
@pytest.mark.parametrize("cores, quiet", [(0.99, True), (0.9, False)])
def test_what_is_printed_is_what_was_measured_and_a_shared_core_is_noise(measured, cores, quiet):
    row = measured(f"print('hello'); print({json.dumps(json.dumps({**SPEED, 'cores': cores}))})")
    assert row["speed"]["refreshes_per_s"] == 61_000.0
    assert (row["noise"]["quiet"], row["exit_code"], row["ended_by_us"]) == (quiet, 0, False)


@pytest.mark.skipif(sys.platform != "linux", reason="pins to a core")
@pytest.mark.parametrize(
    "printed, problem",
    [
        ("raise SystemExit('no port')", "did not say anything: no port"),
        (f"print({json.dumps(json.dumps({**SPEED, 'invalid': True}))})", "requests failed"),
    ],
)
def test_what_failed_is_no_figure(measured, printed, problem):
    assert problem in measured(printed)["problem"]


def test_the_simulators_goals_and_page():
    results = filled("simulator", speed={**SPEED, "kb": 1.3})
    reached = {line[0]: line[1:] for line in goals.table(SCALE, results, ["simulator"])}
    under = "the simulator under 64 connections"
    assert reached[f"{under}: refreshes/s of its core"] == ("at least 50 000", "61 000 (61 000..61 000)", "yes")
    assert reached[f"{under}: the latest expiry"][2] == "yes"
    assert reached["the simulator's memory of a chat"] == ("at most 1.2 kB", "1.30 kB", "no")
    table = simulator.section(SCALE, results).table
    assert [line[0] for line in table] == ["connections", "64", "2000", "none"]
    assert {len(line) for line in table} == {len(table[0])}


def test_memory_and_speed_are_asked_for_apart(tmp_path):
    memory, first, *_ = simulator.steps(SCALE, None)
    of_memory, of_speed = (TOOLS[SIMULATOR].command(step.work, None) for step in (memory, first))
    assert of_memory[of_memory.index("--connections") + 1 :] == ["--memory-chats", "50000"]
    assert of_speed[of_speed.index("--connections") + 1] == "64"
    assert of_speed[of_speed.index("--memory-chats") + 1] == "0"
