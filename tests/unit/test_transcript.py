"""What a transcript tells, by hand-placed events: who ended the chat, and when by the server's clock."""

import pytest

from chatload.chat.effects import Exchange
from chatload.chat.transcript import ServerClock, Transcript
from chatload.protocol.reply import Event, Reply
from chatload.vocabulary import Outcome

T = 31_536_000.0
FINE, ENDED = Outcome.FINE, Outcome.ENDED


def event(position, kind, who="Client", number="1", ms=None):
    return Event(position, kind, who, who.lower(), ms, number)


def opened(ms=5_000_003, clock=None, took=0.004, **more):
    """A chat whose opening left at T and told our own ParticipantJoined, stamped `ms`."""
    transcript = Transcript(clock or ServerClock(), **more)
    reply = Reply(FINE, events=(event(1, "ParticipantJoined", ms=ms),))
    assert transcript.synchronise(transcript.read(reply, T + took), Exchange(T, T, T + took, reply))
    return transcript


def end(transcript, *events, received=T + 99):
    transcript.read(Reply(ENDED, events=events), received)
    return transcript


def both_left(agent_ms, our_ms, joined_ms=5_000_003, **more):
    return end(
        opened(joined_ms, **more), event(2, "ParticipantJoined", "Agent", "2"),
        event(3, "ParticipantLeft", "Agent", "2", agent_ms), event(4, "ParticipantLeft", ms=our_ms),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("agent_ms", "our_ms", "joined_ms", "plain", "removes", "doubtful"),
    [
        (5_002_001, 5_002_000, 5_000_003, "self", "self", "self"),
        (5_002_001, 5_002_001, 5_000_003, "either", "agent", "either"),
        (5_002_001, 5_002_051, 5_000_003, "either", "agent", "either"),
        (5_002_001, 5_002_052, 5_000_003, "either", "either", "self"),
        (5_002_001, 5_003_001, 5_000_003, "either", "either", "self"),
        (5_002_001, 5_003_002, 5_000_003, "self", "self", "self"),
        # Of whole seconds, what is one second apart may have been at once, or nearly two seconds apart.
        # A clock that goes back by more than a second within a transcript dates nothing.
        (5_003_000, 5_001_000, 5_000_000, "either", "agent", "either"),
        (5_003_000, 5_002_000, 5_000_000, "self", "self", "self"),
        (5_003_000, 5_003_000, 5_000_000, "either", "agent", "either"),
        (5_003_000, 5_004_000, 5_000_000, "either", "agent", "either"),
        (5_003_000, 5_005_000, 5_000_000, "self", "self", "self"),
        # Nothing dates one of them: the order alone does not show who ended it.
        (None, 5_002_001, 5_000_003, "either", "agent", "either"),
        (5_002_001, None, 5_000_003, "either", "agent", "either"),
        (5_002_001, 5_009_001, None, "either", "agent", "either"),
    ],
)
def test_who_ended_it_where_the_agent_and_we_have_left(agent_ms, our_ms, joined_ms, plain, removes, doubtful):
    assert both_left(agent_ms, our_ms, joined_ms).ended_by() == plain
    assert both_left(agent_ms, our_ms, joined_ms, agent_end_removes=True).ended_by() == removes
    assert both_left(agent_ms, our_ms, joined_ms, agent_end_removes=True).ended_by(doubtful=True) == doubtful


AGENT = event(2, "ParticipantJoined", "Agent", "2")
OTHER_AGENT = event(3, "ParticipantJoined", "Agent", "3")
AGENT_LEFT = event(4, "ParticipantLeft", "Agent", "2")
WE_LEFT = event(6, "ParticipantLeft")


@pytest.mark.parametrize(
    ("events", "by"),
    [
        ((), ""),
        ((WE_LEFT,), "self"),
        ((AGENT, WE_LEFT), "self"),
        ((AGENT, AGENT_LEFT), "agent"),
        ((AGENT, OTHER_AGENT, AGENT_LEFT), ""),
        ((AGENT, AGENT_LEFT, event(5, "ParticipantJoined", "Agent", "2")), ""),
        ((event(2, "IdleClose", "External"),), "idle"),
        ((AGENT, AGENT_LEFT, event(5, "IdleClose", "External"), WE_LEFT), "idle"),
        ((event(6, "ParticipantLeft", number="7"),), ""),
        ((event(6, "ParticipantLeft", number=""),), ""),
        ((AGENT, AGENT_LEFT, event(6, "ParticipantLeft", number="")), "either"),
        ((AGENT, event(5, "ParticipantLeft", "Supervisor", "2")), ""),
        ((event(5, "Message", "Agent", "2"),), ""),
    ],
)
def test_who_ended_it_by_the_events_alone(events, by):
    assert end(opened(), *events).ended_by() == by


def test_without_an_id_the_only_client_is_we():
    def left(*events):
        transcript = Transcript(ServerClock())
        joined = Reply(FINE, events=(event(1, "ParticipantJoined", number=""), *events))
        transcript.synchronise(transcript.read(joined, T), Exchange(T, T, T, joined))
        return end(transcript, event(6, "ParticipantLeft", number=""))

    assert left().ended_by() == "self"
    assert left(event(2, "ParticipantJoined", number="")).ended_by() == ""
    for who in ("Agent", "Supervisor"):
        assert left(event(2, "ParticipantJoined", who, ""), event(3, "Message")).ended_by() == "self"


def test_an_agent_who_left_before_the_chat_went_on_did_not_end_it():
    transcript = opened()
    transcript.read(Reply(FINE, events=(AGENT, AGENT_LEFT)), T + 1)
    assert not transcript.agent_left
    assert end(transcript).ended_by() == ""


@pytest.mark.parametrize(("told", "goes_on"), [(True, True), (False, False)])
def test_a_chat_goes_on_after_our_leaving_only_where_the_server_says_so(told, goes_on):
    transcript = opened()
    transcript.read(Reply(FINE, events=(AGENT, AGENT_LEFT, WE_LEFT), told=told), T + 1)
    assert (transcript.left, transcript.agent_left) == (not goes_on, not goes_on)


@pytest.mark.parametrize(
    ("positions", "next_position", "asked", "fresh", "position"),
    [
        ([2, 3], None, True, [2, 3], 4),
        ([1, 2], None, True, [2], 3),
        ([0, 1], None, True, [], 2),
        ([-1, -1], None, True, [-1, -1], 2),
        ([5, 3], None, True, [5, 3], 6),
        ([], 9, True, [], 9),
        ([], 9, False, [], 2),
        ([4], 3, True, [4], 5),
        ([4], 9, False, [4], 5),
        ([], 0, True, [], 2),
    ],
)
def test_events_are_read_once_and_the_cursor_lies_behind_the_last(positions, next_position, asked, fresh, position):
    transcript = opened()
    events = tuple(event(p, "Message", "Agent", "2") for p in positions)
    read = transcript.read(Reply(FINE, events=events, next_position=next_position), T + 1, asked)
    assert [e.position for e in read] == fresh
    assert transcript.position == position


def test_a_position_is_asked_for_unless_it_is_said_otherwise():
    transcript = Transcript(ServerClock())
    transcript.read(Reply(FINE, next_position=0), T)
    assert transcript.position == 1
    transcript.read(Reply(FINE, next_position=7), T)
    assert transcript.position == 7


def test_the_participants_joined_of_others_do_not_say_who_we_are():
    transcript, opening = Transcript(ServerClock()), Exchange(T, T, T, Reply(FINE))
    others = [event(1, "ParticipantJoined", "Agent", "2"), event(2, "Message", "Client", "7")]
    assert not transcript.synchronise(others, opening)
    assert transcript.own_id == ""
    clients = [event(3, "ParticipantJoined", number="4"), event(4, "ParticipantJoined", number="5")]
    assert transcript.synchronise(clients, opening)
    assert transcript.own_id == "4"


@pytest.mark.parametrize(("ms", "failed_over"), [(None, False), (5_000_003, True)])
def test_an_opening_that_cannot_be_dated_dates_nothing(ms, failed_over):
    transcript = Transcript(ServerClock())
    if failed_over:
        transcript.moved()
    joined = event(1, "ParticipantJoined", ms=ms)
    transcript.synchronise([joined], Exchange(T, T, T + 0.004, Reply(FINE)))
    assert (transcript.joined_ms, transcript.opening) == (None, None)
    end(transcript, event(2, "ParticipantLeft", ms=5_002_007))
    assert transcript.left_at(T, T + 2.5) is None and not transcript.outlived(1.0)


@pytest.mark.parametrize(
    ("joined_ms", "left_ms", "low", "high"),
    [
        # Stamped while the opening was under way, T to T + 4 ms, the stamp being 1 ms wide.
        (5_000_003, 5_002_007, 2.003, 2.009),
        (5_000_003, 5_000_904, 0.900, 0.906),
        (5_001_000, 5_003_000, 1.0, 3.004),
        (5_000_010, 5_002_030, 2.010, 2.034),
    ],
)
def test_bounds_of_the_server_s_own_end(joined_ms, left_ms, low, high):
    transcript = end(opened(joined_ms), event(2, "ParticipantLeft", ms=left_ms))
    assert transcript.left_at(T, T + 99) == pytest.approx((T + low, T + high), abs=1e-6)


@pytest.mark.parametrize(
    ("alive", "received", "usable"),
    [(2.008, 99, True), (2.0095, 99, False), (0, 2.0035, True), (0, 2.0025, False)],
)
def test_a_stamp_outside_of_what_is_known_is_of_a_clock_that_moved(alive, received, usable):
    clock = ServerClock()
    transcript = end(opened(clock=clock), event(2, "ParticipantLeft", ms=5_002_007))
    assert (transcript.left_at(T + alive, T + received) is not None) is usable
    assert clock.is_witness(T) is usable
    assert (transcript.opening is not None) is usable


def test_an_event_told_before_it_was_written_is_of_a_clock_that_moved():
    for ms, usable in [(5_001_004, True), (5_001_012, False)]:
        clock = ServerClock()
        transcript = opened(clock=clock)
        transcript.read(Reply(FINE, events=(event(2, "Message", "Agent", "2", ms),)), T + 1.003)
        assert clock.is_witness(T) is usable


def test_a_clock_that_is_no_witness_dates_nothing():
    clock = ServerClock()
    transcript = end(opened(clock=clock), event(2, "ParticipantLeft", ms=5_009_007))
    assert transcript.left_at(T, T + 99) is not None and transcript.outlived(2.0)
    clock.contradicted(T + 50)
    assert transcript.left_at(T, T + 99) is None and not transcript.outlived(2.0)
    message = event(3, "Message", ms=5_001_004)
    assert transcript.released_after([message]) == float("-inf")


def test_another_client_s_end_is_not_dated_as_ours():
    transcript = end(opened(), event(2, "ParticipantLeft", number="", ms=5_002_007))
    assert transcript.left and transcript.left_at(T, T + 99) is None


@pytest.mark.parametrize(
    ("joined_ms", "left_ms", "longer"),
    [
        (5_000_003, 5_002_003, True),
        (5_000_003, 5_002_001, False),
        (5_000_003, 5_001_003, False),
        (5_000_000, 5_003_000, True),
        (5_000_000, 5_002_000, False),
        (5_000_003, None, False),
        (None, 5_009_003, False),
    ],
)
def test_whether_a_chat_surely_was_two_seconds_old_when_it_ended(joined_ms, left_ms, longer):
    transcript = end(opened(joined_ms), event(2, "ParticipantLeft", ms=left_ms))
    assert transcript.outlived(2.0) is longer


def test_the_age_by_a_clock_that_moved_is_not_known():
    transcript = end(opened(), event(2, "ParticipantLeft", ms=5_009_003))
    transcript.moved()
    assert not transcript.outlived(2.0)


@pytest.mark.parametrize(
    ("stamps", "after"),
    [([5_001_004], 1.0), ([5_001_004, 5_000_503, None], 1.0), ([None], None), ([], None)],
)
def test_an_answer_left_the_server_after_its_last_event_was_written(stamps, after):
    events = tuple(event(2 + i, "Message", "Agent", "2", ms) for i, ms in enumerate(stamps))
    released = opened().released_after(events)
    assert released == (float("-inf") if after is None else pytest.approx(T + after, abs=1e-6))


def test_without_an_opening_nothing_tells_when_an_answer_left():
    message = event(2, "Message", ms=5_001_004)
    assert Transcript(ServerClock()).released_after([message]) == float("-inf")


# -- the server's clock ---------------------------------------------------------------------------


def test_the_resolution_is_the_finest_that_was_seen():
    clock = ServerClock()
    assert clock.resolution_s() == 0.001
    clock.saw(5_000_000, T, T + 0.01)
    assert clock.resolution_s() == 5000.0
    assert clock.resolution_s(5_003_000) == 1.0
    clock.saw(5_002_000, T + 2, T + 2.01)
    assert clock.resolution_s() == 2.0
    clock.saw(5_003_120, T + 3, T + 3.01)
    assert clock.resolution_s() == pytest.approx(0.08)


def test_the_offset_is_bounded_by_the_request_and_by_the_stamp_s_width():
    assert ServerClock().offset(5_000_003, T, T + 0.004, 5_000_004) == pytest.approx(
        (5000.003 - T - 0.004, 5000.004 - T)
    )
    assert ServerClock().offset(5_000_000, T, T + 0.5, 5_003_000) == pytest.approx((5000.0 - T - 0.5, 5001.0 - T))


@pytest.mark.parametrize(
    ("moved_ms", "after_s", "trusted"),
    [
        # Each opening took 3.9 ms, and its stamp is 1 ms wide; clocks drift apart by 1e-3.
        (0, 100, True), (4, 0, True), (5, 0, False), (-4, 0, True), (-5, 0, False), (14, 10, True), (15, 10, False),
        (-14, 10, True), (-15, 10, False),
    ],
)  # fmt: skip
def test_a_clock_that_moves_by_more_than_it_may_drift_is_no_witness(moved_ms, after_s, trusted):
    clock = ServerClock()
    clock.saw(5_000_003, T - 1.001, T - 1.001 + 0.0039)
    clock.saw(5_001_004, T, T + 0.0039)
    assert clock.is_witness(T)
    clock.saw(5_001_004 + 1000 * after_s + moved_ms, T + after_s, T + after_s + 0.0039)
    assert clock.is_witness(T) is trusted


def test_openings_narrow_the_offset_down():
    """Two slow openings that have only little in common, then one that lies outside of it."""
    clock = ServerClock()
    clock.saw(5_000_001, T, T + 1.0)
    clock.saw(5_000_901, T, T + 1.0)
    clock.saw(5_000_503, T, T + 0.001)
    assert clock.is_witness(T)
    clock.saw(5_000_303, T, T + 0.001)
    assert not clock.is_witness(T)


def agree(clock, first, chats, step_ms=0):
    for number in range(first, first + chats):
        clock.saw(5_000_003 + 1001 * number + step_ms, T + 1.001 * number, T + 1.001 * number + 0.004)


@pytest.mark.parametrize("told_by", ["opening", "chat"])
def test_after_a_contradiction_twenty_chats_must_agree_and_older_chats_stay_undated(told_by):
    clock = ServerClock()
    agree(clock, 0, 10)
    if told_by == "opening":
        agree(clock, 10, 1, -3000)
        agree(clock, 11, 19, -3000)
    else:
        clock.contradicted(T + 10)
        agree(clock, 10, 19)
    assert not clock.is_witness(T + 999)
    agree(clock, 30, 1, -3000 * (told_by == "opening"))
    assert clock.is_witness(T + 999) and not clock.is_witness(T + 5)
    clock.contradicted(T + 40)
    assert not clock.is_witness(T + 999)


@pytest.mark.parametrize(("steps", "again"), [(1, True), (2, True), (3, False)])
def test_a_clock_that_moved_three_times_is_never_a_witness_again(steps, again):
    clock = ServerClock()
    for step in range(steps + 1):
        agree(clock, 100 * step, 30, -3000 * step)
    assert clock.is_witness(T + 999) is again


def test_what_a_chat_found_counts_as_one_contradiction():
    clock = ServerClock()
    agree(clock, 0, 30)
    clock.contradicted(T + 40)
    agree(clock, 100, 30)
    assert clock.is_witness(T + 999)
    agree(clock, 200, 30, -3000)
    assert clock.is_witness(T + 999)
    clock.contradicted(T + 240)
    agree(clock, 300, 30, -3000)
    assert clock.is_witness(T + 999)
    agree(clock, 400, 30)
    assert not clock.is_witness(T + 999)


@pytest.mark.parametrize(
    ("told", "surely_ours"),
    [((), True), (("ours",), True), (("other",), False), (("ours", "other"), False)],
)
def test_without_ids_a_clients_leaving_is_ours_only_if_no_other_client_has_joined(told, surely_ours):
    transcript = Transcript(ServerClock())
    opening = Exchange(1.0, 1.0, 1.1, Reply(Outcome.FINE))
    for position, who in enumerate((*told, "left"), 1):
        kind = "ParticipantLeft" if who == "left" else "ParticipantJoined"
        told_now = Event(position, kind, "Client", "chatload", None)
        fresh = transcript.read(Reply(ENDED if who == "left" else FINE, events=(told_now,)), 2.0)
        if who == "ours":
            transcript.synchronise(fresh, opening)
    assert transcript.surely_ours is surely_ours
