"""The figures of a user class in a run with several are those of a run with this class alone."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import (
    ChatService,
    CustomerScript,
    Distribution,
    FaultPlan,
    NetworkModel,
    RefreshPolicy,
    SessionSettings,
    SimulatorConfig,
    VirtualSwarm,
    cli,
)
from chatload.features.report import over_time
from chatload.features.report.page import page_document, repeat_command
from chatload.features.report.summary import summarize
from chatload.features.report.view import summary_document
from chatload.render.html import html
from chatload.render.markdown import markdown
from chatload.run.books import Books, RunBooks
from chatload.run.export import export
from chatload.run.reader import RunReader
from chatload.run.settings import ClassSettings, RunSettings, not_replayed, settings_differences
from chatload.run.windows import WindowCutter
from chatload.run.writer import RunWriter
from chatload.swarm.worker_report import ProcessFacts, WorkerRegistry
from chatload.thresholds.gate import make_gate
from tests.run_files import add_sessions, put_books
from tests.schemas import read_schema
from tests.unit.test_handover import DEEDS, done, sent

#: One threshold of each kind of metric, and of each that a run judges by its windows.
JUDGED = (
    *("sessions.count > 50", "dropped.rate < 10%", "dropped.per_chat_hour < 10", "dropped.by_age(20s) < 20%"),
    *("unsuccessful.rate < 5%", "GetMessages.latency.p99 < 1s", "RequestChat.latency.p95 < 1s", "latency.max < 2s"),
    *("GetMessages.latency.p95 < 500ms in every 1m", "unsuccessful.rate < 20% in every 1m", "margin.p1 > 1s"),
    *("lateness.p99 < 100ms", "gap.max < 44s", "incidents.per_hour < 100", "incident.share < 10%"),
)
SCRIPT = CustomerScript(chat_length=Distribution("exponential", 60.0))
HASTY = SessionSettings(RefreshPolicy("fixed", 45.0, 3.0), 10.0, SCRIPT)
#: Refreshes so rarely that a lost request drops a chat.
LAZY = SessionSettings(RefreshPolicy("fixed", 45.0, 40.0), 4.0, SCRIPT, persona="widget")
RUN = RunSettings(name="mix", flex_disconnect_timeout=45.0, refresh_interval=3.0)
CLASS_NAMES = ("Hasty", "Lazy")
CLASSES = (
    ClassSettings("Hasty", persona="strict", service="default", refresh_policy="fixed", refresh_interval=3.0),
    ClassSettings(
        "Lazy", fixed_count=2, persona="widget", service="vip", refresh_policy="deadline", refresh_interval=40.0,
        hooks=("before_chat",), feeder="customers.csv (unique, stop)",
    ),
)  # fmt: skip


#: The length of the windows, and of the run (seconds).
WINDOW_S, RUN_S = 10.0, 400.0


class HeldChats(VirtualSwarm):
    """Chats of one kind in virtual time, and copies of their books at the end of each window."""

    def __init__(self, settings, seed):
        service = ChatService(SimulatorConfig(agent_wait_s=(1.0, 5.0)), FaultPlan())
        network = NetworkModel(loss=0.02)
        super().__init__(settings, service, users=20, chats=100, seed=seed, network=network, stop_at=300.0)
        self.copies = []
        for number in range(1, int(RUN_S / WINDOW_S)):
            self.at(number * WINDOW_S, lambda: self.copies.append(self.books.copy()))
        self.run()
        self.copies.append(self.books)


def written(folder, settings, parts, gate=None):
    """The summary of a run file with these parts: user class -> its chats."""
    cutter, several = WindowCutter(0.0), [*parts] != [""]
    with RunWriter.create(folder, settings, started_at=0.0) as writer:
        for name, chats in parts.items():
            add_sessions(writer, [replace(record, user_class=name) for record in chats.records])
            put_books(writer, "local", chats.books, name)
        for number, copies in enumerate(zip(*(chats.copies for chats in parts.values()), strict=True), 1):
            total = Books()
            for books in copies:
                total.merge(books)
            by_class = dict(zip(parts, copies, strict=True)) if several else {}
            writer.add_windows([cutter.cut(number * WINDOW_S, RunBooks(total, by_class))])
        writer.finish(RUN_S)
    with RunReader.open(folder) as reader:
        return summarize(reader, gate)


@pytest.fixture(scope="module")
def summaries(tmp_path_factory):
    """The summary of a run with two classes, and that of each class alone; and the folder of the first."""
    folder = tmp_path_factory.mktemp("runs")
    parts = {"Hasty": HeldChats(HASTY, 1), "Lazy": HeldChats(LAZY, 2)}
    parts["Lazy"].books.fetched["token"] += 3
    for outcome in ("HTTP 200", "HTTP 200", "timeout"):
        parts["Lazy"].books.fetch_ended("token", outcome, 0.2, outcome != "timeout")
    gates = {"mix": make_gate([f"{name}: {text}" for name in parts for text in JUDGED]), "alone": make_gate(JUDGED)}
    mix = written(folder / "mix", replace(RUN, classes=CLASSES), parts, gates["mix"])
    alone = {name: written(folder / name, RUN, {"": part}, gates["alone"]) for name, part in parts.items()}
    return mix, alone, folder / "mix"


def test_a_class_has_the_figures_of_a_run_of_its_own(summaries):
    mix, alone, _ = summaries
    assert set(mix["by_class"]) == {"Hasty", "Lazy"} and mix["books"]["balanced"]
    for name, own in alone.items():
        assert own["by_class"] == {}
        assert mix["by_class"][name] == {key: own[key] for key in mix["by_class"][name]}
    assert alone["Lazy"]["rates"]["dropped"]["most"] > alone["Hasty"]["rates"]["dropped"]["most"]


def test_a_threshold_on_a_class_is_judged_as_in_a_run_of_its_own(summaries):
    mix, alone, _ = summaries
    judged = {(one["user_class"], one["expression"].partition(": ")[2]): one for one in mix["thresholds"]}
    for name, own in alone.items():
        for one in own["thresholds"][: len(JUDGED)]:
            of_class = judged[name, one["expression"]]
            # What to judge instead is of the class too.
            of_class = {**of_class, "why": of_class["why"].replace(f"judge {name}: ", "judge ")}
            assert of_class == {**one, "user_class": name, "expression": f"{name}: {one['expression']}"}
    results = {of: one["result"] for of, one in judged.items()}
    assert (results["Hasty", "gap.max < 44 s"], results["Lazy", "gap.max < 44 s"]) == ("pass", "fail")


#: What a user of one of two classes does in one of two workers; None: the workers hand over, and a window ends.
#: A stall is one of a process, not of a class.
OF_CHATS = DEEDS.filter(lambda deed: deed[0] != "stall")
STEPS = st.lists(st.none() | st.tuples(st.sampled_from("ab"), st.sampled_from(CLASS_NAMES), OF_CHATS), max_size=40)


@given(STEPS)
def test_in_each_window_and_in_all_the_classes_are_the_run(steps):
    workers = {name: ProcessFacts(name, CLASS_NAMES) for name in "ab"}
    registry, cutter, windows = WorkerRegistry(), WindowCutter(0.0), []
    for step in [*steps, None]:
        if step is not None:
            worker, user_class, deed = step
            done(workers[worker].books_of(user_class), *deed)
            continue
        for worker, facts in workers.items():
            registry.receive(worker, sent(facts), 0.0)
        windows.append(cutter.cut(len(windows) + 1.0, registry.run_books()))
    assert_adds_up(registry.run_books().total, registry.run_books().by_class)
    for name, books in registry.run_books().by_class.items():
        assert_adds_up(books, {worker: facts.books_of(name) for worker, facts in workers.items()})
    for window in windows:
        assert_adds_up(window.books, {name: own.books for name, own in window.by_class.items()}, without_extremes)
        assert window.open == sum(own.open for own in window.by_class.values())
        assert {(own.start, own.end) for own in window.by_class.values()} == {(window.start, window.end)}


def without_extremes(value):
    """The extremes of a window's histograms are bounds, so the whole may know one better than a class, or worse."""
    if isinstance(value, dict):
        return {name: without_extremes(part) for name, part in value.items() if name not in ("min", "max")}
    return value


def assert_adds_up(total, by_class, read=lambda value: value):
    """Every counter and histogram of the whole is the sum of those of the classes."""
    merged = Books()
    for books in by_class.values():
        merged.merge(books)
    whole, parts = read(total.to_dict()), read(merged.to_dict())
    for name, value in whole.items():
        assert parts[name] == (pytest.approx(value) if isinstance(value, float) else value), name


def test_the_run_has_the_sum_of_its_classes(summaries):
    mix, alone, _ = summaries
    for key in ("started", "accepted", "cut_off_confirmed"):
        assert mix["sessions"][key] == sum(own["sessions"][key] for own in alone.values())
    assert mix["requests"]["total"] == sum(own["requests"]["total"] for own in alone.values())
    assert mix["exposure"]["chat_hours"] == pytest.approx(sum(s["exposure"]["chat_hours"] for s in alone.values()))


def test_the_summary_fits_its_schema(summaries):
    jsonschema.validate(json.loads(json.dumps(summaries[0])), read_schema("report", "summary"))


def test_reports_show_each_class(summaries):
    mix, _, folder = summaries
    text = markdown(summary_document(mix))
    for said in (
        "#### By user class",
        "| Hasty | weight 1 | strict | default | every 3 s |",
        "| Lazy | 2 users | widget",
    ):
        assert said in text
    assert "| token | 3 | 2 HTTP 200, 1 timeout |" in text
    bursts = mix["by_class"]["Lazy"]["bursts"]
    assert f"| Lazy | 10 | {bursts['incidents']} |" in text and "| Hasty | 0 | 0 |" in text
    with RunReader.open(folder) as reader:
        page = html(page_document(reader, mix))
        assert "customers.csv (unique, stop)" in page and "ClassSettings" not in page and "&#39;name&#39;" not in page
        assert [session.user_class for session in reader.of_class("Lazy").sessions()] == ["Lazy"] * 100
        assert reader.of_class("it's nobody").count_sessions() == 0
        # Readable without JavaScript and on paper: each chart is a picture too, and none of these is folded.
        charts = page.partition("User classes over time")[2].partition("<details>")[0]
        for heading in ("Open sessions", "Requests", "Drops and other bad endings", "GetMessages latency of Lazy"):
            assert f">{heading}</h" in charts, heading
        assert charts.count("<svg") >= 5
        assert "Lazy: operations, latency and endings over time" in page


def test_the_charts_of_the_classes_add_up_to_those_of_the_run(summaries):
    mix, _, folder = summaries
    with RunReader.open(folder) as reader:
        run = over_time.over_time(reader.windows(), mix)
        views = [(reader.of_class(name), figures) for name, figures in mix["by_class"].items()]
        by_class = [over_time.of_class(run, view.windows(), figures) for view, figures in views]
        # A class whose first window is missing, as where its worker reports late.
        late = over_time.of_class(run, [*views[0][0].windows()][3:], views[0][1])
    for number, column in enumerate(run.columns):
        own = [one.columns[number] for one in by_class]
        assert {(each.start, each.end) for each in own} == {(column.start, column.end)}
        assert column.open == sum(each.open for each in own) and column.ended == sum(each.ended for each in own)
        for operation, count in column.sent.items():
            assert count == sum(each.sent.get(operation, 0) for each in own)
    assert [column.ended for column in late.columns[3:]] == [column.ended for column in by_class[0].columns[3:]]
    assert late.columns[0].latency == {} and late.columns[0].open == 0


def test_runs_are_compared_by_the_chats_of_a_class(summaries, capsys):
    _, alone, folder = summaries
    with pytest.raises(SystemExit) as left:
        cli.run(["compare", str(folder), "--", str(folder), "--user-class", "Lazy", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert left.value.code == 4 and found["user_class"] == "Lazy"
    polls = alone["Lazy"]["requests"]["by_operation"]["GetMessages"]["latency_s"]
    assert found["metrics"]["requests.GetMessages.latency_s.p50"]["base"] == [pytest.approx(polls["p50"], abs=1e-6)]
    assert [run["sessions"] for run in found["base"]] == [alone["Lazy"]["sessions"]["started"]]


@pytest.mark.parametrize("what", ["sessions", "windows", "requests"])
def test_tables_of_a_class_are_those_of_a_run_of_its_own(summaries, what):
    def rows(run, user_class=""):
        stream = io.StringIO()
        export(run, what, "jsonl", stream, user_class)
        return [{**json.loads(line), "user_class": ""} for line in stream.getvalue().splitlines()]

    folder = summaries[2]
    for name in CLASS_NAMES:
        assert rows(folder, name) == rows(folder.parent / name)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (
            ("compare", "mix", "--", "mix", "--user-class", "Gold"),
            "--user-class Gold: mix has no such user class; expected one of Hasty, Lazy",
        ),
        (("compare", "Lazy", "--", "Lazy", "--user-class", "Lazy"), "no such user class; the run has only one: leave"),
        (("export", "mix", "windows", "--user-class", "Gold"), "mix has no such user class; expected one of Hasty"),
        (
            ("report", "mix", "--threshold", "Gold: failed.count == 0"),
            "no such user class; expected one of Hasty, Lazy",
        ),
        (("history", ".", "--metric", "Lazy: dropped.rate"), "a history is of whole runs, not of a user class"),
        (("forecast", "mix"), "several user classes (Hasty, Lazy) cannot be forecast: a replay has customers of one"),
    ],
)
def test_what_cannot_be_said_by_class_is_refused(summaries, capsys, monkeypatch, command, says):
    monkeypatch.chdir(summaries[2].parent)
    with pytest.raises(SystemExit) as left:
        cli.run([*command])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert left.value.code == 2 and says in line


def test_an_imbalance_names_its_class(tmp_path):
    chats, none = HeldChats(HASTY, 3), SimpleNamespace(records=[], books=Books(), copies=[])
    chats.books.started += 1
    chats.copies = []
    summary = written(tmp_path / "run", RUN, {"Hasty": chats, "Lazy": none})
    assert summary["books"]["imbalances"] == [f"local, Hasty: {chats.books.started} sessions started, 100 ended"]


def test_classes_are_settings_of_the_run():
    run = replace(RUN, classes=CLASSES)
    assert RunSettings.from_dict(run.to_dict()) == run
    assert run.to_dict()["classes"][1] == {**asdict(CLASSES[1]), "tags": (), "hooks": ("before_chat",)}
    assert "classes" not in RUN.to_dict() and "Hasty" not in repeat_command(run)
    assert not_replayed(run) == "classes Hasty, Lazy"
    other = replace(run, classes=(CLASSES[0], replace(CLASSES[1], refresh_interval=39.0)))
    (difference,) = settings_differences([run], [other])
    assert difference.name == "classes" and difference.defines_load
    assert (
        str(difference) == "user classes: base Hasty, Lazy (refresh_interval 40); new Hasty, Lazy (refresh_interval 39)"
    )
    (difference,) = settings_differences([RUN], [run])
    assert str(difference) == "user classes: base none; new Hasty, Lazy"
