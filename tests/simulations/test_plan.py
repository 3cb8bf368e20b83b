"""The table of `chatload plan` in docs/statistics.md, in a small form."""

from simulations.plan import CASES, PlanCase, exceeded, open_chats, table

DAYS = 1000


def case(told: str, name: str = "") -> PlanCase:
    return next(case for case in CASES if case.told == told and case.name.startswith(name) and "top" not in case.name)


def test_inputs_of_the_days_rate_keep_the_planned_share():
    without, known = case("chats per hour", "day"), case("`--rate-cv 5%`")
    counts = open_chats(without.hour, DAYS, 1)
    assert exceeded(counts, without.planned()).of_hour > 0.008
    assert exceeded(counts, known.planned()).of_hour < 0.008


def test_the_profile_of_a_short_peak_keeps_the_planned_share_at_its_worst_instant():
    without, known = case("chats per hour", "15 minutes"), case("`--arrival-profile`")
    counts = open_chats(known.hour, DAYS, 2)
    assert exceeded(counts, without.planned()).of_hour > 0.09
    assert exceeded(counts, known.planned()).at_busiest < 0.015
    # The plan is no higher than it has to be: 5 % fewer chats would be exceeded far more often than planned.
    assert exceeded(counts, round(0.95 * known.planned())).at_busiest > 0.02


def test_a_queue_in_order_of_arrival_has_as_many_chats_as_planned():
    without, known = case("chats per hour", "95"), case("`--agents 95 --patience 1800`")
    counts = open_chats(known.hour, DAYS // 10, 3)
    assert exceeded(counts, without.planned()).of_hour > 0.02
    assert exceeded(counts, known.planned()).of_hour < 0.015
    assert exceeded(counts, round(0.85 * known.planned())).of_hour > 0.01


def test_a_queue_at_a_short_peak_has_about_as_many_chats_as_planned():
    (known,) = (case for case in CASES if case.hour.agents and case.hour.peak)
    counts = open_chats(known.hour, DAYS // 10, 4)
    assert exceeded(counts, known.planned()).at_busiest < 0.05
    assert exceeded(counts, round(0.75 * known.planned())).at_busiest > 0.05


def test_a_row_for_every_case():
    made = table(10, 1)
    assert len(made.rows) == len(CASES) and all(len(row) == len(made.header) for row in made.rows)
