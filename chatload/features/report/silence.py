"""Finds out whether a server ended the dropped chats after the same silence, different from the configured timeout.

Such a server drops chats "early" or "late" without any fault of the network or the generator. The server's own
timestamp of the end shows the silence. The claim is conservative. It is made only if

- the server's timestamps give the silence of most dropped sessions, each within a fifth of its length;
- nearly all of these silences are equally long;
- the server ended the chats before our next request came: the silence before an end that a request causes is as long as
  our own interval, which is the same for all chats;
- hardly any chat survived such a silence;
- the configured timeout is different.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chatload.run.histogram import Histogram
from chatload.run.reader import EndSilence

#: Fewer sessions than these show no pattern.
_LEAST_SESSIONS = 5
#: At least this part of all dropped sessions must have had such a silence.
_MOST_OF = 0.8
#: Silences are alike if the longest is at most this part longer than the shortest. A silence is known if its upper
#: bound is at most this part above the lower one.
_ALIKE = 0.2
#: Up to this many survived silences count as chance (as a part of the number of fatal ones).
_OUTLIVED = 0.05


@dataclass(frozen=True)
class CommonSilence:
    """The silence after which a server ended most of the sessions it dropped.

    sessions: how many of the `dropped` ones. lower_s, upper_s: lowest lower bound and highest upper bound of their
    silences (seconds). timeout_s: the configured flex-disconnect-timeout.
    """

    sessions: int
    dropped: int
    lower_s: float
    upper_s: float
    timeout_s: float


def find_common_silence(
    dropped: Iterable[EndSilence], timeout_s: float | None, gaps: Histogram, count_outlived: Callable[[float], int]
) -> CommonSilence | None:
    """Return the silence that most dropped sessions have in common; None if there is none, or it is the timeout.

    gaps: gaps between contacts, each by its upper bound; the last ones of dropped sessions may be among them.
    count_outlived: returns how many sessions were not dropped although they were silent for longer (seconds).
    """
    silences = list(dropped)
    alike = _most_alike(sorted(filter(None, map(_known, silences))))
    if timeout_s is None or len(alike) < max(_LEAST_SESSIONS, _MOST_OF * len(silences)):
        return None
    lower_s, upper_s = min(lower for lower, _ in alike), max(upper for _, upper in alike)
    if lower_s / (1 + _ALIKE) <= timeout_s <= upper_s * (1 + _ALIKE):
        return None
    longer = upper_s * (1 + _ALIKE / 2)  # gaps are upper bounds: a tenth is left for that
    last = sum(silence.found_s is None or silence.found_s > longer for silence in silences)
    outlived = count_outlived(longer) + max(0, gaps.count_above(longer)[0] - last)
    if outlived > _OUTLIVED * len(alike):
        return None
    return CommonSilence(len(alike), len(silences), lower_s, upper_s, timeout_s)


def _known(silence: EndSilence) -> tuple[float, float] | None:
    """Return the bounds of a silence that is known well enough and ended before our request came; else None."""
    lower, upper, found = silence
    if lower is None or upper is None or found is None:
        return None
    return (lower, upper) if 0 < lower <= upper <= lower * (1 + _ALIKE) and upper < found else None


def _most_alike(silences: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the longest run of silences that are alike. silences: sorted by the lower bound."""
    lowers = [lower for lower, _ in silences]
    runs = ((first, bisect_right(lowers, lower * (1 + _ALIKE))) for first, lower in enumerate(lowers))
    first, end = max(runs, key=lambda run: (run[1] - run[0], run[0]), default=(0, 0))
    return silences[first:end]
