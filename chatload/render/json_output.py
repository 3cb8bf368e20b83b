"""The JSON of features: each has keys and a schema of its own."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from chatload.run.writer import replacing


def json_text(data: Any) -> str:
    """Return `data` as JSON that strict readers accept. Raises ValueError for a number that JSON does not have."""
    return json.dumps(data, indent=2, allow_nan=False)


def write_json(data: Any, path: str | Path) -> None:
    """Write `data` to `path`, whole or not at all. Raises UsageError where it cannot be written."""
    with replacing(path) as stream:
        stream.write(f"{json_text(data)}\n")


def read_schema(package: str, name: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) in the file `name` of a package."""
    schema: dict[str, Any] = json.loads((resources.files(package) / name).read_text(encoding="utf-8"))
    return schema
