"""How long the steps of a campaign take, how much load they are, and what fits into the time. Pure.

The time of the sweep and of the proof follows from the chat-hours that show the target. Without a drop, a rate is below
a limit with 95 % confidence after 3.0 / limit chat-hours, and with one drop after 4.74 / limit (Garwood's exact bounds,
`chatload.stats.rates`). The proof has time for one drop, so that a single event does not leave it undecided.

In the proof chats arrive at random at a constant rate, so that the number of open chats has a Poisson distribution
(`chatload.features.plan.queueing`). The rate of the peak is the one at which the planned number of chats is exceeded as
rarely as the plan allows. The servers behind the host get their part of this rate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scipy.special import gammaincinv

from chatload.features.campaign.rules import CampaignStep
from chatload.features.capacity.length import STEADY, VARIABLE, search_s
from chatload.features.capacity.step import StepRules
from chatload.features.plan.queueing import whole_level
from chatload.features.probe.evidence import DEFAULT_CHATS, make_settings
from chatload.stats.rates import per_unit_upper

#: What is added to a computed time: starting processes, disconnecting chats (seconds), and a share of the time.
_START_S, _SLACK = 15.0, 1.1
#: doctor and plan take a few seconds each.
SHORT_S: Final = 10.0
#: New chats of a sweep start spread over this time, or over one chat length if it is shorter (seconds).
RAMP_S: Final = 60.0
#: A sweep has this share of the load that the server holds: it shall not be near its limit.
SWEEP_LOAD = 0.8
#: The share of the time that the capacity search may take, at least.
_SEARCH_SHARE = 0.4
#: Drops that a proof tolerates, and the refreshes that its thresholds on them need.
_DROPS, _REFRESHES = 1, 200
#: A proof lasts at least this many chat lengths. It begins without open chats; after three chat lengths 95 % of the
#: mean number are open.
_LEAST_PROOF = 3.0
#: Limit of a proof on what is not a drop (unserved, failed, refreshes), if the target is lower: the standard gate's.
LEAST_LIMIT = 0.01
#: Random arrivals may exceed what the host holds for this part of that limit, and for this share of the time.
_OVER_PART, _MOST_OVER = 0.1, 0.005
#: The number of open chats of a proof that is announced is exceeded for this share of the time.
_ANNOUNCED = 0.001
#: What a server is assumed to hold before it is known, for the time of later steps: the vendor's own sizing.
ASSUMED_SESSIONS = 500
#: A campaign searches up to this many times the planned peak: a server that holds more is enough by itself.
_SEARCH_TO = 2
_SMALLEST_SEARCH = 20
#: How long a step of the search is held (seconds), unless the timeout is very short.
_HOLD_S = 10.0
#: The designs of a sweep, the most informative first: refresh intervals as parts of the timeout, and how many times the
#: number of sessions that shows the target without a drop. None is near the timeout: a refresh that fails must be
#: repeated in time.
_DESIGNS: Final[Sequence[tuple[tuple[float, ...], float]]] = (
    ((0.5, 0.6, 0.7, 0.8), 3.0),
    ((0.5, 0.6, 0.7, 0.8), 1.6),
    ((0.5, 0.65, 0.8), 1.6),
    ((0.5, 0.7), 1.6),
    ((0.5, 0.7), 1.0),
)


@dataclass(frozen=True)
class ChatShape:
    """The chats of a campaign.

    length_s: mean length. target: the share of them that may be dropped. timeout_s: their refreshes are less than this
    apart (seconds).
    """

    length_s: float
    target: float
    timeout_s: float

    @property
    def drops_per_hour(self) -> float:
        """The drops per chat-hour that are the target: a chat is open for length_s, and the rate is constant."""
        return -math.log1p(-self.target) * 3600 / self.length_s

    @property
    def other_limit(self) -> float:
        """The limit of a proof on the shares of chats and requests that fail in another way."""
        return max(self.target, LEAST_LIMIT)

    @property
    def ramp_s(self) -> float:
        """The time over which the chats of a sweep start."""
        return min(RAMP_S, self.length_s)


@dataclass(frozen=True)
class SweepDesign:
    """A sweep. fractions: refresh intervals as parts of the timeout. sessions: for each of them. time_s: its length."""

    fractions: tuple[float, ...]
    sessions: int
    time_s: float


@dataclass(frozen=True)
class PeakLoad:
    """The peak of a plan: the number of open chats to plan for, and the share of time in which more may be open."""

    chats: int
    tail: float

    @property
    def mean(self) -> float:
        """The mean of the Poisson distribution that exceeds `chats` for the share `tail` of the time."""
        return float(gammaincinv(self.chats + 1, self.tail))


@dataclass(frozen=True)
class ProofLoad:
    """The load of a proof. chats: open at once on average. part: of the rate that the host has to carry at the peak.

    part is below 1 if random arrivals at the whole rate would exceed too often what the host holds. The chats of a
    service with several servers vary less, because its load balancer spreads them.
    """

    chats: float
    part: float

    @property
    def most_chats(self) -> int:
        """The number of open chats that is exceeded for a thousandth of the time."""
        return whole_level(self.chats, _ANNOUNCED)

    def rate_per_s(self, length_s: float) -> float:
        """Return how many chats arrive per second. length_s: their mean length."""
        return self.chats / length_s


def proof_load(chats: ChatShape, peak: PeakLoad, servers_needed: int, servers: int, held: int) -> ProofLoad:
    """Return the load of the proof.

    servers_needed: that carry the peak. servers: behind the host. held: chats that the host holds, or the ceiling.
    """
    whole = peak.mean * min(servers, servers_needed) / servers_needed
    most = float(gammaincinv(held + 1, min(_OVER_PART * chats.other_limit, _MOST_OVER)))
    return ProofLoad(min(whole, most), min(1.0, most / whole))


def proof_s(chats: ChatShape, load: ProofLoad) -> float:
    """Return how long chats have to arrive so that they show the target with one drop (seconds)."""
    hours = per_unit_upper(_DROPS, 1.0) / chats.drops_per_hour
    refreshes_s = _REFRESHES * chats.timeout_s / load.chats
    # Until the number of open chats has built up, as many chat-hours are missing as in one chat length.
    shown_s = max(_SLACK * 3600 * hours / load.chats, refreshes_s) + chats.length_s
    return math.ceil(max(shown_s, _LEAST_PROOF * chats.length_s))


def choose_sweep(chats: ChatShape, users: int, time_s: float) -> SweepDesign | None:
    """Return the most informative sweep that `users` customers finish in `time_s` (seconds); None if none fits."""
    least = per_unit_upper(0, 1.0) / -math.log1p(-chats.target)
    for fractions, times in _DESIGNS:
        sessions = math.ceil(times * least)
        length_s = math.ceil(_SLACK * sessions * len(fractions) * chats.length_s / users + chats.ramp_s)
        if length_s + _START_S <= time_s:
            return SweepDesign(fractions, sessions, length_s)
    return None


def search_rules(timeout_s: float, interval_s: float, ceiling: int) -> StepRules:
    """Return the rules of the campaign's capacity search."""
    return StepRules(
        start=max(1, min(10, ceiling // 8)),
        ceiling=ceiling,
        interval_s=interval_s,
        timeout_s=timeout_s,
        # With a short timeout less happens in a step that could be missed.
        hold_s=max(min(_HOLD_S, 2 * timeout_s), 3 * interval_s),
    )


def search_ceiling(peak_chats: int, servers: int, *ceilings: int | None) -> int:
    """Return up to how many sessions to search. ceilings: those of the campaign and of chatload.toml.

    peak_chats: planned for. servers: behind the host.
    """
    useful = max(_SMALLEST_SEARCH, _SEARCH_TO * peak_chats * servers)
    return min([useful, *(ceiling for ceiling in ceilings if ceiling is not None)])


@dataclass(frozen=True)
class StepCost:
    """What a step takes. least_s, most_s: its time (seconds). chats: open at once, at most; requests_per_s: theirs."""

    step: CampaignStep
    least_s: float
    most_s: float
    chats: int
    requests_per_s: float


@dataclass(frozen=True)
class CampaignBudget:
    """The time of a campaign, known before it starts.

    per_chat: requests per second of one chat, at the interval of the capacity search and at those of the sweep.
    ceiling: sessions that may be opened. servers: behind the host. swept: whether there is an interval to find.
    assumed: sessions that the host is assumed to hold, for the time of the sweep and of the proof.
    """

    chats: ChatShape
    time_s: float
    timeout_s: float
    interval_s: float
    per_chat: tuple[float, float]
    ceiling: int
    peak: PeakLoad
    servers: int = 1
    swept: bool = True

    @property
    def assumed(self) -> int:
        return min(self.ceiling, self.peak.chats, ASSUMED_SESSIONS * self.servers)

    @property
    def probe_s(self) -> float:
        """The most that a probe takes (seconds)."""
        return make_settings(configured_s=self.timeout_s).time_allowed_s + _START_S

    @property
    def search_s(self) -> float:
        """The time that the capacity search gets (seconds)."""
        rest = self.time_s - self.probe_s - 2 * SHORT_S
        return min(self._search_s(VARIABLE), max(_SEARCH_SHARE * rest, 0.0))

    def _search_s(self, spread: float) -> float:
        """Return how long the capacity search takes without a limit (seconds). spread: as for `length.search_s`."""
        return search_s(search_rules(self.timeout_s, self.interval_s, self.ceiling), spread) + _START_S

    def proof_load(self, held: int) -> ProofLoad:
        """Return the load of the proof, if the host holds `held` sessions."""
        needed = max(1, math.ceil(self.peak.chats * self.servers / held))
        return proof_load(self.chats, self.peak, needed, self.servers, held)

    def sweep(self, users: int, time_s: float) -> SweepDesign | None:
        """Return the sweep that `users` customers finish in `time_s` (seconds); None if there is none."""
        return choose_sweep(self.chats, users, time_s) if self.swept else None

    def costs(self) -> list[StepCost]:
        """Return what each step takes, if the host holds `assumed` sessions.

        The steps of a campaign that does not fit into its time have no limit, so that the sum is the time it needs.
        """
        often, seldom = self.per_chat
        swept, load = max(1, int(SWEEP_LOAD * self.assumed)), self.proof_load(self.assumed)
        proof = proof_s(self.chats, load) + _START_S
        short, most = self.timeout_s + _START_S, self.search_s if self.fits else self._search_s(VARIABLE)
        search, usual = (min(self._search_s(spread), most) for spread in (0.0, STEADY))
        sweep = self.sweep(swept, self.time_s - 2 * SHORT_S - short - usual - proof) if self.fits else None
        tuning = 0.0 if sweep is None else sweep.time_s + _START_S
        probed = min(DEFAULT_CHATS, self.ceiling)
        return [
            StepCost(CampaignStep.DOCTOR, SHORT_S, SHORT_S, 1, 2.0),
            StepCost(CampaignStep.PROBE, short, self.probe_s, probed, probed),
            StepCost(CampaignStep.CAPACITY, search, most, self.ceiling, self.ceiling * often),
            StepCost(CampaignStep.TUNE, tuning, tuning, swept, swept * seldom),
            StepCost(CampaignStep.PLAN, SHORT_S, SHORT_S, 0, 0.0),
            StepCost(CampaignStep.PROOF, proof, proof, min(load.most_chats, self.ceiling), load.chats * seldom),
        ]

    @property
    def least_s(self) -> float:
        """The least time in which the campaign can end with a proof, if the host holds `assumed` sessions (seconds).

        A sweep is left out, and a search finds the capacity of a server without noise.
        """
        proof = proof_s(self.chats, self.proof_load(self.assumed)) + _START_S
        return 2 * SHORT_S + self.timeout_s + _START_S + self._search_s(0.0) + proof

    @property
    def fits(self) -> bool:
        return self.least_s <= self.time_s
