"""Reads TOML files of users, and describes each mistake in them."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from chatload import units
from chatload.errors import FileError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

#: A larger file is refused (bytes): parsing it could take minutes.
MOST_BYTES = 2**20
#: More parts of one dotted key are refused: tomllib needs memory by their square, 512 MB for 20 000.
_MOST_PARTS = 100
#: Objects in a request are not nested deeper: the JSON encoder fails at 254.
MOST_DEPTH = 50
_KEY_ENDS = re.compile(r"[=\n{,]")


def read_toml(path: str | Path) -> dict[str, Any]:
    """Return the top-level table of the file; raises FileError (one line) if it cannot be read or is not TOML."""
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise FileError(path, "", f"larger than {MOST_BYTES // 2**20} MiB")
        text = data.decode("utf-8-sig")  # Editors on Windows put a byte order mark at the start.
    except OSError as error:
        raise FileError(path, "", f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise FileError(path, "", f"not valid TOML ({error})") from None
    return parse_toml(text, str(path))


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Return the top-level table of TOML text; `source` names it in errors. Raises FileError."""
    if any(part.count(".") > _MOST_PARTS for part in _KEY_ENDS.split(text)):
        raise FileError(source, "", f"more than {_MOST_PARTS} dots in one name")
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or from int() for a number with too many digits
        raise FileError(source, "", f"not valid TOML ({error})") from None
    except RecursionError:
        raise FileError(source, "", "not valid TOML (nested too deep)") from None


def format_toml(data: Mapping[str, Any], path: str = "") -> str:
    """Return TOML text for tables, lists, texts, numbers and truth values. path: prefix of the names of its tables."""
    parts = [f"{_key(name)} = {_value(value)}" for name, value in data.items() if not _is_section(value)]
    for name, value in data.items():
        if _is_section(value):
            own = f"{path}{_key(name)}"
            tables, brackets = (value, "[[{}]]") if isinstance(value, list) else ([value], "[{}]")
            parts += [f"\n{brackets.format(own)}\n{format_toml(table, own + '.').rstrip()}" for table in tables]
    return "\n".join(parts).lstrip("\n") + "\n"


def _is_section(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(x, dict) for x in value)
    )


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(name)} = {_value(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, str):
        # JSON escapes are valid in TOML. TOML also requires an escape for DEL, which JSON does not escape.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else str(value)


class FromFile(BaseModel):
    """A table of a TOML file: its keys, their types and their limits. A key that is not declared is refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class MistakeError(ValueError):
    """A mistake: what a validator expected. key: the place of the mistake, within the value that is validated."""

    def __init__(self, expected: str, *key: int | str) -> None:
        super().__init__(expected)
        self.key = key


def with_unit(quantity: units.Quantity) -> BeforeValidator:
    """Return the validator that takes a quantity with its unit as text: "45s" for 45. Numbers are left as they are."""

    def read(given: Any) -> Any:
        if isinstance(given, bool) or not isinstance(given, int | float | str):
            raise ValueError(f"expected {quantity.expected}")
        try:
            return quantity.read(given) if isinstance(given, str) else given
        except ValueError as error:
            raise ValueError(f"{error}, not {given!r}") from None

    return BeforeValidator(read)


Seconds = Annotated[float, with_unit(units.DURATION_OR_0), Field(ge=0, allow_inf_nan=False)]
Model = TypeVar("Model")


def load_toml(path: str | Path, model: type[Model], context: Any = None) -> Model:
    """Return the file as a `model`; context: for its validators. Raises FileError (file, key, what is expected)."""
    return checked(read_toml(path), model, path, context)


def loads_toml(text: str, model: type[Model], source: str, context: Any = None) -> Model:
    """Return TOML text as a `model`; `source` names it in errors. Otherwise as `load_toml`."""
    return checked(parse_toml(text, source), model, source, context)


def checked(
    data: dict[str, Any], model: type[Model], source: str | Path, context: Any = None, place: tuple[int | str, ...] = ()
) -> Model:
    """Return a table of a file as a `model`. source, place: the file and the place in it, as a FileError names them."""
    try:
        return TypeAdapter(model).validate_python(data, context=context)
    except ValidationError as error:
        # An unknown key comes first: it is often a misspelling that explains why another key is missing.
        first = min(error.errors(include_url=False), key=lambda found: found["type"] not in _UNKNOWN)
        within = getattr(first.get("ctx", {}).get("error"), "key", ())
        raise FileError(source, _dotted((*place, *first["loc"], *within)), _expected(first, model)) from None


def _dotted(place: tuple[int | str, ...]) -> str:
    """Return a place in a table, written as in TOML: `extras[2].chance`, counted from 1."""
    dotted = ""
    for part in place:
        if part == "[key]":  # a key of a table whose keys are declared, in pydantic's words
            continue
        dotted += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return dotted.removeprefix(".")


_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
#: What is expected, by pydantic's type of error.
_EXPECTED = {
    "string_type": "expected text",
    "bool_type": "expected true or false",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "finite_number": "expected a number",
    "greater_than": "expected a number above {gt:g}",
    "greater_than_equal": "expected a number not below {ge:g}",
    "less_than_equal": "expected a number not above {le:g}",
    "string_too_short": "expected text",
    "literal_error": "expected one of {expected}",
    "enum": "expected one of {expected}",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "frozen_set_type": "expected a list",
    "dict_type": "expected a table",
    "model_type": "expected a table",
    "missing": "expected, but missing",
}


def _expected(error: ErrorDetails, model: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in _UNKNOWN:
        return unknown_key(_known(model, error["loc"][:-1]), str(error["loc"][-1]))
    if kind == "value_error":
        return str(context["error"])
    expected = _EXPECTED.get(kind)
    return expected.format(**context).replace("'", '"') if expected else error["msg"]


def unknown_key(known: Iterable[str], given: str) -> str:
    """Return what is expected in place of an unknown key; it names the nearest known one."""
    known = list(known)
    near = get_close_matches(given, known, 1)
    return f"unknown key; expected one of {', '.join(known)}" + (f"; did you mean {near[0]}?" if near else "")


def _known(model: Any, place: tuple[int | str, ...]) -> Iterable[str]:
    """Return the known keys of the table at a place."""
    if is_dataclass(model):
        return [field.name for field in fields(model)]
    for part in place:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        inner = [
            kind
            for kind in (annotation, *get_args(annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        model = inner[0] if inner else model
    known: dict[str, Any] = model.model_fields
    return known
