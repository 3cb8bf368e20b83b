"""No verdict is contradicted by the ledger of a service that answers oddly, and its odd answers raise no error."""

import pytest

from tests.virtual import schedules, truth
from tests.virtual.odd_answers import ODDITIES, OddService

#: Schedules in which agents end many chats in different ways, and the servers have several clocks.
SEEDS = (3033, 3064, 3189, 3219, 3232)


@pytest.mark.parametrize("name", ODDITIES)
def test_odd_answers_prove_nothing_that_is_not_so(name, monkeypatch):
    monkeypatch.setattr(OddService, "oddity", staticmethod(ODDITIES[name]), raising=False)
    monkeypatch.setattr(schedules, "ChatService", OddService)
    for seed in SEEDS:
        sessions, _, wrong = truth.check(seed, chats=60)
        assert sessions == 60 and not wrong, wrong[:3]
