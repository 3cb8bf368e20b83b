"""What a capacity search says: its JSON, its sentences, its page, its exit code."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from chatload.errors import FileError
from chatload.report import capacity
from chatload.report.capacity_console import render
from chatload.report.capacity_html import html, write_page
from tests.unit.capacity_server import RULES, Server, World

WORLDS = {
    "limit": (Server(limit=137), RULES, 0, "The server's limit is 137 sessions: 137 sessions were held, twice, and at"),
    "knee": (Server(knee=300), RULES, 0, "The server's knee is above 290 sessions: 290 sessions were held, twice, and"),
    "generator": (Server(), replace(RULES, ceiling=60), 4, "The generator was the limit: it was not to open more than"),
    "undecided": (Server(), replace(RULES, interval_s=30.0, ceiling=10), 4, "No load was held: "),
}


def found(name: str) -> dict[str, Any]:
    server, rules, _, _ = WORLDS[name]
    world = World(server, rules)
    world.now = 1000.0
    world.run()
    return capacity.facts_of(world.search, 1000.0, [(0.0, 10, 0), (1.0, 10, 10)])


@pytest.mark.parametrize("name", WORLDS)
def test_every_ending_is_told_in_one_sentence_and_keeps_to_the_schema(name: str) -> None:
    facts = found(name)
    jsonschema.validate(facts, capacity.schema())
    json.dumps(facts, allow_nan=False)
    _, _, code, answer = WORLDS[name]
    assert capacity.answer(facts).startswith(answer)
    assert capacity.exit_code(facts) == code
    assert facts["claim"] == (code == 0)
    page, text = html(facts), io.StringIO()
    render(facts, text)
    assert answer.replace("'", "&#39;") in page
    assert answer[:60] in text.getvalue().replace("\n  ", " ")
    assert "<script" not in page and "http://" not in page.replace("http://www.w3.org", "")
    assert all(len(line) <= 100 for line in text.getvalue().splitlines())


def test_instants_count_from_the_runs_beginning() -> None:
    facts = found("limit")
    assert facts["steps"][0]["begun_s"] == 0
    assert 0 < facts["trouble"]["at_s"] <= facts["steps"][-1]["ended_s"]
    begun = [step["begun_s"] for step in facts["steps"]]
    assert begun == sorted(begun)


def test_the_words_of_an_unnamed_peak_are_in_every_output() -> None:
    facts = found("limit")
    words = "no peak named: the run did not measure past it"
    text = io.StringIO()
    render(facts, text)
    assert facts["usl"]["peak"] is None
    assert words in html(facts) and words in text.getvalue().replace("\n  ", " ")


def test_what_was_written_is_read_back_and_a_spoilt_file_is_one_line(tmp_path: Path) -> None:
    facts = found("generator")
    assert capacity.read_capacity(tmp_path) is None
    capacity.write_capacity(tmp_path, facts)
    assert capacity.read_capacity(tmp_path) == json.loads(json.dumps(facts))
    assert write_page(tmp_path, facts).read_text().startswith("<!doctype html>")
    (tmp_path / "capacity.json").write_text("{")
    with pytest.raises(FileError, match=r"capacity\.json.*cannot be read"):
        capacity.read_capacity(tmp_path)
