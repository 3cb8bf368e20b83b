"""The hours in which load is allowed, and the approval: when load may start, and when a run that is going on ends."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from chatload.errors import FileError, UsageError
from chatload.hours import AllowedHours
from chatload.run.books import Books, RunBooks
from chatload.swarm.load import LoadController
from chatload.target import TargetRules, read_rules, require_agreed
from chatload.thresholds.gate import Gate
from chatload.vocabulary import ENDING_INCIDENTS, IncidentKind


def at(day, hour, minute=0):
    """An instant of the week that begins on Monday, 30 November 2026."""
    return datetime(2026, 11, 30, hour, minute, tzinfo=UTC).timestamp() + 86400 * day


def hours(*texts, zone="UTC"):
    return AllowedHours.parse(texts, zone, "chatload.toml")


@pytest.mark.parametrize(
    ("texts", "opened", "closed"),
    [
        (["Mon-Fri 08:00-18:00"], [(0, 8), (4, 17, 59)], [(0, 7, 59), (0, 18), (5, 12)]),
        (["Sat,Sun 00:00-24:00"], [(5, 0), (6, 23, 59)], [(4, 23, 59), (7, 0)]),
        (["Fri-Mon 22:00-06:00"], [(4, 22), (5, 5, 59), (0, 22), (1, 5, 59), (0, 3)], [(1, 6), (1, 22), (4, 21, 59)]),
        (["Mon 08:00-09:00", "Mon 20:00-21:00"], [(0, 8, 30), (0, 20)], [(0, 12), (0, 21)]),
    ],
)
def test_which_instants_are_within_the_hours(texts, opened, closed):
    assert all(hours(*texts).are_open(at(*when)) for when in opened)
    assert not any(hours(*texts).are_open(at(*when)) for when in closed)


def test_the_hours_are_those_of_the_zone_also_after_the_clocks_change():
    berlin = hours("Mon-Sun 08:00-18:00", zone="Europe/Berlin")
    winter, summer = (datetime(2026, month, 1, 6, 30, tzinfo=UTC).timestamp() for month in (1, 7))
    assert not berlin.are_open(winter) and berlin.are_open(summer)
    # On the night of 25 October 2026 the clocks go back: 08:00 is an hour later by UTC than the day before.
    evening = datetime(2026, 10, 24, 20, tzinfo=UTC).timestamp()
    assert berlin.changes_at(evening) == datetime(2026, 10, 25, 7, tzinfo=UTC).timestamp()


def test_when_they_close_and_open():
    working = hours("Mon-Fri 08:00-18:00")
    assert working.changes_at(at(0, 9)) == at(0, 18) and working.changes_at(at(4, 18)) == at(7, 8)
    assert hours("Mon-Sun 00:00-24:00").changes_at(at(0, 9)) is None
    # Windows that follow each other are one.
    assert hours("Mon 08:00-12:00", "Mon 12:00-13:00").changes_at(at(0, 9)) == at(0, 13)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(site="", project=""):
        (tmp_path / "site.toml").write_text(site)
        (tmp_path / "chatload.toml").write_text(project)
        return read_rules({}, tmp_path / "site.toml")

    return write


WORK = 'allowed_hours = ["Mon-Fri 08:00-18:00"]\n'


def test_outside_the_hours_no_load_starts_at_any_host(files):
    rules = files(project=WORK)
    require_agreed("127.0.0.1", rules=rules, clock=lambda: at(0, 8))
    with pytest.raises(UsageError) as refused:
        require_agreed("127.0.0.1", rules=rules, clock=lambda: at(4, 18))
    assert str(refused.value) == (
        "Fri 18:00 UTC is outside the allowed hours of chatload.toml: Mon-Fri 08:00-18:00 UTC, next from "
        "Mon 08:00 UTC; start it then, or ask the owner of that file"
    )


def test_locked_hours_hold_beside_those_of_the_project(files):
    every = 'allowed_hours = ["Mon-Sun 00:00-24:00"]\n'
    assert files(WORK, every).closed(at(5, 12)) == ""
    both = files(WORK + "locked = true\n", 'allowed_hours = ["Mon-Sun 12:00-24:00"]\n')
    assert [bool(both.closed(at(0, hour))) for hour in (9, 13, 19)] == [True, False, True]
    assert both.closes_at(at(0, 13)) == at(0, 18)
    assert TargetRules().closes_at(at(0, 13)) is None


def test_an_approval_that_is_demanded(files):
    with pytest.raises(UsageError, match=r"site.toml demands an approval, and none is given"):
        files("locked = true\napproval_required = true", "approval_required = false").require_now(0.0)
    approved = files("locked = true\napproval_required = true", 'approval_id = "CHG-1"')
    approved.require_now(0.0)
    assert approved.approval_id == "CHG-1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('allowed_hours = ["Mon-Fri 8-18"]', 'expected days and hours, such as "Mon-Fri 08:00-18:00"'),
        ('allowed_hours = ["Mo 08:00-18:00"]', "expected days and hours"),
        ('allowed_hours = ["Mon 08:00-25:00"]', "expected days and hours"),
        ('allowed_hours = ["Mon 08:60-18:00"]', "expected days and hours"),
        ("allowed_hours = []", "expected days and hours"),
        ('allowed_hours = "Mon 08:00-18:00"', "expected days and hours"),
        ('time_zone = "Berlin"', 'expected a time zone such as "Europe/Berlin"'),
        ('time_zone = "../x"', "expected a time zone"),
        ("time_zone = [1]", "expected a time zone"),
        (f"time_zone = '{'a/' * 400}a'", "expected a time zone"),
        ("approval_id = 7", "expected text"),
    ],
)
def test_mistakes_are_named(files, text, says):
    with pytest.raises(FileError, match=r"chatload\.toml") as wrong:
        files(project=text)
    assert says in str(wrong.value)


def test_a_run_ends_when_the_hours_end():
    now = at(0, 17, 59)
    load = LoadController(clock=lambda: now)
    rules = TargetRules(hours=(hours("Mon-Fri 08:00-18:00"),))
    run = SimpleNamespace(chats=0)
    load.begin(SimpleNamespace(rules=rules, gate=Gate(), workload=None, run=run))
    assert load.stop_reason(lambda: RunBooks(Books()), 0.0) is None
    now = at(0, 18)
    kind, why = load.stop_reason(lambda: RunBooks(Books()), 1.0)
    assert kind is IncidentKind.HOURS and kind in ENDING_INCIDENTS
    assert why.startswith("Mon 18:00 UTC is outside the allowed hours of chatload.toml")
