"""What `chatload doctor` makes of hosts that do not answer whole, or not at once."""

import json
import time
from urllib.request import urlopen

import pytest

from chatload import Simulator
from chatload.features.doctor import host
from chatload.protocol.dialect import load_dialect
from tests.integration.processes import chatload_here
from tests.integration.rawserver import RawServer, answering, once
from tests.unit.test_dialect import GMS

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


def test_a_login_is_a_header_of_the_dialect(tmp_path, monkeypatch):
    """As docs/running.md shows it: the commands that have no hooks name it, and take it."""
    dialect = tmp_path / "mine.toml"
    dialect.write_text(GMS.replace("[request.headers]", '[request.headers]\nAuthorization = { env = "CHAT_LOGIN" }'))
    with Simulator("--token-life", 60, "--flex-disconnect-timeout", 1) as server:
        where = ("--host", server.url)
        doctor = chatload_here("doctor", *where, "--json")
        (chat,) = (row for row in json.loads(doctor.stdout)["checks"] if row["name"] == "chat")
        assert chat["state"] == "bad" and "a header of --dialect (docs/running.md)" in chat["change"]
        refused = chatload_here("probe", *where)
        assert refused.returncode == 2 and "a header of --dialect" in refused.stderr and "hook" not in refused.stderr
        with urlopen(f"{server.url}/simulator/token", b"grant_type=client_credentials") as answer:
            monkeypatch.setenv("CHAT_LOGIN", f"Bearer {json.load(answer)['access_token']}")
        doctor = chatload_here("doctor", *where, "--json", "--dialect", dialect)
        (chat,) = (row for row in json.loads(doctor.stdout)["checks"] if row["name"] == "chat")
        assert chat["state"] == "ok", chat
        limits = ("--sessions", 20, "--longest", 1.5, "--time-allowed", 3)
        assert chatload_here("probe", *where, "--dialect", dialect, *limits).returncode in (0, 4)
