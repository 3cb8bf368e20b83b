"""The published JSON Schemas."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def read_schema(feature: str, name: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) `name`.schema.json of a feature."""
    file = resources.files(f"chatload.features.{feature}") / f"{name}.schema.json"
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema
