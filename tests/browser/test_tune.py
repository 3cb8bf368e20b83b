"""tune.html as people meet it: a desktop, a phone, light and dark, without JavaScript."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from chatload.features.tune.command import read
from chatload.features.tune.view import tune_document
from chatload.render.html import html
from tests.unit.test_tuning import sessions
from tests.virtual.sweeps import write_run


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    arms = {
        0.5: {"completed": 300},
        0.9: {"completed": 290, "late": 3, "unproven": 7},
        1.02: {"completed": 9, "late": 99},
    }
    records = [record for part, arm in arms.items() for record in sessions(f"{part:g}", **arm)]
    report = read(write_run(folder / "run", records, tuple(arms), timeout_s=10.0), 0.01, 0.95)
    file = folder / "tune.html"
    file.write_text(html(tune_document(report)))
    return file


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_has_one_curve_in_sight_and_nothing_to_complain_of(browser, page_file, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked = []
    try:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: asked.append(message.text))
        page.goto(page_file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        curves = page.get_by_role("img", name="Drop rate against the refresh interval: 5 s 0 %, 9 s 3.3 %")
        assert [curve.is_visible() for curve in curves.all()].count(True) == 1
        texts = page.locator("svg:visible text")
        assert {"recommended 5 s", "target 1.0 %"} <= set(texts.all_text_contents())
        assert not Axe().run(page).response["violations"]
    finally:
        context.close()
    assert asked == [page_file.as_uri()]
