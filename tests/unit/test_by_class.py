"""The figures of a user class in a run with several are those of a run with this class alone."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import jsonschema
import pytest

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
)
from chatload.features.report.page import page_document, repeat_command
from chatload.features.report.summary import summarize
from chatload.features.report.view import summary_document
from chatload.render.html import html
from chatload.render.markdown import markdown
from chatload.run.books import Books
from chatload.run.reader import RunReader
from chatload.run.settings import ClassSettings, RunSettings, not_replayed, settings_differences
from chatload.run.writer import RunWriter
from tests.run_files import add_sessions, put_books
from tests.schemas import read_schema

SCRIPT = CustomerScript(chat_length=Distribution("exponential", 60.0))
HASTY = SessionSettings(RefreshPolicy("fixed", 45.0, 3.0), 10.0, SCRIPT)
#: Refreshes so rarely that a lost request drops a chat.
LAZY = SessionSettings(RefreshPolicy("fixed", 45.0, 40.0), 4.0, SCRIPT, persona="widget")
RUN = RunSettings(name="mix", flex_disconnect_timeout=45.0, refresh_interval=3.0)
CLASSES = (
    ClassSettings("Hasty", persona="strict", service="default", refresh_policy="fixed", refresh_interval=3.0),
    ClassSettings(
        "Lazy", fixed_count=2, persona="widget", service="vip", refresh_policy="deadline", refresh_interval=40.0,
        hooks=("before_chat",), feeder="customers.csv (unique, stop)",
    ),
)  # fmt: skip


def held(settings, seed):
    """Records and books of chats of one kind, in virtual time."""
    service = ChatService(SimulatorConfig(agent_wait_s=(1.0, 5.0)), FaultPlan())
    network = NetworkModel(loss=0.02)
    made = VirtualSwarm(settings, service, users=20, chats=100, seed=seed, network=network, stop_at=300.0).run()
    return made.records, made.books


def written(folder, settings, parts):
    """The summary of a run file with these parts: user class -> records and books."""
    with RunWriter.create(folder, settings, started_at=0.0) as writer:
        for name, (records, books) in parts.items():
            add_sessions(writer, [replace(record, user_class=name) for record in records])
            put_books(writer, "local", books, name)
        writer.finish(400.0)
    with RunReader.open(folder) as reader:
        return summarize(reader)


@pytest.fixture(scope="module")
def summaries(tmp_path_factory):
    """The summary of a run with two classes, and that of each class alone; and the folder of the first."""
    folder = tmp_path_factory.mktemp("runs")
    parts = {"Hasty": held(HASTY, 1), "Lazy": held(LAZY, 2)}
    parts["Lazy"][1].fetched["token"] += 3
    for outcome in ("HTTP 200", "HTTP 200", "timeout"):
        parts["Lazy"][1].fetch_ended("token", outcome, 0.2, outcome != "timeout")
    mix = written(folder / "mix", replace(RUN, classes=CLASSES), {"": ([], Books()), **parts})
    alone = {name: written(folder / name, RUN, {"": part}) for name, part in parts.items()}
    return mix, alone, folder / "mix"


def test_a_class_has_the_figures_of_a_run_of_its_own(summaries):
    mix, alone, _ = summaries
    assert set(mix["by_class"]) == {"Hasty", "Lazy"} and mix["books"]["balanced"]
    for name, own in alone.items():
        assert own["by_class"] == {}
        assert mix["by_class"][name] == {key: own[key] for key in mix["by_class"][name]}
    assert alone["Lazy"]["rates"]["dropped"]["most"] > alone["Hasty"]["rates"]["dropped"]["most"]


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
    with RunReader.open(folder) as reader:
        page = html(page_document(reader, mix))
        assert "customers.csv (unique, stop)" in page and "ClassSettings" not in page and "&#39;name&#39;" not in page
        assert [session.user_class for session in reader.of_class("Lazy").sessions()] == ["Lazy"] * 100
        assert reader.of_class("it's nobody").count_sessions() == 0


def test_an_imbalance_names_its_class(tmp_path):
    records, books = held(HASTY, 3)
    books.started += 1
    summary = written(tmp_path / "run", RUN, {"Hasty": (records, books), "Lazy": ([], Books())})
    assert summary["books"]["imbalances"] == [f"local, Hasty: {books.started} sessions started, 100 ended"]


def test_classes_are_settings_of_the_run():
    run = replace(RUN, classes=CLASSES)
    assert RunSettings.from_dict(run.to_dict()) == run
    assert run.to_dict()["classes"][1] == {**asdict(CLASSES[1]), "tags": (), "hooks": ("before_chat",)}
    assert "classes" not in RUN.to_dict() and "Hasty" not in repeat_command(run)
    assert not_replayed(run) == "classes Hasty, Lazy"
    other = replace(run, classes=(CLASSES[0], replace(CLASSES[1], refresh_interval=39.0)))
    (difference,) = settings_differences([run], [other])
    assert difference.name == "classes" and difference.defines_load
