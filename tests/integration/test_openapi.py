"""The OpenAPI document: what is kept is what is made, and the simulator does what it says (schemathesis)."""

import json
import urllib.request

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from schemathesis.checks import negative_data_rejection

from chatload.protocol.dialect import load_dialect
from chatload.protocol.encode import Encoder
from chatload.simulator.http.openapi import document
from tests.integration.processes import ROOT
from tests.integration.wire import Speaker, started

GMS, WEBAPI = load_dialect("gms-v2"), load_dialect("webapi")
gms, webapi = (schemathesis.openapi.from_dict(document(dialect, "default")) for dialect in (GMS, WEBAPI))
#: By the protocol what cannot be done is answered with HTTP 200 and a status code in the body.
CHECKS = {"excluded_checks": [negative_data_rejection]}
BOUNDED = settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def living():
    """Opens a chat for whoever asks; each dialect has a simulator of its own."""
    with started("--service", "default") as (_, one), started("--dialect", "webapi") as (_, other):
        yield {"gms-v2": Speaker(one, GMS), "webapi": Speaker(other, WEBAPI)}, {"gms-v2": one, "webapi": other}


def keys_of(speaker):
    """The keys of a chat that is alive."""
    if not speaker.keys or speaker.say("GetMessages")["chatEnded"]:
        speaker.keys = {}
        speaker.open()
    return speaker.keys


@gms.parametrize()
@BOUNDED
def test_gms_v2_does_what_its_document_says(case, living):
    speakers, urls = living
    case.call_and_validate(base_url=urls["gms-v2"], **CHECKS)
    if "chat_id" in (case.path_parameters or {}) and isinstance(case.body, dict):
        keys = keys_of(speakers["gms-v2"])
        case.path_parameters["chat_id"] = keys["chat_id"]
        case.body |= {"userId": keys["user_id"], "secureKey": keys["secure_key"], "alias": keys["alias"]}
        answer = case.call_and_validate(base_url=urls["gms-v2"], **CHECKS)
        assert answer.status_code != 200 or b"Access denied" not in answer.content


@webapi.parametrize()
@BOUNDED
def test_webapi_does_what_its_document_says(case, living):
    speakers, urls = living
    case.call_and_validate(base_url=urls["webapi"], **CHECKS)
    if isinstance(case.body, dict) and case.body.get("operationName") != "requestChat":
        keys = keys_of(speakers["webapi"])
        credentials = {"userId": keys["user_id"], "secureKey": keys["secure_key"]}
        case.body |= {"sessionId": keys["chat_id"], "credentials": credentials}
        answer = case.call_and_validate(base_url=urls["webapi"], **CHECKS)
        assert answer.status_code != 200 or b"Access denied" not in answer.content


def test_the_document_kept_is_the_one_served(living):
    _, urls = living
    kept = json.loads((ROOT / "docs" / "openapi.json").read_text())
    with urllib.request.urlopen(f"{urls['gms-v2']}/simulator/openapi.json", timeout=10) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        served = json.loads(answer.read())
    assert served == kept, "write it anew: chatload simulator --openapi > docs/openapi.json"


def test_it_names_every_operation_and_asks_for_the_api_key_where_one_is_needed():
    made = document(GMS, "support", apikey=True)
    operations = {entry["operationId"] for path in made["paths"].values() for entry in path.values()}
    assert operations == {*GMS.operations, "ledger", "status", "openapi"}
    refresh = made["paths"]["/genesys/2/chat/support/{chat_id}/refresh"]["post"]
    assert refresh["security"] == [{"apikey": []}] and {"401", "403"} <= set(refresh["responses"])
    (only,) = (entry for path, entry in document(WEBAPI, "s")["paths"].items() if "simulator" not in path)
    bodies = only["post"]["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert [body["title"] for body in bodies] == list(WEBAPI.operations)


def test_what_a_client_sends_is_what_is_described():
    fields = {"chat_id": "c", "user_id": "u", "position": "3", "message": "m", "user_data.k": "v", "file_id": "f"}
    (place,) = [entry for path, entry in document(WEBAPI, "s")["paths"].items() if "simulator" not in path]
    for body in place["post"]["requestBody"]["content"]["application/json"]["schema"]["oneOf"]:
        sent = Encoder(WEBAPI, "s").encode(body["title"], fields, b"x")
        Draft202012Validator(body).validate(json.loads(sent.body))
    for path, entry in document(GMS, "s")["paths"].items():
        if "post" in entry:
            sent = Encoder(GMS, "s").encode(entry["post"]["operationId"], fields, b"x")
            assert sent.path == path.format(**fields)
            assert dict(sent.headers)["Content-Type"].partition(";")[0] in entry["post"]["requestBody"]["content"]
