"""User classes as locustfiles define them. Run by test_locust_side.py in a process that imported Locust first."""

from __future__ import annotations

from locust import HttpUser, SequentialTaskSet, User, between, constant, events, tag, task  # isort: skip
import argparse
from contextlib import suppress
from types import SimpleNamespace

import pytest
from locust.env import Environment
from locust.exception import RescheduleTask, StopUser
from locust.user.task import filter_tasks_by_tags

from chatload import ArrivalUser, ChatUser, CustomerScript, Distribution, Feeder, SweepUser
from chatload.errors import UsageError
from chatload.features.report.summary import invalid_reasons
from chatload.run.settings import OptionGroup, RunSettings, options_of
from chatload.swarm.classes import read_class, read_classes
from chatload.swarm.plan import make_plan, shares_of
from chatload.swarm.run import run_of

HOST = "http://127.0.0.1:1"


def user(base=ChatUser, **attributes):
    return type("Customer", (base,), attributes)


def plan_of(*classes, given=(), host=HOST, groups=(OptionGroup.RUN,)):
    parser = argparse.ArgumentParser()
    for group in groups:
        for option in options_of(group):
            option.add_to(parser)
    return make_plan(parser.parse_args(given), host, classes=read_classes(classes))


# -- what a class may say ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"refresh_intervall": 3}, "refresh_intervall has no effect; did you mean refresh_interval?"),
        ({"befor_chat": lambda self, customer: None}, "befor_chat has no effect; did you mean before_chat?"),
        ({"colour": "red"}, "colour has no effect; names of your own begin with an underscore"),
        ({"tags": ("vip",)}, 'write @tag("NAME") of Locust above the class'),
        ({"flex_disconnect_timeout": 45}, "a setting of the whole run, not of a class; give it as --flex-disconnect-"),
        ({"transport": "requests"}, "a setting of the whole run, not of a class; give it as --transport"),
        ({"leave": 1}, "leave is a name of chatload's own"),
        ({"chat": lambda self: None}, "chat is a name of chatload's own"),
        ({"persona": "wigdet"}, "persona = 'wigdet': expected one of strict, widget"),
        ({"persona": 3}, "persona = 3: expected one of strict, widget"),
        ({"refresh_interval": "soon"}, "refresh_interval = 'soon': expected a duration above 0"),
        ({"refresh_interval": -2}, "refresh_interval = -2: expected a duration above 0"),
        ({"refresh_interval": True}, "refresh_interval = True: expected a duration above 0"),
        ({"refresh_fraction": [0.5]}, "refresh_fraction = [0.5]: expected a share above 0"),
        ({"allow_late_refresh": "yes"}, "allow_late_refresh = 'yes': expected True or False"),
        ({"weight": "3"}, "weight = '3': expected a number of 0 or more"),
        ({"weight": float("inf")}, "weight = inf: expected a number of 0 or more"),
        ({"fixed_count": 1.5}, "fixed_count = 1.5: expected a whole number of 0 or more"),
        ({"host": 8080}, "host = 8080: expected the URL of a host"),
        ({"script": 3}, "script = 3: expected text"),
        ({"script": CustomerScript(messages="many")}, "script: messages: expected a number or a table with shape"),
        ({"script": CustomerScript(nickname=7)}, "script: nickname: expected text"),
        ({"script": CustomerScript(user_data={"a": [1]})}, "script: user_data: expected a table of texts"),
        ({"script": CustomerScript(feeder=Feeder("a.csv", "backwards"))}, "script: feeder.order: expected one of"),
        ({"script": CustomerScript(extras=("PushUrl",))}, "script: extras: expected [[extras]] tables"),
        ({"read": task(lambda self: None)}, "has no effect"),
        ({"_read": task(lambda self: None)}, "the one task of a customer is its chat"),
    ],
    ids=str,
)  # fmt: skip
def test_what_has_no_effect_or_cannot_be_used_is_refused(attributes, says):
    with pytest.raises(UsageError) as refusal:
        read_class(user(**attributes))
    assert str(refusal.value).startswith("user class Customer: ") and says in str(refusal.value)


def test_what_has_an_effect_is_not_refused():
    class Mixin:
        colour = "red"

        def before_chat(self, customer):
            """Inherited by the customer."""

    class Customer(Mixin, ChatUser):
        """All of Locust's attributes, and names of its own with an underscore."""

        weight = 3
        wait_time = between(1, 2)
        _own = 1

        def on_start(self):
            """Locust's own hook."""

    said = read_class(Customer)
    assert (said.name, said.weight, said.hooks, said.own) == ("Customer", 3.0, ("before_chat",), {})


def test_numbers_in_a_script_in_python_are_as_in_a_file():
    script = CustomerScript(messages=3, chat_length=Distribution("fixed", 5.0), nickname="", user_data={"Level": 2})
    said = read_class(user(script=script)).script
    assert (said.messages, said.user_data, said.nickname) == (Distribution("fixed", 3.0), {"Level": "2"}, "")


def test_a_misspelt_hook_of_a_mixin_is_refused():
    mixin = type("Mixin", (), {"next_mesage": lambda self, customer: None})
    with pytest.raises(UsageError, match="user class Mixin: next_mesage has no effect; did you mean next_message"):
        read_class(type("Customer", (mixin, ChatUser), {}))


def test_a_pause_between_chats_has_no_effect_on_arrivals():
    with pytest.raises(UsageError, match="chats of an ArrivalUser arrive at --arrival-rate"):
        read_class(user(ArrivalUser, wait_time=between(1, 2)))


def test_classes_inherit_settings_and_hooks():
    base = user(abstract=True, persona="widget", refresh_interval="2s", headers=lambda self, customer: {})
    said = read_class(type("Vip", (base,), {"refresh_interval": 1, "service": "vip"}))
    assert said.own == {"persona": "widget", "refresh_interval": 1.0, "service": "vip"}
    assert said.hooks == ("headers",)


# -- tags --------------------------------------------------------------------------------------------


def test_a_tag_of_one_class_is_not_a_tag_of_another():
    @tag("vip")
    class Vip(ChatUser):
        """Tagged."""

    class Gold(Vip):
        """Inherits the tag."""

    class Other(ChatUser):
        """Not tagged."""

    class Reader(HttpUser):
        """No customer."""

        @tag("web")
        @task
        def read(self):
            """Nothing."""

    assert [read_class(one).tags for one in (Vip, Gold, Other)] == [("vip",), ("vip",), ()]
    for tags, left in (({"vip"}, [Vip, Gold]), ({"chat"}, [Vip, Gold, Other]), ({"web"}, [Reader])):
        classes = [Vip, Gold, Other, Reader]
        tasks = [one.tasks for one in classes]
        for one in classes:
            filter_tasks_by_tags(one, tags)
        assert [one for one in classes if one.tasks] == left
        for one, all_of_it in zip(classes, tasks, strict=True):
            one.tasks = all_of_it


# -- plans -------------------------------------------------------------------------------------------

SHORT = CustomerScript(chat_length=Distribution("uniform", 1.0, 3.0), messages=Distribution("fixed", 2.0))


def named(name, base=ChatUser, **attributes):
    return type(name, (base,), attributes)


def test_each_class_has_a_plan_of_its_own():
    vip = named("Vip", service="vip", refresh_policy="fraction", refresh_fraction="40%", script=SHORT, weight=1)
    web = named("Web", persona="widget", chat_length="2m", weight=3)
    plan = plan_of(vip, web, given=["--flex-disconnect-timeout", "45", "--refresh-interval", "5"])
    one, other = plan.of("Vip"), plan.of("Web")
    assert (one.settings.policy.kind, one.settings.policy.interval_s) == ("fraction", 18.0)
    assert one.settings.script == SHORT and one.settings.user_class == "Vip" and one.share == 0.25
    assert (other.settings.persona, other.settings.policy.interval_s, other.settings.request_timeout_s) == (
        "widget", 5.0, 3.0,
    )  # fmt: skip
    assert other.settings.script.chat_length == Distribution("exponential", 120.0)
    paths = [each.encoder.encode("RequestChat", {"nickname": "x"}).path for each in (one, other)]
    assert paths == ["/genesys/2/chat/vip", "/genesys/2/chat/default/"]
    vip_said, web_said = plan.run.classes
    assert (vip_said.name, vip_said.refresh_policy, vip_said.script) == ("Vip", "fraction", "in Python")
    assert (web_said.persona, web_said.request_timeout, web_said.weight) == ("widget", 3.0, 3.0)
    # What the options left open differs between the classes, so the run itself does not say it.
    assert (plan.run.request_timeout, plan.run.refresh_interval, plan.run.persona) == (None, 5.0, "strict")
    assert RunSettings.from_dict(plan.run.to_dict(), plan.run.files()) == plan.run


def test_a_run_with_one_class_is_as_if_its_settings_were_options():
    plan = plan_of(user(persona="widget", refresh_interval=2, script=SHORT))
    assert plan.run.classes == () and list(plan.classes) == [""]
    assert (plan.run.persona, plan.run.refresh_interval, plan.run.request_timeout) == ("widget", 2.0, 3.0)
    assert plan.run.script == "" and "uniform" in plan.run.script_text
    assert plan.settings is plan.of("Customer").settings and plan.settings.user_class == ""


def test_classes_without_settings_leave_those_of_the_run_as_they_are():
    plan = plan_of(named("A"), named("B"))
    assert [one.name for one in plan.run.classes] == ["A", "B"] and plan.run.request_timeout == 10.0


def test_classes_on_the_same_host_share_its_connections():
    there = "http://127.0.0.2:1"
    plan = plan_of(named("A", host=HOST), named("B", host=there), named("C", host=there), host=None)
    a, b, c = (plan.of(name) for name in "ABC")
    assert (a.run.host, b.run.host, plan.run.host) == (HOST, "http://127.0.0.2:1", "")
    assert b.open_transport is c.open_transport is not a.open_transport


@pytest.mark.parametrize(
    ("classes", "given", "host", "says"),
    [
        ([named("A", refresh_interval=50)], [], HOST, "user class A: --refresh-interval 50 refreshes every 50 s, not"),
        ([named("A", refresh_fraction=0.5)], [], HOST, "add --refresh-policy fraction"),
        ([named("A", persona="widget", refresh_policy="deadline")], [], HOST, "--persona widget polls on a fixed"),
        ([named("A", script="/nowhere.toml")], [], HOST, "user class A: /nowhere.toml: cannot be read"),
        ([named("A", dialect="klingon")], [], HOST, "user class A: no dialect named 'klingon'"),
        ([named("A", host="http://198.51.100.7")], [], None, "user class A: 198.51.100.7 is not loopback or private"),
        (
            [named("A"), named("B")], ["--threshold", "C: failed.count == 0"], HOST,
            "threshold 'C: failed.count == 0': no such user class; expected one of A, B",
        ),
        (
            [named("A")], ["--abort-on", "A: failed.count < 9"], HOST,
            "the run has only one user class; leave `A:` out",
        ),
        ([named("A")], [], None, "no host to test; give it with --host"),
        ([named("A", persona="widget")], ["--service", "x", "--refresh-policy", "deadline"], HOST, "fixed clock"),
        (
            [named("A", service="a"), named("B", service="b")], ["--service", "c"], HOST,
            "--service c has no effect: every user class has its own; leave it out",
        ),
        (
            [named("A", script=SHORT)], ["--script", "examples/scripted.toml"], HOST,
            "--script examples/scripted.toml has no effect: user class A has its own",
        ),
        (
            [named("A", host="http://127.0.0.2"), named("B", host="http://127.0.0.3")], [], HOST,
            "--host takes the place of the hosts of the user classes A and B",
        ),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_made_says_of_which_class(classes, given, host, says):
    with pytest.raises(UsageError) as refusal:
        plan_of(*classes, given=given, host=host)
    assert says in str(refusal.value)


def test_a_sweep_sets_the_intervals():
    groups, given = (OptionGroup.RUN, OptionGroup.SWEEP), ["--refresh-policy", "fraction"]
    plan = plan_of(user(SweepUser, chat_length=9), named("B", SweepUser), groups=groups, given=given)
    assert {arm.user_class for arm in plan.of("B").settings.arms} == {"B"}
    with pytest.raises(UsageError, match="user class Customer: refresh_interval has no effect: --sweep sets the"):
        plan_of(user(SweepUser, refresh_interval=3), groups=groups)


def test_an_option_with_the_value_of_the_class_is_not_refused():
    # The command that a report prints has the values that the run had.
    assert plan_of(user(persona="widget"), given=["--persona", "widget"]).run.persona == "widget"


def fails(*_):
    raise ValueError("a mistake of the locustfile")


def leaves(*_):
    raise StopUser


def errors_of(*classes):
    """What is counted if a user of each class runs until it ends by itself."""
    environment = Environment(events=events, catch_exceptions=True)
    run = run_of(environment)
    for each in classes:
        one = each(environment)
        if each is classes[0]:
            one.leave.set()
        with suppress(ValueError):
            one.run()
    return run.facts.books


@pytest.mark.parametrize(
    ("attributes", "count"),
    [
        ({"on_start": fails}, 1),
        ({"on_start": leaves, "on_stop": fails}, 1),
        ({"wait_time": fails}, 1),
        ({"on_start": leaves}, 0),
    ],
    ids=["on_start", "on_stop", "wait_time", "StopUser"],
)
def test_a_customer_whose_code_fails_makes_the_run_invalid(attributes, count):
    books = errors_of(user(**attributes))
    assert sum(books.code_errors.values()) == count
    reason = "code of the user classes failed 1 time (Customer.fails: ValueError): not the load asked for"
    assert invalid_reasons(books) == [reason] * count


def test_an_exception_of_any_user_makes_the_run_invalid():
    class Inner(SequentialTaskSet):
        @task
        def deep(self):
            raise KeyError("deep")

        @task
        def out(self):
            self.interrupt()

    class Steps(SequentialTaskSet):
        inner = task(Inner)

        @task
        def read(self):
            raise OSError("refused")

        @task
        def later(self):
            raise RescheduleTask

        @task
        def end(self):
            raise StopUser

    class Visitor(User):
        steps = task(Steps)
        wait_time = constant(0)

    books = errors_of(user(on_start=leaves), Visitor, Visitor)
    assert books.code_errors == {"Visitor.deep: KeyError": 2, "Visitor.read: OSError": 2}
    assert len(invalid_reasons(books)) == 2


def test_a_class_without_tasks_is_no_mistake():
    class Visitor(User):
        """--tags leaves it none: Locust raises again and again."""

        wait_time = leaves

    assert errors_of(user(on_start=leaves), Visitor).code_errors == {}


def test_a_chat_of_an_arrival_that_cannot_begin_makes_the_run_invalid(monkeypatch):
    environment = Environment(events=events)
    run = run_of(environment)
    monkeypatch.setattr(run, "wants_more", lambda: True)
    monkeypatch.setattr(run, "new_session", fails)
    plan = SimpleNamespace(workload=None, of=lambda name: SimpleNamespace(name=""))
    user(ArrivalUser)(environment)._arrive(plan, 0.0)
    assert sum(run.facts.books.code_errors.values()) == 1


def test_users_are_shared_out_as_locust_does():
    classes = read_classes([named("A", fixed_count=2), named("B", weight=1), named("C", weight=3)])
    assert shares_of(classes, 10) == [0.2, 0.2, 0.6]
    assert shares_of(classes, 1) == [1.0, 0.0, 0.0]
    assert shares_of([], 5) == []


def test_a_login_in_the_host_of_a_class_is_not_shown():
    customer = user(host="http://me:word@127.0.0.1:1")
    assert customer.host == HOST and "word" not in repr(read_class(customer))
    plan = plan_of(customer, host=None)
    assert plan.run.host == HOST and "word" not in repr(plan.run)


def test_users_of_locust_have_no_plan():
    other = type("Other", (User,), {"_read": task(lambda self: None)})
    assert list(plan_of(other, user()).classes) == [""]


# -- feeders -----------------------------------------------------------------------------------------


def test_a_feeder_is_checked_with_the_plan(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("id,name\n1,Ann\n")
    script = CustomerScript(nickname="{name}", feeder=Feeder(str(file), at_end="repeat"))
    plan = plan_of(user(script=script))
    assert plan.of("Customer").rows.rows == ({"id": "1", "name": "Ann"},)
    assert plan.run.feeder == f"{file} (in_order, repeat)" and len(plan.run.feeder_sha256) == 64
    assert "Ann" not in plan.run.script_text and "rows.csv" not in plan.run.script_text
    with pytest.raises(UsageError, match=r"subject: \{order\} is no column of .*rows.csv, which has id, name"):
        plan_of(user(script=CustomerScript(subject="{order}", feeder=script.feeder)))
    with pytest.raises(UsageError, match=r"subject: \{order\} needs a \[feeder\]; write \{\{"):
        plan_of(user(script=CustomerScript(subject="{order}")))
    with pytest.raises(UsageError, match="at_end: is missing: say what happens after the last row"):
        plan_of(user(script=CustomerScript(feeder=Feeder(str(file)))))
    with pytest.raises(UsageError, match="the order random has no end"):
        plan_of(user(script=CustomerScript(feeder=Feeder(str(file), "random", "stop"))))
