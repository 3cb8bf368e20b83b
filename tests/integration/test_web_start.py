"""A start from the web UI that cannot be meant: the form's answer and the page's state say why, and nothing is sent."""

import json

import pytest

from tests.integration.live import web_ui
from tests.integration.processes import ROOT, assert_balanced, ledger_of, simulator, summary_of
from tests.integration.test_stopping import free_port, ports, wait_for

pytestmark = pytest.mark.slow
TIMEOUT = ("--flex-disconnect-timeout", "3")
PUBLIC = "203.0.113.77"  # of a network that documentation has to itself (RFC 5737)


def refused(ui, said, **settings):
    """Ask for a start that is to be refused; `said` is in the form's answer and in the page's state."""
    answer = ui.json("/swarm", user_count=2, spawn_rate=2, **settings)
    assert answer["success"] is False and said in answer["message"], answer
    assert ui.figures()["refused"] == ui.json("/chatload/state")["refused"] == answer["message"]
    assert ui.json("/stats/requests")["user_count"] == 0


def starts(ui, run_dir, **settings):
    """A start that is to work: two chats are held, then stopped."""
    ui.start(2, run_dir=run_dir, **settings)
    wait_for(lambda: ui.figures()["sessions"]["by_state"]["held"] == 2)
    assert ui.figures()["refused"] == ""
    ui.json("/stop", any="thing")
    assert_balanced(summary_of(run_dir))


def test_every_start_that_headless_would_refuse_is_refused_with_its_reason(tmp_path):
    (tmp_path / "script.toml").write_text("no = such key\n")
    dead = f"http://127.0.0.1:{free_port()}"
    with simulator(*TIMEOUT) as host, web_ui(host, *TIMEOUT, "--chat-length", "30") as ui:
        for settings, said in (
            ({"host": "chat.example"}, "is not the URL of a host"),
            ({"host": f"http://{PUBLIC}:9"}, "--target-owner-agrees"),
            ({"host": f"http://user:pass@{PUBLIC}:9"}, "--target-owner-agrees"),
            ({"host": dead}, "cannot be reached"),
            ({"service": "elsewhere", "host": f"{host}/nowhere"}, "has no chat service"),
            ({"refresh_interval": "3.5"}, "--allow-late-refresh"),
            ({"threshold": "nonsense < 1"}, "nonsense"),
            ({"script": str(tmp_path / "script.toml")}, "script.toml"),
            ({"max_sessions": "1"}, "ceiling of 1 sessions"),
        ):
            # A form sends all its fields.
            form = {"host": host, "refresh_interval": "", "threshold": "", "script": "", "max_sessions": ""}
            refused(ui, said, **{**form, "service": "default", **settings})
            assert "user:pass" not in ui.text("/logs") + json.dumps(ui.figures())
        assert ledger_of(host) == []
        form = {"host": host, "refresh_interval": "", "threshold": "", "script": "", "max_sessions": ""}
        starts(ui, tmp_path / "one", **form)
        # The figures of the run that was stay, beside why the next was refused.
        refused(ui, "already", run_dir=tmp_path / "one", **form)
        assert ui.figures()["sessions"]["started"] == 2
        starts(ui, tmp_path / "two", **form)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_only_the_start_itself_can_find_out_is_on_the_page(tmp_path, workers):
    # In /proc nobody can make a folder, and it looks as if root could.
    with simulator(*TIMEOUT) as host, web_ui(host, *TIMEOUT, "--chat-length", "30", workers=workers) as ui:
        ui.start(20, run_dir="/proc/nowhere")
        wait_for(lambda: "/proc/nowhere" in ui.figures()["refused"])
        assert "/proc/nowhere" in ui.json("/chatload/state")["refused"]
        found = ui.json("/stats/requests")
        assert found["state"] in ("ready", "stopped") and found["user_count"] == 0
        assert [(worker["state"], worker["user_count"]) for worker in found.get("workers", ())] == [
            ("ready", 0)
        ] * workers
        assert ledger_of(host) == []
        starts(ui, tmp_path / "run")


@pytest.mark.parametrize("processes", [True, False])
def test_a_master_refuses_before_its_workers_hear_of_it(tmp_path, processes):
    more = ("--processes", "2", *ports()) if processes else ()
    dead = f"http://127.0.0.1:{free_port()}"
    with (
        simulator(*TIMEOUT) as host,
        web_ui(host, *TIMEOUT, "--chat-length", "30", *more, workers=2, own_workers=processes) as ui,
    ):
        refused(ui, "cannot be reached", host=dead, run_dir=tmp_path / "run")
        refused(ui, "--allow-late-refresh", host=host, refresh_interval="3.5", run_dir=tmp_path / "run")
        assert ledger_of(host) == [] and not (tmp_path / "run").exists()
        starts(ui, tmp_path / "run", host=host, refresh_interval="")
        summary = summary_of(tmp_path / "run")
        assert summary["generator"]["processes"] == 2 and summary["invalid_reasons"] == []


def test_a_master_without_workers_says_so(tmp_path):
    with simulator(*TIMEOUT) as host, web_ui(host, "--master", "--master-bind-port", free_port(), *TIMEOUT) as ui:
        refused(ui, "no worker", host=host, run_dir=tmp_path / "run")


def test_a_capacity_search_is_checked_too(tmp_path):
    with simulator(*TIMEOUT) as host, web_ui(host, *TIMEOUT, locustfile=ROOT / "locustfiles" / "capacity.py") as ui:
        refused(ui, "--start-sessions 20 is above", host=host, start_sessions="20", max_sessions="10")
        refused(ui, "cannot be reached", host=f"http://127.0.0.1:{free_port()}", start_sessions="2", max_sessions="10")
        ui.json("/swarm", user_count=1, spawn_rate=1, host=host, start_sessions="2", max_sessions="10",
                run_dir=tmp_path / "run")  # fmt: skip
        wait_for(lambda: ui.figures()["sessions"]["by_state"]["held"] == 2)
        ui.json("/stop", any="thing")
        assert summary_of(tmp_path / "run")["books"]["balanced"]


def test_arrivals_that_nobody_asked_for_are_refused(tmp_path):
    with simulator(*TIMEOUT) as host, web_ui(host, *TIMEOUT, locustfile=ROOT / "locustfiles" / "arrivals.py") as ui:
        refused(ui, "no arrivals are asked for", host=host)


REFUSING = """
import os
from pathlib import Path
from locust import events
from locust.runners import WorkerRunner
from chatload.swarm.user import ChatUser

@events.init.add_listener
def _a_locked_file_of_their_own(environment, **_):
    if isinstance(environment.runner, WorkerRunner):
        os.environ["CHATLOAD_CONFIG"] = str(Path(__file__).parent / "locked.toml")

class Customer(ChatUser):
    pass
"""


def test_what_workers_refuse_is_on_the_page(tmp_path):
    (tmp_path / "locked.toml").write_text("max_sessions = 2\nlocked = true\n")
    (tmp_path / "refusing.py").write_text(REFUSING)
    with (
        simulator(*TIMEOUT) as host,
        web_ui(host, *TIMEOUT, "--max-sessions", "4", workers=2, locustfile=tmp_path / "refusing.py") as ui,
    ):
        ui.start(4, run_dir=tmp_path / "run", host=host)
        why = "holds no chats: --max-sessions 4 is above the 2 that"
        # On a busy machine there may be a note that a worker fell silent, too.
        wait_for(lambda: sum(why in note for note in ui.figures()["notes"]) == 2)
        wait_for(lambda: sum("holds no chats" in note for note in ui.json("/chatload/state")["notes"]) == 2)


def test_users_above_the_ceiling_of_a_run_under_way_are_told_of(tmp_path):
    with simulator(*TIMEOUT) as host, web_ui(host, *TIMEOUT, "--chat-length", "30", "--max-sessions", "4") as ui:
        ui.start(2, run_dir=tmp_path / "run")
        wait_for(lambda: ui.figures()["sessions"]["open"] == 2)
        ui.start(9)
        wait_for(lambda: ui.figures()["notes"] == ["9 users requested; the ceiling on sessions is 4"])
        ui.json("/stop", any="thing")


def test_a_form_changes_the_users_of_a_run_under_way_and_nothing_else(tmp_path):
    script = tmp_path / "script.toml"
    script.write_text("chat_length = 30.0\n")
    with simulator(*TIMEOUT) as host, web_ui(host, *TIMEOUT) as ui:
        # A page that was opened anew shows the values of the command line again, and sends those.
        ui.start(2, run_dir=tmp_path / "run", script=script, allow_late_refresh="true")
        wait_for(lambda: ui.figures()["sessions"]["open"] == 2)
        ui.start(3, run_dir="", script="", allow_late_refresh="false", host="http://127.0.0.1:9")
        wait_for(lambda: ui.figures()["sessions"]["open"] == 3)
        said = "not changed, an active run keeps its settings: --allow-late-refresh, --host, --run-dir, --script"
        assert ui.figures()["notes"] == [said]
        assert (
            json.loads(ui.text("/?tab=stats").partition("window.templateArgs = ")[2].partition("\n")[0])["host"] == host
        )
        ui.json("/stop", any="thing")
