"""Hooks of a user class in a run: their requests, what is kept of them, and what a mistake in one comes to."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import gevent
import pytest

from chatload.chat.customer import ChatCustomer, FetchError
from chatload.errors import UsageError
from chatload.protocol.reply import Event
from chatload.protocol.wire import WireResult
from chatload.run.books import Books
from chatload.swarm import hooks as hooks_module
from chatload.swarm.hooks import Fetcher, UserHooks

EVENT = Event(1, "Message", "Agent", "Bo", None, text="Hello")


class Server:
    """Answers each request of a hook; knows them all."""

    def __init__(self, monkeypatch):
        self.now, self.requests, self.seen, self.answer = 100.0, [], [], None
        self.books = Books()
        monkeypatch.setattr(hooks_module, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.fetcher = Fetcher("http://a.example/base/", 7.0, self.open, lambda: self.books, self.report)

    def open(self, url):
        return lambda: SimpleNamespace(call=lambda *call: self.call(url, *call), close=lambda: None)

    def call(self, url, request, timeout_s):
        self.requests.append((url, request, timeout_s))
        gevent.sleep(0)  # as a real request: other chats run meanwhile
        self.now += 0.5
        body = json.dumps({"token": len(self.requests), "expires_in": 10}).encode()
        return self.answer or WireResult(self.now - 0.5, self.now, http_status=200, body=body)

    def report(self, *what):
        self.seen.append(what)

    def customer(self):
        return ChatCustomer(1, send=self.fetcher.fetch)


@pytest.fixture
def server(monkeypatch):
    return Server(monkeypatch)


def token(customer, key="", keep_s=lambda answer: answer.json()["expires_in"]):
    return customer.fetch("post", "/token", name="token", form={"a": "b c"}, key=key, keep_s=keep_s).json()["token"]


def test_a_request_has_its_url_its_body_and_its_headers(server):
    customer = server.customer()
    customer.fetch("post", "/token?x=1", name="a", form={"user": "Ann & Bob"}, headers={"X-Id": "7"})
    customer.fetch("put", "login", name="b", json={"user": "Ann"})
    customer.fetch("get", "https://login.example:8443/who", name="c")
    (first, one, timeout_s), (second, two, _), (third, three, _) = server.requests
    assert (first, second, third) == ("http://a.example", "http://a.example", "https://login.example:8443")
    assert (one.method, one.path, one.body, timeout_s) == ("POST", "/base/token?x=1", b"user=Ann+%26+Bob", 7.0)
    assert dict(one.headers) == {"X-Id": "7", "Content-Type": "application/x-www-form-urlencoded"}
    assert (two.method, two.path, two.body) == ("PUT", "/base/login", b'{"user":"Ann"}')
    assert (three.method, three.path, three.body, three.headers) == ("GET", "/who", b"", ())
    assert server.books.fetched == {"a": 1, "b": 1, "c": 1} and server.books.sent == {}
    assert server.books.fetch_outcomes["a"] == {"HTTP 200": 1} and server.books.balanced()
    assert server.seen[0] == ("a", 0.5, len(b'{"token": 1, "expires_in": 10}'), "")


def test_an_answer_is_kept_until_it_expires_for_all_chats(server):
    one, other = server.customer(), server.customer()
    waiting = [gevent.spawn(token, customer) for customer in (one, other) * 5]
    gevent.joinall(waiting)
    assert {greenlet.value for greenlet in waiting} == {1}, "one request for all who want it at the same time"
    server.now = 109.9  # it was asked for at 100 and is valid for 10 s
    assert token(other) == 1
    server.now = 110.0
    assert [token(one), token(other)] == [2, 2]
    assert [token(one, key="Ann"), token(one, key="Bob"), token(one, key="Ann")] == [3, 4, 3]
    assert [token(one, keep_s=0), token(one, keep_s=0)] == [5, 6], "nothing is kept"


@pytest.mark.parametrize(
    ("answer", "outcome", "why"),
    [
        (WireResult(1.0, 2.0, http_status=401, body=b"no"), "HTTP 401", "token: HTTP 401"),
        (WireResult(1.0, 2.0, http_status=302), "HTTP 302", "token: HTTP 302"),
        (WireResult(None, 2.0, failure="connection", detail="connection refused"), "connection", "connection refused"),
        (WireResult(1.0, 2.0, failure="timeout", detail="timeout waiting"), "timeout", "token: timeout waiting"),
    ],
)
def test_a_request_that_fails_is_counted_and_not_kept(server, answer, outcome, why):
    server.answer = answer
    with pytest.raises(FetchError, match=why):
        token(server.customer())
    assert server.books.fetch_outcomes["token"] == {outcome: 1} and server.books.balanced()
    assert server.books.fetch_latency["token"].censored.count == (answer.failure is not None)
    server.answer = None
    assert token(server.customer()) == 2


def test_names_that_differ_for_each_chat_are_counted_together(server):
    for number in range(60):
        server.customer().fetch("get", "/", name=f"profile of {number}")
    assert len(server.books.fetched) == 51 and server.books.fetched["other requests"] == 10


def test_a_killed_chat_leaves_balanced_books(server):
    greenlet = gevent.spawn(token, server.customer())
    gevent.sleep(0)
    greenlet.kill()
    assert server.books.fetched == {"token": 1} and server.books.balanced()


# -- mistakes ----------------------------------------------------------------------------------------


def made(books, fetcher=None, **defined):
    user = type("Customer", (), {name: staticmethod(hook) for name, hook in defined.items()})()
    return UserHooks(user, tuple(defined), fetcher or SimpleNamespace(fetch=None), books)


def fails(error):
    def hook(*_):
        raise error

    return hook


def test_a_customer_without_a_token_gets_no_chat_and_that_is_no_mistake(server):
    books = Books()
    hooks = made(books, server.fetcher, before_chat=token)
    assert hooks.before_chat(ChatCustomer()) == ""
    server.answer, server.now = WireResult(1.0, 2.0, http_status=503), 1000.0
    assert hooks.before_chat(ChatCustomer()) == "before_chat: token: HTTP 503"
    assert books.code_errors == {}


def test_a_mistake_is_counted_logged_once_and_does_not_spread(caplog):
    books, customer = Books(), ChatCustomer()
    broken = made(
        books, before_chat=fails(KeyError("x")), headers=fails(ValueError("x")), next_message=fails(OSError("x")),
        on_event=fails(TypeError("x")),
    )  # fmt: skip
    with caplog.at_level(logging.ERROR, "chatload"):
        for _ in range(2):
            assert broken.before_chat(customer) == "before_chat: KeyError"
            assert broken.headers(customer) == ()
            assert broken.next_message(customer) is None
            broken.on_event(customer, EVENT)
    kinds = ("before_chat: KeyError", "headers: ValueError", "next_message: OSError", "on_event: TypeError")
    kinds = tuple(f"Customer.{kind}" for kind in kinds)
    assert books.code_errors == dict.fromkeys(kinds, 2) and len(caplog.records) == 4


@pytest.mark.parametrize(
    ("hook", "value"),
    [
        ("headers", None), ("headers", {"a": 1}), ("headers", {"Host": "x"}), ("headers", {"content-length": "1"}),
        ("headers", {"a b": "x"}), ("headers", {"a": "x\r\nB: y"}), ("headers", [("a", "b")]), ("next_message", 7),
        ("next_message", ""), ("next_message", b"text"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_a_mistake(hook, value):
    books = Books()
    hooks = made(books, **{hook: lambda customer: value})
    assert getattr(hooks, hook)(ChatCustomer()) in ((), None)
    assert books.code_errors == {f"Customer.{hook}: TypeError": 1}


def test_hooks_that_are_not_defined_do_nothing():
    hooks = made(Books(), headers=lambda customer: {"A": customer.nickname})
    customer = ChatCustomer(nickname="Ann")
    assert hooks.before_chat(customer) == "" and hooks.headers(customer) == (("A", "Ann"),)
    hooks.on_event(customer, EVENT)
    assert (hooks.has_headers, hooks.has_messages) == (True, False)


def test_a_host_whose_owner_has_not_agreed_is_a_mistake_of_the_locustfile(server):
    def refuse(url):
        raise UsageError("not agreed")

    fetcher = Fetcher("http://a.example", 1.0, refuse, lambda: server.books, server.report)
    books = Books()
    assert made(books, fetcher, before_chat=token).before_chat(ChatCustomer()) == "before_chat: UsageError"
    assert books.code_errors == {"Customer.before_chat: UsageError": 1} and server.books.fetched == {}


def test_nothing_is_sent_in_virtual_time():
    with pytest.raises(FetchError, match="nothing is sent in virtual time"):
        token(ChatCustomer())


def test_what_may_be_a_token_is_not_shown():
    answer = hooks_module.FetchAnswer(200, b"secret")
    assert "secret" not in repr(answer) and answer.text == "secret"
