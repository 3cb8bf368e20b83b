"""`chatload signoff`: what its page and its JSON say of a campaign."""

import hashlib
import json

import jsonschema
import pytest

from chatload import cli
from chatload.features.signoff.compute import sign_off
from chatload.target import TargetRules
from tests.schemas import read_schema
from tests.unit.campaign_steps import CAPACITY, PROBE, PROOF, TUNE, StagedCampaign


@pytest.fixture
def staged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return StagedCampaign(tmp_path / "peak")


def signoff(*arguments):
    with pytest.raises(SystemExit) as left:
        cli.run(["signoff", *map(str, arguments)])
    return left.value.code


def facts_of(folder):
    facts = json.loads((folder / "signoff.json").read_text())
    jsonschema.validate(facts, read_schema("signoff", "signoff"))
    return facts


def test_the_page_of_a_proven_campaign(staged, capsys):
    staged.run()
    (staged.folder / PROOF.folder / "run.sqlite").write_bytes(b"facts")
    assert signoff(staged.folder) == 0
    facts = facts_of(staged.folder)
    assert facts["result"] == "proven" and facts["answer"].startswith("3 servers: 2 carry the peak, 1 to spare; ")
    assert facts["servers"] == {"needed": 2, "spare": 1, "total": 3} and facts["refresh_interval_s"] == 2.8744
    assert facts["timeout"] == {"configured_s": 4.5, "used_s": 3.593, "measured_s": 3.6, "lower_s": 3.5931,
                                "upper_s": 3.601}  # fmt: skip
    assert (facts["capacity"]["lower"], facts["capacity"]["upper"], round(facts["proof"]["mean_chats"])) == (40, 40, 26)
    # What the proof ran under, not what chatload.toml says today.
    assert facts["permission"]["approval_id"] == "CHG-1"
    proof = facts["steps"][-1]
    assert proof["file"] == "6-proof/run.sqlite" and proof["sha256"] == hashlib.sha256(b"facts").hexdigest()
    assert "the campaign file says a timeout of 4.5 s" in facts["assumptions"][0]
    told, page = capsys.readouterr().out, (staged.folder / "signoff.html").read_text()
    for text in ("PROVEN", "CHG-1", "Mon-Fri 08:00-18:00 UTC", "Test lead", proof["sha256"], "the host holds 40 chats"):
        assert text in told and text.replace("PROVEN", "proven") in page.replace("\u00a0", " ")
    assert "3 servers" in (staged.folder / "signoff.md").read_text()


@pytest.mark.parametrize(
    ("step", "exit_code", "result", "word", "code"),
    [
        (PROBE, 4, {"timeout_s": None, "timeout_lower_s": None, "timeout_upper_s": None}, "proven", 0),
        (CAPACITY, 4, {"kind": "undecided", "held": 1, "why": "too few samples", "capacity": None}, "inconclusive", 4),
        (CAPACITY, 4, {"kind": "generator", "held": 45, "why": "the ceiling", "capacity": None}, "proven", 0),
        (TUNE, 1, {"result": "none", "recommended": None}, "target missed", 1),
        (TUNE, 4, {"result": "inconclusive", "recommended": None}, "proven", 0),
        (PROOF, 1, {"result": "failed"}, "target missed", 1),
        (PROOF, 4, {"result": "inconclusive"}, "inconclusive", 4),
    ],
)
def test_a_figure_that_is_missing_is_an_open_assumption_or_the_end(staged, step, exit_code, result, word, code):
    staged.exits[step], staged.results[step] = exit_code, result
    staged.run()
    assert signoff(staged.folder) == code
    facts = facts_of(staged.folder)
    assert facts["result"] == word and bool(facts["stopped"]) is (word != "proven")
    said = {
        PROBE: "the timeout of the server is the one of the campaign file",
        CAPACITY: "the limit of the host is not known; it held",
        TUNE: "was not compared with others",
    }.get(step, "1 was tested")
    if word == "proven":
        assert any(said in assumption for assumption in facts["assumptions"])


def test_a_campaign_that_is_not_over(staged, capsys):
    assert signoff(staged.folder) == 4 and facts_of(staged.folder)["answer"] == "no answer yet: no step has ended"
    staged.interrupts = {TUNE}
    for _ in range(2):
        with pytest.raises(Exception, match="interrupted"):
            staged.run()
    assert signoff(staged.folder) == 4
    assert facts_of(staged.folder)["answer"] == "no answer yet: capacity was the last step that ended"
    staged.interrupts = set()
    staged.run()
    assert signoff(staged.folder) == 0
    assert {step["step"]: step["attempts"] for step in facts_of(staged.folder)["steps"]}["tune"] == 2


def test_the_rules_are_those_of_the_campaign_wherever_the_page_is_made(tmp_path, monkeypatch, capsys):
    rules = TargetRules(max_sessions=30, max_requests_per_s=20.0, approval_id="CHG-7")
    staged = StagedCampaign(tmp_path / "peak", rules=rules)
    # It ends without a proof, which would have rules of its own.
    staged.exits[CAPACITY] = 4
    staged.results[CAPACITY] = {"kind": "undecided", "held": 1, "why": "too few samples", "capacity": None}
    staged.run()
    monkeypatch.chdir(tmp_path)
    assert signoff(staged.folder) == 4
    made_at = {"made_at": 0}
    before = facts_of(staged.folder) | made_at
    assert before["permission"] == {"approval_id": "CHG-7", "allowed_hours": [], "max_sessions": 30,
                                    "max_requests_per_s": 20.0}  # fmt: skip
    (tmp_path / "chatload.toml").write_text('approval_id = "CHG-9"\nmax_sessions = 5\n')
    assert signoff(staged.folder) == 4 and facts_of(staged.folder) | made_at == before


def test_wrong_folders(tmp_path, capsys):
    assert signoff(tmp_path) == 2
    assert "not the folder of a campaign; make one with chatload campaign FILE.toml" in capsys.readouterr().err


def test_a_result_of_another_shape_is_named(staged, capsys):
    staged.run()
    (staged.folder / PROBE.folder / "probe.json").write_text('{"timeout_s": "soon"}')
    assert signoff(staged.folder) == 2
    assert "probe.json: timeout_s: " in capsys.readouterr().err


def test_texts_of_the_file_are_only_texts(staged):
    path = staged.folder / "campaign.toml"
    path.write_text('title = "<script>alert(1)</script>"\nsigners = ["<b>me</b>"]\n' + path.read_text())
    staged.run()
    assert signoff(staged.folder) == 0
    page = (staged.folder / "signoff.html").read_text()
    assert "<script>alert" not in page and "<b>me" not in page and "&lt;b&gt;me" in page


def test_it_is_made_at_an_instant(staged):
    staged.run()
    assert sign_off(staged.folder, clock=lambda: 1.5).made_at == 1.5


def test_missing_evidence_is_one_line(staged, capsys):
    staged.run()
    (staged.folder / PROBE.folder / "probe.json").unlink()
    assert signoff(staged.folder) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "2-probe/probe.json: cannot be read (No such file" in told


def test_the_timeout_is_the_same_figure_in_the_tile_and_in_the_answer(staged):
    """Its bounds are rounded outward: a timeout of at least 3.587 s is not shown as at least 3.59 s."""
    staged.results[PROBE] = {"timeout_s": 3.6, "timeout_lower_s": 3.587, "timeout_upper_s": 3.601}
    staged.run()
    signoff(staged.folder)
    page = " ".join((staged.folder / "signoff.md").read_text().split())
    assert "3.6 s (3.58 s to 3.61 s, by the probe)" in page
    assert "the timeout of the server is 3.6 s (3.58 s to 3.61 s)" in page
