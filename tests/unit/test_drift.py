"""What is said of a long run's drift: from its windows to the command, the summary and the page."""

import json
import math
import re
import subprocess
import sys
import time
from dataclasses import asdict

import jsonschema
import pytest

from chatload import cli
from chatload.chat.record import SessionRecord
from chatload.features.report.drift import FALSE_ALARM, LEAST_S, Cell, error_budget, find_drift, metrics, steady_part
from chatload.features.report.drift_view import sentences
from chatload.features.report.page import page_document
from chatload.features.report.summary import summarize
from chatload.render.html import html
from chatload.run.books import Books
from chatload.run.reader import RunReader
from chatload.run.settings import RunSettings
from chatload.run.windows import Window
from chatload.run.writer import RunWriter
from tests.run_files import add_sessions, put_books
from tests.schemas import read_schema

HOUR = 3600.0
#: A tenth of a percent of noise, the same in every run.
WOBBLE = [1 + 0.001 * ((7 * i) % 11 - 5) for i in range(1000)]


def window(at, latency_s, still=100, gap_s=10.0, rss=2**28, dropped=0, memory=None):
    books = Books()
    histogram = books.latency["GetMessages"] = type(books.gap)()
    for _ in range(30):
        histogram.add(latency_s)
        books.gap.add(gap_s)
    books.verdicts.update({"completed": 50 - dropped, "dropped_late": dropped})
    return Window(at, at + 60, still, books, 10.0, rss, memory or {})


def windows(hours=6.0, latency=lambda h: 0.1, **more):
    """A window a minute; every other value is constant but for what is given as a function of the hour."""

    def at(i, name, value):
        return value(i / 60) if callable(value) else value

    return [
        window(60.0 * i, latency(i / 60) * WOBBLE[i % 1000], **{k: at(i, k, v) for k, v in more.items()})
        for i in range(int(60 * hours))
    ]  # fmt: skip


def drift(rows, ended=True, timeout_s=45.0):
    return find_drift(rows, steady_part((w.start, w.end, w.open) for w in rows), timeout_s, ended)


def named(found, metric):
    return next(row for row in found.metrics if row.metric == metric)


def test_where_nothing_was_looked_at_no_time_is_told():
    told = asdict(find_drift([], None, 45.0, True))
    assert told == {
        "start": None, "end": None, "why_not": "it was never under a steady load for 10 minutes", "metrics": [],
    }  # fmt: skip


def test_the_slope_is_per_hour_in_the_metrics_own_unit():
    row = named(drift(windows(latency=lambda h: 0.1 + 0.012 * h)), "GetMessages.latency.p95")
    assert row.drifts and row.worse
    assert row.slope == pytest.approx(0.012, rel=0.1) and row.low < 0.012 < row.high
    memory = named(drift(windows(rss=lambda h: int((300 + 5 * h) * 2**20))), "memory")
    assert memory.slope == pytest.approx(5.0, rel=0.01) and memory.drifts


def test_each_process_has_a_slope_of_its_own_memory():
    def sizes(h):
        held = {"master": 150 * 2**20, "worker-a": int((300 + 5 * h) * 2**20), "worker-b": 300 * 2**20}
        return held if h < 1 else {**held, "worker-late": 100 * 2**20} if h > 5.5 else held

    found = drift(windows(memory=sizes))
    of_memory = {row.metric: row for row in found.metrics if row.metric.startswith("memory")}
    # A worker that came for the last twelfth of the run has too few blocks for a slope.
    assert set(of_memory) == {"memory.master", "memory.worker-a", "memory.worker-b"}
    assert [name for name, row in of_memory.items() if row.drifts] == ["memory.worker-a"]
    grown = of_memory["memory.worker-a"]
    assert grown.low <= 5.0 <= grown.high and grown.slope == pytest.approx(5.0, rel=0.01)
    flat = of_memory["memory.worker-b"]
    assert flat.low <= 0 <= flat.high and flat.level == pytest.approx(300)


def test_a_workers_long_name_leaves_room_in_the_table(run, capsys):
    workers = [f"vm_{letter * 31}{number}" for letter in "ab" for number in (1, 2)]
    folder = run(windows(memory={"master": 150 * 2**20, **dict.fromkeys(workers, 300 * 2**20)}))
    assert drift_command(folder) == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines() if line.strip().startswith("memory.")]
    assert [row[0] for row in rows] == ["memory.master", "memory.vm_aaaaa…aaaaaaa1", "memory.vm_aaaaa…aaaaaaa2",
                                        "memory.vm_bbbbb…bbbbbbb1", "memory.vm_bbbbb…bbbbbbb2"]  # fmt: skip
    assert [row[1:3] for row in rows] == [["150", "MB"], *[["300", "MB"]] * 4]


def test_what_drifts_or_jumps_is_claimed_and_nothing_else():
    found = drift(windows(latency=lambda h: 0.1 if h < 3 else 0.2, rss=lambda h: int((300 + 5 * h) * 2**20)))
    claimed = {row.metric: (row.drifts, bool(row.jumps)) for row in found.metrics if row.drifts or row.jumps}
    assert claimed == {
        "GetMessages.latency.p50": (False, True), "GetMessages.latency.p95": (False, True), "memory": (True, False),
    }  # fmt: skip


def test_what_is_sure_but_too_small_to_matter_is_not_claimed():
    row = named(drift(windows(rss=lambda h: int((300 + 0.2 * h) * 2**20))), "memory")
    assert row.low > 0 and not row.drifts


def test_what_is_looked_at_and_from_when_on_it_matters():
    told = {m.name: (m.unit, m.worse, m.matters, m.floor, m.rate) for m in metrics(50.0, ["a"])}
    assert told == {
        "GetMessages.latency.p50": ("s", 1, 0.05, 0.0002, False),
        "GetMessages.latency.p95": ("s", 1, 0.05, 0.0005, False),
        "RequestChat.latency.p95": ("s", 1, 0.10, 0.001, False),
        "dropped.rate": ("%", 1, 0.10, 0.001, True),
        "unserved.rate": ("%", 1, 0.10, 0.001, True),
        "margin.p1": ("s", -1, 0.02, 0.5, False),
        "lateness.p99": ("s", 1, 0.20, 0.002, False),
        "memory": ("MB", 1, 0.02, 1.0, False),
    }


def test_each_metric_has_its_own_percentile_or_share():
    books = Books()
    for operation in ("GetMessages", "RequestChat"):
        books.latency[operation] = type(books.gap)()
        books.latency[operation].observed.extend([0.1] * 900 + [0.3] * 80 + [0.9] * 20)
    books.gap.observed.extend([5.0] * 985 + [20.0] * 15)
    books.lateness.extend([0.01] * 985 + [0.2] * 15)
    books.verdicts.update({"completed": 88, "dropped_late": 1, "dropped_early": 2, "dropped_unproven": 4, "refused": 5})
    told = {metric.name: metric.value(Cell(0.0, books, {"a": 2**20})) for metric in metrics(45.0, ["a"])}
    assert told == {
        "GetMessages.latency.p50": pytest.approx(0.1, rel=0.02),
        "GetMessages.latency.p95": pytest.approx(0.3, rel=0.02),
        "RequestChat.latency.p95": pytest.approx(0.3, rel=0.02),
        "margin.p1": pytest.approx(25.0, rel=0.02),
        "lateness.p99": pytest.approx(0.2, rel=0.02),
        "dropped.rate": 7 / 95,  # of the accepted
        "unserved.rate": 0.05,
        "memory": 1.0,
    }


@pytest.mark.parametrize("samples", [19, 20])
def test_a_cells_percentile_needs_twenty_samples(samples):
    books = Books()
    for operation in ("GetMessages", "RequestChat"):
        books.latency[operation] = type(books.gap)()
        books.latency[operation].observed.extend([0.5] * samples)
    books.gap.observed.extend([10.0] * samples)
    books.lateness.extend([0.25] * samples)
    cell = Cell(0.0, books, {"a": 2**20})
    told = {metric.name: metric.value(cell) for metric in metrics(45.0, ["a"])}
    expected = {
        "GetMessages.latency.p50": 0.5, "GetMessages.latency.p95": 0.5, "RequestChat.latency.p95": 0.5,
        "margin.p1": 35.0, "lateness.p99": 0.25,
    }  # fmt: skip
    for name, value in expected.items():
        assert told[name] == (None if samples < 20 else pytest.approx(value, rel=0.02))
    assert (told["memory"], told["dropped.rate"]) == (1.0, None)
    assert all(metric.value(Cell(0.0, books, {})) is None for metric in metrics(None, ["a"]) if metric.name == "memory")


@pytest.mark.parametrize(
    ("grown", "metric", "claimed"),
    [
        # Latencies of 1 ms that grow by a fifth and more: 0.2 ms is the least at the median, 0.5 ms at 95 %.
        ({"latency": lambda h: 0.001 + 0.00016 * h / 5.4}, "GetMessages.latency.p50", False),
        ({"latency": lambda h: 0.001 + 0.0003 * h / 5.4}, "GetMessages.latency.p50", True),
        ({"latency": lambda h: 0.001 + 0.0003 * h / 5.4}, "GetMessages.latency.p95", False),
        ({"latency": lambda h: 0.001 + 0.0008 * h / 5.4}, "GetMessages.latency.p95", True),
        # 5 % of 100 ms are 5 ms.
        ({"latency": lambda h: 0.1 + 0.004 * h / 5.4}, "GetMessages.latency.p95", False),
        ({"latency": lambda h: 0.1 + 0.008 * h / 5.4}, "GetMessages.latency.p95", True),
        # A process of 10 MB: 2 % are less than the megabyte that counts.
        ({"rss": lambda h: int((10 + 0.7 * h / 5.4) * 2**20)}, "memory", False),
        ({"rss": lambda h: int((10 + 1.5 * h / 5.4) * 2**20)}, "memory", True),
        # Of a timeout of 45 s a hundredth, and of a margin of 35 s a fiftieth, 0.7 s.
        ({"gap_s": lambda h: 10 + 0.5 * h / 5.4}, "margin.p1", False),
        ({"gap_s": lambda h: 10 + 1.2 * h / 5.4}, "margin.p1", True),
        ({"gap_s": lambda h: 40 + 0.3 * h / 5.4}, "margin.p1", False),
        ({"gap_s": lambda h: 40 + 0.9 * h / 5.4}, "margin.p1", True),
    ],
)  # fmt: skip
def test_a_change_is_claimed_from_a_part_of_the_level_and_a_least_amount_on(grown, metric, claimed):
    assert named(drift(windows(**grown)), metric).drifts is claimed


def test_the_margins_end_is_told_from_where_the_run_ends():
    row = named(drift(windows(10.0, gap_s=lambda h: 10 + h)), "margin.p1")
    # After 10 h the gap is 20 s: of 45 s there are 25 left, a second an hour.
    assert row.drifts and row.worse
    least, likely, most = row.gone_in_h
    assert least <= likely <= most and likely == pytest.approx(25, abs=2)


def test_the_margins_end_has_the_bounds_of_its_slope():
    row = named(drift(windows(10.0, gap_s=lambda h: 10 + 2 * h)), "margin.p1")
    left = row.blocks[-1][1]
    assert left == pytest.approx(15.4, abs=0.3)
    assert row.gone_in_h == pytest.approx((left / -row.low, left / -row.slope, left / -row.high))
    assert row.gone_in_h == pytest.approx((7.7, 7.7, 7.7), abs=0.5)


def test_blocks_are_dated_by_their_middles():
    # 6 h, of which the first tenth is warm-up: 20 blocks of 16.2 minutes each.
    row = named(drift(windows()), "memory")
    assert [at for at, _ in row.blocks] == pytest.approx([2160 + 972 * (i + 0.5) for i in range(20)], abs=1e-6)


@pytest.mark.parametrize("processes", [["a"], ["a", "b", "c"]])
def test_the_memory_of_all_processes_has_one_share_of_the_false_alarms(processes):
    shares = {metric.name: metric.share for metric in metrics(45.0, processes)}
    of_memory = [share for name, share in shares.items() if name.startswith("memory")]
    assert len(of_memory) == len(processes) and sum(of_memory) == pytest.approx(1)
    assert set(shares.values()) - set(of_memory) <= {1.0}


def said_of_the_margin(gap_s):
    (said,) = sentences(asdict(drift(windows(10.0, gap_s=gap_s))))
    return said


def test_a_margin_that_is_nearly_gone_has_its_time_in_minutes_and_one_that_is_gone_none():
    assert re.search(r"is gone in 2\d hours \(2\d hours to 2\d hours\)", said_of_the_margin(lambda h: 10 + h))
    # After 10 h 44.6 s are used: 0.4 s are left, a second an hour.
    assert re.search(r"is gone in [2-4]\d min( \d+ s)? \([2-4]\d min", said_of_the_margin(lambda h: 34.6 + h))
    assert said_of_the_margin(lambda h: 40 + h).endswith("): the margin is gone")
    assert said_of_the_margin(lambda h: 40 - h).startswith("margin.p1 grows by")


def test_fewer_drops_are_a_drift_but_not_for_the_worse():
    row = named(drift(windows(dropped=lambda h: max(0, int(10 - 1.6 * h)))), "dropped.rate")
    assert row.drifts and not row.worse


def test_rare_drops_that_become_more_are_seen_though_most_cells_have_none():
    def so_far(minute):
        return int(0.02 * minute + 0.0003 * minute**2)

    found = drift(windows(dropped=lambda h: so_far(round(60 * h) + 1) - so_far(round(60 * h))))
    row = named(found, "dropped.rate")
    # Of 50 chats a minute 0.02 are dropped at first, and 0.0006 more each minute: 0.083 % after 36 minutes of warm-up.
    assert row.drifts and row.worse and row.level == pytest.approx(0.00083, abs=0.0007) and row.level > 0
    assert row.low < 0.00072 < row.high and row.slope == pytest.approx(0.00072, rel=0.2)


def test_ramp_goodbye_and_warm_up_are_left_out():
    rows = windows(4.0)
    for i in range(30):
        rows[i].open, rows[-1 - i].open = i, 30 - i
    start, end = steady_part((w.start, w.end, w.open) for w in rows)
    assert (start, end) == (30 * 60.0, 4 * HOUR - 30 * 60.0)
    assert drift(rows).start == start + 0.1 * (end - start)


def test_a_load_of_ten_minutes_is_long_enough():
    assert steady_part([(0.0, 600.0, 10)]) == (0.0, 600.0)
    assert steady_part([(0.0, 599.0, 10)]) is None
    # There is where nine tenths of the usual number are open.
    assert steady_part([(0.0, 100.0, 89), (100.0, 200.0, 90), (200.0, 900.0, 100)]) == (100.0, 900.0)


def test_the_usual_load_is_that_of_half_of_the_time():
    # For 400 s 50, for 1 100 s 100: it is 100 that is usual, however many windows it is cut into.
    rows = [(40.0 * i, 40.0 * i + 40, 50) for i in range(10)] + [(400.0, 1500.0, 100)]
    assert steady_part(rows) == (400.0, 1500.0)
    few = [(0.0, 700.0, 50), (700.0, 1500.0, 100)]
    assert steady_part(few) == (700.0, 1500.0)


@pytest.mark.parametrize("rows", [[], [(0.0, 300.0, 10)], [(60.0 * i, 60.0 * i + 60, 0) for i in range(100)]])
def test_without_a_steady_load_nothing_is_said(rows):
    assert steady_part(rows) is None
    assert "never under a steady load" in find_drift([], None, 45.0, True).why_not


def test_all_looks_at_a_run_together_spend_what_one_at_its_end_may():
    during = [error_budget(LEAST_S * 2**doubling, False) for doubling in range(60)]
    before_end = 0.3 * FALSE_ALARM
    assert sum(during) < before_end and during == sorted(during, reverse=True)
    # The k-th doubling has 1 / (k (k + 1)) of it: so many of them together 1 - 1 / 61.
    assert sum(during) == pytest.approx(before_end * 60 / 61)
    assert [error_budget(length_s, False) for length_s in (0, LEAST_S, 1.9 * LEAST_S)] == [during[0]] * 3
    assert sum(during) + error_budget(1e9, True) <= FALSE_ALARM


@pytest.fixture
def run(tmp_path):
    def made(rows, finish=True):
        writer = RunWriter.create(tmp_path / "run", RunSettings(name="soak", flex_disconnect_timeout=45.0))
        now, total = time.time(), Books()
        for row in rows:
            total.merge(Books.from_dict(row.books.to_dict()))
            row.start, row.end = now + row.start, now + row.end
        writer.add_windows(rows)
        chat = SessionRecord("c", "completed")
        total.started += 1
        total.session_ended(chat)
        add_sessions(writer, [chat])
        put_books(writer, "local", total)
        if finish:
            writer.finish(rows[-1].end)
        writer.close()
        return tmp_path / "run"

    return made


def drift_command(*arguments):
    with pytest.raises(SystemExit) as left:
        cli.run(["drift", *map(str, arguments)])
    return left.value.code


def test_the_command_says_it_in_a_sentence_with_its_interval(run, capsys):
    assert drift_command(run(windows(latency=lambda h: 0.1 + 0.012 * h))) == 0
    printed = capsys.readouterr().out
    said = " ".join(printed.split("\n\n")[0].split())
    assert re.match(
        r"GetMessages.latency.p50 grows by 1[12](\.\d)? ms an hour \(95 % interval 1\S+ ms to 1\S+ ms\)", said
    )
    assert all(len(line) <= 80 for line in printed.splitlines())


def test_the_command_reads_a_run_that_still_goes_on(run, capsys):
    assert drift_command(run(windows(), finish=False)) == 0
    assert "no drift in" in capsys.readouterr().out


def test_a_failover_and_its_end_are_marked(run, capsys):
    assert drift_command(run(windows(latency=lambda h: 0.2 if 2.5 < h < 4.5 else 0.1))) == 0
    said = " ".join(capsys.readouterr().out.split("\n\n")[0].split())
    assert re.search(r"p95 jumps by \+\S+ ms at about .*p95 jumps by -\S+ ms at about ", said) and "grows" not in said


def test_a_change_that_fits_a_slope_and_a_jump_is_said_to_be_either(run, capsys):
    # The gap grows within two hours, so that 20 s of margin are gone: neither a jump nor a line.
    folder = run(windows(gap_s=lambda h: 10 + 10 * min(max((h - 2.4) / 2, 0), 1) + 2.5 * math.sin(9 * h)))
    assert drift_command(folder) == 0
    printed = capsys.readouterr().out
    said = " ".join(printed.split("\n\n")[0].split())
    assert re.fullmatch(
        r"margin.p1 shrinks by \S+ s an hour \(95 % interval \S+ s to \S+ s\), or jumps by -\S+ s at about "
        r"\S+ \S+ UTC \(95 % interval -\S+ s to -\S+ s\); the blocks do not show which",
        said,
    )
    assert "drifts or 1 jump" in " ".join(printed.split()) and all(len(line) <= 80 for line in printed.splitlines())
    with RunReader.open(folder) as reader:
        summary = summarize(reader)
        page = html(page_document(reader, summary))
    jsonschema.validate(summary, read_schema("report", "summary"))
    row = next(row for row in summary["drift"]["metrics"] if row["metric"] == "margin.p1")
    assert (row["either"], row["drifts"], len(row["jumps"])) == (True, True, 1)
    # No time is extrapolated from a slope that is not certain.
    assert row["gone_in_h"] is None
    assert "margin.p1 drifts or jumps" in page


def test_a_jump_is_marked_while_the_run_goes_on(run, capsys):
    assert drift_command(run(windows(latency=lambda h: 0.2 if h > 3 else 0.1), finish=False)) == 0
    assert "GetMessages.latency.p95 jumps by +" in capsys.readouterr().out


def test_of_a_short_run_the_command_says_why_not(run, capsys):
    assert drift_command(run(windows(0.1))) == 0
    assert capsys.readouterr().out.startswith("nothing can be said of drift: it was never under a steady load")


def test_summary_and_page_have_it(run, capsys):
    folder = run(windows(latency=lambda h: 0.1 if h < 3 else 0.2))
    with RunReader.open(folder) as reader:
        summary = summarize(reader)
        page = html(page_document(reader, summary))
    jsonschema.validate(summary, read_schema("report", "summary"))
    row = summary["drift"]["metrics"][0]
    ((at, size, low, high),) = row["jumps"]
    assert at - summary["started_at"] == pytest.approx(3 * HOUR, abs=0.2 * HOUR) and size == pytest.approx(
        0.1, abs=0.005
    )
    assert low < size < high
    (said,) = [text for text in sentences(summary["drift"]) if "p50" in text]
    assert re.fullmatch(
        r"GetMessages.latency.p50 jumps by \+\S+ ms at about \S+ \d\d:\d\d UTC \(95 % interval \+\S+ ms to \+\S+ ms\)",
        said,
    )
    assert 'id="drift"' in page and "jumps by +" in page
    assert drift_command(folder, "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(summary["drift"]))


@pytest.mark.slow
def test_a_look_during_a_run_lands_in_the_log(run):
    folder = run(windows(latency=lambda h: 0.1 + 0.012 * h), finish=False)
    code = (
        "import locust, logging, pathlib, sys; logging.basicConfig(level=logging.INFO, stream=sys.stdout);"
        "from chatload.swarm import install;"
        f"install._check_drift(pathlib.Path({str(folder)!r}));"
        "print([install.next_check(0, at) for at in (0, 1200, 2400, 7200)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert re.search(r"so far GetMessages.latency.p50 grows by \S+ ms an hour \(.*\); Get", done.stdout), done.stderr
    assert "[1200.0, 2400, 4800, 14400]" in done.stdout


def test_an_interval_on_both_sides_of_0_keeps_its_signs():
    # As where a change is a slope or a jump: the slope is that without the jump.
    row = {
        "metric": "GetMessages.latency.p95", "unit": "s", "slope": 0.003, "low": -0.001, "high": 0.008,
        "drifts": True, "worse": True, "gone_in_h": None, "either": True, "jumps": [[0.0, 0.02, 0.01, 0.03]],
    }  # fmt: skip
    drift = {"metrics": [row], "start": 0.0, "end": 7200.0}
    assert "grows by 3 ms an hour (95 % interval -1 ms to +8 ms), or jumps by +20 ms" in sentences(drift)[0]
    row |= {"low": 0.001}
    assert "(95 % interval 1 ms to 8 ms)" in sentences(drift)[0]
