"""The pages of the other commands: the header of the report, at the width of a desktop and of a phone."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from chatload import cli
from chatload.features.capacity.view import capacity_document
from chatload.features.compare.command import compare
from chatload.render.html import html
from tests.unit.test_capacity_report import found
from tests.unit.test_compare_command import SERVICE, WORSE, make_run


def capacity(folder):
    (folder / "page.html").write_text(html(capacity_document(found("limit"))))


def plan(folder):
    demand = ("--chats-per-hour", "4000", "--handling-time", "480", "--poll-interval", "15")
    with pytest.raises(SystemExit):
        cli.run(["plan", *demand, "--sessions-per-server", "300", "--html", str(folder / "page.html")])


def comparison(folder):
    for i in range(5):
        make_run(folder / f"base{i}", SERVICE, 100 + i, at=1000.0 + 10 * i)
        make_run(folder / f"slow{i}", WORSE, 300 + i, at=1005.0 + 10 * i)
    runs = [[str(folder / f"{side}{i}") for i in range(5)] for side in ("base", "slow")]
    compare.main([*runs[0], "--", *runs[1], "--html", str(folder / "page.html")], standalone_mode=False)


@pytest.mark.parametrize(
    ("make", "badge", "tile"),
    [(capacity, "limit", "Capacity"), (plan, "plan", "Servers"), (comparison, "worse", "Base")],
)
def test_badge_answer_tiles_and_a_chart_are_on_the_first_screen(browser, tmp_path, make, badge, tile):
    make(tmp_path)
    address = (tmp_path / "page.html").as_uri()
    for width, height, scheme in ((1280, 800, "light"), (390, 844, "dark")):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        try:
            page, seen = context.new_page(), []
            page.on("request", lambda request, seen=seen: seen.append(request.url))
            page.on("pageerror", lambda error, seen=seen: seen.append(str(error)))
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator(".badge").inner_text().lower() == badge
            tiles = page.locator(".tiles li")
            assert tiles.first.locator(".label").inner_text() == tile and 4 <= tiles.count() <= 7
            assert tiles.first.bounding_box()["y"] < height
            chart = page.locator("header figure").bounding_box()
            assert width < 1280 or chart["y"] + 0.5 * chart["height"] < height
            serious = [v for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
            assert [(v["id"], v["nodes"][0]["html"]) for v in serious] == []
            assert seen == [address]
        finally:
            context.close()
