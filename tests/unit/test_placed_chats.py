"""One chat's record, by hand-placed cases: what each answer makes of what is sent next and of what is kept.

The books and the counts of the record are counted anew from the requests in every case (`check_books`).
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.protocol.names import EndCause
from chatload.protocol.wire import Detail
from chatload.vocabulary import Outcome
from tests.unit.placed_chat import (
    CONNECTION,
    ENDED,
    FINE,
    LOST,
    OK,
    QUIET,
    TIMEOUT,
    UNSUCCESSFUL,
    Answer,
    T,
    event,
    hold,
    opened,
    says,
)


def fixed(value):
    return Distribution("fixed", value)


def weleft(ms=None, position=2, **more):
    return event(position, "ParticipantLeft", "Client", "1", ms, **more)


END = says(ENDED)
JOINED = event(1, "ParticipantJoined", "Client", "1", 5_000_003)
AGENT_JOINED = event(2, "ParticipantJoined", "Agent", "2")
AGENT_LEFT = event(4, "ParticipantLeft", "Agent", "2")
INACTIVE = {"errors": ("8209",), "code": "8209", "cause": EndCause.INACTIVITY}
TALK = CustomerScript(
    chat_length=fixed(10.0), messages=fixed(1), think=fixed(0.5), typing=fixed(0.25), answer_patience=fixed(3.0),
    message_bytes=fixed(9.0), waits_for_agent=False,
)  # fmt: skip


def policy(*given, script=QUIET):
    """Settings with a policy other than a refresh every 2 s under a timeout of 6 s."""
    return SessionSettings(make_policy(*given), 1.0, script)


CASES = {
    "every answer is fine": (
        [opened(), *[OK] * 5, END], {},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 D 10.01",
        {"verdict": "completed", "why": "we disconnected and it was confirmed", "ended_at": 10.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "0/true", "goodbye_at": 10.01},
    ),
    "a refresh leaves late": (
        [opened(), OK, Answer(late=0.3), OK, OK, OK, END], {},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 D 10.01",
        {"verdict": "completed", "why": "we disconnected and it was confirmed", "ended_at": 10.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "0/true", "goodbye_at": 10.01},
    ),
    "two refreshes unsuccessful; the Disconnect is answered 0/false, and nothing more shows the end": (
        [opened(), OK, says(UNSUCCESSFUL), says(UNSUCCESSFUL)], {},
        "R 0 G 0.01 G 2.01 G 2.27 G 2.78 G 4.01 G 6.01 G 8.01 D 10.01 G 10.27 G 10.78",
        {"verdict": "gave_up", "why": "Disconnect was never confirmed", "ended_at": 10.79, "gap_lower_s":
         1.99, "gap_upper_s": 2.78},
    ),
    "a refresh without an answer: it may have told of an end": (
        [opened(), OK, says(TIMEOUT, took=1.0), OK], {},
        "R 0 G 0.01 G 2.01 G 3.26 G 4.01 G 6.01 G 8.01 D 10.01 G 10.27 G 10.78",
        {"verdict": "dropped_unproven", "why":
         "Disconnect was never confirmed; it may have been dropped by then", "ended_at": 10.79, "gap_lower_s":
         0.0, "gap_upper_s": 0.01, "learned_by": "0/false"},
    ),
    "a refresh that never left": (
        [opened(), OK, says(CONNECTION, left=False, took=0.2, detail=Detail.EXHAUSTED)], {},
        "R 0 G 0.01 G 2.01 G 2.46 G 4.01 G 6.01 G 8.01 D 10.01 G 10.27 G 10.78",
        {"verdict": "gave_up", "why": "Disconnect was never confirmed", "ended_at": 10.79, "gap_lower_s":
         2.44, "gap_upper_s": 2.46},
    ),
    "statusCode 2 after the generator's own silence": (
        [opened(), OK, says(LOST, late=7.0)], {},
        "R 0 G 0.01 G 2.01",
        {"verdict": "dropped_late", "blame": "generator", "why": "the silence was longer than the timeout",
         "ended_at": 9.02, "gap_lower_s": 8.99, "gap_upper_s": 9.01, "learned_by": "2", "generator_s": 7.0,
         "generator_suspect": True},
    ),
    "statusCode 2 after such a silence, without chatEnded": (
        [opened(), OK, says(LOST, late=7.0, told=False)], {},
        "R 0 G 0.01 G 2.01",
        {"verdict": "dropped_unproven",
         "why": "statusCode 2 came without chatEnded true: the chat may have gone on", "ended_at": 9.02,
         "gap_lower_s": 8.99, "gap_upper_s": 9.01, "learned_by": "2", "generator_s": 7.0,
         "generator_suspect": True},
    ),
    "statusCode 2 after such a silence, with chatEnded false": (
        [opened(), OK, says(LOST, late=7.0, still_open=True), END], {},
        "R 0 G 0.01 G 2.01 D 9.02",
        {"verdict": "dropped_unproven",
         "why": "statusCode 2 came without chatEnded true: the chat may have gone on", "ended_at": 9.02,
         "gap_lower_s": 8.99, "gap_upper_s": 9.01, "learned_by": "2", "generator_s": 7.0,
         "generator_suspect": True, "end_evidence": "chatEnded false"},
    ),
    "statusCode 2 after such a silence, of a server that has replaced our key": (
        [opened(), says(FINE, secure_key="k2"), says(LOST, late=7.0)], {},
        "R 0 G 0.01 G 2.01",
        {"verdict": "dropped_unproven",
         "why": "the server replaces keys: it may have taken our key for a wrong one", "ended_at": 9.02,
         "gap_lower_s": 8.99, "gap_upper_s": 9.01, "learned_by": "2", "generator_s": 7.0,
         "generator_suspect": True},
    ),
    "statusCode 2 after a silence longer than ended chats are kept": (
        [opened(), OK, says(LOST, late=7.0)], {"keeps_ended_s": 8.5},
        "R 0 G 0.01 G 2.01",
        {"verdict": "dropped_unproven", "why": "the silence was longer than the server keeps ended chats",
         "ended_at": 9.02, "gap_lower_s": 8.99, "gap_upper_s": 9.01, "learned_by": "2", "generator_s": 7.0,
         "generator_suspect": True},
    ),
    "statusCode 2 over a new connection": (
        [opened(), OK, says(LOST, late=7.0, new_connection=True)], {},
        "R 0 G 0.01 G 2.01",
        {"verdict": "dropped_unproven",
         "why": "the connection was lost since the last contact: the server may have been restarted",
         "ended_at": 9.02, "gap_lower_s": 8.99, "gap_upper_s": 9.01, "learned_by": "2", "generator_s": 7.0,
         "generator_suspect": True},
    ),
    "another Client who joins later and leaves is not we": (
        [opened(JOINED), says(FINE, event(2, "ParticipantJoined", "Client", "7", 5_001_003)),
         says(ENDED, event(4, "ParticipantLeft", "Client", "7", 5_001_013)), END, END, END], {},
        "R 0 G 0.01 G 2.01 G 2.02 G 2.03 G 2.04",
        {"verdict": "dropped_unproven", "why": "the transcript does not say how it ended", "ended_at": 2.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "0/true"},
    ),
    "we are told of first in the answer to the first refresh": (
        [opened(next_position=1), says(FINE, JOINED), says(ENDED, weleft(5_001_013))], {},
        "R 0 G 0.01 G 2.01",
        {"verdict": "dropped_early", "why": "ended though every refresh was in time", "ended_at": 2.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "0/true", "end_silence_lower_s": 0.989,
         "end_silence_upper_s": 1.011},
    ),
    "a Client who is told of first in the second answer is not we": (
        [opened(next_position=1), says(FINE, event(1, "Notice", "External")),
         says(FINE, event(2, "ParticipantJoined", "Client", "7", 5_001_003)),
         says(ENDED, event(4, "ParticipantLeft", "Client", "7", 5_003_013)), END, END, END], {},
        "R 0 G 0.01 G 2.01 G 4.01 G 4.02 G 4.03 G 4.04",
        {"verdict": "dropped_unproven", "why": "the transcript does not say how it ended", "ended_at": 4.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "0/true"},
    ),
    "an end told by another server than the opening's": (
        [opened(JOINED), OK, says(ENDED, weleft(5_001_013), alias="a2")], {},
        "R 0 G 0.01 G 2.01",
        {"verdict": "dropped_early", "why": "ended though every refresh was in time", "ended_at": 2.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "0/true"},
    ),
    "an end told by the same server": (
        [opened(JOINED), OK, says(ENDED, weleft(5_001_013), alias="a1")], {},
        "R 0 G 0.01 G 2.01",
        {"verdict": "dropped_early", "why": "ended though every refresh was in time", "ended_at": 2.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "0/true", "end_silence_lower_s": 0.989,
         "end_silence_upper_s": 1.011},
    ),
    "by one whose name comes before in the alphabet": (
        [opened(JOINED), OK, says(ENDED, weleft(5_001_013), alias="A1")], {},
        "R 0 G 0.01 G 2.01",
        {"verdict": "dropped_early", "why": "ended though every refresh was in time", "ended_at": 2.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "0/true"},
    ),
    "statusCode 2 after an answer that never came": (
        [opened(), OK, says(TIMEOUT, took=7.0), says(LOST)], {},
        "R 0 G 0.01 G 2.01 G 9.26",
        {"verdict": "dropped_unproven", "why": "the bounds lie on both sides of the timeout", "ended_at": 9.27,
         "gap_lower_s": 4.62, "gap_upper_s": 9.26, "learned_by": "2"},
    ),
    "statusCode 2 though in time": (
        [opened(), OK, says(LOST)], {},
        "R 0 G 0.01 G 2.01",
        {"verdict": "failed", "why": "statusCode 2 though every refresh was in time", "ended_at": 2.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "2"},
    ),
    "statusCode 2 with chatEnded false: one Disconnect": (
        [opened(), OK, says(LOST, still_open=True, errors=("8201",), monitored=True), END], {},
        "R 0 G 0.01 G 2.01 D 2.02",
        {"verdict": "failed", "why": "statusCode 2 though every refresh was in time", "ended_at": 2.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "2", "end_evidence":
         "error 8201, chatEnded false, monitored true"},
    ),
    "an end that nobody explains is asked about three times": (
        [opened(), OK, END, END, says(ENDED, weleft())], {},
        "R 0 G 0.01 G 2.01 G 2.02 G 2.03 G 2.04",
        {"verdict": "dropped_unproven", "why": "the transcript does not say how it ended", "ended_at": 2.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "0/true"},
    ),
    "the agent ends it": (
        [opened(), says(FINE, AGENT_JOINED), says(FINE, event(3, "Message", "Agent", "2"), event(3, "Message",
         "Agent", "2")), says(ENDED, AGENT_LEFT)], {},
        "R 0 G 0.01 G 2.01 G 4.01",
        {'verdict': 'ended_by_agent', 'why': "the transcript has the agent's ParticipantLeft", 'ended_at':
         4.02, 'gap_lower_s': 1.99, 'gap_upper_s': 2.01, 'learned_by': '0/true', 'messages_received': 2},
    ),
    "a silence too long, ended before by the server's clock": (
        [opened(JOINED), OK, says(ENDED, weleft(5004010), late=4.5)], {},
        "R 0 G 0.01 G 2.01",
        {'verdict': 'dropped_unproven', 'why': "the server's own timestamp puts the end before the deadline",
         'ended_at': 6.52, 'gap_lower_s': 6.49, 'gap_upper_s': 6.51, 'learned_by': '0/true', 'generator_s':
         4.5, 'generator_suspect': True, 'end_silence_lower_s': 3.986, 'end_silence_upper_s': 4.008},
    ),
    "a quit reason and codes of errors": (
        [opened(JOINED), OK, says(ENDED, weleft(quit_reason="5", cause=EndCause.SYSTEM), errors=("1", "2"))], {},
        "R 0 G 0.01 G 2.01",
        {"verdict": "dropped_early", "why": "removed by the server for system reasons (quit reason 5)",
         "ended_at": 2.02, "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "0/true", "end_evidence":
         "error 1, error 2, quit reason 5"},
    ),
    "8209 after a silence too long": (
        [opened(), OK, says(LOST, **INACTIVE, late=4.5)], {},
        "R 0 G 0.01 G 2.01",
        {"verdict": "dropped_late", "blame": "generator", "why":
         "the server removed us for inactivity (error 8209)", "ended_at": 6.52, "gap_lower_s": 6.49,
         "gap_upper_s": 6.51, "learned_by": "2", "generator_s": 4.5, "generator_suspect": True,
         "end_evidence": "error 8209"},
    ),
    "8209 that a later answer took back": (
        [opened(), OK, says(UNSUCCESSFUL, **INACTIVE), OK, says(LOST)], {},
        "R 0 G 0.01 G 2.01 G 2.27 G 4.01",
        {"verdict": "failed", "why": "statusCode 2 though every refresh was in time", "ended_at": 4.02,
         "gap_lower_s": 1.73, "gap_upper_s": 1.75, "learned_by": "2"},
    ),
    "RequestChat unsuccessful four times": (
        [says(UNSUCCESSFUL, detail="no")] * 4, {},
        "R 0 R 0.26 R 0.77 R 1.78",
        {"verdict": "refused", "why": "RequestChat: no", "ended_at": 1.79},
    ),
    "RequestChat answered 2": (
        [says(LOST, detail="statusCode 2")], {},
        "R 0",
        {"verdict": "refused", "why": "RequestChat: statusCode 2", "ended_at": 0.01},
    ),
    "RequestChat answered without a chat id": (
        [says(FINE)], {},
        "R 0",
        {"verdict": "refused", "why": "RequestChat: no chatId", "ended_at": 0.01},
    ),
    "RequestChat without an answer": (
        [says(TIMEOUT, took=1.0, detail="timeout")], {},
        "R 0",
        {"verdict": "gave_up", "why": "RequestChat: timeout", "ended_at": 1.0},
    ),
    "RequestChat that never left is sent anew": (
        [says(CONNECTION, left=False, detail="refused"), says(CONNECTION, left=False), opened(), *[OK] * 5, END], {},
        "R 0 R 0.26 R 0.77 G 0.78 G 2.78 G 4.78 G 6.78 G 8.78 D 10.78",
        {"verdict": "completed", "why": "we disconnected and it was confirmed", "ended_at": 10.79,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "0/true", "goodbye_at": 10.78},
    ),
    "stopped before it was accepted": (
        [says(UNSUCCESSFUL, stopping=True)], {},
        "R 0",
        {"verdict": "cut_off", "why": "the run was stopped before the chat was accepted", "ended_at": 0.01},
    ),
    "stopped while it was accepted": (
        [opened(stopping=True), END], {},
        "R 0 D 0.01",
        {"verdict": "cut_off", "why": "the run was stopped", "ended_at": 0.02, "gap_lower_s": 0.0,
         "gap_upper_s": 0.02, "learned_by": "0/true", "goodbye_confirmed": True, "goodbye_at": 0.01},
    ),
    "stopped in a wait": (
        [opened(), OK, END], {"stop_at": 1.0},
        "R 0 G 0.01 D 1",
        {"verdict": "cut_off", "why": "the run was stopped", "ended_at": 1.01, "gap_lower_s": 0.98,
         "gap_upper_s": 1.0, "learned_by": "0/true", "goodbye_confirmed": True, "goodbye_at": 1.0},
    ),
    "stopped, and the server never confirms": (
        [opened(), OK], {"stop_at": 1.0},
        "R 0 G 0.01 D 1 G 1.01 G 1.02",
        {"verdict": "cut_off", "why": "the run was stopped", "ended_at": 1.03, "gap_lower_s": 0.98,
         "gap_upper_s": 1.0},
    ),
    "stopped, and the first Disconnect gets no answer": (
        [opened(), OK, says(TIMEOUT, took=1.0)], {"stop_at": 1.0},
        "R 0 G 0.01 D 1 D 2 G 2.01",
        {"verdict": "cut_off", "why": "the run was stopped", "ended_at": 2.02, "gap_lower_s": 0.99,
         "gap_upper_s": 2.0},
    ),
    "cut in a wait": (
        [opened(), OK], {"cut_at": 1.0},
        "R 0 G 0.01",
        {"verdict": "cut_off", "why": "the run was stopped before the chat could say goodbye", "ended_at":
         1.0, "gap_lower_s": 0.0, "gap_upper_s": 0.02},
    ),
    "cut in a request": (
        [opened(), OK, Answer(took=0.5)], {"cut_at": 4.5},
        "R 0 G 0.01 G 2.01 G 4.01",
        {"verdict": "cut_off", "why": "the run was stopped before the chat could say goodbye", "ended_at":
         4.5, "gap_lower_s": 1.99, "gap_upper_s": 2.5},
    ),
    "all refreshes unsuccessful, up to the customer's end": (
        [opened(), OK] + [says(CONNECTION, left=False)] * 80, {"script": replace(QUIET, chat_length=fixed(60.0))},
        "R 0 G 0.01 G 2.01 G 2.27 G 2.78 G 3.79 G 5.7 G 7.71 G 9.72 G 11.73 G 13.74 D 13.75",
        {"verdict": "gave_up", "why": "the retry budget was spent", "ended_at": 13.76, "gap_lower_s": 0.0,
         "gap_upper_s": 0.02},
    ),
    "no connection, up to the customer's end": (
        [opened(), OK] + [says(CONNECTION, left=False)] * 60, {},
        "R 0 G 0.01 G 2.01 G 2.27 G 2.78 G 3.79 G 5.7 G 7.71 G 9.72 G 10.01 D 10.02 D 10.28 D 10.79",
        {"verdict": "gave_up", "why": "Disconnect was never confirmed", "ended_at": 10.8, "gap_lower_s": 0.0,
         "gap_upper_s": 0.02},
    ),
    "Disconnect taken, the end shown later": (
        [opened(), *[OK] * 5, OK, OK, END], {},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 D 10.01 G 10.27 G 10.78",
        {"verdict": "completed", "why": "we disconnected and it was confirmed", "ended_at": 10.79,
         "gap_lower_s": 0.0, "gap_upper_s": 0.52, "learned_by": "0/true", "goodbye_confirmed": True,
         "goodbye_at": 10.01},
    ),
    "Disconnect unsuccessful, then taken": (
        [opened(), *[OK] * 5, says(UNSUCCESSFUL), says(UNSUCCESSFUL), END], {},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 D 10.01 D 10.27 D 10.78",
        {"verdict": "completed", "why": "we disconnected and it was confirmed", "ended_at": 10.79,
         "gap_lower_s": 1.99, "gap_upper_s": 2.78, "learned_by": "0/true", "goodbye_at": 10.78},
    ),
    "Disconnect without an answer, then taken": (
        [opened(), *[OK] * 5, says(TIMEOUT, took=1.0), says(ENDED, weleft())], {},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 D 10.01 D 11.26",
        {"verdict": "completed", "why": "we disconnected and it was confirmed", "ended_at": 11.27,
         "gap_lower_s": 1.99, "gap_upper_s": 3.26, "learned_by": "0/true", "goodbye_at": 11.26},
    ),
    "statusCode 2 to our Disconnect": (
        [opened(), *[OK] * 5, says(LOST)], {},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 D 10.01",
        {"verdict": "failed", "why": "statusCode 2 to our Disconnect, though every refresh was in time",
         "ended_at": 10.02, "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "2"},
    ),
    "our Disconnect, dated by the server": (
        [opened(JOINED), *[OK] * 5, says(ENDED, weleft(5010015))], {},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 D 10.01",
        {"verdict": "completed", "why": "we disconnected and it was confirmed", "ended_at": 10.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "0/true", "goodbye_confirmed": True,
         "end_silence_lower_s": 1.991, "end_silence_upper_s": 2.013, "goodbye_at": 10.01},
    ),
    "ended before our Disconnect by the server's clock": (
        [opened(JOINED), *[OK] * 5, says(ENDED, weleft(5009115))], {},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 D 10.01",
        {'verdict': 'dropped_unproven', 'why': "the server's timestamp puts the end before our Disconnect",
         'ended_at': 10.02, 'gap_lower_s': 1.99, 'gap_upper_s': 2.01, 'learned_by': '0/true',
         'end_silence_lower_s': 1.091, 'end_silence_upper_s': 1.113},
    ),
    "Disconnect never taken": (
        [opened(), *[OK] * 5] + [says(UNSUCCESSFUL)] * 80, {},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 D 10.01 D 10.27 D 10.78 D 11.79 D 13.7 D 15.71 D 17.72 D 19.73 D 21.74",
        {"verdict": "dropped_unproven", "why":
         "Disconnect was never confirmed; it may have been dropped by then", "ended_at": 21.75, "gap_lower_s":
         2.0075, "gap_upper_s": 13.74, "learned_by": "1/false"},
    ),
    "a Disconnect answered 0 without chatEnded is asked about once": (
        [opened(), *[OK] * 5, says(FINE, told=False), says(FINE, told=False)], {},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 D 10.01 G 10.27",
        {"verdict": "completed", "why": "we disconnected and it was confirmed", "ended_at": 10.28,
         "gap_lower_s": 0.0, "gap_upper_s": 0.01, "learned_by": "0/false", "goodbye_at": 10.01},
    ),
    "which is asked in vain": (
        [opened(), *[OK] * 5, says(FINE, told=False), says(UNSUCCESSFUL), says(UNSUCCESSFUL), says(UNSUCCESSFUL)], {},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 D 10.01 G 10.27 D 10.78 D 11.79 D 13.8",
        {"verdict": "gave_up", "why": "Disconnect was never confirmed", "ended_at": 13.81, "gap_lower_s": 2.0,
         "gap_upper_s": 3.8},
    ),
    "a server that never tells chatEnded, after a silence too long": (
        [opened(told=False), says(FINE, told=False), says(FINE, late=5.0, told=False), says(FINE, weleft(),
         told=False)], {},
        "R 0 G 0.01 G 2.01 G 8.01 G 8.02 G 8.03 G 8.04",
        {"verdict": "dropped_unproven", "why":
         "the server does not tell whether a chat has ended, and a silence was longer than the timeout",
         "ended_at": 8.02, "gap_lower_s": 0.0, "gap_upper_s": 0.01, "learned_by": "0/false"},
    ),
    "statusCode 2 from a server that let such a silence pass before": (
        [opened(), OK, Answer(late=5.0), OK, says(LOST, late=5.0)], {},
        "R 0 G 0.01 G 2.01 G 8.01 D 10.01",
        {"verdict": "dropped_unproven", "why": "the server has let a chat go on after such a silence",
         "ended_at": 15.02, "gap_lower_s": 6.99, "gap_upper_s": 7.01, "learned_by": "2", "generator_s": 5.0,
         "generator_suspect": True},
    ),
    "bounds that straddle the timeout for the generator's part": (
        [opened(), OK, says(LOST, late=3.995, took=0.02, stalled=0.01)], {},
        "R 0 G 0.01 G 2.01",
        {"verdict": "dropped_unproven", "why": "the bounds lie on both sides of the timeout", "ended_at": 6.025,
         "gap_lower_s": 5.985, "gap_upper_s": 6.015, "learned_by": "2", "generator_s": 4.005,
         "generator_suspect": True},
    ),
    "a gateway's error, then an end": (
        [opened(), OK, says(Outcome.HTTP_ERROR, gateway=True, detail="HTTP 503"), says(ENDED, weleft())], {},
        "R 0 G 0.01 G 2.01 G 2.27 G 2.28 G 2.29 G 2.3",
        {"verdict": "dropped_unproven", "why": "the transcript does not say how it ended", "ended_at": 2.28,
         "gap_lower_s": 1.99, "gap_upper_s": 2.27, "learned_by": "0/true"},
    ),
    "a message typed and sent": (
        [opened(), OK, OK, OK, OK], {"script": TALK},
        "R 0 G 0.01 StartTyping 0.51 StopTyping 0.77 SendMessage 0.78 G 2.01 "
        "G 4.01 G 6.01 G 8.01 D 10.01 G 10.27 G 10.78",
        {"verdict": "gave_up", "why": "Disconnect was never confirmed", "ended_at": 10.79, "gap_lower_s":
         1.99, "gap_upper_s": 2.01, "messages_sent": 1},
    ),
    "a message refused is sent again": (
        [opened(), OK, OK, OK, says(UNSUCCESSFUL), OK, OK], {"script": TALK},
        "R 0 G 0.01 StartTyping 0.51 StopTyping 0.77 SendMessage 0.78 G 1.04 SendMessage 1.05 "
        "G 2.01 G 4.01 G 6.01 G 8.01 D 10.01 G 10.27 G 10.78",
        {"verdict": "gave_up", "why": "Disconnect was never confirmed", "ended_at": 10.79, "gap_lower_s":
         1.99, "gap_upper_s": 2.01, "messages_sent": 1},
    ),
    "a message without an answer is not": (
        [opened(), OK, OK, OK, says(TIMEOUT, took=1.0), OK, OK], {"script": TALK},
        "R 0 G 0.01 StartTyping 0.51 StopTyping 0.77 SendMessage 0.78 G 2.03 "
        "G 4.01 G 6.01 G 8.01 D 10.01 G 10.27 G 10.78",
        {"verdict": "dropped_unproven", "why":
         "Disconnect was never confirmed; it may have been dropped by then", "ended_at": 10.79, "gap_lower_s":
         0.0, "gap_upper_s": 0.01, "learned_by": "0/false"},
    ),
    "a message answered 0/true": (
        [opened(JOINED), OK, OK, OK, says(ENDED), says(ENDED, weleft())], {"script": TALK},
        "R 0 G 0.01 StartTyping 0.51 StopTyping 0.77 SendMessage 0.78 G 0.79",
        {"verdict": "dropped_early", "why": "ended though every refresh was in time", "ended_at": 0.79,
         "gap_lower_s": 0.0, "gap_upper_s": 0.02, "learned_by": "0/true"},
    ),
    "each request puts the refresh off": (
        [opened(), OK, OK, OK], {"settings": policy("fraction", 6.0, script=TALK)},
        "R 0 StartTyping 0.51 StopTyping 0.77 SendMessage 0.78 G 3.78 G 6.78 G 9.78 D 10.01 G 10.27 G 10.78",
        {"verdict": "gave_up", "why": "Disconnect was never confirmed", "ended_at": 10.79, "gap_lower_s":
         2.99, "gap_upper_s": 3.01, "messages_sent": 1},
    ),
    "stopped before an action that ends the chat": (
        [opened(), OK, END], {"script": TALK, "stop_at": 0.3},
        "R 0 G 0.01 StartTyping 0.3 G 0.31 G 0.32 G 0.33",
        {"verdict": "dropped_unproven", "why": "the transcript does not say how it ended", "ended_at": 0.31,
         "gap_lower_s": 0.28, "gap_upper_s": 0.3, "learned_by": "0/true"},
    ),
    "the widget polls on after statusCode 2, and the verdict is that of then": (
        [opened(), OK, says(LOST), says(LOST)] + [says(LOST)] * 4, {"widget": True},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 D 10.01",
        {"verdict": "failed", "why": "statusCode 2 though every refresh was in time", "ended_at": 2.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "2"},
    ),
    "the widget learns after it that the chat has ended": (
        [opened(), OK, says(LOST), END], {"widget": True},
        "R 0 G 0.01 G 2.01 G 4.01",
        {"verdict": "failed", "why": "statusCode 2 though every refresh was in time", "ended_at": 2.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "2"},
    ),
    "the widget's chat goes on after a statusCode 2": (
        [opened(), OK, says(LOST), says(FINE), OK, END], {"widget": True},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01",
        {"verdict": "dropped_unproven", "why": "the transcript does not say how it ended", "ended_at": 8.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "0/true"},
    ),
    "the widget's Disconnect succeeds after a statusCode 2 was taken back": (
        [opened(), OK, OK, OK, says(LOST), OK, END], {"widget": True},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 D 10.01",
        {"verdict": "completed", "why": "we disconnected and it was confirmed", "ended_at": 10.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "0/true", "goodbye_at": 10.01},
    ),
    "the widget says that the server is offline": (
        [opened(), OK] + [says(UNSUCCESSFUL)] * 8 + [END], {"widget": True, "script": replace(QUIET,
         chat_length=fixed(30.0))},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 G 10.01 G 12.01 G 14.01 G 16.01 G 18.01",
        {"verdict": "dropped_unproven", "why": "the bounds lie on both sides of the timeout", "ended_at": 18.02,
         "gap_lower_s": 1.998889, "gap_upper_s": 18.01, "learned_by": "0/true"},
    ),
    "the widget's Disconnect is said once": (
        [opened(), OK, OK, OK, OK, says(TIMEOUT, took=1.0)], {"widget": True},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 D 10.01",
        {"verdict": "dropped_unproven", "why":
         "Disconnect was never confirmed; it may have been dropped by then", "ended_at": 10.02, "gap_lower_s":
         0.0, "gap_upper_s": 0.01, "learned_by": "0/false"},
    ),
    "the widget asks nothing before its Disconnect": (
        [opened(), OK, OK, OK, Answer(late=9.0), END], {"widget": True},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 D 15.02",
        {"verdict": "completed", "why": "we disconnected and it was confirmed", "ended_at": 15.03,
         "gap_lower_s": 0.0, "gap_upper_s": 0.02, "learned_by": "0/true", "goodbye_at": 15.02},
    ),
    "held polls: a gap ends when the poll leaves or its event is written": (
        [opened(JOINED), Answer(took=3.0), says(FINE, event(3, "Message", "Agent", "2", 5004503), took=2.0),
         OK], {"long_poll_s": 5.0},
        "R 0 G 0.01 G 4.01 G 6.01 G 8.01 D 10.01 G 10.27 G 10.78",
        {"verdict": "gave_up", "why": "Disconnect was never confirmed", "ended_at": 10.79, "gap_lower_s": 1.0,
         "gap_upper_s": 4.0, "messages_received": 1},
    ),
    "a held poll without an answer": (
        [opened(JOINED), Answer(took=3.0), says(TIMEOUT, took=6.0), Answer(took=3.0)], {"long_poll_s": 5.0,
         "timeout": 9.0, "script": replace(QUIET, chat_length=fixed(30.0))},
        "R 0 G 0.01 G 3.01 G 9.26 G 15.01 G 18.01 G 21.01 G 24.01 G 27.01 D 30.01 G 30.27 G 30.78",
        {"verdict": "dropped_unproven", "why":
         "Disconnect was never confirmed; it may have been dropped by then", "ended_at": 30.79, "gap_lower_s":
         0.0, "gap_upper_s": 0.01, "learned_by": "0/false"},
    ),
    "a held poll sent twice": (
        [opened(JOINED), Answer(took=3.0), Answer(took=2.0, resent=True), says(LOST)], {"long_poll_s": 5.0},
        "R 0 G 0.01 G 4.01 G 6.01",
        {"verdict": "failed", "why": "statusCode 2 though every refresh was in time", "ended_at": 6.02,
         "gap_lower_s": 0.0, "gap_upper_s": 2.01, "learned_by": "2"},
    ),
    "8209 in an answer that later ones take back": (
        [opened(), OK, says(FINE, told=False, late=5.0), says(ENDED, **INACTIVE)], {},
        "R 0 G 0.01 G 2.01 G 8.01 G 8.02 G 8.03 G 8.04",
        {"verdict": "dropped_unproven", "why":
         "the server does not tell whether a chat has ended, and a silence was longer than the timeout",
         "ended_at": 8.02, "gap_lower_s": 0.99, "gap_upper_s": 1.01, "learned_by": "0/true", "end_evidence":
         "error 8209"},
    ),
    "8209 after an answer that may have been of an ended chat": (
        [opened(), OK, says(FINE, told=False, late=5.0), says(ENDED, **INACTIVE), END, END, END], {},
        "R 0 G 0.01 G 2.01 G 8.01 G 8.02 G 8.03 G 8.04",
        {"verdict": "dropped_late", "blame": "generator",
         "why": "the server removed us for inactivity (error 8209)", "ended_at": 8.02, "gap_lower_s": 0.99,
         "gap_upper_s": 1.01, "learned_by": "0/true", "generator_suspect": True,
         "end_evidence": "error 8209"},
    ),
    "8209 after an untold answer that came late": (
        [opened(), OK, says(FINE, told=False, took=5.0), says(ENDED, late=1.0, **INACTIVE), END, END, END], {},
        "R 0 G 0.01 G 2.01 G 8.01 G 9.02 G 9.03 G 9.04",
        {"verdict": "dropped_late", "blame": "generator",
         "why": "the server removed us for inactivity (error 8209)", "ended_at": 9.02, "gap_lower_s": 2.0,
         "gap_upper_s": 7.01, "learned_by": "0/true", "generator_s": 1.0, "generator_suspect": True,
         "end_evidence": "error 8209"},
    ),
    "0 without chatEnded, in time up to the last": (
        [opened(), OK, says(FINE, told=False), says(FINE, told=False, late=4.0), says(FINE, told=False),
         says(FINE, weleft(), told=False)], {},
        "R 0 G 0.01 G 2.01 G 4.01 D 10.01 G 10.27",
        {"verdict": "dropped_unproven", "why":
         "the server does not tell whether a chat has ended, and a silence was longer than the timeout",
         "ended_at": 10.28, "gap_lower_s": 0.0, "gap_upper_s": 0.01, "learned_by": "0/false"},
    ),
    "the server ends it early by its own clock": (
        [opened(JOINED), OK, says(ENDED, weleft(5001013), alias="a1")], {},
        "R 0 G 0.01 G 2.01",
        {"verdict": "dropped_early", "why": "ended though every refresh was in time", "ended_at": 2.02,
         "gap_lower_s": 1.99, "gap_upper_s": 2.01, "learned_by": "0/true", "end_silence_lower_s": 0.989,
         "end_silence_upper_s": 1.011},
    ),
    "one connection in the end, for the Disconnect": (
        [opened(), OK] + [says(CONNECTION, left=False)] * 9 + [OK] * 10, {"script": replace(QUIET,
         chat_length=fixed(60.0))},
        "R 0 G 0.01 G 2.01 G 2.27 G 2.78 G 3.79 G 5.7 G 7.71 G 9.72 G 11.73 G 13.74 D 13.75",
        {"verdict": "gave_up", "why": "the retry budget was spent", "ended_at": 13.76, "gap_lower_s": 13.73,
         "gap_upper_s": 13.75},
    ),
    "the retry budget is spent": (
        [opened(), OK] + [says(UNSUCCESSFUL)] * 80, {"script": replace(QUIET, chat_length=fixed(60.0))},
        "R 0 G 0.01 G 2.01 G 2.27 G 2.78 G 3.79 G 5.7 G 7.71 G 9.72 G 11.73 G 13.74 D 13.75",
        {"verdict": "dropped_unproven", "why": "the retry budget was spent; it may have been dropped by then",
         "ended_at": 13.76, "gap_lower_s": 2.0075, "gap_upper_s": 13.75, "learned_by": "1/false"},
    ),
    "stopped while a refresh leaves late": (
        [opened(), OK, Answer(late=4.0), OK, END], {"stop_at": 2.5},
        "R 0 G 0.01 G 2.01 D 6.02 G 6.03",
        {"verdict": "cut_off", "why": "the run was stopped", "ended_at": 6.04, "gap_lower_s": 0.0,
         "gap_upper_s": 0.02, "learned_by": "0/true", "goodbye_confirmed": True, "goodbye_at": 6.02},
    ),
    "a goodbye after a silence too long asks before": (
        [opened(JOINED), OK, END, says(ENDED, weleft(5006015))], {"settings": policy("fixed", 6.0, 30.0, None, True)},
        "R 0 G 0.01 G 10.01 G 10.02",
        {"verdict": "dropped_late", "blame": "plan", "why": "the silence was longer than the timeout",
         "ended_at": 10.02, "gap_lower_s": 9.99, "gap_upper_s": 10.01, "learned_by": "0/true",
         "end_silence_lower_s": 5.991, "end_silence_upper_s": 6.013},
    ),
    "and disconnects where the chat goes on": (
        [opened(JOINED), OK, OK, END], {"settings": policy("fixed", 6.0, 30.0, None, True)},
        "R 0 G 0.01 G 10.01 D 10.02",
        {"verdict": "completed", "why": "we disconnected and it was confirmed", "ended_at": 10.03,
         "gap_lower_s": 0.0, "gap_upper_s": 0.02, "learned_by": "0/true", "goodbye_at": 10.02},
    ),
    "and so where the run is stopped": (
        [opened(JOINED), OK, OK, END], {"settings": policy("fixed", 6.0, 30.0, None, True), "stop_at": 8.0},
        "R 0 G 0.01 G 8 D 8.01",
        {"verdict": "cut_off", "why": "the run was stopped", "ended_at": 8.02, "gap_lower_s": 0.0,
         "gap_upper_s": 0.02, "learned_by": "0/true", "goodbye_confirmed": True, "goodbye_at": 8.01},
    ),
    "statusCode 2 after a Disconnect that was taken": (
        [opened(JOINED), *[OK] * 5, OK, says(LOST)], {},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 D 10.01 G 10.27",
        {"verdict": "completed", "why": "we disconnected and it was confirmed", "ended_at": 10.28,
         "gap_lower_s": 0.0, "gap_upper_s": 0.27, "learned_by": "2", "goodbye_confirmed": True, "goodbye_at":
         10.01},
    ),
    "the Disconnect that was taken is the second": (
        [opened(JOINED), *[OK] * 5, says(CONNECTION, left=False), OK, END], {},
        "R 0 G 0.01 G 2.01 G 4.01 G 6.01 G 8.01 D 10.01 D 10.27 G 10.78",
        {"verdict": "completed", "why": "we disconnected and it was confirmed", "ended_at": 10.79,
         "gap_lower_s": 0.0, "gap_upper_s": 0.52, "learned_by": "0/true", "goodbye_confirmed": True,
         "goodbye_at": 10.27},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("answers", "options", "asked", "kept"), CASES.values(), ids=CASES)
def test_what_is_sent_and_what_is_kept(answers, options, asked, kept):
    placed = hold(*answers, **options)
    short = {"RequestChat": "R", "GetMessages": "G", "Disconnect": "D"}
    assert " ".join(f"{short.get(operation, operation)} {at:g}" for at, operation, _ in placed.asked) == asked
    counted = {"contacts", "requests", "failures", "polls", "lateness_max_s"}  # by `check_books`
    own = {"started_at": 0.0, "chat_id": placed.record.chat_id}
    assert {name: value for name, value in placed.kept.items() if name not in counted | own.keys()} == kept
    assert placed.record.started_at == T


def test_keys_are_the_newest_and_a_replaced_secure_key_is_counted():
    placed = hold(
        opened(), says(FINE, secure_key="k2", user_id="u2"), says(FINE, secure_key="k2", alias="a2"), says(FINE)
    )  # fmt: skip
    keys = [{name: e.fields[name] for name in ("secure_key", "user_id", "alias")} for e in placed.sends[1:5]]
    assert keys == [
        {"secure_key": "k1", "user_id": "u1", "alias": "a1"},
        {"secure_key": "k2", "user_id": "u2", "alias": "a1"},
        {"secure_key": "k2", "user_id": "u2", "alias": "a2"},
        {"secure_key": "k2", "user_id": "u2", "alias": "a2"},
    ]
    assert placed.books.rotations == 1


@pytest.mark.parametrize(
    ("answers", "options", "states"),
    [
        ([opened(), OK, END], {}, "opening held held"),
        ([says(UNSUCCESSFUL), opened(), OK], {"stop_at": 1.0}, "opening opening held leaving leaving leaving"),
        ([opened(), OK, says(UNSUCCESSFUL), OK, END], {}, "opening held held retrying held"),
        ([opened(), OK, says(LOST, still_open=True)], {}, "opening held held leaving"),
        ([opened(), says(UNSUCCESSFUL)], {"stop_at": 0.0}, "opening leaving leaving leaving"),
        ([opened(), OK, END], {"widget": True, "stop_at": 1.0}, "opening held leaving"),
    ],
)
def test_the_state_that_a_chat_is_in_when_it_asks(answers, options, states):
    assert " ".join(hold(*answers, **options).states[: len(states.split())]) == states


def test_a_refresh_is_due_a_part_of_the_timeout_after_the_contact_and_of_a_held_one_after_its_release():
    settings = replace(policy("fraction", 6.0), long_poll_s=5.0)
    answers = [opened(JOINED), Answer(took=2.0), says(FINE, event(3, "Message", "Agent", "2", 5_006_510), took=2.0), OK]
    # Polls leave 3 s after the contact before; the message was written 6.506 s after the opening at the earliest.
    assert hold(*answers, settings=settings).operations[:4] == [
        (0.0, "RequestChat"), (3.0, "GetMessages"), (6.0, "GetMessages"), (9.506, "GetMessages"),
    ]  # fmt: skip
    assert hold(*answers, settings=policy("fraction", 6.0)).operations[3] == (9.0, "GetMessages")


def test_a_request_may_take_its_time_and_a_refresh_also_that_of_its_hold():
    placed = hold(opened(), OK, END, long_poll_s=5.0)
    assert [(e.operation, e.timeout_s) for e in placed.sends[:2]] == [("RequestChat", 1.0), ("GetMessages", 6.0)]
    placed = hold(opened(), *[OK] * 5, END)
    assert {e.timeout_s for e in placed.sends} == {1.0}


@pytest.mark.parametrize(
    ("answer", "outlived"),
    [
        (Answer(late=5.0), True),
        (Answer(late=3.9), False),
        (Answer(late=4.015), True),
        (Answer(late=4.005), False),  # it may have come within 6 s of the contact before
        (says(FINE, late=5.0, told=False), False),
        (Answer(late=5.0, resent=True), False),
        (says(UNSUCCESSFUL, late=5.0), False),
        (says(FINE, took=5.0), False),
    ],
)
def test_a_server_that_answers_after_a_silence_too_long_is_remembered(answer, outlived):
    server = hold(opened(), OK, answer).session.settings.server
    assert (server.outlived_timeout, server.lost_in_time) == (outlived, False)


def test_a_server_that_loses_a_chat_in_time_is_remembered():
    server = hold(opened(), OK, says(LOST)).session.settings.server
    assert (server.outlived_timeout, server.lost_in_time) == (False, True)


@pytest.mark.parametrize(
    ("answers", "tells"),
    [
        ([END, says(ENDED, weleft(5006015))], True),
        ([END, says(ENDED, weleft(5009015))], False),  # ended after the deadline: not surely by its silence
        ([says(LOST)], False),
    ],
)
def test_a_server_that_answers_0_true_to_a_chat_dropped_for_silence_is_remembered(answers, tells):
    settings = policy("fixed", 6.0, 30.0, None, True)
    server = hold(opened(JOINED), OK, *answers, settings=settings).session.settings.server
    assert server.tells_silent_ends == tells


def test_what_was_seen_of_a_server_is_not_taken_to_the_next_run():
    settings = policy("fixed", 6.0)
    settings = replace(settings, arms=(replace(settings, group="1"),))
    hold(opened(), OK, Answer(late=5.0), settings=settings)
    anew = settings.for_a_run()
    assert settings.server.outlived_timeout and not anew.server.outlived_timeout
    assert [arm.group for arm in anew.arms] == ["1"] and anew.arms[0].server is not settings.arms[0].server


@pytest.mark.parametrize(
    ("answers", "severity", "shares"),
    [
        ([OK, says(LOST, late=7.0)], 2.99, {"planned": 1.99, "generator": 7.0}),
        ([OK, says(TIMEOUT, took=7.0), says(LOST)], 3.26, {"planned": 1.99, "server": 7.25}),
        ([OK, says(CONNECTION, left=False, took=7.0), says(LOST)], 3.26, {"planned": 1.99, "network": 7.25}),
        ([OK, says(UNSUCCESSFUL, took=7.0), says(LOST)], 3.26, {"planned": 1.99, "retries": 7.25}),
        ([OK, says(LOST, connect=7.0, stalled=2.0)], 2.99, {"planned": 1.99, "generator": 2.0, "network": 5.0}),
        ([OK, says(CONNECTION, left=False, took=7.0, detail=Detail.EXHAUSTED), says(LOST)], 3.24,
         {"planned": 1.99, "generator": 7.25}),
        ([OK, says(ENDED)], -3.99, {"planned": 1.99}),
        ([OK, says(LOST)], 0.0, {"planned": 1.99}),
    ],
)  # fmt: skip
def test_the_last_contacts_of_a_bad_end_and_what_the_silence_went_into(answers, severity, shares):
    placed = hold(opened(), *answers)
    timeline = placed.session.timeline()
    assert (timeline.chat_id, timeline.verdict, timeline.timeout_s) == ("c1", placed.record.verdict, 6.0)
    assert (timeline.blame, timeline.why) == (placed.record.blame, placed.record.why)
    assert timeline.severity_s == pytest.approx(severity)
    assert (timeline.sure_sent - T, timeline.sure_received - T) == pytest.approx((0.01, 0.02))
    assert {name: s for name, s in timeline.shares.items() if s} == pytest.approx(shares)
    seen = [(c.operation, c.due, c.sent, c.received, c.outcome) for c in timeline.contacts]
    asked = zip(placed.sends, placed.exchanges, strict=True)
    assert seen == [(s.operation, s.due, e.sent_at, e.received_at, e.reply.outcome) for s, (_, e) in asked]
    later = placed.session.timeline(1000.0)
    moved = (timeline.sure_sent + 1000.0, timeline.sure_received + 1000.0)
    assert ((later.sure_sent, later.sure_received), later.timeout_s, later.severity_s, later.shares) == (
        moved, timeline.timeout_s, timeline.severity_s, timeline.shares,
    )  # fmt: skip


@pytest.mark.parametrize("answers", [[opened(), *[OK] * 5, END], [says(TIMEOUT, took=1.0)]])
def test_a_chat_that_ended_well_or_never_began_has_no_timeline(answers):
    assert hold(*answers).session.timeline() is None


ANSWERS = st.builds(
    says,
    st.sampled_from([*[FINE] * 6, UNSUCCESSFUL, TIMEOUT, CONNECTION, Outcome.HTTP_ERROR, ENDED, LOST]),
    took=st.sampled_from([0.01, 0.5, 3.0]),
    late=st.sampled_from([0.0, 0.0, 0.02, 1.5, 5.0]),
    connect=st.sampled_from([0.0, 0.0, 0.25]),
    stalled=st.sampled_from([0.0, 0.0, 0.125]),
    gateway=st.booleans(),
    resent=st.sampled_from([False, False, True]),
    told=st.sampled_from([True, True, False]),
)


@given(
    st.lists(ANSWERS, max_size=12), st.sampled_from([0.0, 2.0]), st.booleans(), st.sampled_from([None, 3.0, 7.25]),
    st.sampled_from([float("inf"), 5.0]),
)  # fmt: skip
def test_whatever_is_answered_everything_is_counted_once(answers, held_s, widget, cut_at, stop_at):
    hold(opened(), *answers, long_poll_s=held_s, widget=widget, cut_at=cut_at, stop_at=stop_at, script=TALK)
