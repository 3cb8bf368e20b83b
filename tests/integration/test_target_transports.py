"""A name that leads elsewhere than was agreed to is not followed, whatever it led to when it was checked."""

import socket
import threading

import pytest

from chatload.protocol.wire import Detail, WireRequest
from chatload.target import anywhere
from chatload.transport import Endpoint, make_factory
from chatload.transport.endpoint import NAME_TTL_S
from tests.integration.rawserver import stop_listening

REQUEST = WireRequest("POST", "/", (), b"x=1")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


@pytest.fixture
def server():
    """A server on loopback; gives its address and what every connection has sent it."""
    listener, heard = socket.create_server(("127.0.0.1", 0)), []

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(5)
                heard.append(client.recv(65536))
                if heard[-1]:
                    client.sendall(ANSWER)

    threading.Thread(target=serve, daemon=True).start()
    yield f"127.0.0.1:{listener.getsockname()[1]}", heard
    stop_listening(listener)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", ["lean", "requests"])
def test_nothing_is_sent_to_an_address_that_is_not_admitted(kind, scheme, server):
    address, heard = server
    endpoint = Endpoint(f"{scheme}://{address}", admits=lambda address: address != "127.0.0.1")
    transport = make_factory(kind, endpoint)()
    result = transport.call(REQUEST, 5.0)
    transport.close()
    assert (result.failure, result.detail, result.sent_at) == ("connection", Detail.NOT_AGREED, None)
    assert b"".join(heard) == b""


@pytest.mark.parametrize("kind", ["lean", "requests"])
def test_every_new_connection_is_judged_anew(kind, server):
    address, heard = server
    now = [0.0]
    endpoint = Endpoint(f"http://{address}", clock=lambda: now[0], admits=anywhere)
    transport = make_factory(kind, endpoint)()
    assert transport.call(REQUEST, 5.0).http_status == 200
    endpoint.admits = lambda _: False  # the record has changed, and now leads to somebody else
    now[0] += NAME_TTL_S
    assert transport.call(REQUEST, 5.0).detail == Detail.NOT_AGREED
    transport.close()
    assert [bool(said) for said in heard if said] == [True]


def test_by_default_only_ones_own_addresses_are_admitted():
    endpoint = Endpoint("http://203.0.113.77:9")
    for kind in ("lean", "requests"):
        assert make_factory(kind, endpoint)().call(REQUEST, 1.0).sent_at is None
    assert make_factory("lean", endpoint)().call(REQUEST, 1.0).detail == Detail.NOT_AGREED
