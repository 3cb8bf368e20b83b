"""A table of simulated error rates, and its place in docs/statistics.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "statistics.md"


@dataclass(frozen=True)
class SimulatedTable:
    """What a simulation measured. header, rows: cells as text. trials: of each row. seed: of the first trial."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    trials: int
    seed: int

    def markdown(self, name: str) -> str:
        """Return the table with the command that repeats it."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        command = f"python -m simulations {name} --trials {self.trials} --seed {self.seed}"
        return f"{table}\n\nMeasured with `{command}`."


def share(hits: int, trials: int) -> str:
    """Return a share as a percentage with its standard error, as in `4.8 % (0.5)`."""
    rate = hits / trials
    error = (max(rate * (1 - rate), 1 / trials / 4) / trials) ** 0.5
    return f"{100 * rate:.1f} % ({100 * error:.1f})"


def write(name: str, text: str, page: Path = PAGE) -> None:
    """Replace the table between the markers of `name` in a page. Raises ValueError if the page has no such markers."""
    begin, end = f"<!-- simulated: {name} -->\n", "<!-- end -->"
    before, found, rest = page.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{page}: no markers {begin.strip()} and {end}")
    page.write_text(f"{before}{begin}{text}\n{end}{after}")
