"""`chatload signoff`: makes the page of a campaign that a manager signs."""

from pathlib import Path

import click

from chatload.features.signoff.compute import EXIT_CODES, sign_off
from chatload.features.signoff.view import signoff_document, to_dict
from chatload.render.output import deliver, write_json


@click.command(short_help="The page of a campaign that a manager signs.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def signoff(folder: Path, as_json: bool) -> int:
    """Make the sign-off page of the campaign in DIR: signoff.html, signoff.md and signoff.json.

    The page has the demand, the answer with its interval, the open assumptions and room for signatures. Its appendix
    has what was measured, the digests of the run files, the thresholds of the proof, the approval and the allowed
    hours of chatload.toml, the machine and the versions. The HTML page prints on two A4 sheets.

    Exit codes: 0 proven, 1 the target is missed, 2 wrong usage, 4 inconclusive or incomplete.

    \b
    Example: chatload signoff peak
    """
    signed = sign_off(folder)
    data = to_dict(signed)
    write_json(data, folder / "signoff.json")
    deliver(signoff_document(signed), data if as_json else None, folder / "signoff.md", folder / "signoff.html")
    if not as_json:
        click.echo(f"\npage: {folder / 'signoff.html'}")
    return EXIT_CODES[signed.result]
