"""Runs made up from a seed: what is the same, what is worse, and how noisy runs are is known exactly."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from chatload.features.compare.compute import RunFigures, measure
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram, Histogram

TIMEOUT_S = 45.0


@dataclass(frozen=True)
class Service:
    """What a run is made on. noise: sigma of the lognormal factor each run has on everything, independently
    for each quantity. tail: factor on all latencies above the median of them."""

    drop_rate: float = 0.01
    unserved_rate: float = 0.005
    unsuccessful_rate: float = 0.01
    tail: float = 1.0
    noise: float = 0.05
    sessions: int = 2000
    requests: int = 6000


def histogram(values: np.ndarray) -> Histogram:
    """The values' histogram."""
    made = Histogram()
    made.extend(values.tolist())
    return made


def make_books(service: Service, random: np.random.Generator) -> Books:
    factors = np.exp(random.normal(0, service.noise, 6))
    latency = 0.05 * factors[0] * np.exp(random.normal(0, 0.5, service.requests))
    latency = np.where(latency > 0.05 * factors[0], latency * service.tail, latency)
    books = Books()
    books.latency["GetMessages"] = CensoredHistogram(histogram(latency))
    books.lateness = histogram(0.02 * factors[1] * random.exponential(1, service.requests))
    books.gap = CensoredHistogram(histogram(20 * factors[2] + random.exponential(1, service.requests)))
    dropped = int(random.binomial(service.sessions, service.drop_rate * factors[3]))
    refused = int(random.binomial(service.sessions - dropped, service.unserved_rate * factors[4]))
    books.started = service.sessions
    books.verdicts = Counter(dropped_late=dropped, refused=refused, completed=service.sessions - dropped - refused)
    unsuccessful = int(random.binomial(service.requests, service.unsuccessful_rate * factors[5]))
    books.sent = Counter(GetMessages=service.requests)
    books.outcomes = {"GetMessages": Counter({"0/false": service.requests - unsuccessful, "1/false": unsuccessful})}
    return books


def make_runs(service: Service, count: int, random: np.random.Generator, side: str = "") -> list[RunFigures]:
    made = (measure(make_books(service, random), TIMEOUT_S) for _ in range(count))
    return [
        RunFigures(f"{side}{i}", figures, TIMEOUT_S, started_at=alternating(side, i, count))
        for i, figures in enumerate(made)
    ]


def alternating(side: str, i: int, count: int) -> float:
    """Return the start of the i-th of `count` runs of a side ("n" for NEW), so that the sides alternate evenly."""
    return (i + 0.5) / count + (0.001 if side == "n" else 0.0)
