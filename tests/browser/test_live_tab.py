"""chatload's tab in Locust's web UI, in a real browser, during a run of a master and two workers."""

import os
import re

import pytest
from playwright.sync_api import expect

from chatload.report import words
from tests.integration.live import web_ui
from tests.integration.processes import assert_balanced, simulator, summary_of

pytestmark = pytest.mark.slow
TIMEOUT = ("--flex-disconnect-timeout", "2")
#: Nobody gets through for longer than the timeout, once.
OUTAGE = '[[fault]]\nkind = "outage"\nfrom_s = 5.0\nuntil_s = 8.0\n'


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(30_000)
    yield page
    page.close()


def shown(page):
    """What the tab's table shows: (area, figure) -> (value, note)."""
    found, area = {}, ""
    for row in page.locator("table tbody tr").all_inner_texts():
        cells = [cell.strip() for cell in row.split("\t")]
        area = cells[0] or area
        found[area, cells[1]] = (cells[2], cells[3])
    return found


def number(text):
    return int(text.replace(" ", ""))


def phase_cell(page, phase):
    return page.locator("table tbody tr").first.get_by_text(phase, exact=True)


def test_the_tab_follows_a_distributed_run_and_ends_with_the_figures_of_its_summary(page, tmp_path):
    options = ("--run-dir", tmp_path / "run", *TIMEOUT, "--chat-length", "4")
    with simulator(*TIMEOUT, faults=OUTAGE, tmp_path=tmp_path) as host, web_ui(host, *options, workers=2) as ui:
        start(page, ui, 40)
        wait_until_above(page, "held", 20)
        earlier = number(shown(page)["sessions", "started"][0])
        # While it is running: more sessions, then the drops of the outage, without a reload.
        wait_until_above(page, "network", 0)
        assert earlier < number(shown(page)["sessions", "started"][0])
        assert "one-sided 95 % bounds" in shown(page)["drop rate", "dropped_late"][1]
        picture = os.environ.get("CHATLOAD_SCREENSHOTS")
        if picture:
            page.screenshot(path=f"{picture}/live-tab.png", full_page=True)
        stop(page)
        at_end = shown(page)
        live = ui.figures()
        summary = summary_of(tmp_path / "run")
        assert_balanced(summary)
        compare_json(live, summary)
        compare_table(at_end, summary)
        page.reload()
        page.get_by_role("tab", name="chatload").click()
        expect(phase_cell(page, "ended")).to_be_visible()
        assert shown(page) == at_end
    assert summary["generator"]["processes"] == 2
    assert summary["sessions"]["by_verdict"]["dropped_late"] > 0


def test_slow_goodbyes_are_waited_for_by_the_tab(page, tmp_path):
    # Locust calls itself stopped, and its web UI asks no more, long before the last goodbye is confirmed.
    slow = '[[fault]]\nkind = "slow"\ndelay_s = 4.0\noperations = ["Disconnect"]\n'
    timeout = ("--flex-disconnect-timeout", "20")
    options = ("--run-dir", tmp_path / "run", *timeout, "--chat-length", "1000", "--stop-timeout", "15")
    with simulator(*timeout, faults=slow, tmp_path=tmp_path) as host, web_ui(host, *options) as ui:
        start(page, ui, 10)
        wait_until_above(page, "held", 9)
        stop(page)
        compare_table(shown(page), summary_of(tmp_path / "run"))
        assert shown(page)["ended, by verdict", "cut_off"] == ("10", "100 %; 10 with goodbye confirmed")


def start(page, ui, users):
    page.goto(f"{ui.base}/?tab=chatload")
    page.fill("input[name=userCount]", str(users))
    page.fill("input[name=spawnRate]", str(users))
    page.get_by_role("button", name=re.compile("start", re.I)).click()
    page.get_by_role("tab", name="chatload").click()
    expect(phase_cell(page, "running")).to_be_visible(timeout=30_000)


def stop(page):
    page.get_by_role("button", name=re.compile("stop", re.I)).click()
    expect(phase_cell(page, "ended")).to_be_visible(timeout=60_000)


def wait_until_above(page, figure, least):
    page.wait_for_function(
        "([figure, least]) => [...document.querySelectorAll('table tbody tr')].some("
        "tr => tr.cells[1].innerText === figure && Number(tr.cells[2].innerText) > least)",
        arg=[figure, least],
    )


def compare_json(live, summary):
    for key in ("requests", "refresh", "generator"):
        assert live[key] == summary[key], key
    assert {key: live["sessions"][key] for key in summary["sessions"]} == summary["sessions"]
    assert {key: summary["books"][key] for key in live["books"]} == live["books"]
    assert live["sessions"]["open"] == 0
    assert set(live["sessions"]["by_state"].values()) == {0}


def compare_table(table, summary):
    sessions = summary["sessions"]
    assert number(table["sessions", "started"][0]) == sessions["started"]
    for verdict, n in sessions["by_verdict"].items():
        assert number(table["ended, by verdict", verdict][0]) == n, verdict
    for blame, n in sessions["dropped_late_by_blame"].items():
        assert number(table["dropped_late, by blame", blame][0]) == n, blame
    for operation, entry in summary["requests"]["by_operation"].items():
        assert number(table["requests sent", operation][0]) == entry["sent"], operation
    assert number(table["generator", "stalls"][0]) == summary["generator"]["stalls"]
    assert table["margin", "min"][0] == words.of_tail(summary["refresh"]["margin_s"], "min")
