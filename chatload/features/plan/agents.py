"""Chats that wait for one of a limited number of agents: a waiting chat refreshes too, so it is open like the others.

Erlang C (M/M/n): A. K. Erlang (1917); nobody gives up. Erlang A (M/M/n+M): C. Palm, "Research on telephone traffic
carried by full availability groups", Tele (1957); a customer who waits gives up after an exponential time, the
patience. Both as in O. Garnett, A. Mandelbaum and M. Reiman, "Designing a call center with impatient customers",
Manufacturing and Service Operations Management 4 (2002).

The number of chats in the system is a birth-death process with births at the rate `lambda`, and deaths at the rate
min(k, n) mu + max(k - n, 0) theta with k chats. With a = lambda / mu, b = n mu / theta and eta = lambda / theta its
distribution has a closed form in incomplete gamma functions P (lower) and Q (upper):

    P(N <= k)  = (1 - D) Q(k + 1, a) / Q(n, a)      for k < n
    P(N > k)   = D P(b + k - n + 1, eta) / P(b, eta)    for k >= n - 1
    D = P(N >= n) = A / (1 / B - 1 + A)             an arriving chat has to wait
    B = Erlang's loss formula,  A = sum over j >= 0 of eta^j / ((b + 1) ... (b + j))

Without patience (Erlang C) A = 1 / (1 - rho), and P(N > k) = D rho^(k - n + 1), with rho = a / n < 1.

If the rate changes over the day and customers give up, the number of chats follows the rate with a delay. Its mean is
approximated by the fluid model dN/dt = rate(t) - min(N, n) mu - max(N - n, 0) theta (A. Mandelbaum, W. A. Massey and M.
Reiman, "Strong approximations for Markovian service networks", Queueing Systems 30 (1998)). Its distribution at the
peak is taken to be that of the constant rate at which the fluid model has the same N. With few chats this is the
modified offered load of W. A. Massey and W. Whitt, "An analysis of the modified offered-load approximation for the
nonstationary Erlang loss model", Annals of Applied Probability 4 (1994).
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import gammainc, gammaincc, gammainccinv, gammaincinv, gammaln

from chatload.features.plan.queueing import Floats
from chatload.run.arrivals import RateProfile

#: Points of the distribution of the day's rate, and the share that is cut off at each of its ends.
_POINTS, _CUT = 400, 1e-12
#: Of these, the points at which the fluid model is computed; between them it is interpolated.
_FEW_DAYS = 17
#: The longest step of the fluid model (seconds), the fewest steps of a row, and how short (seconds) the step becomes in
#: which all agents become busy.
_FLUID_STEP_S, _FLUID_STEPS, _FLUID_LEAST_S = 240.0, 8, 1.0


class WaitingFigures(NamedTuple):
    """What customers feel at the peak of a day with the expected rate.

    wait_share, give_up_share: of the chats. mean_wait_s: of all chats. busy: mean share of the agents in a chat.
    """

    wait_share: float
    mean_wait_s: float
    give_up_share: float
    busy: float


class AgentQueue:
    """The number of chats open at once: waiting, or with an agent.

    Args:
        offered: arrivals per second times the mean time with an agent in seconds (erlangs), above 0.
        agents: from 1. It may be a fraction, for the influence of a small change.
        patience: mean patience / mean time with an agent; None if nobody gives up.
        rate_cv: standard deviation / mean of the day's rate. `above` and `unstable_share` are shares of all days
            together. `mean` and `figures` are those of a day with the expected rate: over all days a mean is infinite
            if nobody gives up, because on some days nearly as many chats come as the agents can end.
        offered_on: offered load of days by their rate divided by the expected one; by default proportional.
    """

    def __init__(
        self,
        offered: float,
        agents: float,
        patience: float | None = None,
        rate_cv: float = 0.0,
        offered_on: Callable[[Floats], Floats] | None = None,
    ) -> None:
        self.agents = agents
        factors, self._weights = _days(rate_cv)
        self._offered = offered * factors if offered_on is None else offered_on(factors)
        self._patience = patience
        # What each share is divided by: the Poisson share of fewer chats than agents, and that of the other states.
        self._all_below = gammaincc(agents, self._offered)
        self._all_beyond = gammainc(agents * (patience or 0.0), self._offered * (patience or 0.0))
        self._full = self._share_full()

    @property
    def unstable_share(self) -> float:
        """The share of days on which the queue grows without limit: nobody gives up, and more chats come than end."""
        return 0.0 if self._patience is not None else float(self._weights @ (self._offered >= self.agents))

    @property
    def mean(self) -> float:
        """The mean number of open chats."""
        return float(self._busy()[0] + self._waiting()[0])

    def above(self, level: float) -> float:
        """Return the share of time in which more than `level` chats are open; exact for whole numbers."""
        if level < self.agents - 1:
            share = 1 - (1 - self._full) * self._below_full(level + 1)
        else:
            share = self._full * self._beyond(level + 1 - self.agents)
        return float(self._weights @ share)

    def figures(self, handling_time_s: float) -> WaitingFigures:
        """Return what customers feel. handling_time_s: mean time with an agent."""
        offered, busy, waiting = (float(of_day[0]) for of_day in (self._offered, self._busy(), self._waiting()))
        give_up = 0.0 if self._patience is None else max(1 - busy / offered, 0.0)
        # An arriving chat finds the mean over time: R. W. Wolff, "Poisson arrivals see time averages", Operations
        # Research 30 (1982).
        wait_share = float(self._full[0])
        return WaitingFigures(wait_share, waiting / offered * handling_time_s, give_up, busy / self.agents)

    def _share_full(self) -> Floats:
        """Return D for each day: the share of time with all agents in a chat."""
        a, n = self._offered, self.agents
        within = gammaincc(n + 1, a)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            # Where the Poisson share up to n underflows, the load is far above n, and B is 1 - n / a.
            loss = np.where(within > 0, np.exp(n * np.log(a) - a - gammaln(n + 1)) / within, 1 - n / a)
            beyond = self._queue_sum()
            full: Floats = np.where(np.isinf(beyond), 1.0, beyond / (1 / loss - 1 + beyond))
        return full

    def _queue_sum(self) -> Floats:
        """Return A for each day: the sum of all states with all agents in a chat, in units of the first of them."""
        a, n = self._offered, self.agents
        if self._patience is None:
            with np.errstate(divide="ignore"):
                return np.where(a < n, 1 / np.maximum(1 - a / n, 0.0), np.inf)
        b, eta, part = n * self._patience, a * self._patience, self._all_beyond
        with np.errstate(divide="ignore", over="ignore"):
            logarithm = gammaln(b + 1) + eta - b * np.log(eta) + np.log(part)
            return np.where(part > 0, np.exp(logarithm), 1 / (1 - np.minimum(eta / (b + 1), 0.999)))

    def _beyond(self, waiting: float) -> Floats:
        """Return, for each day, P(at least `waiting` chats wait) / P(all agents are in a chat)."""
        a, n = self._offered, self.agents
        if self._patience is None:
            return np.minimum(a / n, 1.0) ** waiting
        b, eta, part = n * self._patience, a * self._patience, self._all_beyond
        # Where P underflows, the agents are hardly ever all busy; a geometric queue is an upper bound of the true one.
        bound = np.minimum(eta / (b + 1), 1.0) ** waiting
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(part > 0, gammainc(b + waiting, eta) / part, bound)

    def _below_full(self, k: float) -> Floats:
        """Return, for each day, P(fewer than k chats) / P(fewer than `agents` chats); k at most `agents`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self._all_below > 0, gammaincc(k, self._offered) / self._all_below, 0.0)

    def _busy(self) -> Floats:
        """Return the mean number of agents in a chat, for each day."""
        below = (1 - self._full) * self._below_full(self.agents - 1)
        return self.agents * self._full + self._offered * below

    def _waiting(self) -> Floats:
        """Return the mean number of chats that wait, for each day."""
        if self._patience is not None:
            # In a steady state, chats arrive as fast as they end or are given up.
            return np.maximum(self._offered - self._busy(), 0.0) * self._patience
        rho = self._offered / self.agents
        with np.errstate(divide="ignore"):
            return np.where(rho < 1, self._full * rho / np.maximum(1 - rho, 0.0), np.inf)


@lru_cache(maxsize=256)
def agent_queue(offered: float, agents: float, patience: float | None, rate_cv: float) -> AgentQueue:
    """Return the queue (see `AgentQueue`); the same inputs are computed once."""
    return AgentQueue(offered, agents, patience, rate_cv)


class FluidPeak(NamedTuple):
    """When most chats are open by the fluid model, in seconds since the profile began, and how many.

    offered: the constant load, in erlangs, at which as many chats are open.
    """

    at_s: float
    chats: float
    offered: float


@lru_cache(maxsize=4096)
def fluid_peak(
    profile: RateProfile, factor: float, agents: float, handling_time_s: float, patience_s: float
) -> FluidPeak:
    """Return the peak of the fluid model. factor: on the rates of the profile, whose first one has lasted before it."""
    start = factor * profile.pieces[0].first * handling_time_s
    chats = min(start, agents) + max(start - agents, 0.0) * patience_s / handling_time_s
    most, at_s = chats, 0.0
    for piece in profile.pieces:
        steps = max(math.ceil((piece.end - piece.start) / _FLUID_STEP_S), _FLUID_STEPS)
        length, slope = (piece.end - piece.start) / steps, factor * piece.slope
        for step in range(steps):
            rate = factor * piece.first + slope * step * length
            chats = _flow(chats, rate, slope, length, agents, handling_time_s, patience_s)
            if chats > most:
                most, at_s = chats, piece.start + (step + 1) * length
    waiting = max(most - agents, 0.0)
    return FluidPeak(at_s, most, min(most, agents) + waiting * handling_time_s / patience_s)


def _flow(
    chats: float, rate: float, slope: float, length_s: float, agents: float, handling_time_s: float, patience_s: float
) -> float:
    """Return the chats of the fluid model after `length_s` seconds, in which the rate grows by `slope` per second."""
    # Below `agents` chats leave at the rate chats / handling time, above it at chats / patience + constant.
    queued = chats >= agents
    time_s, constant = (
        (patience_s, agents / handling_time_s - agents / patience_s) if queued else (handling_time_s, 0.0)
    )
    delay = slope * time_s
    level = (rate - constant - delay) * time_s
    after = level + delay * length_s + (chats - level) * math.exp(-length_s / time_s)
    if (after >= agents) != queued and length_s > _FLUID_LEAST_S:
        half = length_s / 2
        between = _flow(chats, rate, slope, half, agents, handling_time_s, patience_s)
        return _flow(between, rate + slope * half, slope, half, agents, handling_time_s, patience_s)
    return after


@lru_cache(maxsize=256)
def profile_queue(
    profile: RateProfile, factor: float, agents: float, handling_time_s: float, patience_s: float, rate_cv: float
) -> AgentQueue:
    """Return the queue at the peak of a profile. factor: on its rates."""

    def offered_on(factors: Floats) -> Floats:
        few = np.unique(np.concatenate([[1.0], np.geomspace(factors.min(), factors.max(), _FEW_DAYS)]))
        loads = [fluid_peak(profile, factor * day, agents, handling_time_s, patience_s).offered for day in few.tolist()]
        return np.interp(factors, few, loads)

    offered = fluid_peak(profile, factor, agents, handling_time_s, patience_s).offered
    return AgentQueue(offered, agents, patience_s / handling_time_s, rate_cv, offered_on)


def _days(rate_cv: float) -> tuple[Floats, Floats]:
    """Return factors on the day's rate, and the share of days of each: a gamma distribution of mean 1.

    The first factor is 1, the expected rate; it has no share if days differ. The others are even on a logarithmic
    scale, where the density and its slope vanish at both ends, so that the trapezoidal rule is exact to many digits.
    """
    if not rate_cv:
        return np.ones(1), np.ones(1)
    shape = rate_cv**-2
    low, high = (math.log(end / shape) for end in (gammaincinv(shape, _CUT), gammainccinv(shape, _CUT)))
    logarithms = np.linspace(low, high, _POINTS)
    density = np.exp(shape * (logarithms - np.expm1(logarithms)))
    return np.concatenate([[1.0], np.exp(logarithms)]), np.concatenate([[0.0], density / density.sum()])
