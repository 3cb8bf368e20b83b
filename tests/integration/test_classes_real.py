"""Several kinds of customers in one real, distributed run, chosen in the web UI; the wire shows what each sends.

One run for most of it: two workers, three of four classes picked, an HttpUser and plug-ins of Locust beside them, a
fixed count, tokens that expire during the run, and a file whose rows both workers share.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from chatload import RunReader
from tests.integration.live import scrape, web_ui
from tests.integration.processes import assert_balanced, chatload_here, locust, simulator, summary_of
from tests.integration.recorder import recorder
from tests.integration.test_stopping import free_port, ports, wait_for

LOCUSTFILE = """
from locust import HttpUser, constant, task
from locust_plugins import constant_total_ips
from locust_plugins.csvreader import CSVDictReader
from chatload import ChatUser, CustomerScript, Distribution, Feeder

SHORT = {"chat_length": Distribution("fixed", 1.0), "think": Distribution("fixed", 0.1),
         "typing": Distribution("fixed", 0.1), "waits_for_agent": False, "answer_patience": Distribution("fixed", 0.2)}


_BRANCHES = CSVDictReader(FILE)


class LoggedIn:
    def before_chat(self, customer):
        self._token(customer)

    def headers(self, customer):
        return {"Authorization": "Bearer " + self._token(customer)}

    def _token(self, customer):
        answer = customer.fetch("POST", "/simulator/token", name="token",
                                keep_s=lambda answer: answer.json()["expires_in"] - 0.5)
        return answer.json()["access_token"]


class Vip(LoggedIn, ChatUser):
    fixed_count = 2
    service = "vip"
    refresh_interval = "200ms"
    script = CustomerScript(**SHORT, nickname="Very Important")
    wait_time = constant_total_ips(20)

    def before_chat(self, customer):
        super().before_chat(customer)
        customer.user_data["Branch"] = next(_BRANCHES)["name"]

    def next_message(self, customer):
        customer.own.said = getattr(customer.own, "said", 0) + 1
        return f"text {customer.own.said}" if customer.own.said < 3 else None


class Web(LoggedIn, ChatUser):
    weight = 4
    persona = "widget"
    refresh_interval = 0.5
    script = CustomerScript(**SHORT, nickname="{name}", user_data={"CustomerId": "{id}"},
                            feeder=Feeder(FILE, "unique", "stop"))


class Other(ChatUser):
    # Not picked: its mistake does not matter.
    script = "/nowhere.toml"


class Reader(HttpUser):
    weight = 1
    wait_time = constant(0.2)

    @task
    def read(self):
        self.client.get("/simulator/status")
        self.client.get("/nowhere")
"""
TIMEOUT = ("--flex-disconnect-timeout", "5")
ROWS = 15
THRESHOLDS = "Vip: dropped.rate < 90%25; Web: GetMessages.latency.p50 < 5s; dropped.count < 1000"


def write(folder: Path, text: str = LOCUSTFILE) -> Path:
    (folder / "rows.csv").write_text("id,name\n" + "".join(f"{100 + n},Customer {n}\n" for n in range(ROWS)))
    (folder / "mine.py").write_text(text.replace("FILE", repr(str(folder / "rows.csv"))))
    return folder / "mine.py"


class Result:
    """One run: its folder, its summary, what went over the wire, and how it was seen while it went on."""

    def __init__(self, folder, said, tokens, live, scraped, refused, at_end):
        self.folder, self.said, self.tokens = folder, said, tokens
        self.live, self.scraped, self.refused, self.at_end = live, scraped, refused, at_end
        self.summary = summary_of(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    port = free_port()
    options = (
        *(*TIMEOUT, "--class-picker", "--processes", "2", *ports(), "--stop-timeout", "10"),
        *("--prometheus-port", port),
    )
    with (
        simulator(*TIMEOUT, "--service", "default,vip", "--token-life", "2") as url,
        recorder(url) as (there, recording),
        web_ui(f"http://{there}", *options, locustfile=write(folder), workers=2, own_workers=True) as ui,
    ):
        # Locust reads several values of one field as a list of classes.
        form = {"user_count": 8, "spawn_rate": 8, "run_dir": folder / "run"}
        picked = "&".join(f"user_classes={name}" for name in ("Vip", "Web", "Reader"))
        asked = "&".join(f"{name}={value}" for name, value in form.items()) + f"&{picked}"
        refused = ui.answer(f"{asked}&threshold=Other: dropped.rate < 5%25")["message"]
        ui.start_form(f"{asked}&threshold={THRESHOLDS}&abort_on=Vip: failed.count < 100")
        wait_for(lambda: ui.figures()["sessions"]["started"] >= ROWS + 8, 60)
        began = time.monotonic()
        wait_for(lambda: time.monotonic() - began > 2.5, 60)  # a token of the simulator lives for 2 s
        live, scraped = ui.json("/chatload/state"), scrape(port)
        ui.json("/stop", any="thing")
        wait_for(lambda: ui.figures()["phase"] == "ended", 60)
        at_end = ui.figures()
        said = b"".join(recording.said).decode("latin-1")
    return Result(folder / "run", said, said.count("POST /simulator/token"), live, scraped, refused, at_end)


def opened(run, service):
    """The fields of each RequestChat of a service."""
    found = re.findall(
        rf"POST /genesys/2/chat/{service}/? HTTP/1.1\r\n.*?\r\n\r\n([^\r\n]*?)(?=POST |GET |$)", run.said, re.S
    )
    return [{name: values[0] for name, values in parse_qs(body).items()} for body in found]


pytestmark = pytest.mark.slow


def test_the_run_is_whole(run):
    assert_balanced(run.summary)
    assert run.summary["valid"], run.summary["invalid_reasons"]
    assert set(run.summary["by_class"]) == {"Vip", "Web"}
    assert run.summary["generator"]["processes"] == 2


def test_every_figure_is_also_there_by_class(run):
    summary, classes = run.summary, run.summary["by_class"]
    for name in ("started", "accepted", "cut_off_confirmed"):
        assert summary["sessions"][name] == sum(one["sessions"][name] for one in classes.values())
    for verdict, count in summary["sessions"]["by_verdict"].items():
        assert count == sum(one["sessions"]["by_verdict"][verdict] for one in classes.values())
    for operation, row in summary["requests"]["by_operation"].items():
        parts = [one["requests"]["by_operation"].get(operation, {"sent": 0}) for one in classes.values()]
        assert row["sent"] == sum(part["sent"] for part in parts), operation
    assert summary["refresh"]["count"] == sum(one["refresh"]["count"] for one in classes.values())
    with RunReader.open(run.folder) as reader:
        assert Counter(session.user_class for session in reader.sessions()) == {
            name: one["sessions"]["started"] for name, one in classes.items()
        }
        assert all(books.balanced() for books in reader.books_by_part().values())
    text = (run.folder / "summary.md").read_text()
    assert "By user class" in text and "requests of hooks" in text.lower()


def test_thresholds_on_a_class_are_judged_by_its_chats(run):
    judged = {one["expression"]: one for one in run.summary["thresholds"]}
    assert {text: one["user_class"] for text, one in judged.items()} == {
        "Vip: dropped.rate < 90%": "Vip", "Web: GetMessages.latency.p50 < 5 s": "Web", "dropped.count < 1000": "",
    }  # fmt: skip
    assert all(one["result"] == "pass" for one in judged.values()), judged
    polls = run.summary["by_class"]["Web"]["requests"]["by_operation"]["GetMessages"]
    assert judged["Web: GetMessages.latency.p50 < 5 s"]["samples"] == sum(polls["by_outcome"].values())
    assert "Web: GetMessages.latency.p50 &lt; 5 s" in (run.folder / "junit.xml").read_text()
    assert run.refused == "threshold 'Other: dropped.rate < 5%': no such user class; expected one of Vip, Web"


def test_the_windows_of_the_classes_add_up_to_those_of_the_run(run):
    with RunReader.open(run.folder) as reader:
        whole = list(reader.windows())
        by_class = {name: list(reader.of_class(name).windows()) for name in ("Vip", "Web")}
        books = reader.books_by_class()
    assert sum(window.books.sent.total() for window in whole) == run.summary["requests"]["total"]
    for window in whole:
        parts = [own for one in by_class.values() for own in one if own.start == window.start]
        assert window.books.sent == sum((own.books.sent for own in parts), Counter())
        assert window.books.verdicts == sum((own.books.verdicts for own in parts), Counter())
        assert window.open == sum(own.open for own in parts)
    for name, one in by_class.items():
        assert sum(own.books.lateness.count for own in one) == books[name].lateness.count


def test_the_classes_are_seen_while_the_run_goes_on(run):
    vip, web = run.live["classes"]
    assert (vip["user_class"], web["user_class"]) == ("Vip", "Web") and vip["p95"] and vip["margin"]
    started = {
        labels: count for (name, labels), count in run.scraped.items() if name.endswith("sessions_started_total")
    }
    assert started.keys() == {(("user_class", "Vip"),), (("user_class", "Web"),)}
    assert started[(("user_class", "Web"),)] == ROWS
    for name, one in run.summary["by_class"].items():
        own = run.at_end["by_class"][name]
        assert (own["requests"], own["refresh"]) == (one["requests"], one["refresh"])
        for key in ("started", "by_verdict", "cut_off_confirmed"):
            assert own["sessions"][key] == one["sessions"][key]
    assert sum(one["sessions"]["cut_off_confirmed"] for one in run.summary["by_class"].values()) > 0
    states = {threshold["expression"]: threshold["state"] for threshold in run.live["thresholds"]}
    assert states["Vip: dropped.rate < 90%"] == "within the limit so far"


def test_each_class_has_its_own_service_client_and_interval(run):
    vip, web = ({one["name"]: one for one in run.summary["settings"]["classes"]}[name] for name in ("Vip", "Web"))
    assert (vip["service"], vip["persona"], vip["refresh_interval"], vip["fixed_count"]) == ("vip", "strict", 0.2, 2)
    assert (web["service"], web["persona"], web["refresh_interval"], web["weight"]) == ("default", "widget", 0.5, 4.0)
    assert (vip["hooks"], web["feeder"].endswith("(unique, stop)")) == (
        ["before_chat", "headers", "next_message"],
        True,
    )
    gaps = {name: one["refresh"]["gap_s"]["p50"] for name, one in run.summary["by_class"].items()}
    assert gaps["Vip"] < 0.35
    assert {fields["nickname"] for fields in opened(run, "vip")} == {"Very Important"}
    assert all("user_data._genesys_source" not in fields for fields in opened(run, "vip"))


def test_each_row_was_used_once_by_both_workers_together(run):
    fields = opened(run, "default")
    rows = [(each["nickname"], each["userData[CustomerId]"]) for each in fields]
    assert sorted(rows) == sorted((f"Customer {n}", str(100 + n)) for n in range(ROWS))
    assert run.summary["by_class"]["Web"]["sessions"]["started"] == ROWS
    with RunReader.open(run.folder) as reader:
        assert len({session.worker for session in reader.sessions() if session.user_class == "Web"}) == 2


def test_tokens_are_shared_and_renewed_and_every_request_has_one(run):
    (row,) = run.summary["fetches"].values()
    assert row["by_outcome"] == {"HTTP 200": row["sent"]} and row["sent"] == run.tokens
    # Of each worker and class, one at least when it began and one when that had expired; not one for each chat.
    assert 4 < run.tokens < run.summary["sessions"]["started"]
    refused = [entry["by_outcome"]["http_error"] for entry in run.summary["requests"]["by_operation"].values()]
    assert sum(refused) == 0, "a token had expired"
    assert "token" not in run.summary["requests"]["by_operation"]


def test_locusts_plug_ins_work(run):
    """The reader and the wait time of locust-plugins; its options stand beside chatload's."""
    branches = {fields["userData[Branch]"] for fields in opened(run, "vip")}
    assert len(branches) > 1 and branches <= {f"Customer {n}" for n in range(ROWS)}


def test_messages_are_those_of_the_hook(run):
    texts = re.findall(r"message=(text\+\d)", run.said)
    assert set(texts) <= {"text+1", "text+2"} and "text+2" in texts


def test_the_other_users_of_locust_ran_too(run):
    good, bad = run.said.count("GET /simulator/status"), run.said.count("GET /nowhere")
    others = run.summary["other_users"]
    assert bad > 3 and others == {"classes": ["Reader"], "requests": good + bad, "failed": bad}


def test_other_commands_read_such_a_run(run, tmp_path):
    assert chatload_here("report", run.folder).returncode == 0
    assert "By user class" in (run.folder / "report.html").read_text()
    rows = chatload_here("export", run.folder, "sessions").stdout.splitlines()
    assert rows[0].endswith("user_class") and sum(row.endswith(",Web") for row in rows) == ROWS
    assert chatload_here("compare", run.folder, "--", run.folder).returncode in (0, 4)


# -- what ends or spoils a run -----------------------------------------------------------------------

SPOILT = """
from locust import User, constant, task

from chatload import ChatUser, CustomerScript, Distribution, Feeder


class Visitor(User):
    fixed_count = 1
    wait_time = constant(0.1)

    @task
    def read(self):
        return {}["a mistake of the locustfile"]


class Customer(ChatUser):
    script = CustomerScript(chat_length=Distribution("fixed", 0.3), nickname="{name}",
                            feeder=Feeder(FILE, "in_order", "error"))

    def before_chat(self, customer):
        if customer.row["id"] == "103":
            customer.fetch("GET", "/nowhere", name="login")

    def on_event(self, customer, event):
        raise RuntimeError("a mistake of the locustfile")
"""


def test_the_end_of_the_data_and_a_broken_hook_make_a_run_invalid(tmp_path):
    with simulator(*TIMEOUT) as host:
        done = locust(
            host, tmp_path / "run", *TIMEOUT, "-u", "5", "-r", "5", "-t", "60s", locustfile=write(tmp_path, SPOILT)
        )
    summary = summary_of(tmp_path / "run")
    assert_balanced(summary)
    assert done.returncode == 3 and summary["result"] == "invalid" and summary["end"]["by"] == "data_used_up"
    assert summary["sessions"]["started"] == ROWS
    # The customer who could not log in is one who was not served.
    (lost,) = summary["sessions"]["not_accepted"]
    assert lost == {"verdict": "gave_up", "why": "before_chat: login: HTTP 404", "sessions": 1}
    assert summary["rates"]["unserved"]["least"] == 1 and summary["fetches"]["login"]["by_outcome"] == {"HTTP 404": 1}
    hook, task, data = summary["invalid_reasons"]
    assert hook.startswith("code of the user classes failed") and "(Customer.on_event: RuntimeError)" in hook
    assert task.startswith("code of the user classes failed") and "(Visitor.read: KeyError)" in task
    assert data == f"{tmp_path}/rows.csv: all {ROWS} rows are used"
    for once in ("a hook of user class Customer failed", "KeyError in read of user class Visitor"):
        assert done.stderr.count(once) == 1


def test_a_misspelt_attribute_ends_with_one_line(tmp_path):
    text = "from chatload import ChatUser\nclass Customer(ChatUser):\n    refresh_intervall = 3\n"
    done = locust("http://127.0.0.1:9", tmp_path / "run", locustfile=write(tmp_path, text))
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    said = [line for line in done.stderr.splitlines() if line.startswith("chatload:")]
    assert said == ["chatload: user class Customer: refresh_intervall has no effect; did you mean refresh_interval? "
                    "names of your own begin with an underscore"]  # fmt: skip
    assert "Traceback" not in done.stderr
