"""`chatload script`: makes customer scripts from browser recordings."""

from __future__ import annotations

from pathlib import Path

import click

from chatload.features.script.har import missing, read_chats, write_script
from chatload.protocol.dialect import load_dialect


@click.group()
def script() -> None:
    """Make a customer script for --script."""


@script.command("from-har")
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE.har...")
@click.option("--dialect", default="gms-v2", show_default=True, metavar="NAME_OR_FILE", help="Dialect of the chats.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: standard output.")
def from_har(recordings: tuple[Path, ...], dialect: str, output: Path | None) -> None:
    """Make a script from browser recordings of real chats.

    Record chats with the browser's developer tools (Network, "Save all as HAR with content"). The script holds the
    number and lengths of messages, how fast customers think and type, and which operations they use. It holds no
    texts, names, keys or addresses.

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
