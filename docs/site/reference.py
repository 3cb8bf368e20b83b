"""Write the pages of docs/reference/ from the tables in the code that have the facts: python docs/site/reference.py

With a folder as argument they are written there.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from chatload.cli import main
from chatload.features.report.view import thresholds_document
from chatload.render.markdown import markdown
from chatload.simulator.model.faults import KINDS

ROOT = Path(__file__).parents[2]
_GENERATED = "<!-- written by docs/site/reference.py -->\n\n"


def pages() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each generated page."""
    yield "commands.md", f"{_GENERATED}# Commands\n\n" + "\n".join(_command_texts())
    yield "metrics.md", f"{_GENERATED}# Metrics of thresholds\n\n" + _as_page(markdown(thresholds_document()))
    yield "fault-kinds.md", _GENERATED + _fault_kinds()
    yield "files.md", f"{_GENERATED}# Files of a run\n\n" + "\n".join(_file_texts())


def _as_page(text: str) -> str:
    """Return the Markdown of a document as the text of a page that has a title: its answer is no heading."""
    return text.removeprefix("### ").replace("\n#### ", "\n## ")


def _command_texts() -> Iterator[str]:
    context = click.Context(main, info_name="chatload", **main.context_settings)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        with click.Context(command, parent=context, info_name=name, max_content_width=100) as inner:
            yield f"## chatload {name}\n\n```text\n{command.get_help(inner)}\n```\n"


def _fault_kinds() -> str:
    rows = "\n".join(
        f"| `{name}` | {kind.meaning} | "
        f"{'yes' if kind.processed else 'no'}{'' if kind.fixed else ', or as `reaches` says'} |"
        for name, kind in KINDS.items()
    )
    return (
        "# Kinds of faults\n\nA fault file of the simulator (`chatload simulator --faults FILE`) has tables "
        "`[[fault]]`, each with one of these kinds. [The simulator](../simulator.md#faults) explains the other "
        "fields.\n\n"
        f"| kind | what happens | the chat server receives the request |\n|---|---|---|\n{rows}\n"
    )


def _file_texts() -> Iterator[str]:
    yield (
        "A run leaves one folder with `run.sqlite`, `summary.json`, `summary.md`, `junit.xml` and `report.html`. "
        "These are the schemas of the JSON files. Keys may be added within a schema version, never renamed or "
        "removed.\n"
    )
    for path in sorted((ROOT / "chatload" / "features").glob("*/*.schema.json")):
        schema = json.loads(path.read_text())
        yield f"## {schema['title']}\n\n{schema.get('description', '')}\n"
        yield "| key | type | meaning |\n|---|---|---|"
        for key, value in schema["properties"].items():
            meaning = value.get("description", "").replace("|", r"\|")
            yield f"| `{key}` | {_type_of(value, schema)} | {meaning} |"
        yield ""


def _type_of(schema: dict[str, Any], root: dict[str, Any]) -> str:
    """Return the types that a schema allows, in words."""
    if ref := schema.get("$ref"):
        return _type_of(root["$defs"][ref.rsplit("/", 1)[1]], root)
    if choices := schema.get("anyOf", schema.get("oneOf")):
        return " or ".join(dict.fromkeys(_type_of(choice, root) for choice in choices))
    if values := schema.get("enum", [schema["const"]] if "const" in schema else None):
        return ", ".join(f"`{json.dumps(value)}`" for value in values)
    kind = schema.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else kind


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs" / "reference"
    for name, text in pages():
        (folder / name).write_text(text)
