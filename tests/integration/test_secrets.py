"""Keys, passwords, API keys, message texts and customers' names go over the wire, and into no file of a run."""

import base64
import json
import re
import sqlite3
import time
from importlib import resources
from urllib.parse import parse_qsl, quote, quote_plus, urlencode
from urllib.request import urlopen

import pyarrow.parquet
import pytest

from chatload.features.report.junit import junit
from chatload.features.report.view import summary_document
from chatload.render.markdown import markdown
from chatload.render.output import write_text
from tests.integration.live import web_ui
from tests.integration.processes import ENV, HASTY, chatload_here, locust, simulator, summary_of
from tests.integration.recorder import recorder
from tests.integration.test_stopping import wait_for

pytestmark = pytest.mark.slow

USER, PASSWORD = "loadtester-7f3a", "correct-horse-9d1e"
APIKEY, ENVKEY = "apikey-5b21c7d0e4f9", "from-the-environment-66c1d2"
NICKNAME, SUBJECT = "Frederica Ümlaut-Okonjo", "invoice 2209-4471 of Okonjo Ltd"
FAULTS = """
seed = 5
[[fault]]
kind = "outage"
from_s = 3.0
until_s = 5.5
[[fault]]
kind = "status_1"
chance = 0.05
[[fault]]
kind = "status_2"
chance = 0.01
[[fault]]
kind = "malformed"
chance = 0.02
[[fault]]
kind = "http_500"
chance = 0.02
[[fault]]
kind = "drop_connection"
chance = 0.02
"""


def dialect_with_an_api_key():
    text = (resources.files("chatload.protocol") / "dialects" / "gms-v2.toml").read_text()
    assert "[request.headers]\n" in text
    return text.replace(
        "[request.headers]\n", f'[request.headers]\napikey = "{APIKEY}"\nX-Key = {{ env = "CHATLOAD_X_KEY" }}\n'
    )


def seen_on_the_wire(recording):
    """Keys, user ids and texts that were sent or answered, by kind."""
    seen = {"secureKey": set(), "userId": set(), "message": set()}
    for stream in recording.said:
        for line in stream.decode("utf-8", "replace").replace("\r\n", "\n").split("\n"):
            # a body has no newline at its end: the next request's line may follow it
            for name, value in parse_qsl(re.sub(r"(GET|POST) /.*", "", line)):
                if name in seen:
                    seen[name].add(value)
    for stream in recording.heard:
        for name, value in re.findall(rb'"(secureKey|userId|text)":("(?:[^"\\]|\\.)*")', stream):
            seen["message" if name == b"text" else name.decode()].add(json.loads(value))
    # "0" is what the first question, for a chat that does not exist, is asked with; texts as short as a
    # word could be anybody's
    return {kind: {v for v in values if len(v) >= 8} for kind, values in seen.items()}


def contents(path):
    """What is in a file, as one can read it: its bytes, and what is inside those where they are packed."""
    yield path.read_bytes()
    if path.suffix == ".sqlite":
        with sqlite3.connect(path) as database:
            yield "\n".join(database.iterdump()).encode()
    if path.suffix == ".parquet":
        yield json.dumps(pyarrow.parquet.read_table(path).to_pylist(), ensure_ascii=False).encode()


def spellings(secret):
    """How a secret may be written down."""
    plain = {secret, quote(secret), quote_plus(secret), json.dumps(secret)[1:-1]}
    return {spelling.encode() for spelling in plain} | {base64.b64encode(secret.encode()).rstrip(b"=")}


def leaks(folder, secrets):
    """(file, kind, secret) of every planted secret found in any file below `folder`."""
    wanted = [(kind, secret, spellings(secret)) for kind, values in secrets.items() for secret in values]
    return [
        (str(path.relative_to(folder)), kind, secret)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for content in contents(path)
        for kind, secret, spelled in wanted
        if any(spelling in content for spelling in spelled)
    ]


def keep(folder, name, process):
    """What a process printed, as files beside the run's own."""
    (folder / f"{name}.out").write_text(process.stdout)
    (folder / f"{name}.err").write_text(process.stderr)


@pytest.mark.parametrize("transport", ["lean", "requests"])
def test_no_secret_is_in_any_file_of_a_run(transport, tmp_path, monkeypatch):
    monkeypatch.setitem(ENV, "CHATLOAD_X_KEY", ENVKEY)
    monkeypatch.setenv("CHATLOAD_X_KEY", ENVKEY)
    run_dir = tmp_path / "run"
    script, dialect = tmp_path / "script.toml", tmp_path / "dialect.toml"
    script.write_text(f'nickname = "{NICKNAME}"\nsubject = "{SUBJECT}"\n{HASTY}')
    dialect.write_text(dialect_with_an_api_key())
    options = ("--flex-disconnect-timeout", "2", "--agent-wait", "0.1", "0.5", "--agent-answer", "0.1", "0.5")
    with simulator(*options, faults=FAULTS, tmp_path=tmp_path) as url, recorder(url) as (address, recording):
        run = locust(
            f"http://{USER}:{PASSWORD}@{address}", run_dir, "-u", "25", "-r", "25", "-t", "9s",
            "--flex-disconnect-timeout", "2", "--script", script, "--dialect", dialect,
            "--transport", transport, "--loglevel", "DEBUG", "--html", tmp_path / "locust.html",
        )  # fmt: skip
    summary = summary_of(run_dir)
    assert summary["sessions"]["started"] > 20 and summary["sessions"]["by_verdict"]["dropped_late"], summary

    keep(run_dir, "locust", run)
    (tmp_path / "locust.html").rename(run_dir / "locust.html")
    keep(run_dir, "report", chatload_here("report", run_dir))
    for what in ("sessions", "windows", "requests"):
        for form in ("csv", "jsonl", "parquet"):
            exported = chatload_here("export", run_dir, what, "--output", run_dir / f"{what}.{form}")
            assert exported.returncode == 0, exported.stderr
    write_text(markdown(summary_document(summary)), run_dir / "summary.md")
    write_text(junit(summary), run_dir / "junit.xml")

    said = b"\n".join(recording.said)
    for planted in (APIKEY, ENVKEY, quote_plus(NICKNAME), quote_plus(SUBJECT)):
        assert planted.encode() in said, f"{planted} was never sent: the test proves nothing"
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    secrets = {"login": {USER, PASSWORD, login}, "apikey": {APIKEY, ENVKEY}, "customer": {NICKNAME, SUBJECT}}
    secrets |= seen_on_the_wire(recording)
    assert {kind: len(values) > 20 for kind, values in secrets.items() if kind in ("secureKey", "userId")} == {
        "secureKey": True, "userId": True,
    }, secrets  # fmt: skip
    assert len(secrets["message"]) > 5, secrets["message"]
    assert leaks(run_dir, secrets) == []


PAGES = (
    "/?tab=stats", "/stats/report", "/stats/report?download=1", "/stats/requests", "/stats/requests/csv",
    "/stats/failures/csv", "/exceptions", "/exceptions/csv", "/tasks", "/logs", "/worker-count",
    "/chatload/", "/chatload/state", "/chatload/live", "/chatload/live.csv",
)  # fmt: skip


def page(ui, path, **form):
    """All that a browser gets: headers and body."""
    data = urlencode(form).encode() if form else None
    with urlopen(f"{ui.base}{path}", data, timeout=60) as answer:
        return f"{answer.headers}\n{answer.read().decode()}"


def started(ui, run, form, seen):
    """Whether that run is under way; asked for again where not: for a while after a run Locust has no ready worker."""
    if ui.figures()["run"] == run:
        return True
    seen.append(page(ui, "/swarm", **form))
    time.sleep(1.5)
    return ui.figures()["run"] == run


def test_no_page_of_the_web_ui_shows_the_hosts_login_and_workers_use_it(tmp_path):
    pages = tmp_path / "pages"
    pages.mkdir()
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    other = ("someone-else-31", "another-word-5a")
    debug = ("--loglevel", "DEBUG", "--logfile", pages / "master.log")
    with simulator("--flex-disconnect-timeout", "3") as url, recorder(url) as (address, recording):
        with web_ui(f"http://{USER}:{PASSWORD}@{address}", *debug, "--flex-disconnect-timeout", "3", workers=1) as ui:
            for number, host in enumerate((f"http://{address}", f"http://{':'.join(other)}@{address}")):
                form = {"user_count": 3, "spawn_rate": 3, "host": host, "run_dir": tmp_path / f"run{number}"}
                seen = [page(ui, path) for path in PAGES]
                wait_for(lambda run=f"run{number}", form=form, seen=seen: started(ui, run, form, seen))
                wait_for(lambda: ui.figures()["requests"]["total"] > 5)
                seen += [page(ui, path) for path in PAGES] + [page(ui, "/stop", any="thing")]
                (pages / f"{number}.html").write_text("\n".join(seen))
            (pages / "last.html").write_text("\n".join(page(ui, path) for path in PAGES))
    said = b"\n".join(recording.said)
    typed = base64.b64encode(":".join(other).encode()).decode()
    assert login.encode() in said and typed.encode() in said, "never sent: the test proves nothing"
    assert address in (pages / "last.html").read_text()
    secrets = {"login": {USER, PASSWORD, login}, "typed": {*other, typed}}
    assert leaks(tmp_path, secrets) == []


def test_a_leak_would_be_found(tmp_path):
    with sqlite3.connect(tmp_path / "a.sqlite") as database:
        database.execute("CREATE TABLE t (x TEXT)")
        database.execute("INSERT INTO t VALUES (?)", ("x" * 20_000 + NICKNAME,))
    rows = pyarrow.table({"why": [f"it was {APIKEY}"] * 3})
    pyarrow.parquet.write_table(rows, tmp_path / "b.parquet", compression="zstd")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.html").write_text(f"<a href='/?q={quote_plus(SUBJECT)}'>")
    (tmp_path / "d.json").write_text(json.dumps({"header": base64.b64encode(PASSWORD.encode()).decode()}))
    secrets = {"n": {NICKNAME}, "k": {APIKEY}, "s": {SUBJECT}, "p": {PASSWORD}}
    found = {(file, kind) for file, kind, _ in leaks(tmp_path, secrets)}
    assert found == {("a.sqlite", "n"), ("b.parquet", "k"), ("deep/c.html", "s"), ("d.json", "p")}
