"""report.html as people meet it: a desktop, a phone, light, dark, without JavaScript, on paper."""

import re
from collections import Counter

import pytest
from playwright.sync_api import expect

from chatload.chat.record import Contact, Timeline
from chatload.features.report.page import write_report
from chatload.features.report.summary import summarize
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram
from chatload.run.reader import RunReader
from chatload.run.settings import RunSettings
from chatload.run.windows import Window
from chatload.run.writer import RunWriter
from chatload.thresholds.gate import make_gate
from tests.run_files import add_timelines, put_books
from tests.unit.test_report_page import SECTIONS
from tests.virtual.million import make

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser") / "run"
    make(folder, 2000)
    gate = make_gate(["dropped_late.rate < 0.1%", "lateness.p99 < 1s", "refused.rate < 0.05%"])
    with RunReader.open(folder) as reader:
        return write_report(reader, summarize(reader, gate))


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """A run with more operations, longer names and wider words than any page is made for."""
    folder = tmp_path_factory.mktemp("crowded") / "run"
    books = Books()
    for i in range(14):
        operation = f"FileOperation{chr(65 + i)}WithALongName"
        books.sent[operation] = 12_345_678
        books.outcomes[operation] = Counter({"0/false": 12_345_678})
        books.latency[operation] = CensoredHistogram()
        books.latency[operation].add(0.01 * i)
    settings = RunSettings(name="n" * 200, host="http://" + "h" * 300, flex_disconnect_timeout=2.0, script="/p" * 150)
    books.latency["GetMessages"] = books.latency["FileOperationEWithALongName"]
    contacts = [Contact("FileOperationNWithALongName", float(i), float(i), i + 0.5, "timeout") for i in range(1, 13)]
    line = Timeline(
        "c" * 200, "dropped_unproven", "", "w" * 300, 2.0, 9.0, 0.0, 0.1, {"server": 12.0}, contacts, "v" * 99
    )
    with RunWriter.create(folder, settings, 1000.0) as writer:
        for i in range(60):
            put_books(writer, f"{i}{'w' * 90}", books if i == 0 else Books())
        classes = {f"CustomersWithALongName{'N' * 40}{i}": books for i in range(8)}
        for name, own in classes.items():
            put_books(writer, "w", own, name)
        spans = [(1000.0 + i, 1001.0 + i) for i in range(30)]
        windows = {span: {name: Window(*span, 9, own) for name, own in classes.items()} for span in spans}
        writer.add_windows([Window(*span, 72, books, by_class=by_class) for span, by_class in windows.items()])
        add_timelines(writer, [line])
        writer.incident("worker_lost", "x" * 400)
    with RunReader.open(folder) as reader:
        return write_report(reader, summarize(reader))


@pytest.fixture
def opened(browser, report):
    """Opens the report; gives the page, and what it asked the network for or complained of."""
    contexts = []

    def open_it(path=report, **how):
        context = browser.new_context(**how)
        contexts.append(context)
        page, seen = context.new_page(), []
        page.on("request", lambda request: seen.append(request.url))
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.goto(path.as_uri())
        return page, seen

    yield open_it
    for context in contexts:
        context.close()


@pytest.mark.parametrize(("viewport", "javascript"), [(DESKTOP, True), (PHONE, False)], ids=["desktop", "phone"])
def test_it_reads_without_network_and_fits_its_window(opened, report, viewport, javascript):
    page, seen = opened(viewport=viewport, java_script_enabled=javascript)
    assert seen == [report.as_uri()]
    assert page.locator("h2").count() == len(SECTIONS)
    assert page.locator("h1").inner_text() == "1 of 3 thresholds failed: dropped_late.rate < 0.1%"
    assert page.locator(".tiles li").count() == 6
    assert page.locator("main > figure:not(.time)").count() == 3
    assert page.locator("main > details figure svg.wide").count() >= 5
    # A page wider than its window would have to be pushed about to be read.
    box = page.locator("html").bounding_box()
    assert box["width"] <= viewport["width"]
    # The first chart is on the first screen: all of it on a desktop, its beginning on a phone.
    plots = page.locator("header .plot")
    top, bottom = plots.first.bounding_box()["y"], plots.last.bounding_box()
    if viewport is DESKTOP:
        assert bottom["y"] + bottom["height"] <= viewport["height"]
    assert top <= 0.9 * viewport["height"]
    if javascript:
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    else:
        page.locator("details summary").first.click()
        assert page.locator("details table").first.is_visible()


@pytest.mark.parametrize(("viewport", "shown", "hidden"), [(DESKTOP, "wide", "narrow"), (PHONE, "narrow", "wide")])
def test_every_chart_is_drawn_for_the_window_it_is_in(opened, viewport, shown, hidden):
    page, _ = opened(viewport=viewport, java_script_enabled=False)
    # Those of folded sessions are drawn like those that are shown.
    charts = page.locator(f":not(details) > figure svg.{shown}")
    assert charts.count() == page.locator(f":not(details) > figure svg.{hidden}").count() > 15
    for i in range(charts.count()):
        box = charts.nth(i).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= viewport["width"]
        # Scaled down, the words in it could not be read.
        assert box["width"] >= float(charts.nth(i).get_attribute("width")) * 0.99
    assert not page.locator(f"figure svg.{hidden}").first.is_visible()
    whole = page.locator("header .tiles").bounding_box()["width"]
    assert page.locator(f"header svg.{shown}").first.bounding_box()["width"] == pytest.approx(whole, abs=2)


def test_charts_over_time_have_a_cursor_and_zoom_together(opened):
    page, seen = opened(viewport=DESKTOP)
    figures = page.locator("figure.time")
    first, last = figures.first, figures.last
    assert page.locator("figure.time canvas").count() == page.locator("figure.time .plot").count()
    assert not page.locator("figure.time svg").first.is_visible()
    plot = first.locator(".u-over").first
    box = plot.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.5 * box["width"], y)
    said = first.locator(".key output").first.inner_text().replace("\u00a0", " ")
    chart = page.evaluate("JSON.parse(document.querySelector('figure.time script').textContent)")
    half = len(chart["times"]) // 2
    middle = chart["panels"][0]["series"][0]["values"][half - 1 : half + 2]
    assert said in [f"{value:,.0f}".replace(",", " ") for value in middle], (said, middle)
    # The cursor is at the same time in all charts.
    told = first.locator(".clock output").inner_text()
    assert " to " in told and "UTC" in told and last.locator(".clock output").inner_text() == told
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], y, steps=4)
    page.mouse.up()
    for figure in (first, last):
        figure.locator(".clock button").wait_for(state="visible")
    first.locator(".clock button").click()
    last.locator(".clock button").wait_for(state="hidden")
    # A line can be hidden, and the axis then fits the others.
    p99 = page.locator(".key button", has_text="p99").first
    p99.click()
    assert p99.get_attribute("aria-pressed") == "false"
    assert seen[1:] == []


def test_charts_zoom_by_keyboard_and_touch(opened):
    """Buttons change the time that all charts show: by the keyboard, and by taps on a phone."""
    page, seen = opened(viewport=PHONE, has_touch=True)
    charts, shown = page.locator("figure.time").count(), page.locator(".zoom output")
    length = page.evaluate("JSON.parse(document.querySelector('figure.time script').textContent).length")

    def part():
        low, high = page.evaluate("(({ min, max }) => [min, max])(document.querySelector('.panel').plot.scales.x)")
        return pytest.approx(low / length, abs=0.01), pytest.approx(high / length, abs=0.01)

    page.locator(".zoom [data-zoom='zoom in']").focus()
    page.keyboard.press("Enter")
    expect(shown).to_have_text(re.compile(r"^0:\d\d to 0:\d\d$"))
    assert part() == (0.25, 0.75) and page.locator("figure.time.zoomed").count() == charts
    page.keyboard.press("Space")
    assert part() == (0.375, 0.625), "the keyboard lost its place"
    page.get_by_role("button", name="later").tap()
    page.get_by_role("button", name="later").tap()
    assert part() == (0.625, 0.875)
    page.get_by_role("button", name="zoom out").tap()
    assert part() == (0.5, 1.0), "the part that is shown ends with the run"
    page.get_by_role("button", name="the whole run", exact=True).tap()
    expect(shown).to_be_empty()
    assert page.locator("figure.time.zoomed").count() == 0
    # They are a bar of the whole width: a box would cover half of a heading.
    assert page.evaluate("document.querySelector('.zoom').offsetWidth") == PHONE["width"]
    # Where no chart is in sight, the buttons cover nothing.
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator(".zoom")).to_be_hidden()
    assert seen[1:] == []


def test_a_mark_tells_its_figures_where_there_is_javascript(opened):
    page, _ = opened(viewport=DESKTOP)
    mark = page.locator("#refresh ~ .pair figure svg.wide [aria-roledescription='rect mark']").first
    mark.scroll_into_view_if_needed(timeout=5000)
    mark.hover(force=True)
    assert page.locator("#tip").is_visible()
    assert page.locator("#tip").inner_text() == mark.get_attribute("aria-label")


def test_paper_has_pictures_in_place_of_the_scripts_charts(opened):
    page, _ = opened(viewport=DESKTOP)
    page.emulate_media(media="print")
    assert page.locator("header svg.wide").first.is_visible() and not page.locator("canvas").first.is_visible()
    assert not page.locator(".bar").is_visible()


TOO_WIDE = (
    "[...document.querySelectorAll('table, figure svg, p, h1, h4, pre')].filter(e => e.getBoundingClientRect().right"
    " > innerWidth + 1).map(e => e.tagName + ' ' + e.closest('[aria-label]')?.getAttribute('aria-label'))"
)


def test_on_paper_no_table_is_cut_off(opened, crowded, report):
    for path in (report, crowded):
        page, _ = opened(path, viewport={"width": 718, "height": 1000})  # A4 within its margins
        page.emulate_media(media="print")
        assert page.evaluate(TOO_WIDE) == []
        assert page.pdf().startswith(b"%PDF")


def test_paper_is_light_whoever_prints(opened):
    page, _ = opened(viewport=DESKTOP, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    colours = "n => getComputedStyle(document.documentElement).getPropertyValue(n).trim()"
    dark = {page.evaluate(colours, name) for name in ("--soft", "--line", "--link", "--bad", "--v-late")}
    page.emulate_media(media="print", color_scheme="light")
    assert dark == {page.evaluate(colours, name) for name in ("--soft", "--line", "--link", "--bad", "--v-late")}


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_crowded_run_fits_its_window_too(opened, crowded, viewport):
    page, _ = opened(crowded, viewport=viewport)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert page.locator("h1").inner_text().startswith("The books do not balance")
    settings = page.locator(".scroll", has=page.locator("caption", has_text="Settings of the run"))
    settings.evaluate("(e) => { for (let d = e; (d = d.parentElement?.closest('details')); ) d.open = true; }")
    assert settings.evaluate("(e) => e.scrollWidth <= e.clientWidth"), "the values of settings are cut off"
