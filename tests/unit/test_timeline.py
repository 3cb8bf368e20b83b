"""The last contacts of a session, and which timelines are kept."""

from __future__ import annotations

import json
from dataclasses import asdict
from random import Random

import pytest

from chatload.chat.record import CONTACTS, KEPT, Contact, RecentContacts, Timeline, WorstTimelines, severity

KINDS = [
    ("GetMessages", "0/false"),
    ("GetMessages", "2"),
    ("GetMessages", "timeout"),
    ("SendMessage", "0/false"),
    ("Disconnect", "0/true"),
]


def timeline(severity_s: float = 1.0, verdict: str = "dropped_late", blame: str = "server") -> Timeline:
    contacts = [Contact("GetMessages", 1.0, None, 2.0, "timeout"), Contact("SendMessage", 3.0, 3.1, 3.2, "2")]
    return Timeline("c", verdict, blame, "why", 2.0, severity_s, 0.25, 0.5, {"server": 2.7}, contacts, "w")


@pytest.mark.parametrize("requests", [0, 1, CONTACTS - 1, CONTACTS, CONTACTS + 1, 2 * CONTACTS, 100])
@pytest.mark.parametrize("usual", [0.0, 0.5, 1.0])
def test_the_last_twelve_contacts_are_kept_in_order_with_what_each_was(requests: int, usual: float) -> None:
    random, recent, all_of_them = Random(f"{requests} {usual}"), RecentContacts(), []
    for i in range(requests):
        operation, outcome = KINDS[0] if random.random() < usual else random.choice(KINDS)
        sent = None if outcome == "timeout" else i + 0.25
        if (operation, outcome) == KINDS[0] and random.random() < 0.5:
            recent.add_refresh(float(i), i + 0.25, i + 0.5)
        else:
            recent.add(operation, float(i), sent, i + 0.5, outcome)
        all_of_them.append(Contact(operation, float(i), sent, i + 0.5, outcome))
    assert recent.contacts() == all_of_them[-12:]


def test_all_instants_move_and_nothing_else() -> None:
    recent = RecentContacts()
    recent.add("GetMessages", 1.0, None, 2.0, "timeout")
    recent.add("SendMessage", 3.0, 3.1, 3.2, "2")
    assert recent.contacts(1000.0) == [
        Contact("GetMessages", 1001.0, None, 1002.0, "timeout"),
        Contact("SendMessage", 1003.0, 1003.1, 1003.2, "2"),
    ]


def test_a_timeline_is_read_back_as_it_was_written() -> None:
    assert Timeline.from_dict(json.loads(json.dumps(asdict(timeline())))) == timeline()


@pytest.mark.parametrize(
    ("verdict", "gap_s", "expected"),
    [
        ("dropped_late", (3.0, 5.0), 1.0),
        ("dropped_late", (None, 5.0), 0.0),
        ("dropped_late", (3.0, None), 0.0),
        ("dropped_unproven", (1.0, 5.0), 3.0),
        ("dropped_early", (0.5, 1.5), 0.5),
        ("failed", (3.0, 5.0), 0.0),
        ("gave_up", (3.0, 5.0), 0.0),
        ("completed", (3.0, 5.0), None),
        ("refused", (None, None), None),
    ],
)
def test_severity_is_by_how_much_the_timeout_of_2_s_was_missed(
    verdict: str, gap_s: tuple[float | None, float | None], expected: float | None
) -> None:
    assert severity(verdict, *gap_s, 2.0) == expected


def test_of_each_verdict_and_blame_the_ten_worst_are_admitted() -> None:
    assert KEPT == 10
    worst = WorstTimelines()
    assert all(worst.admits(timeline(severity_s)) for severity_s in (5, 1, 9, 2, 8, 3, 7, 4, 6, 10))
    assert not worst.admits(timeline(1)), "no worse than the least of ten"
    assert worst.admits(timeline(1.5)), "1 goes"
    assert not worst.admits(timeline(1.5))
    assert worst.admits(timeline(2.5)), "1.5 goes"
    assert worst.admits(timeline(2.25)) and not worst.admits(timeline(2.25)), "2 goes"
    assert worst.admits(timeline(0.1, blame="plan")) and worst.admits(timeline(0.1, "failed"))
