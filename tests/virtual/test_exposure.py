"""The exposure of chats in virtual time, compared with the server's own ledger."""

from chatload.run.lifetimes import Lifetimes
from chatload.vocabulary import Verdict
from tests.virtual.schedules import draw

SCHEDULES, CHATS = 30, 120
#: The client knows when these ended only to within a gap: the chat may have ended just before its goodbye.
_WITHIN_A_GAP = (Verdict.COMPLETED, Verdict.CLOSED_IDLE, Verdict.CUT_OFF, Verdict.DROPPED_UNPROVEN)


def test_no_chat_is_counted_for_longer_than_the_server_had_it() -> None:
    compared, lived, counted, exceeded = 0, 0.0, 0.0, 0
    for seed in range(SCHEDULES):
        schedule = draw(seed)
        run = schedule.run(CHATS)
        ledger = {row["chat_id"]: row for row in run.ledger}
        accepted = [record for record in run.records if record.alive_s is not None]
        assert {record.chat_id for record in accepted} == {r.chat_id for r in run.records if r.chat_id}
        assert abs(run.books.exposure_s - sum(record.alive_s or 0.0 for record in accepted)) < 1e-6
        for record in accepted:
            row = ledger.get(record.chat_id)
            if row is None or row["ended_at"] is None:
                continue
            life_s, alive_s = row["ended_at"] - row["started_at"], record.alive_s or 0.0
            compared, lived, counted = compared + 1, lived + life_s, counted + alive_s
            if alive_s > life_s + 1e-6:
                exceeded += 1
                assert record.verdict in _WITHIN_A_GAP and not record.goodbye_confirmed, (seed, record, row)
                assert alive_s - life_s <= schedule.timeout_s, (seed, record, row)
    assert compared > 1500
    assert exceeded < 0.03 * compared
    assert 0.5 * lived < counted < lived


def test_lifetimes_are_those_of_the_records() -> None:
    run = draw(0).run(CHATS)
    accepted = [record for record in run.records if record.alive_s is not None]
    made = Lifetimes.of(
        (record.alive_s, record.ended_at - record.accepted_at, record.verdict)
        for record in accepted
        if record.alive_s is not None and record.accepted_at is not None
    )
    fates = run.books.fates
    assert len(made.alive_s) == fates.accepted
    assert (made.surely.sum(), (made.surely | made.perhaps).sum()) == fates.dropped
    assert (made.alive_s <= made.ended_s).all()
