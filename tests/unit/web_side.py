"""chatload's page in the web UI: its start form, and its addresses. Run by test_locust_side.py.

The form has every setting once, in groups and in order of use, with the values of the last start.
"""

from argparse import Namespace
from types import SimpleNamespace

import pytest
from locust import User
from locust.argument_parser import get_parser
from locust.env import Environment

from chatload.hours import AllowedHours
from chatload.run.settings import OptionGroup, options_of
from chatload.swarm.options import add_group
from chatload.swarm.run import run_of
from chatload.swarm.start_form import FieldKind, rule_notices, start_form
from chatload.swarm.web import add_page
from chatload.target import TargetRules

OWN = [OptionGroup.RUN, OptionGroup.ARRIVALS, OptionGroup.CAPACITY, OptionGroup.SWEEP]


def environment(groups=(OptionGroup.RUN,), argv=(), picker=False, shape=None):
    parser = get_parser(default_config_files=[])
    for group in groups:
        add_group(parser, group)
    options = parser.parse_args(["--host", "http://127.0.0.1:1", *argv])
    made = Environment(user_classes=[User], parsed_options=options, host=options.host, shape_class=shape)
    made.web_ui = SimpleNamespace(userclass_picker_is_active=picker)
    return made


def fields(groups):
    return {field.name: field for group in groups for field in group.fields}


@pytest.mark.parametrize("groups", [OWN[:1], OWN[:2], OWN], ids=["chat", "arrivals", "all"])
def test_every_setting_is_in_the_form_once(groups):
    form = start_form(environment(groups))
    names = [field.name for group in form for field in group.fields]
    ours = {option.dest for group in groups for option in options_of(group) if option.web_ui}
    assert len(names) == len(set(names)) and set(names) == ours | {"host", "user_count", "spawn_rate", "run_time"}
    assert "prometheus_port" not in names
    assert [group.heading for group in form][:3] == ["Load", "Server", "Pass or fail"]
    assert names[:4] == ["host", "user_count", "spawn_rate", "run_time"]


def test_a_label_has_no_percent_sign_of_argparse():
    for field in fields(start_form(environment(OWN))).values():
        assert "%%" not in field.help and field.label[0].isupper()
    assert fields(start_form(environment()))["threshold"].help.startswith(
        "What must hold, such as 'dropped_late.rate < 0.1%'"
    )


def test_the_values_are_those_of_the_last_start():
    made = environment(argv=["-u", "5", "-r", "2.5", "-t", "90", "--insecure", "--refresh-interval", "2s"])
    first = fields(start_form(made))
    assert [first[name].value for name in ("user_count", "spawn_rate", "run_time")] == ["5", "2.5", "90s"]
    assert (first["insecure"].kind, first["insecure"].value) == (FieldKind.CHECKBOX, "true")
    made.parsed_options.refresh_interval, made.parsed_options.run_dir = "2500ms", "reports/mine"
    again = fields(start_form(made))
    assert (again["refresh_interval"].value, again["run_dir"].value) == ("2500ms", "reports/mine")
    # A folder takes one run.
    assert fields(start_form(made, "reports/mine"))["run_dir"].value == ""


def test_a_group_counts_what_was_changed_on_the_command_line():
    form = {group.heading: group for group in start_form(environment(argv=["--chat-length", "4", "--chat-seed", "7"]))}
    assert (form["Customers"].changed, form["Refresh"].changed) == (2, 0)


LOCKED = TargetRules(
    allowed_targets=("*.lab.example",), max_sessions=1200, max_requests_per_s=2.5,
    locks={"allowed_targets": "/etc/chatload.toml", "max_sessions": "/etc/chatload.toml"},
)  # fmt: skip


def test_what_chatload_toml_locks_is_said_at_the_setting():
    form = fields(start_form(environment(), rules=LOCKED))
    assert form["max_sessions"].rule == "Locked by /etc/chatload.toml: at most 1 200. A lower value may be given."
    assert form["max_requests_per_s"].rule == "2.5 by chatload.toml, if nothing is given here."
    assert form["host"].rule.endswith("this machine, private networks, and *.lab.example.")
    # The list decides alone: no agreement on the command line is heard.
    assert [field.name for field in form.values() if field.is_fixed] == ["target_owner_agrees"]
    assert not any(field.rule for field in fields(start_form(environment())).values())


def test_what_forbids_every_start_is_said_above_the_form():
    monday_evening = 1_767_643_200.0  # 2026-01-05 20:00 UTC
    hours = AllowedHours.parse(("Mon-Fri 08:00-18:00",), "UTC", "chatload.toml")
    rules = TargetRules(hours=(hours,), approval_required="/etc/chatload.toml")
    allowed, closed, approval = rule_notices(rules, monday_evening)
    assert allowed == "Load is allowed only in the hours of chatload.toml: Mon-Fri 08:00-18:00 UTC."
    assert closed.startswith("No run can start now: ") and "next from" in closed
    assert approval == "No run can start: /etc/chatload.toml demands an approval, and no approval_id is given."
    assert rule_notices(TargetRules(approval_id="CHG-17"), monday_evening) == ["Approval: CHG-17."]


def test_an_empty_field_shows_an_example_of_its_unit():
    form = fields(start_form(environment()))
    assert form["chat_length"].placeholder == "such as 300, 300s or 5m" and form["script"].placeholder == ""


def test_a_load_shape_decides_the_number_of_users():
    shape = SimpleNamespace(use_common_options=False)
    made = environment()
    made.shape_class = shape
    assert {"user_count", "spawn_rate", "run_time"}.isdisjoint(fields(start_form(made)))
    shape.use_common_options = True
    assert "user_count" in fields(start_form(made))


def test_options_that_the_locustfile_declares_itself(monkeypatch):
    given = {
        "token": {"default_value": "x", "is_secret": True, "is_required": True, "help_text": "100 %% secret",
                  "is_multiple": False, "choices": None},
        "colours": {"default_value": ["red"], "is_secret": False, "is_required": False, "help_text": None,
                    "is_multiple": True, "choices": ["red", "blue"]},
    }  # fmt: skip
    monkeypatch.setattr("chatload.swarm.start_form.ui_extra_args_dict", lambda: given)
    made = environment()
    made.parsed_options.token = "kept"
    last = start_form(made)[-1]
    token, colours = last.fields
    assert (last.heading, last.is_open) == ("Settings of this locustfile", True)
    assert (token.kind, token.value, token.required, token.help) == (FieldKind.PASSWORD, "kept", True, "100 % secret")
    assert (colours.kind, colours.value, colours.choices) == (FieldKind.MANY, "red", ["red", "blue"])


def test_the_class_picker_is_in_the_form():
    made = environment(picker=True)
    made.available_user_classes = {"Patient": User, "Hasty": User}
    made.available_shape_classes = {"Steps": Namespace()}
    found = fields(start_form(made))
    assert found["user_classes"].choices == ["Hasty", "Patient"]
    assert (found["shape_class"].choices, found["shape_class"].value) == (["Default", "Steps"], "Default")


def web_ui(login=False):
    made = environment()
    made.create_local_runner()
    made.web_ui = made.create_web_ui("127.0.0.1", 0, delayed_start=True, web_login=login)
    made.web_ui.app.secret_key = "of this test"
    if login:
        made.web_ui.login_manager.user_loader(lambda user: None)
    add_page(run_of(made))
    return made.web_ui.app


def test_every_address_needs_the_login_where_there_is_one():
    app = web_ui(login=True)
    rules = [rule.rule.replace("<name>", "page.js") for rule in app.url_map.iter_rules() if "chatload" in rule.endpoint]
    assert len(rules) >= 6
    for rule in rules:
        answer = app.test_client().get(rule)
        assert answer.status_code == 302 and "/login" in answer.headers["Location"], rule


def test_only_the_pages_own_files_are_given_out():
    client = web_ui().test_client()
    for name in ("page.js", "page.css", "uPlot.iife.min.js", "uPlot.min.css"):
        assert client.get(f"/chatload/assets/{name}").status_code == 200
    for name in ("page.html.j2", "..%2f..%2fweb.py", "run.css.j2"):
        assert client.get(f"/chatload/assets/{name}").status_code == 404


def test_there_is_no_report_before_a_run_has_ended():
    answer = web_ui().test_client().get("/chatload/report")
    assert (answer.status_code, answer.text) == (404, "the report can be opened when the run has ended\n")


def test_the_page_may_load_nothing_from_elsewhere():
    client = web_ui().test_client()
    page = client.get("/chatload/")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "http://" not in page.text.replace("http://127.0.0.1", "") and "https://" not in page.text
    assert client.get("/").headers["Location"] == "/chatload/"
    assert client.get("/?tab=stats").status_code == 200
