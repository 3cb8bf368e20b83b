"""`chatload campaign`, without load: its file, its rules, its time, what its steps are told, and how it goes on."""

import io
import itertools
import json
import math
import re

import pytest

from chatload import cli, exit_codes
from chatload.errors import ChatloadError, FileError, NothingTestedError, UsageError, UserInterruptError
from chatload.features.campaign.budget import (
    CampaignBudget,
    ChatShape,
    PeakLoad,
    ProofLoad,
    choose_sweep,
    proof_load,
    proof_s,
    search_ceiling,
)
from chatload.features.campaign.campaign_file import load_campaign
from chatload.features.campaign.findings import Findings
from chatload.features.campaign.results import (
    CapacityResult,
    DoctorResult,
    PlanResult,
    ProbeResult,
    ProofResult,
    TuneResult,
)
from chatload.features.campaign.rules import RULES, CampaignStep, Decision, goes_on, rule_of
from chatload.features.campaign.view import result_sentence
from chatload.features.plan.queueing import above
from chatload.hours import AllowedHours
from chatload.render.words import duration
from chatload.stats.rates import per_unit_upper
from chatload.target import TargetRules
from tests.schemas import read_schema
from tests.unit.campaign_steps import CAPACITY, DOCTOR, FILE, PLAN, PROBE, PROOF, TUNE, StagedCampaign, option

ALL = [step.value for step in CampaignStep]


@pytest.fixture
def staged(tmp_path):
    return StagedCampaign(tmp_path / "peak")


# -- the file --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("48s", "48 seconds"),
            "handling_time: expected a duration above 0, such as 300, 300s or 5m, not '48 seconds'",
        ),
        (("5%", "150%"), "target_drop_rate: expected a share below 1"),
        (('"4.5s"', "true"), "flex_disconnect_timeout: expected a duration"),
        (
            ('time_available = "30m"', 'time_available = "30m"\npersona = "browser"'),
            "persona: expected strict or widget",
        ),
        (
            ('time_available = "30m"', 'time_available = "30m"\npatience = "3m"'),
            "the demand is wrong: patience needs agents",
        ),
        (("chats_per_hour = 4000", 'arrival_profile = "gone.csv"'), "arrival_profile: there is no file gone.csv"),
        (("chats_per_hour", "chats_per_our"), "chats_per_our: unknown key; expected one of host,"),
        (
            ("chats_per_hour = 4000", "growth = 0.1"),
            "the demand is wrong: the number of chats is missing; give chats_per_hour,",
        ),
        (
            ('time_available = "30m"', 'time_available = "30m"\nscript = "gone.toml"'),
            "script: there is no file gone.toml",
        ),
        (('time_available = "30m"', 'time_available = "30m"\nsigners = ["a", "b", "c", "d", "e", "f"]'), "signers: "),
        (('time_available = "30m"', ""), "time_available: expected, but missing"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, change, says):
    path = tmp_path / "peak.toml"
    path.write_text(FILE.replace(*change))
    with pytest.raises(FileError) as wrong:
        load_campaign(path)
    assert str(wrong.value).startswith(f"{path}: {says}")


# -- the rules -------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", CampaignStep)
@pytest.mark.parametrize("exit_code", [0, 1, 2, 3, 4, 130, -9])
def test_every_exit_code_of_every_step_has_a_rule(step, exit_code):
    rule = rule_of(step, exit_code)
    if exit_code == 0:
        assert rule.decision is Decision.NEXT and rule.exit_code == 0 and not rule.why
    elif exit_code in (2, 3, 130, -9):
        assert rule.decision is Decision.STOP and rule.why
        assert rule.exit_code == (2 if exit_code == 2 else exit_codes.INVALID)
    if rule.decision is not Decision.NEXT:
        assert rule.exit_code and rule.why and goes_on(rule, True) is (rule.decision is Decision.REPLACE)


def test_a_missed_target_is_never_gone_past():
    assert not [key for key, rule in RULES.items() if key[1] == 1 and goes_on(rule, True)]


# -- its time --------------------------------------------------------------------------------------


def budget(**changes):
    values = {"chats": ChatShape(480.0, 0.01, 45.0), "time_s": 10_800.0, "timeout_s": 45.0, "interval_s": 3.0,
              "per_chat": (0.36, 0.05), "ceiling": 1000, "peak": PeakLoad(606, 0.001)}  # fmt: skip
    return CampaignBudget(**{**values, **changes})


def test_a_proof_shows_the_target_with_one_drop():
    # 8-minute chats: 1 % is 0.0754 drops per chat-hour. The number of open chats builds up in one chat length.
    chats = ChatShape(480.0, 0.01, 45.0)
    assert chats.drops_per_hour == pytest.approx(0.07538, rel=1e-3)
    time_s = proof_s(chats, ProofLoad(267.0, 1.0))
    hours = 267 * (time_s - 480 * -math.expm1(-time_s / 480)) / 3600
    assert per_unit_upper(1, hours) < chats.drops_per_hour < per_unit_upper(2, hours)
    # Many chats show the target at once; the proof still lasts until about as many are open as at the peak.
    assert proof_s(chats, ProofLoad(1e6, 1.0)) == 3 * 480


def test_a_proof_has_the_rate_at_which_the_plan_is_exceeded_as_rarely_as_it_allows():
    chats, peak = ChatShape(480.0, 0.01, 45.0), PeakLoad(606, 0.001)
    # 4 000 chats an hour of 8 minutes: 533.3 are open on average, and more than 606 for 0.1 % of the time.
    assert peak.mean == pytest.approx(4000 * 480 / 3600, rel=1e-3)
    assert above(606, peak.mean) == pytest.approx(0.001)
    both = proof_load(chats, peak, 2, 2, 1000)
    one = proof_load(chats, peak, 2, 1, 500)
    assert both.chats == peak.mean and one.chats == peak.mean / 2 and both.part == one.part == 1
    assert 3600 * one.rate_per_s(480.0) == pytest.approx(2000, rel=1e-3)


def test_random_arrivals_seldom_exceed_what_the_host_holds():
    """A host that holds just its part of the planned number gets a little less than its part of the rate."""
    chats, peak = ChatShape(480.0, 0.01, 45.0), PeakLoad(1000, 0.001)
    load = proof_load(chats, peak, 10, 1, 100)
    assert load.part == pytest.approx(load.chats / (peak.mean / 10)) and 0.7 < load.part < 1
    assert above(100, load.chats) == pytest.approx(chats.other_limit / 10)
    assert load.most_chats <= 102


def test_a_sweep_uses_the_time_that_there_is_and_no_more():
    chats = ChatShape(480.0, 0.01, 45.0)
    designs = [choose_sweep(chats, 300, minutes * 60) for minutes in range(10, 180)]
    assert designs[0] is None and designs[-1].fractions == (0.5, 0.6, 0.7, 0.8)
    # Three times 299 chats for each interval, as chatload tune.
    assert designs[-1].sessions == pytest.approx(3 * 299, rel=0.01)
    found = [(minutes, design) for minutes, design in zip(range(10, 180), designs, strict=True) if design]
    assert all(design.time_s <= 60 * minutes for minutes, design in found)
    chats_of = [len(design.fractions) * design.sessions for _, design in found]
    assert chats_of == sorted(chats_of)


@pytest.mark.parametrize(("hours", "ceiling"), list(itertools.product((1.0, 2.0, 3.0, 8.0), (40, 300, 1000))))
def test_the_steps_fit_into_the_time(hours, ceiling):
    made = budget(time_s=3600 * hours, ceiling=ceiling)
    if made.fits:
        assert sum(cost.least_s for cost in made.costs()) <= made.time_s
    assert all(cost.least_s <= cost.most_s for cost in made.costs())
    assert max(cost.chats for cost in made.costs()) <= max(ceiling, 96)


def test_the_search_goes_no_higher_than_is_useful_or_allowed():
    assert search_ceiling(606, 1) == 1212 and search_ceiling(606, 2) == 2424 and search_ceiling(3, 1) == 20
    assert search_ceiling(606, 1, 300, None) == 300 and search_ceiling(606, 1, 300, 50) == 50


# -- its course ------------------------------------------------------------------------------------


def test_each_step_is_told_what_the_steps_before_found(staged):
    result = staged.run()
    assert staged.begun == ALL and result.exit_code == 0
    # The measured timeout, not the 4.5 s of the file.
    assert option(staged.commands[CAPACITY], "--flex-disconnect-timeout") == "3.593"
    # A sweep at 80 % of the 40 chats that the host holds.
    assert option(staged.commands[TUNE], "--users") == "32"
    assert option(staged.commands[PLAN], "--poll-interval") == "2.8744"
    # 4 000 chats an hour on 2 servers; one server is behind the host.
    proof = staged.commands[PROOF]
    assert 3600 * float(option(proof, "--arrival-rate")) == pytest.approx(2000, rel=0.02)
    assert option(proof, "--users") == "1" and option(proof, "--refresh-fraction") == "0.8"
    assert "dropped.rate < 5%" in proof and "--max-sessions" not in proof and "--max-open" not in proof


DAY = """
host = "http://127.0.0.1:9"
arrival_profile = "day.csv"
handling_time = "48s"
agents = 60
patience = "30s"
persona = "widget"
script = "customers.toml"
flex_disconnect_timeout = "4.5s"
target_drop_rate = "5%"
time_available = "30m"
"""


@pytest.fixture
def day(tmp_path, monkeypatch):
    """The folder of a campaign for a day with few agents, and customers in the vendor's client."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "day.csv").write_text("time,chats_per_hour\n8:00,400\n9:00,4000\n10:00,4000\n11:00,400\n")
    (tmp_path / "customers.toml").write_text("typing = 1.0\n")
    (tmp_path / "day.toml").write_text(DAY)
    return tmp_path


def test_a_day_with_few_agents_and_customers_in_a_browser(day):
    staged = StagedCampaign(day / "day", DAY)
    assert staged.run().exit_code == 0 and staged.begun == [*ALL[:3], *ALL[4:]]
    assert "4/6 tune: left out: the client (widget) polls at its own interval" in staged.said
    plan = staged.commands[PLAN]
    told = [option(plan, flag) for flag in ("--arrival-profile", "--agents", "--patience", "--poll-interval")]
    assert told == ["day.csv", "60", "30", "3"] and "--chats-per-hour" not in plan
    # A chat is open for longer than it is with an agent: in all steps.
    open_s = staged.found.demand.open_s
    assert 48 < open_s < 60
    for step in (DOCTOR, CAPACITY, PROOF):
        assert float(option(staged.commands[step], "--chat-length")) == pytest.approx(open_s)
    for step in (CAPACITY, PROOF):
        command = staged.commands[step]
        assert option(command, "--persona") == "widget" and option(command, "--script") == "customers.toml"
        assert not [word for word in command if word.startswith("--refresh")]


def test_a_configured_timeout_that_the_measurement_allows_is_used(staged):
    staged.results[PROBE] = {"timeout_lower_s": 4.48, "timeout_upper_s": 4.501}
    staged.run()
    assert option(staged.commands[PROOF], "--flex-disconnect-timeout") == "4.5"


def test_the_ceilings_hold_for_every_step(tmp_path):
    rules = TargetRules(max_sessions=30, max_requests_per_s=20.0)
    staged = StagedCampaign(tmp_path / "peak", rules=rules)
    staged.results[CAPACITY] = {"kind": "generator", "held": 30, "why": "not allowed to open more", "capacity": None}
    staged.exits[CAPACITY] = 4
    staged.run()
    assert int(option(staged.commands[DOCTOR], "--users")) <= 30
    assert int(option(staged.commands[PROBE], "--sessions")) == 30
    for step in (CAPACITY, TUNE, PROOF):
        assert int(option(staged.commands[step], "--max-sessions")) <= 30
        assert option(staged.commands[step], "--max-requests-per-s") == "20"
    assert int(option(staged.commands[TUNE], "--users")) == 24
    # Random arrivals are cut off at the ceiling, which they seldom reach.
    assert option(staged.commands[PROOF], "--max-open") == "30"
    assert above(30, 48 * float(option(staged.commands[PROOF], "--arrival-rate"))) < 0.006
    # A plan refuses a search that certifies nothing.
    assert option(staged.commands[PLAN], "--sessions-per-server") == "30" and "--run" not in staged.commands[PLAN]


@pytest.mark.parametrize("processes", [1, 8])
@pytest.mark.parametrize(("sessions", "rate"), [(24, 100.0), (60, 1000.0), (1000, 50.0)])
def test_no_step_exceeds_a_ceiling_however_large_the_demand_is(tmp_path, sessions, rate, processes):
    text = FILE.replace("= 4000", "= 400_000").replace("30m", "500h") + f"processes = {processes}\n"
    staged = StagedCampaign(tmp_path / "peak", text, TargetRules(max_sessions=sessions, max_requests_per_s=rate))
    held = int(min(sessions, rate))
    staged.results[CAPACITY] = {"kind": "generator", "held": held, "why": "the ceiling", "capacity": None}
    staged.results[PLAN] = {
        "servers": {"needed": 5500 // held + 1, "spare": 1, "total": 5500 // held + 2},
        "peak": {"mean_chats": 5333.3, "chats": 5560},
    }
    staged.exits[CAPACITY] = 4
    assert staged.run().exit_code == 0
    assert int(option(staged.commands[PROBE], "--sessions")) <= sessions
    for step in (CAPACITY, TUNE, PROOF):
        command = staged.commands[step]
        assert int(option(command, "--max-sessions")) <= sessions
        assert float(option(command, "--max-requests-per-s")) <= rate
    most = int(option(staged.commands[PROOF], "--max-open")) * int(option(staged.commands[PROOF], "--users"))
    assert 1 <= most <= sessions and int(option(staged.commands[TUNE], "--users")) <= held
    # So few chats are open on average that those at the ceiling are a small share.
    assert above(held, 48 * float(option(staged.commands[PROOF], "--arrival-rate"))) < 0.006


@pytest.mark.parametrize(
    ("step", "exit_code", "result", "begun", "code"),
    [
        (PROBE, 4, {"timeout_s": None, "timeout_lower_s": None, "timeout_upper_s": None}, ALL, 0),
        (CAPACITY, 4, {"kind": "undecided", "held": 12, "why": "too few samples", "capacity": None}, ALL[:3], 4),
        (CAPACITY, 4, {"kind": "generator", "held": 20, "why": "the ceiling", "capacity": None}, ALL, 0),
        (TUNE, 1, {"result": "none", "recommended": None}, ALL[:4], 1),
        (TUNE, 4, {"result": "inconclusive", "recommended": None}, ALL, 0),
        (PLAN, 1, {}, ALL[:5], 1),
        (PLAN, 4, {}, ALL, 0),
        (PROOF, 1, {"result": "failed"}, ALL, 1),
        (PROOF, 4, {"result": "inconclusive"}, ALL, 4),
    ],
)
def test_the_exit_of_a_step_decides_the_next(staged, step, exit_code, result, begun, code):
    staged.exits[step], staged.results[step] = exit_code, result
    ended = staged.run()
    assert ended.exit_code == code and staged.begun == begun
    told = result_sentence(ended)
    assert told.startswith("the campaign ended with " if code else "the campaign is complete")
    assert ("may decide it" in told) is (code == 4)
    # The same command says the same again, and loads nothing.
    staged.commands.clear()
    assert staged.run().exit_code == code and staged.begun == []


@pytest.mark.parametrize(
    ("step", "exit_code", "code"), [(DOCTOR, 1, 2), (CAPACITY, 3, 3), (TUNE, 2, 2), (PROOF, -9, 3)]
)
def test_a_step_without_an_answer_is_done_again(staged, step, exit_code, code):
    staged.exits[step] = exit_code
    with pytest.raises(ChatloadError, match=f"^{step}: ") as stopped:
        staged.run()
    assert stopped.value.exit_code == code
    staged.commands.clear()
    staged.exits.clear()
    assert staged.run().exit_code == 0 and staged.begun == ALL[ALL.index(step) :]
    assert (staged.folder / f"{step.folder}.try-1").is_dir()


def test_an_interrupted_campaign_goes_on_where_it_was(staged):
    staged.interrupts = {TUNE}
    with pytest.raises(UserInterruptError, match="the same command resumes the campaign"):
        staged.run()
    assert staged.begun == ALL[:4] and not (staged.folder / TUNE.folder / "step.json").exists()
    staged.interrupts = set()
    staged.commands.clear()
    assert staged.run().exit_code == 0 and staged.begun == ALL[3:]


@pytest.mark.parametrize(("step", "exit_code"), [(PROBE, 4), (CAPACITY, 0), (TUNE, 1), (PROOF, 1)])
def test_a_host_that_goes_down_in_a_step_is_no_answer(staged, step, exit_code):
    staged.outages, staged.exits[step] = {step}, exit_code
    with pytest.raises(NothingTestedError) as stopped:
        staged.run()
    assert str(stopped.value) == (
        f"{step} has no result: the host went down; http://127.0.0.1:9 cannot be reached (connection refused); "
        "once it is up, the same command resumes the campaign"
    )
    assert stopped.value.exit_code == 4 and not (staged.folder / step.folder / "step.json").exists()
    # It is still down: nothing is begun.
    staged.commands.clear()
    with pytest.raises(NothingTestedError, match=f"^{step} was not begun; http://127.0.0.1:9 cannot be reached"):
        staged.run()
    assert staged.begun == []
    staged.outages, staged.host.down = set(), ""
    staged.exits.clear()
    assert staged.run().exit_code == 0 and staged.begun == ALL[ALL.index(step) :]


def test_the_plan_needs_no_host(staged):
    staged.outages, staged.exits[PLAN] = {PLAN}, 4
    with pytest.raises(NothingTestedError, match=r"^proof was not begun"):
        staged.run()
    assert staged.begun == ALL[:5] and (staged.folder / PLAN.folder / "step.json").exists()


def test_a_host_that_goes_down_after_a_step_that_passed_takes_nothing_from_it(staged):
    staged.outages = {PROOF}
    staged.host.is_up = lambda: True  # it had not been asked
    assert staged.run().exit_code == 0


def test_nothing_is_half_written(staged):
    staged.interrupts = {PLAN}
    with pytest.raises(UserInterruptError):
        staged.run()
    assert not (staged.folder / PLAN.folder / "plan.json").exists()


def test_a_sweep_that_does_not_fit_is_left_out_and_a_proof_is_not(staged):
    staged.took_s[CAPACITY] = 1380.0
    assert staged.run().exit_code == 0
    assert (
        staged.begun == [*ALL[:3], *ALL[4:]]
        and "4/6 tune: left out: the time available is too short" in staged.said[-5]
    )
    assert "--refresh-interval" in staged.commands[PROOF]


def test_a_proof_without_time_is_not_begun(staged):
    staged.took_s[CAPACITY] = 1780.0
    with pytest.raises(NothingTestedError, match="of time_available are left; raise time_available"):
        staged.run()
    text = (staged.folder / "campaign.toml").read_text()
    (staged.folder / "campaign.toml").write_text(text.replace("30m", "2h"))
    assert staged.run().exit_code == 0


def test_a_step_that_does_not_fit_into_the_allowed_hours_is_not_begun(tmp_path):
    hours = AllowedHours.parse(["Mon-Sun 00:00-14:00"], "UTC", "chatload.toml")
    staged = StagedCampaign(tmp_path / "peak", rules=TargetRules(hours=(hours,)))
    assert staged.now % 86400 == 13 * 3600 + 46 * 60 + 40
    with pytest.raises(UsageError, match=r"^tune takes up to 20 min .*, and the allowed hours end in 10 min 20 s"):
        staged.run()
    staged.now += 20 * 60
    with pytest.raises(UsageError, match="is outside the allowed hours of"):
        staged.run()
    staged.now += 10 * 3600
    assert staged.run().exit_code == 0


# -- the command -----------------------------------------------------------------------------------


def campaign(*arguments):
    with pytest.raises(SystemExit) as left:
        cli.run(["campaign", *map(str, arguments)])
    return left.value.code


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "peak.toml").write_text(FILE)
    return tmp_path / "peak.toml"


def test_it_says_its_duration_and_its_load_and_asks(written, capsys, tmp_path):
    assert campaign(written) == 2
    told = capsys.readouterr()
    answer = " ".join(told.out.split())
    assert (
        "campaign on http://127.0.0.1:9: about 20 min 55 s to 26 min 34 s, 30 min at most; up to 154 chats open"
        in answer
    )
    assert "What would shorten it" in told.out and "there is no terminal; add --yes" in told.err
    assert not (tmp_path / "peak").exists()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_no_is_taken_for_an_answer(written, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert campaign(written) == exit_codes.INTERRUPTED
    assert "Start? [y/N]: " in capsys.readouterr().out and not (tmp_path / "peak").exists()


def test_too_little_time_is_said_before_anything_begins(written, capsys, tmp_path):
    written.write_text(FILE.replace("30m", "5m"))
    assert campaign(written, "--yes") == 2
    out, err = capsys.readouterr()
    assert not (tmp_path / "peak").exists()
    # The same least time in the title, in the sum of the table, and in the refusal.
    (least,) = re.findall(r"peak\.toml: the campaign takes at least (.*), and time_available is 5 min; raise", err)
    assert f"about {least} to " in out and "but time_available is 5 min" in " ".join(out.split())
    findings = Findings(load_campaign(written), tmp_path / "peak", TargetRules())
    assert least == duration(sum(cost.least_s for cost in findings.budget.costs()))
    # Nothing shortens this campaign, so the refusal refers to no section.
    assert "What would shorten it" not in out and err.endswith("time_available is 5 min; raise time_available\n")
    written.write_text(re.sub("flex_disconnect_timeout.*", "", written.read_text()))
    assert campaign(written, "--yes") == 2
    out, err = capsys.readouterr()
    assert "What would shorten it\n- probe: flex_disconnect_timeout" in out and "see above what would shorten it" in err


def test_another_file_does_not_resume_a_campaign(written, capsys, tmp_path):
    StagedCampaign(tmp_path / "peak")
    written.write_text(FILE.replace("4000", "5000"))
    assert campaign(written, "--yes") == 2
    assert "peak.toml: chats_per_hour changed since the campaign in " in capsys.readouterr().err


def test_another_profile_or_script_does_not_resume_a_campaign(day, capsys):
    staged = StagedCampaign(day / "day", DAY)
    for copy, name in staged.found.file.inputs.items():
        (staged.folder / copy).write_text((day / name).read_text())
    staged.run()
    for name in ("day.csv", "customers.toml"):
        kept = (day / name).read_text()
        (day / name).write_text(kept + "\n")
        assert campaign("day.toml", "--yes") == 2
        assert f"day.toml: {name} changed since the campaign in day began" in capsys.readouterr().err
        (day / name).write_text(kept)
    # Each step has ended: the same answer, and nothing is loaded.
    assert campaign("day.toml", "--yes") == 0


def test_a_foreign_folder_and_a_refused_host_are_left_alone(written, capsys, tmp_path):
    (tmp_path / "peak").mkdir()
    (tmp_path / "peak" / "notes.txt").write_text("mine")
    assert campaign(written, "--yes") == 2 and "the folder is not empty" in capsys.readouterr().err
    written.write_text(FILE.replace("127.0.0.1:9", "203.0.113.7"))
    assert campaign(written, "--yes", "--dir", "other") == 2
    assert "is not loopback or private" in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_quantities_are_written_as_on_the_command_line(tmp_path):
    path = tmp_path / "peak.toml"
    path.write_text(FILE.replace("= 4000", '= "1/s"') + 'max_sessions = "4,000"\nmax_requests_per_s = "600/min"\n')
    file = load_campaign(path)
    assert (file.chats_per_hour, file.max_sessions, file.max_requests_per_s) == (3600, 4000, 10)


def test_a_file_in_the_place_of_the_folder_is_one_line(written, capsys, tmp_path):
    (tmp_path / "peak").write_text("a note")
    bare = tmp_path / "bare"  # FILE without an ending is its own default folder
    bare.write_text(written.read_text())
    for named in (written, bare):
        assert campaign(named, "--yes") == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and "not the folder of a campaign; name a folder with --dir" in told


def test_a_step_whose_folder_cannot_be_made_is_one_line(staged, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(staged.folder), "mkdir", full)
    with pytest.raises(UsageError, match=r"1-doctor: cannot be made .No space left"):
        staged.run()
    assert staged.begun == []


@pytest.mark.parametrize("damage", ["", "{", "[" * 100_000, "[]", '{"step": "doctor"}', "NaN"])
def test_a_damaged_record_is_named(staged, damage):
    staged.run()
    (staged.folder / DOCTOR.folder / "step.json").write_text(damage)
    with pytest.raises(FileError, match=r"1-doctor/step\.json: "):
        staged.run()


def test_a_record_with_an_instant_that_is_no_number_is_named(staged):
    staged.run()
    record = staged.folder / DOCTOR.folder / "step.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "began_at": float("nan")}))
    with pytest.raises(FileError, match=r"step\.json: began_at: "):
        staged.run()


def test_the_record_of_a_step_is_valid_json(staged):
    staged.run()
    record = json.loads((staged.folder / PROOF.folder / "step.json").read_text())
    assert record["schema_version"] == 1 and record["exit_code"] == 0 and record["file"] == "summary.json"


@pytest.mark.parametrize(
    ("model", "feature", "schema"),
    [
        (DoctorResult, "doctor", "doctor"), (ProbeResult, "probe", "probe"), (CapacityResult, "capacity", "capacity"),
        (TuneResult, "tune", "tune"), (PlanResult, "plan", "plan"), (ProofResult, "report", "summary"),
    ],
)  # fmt: skip
def test_what_a_campaign_reads_is_published(model, feature, schema):
    """The keys that it needs are required in the schema of the command that writes them."""
    needed = {field.alias or name for name, field in model.model_fields.items() if field.is_required()}
    assert needed <= set(read_schema(feature, schema)["required"])
