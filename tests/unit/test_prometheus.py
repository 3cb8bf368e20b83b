"""The metrics endpoint's text: legal for Prometheus' own parsers, complete, and what the dashboard asks for."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector

from chatload.run.books import Books, RunBooks
from chatload.run.histogram import RELATIVE_ERROR, Histogram
from chatload.swarm.prometheus import cumulative, families
from chatload.swarm.snapshot import RunSnapshot
from chatload.thresholds.metrics import Facts
from chatload.vocabulary import Blame, Verdict
from tests.unit.test_live import at, busy

DASHBOARD = Path(__file__).resolve().parents[2] / "docs" / "grafana" / "chatload.json"
FORMATS = [(generate_latest, parse_text), (generate_openmetrics, parse_openmetrics)]


class Fixed(Collector):
    def __init__(self, snapshot):
        self.snapshot = snapshot

    def collect(self):
        return families(self.snapshot)


def scraped(snapshot, generate=generate_openmetrics, parse=parse_openmetrics):
    """Every sample of a scrape, through the format's own parser: (name, labels) -> value."""
    registry = CollectorRegistry()
    registry.register(Fixed(snapshot))
    found = {}
    for family in parse(generate(registry).decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(samples, name, **labels):
    return samples[name, frozenset(labels.items())]


@pytest.mark.parametrize("generate, parse", FORMATS)
@pytest.mark.parametrize("snapshot", [RunSnapshot("ready", Facts(Books())), at(busy()), at(busy(), "ended")])
def test_its_own_parsers_read_it(generate, parse, snapshot):
    assert scraped(snapshot, generate, parse)


def test_the_figures_are_those_of_the_books():
    books = busy()
    found = scraped(at(books))
    assert value(found, "chatload_run_active") == 1
    assert value(found, "chatload_sessions_started_total") == books.started
    for verdict in Verdict:
        assert value(found, "chatload_sessions_ended_total", verdict=verdict.value) == books.verdicts[verdict]
    assert value(found, "chatload_sessions_open", state="held") == 2
    assert value(found, "chatload_dropped_late_total", blame=Blame.NETWORK.value) == 2
    assert value(found, "chatload_requests_sent_total", operation="RequestChat") == 1
    assert value(found, "chatload_requests_total", operation="GetMessages", outcome="1/false") == 1
    assert value(found, "chatload_refresh_margin_min_seconds") == 1.0
    assert value(found, "chatload_flex_disconnect_timeout_seconds") == 45.0
    assert value(found, "chatload_generator_stalls_total") == 1
    assert value(found, "chatload_generator_stalled_seconds_total") == 0.4
    assert value(found, "chatload_refresh_gap_seconds_sum") == 64.0
    assert value(found, "chatload_refresh_gap_seconds_count") == 5
    assert value(found, "chatload_refresh_gap_seconds_bucket", le="30.0") == 1
    assert value(found, "chatload_latency_seconds_sum", operation="GetMessages") == pytest.approx(0.75)
    assert value(found, "chatload_latency_seconds_bucket", operation="GetMessages", le="0.1") == 0
    assert value(found, "chatload_latency_seconds_bucket", operation="GetMessages", le="0.5") == 3


def of_two_classes():
    total, late = busy(), busy()
    late.gap.add(50.0)
    total.merge(late)
    return RunSnapshot("running", Facts.so_far(RunBooks(total, {"Vip": busy(), "Web": late}), 45.0))


@pytest.mark.parametrize("generate, parse", FORMATS)
def test_several_user_classes_are_labels_and_sum_to_the_run(generate, parse):
    snapshot = of_two_classes()
    found = scraped(snapshot, generate, parse)
    whole = scraped(replace(snapshot, facts=replace(snapshot.facts, by_class={})), generate, parse)
    sums = Counter()
    for (name, labels), number in found.items():
        apart = dict(labels)
        if apart.pop("user_class", None):
            sums[name, frozenset(apart.items())] += number
        else:
            # Nothing is there twice: what belongs to no class is a figure of the run or of its processes.
            assert number == whole[name, labels] and "sessions" not in name and "requests" not in name
    margin = ("chatload_refresh_margin_min_seconds", frozenset())
    for key, number in sums.items():
        assert number == pytest.approx(whole[key]) or key == margin, key
    assert {key for key in whole if key not in found} == sums.keys()
    assert value(found, margin[0], user_class="Web") == -5.0 and value(found, margin[0], user_class="Vip") == 1.0


def test_a_run_that_is_over_is_not_active():
    assert value(scraped(at(busy(), "ended")), "chatload_run_active") == 0


def test_every_metric_of_the_dashboard_is_exported_and_every_family_is_on_it():
    dashboard = json.loads(DASHBOARD.read_text())
    asked = {target["expr"] for panel in dashboard["panels"] for target in panel["targets"]}
    asked |= {variable["definition"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"}
    named = {name for expression in asked for name in re.findall(r"\bchatload_\w+", expression)}
    exported = {name for name, _ in scraped(at(busy()))}
    assert named - exported == set()
    # The user class is a choice of the dashboard for all that has the label.
    labelled = {name for name, labels in scraped(of_two_classes()) if "user_class" in dict(labels)}
    for name, choices in re.findall(r"\b(chatload_\w+){([^}]*)}", " ".join(asked)):
        assert ("$user_class" in choices) == (name in labelled), name
    stem = re.compile(r"_(bucket|sum|count)$")
    assert {stem.sub("", name) for name in exported} == {stem.sub("", name) for name in named}


@given(st.lists(st.floats(0, 1e4), max_size=200), st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=10))
def test_counts_up_to_a_limit_are_within_the_stated_error(values, limits):
    limits.sort()
    histogram = Histogram()
    for sample in values:
        histogram.add(sample)
    counts = cumulative(histogram, limits)
    assert counts == sorted(counts)
    slack = 1.01 * RELATIVE_ERROR
    for limit, count in zip(limits, counts, strict=True):
        assert sum(sample <= limit * (1 - slack) for sample in values) <= count
        assert count <= sum(sample <= limit * (1 + slack) for sample in values)
