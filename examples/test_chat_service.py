"""A pytest that uses the simulator as its chat service.

    python -m pytest examples/test_chat_service.py

Test a widget, a bot or a client library in this way.
"""

import json
import urllib.parse
import urllib.request

import pytest

from chatload import Simulator


@pytest.fixture
def simulator():
    with Simulator("--flex-disconnect-timeout", 45) as running:
        yield running


def post(url, **fields):
    with urllib.request.urlopen(url, urllib.parse.urlencode(fields).encode()) as answer:
        return json.load(answer)


def test_a_chat_ends_with_disconnect(simulator):
    chats = f"{simulator.url}/genesys/2/chat/default"
    opened = post(chats, nickname="Ann", subject="Invoices")
    assert opened["statusCode"] == 0
    keys = {"userId": opened["userId"], "secureKey": opened["secureKey"], "alias": opened["alias"]}
    ended = post(f"{chats}/{opened['chatId']}/disconnect", **keys)
    assert (ended["statusCode"], ended["chatEnded"]) == (0, True)
    (chat,) = simulator.chats()
    assert chat["end_reason"] == "disconnected"
