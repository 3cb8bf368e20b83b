"""The one rule by which a request is sent twice, and what the engine makes of it; and of our own shortages."""

import pytest

from chatload.chat.contacts import LINGER_S, ContactLog, find_blame
from chatload.chat.effects import Exchange, Send
from chatload.chat.personas import new_chat
from chatload.chat.policy import make_policy
from chatload.chat.settings import SessionSettings
from chatload.features.report import sentences
from chatload.features.report.summary import invalid_reasons
from chatload.protocol.dialect import load_dialect
from chatload.protocol.encode import Encoder
from chatload.protocol.operations import OPERATION_FIELDS, repeatable
from chatload.protocol.reply import Reply
from chatload.protocol.wire import Detail
from chatload.run.books import Books
from chatload.vocabulary import Blame, Outcome

ONCE_ONLY = {"RequestChat", "SendMessage", "UpdateNickname", "PushUrl", "CustomNotice", "FileUpload", "FileDelete"}


@pytest.mark.parametrize("dialect", ["gms-v2", "webapi"])
def test_what_may_be_taken_twice(dialect):
    spoken = load_dialect(dialect)
    encoder, keys = Encoder(spoken, "default"), {"chat_id": "1", "file_id": "2", "user_id": "3"}
    twice = {operation for operation in spoken.operations if encoder.encode(operation, keys, b"x").repeatable}
    assert twice == set(spoken.operations) - ONCE_ONLY
    assert not encoder.encode("GetMessages", {**keys, "message": "half a sen"}).repeatable


def test_every_operation_is_decided():
    assert {operation for operation in OPERATION_FIELDS if not repeatable(operation, {})} == ONCE_ONLY


def exchange(sent, received, outcome=Outcome.FINE, detail="", **more):
    return Exchange(received if sent is None else sent, sent, received, Reply(outcome, detail=detail), **more)


def test_the_first_sending_may_be_seen_long_after_the_second():
    contacts, again = ContactLog(0.0, 0.1), exchange(1.0, 1.2, resent=True)
    contacts.add_lost(again)
    contacts.add_sure(again)
    assert contacts.feasible(2.0, 3.5), "seen once more at 2"
    assert not contacts.feasible(2.0, 5.4), "but only once"
    once = ContactLog(0.0, 0.1)
    once.add_sure(exchange(1.0, 1.2))
    assert not once.feasible(2.0, 3.5)


def test_the_first_sending_is_forgotten_after_a_while():
    contacts, again = ContactLog(0.0, 0.1), exchange(1.0, 1.2, resent=True)
    contacts.add_lost(again)
    contacts.add_sure(again)
    contacts.add_sure(exchange(2.0 + LINGER_S, 2.1 + LINGER_S))
    assert not contacts.attempts


def test_a_request_sent_twice_is_one_request_and_two_contacts():
    books = Books()
    session = new_chat(SessionSettings(make_policy("fixed", 5.0), 1.0), books, 1, 0.0)
    steps = session.steps()
    opening = next(steps)
    assert isinstance(opening, Send)
    first = Reply(Outcome.FINE, "chat", "user", "key", "alias", 1)
    effect = steps.send(Exchange(0.0, 0.0, 0.1, first))
    while not isinstance(effect, Send):
        effect = steps.send(None)
    steps.send(exchange(effect.due, effect.due + 0.1, resent=True))
    assert (session.record.requests, session.record.contacts, books.resent, books.sent.total()) == (2, 3, 1, 2)
    session.cut(9.0)
    assert books.balanced()


def test_a_shortage_of_the_generators_is_its_own_fault():
    contacts = ContactLog(0.0, 0.1)
    for n in range(5):
        due = 0.5 + 0.5 * n
        short = Exchange(due, None, due + 0.4, Reply(Outcome.CONNECTION, detail=Detail.EXHAUSTED), answered=False)
        contacts.add_departure(due, due - 0.1, short)
        contacts.add_failed(short)
    assert contacts.shares.generator > 1.9 and contacts.shares.network == 0
    assert find_blame(contacts, 2.0, 3.1) is Blame.GENERATOR


def test_the_books_keep_both_and_say_so():
    books = Books()
    books.request_ended("GetMessages", exchange(1.0, 1.1, resent=True))
    books.request_ended("GetMessages", exchange(None, 1.1, Outcome.CONNECTION, Detail.EXHAUSTED))
    twice = Books.from_dict(books.to_dict())
    twice.merge(books)
    added = twice.since(books)
    assert [(b.resent, b.exhausted) for b in (books, twice, added)] == [(1, 1), (2, 2), (1, 1)]
    assert invalid_reasons(twice) == ["the generator ran out of local ports or file descriptors: 2 requests never left"]
    assert not invalid_reasons(Books())


def test_sentences():
    assert sentences.resent({"total": 3}) == sentences.resent({"resent": 0}) == ""
    assert sentences.resent({"resent": 1}) == ("1 request sent again: the server had closed the idle connection")
    assert sentences.resent({"resent": 2000}).startswith("2 000 requests sent again: ")
    generator = {"processes": 1, "stalls": 0, "exhausted": 7}
    assert sentences.generator(generator).endswith("; out of local ports or file descriptors for 7 requests")
