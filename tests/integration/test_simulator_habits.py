"""Habits of real servers over real sockets: restarts, lost and repeated requests, stamps and fields as told."""

import time

import pytest

from tests.integration.processes import ledger_of
from tests.integration.wire import BASE, Wire, opened, started


def faults(tmp_path, text):
    path = tmp_path / "faults.toml"
    path.write_text(text)
    return path


def until(happens, within_s=20.0):
    """The first true value of `happens()`, asked again and again."""
    give_up = time.monotonic() + within_s
    while not (value := happens()):
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return value


def refuses(url):
    try:
        Wire(url).ask("/simulator/status", method="GET")
    except ConnectionRefusedError:
        return True
    except ConnectionError:
        return False
    return False


def test_a_restart_refuses_connections_and_comes_back_without_its_chats_on_the_same_port(tmp_path):
    file = faults(tmp_path, '[[fault]]\nkind = "restart"\nfrom_s = 0.5\nuntil_s = 1.2\n')
    with started("--faults", file, "--no-agents") as (process, url):
        wire, chat, keys, first = opened(url)
        assert wire.chat(f"{chat}/refresh", **keys)["statusCode"] == 0
        until(lambda: refuses(url))
        with pytest.raises(ConnectionError):
            wire.chat(f"{chat}/refresh", **keys)
        until(lambda: not refuses(url))
        assert Wire(url).chat(f"{chat}/refresh", **keys)["statusCode"] == 2
        assert opened(url)[3]["statusCode"] == 0
        lost, living = ledger_of(url)
        assert process.poll() is None
    assert (lost["chat_id"], lost["end_reason"], living["end_reason"]) == (first["chatId"], "restarted", None)
    assert lost["ended_at"] - lost["started_at"] == pytest.approx(0.5)


def test_a_lost_request_holds_the_connection_until_its_client_gives_up(tmp_path):
    file = faults(tmp_path, '[[fault]]\nkind = "lost"\noperations = ["SendMessage"]\n')
    with started("--faults", file, "--no-agents") as (_, url):
        wire, chat, keys, _ = opened(url)
        wire.connection.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            wire.chat(f"{chat}/send", **keys, message="hello")
        wire.connection.close()
        assert Wire(url).chat(f"{chat}/refresh", **keys)["statusCode"] == 0
        (row,) = ledger_of(url)
    assert [operation for _, operation in row["contacts"]] == ["RequestChat", "GetMessages"]


def test_a_repeated_request_is_processed_twice_though_nobody_asks_again(tmp_path):
    file = faults(tmp_path, '[[fault]]\nkind = "duplicate"\ndelay_s = 0.1\noperations = ["SendMessage"]\n')
    with started("--faults", file, "--no-agents") as (_, url):
        wire, chat, keys, _ = opened(url)
        assert wire.chat(f"{chat}/send", **keys, message="hello")["statusCode"] == 0
        row = until(lambda: next((row for row in ledger_of(url) if len(row["contacts"]) > 2), None))
    first, again = [at for at, operation in row["contacts"] if operation == "SendMessage"]
    assert again - first == pytest.approx(0.1)


def test_options_change_stamps_and_fields():
    options = ("--utc-resolution", "1", "--answer-fields", "null", "--chat-ended-told", "true")
    with started(*options, "--disconnect-answer", "bare", "--no-agents") as (_, url):
        wire, chat, keys, first = opened(url)
        assert first["messages"][0]["utcTime"] % 1000 == 0 and first["chatEnded"] is None
        assert wire.chat(f"{chat}/refresh", **keys, transcriptPosition=2) == {
            "statusCode": 0, "chatEnded": None, "messages": None, "nextPosition": None,
            "alias": None, "userId": None, "secureKey": None,
        }  # fmt: skip
        assert wire.chat(f"{chat}/disconnect", **keys) == {"statusCode": 0}


def test_a_clock_that_steps_back_is_told_by_an_option_below_zero():
    with started("--clock-step", "-3600", "--no-agents") as (_, url):
        told = Wire(url).chat(BASE, nickname="Ann")["messages"][0]["utcTime"]
    assert told / 1000 == pytest.approx(time.time() - 3600, abs=60)
