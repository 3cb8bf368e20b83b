"""The settings of the simulated chat service, each with its meaning.

The command's options and the keys of a settings file are made from these fields, so that each setting is declared
once. A name that ends in `_s` is in seconds and loses that ending on the command line.
Sources, as in the protocol notes: [opt] Genesys' option reference, [gms] the GMS Chat API,
[client] the vendor's browser client; what names none is a choice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

MIN_TIMEOUT_S, MAX_TIMEOUT_S = 1.0, 1_728_000.0
_INF = float("inf")


class SettingKind(NamedTuple):
    """The values that a setting takes. expected: text for a message. low, high: bounds of numbers."""

    name: str
    expected: str
    low: float = 0.0
    high: float = _INF
    choices: tuple[str, ...] = ()


SECONDS = SettingKind("seconds", "expected seconds, not below 0")
SHIFT = SettingKind("seconds", "expected seconds, of either sign", -_INF)
RESOLUTION = SettingKind("seconds", "expected 0.001 s or more", 0.001)
RATE = SettingKind("rate", "expected a number, of either sign", -_INF)
TIMEOUT = SettingKind("timeout", "expected 1..1728000 s, or 0", MIN_TIMEOUT_S, MAX_TIMEOUT_S)
SPAN = SettingKind("span", "expected LOW HIGH, seconds, LOW first")
CHANCE = SettingKind("chance", "expected 0 to 1", 0.0, 1.0)
COUNT = SettingKind("count", "expected a whole number, not below 0")
LIMIT = SettingKind("limit", "expected 1 or more", 1.0)
NUMBER = SettingKind("count", "expected a whole number", -_INF)
SWITCH = SettingKind("switch", "expected true or false")
TEXT = SettingKind("text", "expected text")


def one_of(*choices: str) -> SettingKind:
    """Return the kind of a setting that is one of a few words."""
    return SettingKind("choice", f"expected one of {', '.join(choices)}", choices=choices)


def _setting(default: Any, kind: SettingKind, group: str, text: str) -> Any:
    return field(default=default, metadata={"kind": kind, "group": group, "help": text})


SILENCE, AGENTS, OTHERS = "Silence", "Agents", "Bots, supervisors, notices"
SPEED = "Speed"
LIMITS, ANSWERS, FILES, KEYS = "Limits", "Answers", "Messages and files", "Keys and users"
CLOCKS, TRANSCRIPTS, CODES, FIELDS = "Clocks and nodes", "Transcripts", "Error codes", "Fields of answers"


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """Settings of one simulated chat service. Times in seconds; pairs are (low, high), uniform."""

    flex_disconnect_timeout_s: float = _setting(
        45.0, TIMEOUT, SILENCE, "Drop a chat whose client sent no request for longer, 1 to 1728000 s [opt]; 0 is never."
    )
    sweep_interval_s: float = _setting(
        0.0, SECONDS, SILENCE,
        "Time between two checks for silent chats. A silent chat lives until the next check, and can be refreshed "
        "until then. 0: each chat is dropped exactly at its timeout.",
    )  # fmt: skip
    send_keeps_alive: bool = _setting(True, SWITCH, SILENCE, "SendMessage ends a silence. [opt]")
    typing_keeps_alive: bool = _setting(True, SWITCH, SILENCE, "StartTyping and StopTyping end a silence. [opt]")
    failed_keeps_alive: bool = _setting(
        True, SWITCH, SILENCE, "A wrong request, which is answered statusCode 1, ends a silence."
    )
    user_register_timeout_s: float = _setting(
        0.0, SECONDS, SILENCE, "Drop a chat whose client sends nothing this long after RequestChat; 0 is off. [opt]"
    )
    long_poll_s: float = _setting(
        0.0, SECONDS, SILENCE,
        "Hold a GetMessages with a transcriptPosition until an event comes, at most this long; 0 answers at once. "
        "The silence then counts from the answer, or from the client hanging up.",
    )  # fmt: skip
    idle_alert_s: float = _setting(
        255.0, SECONDS, SILENCE, "Inactivity control: alert when there was no message for this long; 0 is off. [opt]"
    )
    idle_alert2_s: float = _setting(0.0, SECONDS, SILENCE, "... alert once more this long after; 0 is off. [opt]")
    idle_close_s: float = _setting(45.0, SECONDS, SILENCE, "... and close this long after; 0 is off. [opt]")
    dropped_answer: str = _setting(
        "0/true", one_of("0/true", "2"), SILENCE, "Answer to the next request of a dropped chat."
    )
    keeps_ended_s: float = _setting(
        60.0, SECONDS, SILENCE, "An ended chat still answers 0/true with its transcript for this long."
    )
    agents: bool = _setting(True, SWITCH, AGENTS, "Agents join, answer and leave.")
    agent_wait_s: tuple[float, float] = _setting((0.5, 2.0), SPAN, AGENTS, "An agent joins after this long.")
    agent_answer_s: tuple[float, float] = _setting(
        (0.5, 2.0), SPAN, AGENTS, "An agent answers a message after this long."
    )
    agent_types: bool = _setting(False, SWITCH, AGENTS, "Agents send TypingStarted and TypingStopped around answers.")
    agent_pushes_chance: float = _setting(0.0, CHANCE, AGENTS, "Share of answers that come with a PushUrl, 0 to 1.")
    agent_leaves_chance: float = _setting(0.0, CHANCE, AGENTS, "Share of chats that the agent ends, 0 to 1.")
    agent_leaves_after_s: tuple[float, float] = _setting((5.0, 30.0), SPAN, AGENTS, "... this long after joining.")
    transfer_chance: float = _setting(
        0.0, CHANCE, AGENTS, "Share of agents who transfer the chat: they leave and another agent joins, 0 to 1."
    )
    transfer_after_s: tuple[float, float] = _setting((5.0, 30.0), SPAN, AGENTS, "... this long after joining.")
    transfer_gap_s: tuple[float, float] = _setting(
        (0.5, 2.0), SPAN, AGENTS, "Time from the first agent's leaving to the next agent's joining."
    )
    transfer_overlaps: bool = _setting(
        False, SWITCH, AGENTS, "The next agent joins --transfer-gap before the first one leaves (a consulted transfer)."
    )
    agents_share_name: bool = _setting(False, SWITCH, AGENTS, 'All agents of a chat have the nickname "agent".')
    bot_chance: float = _setting(
        0.0, CHANCE, OTHERS, "Share of chats with a bot, which greets at once and answers until an agent joins, 0 to 1."
    )
    bot_answer_s: tuple[float, float] = _setting((0.2, 0.5), SPAN, OTHERS, "A bot answers after this long.")
    supervisor_chance: float = _setting(
        0.0, CHANCE, OTHERS, "Share of agents with a supervisor, who joins the chat, speaks and leaves, 0 to 1."
    )
    supervisor_after_s: tuple[float, float] = _setting((2.0, 10.0), SPAN, OTHERS, "... this long after the agent.")
    supervisor_stays_s: tuple[float, float] = _setting((2.0, 10.0), SPAN, OTHERS, "... for this long.")
    notice_every_s: float = _setting(
        0.0, SECONDS, OTHERS, "Time between two Notices in every chat; 0 is off. A Notice does not count as a message."
    )
    other_client_chance: float = _setting(
        0.0,
        CHANCE,
        OTHERS,
        "Share of chats that a second participant of type Client joins and leaves, 0 to 1. The chat goes on.",
    )
    other_client_after_s: tuple[float, float] = _setting((2.0, 10.0), SPAN, OTHERS, "... this long after its start.")
    other_client_stays_s: tuple[float, float] = _setting((2.0, 10.0), SPAN, OTHERS, "... for this long.")
    other_client_shares_name: bool = _setting(False, SWITCH, OTHERS, "... with the customer's nickname.")
    removed_chance: float = _setting(
        0.0, CHANCE, OTHERS, "Share of chats that the server ends although the client polls in time, 0 to 1."
    )
    removed_after_s: tuple[float, float] = _setting((0.5, 10.0), SPAN, OTHERS, "... this long after the start.")
    limit_for_sessions: int | None = _setting(
        None, LIMIT, LIMITS, "Refuse chats above this many at a time. Default: no limit (Chat Server: 1000). [opt]"
    )
    limit_for_flex_users: int | None = _setting(
        None, LIMIT, LIMITS, "Refuse customers above this many at a time. Default: no limit (Chat Server: 1001). [opt]"
    )
    limits_restore_threshold: float = _setting(
        0.8,
        CHANCE,
        LIMITS,
        "After a limit has refused a chat, go on refusing until below this part of the limit, 0 to 1. [opt]",
    )
    service_time_s: float = _setting(
        0.0, SECONDS, SPEED,
        "Mean time to serve a request (exponential), after its wait for a free worker; 0 is at once.",
    )  # fmt: skip
    servers: int = _setting(
        1, LIMIT, SPEED, "Workers: this many requests are served at a time, the others wait in line."
    )
    contention: float = _setting(
        0.0, CHANCE, SPEED, "The service time grows by this part of itself with each other chat that is open, 0 to 1."
    )
    coherency: float = _setting(
        0.0, CHANCE, SPEED, "... and by this part with each pair of chats that are open (both orders), 0 to 1."
    )
    repeat_events: int = _setting(
        0, COUNT, ANSWERS, "Begin every transcript up to this many events too early, as a server may. [client]"
    )
    refresh_message: str = _setting(
        "auto", one_of("auto", "send", "draft"), ANSWERS,
        "What `message` on GetMessages is: said at once (send, [gms]), the text being typed (draft, [client]), or a "
        "draft between StartTyping and StopTyping and else said (auto).",
    )  # fmt: skip
    typing_events: bool = _setting(True, SWITCH, ANSWERS, "The customer's typing is in the transcript.")
    message_max_bytes: int = _setting(
        16_384,
        LIMIT,
        FILES,
        "Maximum length of a text, and of all user data, in bytes of UTF-8; more is answered 1/false.",
    )
    file_max_bytes: int = _setting(10_485_760, COUNT, FILES, "Maximum size of a file.")
    file_max_count: int = _setting(10, COUNT, FILES, "Maximum number of files of one chat.")
    file_max_total_bytes: int = _setting(52_428_800, COUNT, FILES, "Maximum size of all files of one chat.")
    file_types: str = _setting(
        "bmp:csv:doc:docx:gif:htm:jpeg:jpg:pdf:png:ppt:pptx:tif:txt:xls:xlsx:zip", TEXT, FILES,
        "Name endings of the files that are accepted, separated by colons; * is any. [client]",
    )  # fmt: skip
    file_downloads: int = _setting(10, COUNT, FILES, "Maximum number of downloads of one chat.")
    file_deletes: bool = _setting(True, SWITCH, FILES, "A customer may delete files.")
    file_needs_agent: bool = _setting(False, SWITCH, FILES, "Files are accepted only while an agent is in the chat.")
    files_memory_bytes: int = _setting(
        268_435_456,
        COUNT,
        FILES,
        "Maximum size of all files of all chats. They are kept in memory while their chat is known.",
    )
    key_rotates_answers: int = _setting(
        0,
        COUNT,
        KEYS,
        "A chat gets a new secureKey after this many answers; 0 is never. The client must use the newest. [client]",
    )
    key_rotates_s: float = _setting(0.0, SECONDS, KEYS, "A chat gets a new secureKey after this time; 0 is never.")
    old_key_grace_s: float = _setting(
        30.0, SECONDS, KEYS,
        "A replaced secureKey stays valid for this long. After that it is answered 2, which ends the chat.",
    )  # fmt: skip
    one_user_per_email: bool = _setting(
        False, SWITCH, KEYS, "Customers with the same e-mail address are one flex user, with one userId."
    )
    sessions_per_flex_user: int | None = _setting(
        None, LIMIT, KEYS, "Maximum number of chats of a flex user at a time. Default: no limit."
    )
    utc_resolution_s: float = _setting(
        0.001, RESOLUTION, CLOCKS, "Stamp events (utcTime) in whole multiples of this, 0.001 or more."
    )
    utc_rounds: str = _setting("down", one_of("down", "nearest"), CLOCKS, "... rounded this way.")
    clock_offset_s: float = _setting(
        0.0, SHIFT, CLOCKS, "The clock of the stamps is ahead of true time by this; below 0: behind."
    )
    clock_step_s: float = _setting(0.0, SHIFT, CLOCKS, "The clock of the stamps steps once by this; below 0: back.")
    clock_step_at_s: float = _setting(0.0, SECONDS, CLOCKS, "... this long after the service's start.")
    clock_drift_ppm: float = _setting(
        0.0, RATE, CLOCKS, "The clock of the stamps gains this many microseconds per second; below 0: it loses."
    )
    nodes: int = _setting(1, LIMIT, CLOCKS, "Nodes that share the chats. `alias` in an answer names the node.")
    node_offset_s: float = _setting(
        0.0,
        SHIFT,
        CLOCKS,
        "The clock of the last node is ahead of the first node's by this, the clocks between them in equal steps.",
    )
    node_changes: str = _setting(
        "event", one_of("event", "chat"), CLOCKS,
        "event: a random node handles each event and each answer. chat: each chat moves once to another node.",
    )  # fmt: skip
    node_moves_after_s: tuple[float, float] = _setting(
        (2.0, 10.0), SPAN, CLOCKS, "A chat moves this long after its start, with --node-changes chat."
    )
    undated_chance: float = _setting(0.0, CHANCE, TRANSCRIPTS, "Share of events without utcTime, 0 to 1.")
    participant_ids: bool = _setting(True, SWITCH, TRANSCRIPTS, "Events have a participantId.")
    opening_events: str = _setting(
        "told", one_of("told", "later", "skipped"), TRANSCRIPTS,
        "The first events of a chat are in the answer to RequestChat (told), can be in the next answer (later), or are "
        "in none, because nextPosition is past them (skipped).",
    )  # fmt: skip
    customer_join_told: bool = _setting(
        True, SWITCH, TRANSCRIPTS, "The transcript has the customer's ParticipantJoined."
    )
    customer_left_told: bool = _setting(True, SWITCH, TRANSCRIPTS, "The transcript has the customer's ParticipantLeft.")
    removed_customer_leaves: bool = _setting(
        False, SWITCH, TRANSCRIPTS,
        "When an agent or inactivity control ends a chat, a ParticipantLeft of the customer is written too.",
    )  # fmt: skip
    agent_left_told: str = _setting(
        "before", one_of("before", "after", "never"), TRANSCRIPTS,
        "The ParticipantLeft of an agent who ends a chat is before or after the customer's, or missing (never).",
    )  # fmt: skip
    idle_close_told: bool = _setting(True, SWITCH, TRANSCRIPTS, "Inactivity control writes IdleClose before the end.")
    quit_reasons: str = _setting(
        "none", one_of("none", "documented", "all"), TRANSCRIPTS,
        "The customer's ParticipantLeft, written for every end, has a quit-reason-code: only the documented 4, 5, 7 "
        "and 8, or 0 and 3 too (all).",
    )  # fmt: skip
    quit_reason_number: bool = _setting(False, SWITCH, TRANSCRIPTS, "... as a JSON number, not a string.")
    error_8201: bool = _setting(False, SWITCH, CODES, "An unknown chat is answered with error code 8201.")
    error_8209: bool = _setting(
        False, SWITCH, CODES, "A chat that was dropped for silence is answered with error code 8209."
    )
    error_8210: bool = _setting(
        False, SWITCH, CODES, "A wrong secureKey is answered with error code 8210, and the chat ends at once."
    )
    answer_fields: str = _setting(
        "full", one_of("full", "null", "sparse"), FIELDS,
        "Fields without news (keys that the client sent, no events) are present (full), null, or left out (sparse).",
    )  # fmt: skip
    chat_ended_told: str = _setting(
        "always",
        one_of("always", "true", "never"),
        FIELDS,
        "Answers have chatEnded always, only when it is true, or never.",
    )
    disconnect_answer: str = _setting(
        "full", one_of("full", "bare", "null"), FIELDS,
        'A Disconnect is answered as any other request (full), with {"statusCode":0} alone (bare), or with all other '
        "fields null.",
    )  # fmt: skip
    end_transcript: bool = _setting(
        True, SWITCH, FIELDS, "The answer that tells the end has the events of the transcript."
    )
    service: str | None = _setting("default", TEXT, ANSWERS, "Name of the only chat service.")
    seed: int = _setting(0, NUMBER, ANSWERS, "Seed of the random numbers: what participants do, ids and keys.")


def key_of(name: str) -> str:
    """Return the name of a setting on the command line (without dashes in front) and in a settings file."""
    return name.removesuffix("_s").replace("_", "-")


#: Setting's key -> its field.
SETTINGS = {key_of(f.name): f for f in fields(SimulatorConfig)}


def changed(config: SimulatorConfig, group: str) -> bool:
    """Return whether a setting of a group differs from its default."""
    return any(getattr(config, f.name) != f.default for f in fields(config) if f.metadata["group"] == group)


def wrong(key: str, value: Any) -> str | None:
    """Return what was expected if `value` is not valid for the setting `key`; None if it is valid."""
    kind: SettingKind = SETTINGS[key].metadata["kind"]
    return None if _fits(kind, value) else kind.expected


def _fits(kind: SettingKind, value: Any) -> bool:
    if kind.name == "switch":
        return isinstance(value, bool)
    if kind.name == "text":
        return isinstance(value, str) and bool(value)
    if kind.name == "choice":
        return value in kind.choices
    if kind.name == "span":
        pair = isinstance(value, list | tuple) and len(value) == 2 and all(_fits(SECONDS, part) for part in value)
        return pair and value[0] <= value[1]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if kind.name in ("count", "limit") and not isinstance(value, int):
        return False
    if kind.name == "timeout" and value == 0:
        return True
    return kind.low <= value <= kind.high and abs(value) < _INF
