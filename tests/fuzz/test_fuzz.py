"""All targets for 20 s of CPU; longer by hand: python -m tests.fuzz --seconds 600."""

import pytest

from tests.fuzz.bounded import Target, _fuzz, fuzz
from tests.fuzz.targets import NASTY, TARGETS

SECONDS = 20.0


@pytest.mark.slow
@pytest.mark.timeout(600)  # it is bounded by CPU time, of which a busy machine gives little
def test_nothing_that_others_wrote_crashes_hangs_or_fills_the_memory():
    results = list(fuzz(list(TARGETS), SECONDS / len(TARGETS), 0))
    assert [result.target for result in results] == list(TARGETS)
    assert [finding for result in results for finding in result.findings] == []
    assert all(result.executions >= 50 for result in results), results


def test_a_crash_would_be_found():
    assert (
        _fuzz("crash", Target(NASTY, lambda text: text.encode()), 1.0, 0).findings[0].startswith("UnicodeEncodeError")
    )
