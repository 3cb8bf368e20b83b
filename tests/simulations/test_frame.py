"""The tables of docs/statistics.md: how they are written."""

import pytest

from simulations.frame import SimulatedTable, share, write


def test_a_table_is_replaced_between_its_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- simulated: x -->\nold\n<!-- end -->\nb\n<!-- simulated: y -->\nkept\n<!-- end -->\n")
    text = SimulatedTable(("case", "false pass"), [("one", share(50, 1000))], 1000, 7).markdown("x")
    write("x", text, page)
    assert page.read_text() == (
        "a\n<!-- simulated: x -->\n| case | false pass |\n| --- | --- |\n| one | 5.0 % (0.7) |\n\n"
        "Measured with `python -m simulations x --trials 1000 --seed 7`.\n<!-- end -->\n"
        "b\n<!-- simulated: y -->\nkept\n<!-- end -->\n"
    )
    with pytest.raises(ValueError, match="no markers"):
        write("z", text, page)
