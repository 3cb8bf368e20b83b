"""Files from anybody: run files, ledgers, recordings, settings. Nothing in them is run, none ends in a traceback."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex

import pytest

from chatload import cli
from chatload.errors import printable
from chatload.features.report.page import repeat_command
from chatload.run.reader import RunReader
from tests.unit.hostile import ALTERATIONS, ESCAPES, FORMULAS, SCRIPT, altered, make

COMMANDS = {
    "report": ("report", "RUN"),
    "sessions": ("export", "RUN", "sessions"),
    "windows": ("export", "RUN", "windows", "--format", "jsonl"),
    "requests": ("export", "RUN", "requests"),
    "reconcile": ("reconcile", "RUN", "--ledger", "LEDGER"),
    "plan": ("plan", "--chats-per-hour", "360", "--run", "RUN"),
    "compare": ("compare", "RUN", "--", "RUN"),
}


def chatload(capsys, *arguments):
    """A command's exit code and output; whatever else it raises is the failure."""
    with pytest.raises(SystemExit) as left:
        cli.run([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return left.value.code, out, err


def command(name, run, tmp_path):
    ledger = tmp_path / "ledger.ndjson"
    ledger.write_text(json.dumps({"chat_id": ESCAPES + SCRIPT, "end_reason": "agent"}) + "\n")
    return [{"RUN": run, "LEDGER": ledger}.get(word, word) for word in COMMANDS[name]]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make(tmp_path_factory.mktemp("hostile") / "run")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_of_hostile_words_is_read_as_words(name, run, tmp_path, capsys):
    code, out, err = chatload(capsys, *command(name, run, tmp_path))
    # A plan refuses a run in which no chat was held for long, and a comparison of two runs judges nothing.
    assert code in (0, 1, 3, *[4] * (name == "compare")) or (name == "plan" and "no session was held" in err), err
    if name not in ("sessions", "requests"):  # CSV, which a file gets as it is
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", out + err)
        assert max(map(len, out.splitlines()), default=0) < 30_000


def test_no_cell_of_a_csv_begins_a_formula(run, tmp_path, capsys):
    _, out, _ = chatload(capsys, "export", run, "sessions")
    rows = list(csv.DictReader(io.StringIO(out.replace("\x00", ""))))
    seen = {row["chat_id"] for row in rows}
    assert len(seen) >= len(FORMULAS)
    for row in rows:
        for value in row.values():
            for cell in re.split("[;\t\r\n]", value):
                number = re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", cell)
                assert number or not cell.startswith(tuple("=+-@＝＋－＠")), cell[:80]


def test_nothing_of_it_becomes_markup(run, capsys):
    chatload(capsys, "report", run)
    page = (run / "report.html").read_text()
    # Its own script, and the values of its charts, which no browser runs.
    charts = page.count('<figure class="time">')
    assert page.count("<script>") == 1 and page.count("<script") == page.count("</script") == 1 + charts
    shown = re.sub("<script.*?</script>", "", page, flags=re.S)
    assert "<img" not in shown and "javascript:" not in re.sub(r"&\w+;[^<]*", "", shown)
    assert not re.search(r"<[^>]+\son\w+=", re.sub('"[^"]*"', '""', shown))
    assert "Content-Security-Policy" in page
    text = (run / "summary.md").read_text()
    assert "<script" not in re.sub(r"(`+).*?\1", "", text) and "\x1b" not in text
    assert "\x1b" not in (run / "junit.xml").read_text()
    assert "{{7*7}}" in page and "49$" not in page


def test_the_command_that_repeats_a_run_is_one_command(run):
    with RunReader.open(run) as reader:
        words = shlex.split(repeat_command(reader.settings).replace("\\\n", " "))
    assert words[:2] == ["locust", "-f"] and "--headless" in words
    # Nothing of the file is an option, and all of it is behind one.
    assert "-fevil.py" not in words and "--script=-fevil.py" in words
    assert not {"rm", ";", "id", "$(touch"} & set(words)


@pytest.mark.parametrize("what", ALTERATIONS)
def test_what_no_chatload_has_written_is_refused_in_one_line(what, tmp_path, capsys):
    run = altered(tmp_path / "run", *ALTERATIONS[what])
    refused = 0
    for name in ("report", "sessions", "reconcile"):
        code, _, err = chatload(capsys, *command(name, run, tmp_path))
        assert code in (0, 1, 2, 3), err
        if code == 2:
            refused += 1
            assert len(err.splitlines()) == 1 and err.startswith("chatload: ") and len(err) < 2500
            assert "\x1b" not in err
    assert refused, what


def test_a_trigger_and_tables_of_others_change_nothing(tmp_path, capsys):
    run = altered(
        tmp_path / "run",
        "CREATE TRIGGER t AFTER INSERT ON sessions BEGIN DELETE FROM run; END",
        "CREATE TABLE other (x TEXT)",
        "CREATE INDEX i ON sessions (lower(chat_id))",
    )
    assert chatload(capsys, "report", run)[0] in (1, 3)


@pytest.mark.parametrize("at", range(0, 100, 19))
def test_a_broken_file_is_refused_or_read(at, tmp_path, capsys):
    run = altered(tmp_path / "run")
    file = run / "run.sqlite"
    data = bytearray(file.read_bytes())
    start = len(data) * at // 100
    data[start : start + 300] = b"\xff" * 300
    file.write_bytes(data)
    for name in ("report", "sessions"):
        code, _, err = chatload(capsys, *command(name, run, tmp_path))
        assert code in (0, 1, 2, 3) and "Traceback" not in err


LEDGERS = {
    "nested.ndjson": b"[" * 200_000,
    "digits.ndjson": b'{"chat_id": ' + b"9" * 5000 + b"}",
    "numbers.ndjson": b'{"chat_id": "a", "end_reason": "agent", "started_at": 1e999}',
    "long.ndjson": json.dumps({"chat_id": "a", "end_reason": "x" * 10**7}).encode(),
    "bytes.ndjson": b"\xff\xfe\x00",
    "wide.csv": b"chat_id,end_reason\n" + b"a" * 10**6 + b",agent\n",
    "quotes.csv": b'chat_id,end_reason\n"' * 1000,
    "formula.csv": b"chat_id,end_reason\n=cmd|' /C calc'!A0,\x1b[2J\n",
}


@pytest.mark.parametrize("name", LEDGERS)
def test_hostile_ledgers(name, tmp_path, capsys):
    (tmp_path / name).write_bytes(LEDGERS[name])
    code, _, err = chatload(capsys, "reconcile", altered(tmp_path / "run"), "--ledger", tmp_path / name)
    assert code == 2 and len(err.splitlines()) == 1 and "\x1b" not in err and len(err) < 2500, err[:300]


SETTINGS = {
    "nested": b"x = " + b"[" * 100_000,
    "dotted": b"a." * 20_000 + b"a = 1",
    "dotted in a table": b"x = {" + b"a." * 20_000 + b"a = 1}",
    "digits": b"think = " + b"9" * 5000,
    "huge": b"# " + b"x" * 2**20,
    "escapes": "\u202e\x1b[2J".encode(),
    "sigma": b'think = { shape = "lognormal", median = 1, sigma = 1e300 }',
    "largest": b"think = 1.7e308",
}


@pytest.mark.parametrize("what", SETTINGS)
def test_hostile_settings(what, tmp_path, capsys):
    from chatload.chat.script import load_script
    from chatload.errors import FileError

    file = tmp_path / "script.toml"
    file.write_bytes(SETTINGS[what])
    with pytest.raises(FileError) as refused:
        load_script(file)
    assert len(str(refused.value)) < 1100 and "\x1b" not in str(refused.value)
    code, _, err = chatload(capsys, "plan", "--from", file)
    assert code == 2 and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b'{"log": {"entries": {}}}', b'{"log": {"entries": [[], 1, {"time": 1}]}}']
)
def test_hostile_recordings(text, tmp_path, capsys):
    file = tmp_path / "a.har"
    file.write_bytes(text)
    code, _, err = chatload(capsys, "script", "from-har", file)
    assert code == 2 and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [("ümlaut 日本 \n", "ümlaut 日本 \n"), ("\x1b[31m", "\ufffd[31m"), ("a\rb", "a\ufffdb"), ("\x9b1m", "\ufffd1m"),
     ("\u202eevil", "\ufffdevil"), ("\ud800", "\ufffd"), ("a\tb", "a\tb")],
)  # fmt: skip
def test_printable(text, shown):
    assert printable(text) == shown


def test_printable_cuts():
    assert printable("x" * 100, 10) == "x" * 9 + "…"
