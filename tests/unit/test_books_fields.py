"""Every field of the books travels, merges, and is taken apart again: whatever field there is, and will be."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import fields
from typing import Any

import pytest

from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram, Histogram

#: What the fields hold that are dicts by operation. A new one is to be named here.
BY_OPERATION = {
    "outcomes": Counter, "latency": CensoredHistogram, "response_time": CensoredHistogram, "fetch_outcomes": Counter,
    "fetch_latency": CensoredHistogram,
}  # fmt: skip
FIELDS = sorted(field.name for field in fields(Books))
#: Neither adds up: of stalls the longest of all, of states those of now.
LONGEST, STATES = "longest_stall_s", "states"


def filled(scale: int) -> Books:
    """Books of which every field holds something, each something else; scale: how much."""
    books = Books()
    for i, name in enumerate(FIELDS, 1):
        empty = vars(books)[name]
        number = scale * (10 + i)
        if isinstance(empty, dict) and not isinstance(empty, Counter):
            value: Any = {f"op{i}": _value(BY_OPERATION[name](), number), f"scale{scale}": BY_OPERATION[name]()}
        else:
            value = _value(empty, number)
        setattr(books, name, value)
    return books


def _value(empty: Any, number: int) -> Any:
    if isinstance(empty, Counter):
        return Counter({"a": number, "b": 2 * number})
    if isinstance(empty, Histogram):
        empty.extend([0.0] * number + [0.001 * number] * number + [1.5] * (number + 1))
        return empty
    if isinstance(empty, CensoredHistogram):
        return CensoredHistogram(_value(Histogram(), number), _value(Histogram(), number + 1))
    assert isinstance(empty, int | float), f"tell this test what {type(empty)} holds"
    return type(empty)(number)


def plain(part: Any) -> Any:
    """A field as plain values; what is empty or 0 is left out."""
    if isinstance(part, Histogram):
        return {"count": part.count, "zeros": part.zeros, "total_us": part.total_us, "buckets": dict(part.buckets)}
    if isinstance(part, CensoredHistogram):
        return {"observed": plain(part.observed), "censored": plain(part.censored)}
    if isinstance(part, dict):
        return {name: plain(each) for name, each in part.items() if each and getattr(each, "count", 1)}
    return part


def added(one: Any, other: Any) -> Any:
    """The sum of two fields as plain values."""
    if isinstance(one, dict):
        return {name: added(one.get(name), other.get(name)) for name in one.keys() | other.keys()}
    return (one if other is None else other) if one is None or other is None else one + other


def test_no_field_is_missing_in_what_is_written() -> None:
    assert set(FIELDS) == filled(1).to_dict().keys()


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_is_read_back_as_it_was_written(name: str) -> None:
    books = filled(1)
    read = Books.from_dict(json.loads(json.dumps(books.to_dict())))
    assert plain(vars(read)[name]) == plain(vars(books)[name])
    assert plain(vars(books.copy())[name]) == plain(vars(books)[name])


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_of_two_processes_is_the_sum_of_both(name: str) -> None:
    total = filled(1)
    total.merge(filled(3))
    one, other = (plain(vars(filled(scale))[name]) for scale in (1, 3))
    assert plain(vars(total)[name]) == (max(one, other) if name == LONGEST else added(one, other))


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_since_a_look_is_what_was_added_after_it(name: str) -> None:
    now = filled(1)
    now.merge(filled(3))
    expected = now if name == STATES else filled(3)
    assert plain(vars(now.since(filled(1)))[name]) == plain(vars(expected)[name])


@pytest.mark.parametrize("name", FIELDS)
def test_nothing_is_added_since_now(name: str) -> None:
    books = filled(1)
    since = vars(books.since(books.copy()))[name]
    expected = vars(books)[STATES] if name == STATES else vars(Books())[name]
    assert _nonempty(plain(since)) == _nonempty(plain(expected))


def _nonempty(part: Any) -> Any:
    return {name: each for name, each in part.items() if each} if isinstance(part, dict) else part


def test_the_longest_stall_since_a_look_is_told_only_if_it_came_after() -> None:
    books = Books()
    books.stall(3.0)
    look = books.copy()
    books.stall(2.0)
    assert (books.since(look).longest_stall_s, books.since(look).stalls) == (0.0, 1)
    books.stall(5.0)
    assert books.since(look).longest_stall_s == 5.0
