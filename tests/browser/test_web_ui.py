"""chatload's page in Locust's web UI, in a real browser: one run of a master and two workers, seen by all tests."""

import os
import re
from dataclasses import dataclass, field

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from chatload.features.report.sentences import result_and_why
from chatload.features.report.tiles import tiles as report_tiles
from tests.integration.live import web_ui
from tests.integration.processes import assert_balanced, simulator, summary_of
from tests.integration.test_stopping import free_port, wait_for

pytestmark = pytest.mark.slow
TIMEOUT = ("--flex-disconnect-timeout", "2")
#: Nobody gets through for longer than the timeout, once; and goodbyes are slow.
FAULTS = """
[[fault]]
kind = "outage"
from_s = 6.0
until_s = 9.0
[[fault]]
kind = "slow"
delay_s = 1.5
operations = ["Disconnect"]
"""
#: The site's rules, which a user cannot change.
RULES = """
locked = true
max_sessions = 50
allowed_targets = ["*.lab.example"]
"""
#: Whether the page is wider than the window, or a chart than its figure.
WIDE = """document.documentElement.scrollWidth > innerWidth ||
    [...document.querySelectorAll('canvas')].some((c) => c.offsetWidth > c.closest('figure').clientWidth + 1)"""
VIEWS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]
LOCUSTFILE = """
from chatload import ChatUser


class Vip(ChatUser):
    weight = 1


class Web(ChatUser):
    weight = 3
"""


@dataclass
class Story:
    """What was seen of one distributed run, from the form to the report and the form of the next run.

    serious: what axe found, by view. cut: views that are wider than the window. texts: of the page, by moment.
    """

    groups: dict[str, list[str]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    serious: dict[str, list[str]] = field(default_factory=dict)
    cut: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    locked: dict[str, str] = field(default_factory=dict)
    disabled: list[str] = field(default_factory=list)
    labels: dict[str, list[str]] = field(default_factory=dict)
    painted: list[int] = field(default_factory=list)
    states: dict[str, dict[str, str]] = field(default_factory=dict)
    tiles: dict[str, dict[str, str]] = field(default_factory=dict)
    classes: dict[str, list[list[str]]] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    live: dict = field(default_factory=dict)
    summary: dict = field(default_factory=dict)


@pytest.fixture(scope="module")
def story(browser, tmp_path_factory):
    folder, seen = tmp_path_factory.mktemp("web"), Story()
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(30_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    (folder / "two.py").write_text(LOCUSTFILE)
    (folder / "site.toml").write_text(RULES)
    variables = {"CHATLOAD_CONFIG": str(folder / "site.toml")}
    with (
        simulator(*TIMEOUT, faults=FAULTS, tmp_path=folder) as host,
        web_ui(host, *TIMEOUT, workers=2, locustfile=folder / "two.py", variables=variables) as ui,
    ):
        page.goto(ui.base)
        expect(page.locator("#start")).to_be_visible()
        form(page, seen)
        refused_start(page, seen)
        started(page, host, folder / "run")
        running(page, seen)
        stopped(page, ui, seen)
        seen.live, seen.summary = ui.figures(), summary_of(folder / "run")
        report(page, seen)
        wait_for(lambda: ui.taken_back(2))
        next_form(page, seen)
        seen.texts["locust"] = locusts_page(page, ui)
    page.close()
    assert errors == []
    return seen


def form(page, seen):
    for group in page.locator(".group").all():
        heading = group.locator("legend, summary").first.text_content().partition("(")[0].strip()
        seen.groups[heading] = list(group.locator("[name]").evaluate_all("all => all.map(e => e.name)"))
    page.locator("summary", has_text="Permission").click()
    seen.locked = dict(page.locator(".rule").evaluate_all("all => all.map(e => [e.id, e.innerText])"))
    seen.disabled = page.locator("#form :disabled").evaluate_all("all => all.map(e => e.id)")
    look(page, seen, "form")


def refused_start(page, seen):
    page.fill("#host", f"http://127.0.0.1:{free_port()}")
    page.fill("#user_count", "40")
    page.fill("#spawn_rate", "40")
    page.press("#spawn_rate", "Enter")
    expect(page.locator("#refused")).to_contain_text("cannot be reached")
    seen.refused["host"] = page.locator("#error-host").inner_text()
    look(page, seen, "refused")
    # A refusal that names no option is beside the setting whose value it names.
    for name, value in (("threshold", "dropped.rte < 1%"), ("user_count", "60")):
        before = page.input_value(f"#{name}")
        page.fill(f"#{name}", value)
        page.click("#submit")
        expect(page.locator(f"#error-{name}")).to_be_visible()
        seen.refused[name] = page.locator(f"#error-{name}").inner_text()
        page.fill(f"#{name}", before)
    # A setting in a folded group: the group unfolds, and the keyboard is at the setting.
    page.locator("summary", has_text="Refresh").click()
    page.fill("#refresh_interval", "2.5")
    page.locator("summary", has_text="Refresh").click()
    page.click("#submit")
    expect(page.locator("#error-refresh_interval")).to_be_visible()
    seen.refused["interval"] = page.locator("#error-refresh_interval").inner_text()
    seen.refused["focus"] = page.evaluate("document.activeElement.id")
    page.fill("#refresh_interval", "")
    expect(page.locator("#refused")).to_be_hidden()


def started(page, host, run_dir):
    page.fill("#host", host)
    page.locator("summary", has_text="Customers").click()
    page.fill("#chat_length", "4s")
    page.fill(
        "#threshold",
        "dropped.rate < 1%; lateness.max < 60s; RequestChat.latency.p99 < 2s in every 1m; Vip: failed.count == 0",
    )
    page.locator("summary", has_text="Files").click()
    page.fill("#run_dir", str(run_dir))
    page.click("#submit")
    expect(page.locator("#badge")).to_have_text("running")


def running(page, seen):
    expect(page.locator("#start")).to_be_hidden()
    seen.texts["focus"] = page.evaluate("document.activeElement.id")
    expect(page.locator("#tiles strong").nth(1)).to_have_text(re.compile("[1-9]"), timeout=30_000)  # dropped
    charts_have_points(page)
    observe(page, seen, "running")
    seen.painted = page.locator("#charts canvas").evaluate_all(
        "all => all.map(c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter(v => v).length)"
    )
    seen.texts["users"] = page.input_value("#new-users")
    page.locator("[data-zoom='zoom in']").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".zoom output")).to_have_text(re.compile(r"^\d:\d\d to \d:\d\d$"))
    page.get_by_role("button", name="the whole run").click()
    expect(page.locator(".zoom output")).to_be_empty()
    look(page, seen, "running")
    # A page that is opened during the run shows it from its start.
    page.reload()
    expect(page.locator("#badge")).to_have_text("running")
    charts_have_points(page)
    observe(page, seen, "reloaded")
    page.fill("#new-users", "30")
    page.locator("#users").get_by_role("button", name="Change").click()
    expect(page.locator("#users-said")).to_have_text("changed")


def charts_have_points(page):
    for chart in page.locator("#charts [role=img]").all():
        expect(chart).to_have_attribute("aria-label", re.compile("now"))


def stopped(page, ui, seen):
    page.click("#stop")
    expect(page.locator("#badge")).to_have_text("stopping")
    # Locust calls itself stopped before the last goodbye is confirmed.
    wait_for(lambda: ui.json("/stats/requests")["state"] in ("running", "stopped"))
    seen.texts["stopping"] = f"{ui.figures()['phase']} {ui.json('/stats/requests')['state']}"
    expect(page.locator("#report")).to_be_visible(timeout=60_000)
    observe(page, seen, "ended")
    look(page, seen, "ended")


def report(page, seen):
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Open the report").click()
    opened.value.wait_for_load_state()
    seen.texts["report"] = opened.value.title()
    opened.value.close()


def next_form(page, seen):
    page.click("#new")
    expect(page.locator("#start")).to_be_visible()
    seen.kept = {name: page.input_value(f"#{name}") for name in
                 ("host", "user_count", "chat_length", "threshold", "run_dir", "refresh_interval")}  # fmt: skip
    page.reload()
    page.click("#new")
    seen.kept["after a reload"] = page.input_value("#chat_length")
    page.locator("summary", has_text="Files").click()
    page.fill("#run_dir", "/proc/nowhere")
    page.click("#submit")
    expect(page.locator("#refused")).to_contain_text("/proc/nowhere")
    seen.refused["start"] = page.locator("#refused").inner_text()


def locusts_page(page, ui):
    page.goto(f"{ui.base}/?tab=stats")
    page.get_by_role("button", name="New").click()
    said = page.locator("body").inner_text()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="chatload").click()
    expect(page.locator("#badge")).to_be_visible()
    return said


def observe(page, seen, moment):
    seen.texts[moment] = page.locator("body").inner_text()
    seen.labels[moment] = page.locator("#charts [role=img]").evaluate_all("all => all.map(e => e.ariaLabel)")
    seen.states[moment] = dict(
        page.locator("#thresholds tbody tr:not(.why)").evaluate_all(
            "all => all.map(r => [r.cells[0].innerText, r.cells[1].innerText])"
        )
    )
    seen.classes[moment] = page.locator("#classes tbody tr").evaluate_all(
        "all => all.map(r => [...r.cells].map(c => c.innerText))"
    )
    seen.tiles[moment] = dict(
        page.locator("#tiles > li").evaluate_all(
            "all => all.map(d => [d.children[0].innerText, d.children[1].innerText])"
        )
    )


def look(page, seen, moment):
    """Check a view at two widths, light and dark; with CHATLOAD_SCREENSHOTS, keep pictures of it."""
    folder = os.environ.get("CHATLOAD_SCREENSHOTS")
    for width, scheme in VIEWS:
        name = f"{moment}-{scheme}-{width}"
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 1000})
        found = Axe().run(page).response["violations"]
        seen.serious[name] = [
            f"{v['id']}: {v['nodes'][0]['html']}" for v in found if v["impact"] in ("serious", "critical")
        ]
        if page.evaluate(WIDE):
            seen.cut.append(name)
        if folder:
            page.screenshot(path=f"{folder}/web-{name}.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 1000})


def test_the_settings_are_in_groups_in_order_of_use(story):
    assert list(story.groups)[:4] == ["Load", "Server", "Pass or fail", "Customers"]
    assert story.groups["Load"][:4] == ["host", "user_count", "spawn_rate", "run_time"]
    names = [name for group in story.groups.values() for name in group]
    assert len(names) == len(set(names)) > 30
    assert not any("%%" in text for text in story.texts.values())


def test_a_refused_start_says_why_at_the_setting(story):
    assert "cannot be reached" in story.refused["host"]
    assert "--allow-late-refresh" in story.refused["interval"] and story.refused["focus"] == "refresh_interval"
    assert "unknown metric 'dropped.rte'" in story.refused["threshold"]
    assert "60 users are above the ceiling of 50 sessions" in story.refused["user_count"]
    # What only the start itself finds out.
    assert story.refused["start"].startswith("The run was not started. /proc/nowhere")


def test_what_chatload_toml_locks_is_shown_as_locked_with_the_file(story):
    assert set(story.locked) == {"rule-host", "rule-max_sessions", "rule-target_owner_agrees"}
    assert all(text.startswith("Locked by ") and "site.toml" in text for text in story.locked.values())
    assert "at most 50" in story.locked["rule-max_sessions"] and story.disabled == ["target_owner_agrees"]


def test_the_charts_follow_the_run(story):
    assert len(story.labels["running"]) == 4 and story.labels["running"][0].startswith("Open sessions: now open ")
    assert all(count > 1000 for count in story.painted), "an empty chart"
    assert all("now" in label for label in story.labels["reloaded"])
    assert story.labels["ended"][0] == "Open sessions: now open 0"
    assert story.texts["users"] == "40" and story.texts["focus"] == "headline"


def test_the_thresholds_have_a_state_so_far_and_a_result_at_the_end(story):
    so_far, at_end = story.states["running"], story.states["ended"]
    assert so_far["lateness.max < 60 s"] == "within the limit so far"
    assert so_far["RequestChat.latency.p99 < 2 s in every 1m"] == "judged at the end"
    assert at_end == {threshold["expression"]: threshold["result"] for threshold in story.summary["thresholds"]}
    assert {"pass"} < set(at_end.values())


def test_the_page_ends_with_the_figures_of_the_summary(story):
    live, summary, tiles = story.live, story.summary, story.tiles["ended"]
    assert_balanced(summary)
    for key in ("requests", "refresh", "generator"):
        assert live[key] == summary[key], key
    assert summary["generator"]["processes"] == 2 and summary["sessions"]["by_verdict"]["dropped_late"] > 0
    assert [value.replace("\u00a0", " ") for value in tiles.values()] == [tile.value for tile in report_tiles(summary)]
    result, why = result_and_why(summary)
    assert result.upper() in story.texts["ended"] and why in story.texts["ended"].replace("\u00a0", " ")
    assert "the run was stopped by a user in the web UI" in story.texts["ended"].replace("The", "the")
    assert summary["result"] in story.texts["report"].lower()


def test_each_user_class_has_a_row(story):
    for moment in ("running", "reloaded", "ended"):
        vip, web = story.classes[moment]
        assert (vip[0], web[0]) == ("Vip", "Web") and "ms" in vip[6] and len(vip) == len(web) == 9
    ended = {row[0]: row[2] for row in story.classes["ended"]}
    by_class = story.summary["by_class"]
    assert ended == {name: str(one["sessions"]["started"]) for name, one in by_class.items()}
    assert story.states["running"]["Vip: failed.count == 0"] in ("within the limit so far", "not decided yet")
    assert sum(one["sessions"]["started"] for one in by_class.values()) == story.summary["sessions"]["started"]


def test_goodbyes_are_waited_for(story):
    assert story.texts["stopping"] in ("stopping running", "ended stopped")


def test_the_settings_are_kept_for_the_next_run(story):
    kept = story.kept
    assert (kept["user_count"], kept["chat_length"], kept["after a reload"]) == ("30", "4s", "4s")
    assert kept["threshold"].startswith("dropped.rate < 1%; lateness") and kept["refresh_interval"] == ""
    assert kept["run_dir"] == "", "a folder takes one run"
    # Locust's own form has no setting that it could set back.
    assert "Custom parameters" not in story.texts["locust"]


def test_axe_finds_nothing_serious(story):
    assert set(story.serious) == {f"{m}-{s}-{w}" for m in ("form", "refused", "running", "ended") for w, s in VIEWS}
    assert {view: found for view, found in story.serious.items() if found} == {}


def test_no_view_is_cut_off_at_its_side(story):
    assert story.cut == []
