"""signoff.html as people meet it: a desktop, a phone, and two sheets of paper."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe

from chatload.features.signoff.compute import sign_off
from chatload.features.signoff.view import signoff_document
from chatload.render.html import html
from chatload.target import TargetRules
from tests.unit.campaign_steps import FILE, PROOF, RESULTS, StagedCampaign

#: What a proof has to show, with the longest grounds.
THRESHOLDS = [
    {"expression": f"{name} < 1%", "result": "pass", "why": "0 of 160 sessions; the rate is below 1 % " * 6}
    for name in ("dropped.rate", "unserved.rate", "failed.rate", "GetMessages.unsuccessful.rate", "incident.share",
                 "dropped.per_chat_hour", "GetMessages.latency.p95")
]  # fmt: skip


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signoff")
    staged = StagedCampaign(folder / "peak", f'signers = ["Head of contact centre", "b", "c", "d", "e"]\n{FILE}')
    staged.results[PROOF] = {**RESULTS[PROOF], "thresholds": THRESHOLDS}
    staged.run()
    file = folder / "signoff.html"
    file.write_text(html(signoff_document(sign_off(folder / "peak", TargetRules()))))
    return file


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_page_fits_and_has_nothing_to_complain_of(browser, page_file, scheme, width):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    try:
        page = context.new_page()
        page.goto(page_file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.get_by_role("heading", level=1).inner_text().startswith("3 servers: 2 carry the peak, 1 to spare")
        assert not Axe().run(page).response["violations"]
    finally:
        context.close()


def test_it_prints_on_two_sheets(browser, page_file):
    page = browser.new_page()
    try:
        page.goto(page_file.as_uri())
        margin = dict.fromkeys(("top", "right", "bottom", "left"), "15mm")
        paper = page.pdf(format="A4", margin=margin)
    finally:
        page.close()
    assert len(re.findall(rb"/Type /Page\b", paper)) == 2
