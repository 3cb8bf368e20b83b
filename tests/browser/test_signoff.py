"""signoff.html on paper."""

import re

from tests.browser.page_kinds import signoff


def test_it_prints_on_two_sheets(browser, tmp_path):
    page = browser.new_page()
    try:
        page.goto(signoff(tmp_path).as_uri())
        assert page.get_by_role("heading", level=1).inner_text().startswith("3 servers: 2 carry the peak, 1 to spare")
        margin = dict.fromkeys(("top", "right", "bottom", "left"), "15mm")
        paper = page.pdf(format="A4", margin=margin)
    finally:
        page.close()
    assert len(re.findall(rb"/Type /Page\b", paper)) == 2
