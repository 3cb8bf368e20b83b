"""The settings of the simulated chat service, each with its type, its default and its meaning.

The command's options and the keys of a settings file are made from these fields, so that each setting is declared
once. A name that ends in `_s` is in seconds and loses that ending on the command line.
Sources, as in the protocol notes: [opt] Genesys' option reference, [gms] the GMS Chat API,
[client] the vendor's browser client. A setting without a source was chosen for tests.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, get_args, get_type_hints

from pydantic import AfterValidator, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from chatload import units
from chatload.units import Quantity


@dataclass(frozen=True)
class SettingKind:
    """Metadata of a setting's type.

    metavar: what the help shows for a value. expected: the message about a wrong value. choices: the only valid words;
    empty: not a choice. quantity: how a text is read; None: as it is.
    """

    metavar: str
    expected: str
    choices: tuple[str, ...] = ()
    quantity: Quantity | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Replace every message of pydantic about the type by `expected`."""
        inner = core_schema.literal_schema(list(self.choices)) if self.choices else handler(source)
        return core_schema.no_info_wrap_validator_function(self._check, inner)

    def _check(self, value: Any, validate: Callable[[Any], Any]) -> Any:
        try:
            return validate(self._read(value))
        except (ValidationError, ValueError):
            raise ValueError(self.expected) from None

    def _read(self, value: Any) -> Any:
        if self.quantity is None:
            return value
        if isinstance(value, list | tuple):
            return tuple(map(self._read, value))
        return self.quantity.read(value) if isinstance(value, str) else value


def one_of(*choices: str) -> SettingKind:
    """Return the kind of a setting that is one of a few words."""
    return SettingKind("", f"expected one of {', '.join(choices)}", choices)


def _kind(quantity: Quantity, expected: str = "") -> SettingKind:
    return SettingKind(quantity.metavar, f"expected {expected or quantity.expected}", quantity=quantity)


def _second_or_more(timeout_s: float) -> float:
    if 0 < timeout_s < 1:
        raise ValueError
    return timeout_s


def _low_first(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError
    return span


_Finite = Field(allow_inf_nan=False)
_NotNegative = Field(ge=0, allow_inf_nan=False)
Seconds = Annotated[float, _NotNegative, _kind(units.DURATION_OR_0)]
Shift = Annotated[float, _Finite, _kind(units.SHIFT)]
Resolution = Annotated[float, Field(ge=0.001, allow_inf_nan=False), _kind(units.DURATION, "1ms (0.001 s) or more")]
Timeout = Annotated[
    float,
    Field(ge=0, le=1_728_000),
    AfterValidator(_second_or_more),
    _kind(units.DURATION_OR_0, "1..1728000 s, such as 45s, or 0"),
]
Rate = Annotated[float, _Finite, _kind(units.ANY_NUMBER, "a number, of either sign")]
Chance = Annotated[float, Field(ge=0, le=1), _kind(units.CHANCE)]
#: LOW and HIGH, between which a time is drawn (uniform).
Span = Annotated[
    tuple[Annotated[float, _NotNegative], Annotated[float, _NotNegative]],
    Field(strict=False),
    AfterValidator(_low_first),
    SettingKind("LOW HIGH", "expected LOW HIGH, durations such as 500ms 2s, LOW first", quantity=units.DURATION_OR_0),
]
Count = Annotated[int, Field(ge=0), _kind(units.WHOLE)]
Limit = Annotated[int, Field(ge=1), _kind(units.COUNT)]
Number = Annotated[int, _kind(units.INTEGER)]
Switch = Annotated[bool, SettingKind("", "expected true or false")]
Text = Annotated[str, Field(min_length=1), SettingKind("TEXT", "expected text")]


def _group(title: str) -> Callable[[Any, str], Any]:
    """Return the function that declares the settings of a group: default and help of each."""
    return lambda default, text: field(default=default, metadata={"group": title, "help": text})


CLOCKS, FIELDS = "Clocks and nodes", "Fields of answers"
_silence, _agents, _others = _group("Silence"), _group("Agents"), _group("Bots, supervisors, notices")
_limits, _speed, _answers = _group("Limits"), _group("Speed"), _group("Answers")
_files, _keys, _clocks = _group("Messages and files"), _group("Keys and users"), _group(CLOCKS)
_transcripts, _codes, _fields = _group("Transcripts"), _group("Error codes"), _group(FIELDS)


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """Settings of one simulated chat service. Times in seconds; pairs are (low, high), uniform."""

    flex_disconnect_timeout_s: Timeout = _silence(
        45.0, "Drop a chat whose client sent no request for longer, 1 to 1728000 s [opt]; 0 is never."
    )
    sweep_interval_s: Seconds = _silence(
        0.0,
        "Time between two checks for silent chats. A silent chat lives until the next check, and can be refreshed "
        "until then. 0: each chat is dropped exactly at its timeout.",
    )
    send_keeps_alive: Switch = _silence(True, "SendMessage ends a silence. [opt]")
    typing_keeps_alive: Switch = _silence(True, "StartTyping and StopTyping end a silence. [opt]")
    failed_keeps_alive: Switch = _silence(True, "A wrong request, which is answered statusCode 1, ends a silence.")
    user_register_timeout_s: Seconds = _silence(
        0.0, "Drop a chat whose client sends nothing this long after RequestChat; 0 is off. [opt]"
    )
    long_poll_s: Seconds = _silence(
        0.0,
        "Hold a GetMessages with a transcriptPosition until an event comes, at most this long; 0 answers at once. The "
        "silence then counts from the answer, or from the client hanging up.",
    )
    idle_alert_s: Seconds = _silence(
        255.0, "Inactivity control: alert when there was no message for this long; 0 is off. [opt]"
    )
    idle_alert2_s: Seconds = _silence(0.0, "... alert once more this long after; 0 is off. [opt]")
    idle_close_s: Seconds = _silence(45.0, "... and close this long after; 0 is off. [opt]")
    dropped_answer: Annotated[str, one_of("0/true", "2")] = _silence(
        "0/true", "Answer to the next request of a dropped chat."
    )
    keeps_ended_s: Seconds = _silence(60.0, "An ended chat still answers 0/true with its transcript for this long.")
    agents: Switch = _agents(True, "Agents join, answer and leave.")
    agent_wait_s: Span = _agents((0.5, 2.0), "An agent joins after this long.")
    agent_answer_s: Span = _agents((0.5, 2.0), "An agent answers a message after this long.")
    agent_types: Switch = _agents(False, "Agents send TypingStarted and TypingStopped around answers.")
    agent_pushes_chance: Chance = _agents(0.0, "Share of answers that come with a PushUrl, 0 to 1.")
    agent_leaves_chance: Chance = _agents(0.0, "Share of chats that the agent ends, 0 to 1.")
    agent_leaves_after_s: Span = _agents((5.0, 30.0), "... this long after joining.")
    transfer_chance: Chance = _agents(
        0.0, "Share of agents who transfer the chat: they leave and another agent joins, 0 to 1."
    )
    transfer_after_s: Span = _agents((5.0, 30.0), "... this long after joining.")
    transfer_gap_s: Span = _agents((0.5, 2.0), "Time from the first agent's leaving to the next agent's joining.")
    transfer_overlaps: Switch = _agents(
        False, "The next agent joins --transfer-gap before the first one leaves (a consulted transfer)."
    )
    agents_share_name: Switch = _agents(False, 'All agents of a chat have the nickname "agent".')
    bot_chance: Chance = _others(
        0.0, "Share of chats with a bot, which greets at once and answers until an agent joins, 0 to 1."
    )
    bot_answer_s: Span = _others((0.2, 0.5), "A bot answers after this long.")
    supervisor_chance: Chance = _others(
        0.0, "Share of agents with a supervisor, who joins the chat, speaks and leaves, 0 to 1."
    )
    supervisor_after_s: Span = _others((2.0, 10.0), "... this long after the agent.")
    supervisor_stays_s: Span = _others((2.0, 10.0), "... for this long.")
    notice_every_s: Seconds = _others(
        0.0, "Time between two Notices in every chat; 0 is off. A Notice does not count as a message."
    )
    other_client_chance: Chance = _others(
        0.0, "Share of chats that a second participant of type Client joins and leaves, 0 to 1. The chat goes on."
    )
    other_client_after_s: Span = _others((2.0, 10.0), "... this long after its start.")
    other_client_stays_s: Span = _others((2.0, 10.0), "... for this long.")
    other_client_shares_name: Switch = _others(False, "... with the customer's nickname.")
    removed_chance: Chance = _others(
        0.0, "Share of chats that the server ends although the client polls in time, 0 to 1."
    )
    removed_after_s: Span = _others((0.5, 10.0), "... this long after the start.")
    limit_for_sessions: Limit | None = _limits(
        None, "Refuse chats above this many at a time. Default: no limit (Chat Server: 1000). [opt]"
    )
    limit_for_flex_users: Limit | None = _limits(
        None, "Refuse customers above this many at a time. Default: no limit (Chat Server: 1001). [opt]"
    )
    limits_restore_threshold: Chance = _limits(
        0.8, "After a limit has refused a chat, go on refusing until below this part of the limit, 0 to 1. [opt]"
    )
    service_time_s: Seconds = _speed(
        0.0, "Mean time to serve a request (exponential), after its wait for a free worker; 0 is at once."
    )
    servers: Limit = _speed(1, "Workers: this many requests are served at a time, the others wait in line.")
    contention: Chance = _speed(
        0.0, "The service time grows by this part of itself with each other chat that is open, 0 to 1."
    )
    coherency: Chance = _speed(0.0, "... and by this part with each pair of chats that are open (both orders), 0 to 1.")
    repeat_events: Count = _answers(
        0, "Begin every transcript up to this many events too early, as a server may. [client]"
    )
    refresh_message: Annotated[str, one_of("auto", "send", "draft")] = _answers(
        "auto",
        "What `message` on GetMessages is: said at once (send, [gms]), the text being typed (draft, [client]), or a "
        "draft between StartTyping and StopTyping and else said (auto).",
    )
    typing_events: Switch = _answers(True, "The customer's typing is in the transcript.")
    message_max_bytes: Limit = _files(
        16_384, "Maximum length of a text, and of all user data, in bytes of UTF-8; more is answered 1/false."
    )
    file_max_bytes: Count = _files(10_485_760, "Maximum size of a file.")
    file_max_count: Count = _files(10, "Maximum number of files of one chat.")
    file_max_total_bytes: Count = _files(52_428_800, "Maximum size of all files of one chat.")
    file_types: Text = _files(
        "bmp:csv:doc:docx:gif:htm:jpeg:jpg:pdf:png:ppt:pptx:tif:txt:xls:xlsx:zip",
        "Name endings of the files that are accepted, separated by colons; * is any. [client]",
    )
    file_downloads: Count = _files(10, "Maximum number of downloads of one chat.")
    file_deletes: Switch = _files(True, "A customer may delete files.")
    file_needs_agent: Switch = _files(False, "Files are accepted only while an agent is in the chat.")
    files_memory_bytes: Count = _files(
        268_435_456, "Maximum size of all files of all chats. They are kept in memory while their chat is known."
    )
    key_rotates_answers: Count = _keys(
        0, "A chat gets a new secureKey after this many answers; 0 is never. The client must use the newest. [client]"
    )
    key_rotates_s: Seconds = _keys(0.0, "A chat gets a new secureKey after this time; 0 is never.")
    old_key_grace_s: Seconds = _keys(
        30.0, "A replaced secureKey stays valid for this long. After that it is answered 2, which ends the chat."
    )
    one_user_per_email: Switch = _keys(
        False, "Customers with the same e-mail address are one flex user, with one userId."
    )
    sessions_per_flex_user: Limit | None = _keys(
        None, "Maximum number of chats of a flex user at a time. Default: no limit."
    )
    utc_resolution_s: Resolution = _clocks(0.001, "Stamp events (utcTime) in whole multiples of this, 0.001 or more.")
    utc_rounds: Annotated[str, one_of("down", "nearest")] = _clocks("down", "... rounded this way.")
    clock_offset_s: Shift = _clocks(0.0, "The clock of the stamps is ahead of true time by this; below 0: behind.")
    clock_step_s: Shift = _clocks(0.0, "The clock of the stamps steps once by this; below 0: back.")
    clock_step_at_s: Seconds = _clocks(0.0, "... this long after the service's start.")
    clock_drift_ppm: Rate = _clocks(
        0.0, "The clock of the stamps gains this many microseconds per second; below 0: it loses."
    )
    nodes: Limit = _clocks(1, "Nodes that share the chats. `alias` in an answer names the node.")
    node_offset_s: Shift = _clocks(
        0.0, "The clock of the last node is ahead of the first node's by this, the clocks between them in equal steps."
    )
    node_changes: Annotated[str, one_of("event", "chat")] = _clocks(
        "event", "event: a random node handles each event and each answer. chat: each chat moves once to another node."
    )
    node_moves_after_s: Span = _clocks((2.0, 10.0), "A chat moves this long after its start, with --node-changes chat.")
    undated_chance: Chance = _transcripts(0.0, "Share of events without utcTime, 0 to 1.")
    participant_ids: Switch = _transcripts(True, "Events have a participantId.")
    opening_events: Annotated[str, one_of("told", "later", "skipped")] = _transcripts(
        "told",
        "The first events of a chat are in the answer to RequestChat (told), can be in the next answer (later), or are"
        " in none, because nextPosition is past them (skipped).",
    )
    customer_join_told: Switch = _transcripts(True, "The transcript has the customer's ParticipantJoined.")
    customer_left_told: Switch = _transcripts(True, "The transcript has the customer's ParticipantLeft.")
    removed_customer_leaves: Switch = _transcripts(
        False, "When an agent or inactivity control ends a chat, a ParticipantLeft of the customer is written too."
    )
    agent_left_told: Annotated[str, one_of("before", "after", "never")] = _transcripts(
        "before",
        "The ParticipantLeft of an agent who ends a chat is before or after the customer's, or missing (never).",
    )
    idle_close_told: Switch = _transcripts(True, "Inactivity control writes IdleClose before the end.")
    quit_reasons: Annotated[str, one_of("none", "documented", "all")] = _transcripts(
        "none",
        "The customer's ParticipantLeft, written for every end, has a quit-reason-code: only the documented 4, 5, 7 "
        "and 8, or 0 and 3 too (all).",
    )
    quit_reason_number: Switch = _transcripts(False, "... as a JSON number, not a string.")
    error_8201: Switch = _codes(False, "An unknown chat is answered with error code 8201.")
    error_8209: Switch = _codes(False, "A chat that was dropped for silence is answered with error code 8209.")
    error_8210: Switch = _codes(False, "A wrong secureKey is answered with error code 8210, and the chat ends at once.")
    answer_fields: Annotated[str, one_of("full", "null", "sparse")] = _fields(
        "full",
        "Fields without news (keys that the client sent, no events) are present (full), null, or left out (sparse).",
    )
    chat_ended_told: Annotated[str, one_of("always", "true", "never")] = _fields(
        "always", "Answers have chatEnded always, only when it is true, or never."
    )
    disconnect_answer: Annotated[str, one_of("full", "bare", "null")] = _fields(
        "full",
        'A Disconnect is answered as any other request (full), with {"statusCode":0} alone (bare), or with all other '
        "fields null.",
    )
    end_transcript: Switch = _fields(True, "The answer that tells the end has the events of the transcript.")
    service: Text | None = _answers("default", "Names of the chat services, with commas between.")
    seed: Number = _answers(0, "Seed of the random numbers: what participants do, ids and keys.")


#: Setting's key, on the command line (without dashes in front) and in a settings file -> its field.
SETTINGS = {f.name.removesuffix("_s").replace("_", "-"): f for f in fields(SimulatorConfig)}
_HINTS = get_type_hints(SimulatorConfig, include_extras=True)


def changed(config: SimulatorConfig, group: str) -> bool:
    """Return whether a setting of a group differs from its default."""
    return any(getattr(config, f.name) != f.default for f in SETTINGS.values() if f.metadata["group"] == group)


def type_of(key: str) -> tuple[Any, SettingKind]:
    """Return the Python type of the setting `key` (if it may be None, that of its other values), and its kind."""
    hint = _HINTS[SETTINGS[key].name]
    annotated = get_args(hint)[0] if type(None) in get_args(hint) else hint
    python_type, *_, kind = get_args(annotated)
    return python_type, kind


def setting_value(key: str, given: Any) -> Any:
    """Return the value of the setting `key`, of a text too. Raises ValueError, which says what is expected."""
    try:
        return TypeAdapter(_HINTS[SETTINGS[key].name], config=ConfigDict(strict=True)).validate_python(given)
    except ValidationError:
        raise ValueError(type_of(key)[1].expected) from None
