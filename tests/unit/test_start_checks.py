"""What is refused before Locust opens ports: with real ports of this machine."""

import socket
from argparse import Namespace

import pytest

from chatload.errors import UsageError
from chatload.swarm.options import check

QUIET = {
    "exit_code_on_error": 1, "worker": False, "master": False, "processes": None, "headless": True, "headful": False,
    "master_bind_host": "*", "master_bind_port": 0, "web_host": "127.0.0.1", "web_port": 0,
}  # fmt: skip


@pytest.fixture
def taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def refusal(**options):
    with pytest.raises(UsageError) as error:
        check(Namespace(**{**QUIET, **options}))
    return str(error.value)


@pytest.mark.parametrize("more", [{"master": True}, {"processes": 2}])
@pytest.mark.parametrize("host", ["*", "127.0.0.1", "localhost"])
def test_a_master_port_that_is_taken(taken, more, host):
    told = refusal(**more, master_bind_host=host, master_bind_port=taken)
    assert told.startswith(f"--master-bind-port {taken}") and "address already in use; give this run its own" in told


@pytest.mark.parametrize("more", [{"headless": False}, {"headful": True}])
def test_a_port_of_the_web_ui_that_is_taken(taken, more):
    told = refusal(**more, web_port=taken)
    assert told.startswith(f"--web-port {taken} of 127.0.0.1 cannot be listened on: address already in use")
    assert "--web-port N" in told


def test_an_address_that_is_not_this_machines():
    assert "cannot assign requested address" in refusal(master=True, master_bind_host="192.0.2.1")
    assert refusal(master=True, master_bind_host="no-such-host.invalid").startswith(
        "--master-bind-host no-such-host.invalid: name not resolved"
    )


def test_ports_that_will_not_be_opened_are_not_looked_at(taken):
    for more in ({}, {"worker": True, "headless": False, "processes": 2}):
        check(Namespace(**{**QUIET, "master_bind_port": taken, "web_port": taken, **more}))
    check(Namespace(**{**QUIET, "master": True, "headless": False}))


@pytest.mark.parametrize("code", [2, 3, -1])
def test_an_exit_code_of_ones_own_is_refused_with_the_codes_there_are(code):
    told = refusal(exit_code_on_error=code)
    assert told.startswith(f"--exit-code-on-error {code} cannot be obeyed") and "1 a threshold failed" in told


def test_exit_codes_that_change_nothing_are_taken():
    for code in (0, 1):
        check(Namespace(**{**QUIET, "exit_code_on_error": code}))
