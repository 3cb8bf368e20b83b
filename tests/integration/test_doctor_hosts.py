"""What `chatload doctor` makes of hosts that do not answer whole, or not at once."""

import json
import time

import pytest

from chatload.features.doctor import host
from chatload.protocol.dialect import load_dialect
from tests.integration.rawserver import RawServer, answering, once

BODY = json.dumps({"statusCode": 1, "chatEnded": False, "messages": []}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"


def examined(script):
    with RawServer(script) as server:
        return host.examine(server.url, load_dialect("gms-v2"), "default")


def test_interim_answers_are_passed_over():
    assert examined(answering(HINTS + ANSWER)).outcome == "1/false"


@pytest.mark.parametrize("answer", [ANSWER[:-1], ANSWER.replace(b"Length: ", b"Length: 9")])
def test_an_answer_that_is_cut_short(answer):
    facts = examined(once(answer))
    assert (facts.outcome, facts.detail) == ("connection", "answer cut short")


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\n\r\n", ANSWER.replace(b"Length: ", b"Length: 9")])
def test_a_trickle_ends_at_the_deadline_of_the_request(monkeypatch, before):
    def trickle(peer, _):
        peer.read()
        peer.send(before)
        while peer.send(b" "):
            time.sleep(0.02)

    monkeypatch.setattr(host, "TIMEOUT_S", 0.5)
    facts = examined(trickle)
    assert (facts.outcome, facts.detail) == ("timeout", "timeout waiting for the answer")
