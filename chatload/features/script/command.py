"""`chatload script`: customer scripts made from something else."""

from __future__ import annotations

from pathlib import Path

import click

from chatload.features.script.har import missing, read_chats, write_script
from chatload.protocol.dialect import load_dialect


@click.group()
def script() -> None:
    """Make a customer's script, for --script."""


@script.command("from-har")
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE.har...")
@click.option("--dialect", default="gms-v2", show_default=True, metavar="NAME_OR_FILE", help="What was spoken.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: standard output.")
def from_har(recordings: tuple[Path, ...], dialect: str, output: Path | None) -> None:
    """Make a script from browser recordings of real chats.

    Record chats with the browser's developer tools (Network, "Save all as HAR with content"). How many
    messages, how long they are, how fast customers think and type, and which operations they use go
    into the script; texts, names, keys and addresses do not.

    \b
    Example: chatload script from-har monday.har --output customers.toml
    """
    from chatload.run.writer import replacing

    spoken = load_dialect(dialect, None)
    chats = [chat for recording in recordings for chat in read_chats(recording, spoken)]
    text = write_script(chats)
    for line in missing(chats):
        click.echo(f"chatload: {line}", err=True)
    if output is None:
        click.echo(text, nl=False)
        return
    with replacing(output) as stream:
        stream.write(text)
