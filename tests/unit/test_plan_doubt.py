"""The chance that servers are enough, and what other commands' files say: by hand, and against drawn numbers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr, pdtr

from chatload.errors import FileError, NothingTestedError
from chatload.features.plan.certificate import CapacityCertificate, SearchFile, SweepInterval, read_search, read_sweep
from chatload.features.plan.compute import ServerPlan, make_plan
from chatload.features.plan.doubt import Doubt, doubt_of
from chatload.features.plan.inputs import Constraint, Demand, Origin, ServerFigure

HAND = Demand(handling_time_s=600, poll_interval_s=3, chats_per_hour=360, spare=0)


def plan_of(demand: Demand, certificate: CapacityCertificate, servers: int = 1) -> ServerPlan:
    capacity = {Constraint.SESSIONS: ServerFigure(certificate.lower / servers, Origin.CERTIFIED)}
    if certificate.requests_per_s is not None:
        capacity[Constraint.REQUESTS] = ServerFigure(certificate.requests_per_s / servers, Origin.CERTIFIED)
    return make_plan(demand, capacity)


def doubt(demand: Demand, certificate: CapacityCertificate, servers: int = 1) -> Doubt:
    found = doubt_of(plan_of(demand, certificate, servers), certificate, servers)
    assert found is not None
    return found


def test_a_capacity_that_is_known_leaves_the_doubt_to_demand():
    # 85 of Poisson(60) need 3 servers of 40. 2 carry 80: P(at most 80) = 0.9948; 3 carry 120.
    found = doubt(HAND, CapacityCertificate(lower=40, upper=40, confidence=0.9))
    assert list(found.chances) == [2, 3, 4]
    assert found.chances[2] == pytest.approx(pdtr(80, 60), abs=1e-6)
    assert found.chances[3] == pytest.approx(1, abs=1e-6)
    assert (found.by_capacity, found.by_steps, found.by_rate, found.by_chance) == (0, 0, 0, 1)


def test_a_demand_that_is_nearly_known_leaves_the_doubt_to_capacity_by_hand():
    # A million chats on average: 1 003 096 planned for. Capacity 400 000 to 640 000 at 90 %: its middle is 505 964, and
    # its logarithm deviates by ln(1.6) / (2 x 1.645) = 0.1429. 2 servers: ln(2 x 505 964 / 1e6) / 0.1429 = 0.083.
    many = replace(HAND, chats_per_hour=6e6)
    found = doubt(many, CapacityCertificate(lower=400_000, upper=640_000, confidence=0.9))
    assert found.chances[2] == pytest.approx(float(ndtr(math.log(1.011929) / 0.14287)), abs=1e-3)
    assert found.chances[3] > 0.99 and found.by_capacity > 0.999


def test_shares_of_the_doubt_by_hand():
    # Variances of logarithms: capacity 0.1429^2 = 0.02041; day's rate 0.1^2 = 0.01; chance 1 / 600 = 0.00167.
    certificate = CapacityCertificate(lower=400, upper=640, confidence=0.9)
    found = doubt(replace(HAND, chats_per_hour=3600, rate_cv=0.1), certificate)
    assert found.by_capacity == pytest.approx(0.636, abs=0.01)
    assert found.by_rate == pytest.approx(0.312, abs=0.01)
    assert found.by_chance == pytest.approx(0.052, abs=0.003)
    assert found.by_capacity + found.by_rate + found.by_chance == pytest.approx(1)


@pytest.mark.parametrize("agents", [None, 105])
def test_the_chance_against_drawn_demands_and_capacities(agents: int | None):
    demand = replace(HAND, chats_per_hour=600, rate_cv=0.1, agents=agents, patience_s=600.0 if agents else None)
    certificate = CapacityCertificate(lower=35, upper=60, confidence=0.8)
    found = doubt(demand, certificate)
    random = np.random.default_rng(2)
    # Patience like a chat: the number open is Poisson with agents too.
    chats = random.poisson(100 * random.gamma(100, 0.01, 200_000))
    capacity = 35 * math.exp(math.log(60 / 35) / 2) * np.exp(certificate.log_deviation * random.normal(size=200_000))
    for servers, chance in found.chances.items():
        # A standard error is at most 0.0011.
        assert chance == pytest.approx(float(np.mean(chats <= servers * capacity)), abs=0.005)


def normal_curve(deviation: float) -> tuple[tuple[float, float], ...]:
    """The chance to hold around 46, where the logarithm of the load that is held has this deviation in all."""
    loads = np.geomspace(20, 100, 60)
    return tuple((float(load), float(ndtr(math.log(46 / load) / deviation))) for load in loads)


VARYING = CapacityCertificate(lower=46**2 / 60, upper=60, confidence=0.8, curve=normal_curve(0.25))


def test_the_curve_is_wider_than_the_interval_by_what_a_server_varies_by_hand():
    # ln(60 / 46) = 0.2657 is 1.2816 deviations: 0.2073. A curve with 0.25 leaves sqrt(0.25^2 - 0.2073^2) = 0.1397.
    assert VARYING.log_deviation == pytest.approx(0.2073, abs=1e-4)
    assert VARYING.step_deviation == pytest.approx(0.1397, abs=0.002)
    # Steps that fail at every load are no part of it.
    lapsing = tuple((load, 0.9 * chance) for load, chance in VARYING.curve)
    lapses = VARYING.model_copy(update={"curve": lapsing, "lapses": 0.1})
    assert lapses.step_deviation == pytest.approx(VARYING.step_deviation, abs=1e-6)
    assert VARYING.model_copy(update={"curve": normal_curve(0.1)}).step_deviation == 0
    assert VARYING.model_copy(update={"curve": ()}).step_deviation == 0
    limit = CapacityCertificate(lower=46, upper=46, confidence=0.9, curve=((46, 1.0), (47, 0.0)))
    assert limit.step_deviation == 0 and limit.chance_to_hold(np.array([46.0, 46.5])).tolist() == [1, 0]


def test_all_servers_must_hold_and_each_varies_by_itself():
    random = np.random.default_rng(4)
    known, step = (each * random.normal(size=(100_000, n)) for each, n in ((0.2073, 1), (0.1397, 3)))
    held = 46 * np.exp(known + step)
    for load in (30.0, 46.0):
        one, three = (float(VARYING.chance_to_hold(np.array([load]), n)[0]) for n in (1, 3))
        assert one == pytest.approx(float(ndtr(math.log(46 / load) / 0.25)), abs=2e-3)
        assert three == pytest.approx(float(np.mean((held >= load).all(axis=1))), abs=0.008)
        assert one**3 < three < one


def test_chats_that_send_more_requests_than_those_of_the_search_need_more():
    # The search: 40 chats, 10 requests/s. The plan's chats send 1/3 + 2/600 = 0.3367 each, 1.347 times as many.
    certificate = CapacityCertificate(lower=40, upper=40, confidence=0.9, requests_per_s=10)
    found = doubt(HAND, certificate)
    assert plan_of(HAND, certificate).needed == 3
    assert found.chances[2] == pytest.approx(pdtr(80 * 0.25 // 0.33667, 60), abs=1e-6)
    # At longer intervals the number of sessions decides, as in the search.
    slower = doubt(replace(HAND, poll_interval_s=6), certificate)
    assert slower.chances[2] == pytest.approx(pdtr(80, 60), abs=1e-6)


def test_a_certificate_of_two_servers_is_shared_by_them():
    one, two = (CapacityCertificate(lower=n, upper=1.5 * n, confidence=0.9) for n in (40, 80))
    assert doubt(HAND, one).chances == pytest.approx(doubt(HAND, two, 2).chances)


def test_nothing_is_said_where_another_figure_decides():
    certificate = CapacityCertificate(lower=40, upper=50, confidence=0.9)
    capacity = {Constraint.SESSIONS: ServerFigure(40, Origin.CERTIFIED), Constraint.REQUESTS: ServerFigure(1)}
    assert doubt_of(make_plan(HAND, capacity), certificate) is None


def write(folder: Path, name: str, **content: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder


WHOLE = {
    "lower": 40, "upper": 50, "confidence": 0.9, "curve": [[40, 0.99]], "lapses": 0.1,
    "drops_per_chat_hour_upper": 0.02, "requests_per_s": 13.5,
}  # fmt: skip


def test_the_certificate_of_a_search_is_read(tmp_path: Path):
    run = write(tmp_path / "run", "capacity.json", schema_version=1, capacity=WHOLE)
    expected = CapacityCertificate(
        lower=40,
        upper=50,
        confidence=0.9,
        curve=((40, 0.99),),
        lapses=0.1,
        drops_per_chat_hour_upper=0.02,
        requests_per_s=13.5,
    )
    assert read_search(run) == SearchFile(capacity=expected) == read_search(run / "run.sqlite")
    assert read_search(write(tmp_path / "none", "capacity.json", capacity=None, held=40)) == SearchFile(held=40)
    assert read_search(write(tmp_path / "plain", "other.json")) is None


@pytest.mark.parametrize(
    ("capacity", "said"),
    [
        ({**WHOLE, "lower": 60}, "capacity.json: capacity: "),
        ({**WHOLE, "lower": 0}, "capacity.json: capacity.lower: "),
        ({**WHOLE, "confidence": 1}, "capacity.json: capacity.confidence: "),
        ({"lower": 40, "upper": 50}, "capacity.json: capacity.confidence: Field required"),
        ({**WHOLE, "upper": "many"}, "capacity.json: capacity.upper: "),
    ],
)
def test_a_certificate_that_is_none_is_refused(capacity: dict[str, Any], said: str, tmp_path: Path):
    with pytest.raises(FileError) as refused:
        read_search(write(tmp_path / "run", "capacity.json", capacity=capacity))
    assert said in str(refused.value)


def test_the_interval_of_a_sweep_is_read(tmp_path: Path):
    sweep = write(tmp_path / "s", "tune.json", result="recommended", timeout_s=20.0, recommended={"interval_s": 9.0})
    assert read_sweep(sweep) == read_sweep(sweep / "tune.json") == SweepInterval(interval_s=9, timeout_s=20)
    without = write(tmp_path / "t", "tune.json", result="inconclusive", timeout_s=20.0, recommended=None)
    with pytest.raises(NothingTestedError, match=r"recommends no interval \(inconclusive\); give --poll-interval"):
        read_sweep(without)
    with pytest.raises(FileError, match=r"tune\.json: cannot be read"):
        read_sweep(tmp_path)
    (tmp_path / "tune.json").write_text("{")
    with pytest.raises(FileError, match=r"tune\.json: this is no JSON; expected the file that chatload tune writes"):
        read_sweep(tmp_path)
