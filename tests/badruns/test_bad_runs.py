"""No bad run passes: every row of the table is run by real `locust` processes and judged twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest

from tests.badruns.rows import Row, World, page
from tests.badruns.runs import Said, judge_again, run_row
from tests.badruns.table import BAD, GOOD, IN_CI
from tests.faults.certificates import Certificates
from tests.integration.processes import ROOT

pytestmark = pytest.mark.slow

#: So many runs at a time. With more, a generator on two cores is late, and the run fails for that.
AT_ONCE = 2
EVERYTHING = [row for rows in BAD.values() for row in rows] + GOOD
#: Without this in the environment only the rows for CI are run.
EVERY_ROW = bool(os.environ.get("CHATLOAD_EVERY_WAY"))
ROWS = [row for row in EVERYTHING if EVERY_ROW or row.name in IN_CI]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("badruns")
    return World(Certificates(folder), folder)


@pytest.fixture(scope="module")
def ended(world: World, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Said]]]:
    """The runs of all rows that were asked for, some at a time."""
    items = [item for item in request.session.items if item.module is request.module and hasattr(item, "callspec")]
    rows = {item.callspec.params["row"].name: item.callspec.params["row"] for item in items}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = {name: pool.submit(run_row, world, row) for name, row in rows.items()}
        yield runs
        for run in runs.values():
            run.cancel()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row(ended: dict[str, Future[Said]], row: Row) -> None:
    check(ended[row.name].result(), row.codes, row.words, row.never)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row_judged_again(world: World, ended: dict[str, Future[Said]], row: Row) -> None:
    wait(ended.values())  # some servers are in this process, and a report would keep them from answering in time
    check(judge_again(world, row), row.four_codes or row.codes, row.four_words or row.words, row.never)


def check(said: Said, codes: frozenset[int], words: tuple[str, ...], never: tuple[str, ...]) -> None:
    """The exit code is one of these, all the words were said, and none of `never`.

    Of a run on a machine that stood still, no more is known than that it must not pass.
    """
    if not said.stalled:
        assert said.code in codes, said
        for each in words:
            assert each in said.said, said
    assert said.code in codes or said.code, said
    for each in never:
        assert each not in said.said, said
    assert "Traceback" not in said.said, said


def test_no_bad_run_may_pass() -> None:
    for rows in BAD.values():
        for row in rows:
            assert row.codes and 0 not in row.codes | row.four_codes, row.name
            assert row.words, row.name


def test_every_good_run_must_pass() -> None:
    for row in GOOD:
        assert row.codes == {0} and not row.four_codes, row.name


def test_the_table_is_large_enough_and_its_names_are_unique() -> None:
    assert len({row.name for row in EVERYTHING}) == len(EVERYTHING)
    assert sum(len(rows) for rows in BAD.values()) >= 25
    assert len(GOOD) >= 8


def test_ci_runs_rows_of_every_kind() -> None:
    assert {row.name for row in EVERYTHING} >= IN_CI
    for heading, rows in {**BAD, "good": GOOD}.items():
        assert any(row.name in IN_CI for row in rows), heading


def test_the_page_is_the_table() -> None:
    assert (ROOT / "docs" / "bad-runs.md").read_text() == page(BAD, GOOD), (
        "python -m tests.badruns.table > docs/bad-runs.md"
    )
