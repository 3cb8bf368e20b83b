"""The error rates of `chatload history`, in a small form."""

from simulations.history import CASES, table

#: Limits that a method with the claimed rates exceeds in less than 1 of 10 000 cases (binomial): false changes in 5 %
#: of TRIALS trials, steps found after 10 runs in 90 %.
TRIALS, MOST_FALSE, LEAST_FOUND = 40, 10, 27


def shares(trials, seed):
    made = table(trials, seed)
    return {
        (case.examined, case.name, case.before): [round(float(cell.split()[0]) / 100 * trials) for cell in row[3:]]
        for case, row in zip(CASES, made.rows, strict=True)
    }


def test_false_changes_are_rare_and_steps_are_found():
    found = shares(TRIALS, 11)
    false = {case: counts[0] for case, counts in found.items()}
    assert max(false.values()) <= MOST_FALSE, false
    for before in (20, 40):
        assert found[8, "independent", before][2] >= LEAST_FOUND
