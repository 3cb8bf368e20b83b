"""Every page of chatload: one shell, readable on a desktop, on a phone, in light and dark, and without JavaScript."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.page_kinds import BADGES, KINDS, WITHOUT_CHART

DESKTOP, PHONE, PAPER = (1280, 800), (390, 844), (718, 1000)  # paper: A4 within its margins
#: Elements whose content is cut at their right edge, or that are wider than the window.
CUT = """() => {
  const wide = document.documentElement.scrollWidth > innerWidth ? ["the page"] : [];
  const name = (e) => `${e.tagName} ${e.ariaLabel ?? e.textContent.slice(0, 40)}`;
  const beyond = [...document.querySelectorAll("svg, canvas, p, h1, h2, h3, pre, li")].filter((e) => {
    const box = e.getBoundingClientRect();
    return box.width && box.right > innerWidth + 1 && !e.closest(".bar");
  });
  const scrolled = [...document.querySelectorAll(".scroll")].filter((e) => e.scrollWidth > e.clientWidth + 1);
  const texts = [...document.querySelectorAll("figure svg text")].filter((e) => {
    const box = e.getBoundingClientRect(), picture = e.ownerSVGElement, frame = picture.getBoundingClientRect();
    const isOpen = getComputedStyle(picture).overflow === "visible";
    const [left, right] = isOpen ? [0, innerWidth] : [frame.left, frame.right];
    return box.width && (box.left < left - 2 || box.right > right + 2);
  });
  return [...wide, ...[...beyond, ...scrolled, ...texts].map(name)];
}"""


@pytest.fixture(scope="module")
def views(browser):
    """A page for each view, and what it asked the network for or complained of."""
    with ExitStack() as stack:

        def view(size, scheme, javascript=True):
            viewport = {"width": size[0], "height": size[1]}
            context = browser.new_context(viewport=viewport, color_scheme=scheme, java_script_enabled=javascript)
            stack.callback(context.close)
            context.set_default_timeout(5000)
            page, seen = context.new_page(), []
            page.on("request", lambda request: seen.append(request.url))
            page.on("console", lambda message: seen.append(message.text))
            page.on("pageerror", lambda error: seen.append(str(error)))
            return page, seen

        yield view(DESKTOP, "light"), view(PHONE, "dark"), view(DESKTOP, "dark", javascript=False)


def serious(page):
    """What axe calls serious or critical: its rule, and the first element."""
    found = Axe().run(page).response["violations"]
    return [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("kind", KINDS)
def test_badge_answer_tiles_and_chart_are_on_the_first_screen_and_nothing_is_cut_off(views, kind, tmp_path):
    address = KINDS[kind](tmp_path).as_uri()
    (desktop, _), (phone, _), (plain, _) = views
    for page, complaints in views:
        complaints.clear()
        page.goto(address)
        assert complaints == [address]
        assert page.locator(".badge").inner_text().lower() == BADGES[kind]
        assert page.locator("h1").bounding_box()["y"] < 200
        tiles = page.locator(".tiles li")
        assert tiles.count() in range(2, 8)
    chart = desktop.locator("header figure")
    if kind in WITHOUT_CHART:
        assert chart.count() == 0
    else:
        box = chart.bounding_box()
        assert box["y"] + 0.6 * box["height"] < DESKTOP[1]
        assert phone.locator("header figure").bounding_box()["y"] < PHONE[1]
        # Without JavaScript, the chart is a picture.
        assert plain.locator("header figure svg.wide").first.bounding_box()["width"] > 1100
    grounds = [page.evaluate("getComputedStyle(document.body).backgroundColor") for page in (desktop, phone)]
    assert grounds == ["rgb(255, 255, 255)", "rgb(18, 22, 29)"]
    if kind == "tune":
        assert {"recommended 5 s", "target 1.0 %"} <= set(desktop.locator("svg:visible text").all_text_contents())
    assert desktop.evaluate(CUT) == []
    assert phone.evaluate(CUT) == []
    assert serious(phone) == []
    # Of a run's report, one in light is enough: axe takes longest on it.
    assert kind in ("passed", "empty", "nothing tested", "killed", "user classes") or serious(desktop) == []
    phone.emulate_media(media="print")
    phone.set_viewport_size({"width": PAPER[0], "height": PAPER[1]})
    assert phone.evaluate(CUT) == []
    phone.emulate_media(media="screen", color_scheme="dark")
    phone.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
