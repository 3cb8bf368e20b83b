"""The report of a hostile run in a real browser: no script of the file's runs, and none that were injected could."""

import pytest

from chatload import cli
from chatload.features.report.page import write_report
from chatload.features.report.summary import summarize
from chatload.run.reader import RunReader
from tests.unit.hostile import make


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make(tmp_path_factory.mktemp("hostile") / "run")


def opened(browser, path):
    """The page, and what it asked the network for, complained of, or opened."""
    page, seen = browser.new_page(), []
    page.on("request", lambda request: seen.append(request.url))
    page.on("dialog", lambda dialog: seen.append(dialog.message))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.goto(path.as_uri())
    return page, seen


def test_no_script_of_the_run_is_executed(browser, folder, page_text):
    path = folder / "report.html"
    page, seen = opened(browser, path)
    page.mouse.move(300, 300)
    assert seen == [path.as_uri()]
    assert page.title() != "owned" and "document.title='owned'" in page.title()
    assert page.evaluate("document.title='mine'; document.title") == "mine"
    assert page.locator("script:not([type])").count() == 1
    assert page.locator("img, iframe, object, a[href^=javascript], [onload], [onerror]").count() == 0


@pytest.fixture(scope="module")
def page_text(folder):
    with RunReader.open(folder) as reader:
        return write_report(reader, summarize(reader)).read_text()


@pytest.mark.parametrize(
    "markup",
    [
        "<script>document.title='owned'</script>",
        "<img src=x onerror=\"document.title='owned'\">",
        "<svg onload=\"document.title='owned'\"></svg>",
        "<iframe srcdoc=\"<script>parent.document.title='owned'</script>\"></iframe>",
        "<script src='https://203.0.113.7/x.js'></script><link rel=stylesheet href='https://203.0.113.7/x.css'>",
    ],
)
def test_a_script_that_got_in_would_be_stopped_by_the_policy(browser, page_text, tmp_path, markup):
    path = tmp_path / "injected.html"
    path.write_text(page_text.replace("<main>", f"<main>{markup}", 1))
    page, stopped = browser.new_page(), []
    page.on("requestfailed", lambda request: stopped.append((request.url, request.failure)))
    page.goto(path.as_uri())
    page.wait_for_timeout(200)
    assert page.title() != "owned"
    asked = markup.count("https://")
    assert [failure for url, failure in stopped if "203.0.113.7" in url] == ["csp"] * asked


def test_a_comparison_of_hostile_runs(browser, folder, tmp_path):
    with pytest.raises(SystemExit):
        cli.run(["compare", "--html", str(tmp_path / "compare.html"), str(folder), "--", str(folder)])
    page, seen = opened(browser, tmp_path / "compare.html")
    assert page.title() != "owned" and seen == [(tmp_path / "compare.html").as_uri()]
    assert page.locator("script").count() == 1 and page.locator("img, iframe").count() == 0
