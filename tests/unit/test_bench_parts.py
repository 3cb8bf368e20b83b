"""What the memory of a chat is made of."""

from __future__ import annotations

import pytest

from bench.measures import parts
from bench.peers import MADE
from bench.tools import OURS, TOOLS, Place
from tests.unit.bench_rows import SCALE, filled

GREW_KB = dict(zip(MADE, (8.0, 10.0, 0.5, 4.5, 0.1, 0.3, 0.8, 7.0), strict=True))


def found(refreshes=14.0, cut=None):
    looks, kernel = [[1e8, 5e7]], {"connection": 8.0, "held": 1.0}
    for part in MADE:
        rss, slab = looks[-1]
        looks.append([rss + 1e6 * GREW_KB[part], slab + 1e6 * kernel.get(part, 0.0)])
    return {"chats": 1_000, "refreshes": refreshes, "looks": looks[:cut]}


def test_every_part_counts_once():
    made = parts.by_part(found())
    assert [own for own, _ in made.values()] == pytest.approx([8.0, 2.0, 4.0, 0.5, 0.4, 0.8, 2.5])
    # The idle greenlets, the spare script and the spare engine were for looking only.
    assert sum(own for own, _ in made.values()) == pytest.approx(sum(GREW_KB.values()) - 8.0 - 0.5 - 4.5)
    assert sum(kernel for _, kernel in made.values()) == pytest.approx(9.0)


def table(**figures):
    return parts.section(SCALE, filled("parts", **figures)).table


def test_the_parts_have_their_sum():
    assert table(parts=found())[-1] == ["all", "18.2", "9.0"]


@pytest.mark.parametrize("cut", [found(cut=4), found(refreshes=3.0)])
def test_a_run_that_was_over_too_early_shows_nothing(cut):
    assert table(parts=cut)[1] == ["all", "not measured: its time was over before"]
    assert table(parts=None)[1][1] == "not measured"


def test_chats_are_made_by_part_only_where_it_is_asked_for(tmp_path):
    place = Place("http://127.0.0.1:1", tmp_path, tmp_path)
    step = parts.steps(SCALE, None)[0]
    assert any(word.endswith("parts.py") for word in TOOLS[OURS].command(step.work, place))
