"""chatload's tab in Locust's web UI, in a real browser, during a run of a master and two workers."""

import os
import re

import pytest
from playwright.sync_api import expect

from chatload.render import words
from tests.integration.live import web_ui
from tests.integration.processes import assert_balanced, simulator, summary_of
from tests.integration.test_stopping import free_port, ports, wait_for

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


def test_a_refused_start_says_why_in_the_form_and_in_the_tab_and_a_corrected_one_runs(page, tmp_path):
    dead = f"http://127.0.0.1:{free_port()}"
    more = (*TIMEOUT, "--chat-length", "30", "--processes", "2", *ports())
    with simulator(*TIMEOUT) as host, web_ui(host, *more, workers=2, own_workers=True) as ui:
        page.goto(f"{ui.base}/?tab=chatload")
        alert = page.get_by_role("alert")
        for typed, said in ((dead, "cannot be reached"), ("http://203.0.113.77", "--target-owner-agrees 203.0.113.77")):
            fill(page, host=typed, userCount=4, spawnRate=4)
            page.get_by_role("button", name="Start").click()
            expect(alert.filter(has_text=said)).to_be_visible()
            pictures(page, f"refused-form-{said.split()[0].strip('-')}", alert)
        fill(page, host=host)
        expect(alert.filter(has_text="203.0.113.77")).to_have_count(0)
        page.get_by_role("button", name="Custom parameters").click()
        fill(page, runDir=tmp_path / "one")
        page.get_by_role("button", name="Start").click()
        page.get_by_role("tab", name="chatload").click()
        wait_until_above(page, "held", 3)
        stop(page)

        wait_for(lambda: ui.taken_back(2))  # this page does not ask again
        page.goto(f"{ui.base}/?tab=chatload")
        page.get_by_role("button", name="New").click()
        page.get_by_role("button", name="Custom parameters").click()
        fill(page, refreshInterval="2.5", runDir=tmp_path / "two")
        page.get_by_role("button", name="Start").click()
        said = "--allow-late-refresh"
        expect(alert.filter(has_text=said)).to_be_visible()
        pictures(page, "refused-again-form", alert)
        page.goto(f"{ui.base}/?tab=chatload")
        refusal = page.get_by_role("row").filter(has_text="start refused: ")
        expect(refusal).to_contain_text(said)
        assert shown(page)["sessions", "started"][0] == "4"  # of the run that was
        pictures(page, "refused-tab", refusal)

        page.get_by_role("button", name="New").click()
        page.get_by_role("button", name="Custom parameters").click()
        fill(page, refreshInterval="", runDir=tmp_path / "two")
        page.get_by_role("button", name="Start").click()
        expect(phase_cell(page, "running")).to_be_visible()
        wait_until_above(page, "held", 3)
        expect(refusal).to_have_count(0)
        stop(page)
        assert summary_of(tmp_path / "two")["sessions"]["started"] == 4


def fill(page, **fields):
    for name, value in fields.items():
        page.fill(f"input[name={name}]", str(value))


def pictures(page, name, what):
    """With CHATLOAD_SCREENSHOTS: `what` at two widths, light and dark."""
    folder = os.environ.get("CHATLOAD_SCREENSHOTS")
    if not folder:
        return
    for scheme in ("light", "dark"):
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 1000})
            what.first.scroll_into_view_if_needed()
            page.screenshot(path=f"{folder}/{name}-{scheme}-{width}.png")
        page.set_viewport_size({"width": 1280, "height": 1000})
        # The page's own switch; a dialog that is open covers it for the mouse.
        page.locator("header button").last.dispatch_event("click")


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
    common = summary["sessions"].keys() & live["sessions"].keys()
    assert {key: live["sessions"][key] for key in common} == {key: summary["sessions"][key] for key in common}
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
