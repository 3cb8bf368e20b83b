"""Whether the host of a campaign can be reached: real sockets on loopback."""

import socket
from contextlib import closing

import pytest

from chatload.features.campaign.host_watch import HostWatch
from chatload.target import is_private


@pytest.fixture
def listener():
    with closing(socket.create_server(("127.0.0.1", 0))) as opened:
        yield opened


def watch(opened, admits=is_private):
    paused = []
    return HostWatch(f"http://127.0.0.1:{opened.getsockname()[1]}", admits, paused.append), paused


def test_a_host_that_is_up(listener):
    host, paused = watch(listener)
    assert host.trouble() == "" and all(host.is_up() for _ in range(5)) and not paused


def test_a_host_that_refuses_three_times_in_a_row_is_down(listener):
    host, paused = watch(listener)
    listener.close()
    assert [host.is_up() for _ in range(4)] == [True, True, False, False]
    assert host.trouble() == "connection refused" and len(paused) == 2


def test_a_host_that_is_too_slow_to_accept_is_not_down_while_a_step_runs(listener, monkeypatch):
    def slow(*_):
        raise TimeoutError

    host, _ = watch(listener)
    monkeypatch.setattr(socket, "create_connection", slow)
    assert all(host.is_up() for _ in range(5))
    # Without load it has no reason to be slow.
    assert host.trouble() == "no answer within 5 s"


def test_an_address_whose_owner_did_not_agree_is_not_connected_to(listener, monkeypatch):
    host, _ = watch(listener, admits=lambda address: False)
    monkeypatch.setattr(socket, "create_connection", None)
    assert host.trouble() == "127.0.0.1 is not an address that its owner agreed on"
    assert HostWatch("http://nowhere.invalid", is_private, lambda _: None).trouble() == "name not resolved"
