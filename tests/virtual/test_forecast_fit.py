"""Forecasts fitted to virtual runs, whose truth is known: what was put in is found, and other intervals come true."""

from random import Random

import pytest

from chatload.chat.policy import make_policy
from chatload.features.forecast import fit as fitting
from chatload.features.forecast.conditions import Conditions, RequestOdds, Stretch
from chatload.features.forecast.fit import ForecastQuestion, fit, job_of, predict, reproduce
from chatload.features.forecast.replay import MeasuredServer, remembering, replayers
from chatload.run.histogram import Histogram
from chatload.run.reader import RunReader
from chatload.simulator.model.faults import Fault
from chatload.stats.rates import interval
from chatload.virtual.network import NetworkModel
from tests.virtual.forecast_runs import record

FAULTS = (
    Fault("status_1", chance=0.03), Fault("http_500", chance=0.02, operations=frozenset({"GetMessages"})),
    Fault("outage", from_s=100.0, until_s=106.5),
)  # fmt: skip
TIMEOUT = 5.0


def fitted_to(run_dir, holder):
    with RunReader.open(run_dir) as reader:
        return fit(reader, holder)


@pytest.fixture(scope="module")
def hold():
    with pytest.MonkeyPatch.context() as patch, replayers(1) as holder:
        # A third of the replays for the fit, a sixth of those that judge it: the machine has other tests to run.
        patch.setattr(fitting, "FITTING_REQUESTS", 20_000)
        patch.setattr(fitting, "OFTEN", 4)
        yield holder


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, hold):
    run_dir = tmp_path_factory.mktemp("fit") / "run"
    record(
        run_dir,
        ("fixed", TIMEOUT, 2.0),
        faults=FAULTS,
        users=180,
        agent_leaves_chance=0.3,
        agent_leaves_after_s=(5.0, 20.0),
    )
    return fitted_to(run_dir, hold)


def test_a_connection_that_breaks_takes_as_long_as_those_of_the_run():
    slow = Histogram()
    slow.add(0.8)
    odds = RequestOdds(slow, (("drop_connection", 1.0),))
    server = MeasuredServer(Conditions((Stretch(0.0, {"": odds}),), 10.0, connection_s=(0.002,)), 2.0)
    there_s = server.request_latency(Random(1), 5.0, "GetMessages")
    assert there_s == 0.001
    assert server.draw(5.0 + there_s, "GetMessages").kind == "drop_connection"
    assert server.draw(5.0 + there_s, "GetMessages") is None


def test_what_was_put_in_is_found(fitted):
    calm = dict(fitted.conditions.stretches[0].odds["GetMessages"].failures)
    assert calm["status_1"] == pytest.approx(0.03, abs=0.005)
    assert calm["http_500"] == pytest.approx(0.02, abs=0.005)
    assert dict(fitted.conditions.stretches[0].odds["SendMessage"].failures).get("http_500") is None
    ((start, end, _),) = fitted.conditions.incidents
    assert (start, end) == (pytest.approx(100.0, abs=0.5), pytest.approx(106.5, abs=0.5))
    assert len(fitted.starts) == 180 and fitted.conditions.length_s == pytest.approx(160.0, abs=1.0)
    leaving = fitted.conditions.leaving
    before = sum(chance for age, chance in leaving if age < 4.0)
    assert before < 0.3 * max(chance for _, chance in leaving)
    assert leaving[-1][0] < 25.0 and leaving[-1][1] == 0.0


def test_round_trips_have_the_networks_median_and_tail(fitted):
    trips = fitted.conditions.stretches[0].odds["GetMessages"].round_trips
    # Twice a lognormal of median 10 ms, sigma 0.6.
    assert trips.quantile(0.5) == pytest.approx(0.0218, rel=0.1)
    assert trips.quantile(0.99) == pytest.approx(0.062, rel=0.35)


def test_the_run_is_reproduced(fitted, hold):
    goodness = reproduce(fitted, hold)
    requests, dropped, _ = goodness["figures"]
    assert fitted.measured.dropped > 20
    assert requests["reproduced"] == pytest.approx(requests["measured"], rel=0.03)
    low, high = interval(fitted.measured.dropped, fitted.measured.known)
    assert low <= dropped["reproduced"] <= high
    assert goodness["reproduces"]
    margin = goodness["margins_s"]["p50"]
    assert margin["reproduced"] == pytest.approx(margin["measured"], abs=0.25)


@pytest.mark.parametrize(
    "policy", [("fixed", TIMEOUT, 1.0), ("fixed", TIMEOUT, 4.5), ("fraction", TIMEOUT, None, 0.9)], ids=str
)
def test_a_forecast_of_another_interval_is_what_running_it_gives(fitted, hold, tmp_path, policy):
    run = record(tmp_path / "run", policy, faults=FAULTS, users=60, agent_leaves_chance=0.3,
                 agent_leaves_after_s=(5.0, 20.0), seed=77)  # fmt: skip
    verdicts = run.books.verdicts
    dropped = verdicts["dropped_late"] + verdicts["dropped_unproven"]
    low, high = interval(dropped, verdicts.total() - verdicts["refused"], 0.99)
    question = ForecastQuestion(60, make_policy(*policy), 160.0, 60)
    predictions = [predict(fitted, question, hold, seed) for seed in range(2)]
    drop_rate = sum(prediction["drop_rate"] for prediction in predictions) / 2
    assert low - 0.01 <= drop_rate <= high + 0.01, (drop_rate, low, high)
    hours = run.books.exposure_s / 3600
    known = verdicts.total() - verdicts["refused"]
    hourly = sum(prediction["drops_per_chat_hour"] for prediction in predictions) / 2
    assert (low - 0.01) * known / hours <= hourly <= (high + 0.01) * known / hours
    requests = sum(prediction["requests_per_s"] for prediction in predictions) / 2
    # The users of the run come within ten seconds.
    assert requests == pytest.approx(run.books.sent.total() / (160.0 - 5.0), rel=0.05)


def test_a_sample_says_what_all_sessions_say(fitted, hold):
    policy = make_policy("fixed", TIMEOUT, 4.5)
    some = predict(fitted, ForecastQuestion(1000, policy, 40.0, 200), hold)
    everyone = predict(fitted, ForecastQuestion(1000, policy, 40.0, 1000), hold)
    assert some["customers"] == 200 and everyone["customers"] == 1000
    assert some["requests_per_s"] == pytest.approx(everyone["requests_per_s"], rel=0.03)
    # Both 95 % intervals hold the truth with some room: they overlap.
    assert some["low"] <= everyone["high"] and everyone["low"] <= some["high"]


def test_the_result_does_not_depend_on_how_many_processes_hold_them(fitted, hold):
    job = job_of(fitted, ForecastQuestion(1100, make_policy("fixed", TIMEOUT, 4.0), 20.0, 1100), seed=4)
    alone = hold(job)
    with replayers(2) as together:
        shared = together(job)
    assert alone.books.to_dict() == shared.books.to_dict()
    assert (alone.customers_s, alone.drops, alone.sent) == (shared.customers_s, shared.drops, shared.sent)


def test_a_sample_that_stands_for_several_loads_is_held_once(fitted, hold):
    held = []
    once = remembering(lambda job: held.append(job) or hold(job))
    questions = [
        ForecastQuestion(sessions, make_policy("fixed", TIMEOUT, interval), 20.0, 20, growth)
        for sessions, interval, growth in ((1000, 2.0, 1.0), (5000, 2.0, 1.0), (5000, 3.0, 1.0), (5000, 2.0, 2.0))
    ]
    first, second, *_ = [predict(fitted, question, once) for question in questions]
    assert len(held) == 3
    assert first["drop_rate"] == second["drop_rate"] and second["requests_per_s"] == pytest.approx(
        5 * first["requests_per_s"]
    )


def test_longer_round_trips_are_felt(fitted, hold):
    policy = make_policy("fixed", TIMEOUT, 2.0)
    asked = [ForecastQuestion(n, policy, 60.0, 100, growth) for n, growth in ((18000, 1.0), (18000, 10.0))]
    as_measured, grown = (predict(fitted, question, hold) for question in asked)
    assert as_measured["latency_factor"] == 1.0 and grown["latency_factor"] == pytest.approx(100.0)
    assert grown["margins_s"]["p50"] < as_measured["margins_s"]["p50"] - 0.5
    assert grown["drop_rate"] > as_measured["drop_rate"]


def test_slow_times_of_the_run_stay_slow_times(tmp_path, hold, monkeypatch):
    # Round trips are read from the run: the replays of the fit, for the agents' times, need not be long.
    monkeypatch.setattr(fitting, "FITTING_REQUESTS", 2000)
    slow = Fault("slow", chance=0.9, delay_s=1.2, from_s=60.0, until_s=90.0)
    record(tmp_path / "run", ("fixed", TIMEOUT, 2.0), faults=(slow,), users=30, run_s=120.0,
           network=NetworkModel(0.005, 0.3))  # fmt: skip
    fitted = fitted_to(tmp_path / "run", hold)
    at = {
        stretch.start: stretch.odds["GetMessages"].round_trips.quantile(0.5) for stretch in fitted.conditions.stretches
    }
    slowly = [start for start, median in at.items() if median > 1.0]
    assert min(slowly) == pytest.approx(60.0, abs=10.0) and max(slowly) == pytest.approx(80.0, abs=10.0)
