"""The benchmark's measures and pages, from made-up repetitions: no peer is needed, and none is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace

import psutil
import pytest
from click.testing import CliRunner

import bench.__main__
from bench import repetition as repetition_of
from bench import report, stacks
from bench.machine import usage
from bench.measures import MEASURES, closed_loop, held, shared, soak
from bench.processes import running
from bench.results import Results, Scale, number
from bench.tools import FAST, HTTP_USER, K6, OURS, TOOLS, WRK, Place, environment
from bench.work import Step, Work
from tests.unit.bench_rows import SCALE, filled, repetition

FACTS = {"started": "then", "machine": "there", "versions": "these"}


class Machine:
    """Takes the place of `measure`: every step is noisy the first `noisy` times."""

    def __init__(self, noisy):
        self.noisy, self.asked = noisy, Counter()

    def __call__(self, step, cores):
        self.asked[step] += 1
        return repetition(step, quiet=self.asked[step] > self.noisy, refreshes_per_s=100.0 + self.asked[step])


@pytest.fixture
def run(monkeypatch):
    """Carries a measure out on such a machine, with so much patience (seconds)."""

    def carried_out(name, machine, patience_s, scale=SCALE):
        monkeypatch.setattr(bench.__main__, "measure", machine)
        results = Results()
        bench.__main__._carry_out(name, [name], scale, results, (0, 1))
        bench.__main__._again(name, scale, results, (0, 1), patience_s)
        return results

    return carried_out


@pytest.mark.parametrize("noisy, asked, quiet", [(0, 1, True), (1, 2, True), (3, 4, True), (9, 4, False)])
def test_noisy_repetitions_are_measured_again_and_only_the_last_counts(run, noisy, asked, quiet):
    machine = Machine(noisy)
    results = run("closed_loop", machine, 1e6)
    steps = closed_loop.steps(SCALE, results)
    assert set(machine.asked.values()) == {asked}
    assert (len(results.rows), len(results.replaced)) == (len(steps), (asked - 1) * len(steps))
    assert {row["refreshes_per_s"] for row in results.rows} == {100.0 + asked}
    assert all(results.noisy(step) is not quiet for step in steps)


def test_a_run_that_is_resumed_measures_what_is_named_anew_and_keeps_the_rest(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)
    monkeypatch.setattr(bench.__main__.signal, "signal", lambda *_: None)

    def begin(*arguments, now):
        monkeypatch.setattr(bench.__main__, "_facts", lambda: {**FACTS, "started": now})
        machine = Machine(0)
        monkeypatch.setattr(bench.__main__, "measure", machine)
        return machine, CliRunner().invoke(bench.__main__.main, [*arguments, "--out", str(tmp_path)])

    assert begin("--resume", now="monday")[1].exit_code == 2
    whole, done = begin("--only", "held,ramp,tls", now="monday")
    assert done.exit_code == 0, done.output
    again, done = begin("--resume", "--only", "tls,ramp", "--tools", OURS, now="tuesday")
    assert done.exit_code == 0, done.output
    assert {step.tool for step in again.asked} == {OURS}
    tls = {step for step in whole.asked if step.work.tls and step.tool == OURS}
    assert tls < set(again.asked) < set(whole.asked)
    page = (tmp_path / "index.md").read_text()
    assert "monday; tls, ramp (chatload, lean) anew tuesday" in page and "## Chats held by one process" in page
    monkeypatch.setitem(FACTS, "machine", "elsewhere")
    assert "another machine" in begin("--resume", now="thursday")[1].output


def test_without_patience_nothing_is_measured_again(run):
    machine = Machine(9)
    assert not run("closed_loop", machine, 5.0).replaced
    assert set(machine.asked.values()) == {1}


def test_a_soak_is_not_measured_again_but_the_rungs_that_give_its_limit_are(run):
    machine = Machine(1)
    run("soak", machine, 1e6, replace(SCALE, soak_min=20))
    assert {step.work.keep: times for step, times in machine.asked.items()} == {False: 2, True: 1}


def test_a_profile_is_not_measured_again_for_what_samples_it_is_the_noise(run):
    machine = Machine(9)
    run("store", machine, 1e6)
    assert {step.work.profile: times for step, times in machine.asked.items()} == {False: 4, True: 1}


def test_what_could_not_be_measured_again_does_not_take_the_place_of_what_was():
    results, step = Results(), closed_loop.steps(SCALE, Results())[0]
    results.add(step, repetition(step, quiet=False))
    results.add(step, {"tool": step.tool, "work": step.work.to_dict(), "repetition": 0, "problem": "no port"})
    assert "problem" not in results.rows[0]
    assert [row["problem"] for row in results.replaced] == ["no port"]


def cell(section, row, column):
    head, *lines = section.table
    return next(line[head.index(column)] for line in lines if line[0].startswith(row))


def test_repetitions_of_the_closed_loop_take_turns():
    order = [step.tool for step in closed_loop.steps(SCALE, Results())]
    once = order[: len(order) // SCALE.repetitions]
    assert order == once * SCALE.repetitions
    assert len(set(once)) == len(once)
    assert {OURS, HTTP_USER, FAST, K6, WRK} <= set(once)


def test_ours_against_a_peer_with_the_goal_beside_it():
    results = filled("closed_loop")
    for row in results.rows:
        row["refreshes_per_cpu_s"] = 5000.0 if row["tool"] == OURS else 1000.0
    assert cell(MEASURES["closed_loop"].section(SCALE, results), "k6", "ours / it") == "5.00 (goal: at least 4)"


def test_where_every_answer_is_new_ours_is_compared_with_what_had_the_same_answers():
    results = filled("closed_loop", "fresh")
    for row in results.rows:
        row["refreshes_per_cpu_s"] = 1000.0 * (2.0 if row["tool"] == OURS else 1.0) * (1 if row["work"]["fresh"] else 9)
    section = MEASURES["fresh"].section(SCALE, results)
    assert cell(section, "k6", "refreshes/s of CPU") == "1 000 (1 000..1 000)"
    assert cell(section, "k6", "ours / it") == "2.00 (goal: at least 4)"
    simulators = [repetition_of._simulator(step.work, None) for step in MEASURES["fresh"].steps(SCALE, results)]
    assert all("--key-rotates-answers" in command for command in simulators)
    assert "--key-rotates-answers" not in repetition_of._simulator(closed_loop.work(SCALE), None)


def test_no_ratio_of_a_noisy_peer():
    results = filled("closed_loop")
    for row in results.rows:
        row["noise"]["quiet"] = row["tool"] != K6
    section = MEASURES["closed_loop"].section(SCALE, results)
    assert cell(section, "k6", "ours / it") == "no ratio: too noisy"
    assert "noisy" in cell(section, "k6", "refreshes/s of CPU")
    assert "1.00" in cell(section, "wrk", "ours / it")


def test_a_peer_that_is_missing_is_said_to_be():
    results = filled("closed_loop")
    results.rows = [row for row in results.rows if row["tool"] != K6]
    step = Step(K6, closed_loop.work(SCALE))
    results.rows.append({"tool": K6, "work": step.work.to_dict(), "repetition": 0, "problem": "it is not installed"})
    section = MEASURES["closed_loop"].section(SCALE, results)
    assert cell(section, "k6", "refreshes/s of CPU") == "not measured: it is not installed"
    assert cell(section, "k6", "ours / it") == ""


def test_a_peer_that_ended_badly_is_not_passed_over():
    results = filled("closed_loop")
    for row in results.rows:
        row["exit_code"] = 99 if row["tool"] == K6 else 0
    assert "k6 (exit code 99)" in [line[0] for line in MEASURES["closed_loop"].section(SCALE, results).table]


def test_memory_of_a_chat_is_what_many_take_beyond_one():
    results = filled("held")
    found = held.memory_kb(SCALE, results, K6, held.rung(SCALE, 1_000))
    assert found.median == pytest.approx(1e3 * (60.0 - 50.01) / 999)


def test_a_rung_that_was_not_reached_says_how_far_it_came():
    results = filled("held")
    for row in results.rows:
        if row["tool"] == HTTP_USER and row["work"]["chats"] == 5_000:
            row["chats"] = 4_100
    lines = MEASURES["held"].section(SCALE, results).table
    assert [line[1] for line in lines if line[0] == "Locust HttpUser"] == ["1000", "4100 of 5000"]


def test_rungs_that_two_measures_share_are_carried_out_once():
    results = filled("held", "shared")
    again = [step for name in ("ramp", "growth") for step in MEASURES[name].steps(SCALE, results)]
    fresh = {step for step in again if step not in results.done}
    assert {(step.tool, step.work.chats) for step in fresh} == {(OURS, 50_000)}


def test_a_soak_is_only_where_it_is_asked_for_and_at_four_fifths_of_the_limit():
    assert soak.steps(SCALE, Results()) == []
    scale = Scale(soak_min=20.0)
    results = filled("held", scale=scale)
    for row in results.rows:
        if row["work"]["chats"] == 19_000:
            row["gap_error_s"] = {"steady": {"p50": 0.0, "p99": 0.1, "p99_9": 0.2, "max": 1.0}}
    last = soak.steps(scale, results)[-1]
    assert (last.work.chats, last.work.steady_s, last.work.keep) == (8_000, 1200.0, True)


def test_a_soak_stays_the_soak_where_its_limit_is_measured_anew():
    scale = Scale(soak_min=20.0)
    results = filled("held", "soak", scale=scale, drift={"metrics": []})
    late = {"steady": {"p50": 0.0, "p99": 0.1, "p99_9": 0.2, "max": 1.0}}
    again = Step(OURS, held.rung(scale, 19_000))
    results.add(again, repetition(again, gap_error_s=late))
    assert soak.steps(scale, results)[-1].work.chats == 15_200
    assert soak.section(scale, results).text.startswith("15 200 chats for 20 minutes.")


def test_no_soak_without_a_limit():
    scale = Scale(soak_min=20.0)
    results = filled("held", scale=scale, whole=False)
    assert all(not step.work.keep for step in soak.steps(scale, results))
    assert "not measured" in soak.section(scale, results).table[1][0]


STACKS = """\
thread (7);run (/x/locust/main.py:1);hold (/x/chatload/swarm/driver.py:9);steps (/x/chatload/chat/engine.py:3) 40
thread (7);run (/x/locust/main.py:1);hold (/x/chatload/swarm/driver.py:9);steps (/x/chatload/chat/engine.py:4) 10
thread (7);run (/x/locust/main.py:1);hold (/x/chatload/swarm/driver.py:9);add (/x/chatload/run/histogram.py:3) 20
thread (7);run (/x/locust/main.py:1);request (/x/chatload/run/books.py:3);copy (/usr/lib/python3.11/copy.py:3) 15
thread (7);run (/x/locust/main.py:1);flush (/x/chatload/run/writer.py:3) 5
thread (7);sleep (/x/site-packages/gevent/hub.py:1) 10
thread (8);wait (/x/site-packages/gevent/_threading.py:1) 99
not a stack at all
"""


def test_a_sample_belongs_to_its_innermost_known_frame():
    found = stacks.count(STACKS.splitlines())
    assert found["samples"] == 100
    shares = {part: share for part, share in found["shares"].items() if share}
    assert shares == {"engine": 0.5, "histograms": 0.2, "books": 0.15, "store": 0.05, "other": 0.1}
    assert next(iter(found["functions"].items())) == ("steps  chatload/chat/engine.py", 0.5)
    assert " 50.00 %  steps  chatload/chat/engine.py\n" in stacks.text(found)
    assert " 10.00 %  sleep  gevent/hub.py\n" in stacks.text(found)
    assert " 15.00 %  copy  copy.py\n" in stacks.text(found)
    assert stacks.count(["nothing"]) is None


@pytest.mark.parametrize("figures", [{}, {"quiet": False}, {"gap_error_s": None, "worst_pause_s": None}])
def test_every_measure_has_a_page_and_charts(tmp_path, figures):
    results = filled(*MEASURES, **figures)
    report.write(tmp_path, results, SCALE, list(MEASURES), FACTS)
    page = (tmp_path / "index.md").read_text()
    for module in MEASURES.values():
        assert f"## {module.section(SCALE, results).title}" in page
    assert len(json.loads((tmp_path / "results.json").read_text())["repetitions"]) == len(results.rows)
    for file in tmp_path.glob("*.svg"):
        assert f"({file.name})" in page
        assert ET.parse(file).getroot().get("role") == "img"
    assert (tmp_path / "growth_cpu.svg").exists()
    assert not list(tmp_path.glob("*.tmp"))


def test_a_page_of_nothing_says_so(tmp_path):
    report.write(tmp_path, Results(), SCALE, list(MEASURES), FACTS)
    page = (tmp_path / "index.md").read_text()
    assert page.count("not measured") > 20
    assert not list(tmp_path.glob("*.svg"))


def test_a_table_is_as_wide_in_every_row(tmp_path):
    for results in (Results(), filled(*MEASURES)):
        for name in ("closed_loop", "fresh", "held", "shared", "ramp", "tls", "growth"):
            table = MEASURES[name].section(SCALE, results).table
            assert {len(line) for line in table} == {len(table[0])}, name


def test_every_tool_does_the_same_work(tmp_path):
    place = Place("http://127.0.0.1:1", tmp_path, tmp_path / "authority.pem")
    work = Work(chats=500, ramp_s=10.0, steady_s=20.0)
    assert environment(work, place)["BENCH_CHATS"] == "500"
    for tool in TOOLS.values():
        assert tool.command(work, place)
    ours = TOOLS[OURS].command(work, place)
    assert [ours[ours.index(flag) + 1] for flag in ("-u", "-r", "-t", "--refresh-interval")] == [
        "500",
        "50",
        "38s",
        "5",
    ]
    naive = TOOLS[HTTP_USER].command(work, place)
    assert [naive[naive.index(flag) + 1] for flag in ("-u", "-r", "-t")] == ["500", "50", "38s"]


def test_chats_share_connections_only_where_they_are_asked_to(tmp_path):
    place = Place("http://127.0.0.1:1", tmp_path, tmp_path)
    command = TOOLS[OURS].command(shared.rung(SCALE, 20_000), place)
    assert command[command.index("--connections") + 1] == "1000"
    assert "--connections" not in TOOLS[OURS].command(held.rung(SCALE, 1_000), place)


@pytest.mark.parametrize(
    "value, text",
    [(0, "0"), (1234567.0, "1 234 567"), (12.34, "12.3"), (0.01234, "0.0123"), (999.6, "1 000"), (-3.25, "-3.25")],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


FAMILY = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_ends_with_all_it_started_and_whatever_it_thinks_of_it(tmp_path):
    stubborn = (
        FAMILY + "import signal; signal.signal(2, lambda *_: sys.exit(0)); print('up', flush=True); time.sleep(60)"
    )
    core = min(os.sched_getaffinity(0))
    with running([sys.executable, "-c", stubborn], core, tmp_path / "said.txt") as process:
        until = time.monotonic() + 20
        while not (tmp_path / "said.txt").read_text() and time.monotonic() < until:
            time.sleep(0.02)
        family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        assert usage(process.pid).rss > usage(family[-1]).rss > 0
    assert len(family) == 2
    until = time.monotonic() + 10  # a killed grandchild is gone a moment later
    while any(map(alive, family)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(alive, family))


def test_what_it_can_do_is_told_without_doing_it():
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert all(name in done.stdout for name in MEASURES)
    wrong = subprocess.run(
        [sys.executable, "-m", "bench", "--only", "speed"], capture_output=True, text=True, timeout=60, check=False
    )
    assert wrong.returncode == 2 and "closed_loop" in wrong.stderr
