"""`python -m simulations NAME`: repeats a simulation and prints its table."""

import pkgutil
from importlib import import_module
from pathlib import Path

import click

from simulations.frame import write

NAMES = sorted(
    module.name
    for module in pkgutil.iter_modules([str(Path(__file__).parent)])
    if module.name not in ("frame", "__main__")
)


@click.command()
@click.argument("name", type=click.Choice(NAMES))
@click.option("--trials", type=click.IntRange(min=10), default=1000, show_default=True, help="Trials of each row.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the first trial.")
@click.option("--write", "into_page", is_flag=True, help="Also replace the table in docs/statistics.md.")
def main(name: str, trials: int, seed: int, into_page: bool) -> None:
    """Measure by simulation how often a claim of chatload is wrong."""
    text = import_module(f"simulations.{name}").table(trials, seed).markdown(name)
    click.echo(text)
    if into_page:
        write(name, text)


if __name__ == "__main__":
    main(prog_name="python -m simulations")
