"""The start form of the web UI: which settings it has, in groups and in order of use, with the values of the last run.

Locust's own form lists all settings of a locustfile in one alphabetical list, and shows those of the command line again
before each run. So chatload's options are not in it (`chatload.swarm.options`), but here.
"""

from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from locust.argument_parser import ui_extra_args_dict
from locust.env import Environment

from chatload.render.words import number
from chatload.run.settings import FLAG, Option, OptionGroup, options_of, written
from chatload.target import PROJECT_FILE, TargetRules


class FieldKind(StrEnum):
    """The control that shows a setting."""

    TEXT = "text"
    PASSWORD = "password"
    NUMBER = "number"
    CHECKBOX = "checkbox"
    SELECT = "select"
    MANY = "many"  # a checkbox for each choice


@dataclass(frozen=True)
class FormField:
    """One setting in the form.

    name: as it is posted. flag: on the command line; "" if it has none. value: at present; of MANY the chosen ones,
    separated by ",". default: the value of an untouched command line, to show what was changed. rule: what
    chatload.toml says of the setting. is_fixed: a locked file leaves no choice.
    """

    name: str
    label: str
    flag: str = ""
    help: str = ""
    kind: FieldKind = FieldKind.TEXT
    value: str = ""
    default: str = ""
    choices: Sequence[str] = ()
    placeholder: str = ""
    required: bool = False
    rule: str = ""
    is_fixed: bool = False

    @property
    def is_changed(self) -> bool:
        return self.value != self.default


@dataclass(frozen=True)
class FormGroup:
    """Settings that belong together. is_open: shown at once; others unfold, unless one of them was changed."""

    heading: str
    fields: Sequence[FormField]
    is_open: bool = False

    @property
    def changed(self) -> int:
        """The number of settings that differ from their default."""
        return sum(field.is_changed for field in self.fields)


#: Heading, whether the group is shown at once, and its settings by the name of the parsed option.
_GROUPS = (
    (
        "Load", True,
        ("host", "user_count", "spawn_rate", "run_time", "arrival_rate", "arrival_profile", "arrival_compress",
         "max_open", "start_sessions", "step_hold", "step_bound", "confirm_hold", "resolution", "chats"),
    ),
    ("Server", True, ("flex_disconnect_timeout", "service", "dialect", "long_poll")),
    ("Pass or fail", True, ("gate", "threshold", "abort_on")),
    ("Customers", False, ("script", "chat_length", "persona", "chat_seed")),
    (
        "Refresh", False,
        ("refresh_policy", "refresh_interval", "refresh_fraction", "poll_jitter", "sweep", "allow_late_refresh"),
    ),
    ("Permission and ceilings", False, ("target_owner_agrees", "max_sessions", "max_requests_per_s")),
    (
        "Requests", False,
        ("request_timeout", "transport", "connections", "ca_file", "client_cert", "insecure"),
    ),
    ("How results are judged", False, ("confidence", "judge", "incident_size", "allow_inconclusive")),
    ("Files", False, ("run_dir", "no_report", "keep_windows")),
)  # fmt: skip
#: Locust's own settings that its form has too. Their values are not chatload's.
_LOCUSTS = (
    FormField("host", "Host", "--host", "URL of the chat service, such as http://127.0.0.1:8090", required=True),
    FormField("user_count", "Users", "-u", "Each holds one chat after another.", FieldKind.NUMBER, required=True),
    FormField("spawn_rate", "Users started per second", "-r", kind=FieldKind.NUMBER, required=True),
    FormField("run_time", "Run time", "-t", "Such as 90s, 20m or 1h30m. Empty: until you stop it."),
)
#: Parsed option of a field with another name.
_OPTION_NAMES = {"user_count": "num_users"}
#: Fields that a load shape decides.
_OF_SHAPES = frozenset({"user_count", "spawn_rate", "run_time"})


def start_form(environment: Environment, used_run_dir: str = "", rules: TargetRules = TargetRules()) -> list[FormGroup]:
    """Return the groups of the form with the present values, which are those of the last start.

    used_run_dir: --run-dir of the last run, which cannot take another one; the form leaves it out. rules: of
    chatload.toml.
    """
    options: Any = environment.parsed_options
    fields = {field.name: field for field in (*_locusts_fields(environment), *_fields(options))}
    if "run_dir" in fields and used_run_dir and fields["run_dir"].value == used_run_dir:
        fields["run_dir"] = replace(fields["run_dir"], value="")
    fields |= {field.name: field for field in _ruled(fields, rules)}
    groups = [
        FormGroup(heading, [fields.pop(name) for name in names if name in fields], is_open)
        for heading, is_open, names in _GROUPS
    ]
    groups.append(FormGroup("More settings", list(fields.values())))
    groups.append(FormGroup("Settings of this locustfile", [*_classes(environment), *_foreign(options)], True))
    return [group for group in groups if group.fields]


def rule_notices(rules: TargetRules, now: float) -> list[str]:
    """Return what chatload.toml says of every start, as sentences. now: Unix seconds."""
    said = [f"Load is allowed only in the hours of {hours.source}: {hours}." for hours in rules.hours]
    if closed := rules.closed(now):
        said.append(f"No run can start now: {closed}.")
    if rules.approval_required and not rules.approval_id:
        said.append(f"No run can start: {rules.approval_required} demands an approval, and no approval_id is given.")
    elif rules.approval_id:
        said.append(f"Approval: {rules.approval_id}.")
    return said


def _ruled(fields: Mapping[str, FormField], rules: TargetRules) -> Iterator[FormField]:
    """Yield the fields of which chatload.toml says something, with what it says."""
    for name in ("max_sessions", "max_requests_per_s"):
        ceiling, source = getattr(rules, name), rules.locks.get(name)
        if name not in fields or ceiling is None:
            continue
        most = number(int(ceiling)) if ceiling == int(ceiling) else f"{ceiling:g}"
        if source:
            rule = f"Locked by {source}: at most {most}. A lower value may be given."
        else:
            rule = f"{most} by {PROJECT_FILE}, if nothing is given here."
        yield replace(fields[name], rule=rule)
    source = rules.locks.get("allowed_targets")
    if source:
        hosts = ", ".join(rules.allowed_targets) or "none"
        rule = f"Locked by {source}: this machine, private networks, and {hosts}."
        yield replace(fields["host"], rule=rule)
        if "target_owner_agrees" in fields:
            yield replace(fields["target_owner_agrees"], rule=f"Locked by {source}: it names the hosts.", is_fixed=True)


def _locusts_fields(environment: Environment) -> Iterator[FormField]:
    options: Any = environment.parsed_options
    web_ui, shape = environment.web_ui, environment.shape_class
    by_shape = bool(shape) and not (web_ui.userclass_picker_is_active or shape.use_common_options)
    for field in _LOCUSTS:
        if by_shape and field.name in _OF_SHAPES:
            continue
        name = _OPTION_NAMES.get(field.name, field.name)
        value = environment.host if name == "host" else getattr(options, name)
        if field.kind is FieldKind.NUMBER and value is None:
            value = 1
        text = "" if value is None else written(value)
        if field.name == "run_time" and text.isdigit():
            text += "s"
        yield replace(field, value=text, default=text)


def _fields(options: Namespace) -> Iterator[FormField]:
    """Yield the fields of chatload's options that this locustfile has."""
    for group in OptionGroup:
        for option in options_of(group) if group is not OptionGroup.LOCUST else ():
            if option.web_ui and hasattr(options, option.dest):
                yield _field(option, getattr(options, option.dest))


def _field(option: Option, value: Any) -> FormField:
    kind = FieldKind.SELECT if option.choices else FieldKind.TEXT
    return FormField(
        option.dest,
        _label(option.dest),
        option.flag,
        option.help.replace("%%", "%"),
        FieldKind.CHECKBOX if option.kind is FLAG else kind,
        _text(value),
        "false" if option.kind is FLAG else option.default,
        option.choices,
        _example(option),
    )


def _example(option: Option) -> str:
    """Return what an empty field shows: an example of its unit; "" where there is none, or a default is shown."""
    _, such_as, example = option.kind.expected.partition("such as ")
    return "" if option.default else such_as + example


def _classes(environment: Environment) -> Iterator[FormField]:
    """Yield the fields of --class-picker."""
    if not environment.web_ui.userclass_picker_is_active:
        return
    available = sorted(environment.available_user_classes or ())
    chosen = ",".join(sorted(user_class.__name__ for user_class in environment.user_classes))
    many = FormField("user_classes", "User classes", kind=FieldKind.MANY, choices=available)
    yield replace(many, value=chosen, default=chosen)
    shapes = ["Default", *sorted(environment.available_shape_classes or ())]
    shape = environment.shape_class
    value = type(shape).__name__ if shape else "Default"
    yield FormField("shape_class", "Load shape", kind=FieldKind.SELECT, value=value, default=value, choices=shapes)


def _foreign(options: Namespace) -> Iterator[FormField]:
    """Yield the fields of options that the locustfile declared itself."""
    for name, given in ui_extra_args_dict().items():
        default, choices = given["default_value"], [str(choice) for choice in given["choices"] or ()]
        kind = FieldKind.PASSWORD if given["is_secret"] else FieldKind.TEXT
        if given["is_multiple"] and choices:
            kind = FieldKind.MANY
        elif choices:
            kind = FieldKind.SELECT
        elif isinstance(default, bool):
            kind = FieldKind.CHECKBOX
        yield FormField(
            name, _label(name), f"--{name.replace('_', '-')}", (given["help_text"] or "").replace("%%", "%"), kind,
            _text(getattr(options, name, default)), _text(default), choices, required=bool(given["is_required"]),
        )  # fmt: skip


def _label(name: str) -> str:
    words = name.replace("_", " ")
    return (words[0].upper() + words[1:]).replace(" per s", " per second")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ",".join(map(str, value))
    return "" if value is None or value == "None" else str(value)
