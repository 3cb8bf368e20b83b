"""The fault table: every row done to real chats, over both transports, by the real driver."""

from __future__ import annotations

import inspect
import json
import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from chatload.chat.record import SessionRecord
from chatload.features.reconcile.compute import reconcile
from chatload.features.reconcile.ledger import LedgerRow
from chatload.features.report.summary import invalid_reasons
from chatload.protocol import reply
from chatload.protocol.wire import Detail
from chatload.run.books import Books
from tests.faults.certificates import Certificates
from tests.faults.generator import Generator
from tests.faults.rows import GOOD, TRANSPORTS, Row, page
from tests.faults.servers import World, proxied
from tests.faults.table import TABLES
from tests.integration.processes import LONG_STALL_S, ROOT
from tests.integration.wire import started

pytestmark = pytest.mark.slow

ROWS = [row for table in TABLES.values() for row in table if not row.test]
AT_ONCE = 4
SETTINGS = {"interval_s": 0.1, "request_s": 15.0, "refreshes": 5, "messages": 0}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        simulators = {}
        for flex in (2, 30):
            options = ("--flex-disconnect-timeout", flex, "--no-agents")
            simulators[flex] = stack.enter_context(started(*options))[1]
        generator = stack.enter_context(Generator())
        yield World(generator, simulators, Certificates(tmp_path_factory.mktemp("tls")))


@pytest.fixture(scope="module")
def held(world: World, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """Every row asked for, some at a time: chats wait most of their lives."""
    rows = [item.callspec.params["row"] for item in request.session.items if item.name.startswith("test_fault[")]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {row.name: pool.submit(_hold, world, row) for row in rows}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_fault(held: dict[str, Future[None]], row: Row) -> None:
    held[row.name].result(120)


def _hold(world: World, row: Row) -> None:
    with ExitStack() as stack:
        asked = {}
        for transport in TRANSPORTS:
            url, proxy = stack.enter_context((row.serve or proxied)(world, row, transport))
            asked[transport] = url, proxy, world.generator.ask(
                transport=transport, url=url, ca_file=world.certificates.authority if row.believes else None,
                chats=row.chats, flex_s=row.flex, **{**SETTINGS, **row.settings},
            )  # fmt: skip
        for transport, (url, proxy, answer) in asked.items():
            ledger = f"http://{proxy.upstream}" if proxy is not None else url
            _check(row, transport, answer.result(110), proxy, ledger)


def _check(row: Row, transport: str, answer: dict[str, Any], proxy: Any, ledger: str) -> None:
    assert "error" not in answer, answer
    records, books = [SessionRecord(**record) for record in answer["records"]], Books.from_dict(answer["books"])
    failed = {f"{op} {outcome}: {detail}" for op, outcome, detail, _ in answer["requests"] if outcome not in GOOD}
    said = transport, [(record.verdict, record.blame, record.why) for record in records], answer["requests"]
    assert failed == row.failures_by(transport), said
    assert {record.verdict for record in records} <= set(row.verdicts), said
    # Of a machine that stood still meanwhile, the generator may be to blame.
    own = {"generator"} if books.longest_stall_s > LONG_STALL_S else set()
    assert {record.blame for record in records} <= {row.blame, "", *own}, said
    invalid = invalid_reasons(books)
    assert [row.invalid] == invalid if row.invalid else not books.exhausted, (invalid, said)
    assert books.resent == row.resent * row.chats == sum(resent for *_, resent in answer["requests"]), said
    assert books.balanced() and books.started == row.chats == len(records), said
    assert books.sent.total() == len(answer["requests"])
    assert not _contradictions(records, ledger), said
    if row.extra is not None:
        row.extra(proxy, answer)


def _contradictions(records: list[SessionRecord], url: str) -> list[Any]:
    """What the simulator behind the fault says against the verdicts."""
    if not any(record.chat_id for record in records):
        return []
    with urllib.request.urlopen(f"{url}/simulator/ledger", timeout=30) as lines:
        rows = [json.loads(line) for line in lines]
    told = [LedgerRow(row["chat_id"], row["end_reason"], late_contact_at=row["late_contact_at"]) for row in rows]
    return list(reconcile(records, told).contradictions)


def test_the_page_is_the_table() -> None:
    assert (ROOT / "docs" / "faults.md").read_text() == page(TABLES), "python -m tests.faults.table > docs/faults.md"


def test_every_row_is_a_test_of_its_own(request: pytest.FixtureRequest) -> None:
    everything = [row for table in TABLES.values() for row in table]
    assert len({row.name for row in everything}) == len(everything) >= 60
    for row in everything:
        path, _, name = row.node.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text(), row.node


def test_every_detail_is_a_constant() -> None:
    known = {*Detail, *re.findall(r'"([a-z][^"{}]+)"', inspect.getsource(reply))}
    for row in ROWS:
        for failure in {*row.failures, *(f for failures in row.by.values() for f in failures)}:
            detail = failure.partition(": ")[2]
            assert (
                detail in known
                or re.fullmatch(r"HTTP \d{3}|statusCode (0|1|2|[01]/(true|false))", detail)
                or (detail == "statusCode is missing or of the wrong type")
            ), detail
