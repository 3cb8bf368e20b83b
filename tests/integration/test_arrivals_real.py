"""Arrivals as the server saw them: their distribution, a server that stands still, and every way to stop.

CHATLOAD_ARRIVALS=1 runs what takes minutes too: 1, 20 and 100 arrivals a second, and a stall of ten seconds; with
-s it prints the figures.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from scipy import stats

from chatload.run.reader import RunReader
from tests.integration.processes import ENV, ROOT, assert_balanced, ledger_of, locust, locust_command, summary_of
from tests.integration.test_stopping import ports, wait_for

pytestmark = pytest.mark.slow
ARRIVALS = ROOT / "locustfiles" / "arrivals.py"
BY_HAND = pytest.mark.skipif(not os.environ.get("CHATLOAD_ARRIVALS"), reason="takes minutes: CHATLOAD_ARRIVALS=1")
TIMEOUT = ("--flex-disconnect-timeout", "30")
HASTY = (*TIMEOUT, "--chat-length", "1")
#: So improbable is a false alarm; constant gaps, chats in turn and timers of a millisecond are all far beyond.
P = 1e-4


@contextmanager
def simulator():
    """A simulator: its process and its base URL."""
    command = [sys.executable, "-m", "chatload", "simulator", "--port", "0", *TIMEOUT]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENV)
    try:
        yield process, process.stdout.readline().split()[-1]
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.communicate(timeout=15)


def open_run(host, run_dir, *options, seconds):
    run = locust(host, run_dir, *options, "-t", f"{seconds}s", locustfile=ARRIVALS, timeout=seconds + 60)
    return run, summary_of(run_dir)


def check(run, summary, ledger):
    """Everything begun is accounted for, here and at the server; late starts are admitted, not hidden."""
    assert_balanced(summary)
    arrivals = summary["arrivals"]
    assert arrivals["count"] == arrivals["started"] + arrivals["not_started"]
    assert arrivals["started"] == summary["sessions"]["started"] == len(ledger)
    late = arrivals["late_starts"] + arrivals["not_started"] > max(1, 0.01 * arrivals["count"])
    if late or summary["generator"]["cpu_saturated"]:
        assert run.returncode == 3 and not summary["valid"]
    else:
        assert run.returncode == 0, run.stdout + run.stderr


def instants_of(ledger):
    return np.sort([row["started_at"] for row in ledger])


def p_of_gaps(instants, rate):
    return stats.kstest(np.diff(instants), "expon", args=(0, 1 / rate)).pvalue


def p_of_number(number, expected):
    return min(1.0, 2 * min(stats.poisson.cdf(number, expected), stats.poisson.sf(number - 1, expected)))


def report(rate, ledger, run_dir, summary):
    """The figures of one run, for whoever runs it by hand."""
    seen = instants_of(ledger)
    left = np.sort([record.started_at for record in sessions(run_dir)])
    d = stats.kstest(np.diff(seen), "expon", args=(0, 1 / rate)).statistic
    began = summary["arrivals"]["start_lateness_s"]
    print(f"\n{rate}/s: {len(seen)} arrivals at the server in {seen[-1] - seen[0]:.1f} s, KS of their gaps "
          f"D = {d:.4f}, p = {p_of_gaps(seen, rate):.3f} (as they left p = {p_of_gaps(left, rate):.3f}); lateness "
          f"p50 {began['p50']}, p99 {began['p99']}, max {began['max']} s, {summary['arrivals']['late_starts']} late, "
          f"{summary['arrivals']['not_started']} not started; {summary['result']}")  # fmt: skip


def sessions(run_dir):
    with RunReader.open(run_dir) as reader:
        return list(reader.sessions())


def judge(summary):
    """Go on only where the generator kept its times: else it has said so itself, and nothing is to be judged."""
    if not summary["valid"]:
        pytest.skip(f"this machine was too busy: {summary['invalid_reasons']}")


def test_sources_in_two_workers_share_the_rate_and_are_poisson_at_the_server(tmp_path):
    with simulator() as (_, host):
        options = ("-u", "3", "-r", "3", "--processes", "2", *ports(), "--arrival-rate", "30", *HASTY)
        run, summary = open_run(host, tmp_path / "run", *options, seconds=6)
        ledger = ledger_of(host)
    check(run, summary, ledger)
    assert summary["generator"]["processes"] == 2
    judge(summary)
    instants = instants_of(ledger)
    middle = instants[instants > instants[0] + 1.5]  # by then all sources are there
    assert len(middle) > 30 and p_of_number(len(middle), 30 * (instants[-1] - instants[0] - 1.5)) > P
    began, limit = summary["arrivals"]["start_lateness_s"], 0.25 / 30
    # A busy machine delays some chats. If half of them are late, the source itself is.
    assert began["p50"] < limit, began
    p = p_of_gaps(middle, 30)
    if p <= P and began["p99"] > limit:
        pytest.skip(f"this machine was too busy: of 100 chats one began {began['p99']:.3f} s late, p = {p:.1g}")
    assert p > P


def stalled_run(tmp_path, rate, stall, seconds):
    """A run whose server stands still for `stall` seconds; gives when, too."""
    run_dir = tmp_path / "run"
    options = ("--arrival-rate", rate, "-t", f"{seconds}s", *TIMEOUT, "--request-timeout", "20", "--chat-length", "5")
    with simulator() as (server, host):
        run = subprocess.Popen(locust_command(host, run_dir, *options, locustfile=ARRIVALS), env=ENV,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
        wait_for(lambda: len(ledger_of(host)) > 2 * rate)
        server.send_signal(signal.SIGSTOP)
        froze = time.time()
        time.sleep(stall)
        thawed = time.time()
        server.send_signal(signal.SIGCONT)
        out, err = run.communicate(timeout=60)
        ledger = ledger_of(host)
    summary = summary_of(run_dir)
    check(subprocess.CompletedProcess(run.args, run.returncode, out, err), summary, ledger)
    return summary, run_dir, froze, thawed


def check_stall(summary, run_dir, rate, froze, thawed):
    judge(summary)
    began = np.sort([record.started_at for record in sessions(run_dir)])
    during = began[(began > froze) & (began < thawed)]
    assert p_of_number(len(during), rate * (thawed - froze)) > P, "arrivals went on at their rate"
    assert p_of_gaps(during, rate) > P
    with RunReader.open(run_dir) as reader:
        windows = list(reader.windows())
    # What was answered just before may be read a little later.
    frozen = [window for window in windows if froze + 0.9 < window.start and window.end < thawed]
    assert frozen and all(window.books.arrivals for window in frozen)
    assert not any(window.books.outcomes.get("RequestChat") for window in frozen)
    longest = [window.books.latency["RequestChat"].observed.maximum or 0.0 for window in windows
               if "RequestChat" in window.books.latency]  # fmt: skip
    assert max(longest) > 0.8 * (thawed - froze) > 5 * min(longest)
    assert summary["requests"]["by_operation"]["RequestChat"]["latency_s"]["max"] > 0.8 * (thawed - froze)


def test_a_server_that_stands_still_does_not_hold_arrivals_up(tmp_path):
    check_stall(*(found := stalled_run(tmp_path, 20, 3.0, 6))[:2], 20, *found[2:])


def test_a_generator_that_stood_still_counts_what_it_owes(tmp_path):
    with simulator() as (_, host):
        command = locust_command(host, tmp_path / "run", "--arrival-rate", "40", "-t", "60s", *HASTY,
                                 locustfile=ARRIVALS)  # fmt: skip
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
        wait_for(lambda: len(ledger_of(host)) >= 20)
        run.send_signal(signal.SIGSTOP)
        time.sleep(2)
        run.send_signal(signal.SIGTERM)  # it ends as it wakes: what arrived meanwhile is late, or never starts
        run.send_signal(signal.SIGCONT)
        out, err = run.communicate(timeout=60)
        ledger = ledger_of(host)
    summary = summary_of(tmp_path / "run")
    check(subprocess.CompletedProcess(command, run.returncode, out, err), summary, ledger)
    assert run.returncode == 3 and "not the load asked for" in " ".join(out.split())
    # Two seconds but for the last 0.1; a busy machine is late before and after, too.
    missed = summary["arrivals"]["late_starts"] + summary["arrivals"]["not_started"]
    assert stats.poisson.cdf(missed, 40 * 1.9) > P


def test_a_profile_ends_the_run_and_what_there_is_no_room_for_is_counted(tmp_path):
    profile = tmp_path / "p.csv"
    profile.write_text("seconds,chats_per_hour\n0,0\n40,144000\n80,0\n")
    options = ("--arrival-profile", profile, "--arrival-compress", "40", "--max-open", "6", *HASTY, "-s", "10")
    with simulator() as (_, host):
        run, summary = open_run(host, tmp_path / "run", *options, seconds=60)
        ledger = ledger_of(host)
    check(run, summary, ledger)
    assert summary["ended_at"] - summary["started_at"] < 55, "by itself, and not at the end of --run-time"
    assert p_of_number(summary["arrivals"]["count"], 40) > P
    assert summary["arrivals"]["not_started"] > 0
    never = f"{summary['arrivals']['not_started']} never: not the load asked for"
    assert never in " ".join(run.stdout.split())


@BY_HAND
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("rate, seconds", [(1, 600), (20, 120), (100, 60)])
@pytest.mark.parametrize("seed", [1, 2])
def test_arrivals_are_poisson_at_the_server(tmp_path, rate, seconds, seed):
    # One process cannot begin two chats within some 0.3 ms: at 100 a second 6000 gaps are enough to notice.
    more = ("--processes", "2", *ports(), "-u", "4", "-r", "4") if rate == 100 else ()
    with simulator() as (_, host):
        options = ("--arrival-rate", rate, "--chat-seed", seed, *TIMEOUT, "--chat-length", "3", *more)
        run, summary = open_run(host, tmp_path / "run", *options, seconds=seconds)
        ledger = ledger_of(host)
    check(run, summary, ledger)
    report(rate, ledger, tmp_path / "run", summary)
    assert p_of_number(len(ledger), rate * seconds) > P
    assert p_of_gaps(instants_of(ledger), rate) > 0.01


@BY_HAND
@pytest.mark.parametrize("rate", [20, 100])
def test_a_stall_of_ten_seconds(tmp_path, rate):
    summary, run_dir, froze, thawed = stalled_run(tmp_path, rate, 10.0, 18)
    latency = summary["requests"]["by_operation"]["RequestChat"]["latency_s"]
    began = np.array([record.started_at for record in sessions(run_dir)])
    print(f"\n{rate}/s, server still for {thawed - froze:.2f} s: {((began > froze) & (began < thawed)).sum()} arrivals "
          f"in it, RequestChat latency {latency}, lateness {summary['arrivals']['start_lateness_s']}")  # fmt: skip
    check_stall(summary, run_dir, rate, froze, thawed)


@BY_HAND
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, "kill", "chats"])
@pytest.mark.parametrize("processes", [0, 2])
def test_however_it_ends_the_books_balance(tmp_path, how, processes):
    more = ("--processes", processes, *ports(), "-u", "4", "-r", "4") if processes else ()
    more += ("-s", "0") if how == "kill" else ()
    more += ("--chats", "50", "--chat-length", "1") if how == "chats" else ("--chat-length", "1000000")
    run_dir = tmp_path / "run"
    with simulator() as (_, host):
        command = locust_command(host, run_dir, "--arrival-rate", "40", "-t", "30s", *TIMEOUT, *more,
                                 locustfile=ARRIVALS)  # fmt: skip
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
        if how != "chats":
            wait_for(lambda: len(ledger_of(host)) >= 60)
            run.send_signal(signal.SIGTERM if how == "kill" else how)
        out, err = run.communicate(timeout=60)
        ledger = ledger_of(host)
    assert "Traceback" not in err, err
    summary = summary_of(run_dir)
    assert_balanced(summary)
    assert summary["sessions"]["started"] == summary["arrivals"]["started"]
    # A RequestChat that is cut off in flight may or may not have reached the server.
    on_the_way = summary["requests"]["by_operation"]["RequestChat"]["by_outcome"]["connection"] if how == "kill" else 0
    assert 0 <= summary["sessions"]["started"] - len(ledger) <= on_the_way
    by_verdict = summary["sessions"]["by_verdict"]
    if how == "chats":
        assert by_verdict["completed"] + by_verdict["ended_by_agent"] >= 50, (summary, out, err)
        assert processes or summary["sessions"]["started"] == 50
    else:
        assert by_verdict["cut_off"] == summary["sessions"]["started"]
        assert summary["sessions"]["cut_off_confirmed"] == (0 if how == "kill" else by_verdict["cut_off"])
    assert run.returncode == (0 if summary["valid"] else 3), out + err
