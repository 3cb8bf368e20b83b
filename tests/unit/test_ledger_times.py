"""Times and reasons in a ledger: what is understood, and what is refused."""

from __future__ import annotations

import http.client
import json
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from chatload.errors import FileError, UsageError
from chatload.features.reconcile.ledger import Columns, _why, read
from chatload.sockets import TotalDeadline


def ended_at(folder: Path, value: Any) -> float | None:
    (folder / "l.ndjson").write_text(json.dumps({"chat_id": "a", "end_reason": "agent", "ended_at": value}))
    (row,) = read(str(folder / "l.ndjson"))
    return row.ended_at


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        (0, 0.0),
        (12, 12.0),
        (12.5, 12.5),
        ("12.5", 12.5),
        ("1970-01-01T00:01:00", 60.0),  # UTC, where no zone is named
        ("1970-01-01T00:01:00Z", 60.0),
        (" 1970-01-01 01:01:00+01:00 ", 60.0),
        ("1970-01-01T00:00:00-01:00", 3600.0),
    ],
)
def test_a_time_is_seconds_or_iso_8601(tmp_path: Path, value: Any, seconds: float | None) -> None:
    assert ended_at(tmp_path, value) == seconds


@pytest.mark.parametrize("value", [True, False, [1], {"at": 1}, "soon", "inf", "-inf", "nan"])
def test_what_is_no_time_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(UsageError, match="line 1: ended_at: expected seconds or an ISO 8601 time"):
        ended_at(tmp_path, value)


@pytest.mark.parametrize(
    ("word", "ours"),
    [(None, None), ("", None), ("alive", None), (" agent ", "agent"), ("bye", "disconnected"), ("open", None)],
)
def test_an_end_reason_is_one_of_ours_or_what_it_was_said_to_mean(
    tmp_path: Path, word: str | None, ours: str | None
) -> None:
    (tmp_path / "l.ndjson").write_text(json.dumps({"chat_id": "a", "end_reason": word}))
    (row,) = read(str(tmp_path / "l.ndjson"), Columns({}, {"bye": "disconnected", "open": "alive"}))
    assert row.end_reason == ours


def test_a_line_longer_than_any_session_s_is_refused(tmp_path):
    file = tmp_path / "ledger.ndjson"
    line = '{"chat_id": "c", "end_reason": "agent"'
    for length, refused in ((2**20, False), (2**20 + 1, True)):
        file.write_text(line + " " * (length - len(line) - 2) + "}\n")
        if refused:
            with pytest.raises(FileError, match="line 1: longer than 1048576 characters"):
                list(read(str(file)))
        else:
            assert [row.chat_id for row in read(str(file))] == ["c"]


def test_empty_lines_are_passed_over_and_counted(tmp_path):
    file = tmp_path / "ledger.ndjson"
    file.write_text('\n{"chat_id": "a", "end_reason": "agent"}\n\n  \n{"chat_id": "b", "end_reason": null}\n')
    assert [row.chat_id for row in read(str(file))] == ["a", "b"]
    file.write_text('{"chat_id": "a", "end_reason": "agent"}\n\n[]\n')
    with pytest.raises(FileError, match="line 3: expected a JSON object"):
        list(read(str(file)))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (http.client.IncompleteRead(b"", 3), "the answer was cut short"),
        (OSError("no route"), "no route"),
        (urllib.error.URLError("refused"), "refused"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_why_a_ledger_could_not_be_fetched(error, said):
    assert _why(error, TotalDeadline(600.0)) == said


@pytest.mark.parametrize("value", ['""', "true", "null", "[]", "1.5"])
def test_a_chat_s_id_is_text_or_a_whole_number(tmp_path, value):
    file = tmp_path / "ledger.ndjson"
    file.write_text('{"chat_id": 5, "end_reason": "agent"}\n')
    assert [row.chat_id for row in read(str(file))] == ["5"]
    file.write_text(f'{{"chat_id": {value}, "end_reason": "agent"}}\n')
    with pytest.raises(FileError, match="line 1: chat_id: expected the chat's id"):
        list(read(str(file)))


def test_a_ledger_out_of_all_proportion_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("chatload.features.reconcile.ledger._MOST", 2**20)
    file = tmp_path / "ledger.ndjson"
    line = '{"chat_id": "c", "end_reason": "agent"}'.ljust(2**16 - 1) + "\n"
    file.write_text(line * 16)
    assert len(list(read(str(file)))) == 16
    file.write_text(line * 16 + "\n")
    with pytest.raises(FileError, match=r"larger than 0\.000977 GiB"):
        list(read(str(file)))
