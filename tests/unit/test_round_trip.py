"""Whatever the client's half writes, the server's half reads back, in every built-in dialect."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatload.protocol.decode import Decoder, RefusedError
from chatload.protocol.dialect import load_dialect
from chatload.protocol.encode import Encoder
from chatload.protocol.operations import OPERATION_FIELDS, UPLOAD, USER_DATA, USER_DATA_PREFIX

DIALECTS = {name: load_dialect(name) for name in ("gms-v2", "webapi")}
#: Text as it may come, and the characters that mean something somewhere on the wire.
HOSTILE = st.text(
    st.one_of(st.sampled_from("=&?#[]{}%+;/\\\"'<>\r\n\t\0 .é漢😀"), st.characters(exclude_categories=["Cs"]))
)
#: A file's name in multipart: its percent signs, and what looks like a path of Windows, are ambiguous there (RFC 7578).
FILE_NAME = HOSTILE.filter(lambda name: "%" not in name and "\\" not in name)
NUMBERS = st.integers(0, 10**30).map(str) | st.sampled_from(("007", "-1", "1.5", "٣", "1_0", "9" * 5000))
ONE_LINE = st.text(st.characters(codec="ascii", exclude_categories=["Cc"])).map(str.strip)


def fields_of(dialect, operation):
    wire = dialect.operations[operation]
    plain = [name for name in (*wire.parameters, "chat_id", "file_id") if name in OPERATION_FIELDS[operation]]
    drawn = {name: HOSTILE | NUMBERS if name == "position" else HOSTILE for name in plain if name != USER_DATA}
    must = {"chat_id": HOSTILE.filter(bool)} if "chat_id" in drawn else {}
    if "file_id" in drawn:
        must["file_id"] = HOSTILE.filter(bool)
    strategy = st.fixed_dictionaries(must, optional={name: drawn[name] for name in drawn if name not in must})
    if USER_DATA in wire.parameters:
        data = st.dictionaries(HOSTILE.map(USER_DATA_PREFIX.__add__), HOSTILE, max_size=4)
        strategy = st.builds(lambda a, b: {**a, **b}, strategy, data)
    if operation == UPLOAD:
        about = st.fixed_dictionaries({"file_name": FILE_NAME, "file_type": ONE_LINE.filter(bool)})
        strategy = st.builds(lambda a, b: {**a, **b}, strategy, about)
    return strategy


@pytest.mark.parametrize("operation", OPERATION_FIELDS)
@pytest.mark.parametrize("name", DIALECTS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_encoded_is_decoded(name, operation, data):
    dialect = DIALECTS[name]
    fields = data.draw(fields_of(dialect, operation))
    content = data.draw(st.binary()) if operation == UPLOAD else None
    service = data.draw(HOSTILE.filter(bool))
    request = Encoder(dialect, service).encode(operation, fields, content)
    read = Decoder(dialect).decode(request.method, request.path, dict(request.headers)["Content-Type"], request.body)
    chat_id = {} if read.chat_id is None else {"chat_id": read.chat_id}
    assert (read.operation, {**read.fields, **chat_id}) == (operation, fields)
    assert (read.content, read.service) == (content, service)


@pytest.mark.parametrize("name", DIALECTS)
@given(path=st.text(), body=st.binary(), content_type=st.text())
def test_anything_else_is_refused_with_a_status_and_nothing_raises(name, path, body, content_type):
    decoder = Decoder(DIALECTS[name])
    for where in (path, "/WebAPI/services/chat", "/genesys/2/chat/s/x/refresh"):
        for kind in (content_type, "application/json", "multipart/form-data; boundary=x"):
            assert refusal(decoder, where, kind, body) in (None, 400, 404, 415)


def refusal(decoder, path, content_type, body):
    try:
        decoder.decode("POST", path, content_type, body)
    except RefusedError as refused:
        return refused.http_status


PAYLOADS = st.fixed_dictionaries(
    {"statusCode": st.integers(), "chatEnded": st.booleans()},
    optional={
        **dict.fromkeys(("chatId", "userId", "secureKey", "alias"), HOSTILE),
        "nextPosition": st.integers(0, 10**6),
        "userData": st.dictionaries(HOSTILE, HOSTILE, max_size=3),
        "errors": st.lists(st.fixed_dictionaries({"code": st.integers(), "advice": HOSTILE}), max_size=2),
        "messages": st.lists(
            st.fixed_dictionaries(
                {
                    "from": st.fixed_dictionaries(
                        {
                            "nickname": HOSTILE,
                            "participantId": st.integers(),
                            "type": st.sampled_from(("Client", "Bot")),
                        }
                    ),
                    "type": st.sampled_from(("Message", "Notice", "IdleClose")),
                },
                optional={"index": st.integers(), "utcTime": st.integers(), "text": HOSTILE},
            ),
            max_size=3,
        ),
    },
)


@given(payload=PAYLOADS)
def test_an_answer_survives_the_way_through_other_names(payload):
    names = DIALECTS["webapi"].response
    theirs = names.to_wire(payload)
    assert "chatId" not in theirs and "messages" not in theirs
    assert names.from_wire(theirs) == payload
    plain = DIALECTS["gms-v2"].response
    assert plain.to_wire(payload) is payload and plain.from_wire(payload) is payload
