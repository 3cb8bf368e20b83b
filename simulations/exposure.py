"""How often rates per session, per chat-hour and by age are judged wrongly in runs of few chat lengths.

All chats have the same length, or lengths vary: they are exponential, with the same mean. Where they vary, only the
rate per session is judged: the two others do not ask about whole chats.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from chatload.run.books import Books
from chatload.run.lifetimes import Lifetimes
from chatload.thresholds.judgement import judge
from chatload.thresholds.metrics import Facts, parse
from chatload.vocabulary import Verdict
from simulations.frame import SimulatedTable, share

#: Length of a chat, time between two refreshes (seconds), and chats of a run.
CHAT_S, REFRESH_S, CHATS = 480.0, 15.0, 2000
RUNS = (0.5, 1.0, 4.0, 10.0)
#: The limits: a share of the chats, and the hazard (per chat-hour) that drops this share of them.
LIMIT = 0.01
HOURLY = -math.log1p(-LIMIT) * 3600 / CHAT_S
THRESHOLDS = {
    "dropped.rate": f"dropped.rate < {LIMIT}",
    "dropped.per_chat_hour": f"dropped.per_chat_hour < {HOURLY!r}",
    "dropped.by_age(8m)": f"dropped.by_age(8m) < {LIMIT}",
}
#: The hazard after half the mean length of a chat, relative to that before: constant, and rising.
CONSTANT, RISING = 1.0, 3.0


@dataclass
class Tally:
    """Judgements of one threshold. results: counted by hazard (a multiple of the limit) and result. reported: sum over
    the trials at the limit of the value, relative to its true one; valued: how many of them have a value."""

    results: Counter[tuple[float, str]] = field(default_factory=Counter)
    reported: float = 0.0
    valued: int = 0


def hazards(multiple: float, second_half: float) -> tuple[float, float]:
    """Return the hazards (per second) in the first half of a chat of mean length and after it.

    The probability that it is dropped before it is over is that of a hazard of `multiple` times the limit.
    """
    first = 2 * multiple * HOURLY / 3600 / (1 + second_half)
    return first, first * second_half


def drop_rate(second_half: float, varied: bool) -> float:
    """Return the probability that a chat is dropped, at the limit. varied: its length is exponential."""
    if not varied:
        return LIMIT
    (first, second), over = hazards(1, second_half), 1 / CHAT_S
    reaches_half = math.exp(-(first + over) * CHAT_S / 2)
    return first / (first + over) * (1 - reaches_half) + second / (second + over) * reaches_half


def simulate(
    run_s: float, multiple: float, second_half: float, random: np.random.Generator, varied: bool = False
) -> Facts:
    """Return the facts of one run in which chats arrive steadily and are dropped independently.

    multiple: of the hazard at the limit. second_half: see CONSTANT. varied: lengths are exponential.
    """
    first, second = hazards(multiple, second_half)
    # The age at which the cumulative hazard reaches a standard exponential variable.
    cumulative, half = random.standard_exponential(CHATS), first * CHAT_S / 2
    dropped_at = np.where(cumulative < half, cumulative / first, CHAT_S / 2 + (cumulative - half) / second)
    length = random.exponential(CHAT_S, CHATS) if varied else np.full(CHATS, CHAT_S)
    over_at = np.minimum(length, run_s * random.random(CHATS))
    dropped = dropped_at < over_at
    last = np.floor(np.minimum(dropped_at, over_at) / REFRESH_S) * REFRESH_S
    # A drop is learned by the next refresh, or by the goodbye.
    ended = np.where(dropped, np.minimum(last + REFRESH_S, over_at), over_at)
    alive = np.where(dropped, last, over_at)
    return _facts(alive, ended, dropped, cut_off=~dropped & (over_at < length))


def _facts(
    alive: NDArray[np.float64], ended: NDArray[np.float64], dropped: NDArray[np.bool_], cut_off: NDArray[np.bool_]
) -> Facts:
    books, cut = Books(started=CHATS, exposure_s=float(alive.sum())), int(cut_off.sum())
    drops = int(dropped.sum())
    books.verdicts.update(
        {Verdict.DROPPED_LATE: drops, Verdict.CUT_OFF: cut, Verdict.COMPLETED: CHATS - drops - cut},
    )
    lifetimes = Lifetimes(alive, ended, dropped, np.zeros(CHATS, dtype=np.bool_))
    return Facts(books, 45.0, cut, lifetimes=lifetimes)


def measure(
    run_lengths: float,
    trials: int,
    seed: int,
    second_half: float = CONSTANT,
    multiples: tuple[float, ...] = (0.5, 1, 2),
    varied: bool = False,
) -> dict[str, Tally]:
    """Return the judgements of each threshold in runs of so many chat lengths, by its metric."""
    thresholds = {name: parse(text) for name, text in THRESHOLDS.items()}
    if varied:
        thresholds = {"dropped.rate": parse(f"dropped.rate < {drop_rate(second_half, varied)!r}")}
    tallies = {name: Tally() for name in thresholds}
    for multiple in multiples:
        random = np.random.default_rng([seed, round(10 * run_lengths), round(10 * multiple), round(second_half)])
        for _ in range(trials):
            facts = simulate(run_lengths * CHAT_S, multiple, second_half, random, varied)
            for name, tally in tallies.items():
                judgement = judge(thresholds[name], facts)
                tally.results[multiple, judgement.result.value] += 1
                if multiple == 1 and judgement.value is not None:
                    tally.reported += judgement.value / thresholds[name].limit
                    tally.valued += 1
    return tallies


def table(trials: int, seed: int) -> SimulatedTable:
    """Return the error rates of the three thresholds, by the length of the run."""
    header = (
        *("hazard", "chats", "run, chat lengths", "metric", "reported / true", "false pass", "false fail"),
        *("passes at half", "fails at twice"),
    )
    return SimulatedTable(header, list(_rows(trials, seed)), trials, seed)


def _rows(trials: int, seed: int) -> Iterator[tuple[str, ...]]:
    for hazard, second_half in (("constant", CONSTANT), ("rising", RISING)):
        for varied in (False, True):
            for run_lengths in RUNS:
                for name, tally in measure(run_lengths, trials, seed, second_half, varied=varied).items():
                    counted = ((1, "pass"), (1, "fail"), (0.5, "pass"), (2, "fail"))
                    reported = f"{tally.reported / tally.valued:.2f}" if tally.valued else "no value"
                    shares = (share(tally.results[key], trials) for key in counted)
                    chats = "lengths vary" if varied else "equal"
                    yield (hazard, chats, f"{run_lengths:g}", f"`{name}`", reported, *shares)
