"""Why one session was dropped: in words, and drawn."""

import re

import pytest

from chatload.chat.record import Contact, Timeline
from chatload.features.report import worst_sessions as stories
from chatload.features.report.worst_sessions import drawing
from chatload.render import charts
from chatload.render.document import Chart


def contact(at, outcome="0/false", took=0.01, operation="GetMessages", due=None):
    return Contact(operation, at if due is None else due, at, at + took, outcome)


def timeline(after, verdict="dropped_late", blame="network", before=5, timeout=2.0, shares=None, sure=True):
    """The last sure contact leaves at 100 and is answered at 100.01."""
    contacts = [contact(100.0 - i) for i in range(before, 0, -1)] + [contact(100.0)] * sure + after
    shares = {"planned": 1.0, "network": 2.0, "server": 0.001} if shares is None else shares
    return Timeline("c1", verdict, blame, "the reason", timeout, 1.0, 100.0, 100.01, shares, contacts, "w1")


FAILED_TWICE = [contact(101.01, "connection"), contact(101.51, "timeout", 0.5)]
LATE = [*FAILED_TWICE, contact(103.26, "0/true"), contact(103.5, "0/true")]


def test_the_steps_are_those_around_the_silence_and_end_where_the_end_is_found():
    shown = stories.steps(timeline(LATE))
    assert [step.kind for step in shown] == ["answered"] * 3 + ["failed", "failed", "found"]
    assert [step.sure for step in shown] == [False, False, True, False, False, False]
    assert [round(step.left, 2) for step in shown] == [-2.01, -1.01, -0.01, 1.0, 1.5, 3.25]


def test_what_lies_far_back_does_not_squeeze_the_silence():
    line = timeline([contact(102.5, "0/true")], before=0)
    line.contacts.insert(0, contact(10.0))
    assert [round(step.left, 2) for step in stories.steps(line)] == [-0.01, 2.49]


def test_a_sure_contact_that_is_no_longer_kept_is_still_shown():
    shown = stories.steps(timeline(LATE, before=0, sure=False))
    assert shown[0].sure and (round(shown[0].left, 2), shown[0].over) == (-0.01, 0.0)


def test_a_statuscode_2_finds_the_end_too():
    assert stories.steps(timeline([contact(103.0, "2"), contact(104.0, "0/true")]))[-1].outcome == "2"


@pytest.mark.parametrize(
    ("after", "verdict", "blame", "expected"),
    [
        (LATE, "dropped_late", "network", "dropped_late, blame network: 1.25 s too late"),
        (LATE, "dropped_unproven", "", "dropped_unproven: up to 1.25 s too late"),
        ([contact(100.51, "0/true")], "dropped_early", "", "dropped_early: 1.5 s before the deadline"),
        (FAILED_TWICE, "dropped_late", "server", "dropped_late, blame server"),
        ([], "dropped_late", "server", "dropped_late, blame server"),
    ],
)
def test_the_headline_says_verdict_blame_and_by_how_much(after, verdict, blame, expected):
    assert stories.headline(timeline(after, verdict, blame)) == expected


def test_the_story():
    assert stories.story(timeline(LATE)) == (
        "The server allows 2 s of silence after a contact. 2 requests went wrong between +1.00 s and +2.00 s "
        "(1 × connection failed, 1 × no answer). GetMessages at +3.25 s found the chat ended: 1.25 s too late. Of "
        "these 3.25 s broken connections and the waits after them took 2 s, the planned wait took 1 s. "
        "Why this verdict: the reason."
    )


def test_an_unproven_story_says_why_it_proves_nothing():
    told = stories.story(timeline(LATE, "dropped_unproven", ""))
    assert "Any of those that failed may have reached the server, and then the silence was shorter." in told
    assert "may have reached" not in stories.story(timeline([contact(104.0, "0/true")], "dropped_unproven", ""))


def test_a_story_without_an_end_found_tells_the_last_word():
    assert "The last word was no answer in 500 ms, +2.00 s." in stories.story(timeline(FAILED_TWICE))


def test_a_request_that_never_left_says_so():
    unsent = Contact("GetMessages", 101.01, None, 101.31, "connection")
    assert "connection failed, never left" in drawn(timeline([unsent, contact(103.0, "0/true")]))


def drawn(timeline):
    """The picture of one session."""
    (chart,) = (block for block in drawing(1, timeline).blocks if isinstance(block, Chart))
    return charts.draw(chart.spec, chart.label)


@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_the_picture_shows_silence_deadline_requests_and_where_the_time_went(width):
    made = timeline(LATE)
    picture = next(svg for svg in re.findall(r"<svg .*?</svg>", drawn(made), re.S) if f'class="marks {width}"' in svg)
    texts = re.findall(r"<text [^>]*>([^<]*)</text>", picture)
    for text in ("silence", "2 s allowed", "deadline", "ok: last sure contact", "connection failed",
                 "no answer in 500 ms", "chat has ended", "time went to"):  # fmt: skip
        assert text in texts, text
    assert texts.count("GetMessages") == 6
    assert "1.25 s too late" in texts or "1.25 s" in texts
    # The silence is drawn as long as it was: the blocks of what is allowed and what was too long meet at the deadline.
    assert stories.headline(made) in picture and stories.story(made).replace("'", "&#39;") in picture


def _extent(path):
    start, width = re.match(r"M(-?[\d.]+),-?[\d.]+h(-?[\d.]+)", path).groups()
    return float(start), float(start) + float(width)


def test_the_blocks_are_to_scale():
    picture = drawn(timeline(LATE)).split("</svg>")[0]
    allowed = _extent(re.search(r'<path d="([^"]+)"[^>]*fill="var\(--soft\)"', picture)[1])
    late = _extent(re.search(r'<path d="([^"]+)"[^>]*fill="var\(--bad\)"', picture)[1])
    assert allowed[1] == pytest.approx(late[0], abs=0.1)
    assert (late[1] - late[0]) / (allowed[1] - allowed[0]) == pytest.approx(1.25 / 2.0, rel=0.01)


def test_unproven_is_not_drawn_in_the_colour_of_proof():
    picture = drawn(timeline([contact(104.0, "0/true")], "dropped_unproven", ""))
    assert 'fill="var(--warn)"' in picture
    assert 'fill="var(--warn)"' not in drawn(timeline(LATE))
