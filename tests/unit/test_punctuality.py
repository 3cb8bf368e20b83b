"""A process that falls behind says so, and which part was late."""

import pytest

from chatload.run.books import Books
from chatload.swarm.worker_report import AGAIN_S, LatenessMonitor


def _second(books, lateness, n=200, stalled=0.0):
    for number in range(n):
        books.lateness.add(lateness if number < 0.05 * n else 0.0005)
    books.stalled_s += stalled


@pytest.mark.parametrize(
    ("cpu", "waited", "stalled", "said"),
    [
        (0.3, 0.625, 0.4, "other processes used its core for 62 %"),
        (0.97, 0.0, 0.4, "its core is full (97 %)"),
        (0.3, 0.02, 0.4, "it was stalled for 40 %"),
        (0.3, None, 0.4, "it was stalled for 40 %"),
        (0.3, 0.02, 0.01, "many refreshes were due at once"),
    ],
)
def test_the_part_that_was_late_is_named(cpu, waited, stalled, said):
    books, punctuality = Books(), LatenessMonitor()
    assert punctuality.look(books, 5.0, None if waited is None else 2.0, 100.0) == ""
    _second(books, 0.2, stalled=stalled)
    told = punctuality.look(books, 5.0 + cpu, None if waited is None else 2.0 + waited, 101.0)
    assert said in told and "by more than 2" in told


def test_who_is_on_time_says_nothing_and_who_is_not_says_it_now_and_then():
    books, punctuality = Books(), LatenessMonitor()
    told = []
    for second in range(1, 31):
        _second(books, 0.2 if 5 <= second < 25 else 0.02)
        told.append(bool(punctuality.look(books, float(second), 0.0, float(second))))
    assert [second for second, said in enumerate(told, 1) if said] == [5, 5 + AGAIN_S]


@pytest.mark.parametrize(
    ("cpu", "waited", "stalled", "said"),
    [
        (0.6, 1.0, 0.8, "other processes used its core for 50 %"),
        (0.6, 0.2, 0.8, "other processes used its core for 10 %"),
        (1.7, 0.19, 0.8, "its core is full (85 %)"),
        (1.69, 0.19, 0.8, "it was stalled for 40 %"),
        (1.69, 0.19, 0.2, "it was stalled for 10 %"),
        (1.69, 0.19, 0.19, "many refreshes were due at once"),
    ],
)
def test_parts_are_of_the_time_since_the_last_look(cpu, waited, stalled, said):
    books, punctuality = Books(), LatenessMonitor()
    punctuality.look(books, 5.0, 2.0, 100.0)
    _second(books, 0.2, stalled=stalled)
    assert said in punctuality.look(books, 5.0 + cpu, 2.0 + waited, 102.0)


@pytest.mark.parametrize(("late_s", "says"), [(0.049, False), (0.052, True)])
def test_behind_is_more_than_50_ms(late_s, says):
    books = Books()
    _second(books, late_s)
    assert bool(LatenessMonitor().look(books, 0.0, None, 1.0)) is says


def test_the_first_look_counts_from_nothing():
    books = Books()
    _second(books, 0.2, stalled=0.5)
    assert "stalled for 50 %" in LatenessMonitor().look(books, 0.1, 0.0, 1.0)
    books = Books()
    _second(books, 0.2)
    assert "its core is full (90 %)" in LatenessMonitor().look(books, 0.9, 0.0, 1.0)
