"""summary.md: what it says, and that no text from outside can say anything else with it."""

import copy
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chatload.features.report.sentences import answer
from chatload.features.report.tiles import tiles
from chatload.features.report.view import summary_document
from chatload.render import markdown as writer
from chatload.render.document import Tone
from tests.unit.test_junit import GOLDEN, threshold

#: Words that mean something to Markdown, HTML, GitHub or GitLab.
HOSTILE = "a | b `c` ``d`` <img src=x onerror=y> &amp; @all @team/x #12 !34 ~bug %5 $x$ **y** _z_ [l](http://e) \\|"
EXPRESSION = "dropped_late.rate < 0.1%"


def summary(**changes):
    return {**copy.deepcopy(json.loads((GOLDEN / "summary.json").read_text())), **changes}


def markdown(summary):
    return writer.markdown(summary_document(summary))


def render(text):
    return MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough").parse(text)


def tables(text):
    """Every table of a rendered document, as rows of cells' shown text."""
    found, cell = [], None
    for token in render(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("td_open", "th_open"):
            cell = []
        elif token.type == "inline" and cell is not None:
            cell = shown(token)
        elif token.type in ("td_close", "th_close"):
            found[-1][-1].append(cell)
            cell = None
    return found


def shown(inline):
    return "".join(child.content for child in inline.children).replace("\u200b", "")


def inlines(text):
    return [token for token in render(text) if token.type == "inline"]


def assert_harmless(text):
    """No HTML, no link, no image; outside code spans nobody is mentioned and nothing referred to."""
    for token in render(text):
        assert token.type != "html_block", token.content
        for child in token.children or ():
            assert child.type in ("text", "text_special", "code_inline", "strong_open", "strong_close", "softbreak"), (
                child
            )
        if token.type == "inline":
            outside = "".join(c.content if c.type != "code_inline" else " " for c in token.children)
            assert not re.search(r"@\w|[#!~$%^]\w|://[^\s\u200b]|www\.\w", outside), outside


def test_golden():
    assert markdown(summary()) == (GOLDEN / "summary.md").read_text()


def test_it_fits_a_comment():
    text = markdown(summary())
    assert len(text.splitlines()) < 90 and len(text.encode()) < 10_000
    many = [threshold(f"lateness.p99 < {n} ms", "fail", why="w" * 5000) for n in range(300)]
    incidents = [{"at": 1.0 * n, "kind": "worker_lost", "what": "x" * 5000} for n in range(300)]
    text = markdown(summary(thresholds=many, incidents=incidents, name="n" * 5000))
    assert len(text.splitlines()) < 106 and len(text.encode()) < 10_000
    assert "and 288 more thresholds: junit.xml has all of them" in text
    assert "and 295 more incidents" in text


@pytest.mark.parametrize(
    ("changes", "first", "why"),
    [
        ({"result": "passed"}, "passed", "2 of 40 sessions were dropped because a refresh came too late (5.0 %)"),
        ({"result": "failed"}, "failed", "1 of 3 thresholds failed: dropped.count &lt; 2**"),
        (
            {"result": "inconclusive"},
            "inconclusive",
            "1 of 3 thresholds is inconclusive: dropped\\_late.rate &lt; 0.1%",
        ),
        (
            {
                "result": "failed",
                "thresholds": [threshold("lateness.p99 < 500ms", "fail"), threshold("refused.count == 0", "pass")],
            },
            "failed",
            "1 of 2 thresholds failed: lateness.p99 &lt; 500ms. This is the lateness of the generator",
        ),
        (
            {
                "result": "failed",
                "thresholds": [threshold(f"{each}.rate < 1%", "fail") for each in ("lateness", "x", "y")],
            },
            "failed",
            "3 of 3 thresholds failed: lateness.rate &lt; 1%, x.rate &lt; 1% and 1 more**",
        ),
        ({"result": "failed", "aborted": "a < 5 %"}, "failed", "Ended early as hopeless: a &lt; 5 %"),
        (
            {"result": "invalid", "valid": False, "invalid_reasons": ["CPU was saturated"]},
            "invalid",
            "CPU was saturated",
        ),
        ({"result": "not judged", "thresholds": []}, "not judged", "2 of 40 sessions were dropped because a refresh"),
    ],
)
def test_the_first_line_is_the_result_and_the_second_says_why(changes, first, why):
    heading, _, second, *_ = markdown(summary(**changes)).splitlines()
    assert (heading, second.startswith(f"**{why}")) == (f"### chatload: {first}", True), second


def test_the_tile_of_a_threshold_that_failed_is_bad():
    def bad(*thresholds):
        return [tile.label for tile in tiles(summary(thresholds=list(thresholds))) if tile.tone is Tone.BAD]

    before = bad()
    late = threshold("lateness.p99 < 500ms", "fail")
    assert bad(late) == [*before, "generator lateness p99"]
    assert bad({**late, "result": "inconclusive"}, threshold("margin.p1 > 0", "pass")) == before
    assert bad(threshold("failed.rate < 1%", "fail")) == [*before, "served"]


def test_sessions_that_failed_are_in_the_answer_and_no_tile_is_good():
    made = summary()
    made["rates"]["failed"].update(least=4, most=4, of=40)
    assert answer(made).endswith("; 4 failed (10.0 %)") and not answer(summary()).endswith("%)")
    served = next(tile for tile in tiles(made) if tile.label == "served")
    assert "4 failed later" in served.detail and Tone.GOOD not in {tile.tone for tile in tiles(made)}


def undecided(**changes):
    both = {"needed": 700, "needed_90": 900, **changes}
    return {**threshold("dropped.rate < 1%", "inconclusive", samples=300), **both}


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [
        # 600 s x 900 / 300 samples; the threshold that needs the most counts
        ([undecided()], "A run of about 30 min like this one would probably settle it"),
        ([undecided(), undecided(needed_90=6000)], "A run of about 3 h 20 min like this one would probably settle "),
        ([undecided(needed_90=None)], "A run of about 24 min like this one would probably settle it"),
        # chance decides about a run that lacks little
        ([undecided(needed=301, needed_90=302)], "A run of about 15 min like this one would probably settle it"),
        # not known for one of them: nothing is said
        ([undecided(), undecided(needed=None, needed_90=None)], ""),
        ([undecided(samples=0)], ""),
    ],
)
def test_an_inconclusive_run_names_the_length_that_would_settle_it(thresholds, said):
    text = markdown(summary(result="inconclusive", thresholds=thresholds, started_at=1000.0, ended_at=1600.0))
    assert said in text if said else "like this one" not in text


def test_books_that_do_not_balance_are_said_first():
    broken = summary(result="invalid")
    broken["books"].update(balanced=False, imbalances=["w1: 3 sessions started, 2 ended", "another"])
    lines = markdown(broken).splitlines()
    assert lines[2] == "**The books do not balance: w1: 3 sessions started, 2 ended, and 1 more imbalance**"
    assert not any("books balance:" in line for line in lines)


def test_a_run_without_thresholds_is_not_judged():
    text = markdown(summary(result="not judged", thresholds=[]))
    assert text.startswith("### chatload: not judged\n\n**2 of 40 sessions were dropped")
    assert "\n\nNo threshold was set. " in text
    assert "passed" not in text


def test_a_run_without_an_accepted_session_tested_nothing():
    bare = summary(result="nothing tested", thresholds=[])
    bare["sessions"].update(started=0, accepted=0, by_verdict=dict.fromkeys(bare["sessions"]["by_verdict"], 0))
    bare["requests"]["by_operation"] = {}
    text = markdown(bare)
    assert text.startswith("### chatload: nothing tested\n\n**No session was started**\n")
    assert [table[0][0] for table in tables(text)] == ["", "blame"]


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ({"by": "interrupted", "after_s": 3.02, "planned_s": 30}, "interrupted after 3 of 30 s"),
        ({"by": "interrupted", "after_s": 3.02, "planned_s": None}, "interrupted after 3 s"),
        ({"by": "hours", "after_s": 3.02, "planned_s": 30}, "stopped at the end of the allowed hours after 3 of 30 s"),
        ({"by": "interrupted", "after_s": 252.0, "planned_s": 3600.0}, "interrupted after 4 min 12 s of 1 h"),
        ({"by": "stopped", "after_s": 3.02, "planned_s": 30}, "stopped in the web UI after 3 of 30 s"),
        ({"by": "plan", "after_s": 30.1, "planned_s": 30}, ""),
        ({"by": "aborted", "after_s": 3.02, "planned_s": 30}, ""),
    ],
)
def test_who_ended_the_run_before_its_time_is_said(end, said):
    text = markdown(summary(end=end))
    said = said[:1].upper() + said[1:]
    assert (f"\n\n**{said}: " in text) if said else ("interrupted" not in text and "web UI" not in text)


def test_thresholds_that_failed_come_first_and_keep_their_expression():
    rows = tables(markdown(summary()))[0][1:]
    assert [row[1] for row in rows] == ["fail", "inconclusive", "pass"]
    assert rows[1] == [
        EXPRESSION,
        "inconclusive",
        "0 %",
        "0 % to 0.3 %",
        "1 000",
        "0 in 1000 do not show it",
    ]


def test_bursts_say_what_the_sessions_are_worth():
    assert (
        "2 drops (late, early and unproven) came in 1 incident: 1 burst. The 39 sessions are worth 20 independent ones"
    ) in markdown(summary())
    mixed = {"drops": 3, "incidents": 2, "bursts": [0], "sessions_worth": 20}
    assert "in 2 incidents: 1 burst and 1 alone. " in markdown(summary(bursts=mixed))
    alone = {"drops": 2, "incidents": 2, "bursts": [], "sessions_worth": 39}
    assert "independent" not in markdown(summary(bursts=alone))


def test_what_seldom_happens_is_said_where_it_did():
    changed = summary(other_users={"classes": [], "requests": 7, "failed": 0})
    changed["requests"]["keys_replaced"], changed["sessions"]["offline_notices"] = 1200, 1
    before, text = markdown(summary()), markdown(changed)
    for said, heading in (
        ("widgets said 1 time that the chat server is offline", "Verdicts"),
        ("the server replaced the secure key of a chat 1 200 times", "Requests"),
        ("other code: 7 requests, none failed; chatload does not judge these", "Requests"),
    ):
        sentence = f"{said[0].upper()}{said[1:]}"
        assert sentence[:20] not in before
        assert f"{heading}\n" in text[: text.index(sentence)].rpartition("#### ")[2], said


def test_requests_of_other_users_that_failed_are_in_the_lead():
    others = {"classes": ["Reader", "Visitor"], "requests": 40, "failed": 12}
    said = "Other users of the locustfile (Reader, Visitor): 12 of 40 requests failed; chatload does not judge these"
    lead, _, rest = markdown(summary(other_users=others)).partition("Verdicts")
    assert said in lead and "Other users" not in rest
    idle = markdown(summary(other_users={**others, "requests": 0, "failed": 0}))
    assert "Other users of the locustfile (Reader, Visitor): no request;" in idle.partition("Verdicts")[2]


def test_words_from_outside_stay_words():
    hostile = summary(
        name=HOSTILE,
        result="invalid",
        valid=False,
        invalid_reasons=[HOSTILE, "line\nbreak\r\n\r\n# heading\n\n| a |"],
        incidents=[{"at": 1.0, "kind": HOSTILE, "what": HOSTILE}],
        thresholds=[threshold(HOSTILE, "fail", why=HOSTILE)],
    )
    hostile["settings"].update(host=HOSTILE, flex_disconnect_timeout=HOSTILE)
    hostile["requests"]["by_operation"] = {HOSTILE: next(iter(hostile["requests"]["by_operation"].values()))}
    text = markdown(hostile)
    assert_harmless(text)
    assert [(len(table), {len(row) for row in table}) for table in tables(text)] == [
        (2, {6}),
        (11, {4}),
        (2, {8}),
        (4, {5}),
        (2, {3}),
    ]
    row = tables(text)[0][1]
    assert row[5] == " ".join(HOSTILE.split()) and row[0] == HOSTILE[:79] + "…"
    assert f"incident at 00:00:01 UTC: {HOSTILE}: {HOSTILE}" in [shown(token) for token in inlines(text)]


@given(st.text(max_size=150) | st.text(st.sampled_from("ab1 |`*_<>&;@#!~$\\[]()/:-+\n"), max_size=80))
def test_any_text_is_shown_as_it_is(text):
    said = markdown(summary(thresholds=[threshold(text, "fail", why=text)]))
    assert_harmless(said)
    (row,) = tables(said)[0][1:]
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    assert row[5:] == ([line] if text else [])
    assert row[0].strip() == ((line if len(line) <= 80 else line[:79] + "…") or "?")
