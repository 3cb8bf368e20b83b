"""The files of other commands that a plan reads: the certificate of a capacity search, and the interval of a sweep."""

import math
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from pydantic import BaseModel, Field, ValidationError, model_validator
from scipy.special import ndtr, ndtri

from chatload.errors import FileError, NothingTestedError
from chatload.features.plan.queueing import Floats

CAPACITY_FILE, SWEEP_FILE = "capacity.json", "tune.json"
#: P(Z <= 1) of a normal variable Z.
_ONE_DEVIATION = float(ndtr(1.0))
#: Points of a normal distribution, and how many standard deviations it is cut off at.
_POINTS, _FARTHEST = 201, 6.0
_Share = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Model = TypeVar("_Model", bound=BaseModel)


class CapacityCertificate(BaseModel, frozen=True):
    """What a capacity search certifies: the object `capacity` of capacity.json.

    lower, upper: interval of the capacity (chats open at once); each end errs with probability (1 - confidence) / 2.
    The capacity is the load at which half of the search's undisturbed steps are held. Both are equal for a limit above
    which a server refuses chats. curve: loads, and the chance that a step is held. lapses: the share of steps that are
    not held however low the load. drops, chat_hours: at the loads from lower to upper; drops_proven: without possible
    ones. drops_per_chat_hour_upper: their upper bound, with the search's confidence. requests_per_s: served at the load
    `lower`. These two are None if they are not known.
    """

    lower: _Positive
    upper: _Positive
    confidence: Annotated[float, Field(gt=0, lt=1)]
    curve: tuple[tuple[_Positive, _Share], ...] = ()
    lapses: Annotated[float, Field(ge=0, lt=1)] = 0.0
    drops_per_chat_hour_upper: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    drops: Annotated[int, Field(ge=0)] = 0
    drops_proven: Annotated[int, Field(ge=0)] = 0
    chat_hours: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    requests_per_s: _Positive | None = None

    @model_validator(mode="after")
    def _check_order(self) -> "CapacityCertificate":
        if self.lower > self.upper:
            raise ValueError("lower is above upper")
        return self

    @property
    def log_deviation(self) -> float:
        """How uncertain the capacity is: the standard deviation of its logarithm, by the interval."""
        return math.log(self.upper / self.lower) / (2 * float(ndtri((1 + self.confidence) / 2)))

    @property
    def step_deviation(self) -> float:
        """How much the load that is held differs from step to step: the standard deviation of its logarithm.

        It is what the curve is wider than the interval alone would make it. 0 for a limit, or without a curve.
        """
        held = [(math.log(load), chance / (1 - self.lapses)) for load, chance in sorted(self.curve)]
        if self.lower == self.upper or len(held) < 2:
            return 0.0
        logarithms, chances = np.array(held).T
        falling = np.minimum.accumulate(chances)
        low, high = np.interp((-_ONE_DEVIATION, -1 + _ONE_DEVIATION), -falling, logarithms)
        return math.sqrt(max((float(high - low) / 2) ** 2 - self.log_deviation**2, 0.0))

    def chance_to_hold(self, load: Floats, servers: int = 1) -> Floats:
        """Return the chance that each of some servers holds a load (chats open at once on one server).

        The capacity, which is the same for all servers, is lognormal, with the ends of the interval as its quantiles.
        Around it the load that a server holds varies, lognormal too, for each server by itself. Disturbances that a
        server has at any load (`lapses`) are left out.
        """
        distance = (math.log(self.lower) + math.log(self.upper)) / 2 - np.log(load)
        known, step = self.log_deviation, self.step_deviation
        if not step:
            held: Floats = ndtr(distance / known) if known else np.where(distance >= -1e-9, 1.0, 0.0)
            return held
        capacities = np.linspace(-_FARTHEST, _FARTHEST, _POINTS)
        weights = np.exp(-(capacities**2) / 2)
        each = ndtr((distance[:, np.newaxis] + known * capacities) / step) ** servers
        found: Floats = each @ (weights / weights.sum())
        return found


class SweepInterval(BaseModel, frozen=True):
    """The refresh interval that a sweep recommends, in seconds, and the timeout that it was found for."""

    interval_s: _Positive
    timeout_s: _Positive


class _SearchRules(BaseModel, frozen=True):
    refresh_interval_s: _Positive


class SearchFile(BaseModel, frozen=True):
    """The file capacity.json of a search.

    kind, why: what ended it. held: the highest load held, in sessions. capacity: None if it certifies nothing.
    """

    kind: str = ""
    why: str = ""
    held: Annotated[int, Field(ge=0)] = 0
    capacity: CapacityCertificate | None = None
    rules: _SearchRules | None = None

    @property
    def refresh_interval_s(self) -> float | None:
        """The refresh interval of its chats (seconds); None if it is not known."""
        return None if self.rules is None else self.rules.refresh_interval_s


class _Recommended(BaseModel):
    interval_s: _Positive


class _SweepFile(BaseModel):
    result: str
    timeout_s: _Positive
    recommended: _Recommended | None


def read_search(run: str | Path) -> SearchFile | None:
    """Return what the capacity search of a run found; None if the run was no such search.

    Raises FileError if capacity.json is not what a search writes.
    """
    path = _in_folder(run, CAPACITY_FILE)
    return _read(path, SearchFile) if path.exists() else None


def read_sweep(path: str | Path) -> SweepInterval:
    """Return the interval in tune.json, or in the folder that has it.

    Raises FileError if it is not what `chatload tune` writes, NothingTestedError if it recommends no interval.
    """
    file = Path(path)
    if file.is_dir():
        file /= SWEEP_FILE
    found = _read(file, _SweepFile)
    if found.recommended is None:
        raise NothingTestedError(f"{file}: the sweep recommends no interval ({found.result})", "give --poll-interval")
    return SweepInterval(interval_s=found.recommended.interval_s, timeout_s=found.timeout_s)


def _in_folder(run: str | Path, name: str) -> Path:
    path = Path(run)
    return (path if path.is_dir() else path.parent) / name


def _read(path: Path, model: type[_Model]) -> _Model:
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise FileError(path, "", f"cannot be read ({error.strerror})") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            writer = "a capacity search" if path.name == CAPACITY_FILE else "chatload tune"
            raise FileError(path, "", f"this is no JSON; expected the file that {writer} writes") from None
        raise FileError(path, ".".join(map(str, first["loc"])), first["msg"]) from None
