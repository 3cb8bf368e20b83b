"""The table of the plan's chance that servers are enough, in a small form."""

from math import sqrt

from simulations.plan_chance import said_and_true, table


def test_servers_are_enough_as_often_as_the_plan_says():
    pairs = [(chance, enough) for chance, enough in said_and_true(200, 1) if 0.5 <= chance < 0.99]
    # Each outcome has the variance p (1 - p). Numbers of servers of one trial share its draws, so at most three of
    # them count as one: 4.5 standard errors of a third of the outcomes.
    said = sum(chance for chance, _ in pairs)
    error = sqrt(3 * sum(chance * (1 - chance) for chance, _ in pairs))
    assert len(pairs) > 150 and error / len(pairs) < 0.06
    assert abs(said - sum(enough for _, enough in pairs)) < 4.5 * error


def test_a_row_for_each_range_with_plans():
    made = table(30, 1)
    assert made.rows and all(len(row) == len(made.header) for row in made.rows)
