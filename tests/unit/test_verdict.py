"""The verdict by hand-placed cases: one row a reading of the evidence, as the status table has rows."""

from dataclasses import replace

import pytest

from chatload.chat.contacts import Attempt, ContactLog
from chatload.chat.effects import Exchange
from chatload.chat.policy import make_policy
from chatload.chat.settings import SessionSettings
from chatload.chat.transcript import ObservedServer, ServerClock, Transcript
from chatload.chat.verdict import EndEvidence, Goodbye, judge
from chatload.protocol.names import EndCause
from chatload.protocol.reply import Event, Reply
from chatload.vocabulary import Blame, Outcome, Verdict

#: Cases are placed around this instant: a wrong sign hides near 0.
T = 31_536_000.0
TIMEOUT = 2.0
ENDED, LOST = Outcome.ENDED, Outcome.UNRECOVERABLE


def told(*events, agent_end_removes=False, own_id="1"):
    """A transcript whose answer told of the end with these events."""
    transcript = Transcript(ServerClock(), agent_end_removes, own_id=own_id)
    transcript.read(Reply(ENDED, events=events), T + 99)
    return transcript


def left(who="Client", number="1", ms=None, cause=None, position=5):
    reason = "" if cause is None else "9"
    return Event(position, "ParticipantLeft", who, who, ms, number, reason, cause)


AGENT_JOINED = Event(2, "ParticipantJoined", "Agent", "Ann", None, "2")
WE_LEFT = told(left())
GOODBYE = Goodbye(Verdict.COMPLETED, "we disconnected and it was confirmed", T + 1.5, T + 1.5)


def evidence(
    silence=2.6, stamp=(2.0, 2.002), outcome=ENDED, transcript=WE_LEFT, attempts=(), trail=None, server=None,
    ended_told=True, **more
):  # fmt: skip
    """A contact in [T, T + 10 ms], then a request after `silence` seconds that found the end; `stamp`: bounds of the
    server's own end, seconds after T."""
    contacts = ContactLog(T, T + 0.01, attempts=list(attempts), refreshed=True)
    for name, value in (trail or {}).items():
        setattr(contacts, name, value)
    bounds = None if stamp is None else (T + stamp[0], T + stamp[1])
    sent = T + silence
    exchange = Exchange(sent, sent, sent + 0.01, Reply(outcome, told=ended_told))
    settings = SessionSettings(
        make_policy("fixed", TIMEOUT, 1.0), 1.0, keeps_ended_s=60.0, server=server or ObservedServer()
    )
    return EndEvidence(contacts, transcript, exchange, settings, left=bounds, **more)


def lost(at, over, latest=60.0):
    return Attempt(T + at, T + at + latest, True, T + over)


LATE, EARLY, OPEN = "dropped_late", "dropped_early", "dropped_unproven"
CASES = {
    "a silence too long, ended at the deadline": (evidence(), LATE),
    "in time, ended by the server": (evidence(1.0, (0.5, 0.502)), EARLY),
    "in time to the last millisecond": (evidence(1.99, (1.0, 1.002)), EARLY),
    "the bounds lie on both sides of the timeout": (evidence(2.005, (2.001, 2.012)), OPEN),
    "the stamp ends it before the deadline": (evidence(stamp=(1.2, 1.202)), OPEN),
    "the stamp ends it just before the deadline": (evidence(stamp=(1.99, 1.999)), OPEN),
    "the stamp ends it well after the deadline": (evidence(stamp=(2.4, 2.402)), OPEN),
    "the stamp is as coarse as the tolerance": (evidence(stamp=(1.81, 2.1)), LATE),
    "the stamp is coarser": (evidence(stamp=(1.79, 2.1)), OPEN),
    "nothing dates the end": (evidence(stamp=None), OPEN),
    "the transcript does not tell the end": (evidence(stamp=None, transcript=told()), OPEN),
    "nor in time": (evidence(1.0, None, transcript=told()), OPEN),
    "the last answer took too long": (evidence(silence=3.0, stamp=(2.25, 2.26), trail={"received": T + 0.3}), OPEN),
    "never refreshed, and its age is not known": (evidence(trail={"refreshed": False}), OPEN),
    "an unanswered request was under way at the end": (evidence(attempts=[lost(1.9, 2.2)]), OPEN),
    "an unanswered request soon before it": (evidence(attempts=[lost(1.2, 2.1)]), OPEN),
    "an unanswered request given up long before it": (evidence(attempts=[lost(0.5, 0.9)]), LATE),
    "of an end after the deadline a failed request may be the reason": (
        evidence(stamp=(2.05, 2.06), attempts=[lost(0.5, 0.9)]), OPEN),
    "the end is one timeout after a request that got no answer": (
        evidence(4.6, stamp=(2.35, 2.355), attempts=[lost(0.34, 4.34)]), LATE),
    "the end is less than one timeout after it": (
        evidence(4.6, stamp=(2.35, 2.355), attempts=[lost(0.4, 0.9)]), OPEN),
    # statusCode 2
    "2 after a silence too long": (evidence(outcome=LOST, stamp=None), LATE),
    "2 though in time": (evidence(1.0, None, LOST), "failed"),
    "2 after a failed request": (evidence(outcome=LOST, stamp=None, attempts=[lost(1.0, 1.3)]), OPEN),
    "2 over a new connection": (evidence(outcome=LOST, stamp=None, trail={"broken": True}), OPEN),
    "2 of a server that replaces keys": (
        evidence(outcome=LOST, stamp=None, server=ObservedServer(replaces_keys=True)), OPEN),
    "2 without chatEnded true": (evidence(outcome=LOST, stamp=None, ended_told=False), OPEN),
    "2 of a server that let such a silence pass": (
        evidence(outcome=LOST, stamp=None, server=ObservedServer(outlived_timeout=True)), OPEN),
    "2 of a server that said it in time": (
        evidence(outcome=LOST, stamp=None, server=ObservedServer(lost_in_time=True)), OPEN),
    "2 of a server that answers 0/true after such a silence": (
        evidence(outcome=LOST, stamp=None, server=ObservedServer(tells_silent_ends=True)), OPEN),
    "2 after longer than ended chats are kept": (evidence(60.1, None, LOST), OPEN),
    "2 just within": (evidence(59.9, None, LOST), LATE),
    "2 of a chat that was never refreshed": (evidence(outcome=LOST, stamp=None, trail={"refreshed": False}), OPEN),
    # The server's own word
    "8209 where the bounds are open": (evidence(2.005, None, LOST, cause=EndCause.INACTIVITY, code="8209"), LATE),
    "8209 after a failed request": (
        evidence(outcome=LOST, stamp=None, cause=EndCause.INACTIVITY, code="8209", attempts=[lost(1.0, 1.3)]), LATE),
    "8209 from a server that has removed a chat in time": (
        evidence(
            stamp=None, cause=EndCause.INACTIVITY, code="8209", server=ObservedServer(drops_in_time=True)), OPEN),
    "8209 from such a server, whose clock puts the end at the deadline": (
        evidence(cause=EndCause.INACTIVITY, code="8209", server=ObservedServer(drops_in_time=True)), LATE),
    "8209 though in time": (evidence(1.0, None, LOST, cause=EndCause.INACTIVITY, code="8209"), EARLY),
    "8209 in time, after an answer that may have been of an ended chat": (
        evidence(1.0, None, cause=EndCause.INACTIVITY, code="8209", trail={"untold_gap": Blame.PLAN}), LATE),
    "8201 says nothing": (evidence(1.0, None, LOST, cause=EndCause.UNKNOWN_SESSION, code="8201"), "failed"),
    "8210 in time": (evidence(1.0, None, LOST, cause=EndCause.BAD_KEY, code="8210"), "failed"),
    "8210 after a silence too long": (evidence(outcome=LOST, stamp=None, cause=EndCause.BAD_KEY, code="8210"), OPEN),
    **{
        f"quit reason {cause} after {silence} s": (evidence(silence, transcript=told(left(cause=cause))), verdict)
        for cause, verdict in [
            (EndCause.PARTICIPANT, "ended_by_agent"), (EndCause.IDLE, "closed_idle"), (EndCause.SYSTEM, EARLY),
            (EndCause.RESTORATION, EARLY), (EndCause.BAD_KEY, "failed"),
        ]
        for silence in (1.0, 2.6)
    },
    "quit reason inactivity after 2.6 s": (evidence(transcript=told(left(cause=EndCause.INACTIVITY))), LATE),
    "quit reason inactivity in time": (evidence(1.0, transcript=told(left(cause=EndCause.INACTIVITY))), EARLY),
    # Agents and others
    "an agent was there when we were removed": (evidence(1.0, None, transcript=told(AGENT_JOINED, left())), OPEN),
    "the agent left": (evidence(1.0, None, transcript=told(AGENT_JOINED, left("Agent", "2"))), "ended_by_agent"),
    "the agent left a server that hands chats on": (
        evidence(
            1.0, None, transcript=told(AGENT_JOINED, left("Agent", "2")), server=ObservedServer(hands_chats_on=True)),
        OPEN),
    "the agent left, and we, of a server that hands chats on": (
        evidence(
            1.0, None, server=ObservedServer(hands_chats_on=True),
            transcript=told(AGENT_JOINED, left("Agent", "2"), left(position=6), agent_end_removes=True)),
        "ended_by_agent"),
    "the agent left, and the silence may have been too long": (
        evidence(transcript=told(AGENT_JOINED, left("Agent", "2")), stamp=None), OPEN),
    "the agent left and we in the same moment": (
        evidence(1.0, None, transcript=told(AGENT_JOINED, left("Agent", "2"), left(position=6))), OPEN),
    "which the server is known to write": (
        evidence(
            1.0, None, transcript=told(AGENT_JOINED, left("Agent", "2"), left(position=6), agent_end_removes=True)),
        "ended_by_agent"),
    "another Client left": (evidence(1.0, None, transcript=told(left(number="7"))), OPEN),
    "inactivity control": (
        evidence(transcript=told(Event(4, "IdleClose", "External", "system", None), left())), "closed_idle"),
    # Goodbyes
    "our Disconnect, dated after it left": (evidence(1.5, (1.505, 1.507), goodbye=GOODBYE), "completed"),
    "our Disconnect, undated": (evidence(1.5, None, goodbye=GOODBYE), "completed"),
    "our Disconnect, with a stamp that reaches before it": (evidence(1.5, (1.4, 1.6), goodbye=GOODBYE), "completed"),
    "ended before our Disconnect by the stamp": (evidence(1.5, (1.0, 1.1), goodbye=GOODBYE), OPEN),
    "2 to a Disconnect that was not taken": (
        evidence(1.5, None, LOST, goodbye=replace(GOODBYE, taken=None)), "failed"),
    "2 after a Disconnect that was": (evidence(1.8, None, LOST, goodbye=GOODBYE), "completed"),
    "an unanswered request before our Disconnect": (
        evidence(1.5, None, goodbye=GOODBYE, attempts=[lost(1.0, 1.3)]), OPEN),
    "which a stamp after it settles": (
        evidence(1.5, (1.505, 1.507), goodbye=GOODBYE, attempts=[lost(1.0, 1.3)]), "completed"),
    "a goodbye after an answer that may have been of an ended chat": (
        evidence(1.5, None, goodbye=GOODBYE, trail={"untold_gap": Blame.PLAN}), OPEN),
    "a late Disconnect that may have ended it": (
        evidence(2.6, (1.9, 2.7), goodbye=replace(GOODBYE, sent=T + 2.6, taken=T + 2.6)), OPEN),
    "an agent who left before our Disconnect handed it on": (
        evidence(1.5, None, transcript=told(AGENT_JOINED, left("Agent", "2")), goodbye=GOODBYE), "completed"),
}  # fmt: skip


CONFIRMED = {"our Disconnect, dated after it left", "which a stamp after it settles"}


@pytest.mark.parametrize("name", CASES)
def test_the_verdict(name):
    case, verdict = CASES[name]
    finding = judge(case)
    assert finding.verdict == verdict
    assert finding.confirmed is (name in CONFIRMED)


def both_left(silence=2.6, stamp=None, attempts=(), goodbye=None):
    """The agent and we have left, of a server that writes our leaving too where an agent ends a chat."""
    transcript = told(AGENT_JOINED, left("Agent", "2"), left(position=6), agent_end_removes=True)
    return evidence(silence, stamp, transcript=transcript, attempts=attempts, goodbye=goodbye)


AGENT = "ended_by_agent"


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        (both_left(1.9), AGENT),
        (both_left(1.9, (1.0, 1.002)), AGENT),
        (both_left(), OPEN),
        (both_left(stamp=(1.2, 1.202)), AGENT),
        (both_left(stamp=(1.9, 1.999)), AGENT),
        (both_left(stamp=(1.9, 2.001)), OPEN),
        (both_left(stamp=(2.005, 2.2)), OPEN),
        (both_left(stamp=(2.015, 2.2)), AGENT),
        # A request in vain may have put the deadline off.
        (both_left(stamp=(2.45, 2.5), attempts=[lost(0.3, 0.5, latest=0.2)]), OPEN),
        (both_left(stamp=(2.55, 2.6), attempts=[lost(0.3, 0.5, latest=0.2)]), AGENT),
        (both_left(stamp=(2.45, 2.5), attempts=[lost(0.1, 0.2, latest=0.1), lost(0.3, 0.5, latest=0.2)]), OPEN),
        # Or our own Disconnect is behind our leaving.
        (both_left(1.9, (1.505, 1.507), goodbye=GOODBYE), OPEN),
        (both_left(1.9, (1.45, 1.51), goodbye=GOODBYE), OPEN),
        (both_left(1.9, (1.45, 1.46), goodbye=GOODBYE), AGENT),
        (both_left(1.9, goodbye=GOODBYE), OPEN),
    ],
)
def test_whether_the_agent_s_leaving_explains_ours(case, verdict):
    assert judge(case).verdict == verdict


def test_the_silence_reaches_up_to_the_first_goodbye():
    finding = judge(evidence(1.8, None, goodbye=GOODBYE))
    assert (finding.lower_s, finding.upper_s) == pytest.approx((1.49, 1.81), abs=1e-6)
    later = judge(evidence(1.2, None, goodbye=GOODBYE))
    assert (later.lower_s, later.upper_s) == pytest.approx((1.19, 1.21), abs=1e-6)


@pytest.mark.parametrize(
    ("stamp", "alive", "taken", "confirmed"),
    [
        ((1.505, 1.507), False, 1.5, True),
        ((1.499, 1.507), False, 1.5, False),
        ((1.505, 1.507), False, None, False),
        ((1.505, 1.507), False, 1.52, False),
        (None, False, 1.5, False),
        (None, True, 1.5, True),
    ],
)
def test_a_goodbye_is_confirmed_where_the_chat_surely_went_on_until_it_left(stamp, alive, taken, confirmed):
    goodbye = replace(GOODBYE, alive=alive, taken=None if taken is None else T + taken)
    finding = judge(evidence(1.5, stamp, goodbye=goodbye))
    assert (finding.verdict, finding.confirmed) == ("completed", confirmed)


def test_a_finding_names_the_code_and_accuses_the_timeout():
    case = evidence(1.0, None, LOST, cause=EndCause.INACTIVITY, code="8209")
    assert judge(case).why == (
        "the server removed us for inactivity (error 8209) though every refresh was within 2 s: its timeout is shorter"
    )


def opened(clock, stamp_ms, sent=T, took=0.004, position=1):
    """A transcript that has told our own ParticipantJoined, stamped stamp_ms."""
    transcript = Transcript(clock)
    joined = Event(position, "ParticipantJoined", "Client", "me", stamp_ms, "1")
    reply = Reply(Outcome.FINE, events=(joined,))
    opening = Exchange(sent, sent, sent + took, reply)
    assert transcript.synchronise(transcript.read(reply, sent + took), opening)
    return transcript


def end(transcript, stamp_ms, received, number="1"):
    transcript.read(Reply(ENDED, events=(left(number=number, ms=stamp_ms),)), received)


def test_a_timestamp_of_a_fine_clock_is_known_to_the_opening_s_round_trip():
    transcript = opened(ServerClock(), 5_000_003)
    end(transcript, 5_002_007, T + 2.02)
    low, high = transcript.left_at(T, T + 2.02)
    assert T + 2.004 - 0.005 <= low < T + 2.004 < high <= T + 2.004 + 0.01


def test_a_timestamp_of_whole_seconds_is_an_interval():
    transcript = opened(ServerClock(), 5_000_000)
    end(transcript, 5_003_000, T + 2.6)
    low, high = transcript.left_at(T, T + 2.6 + 1.0)
    assert high - low >= 2.0


@pytest.mark.parametrize(("stamp_ms", "usable"), [(5_002_007, True), (5_000_903, False), (5_009_007, False)])
def test_a_timestamp_outside_of_what_the_server_had_told_is_of_a_clock_that_moved(stamp_ms, usable):
    clock = ServerClock()
    transcript = opened(clock, 5_000_003)
    end(transcript, stamp_ms, T + 2.6)
    assert (transcript.left_at(T + 1.0, T + 2.6) is not None) is usable
    assert clock.is_witness(T) is usable


def test_two_clocks_are_no_witness():
    clock = ServerClock()
    assert clock.is_witness(T)
    for number in range(8):
        opened(clock, 5_000_003 + 1000 * number + 400 * (number % 2), T + number)
    assert not clock.is_witness(T + 100)


def test_a_clock_that_stepped_once_is_a_witness_again_for_later_chats():
    clock = ServerClock()
    for number in range(60):
        opened(clock, 5_000_003 + 1001 * number - 3000 * (number >= 10), T + 1.001 * number)
    assert not clock.is_witness(T + 5)
    assert clock.is_witness(T + 61)


def test_another_alias_is_another_clock():
    transcript = opened(ServerClock(), 5_000_003)
    transcript.moved()
    end(transcript, 5_002_007, T + 2.02)
    assert transcript.left_at(T, T + 2.02) is None


def test_another_client_s_leaving_is_not_ours():
    transcript = opened(ServerClock(), 5_000_003)
    end(transcript, 5_002_007, T + 2.02, number="7")
    assert (transcript.left, transcript.ended_by()) == (False, "")


def test_a_chat_that_goes_on_was_left_by_another():
    transcript = Transcript(ServerClock())
    transcript.read(Reply(Outcome.FINE, events=(left(number="7"),)), T)
    assert not transcript.left
    transcript.read(Reply(Outcome.FINE, events=(left(position=6),), told=False), T + 1)
    assert transcript.left


WHOLE_SECONDS = [(1_000 * (5_000 + i), T + i + (i % 10) / 10) for i in range(21)]


@pytest.mark.parametrize(
    ("openings", "bounds"),
    [
        (WHOLE_SECONDS, (0.0, 0.1)),
        (WHOLE_SECONDS[:20], (-0.5, 0.5)),
        ([*WHOLE_SECONDS, (4_000_000, T + 30), *WHOLE_SECONDS], (-0.5, 0.5)),
    ],
    ids=["enough openings", "too few", "a clock that once contradicted itself"],
)
def test_what_many_openings_agree_on_narrows_one_chat_s_offset(openings, bounds):
    clock = ServerClock()
    offset_s = 5_000.0 - T
    for stamp_ms, at in openings:
        clock.saw(stamp_ms, at, at)
    low, high = clock.narrowed((offset_s - 0.5, offset_s + 0.5))
    assert (low - offset_s, high - offset_s) == pytest.approx(bounds, abs=0.02)


LATE_GOODBYE = replace(GOODBYE, sent=T + 2.6, taken=T + 2.6)


@pytest.mark.parametrize(
    ("case", "verdict", "why"),
    [
        (evidence(2.6, (2.0, 2.002), goodbye=LATE_GOODBYE), LATE, "the silence was longer than the timeout"),
        (evidence(2.6, (2.0, 2.15), goodbye=LATE_GOODBYE), LATE, "the silence was longer than the timeout"),
        (evidence(2.6, (2.0, 2.6), goodbye=LATE_GOODBYE), OPEN, "until our own Disconnect ended it"),
        (evidence(2.6, (1.9, 2.7), goodbye=LATE_GOODBYE), OPEN, "until our own Disconnect ended it"),
        (evidence(1.5, (1.0, 1.5), goodbye=GOODBYE), "completed", "we disconnected and it was confirmed"),
        (evidence(1.5, (1.0, 1.499), goodbye=GOODBYE), OPEN, "puts the end before our Disconnect"),
        (evidence(stamp=None, transcript=told()), OPEN, "the transcript does not say how it ended"),
        (evidence(stamp=None), OPEN, "nothing dates the end"),
        (evidence(stamp=(1.5, 1.999)), OPEN, "puts the end before the deadline"),
        (evidence(stamp=(1.79, 2.1)), OPEN, "too coarse"),
        (evidence(3.0, (2.25, 2.26), trail={"received": T + 0.3}), OPEN, "took too long to tell"),
        (evidence(stamp=(2.25, 2.3)), OPEN, "puts the end after the deadline"),
        (evidence(attempts=[lost(1.9, 2.2)]), OPEN, "an unanswered request may have told of another end"),
        (evidence(trail={"refreshed": False}), OPEN, "because it was never refreshed"),
        (evidence(2.005, (2.001, 2.012)), OPEN, "the bounds lie on both sides of the timeout"),
        (evidence(1.0, (0.5, 0.502), transcript=told(AGENT_JOINED, left())), OPEN, "an agent was there"),
        # An end at the timeout to within a tenth of it.
        (evidence(stamp=(2.1, 2.205)), LATE, "longer than the timeout"),
        (evidence(stamp=(2.1, 2.215)), OPEN, "after the deadline"),
        (evidence(trail={"received": T + 0.19}), LATE, "longer than the timeout"),
        (evidence(trail={"received": T + 0.21}), OPEN, "took too long"),
        # An unanswered request may have ended it while it was under way, and for half of the timeout after it left.
        (evidence(attempts=[lost(0.999, 1.1)]), LATE, "longer than the timeout"),
        (evidence(attempts=[lost(1.001, 1.9)]), LATE, "longer than the timeout"),
        (evidence(attempts=[lost(1.001, 2.1)]), OPEN, "another end"),
        (evidence(attempts=[lost(0.9, 2.1)]), LATE, "longer than the timeout"),
        # After a failed request the end may be one timeout after that.
        (evidence(2.9, (2.3, 2.5), attempts=[lost(0.4, 0.5)]), LATE, "longer than the timeout"),
        (evidence(2.9, (2.3, 2.61), attempts=[lost(0.4, 0.5)]), OPEN, "after the deadline"),
        (evidence(2.9, (2.19, 2.5), attempts=[lost(0.4, 0.5)]), OPEN, "after the deadline"),
        (evidence(2.9, (2.3, 2.5), attempts=[lost(0.1, 0.2), lost(0.4, 0.5)]), LATE, "longer than the timeout"),
    ],
)
def test_the_reason(case, verdict, why):
    finding = judge(case)
    assert finding.verdict == verdict and why in finding.why
