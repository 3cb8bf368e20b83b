"""Whether the machine was quiet enough for a figure to mean something.

The rule, over the window that is measured: it was noisy if the generator, where it is one thread, was ready to run and
did not run for more than WAITED of the time; or the server was; or all other processes of the machine used more than
FOREIGN of one core; or the hypervisor took more than STEAL. A generator of many threads waits for itself, so that its
waiting says nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

#: Parts of the wall time.
WAITED, FOREIGN, STEAL = 0.02, 0.05, 0.01


@dataclass(frozen=True)
class Noise:
    """What disturbed one window, each as a part of its wall time. generator_waited: None of many threads."""

    generator_waited: float | None
    server_waited: float
    foreign: float
    steal: float

    @property
    def reasons(self) -> list[str]:
        """Why the window says nothing; none where it was quiet."""
        found = []
        if self.generator_waited is not None and self.generator_waited > WAITED:
            found.append(f"the generator waited for the CPU {self.generator_waited:.1%} of the time")
        if self.server_waited > WAITED:
            found.append(f"the server waited for the CPU {self.server_waited:.1%} of the time")
        if self.foreign > FOREIGN:
            found.append(f"other processes used {self.foreign:.1%} of a core")
        if self.steal > STEAL:
            found.append(f"the hypervisor took {self.steal:.1%}")
        return found

    @property
    def quiet(self) -> bool:
        """Whether figures of this window may be compared."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe, with the verdict."""
        return {**asdict(self), "quiet": self.quiet, "reasons": self.reasons}
