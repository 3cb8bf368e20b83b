"""A sweep of refresh intervals: which arm a session belongs to, and the settings of each arm.

All arms run at the same time, and so under the same load. Sessions are assigned in permuted blocks: each block has
every arm once, in a random order. So all arms meet the same conditions, and no user always gets the same arm.
Source: R. A. Fisher, "The Design of Experiments", 1935, on randomised blocks.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from chatload.chat.policy import make_policy
from chatload.chat.settings import SessionSettings
from chatload.errors import UsageError

#: The default sweep: refresh intervals as fractions of the timeout.
DEFAULT_SWEEP = "0.5,0.7,0.8,0.9,0.95,0.98,1.02"
#: Each process numbers its sessions from its own multiple of this.
_PER_PROCESS = 1 << 32
_HINT = "write parts of the timeout with commas between, such as 0.5,0.9,1.02"


def fractions_in(text: str | None) -> tuple[float, ...]:
    """Return the fractions of the timeout in a text such as "0.5,0.9,1.02", ascending.

    Raises:
        UsageError: a part is no number, not above 0, or there twice.
    """
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    try:
        found = sorted(float(word) for word in words)
    except ValueError:
        raise UsageError(f"--sweep {text}: not numbers", _HINT) from None
    names = [_name(fraction) for fraction in found]
    if any(not 0 < fraction < float("inf") for fraction in found) or len(set(names)) < len(names):
        raise UsageError(f"--sweep {text}: every part must be above 0 and there once", _HINT)
    return tuple(found)


def swept(settings: SessionSettings, fractions: tuple[float, ...]) -> SessionSettings:
    """Return the settings with an arm for each fraction of the timeout; a fraction may be above 1.

    Raises:
        UsageError: the persona is `widget`, which polls on its own clock.
    """
    if fractions and settings.persona == "widget":
        raise UsageError("--persona widget polls on its own clock and cannot be swept", "leave --persona out")
    timeout_s = settings.policy.timeout_s
    arms = (
        replace(settings, policy=make_policy("fraction", timeout_s, fraction=part, allow_late=True), group=_name(part))
        for part in fractions
    )
    return replace(settings, arms=tuple(arms))


def arm_of(settings: SessionSettings, number: int) -> SessionSettings:
    """Return the settings of the session of this number: those of its arm, or the same if there are no arms."""
    arms = settings.arms
    if not arms:
        return settings
    process, index = divmod(number, _PER_PROCESS)
    block, place = divmod(index, len(arms))
    order = list(range(len(arms)))
    Random(process * _PER_PROCESS + block).shuffle(order)
    return arms[order[place]]


def _name(fraction: float) -> str:
    """Return the arm's name, as in a session's `group`."""
    return f"{fraction:g}"
