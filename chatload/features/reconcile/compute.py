"""A run's verdicts against the server's ledger, session by session."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from chatload.chat.record import SessionRecord
from chatload.features.reconcile.ledger import LedgerRow
from chatload.vocabulary import PERHAPS_LATE, Verdict

#: Endings of a session that the ledger does not have, and of one that the run has no chat id of.
MISSING, UNMATCHED = "unknown", "no_chat_id"
#: Ending by the ledger -> what the ledger says with it.
_SAYS = {
    "disconnected": "the client's Disconnect ended it",
    "agent": "the agent ended it",
    "idle": "inactivity control closed it",
    "dropped_late": "it expired and a contact came too late",
    "abandoned": "it expired and nobody came back",
    "unrecoverable": "it was lost to an unrecoverable error",
    "early": "it was ended before its deadline",
    "restarted": "a restart of the server lost it",
    "alive": "it is still alive",
    MISSING: "no session with this id",
}
#: All endings, in the order of reports.
ENDINGS = (*_SAYS, UNMATCHED)

#: The endings that contradict a verdict; a verdict that is not here is contradicted by dropped_late alone.
_CONTRADICTED_BY: dict[str, frozenset[str]] = {
    Verdict.COMPLETED: frozenset(ENDINGS) - {"disconnected"},
    Verdict.ENDED_BY_AGENT: frozenset(ENDINGS) - {"agent"},
    Verdict.CLOSED_IDLE: frozenset(ENDINGS) - {"idle"},
    Verdict.DROPPED_LATE: frozenset(ENDINGS) - {"dropped_late"},
    Verdict.DROPPED_EARLY: frozenset(ENDINGS) - {"early", "restarted"},
    Verdict.DROPPED_UNPROVEN: frozenset(),
    # Stopped before its Disconnect: the run claims nothing about what the server did with it afterwards.
    Verdict.CUT_OFF: frozenset(),
}
#: How a chat may have ended just before or while our Disconnect was under way.
_AT_GOODBYE = frozenset({"agent", "idle", "early", "restarted", "unrecoverable"})


class Contradiction(NamedTuple):
    """One session for which run and ledger contradict each other. sentence: the contradiction in words."""

    chat_id: str
    verdict: str
    ledger: str
    sentence: str


@dataclass
class Reconciliation:
    """The result of a comparison.

    confusion: sessions per (verdict, ending by the ledger). sessions: records of the run. ledger_sessions: rows of the
    ledger. without_chat_id: records that no ledger can have. orphans: sessions of the ledger that the run has no record
    of.
    """

    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    contradictions: list[Contradiction] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sessions: int = 0
    ledger_sessions: int = 0
    without_chat_id: int = 0
    orphans: int = 0

    @property
    def agrees(self) -> bool:
        return not self.contradictions

    @property
    def compared(self) -> int:
        """Records that the ledger can know by their chat id."""
        return self.sessions - self.without_chat_id

    @property
    def silenced(self) -> int:
        """Sessions that the server ended for silence and that came back too late."""
        return sum(n for (_, ending), n in self.confusion.items() if ending == "dropped_late")

    @property
    def unproven(self) -> int:
        """Those of `silenced` of which the run could not prove it."""
        return self.confusion[Verdict.DROPPED_UNPROVEN.value, "dropped_late"]

    def to_dict(self) -> dict[str, Any]:
        confusion: dict[str, dict[str, int]] = {}
        for (verdict, ending), count in sorted(self.confusion.items()):
            confusion.setdefault(verdict, {})[ending] = count
        return {
            "agrees": self.agrees,
            "sessions": self.sessions,
            "ledger_sessions": self.ledger_sessions,
            "without_chat_id": self.without_chat_id,
            "orphans": self.orphans,
            "confusion": confusion,
            "ended_for_silence": self.silenced,
            "unproven": self.unproven,
            "unproven_share": self.unproven / self.silenced if self.silenced else None,
            "contradictions": [item._asdict() for item in self.contradictions],
            "notes": list(self.notes),
        }


def ending_of(row: LedgerRow) -> str:
    """Return how a session ended by the ledger, one of ENDINGS.

    An expired session without a later request is abandoned: its client had stopped, so no refresh came late. If the
    ledger does not record late requests, expired counts as dropped_late.
    """
    if row.end_reason == "expired":
        came_back = row.late_contact_at is not None or not row.late_contact_known
        return "dropped_late" if came_back else "abandoned"
    return row.end_reason or "alive"


def reconcile(
    records: Iterable[SessionRecord], rows: Iterable[LedgerRow], timeout_s: float | None = None
) -> Reconciliation:
    """Compare a run's records with a ledger's rows.

    timeout_s: the configured timeout of the run (seconds). An expired session whose timeout in the ledger is shorter
    counts as ended early, unless the verdict of the run is one of PERHAPS_LATE.
    Where the ledger does not tell of late contacts, an expired session that the run gave up is abandoned.
    """
    result = Reconciliation()
    endings: dict[str, str] = {}
    ended_at: dict[str, float | None] = {}
    untold: set[str] = set()
    sooner: set[str] = set()
    for row in rows:
        result.ledger_sessions += 1
        if row.chat_id in endings:
            result.notes.append(f"chat {row.chat_id} is in the ledger more than once; its last row counts")
        endings[row.chat_id], ended_at[row.chat_id] = ending_of(row), row.ended_at
        if endings[row.chat_id] == "dropped_late" and not row.late_contact_known:
            untold.add(row.chat_id)
        if timeout_s is not None and row.timeout_s is not None and row.timeout_s < timeout_s:
            sooner.add(row.chat_id)
    seen: set[str] = set()
    for record in records:
        result.sessions += 1
        if not record.chat_id:
            result.without_chat_id += 1
            result.confusion[record.verdict, UNMATCHED] += 1
            continue
        ending = endings.get(record.chat_id, MISSING)
        if record.verdict == Verdict.GAVE_UP and record.chat_id in untold:
            ending = "abandoned"
        if ending == "dropped_late" and record.chat_id in sooner and record.verdict not in PERHAPS_LATE:
            ending = "early"
        result.confusion[record.verdict, ending] += 1
        result.contradictions += _contradictions(record, ending, ended_at.get(record.chat_id), record.chat_id in seen)
        seen.add(record.chat_id)
    result.orphans = len(endings.keys() - seen)
    if not result.compared:
        result.notes.append("the run has no session with a chat id: there was nothing to compare")
    if result.orphans > result.without_chat_id:
        result.notes.append(
            f"the ledger has {result.orphans} sessions the run has no record of, more than the "
            f"{result.without_chat_id} whose RequestChat had no answer: the server may have served others too"
        )
    return result


def _contradictions(record: SessionRecord, ending: str, ended_at: float | None, again: bool) -> Iterator[Contradiction]:
    if again:
        sentence = f"chat {record.chat_id} is in the run more than once, and can have only one verdict"
        yield Contradiction(record.chat_id, record.verdict, ending, sentence)
    goodbye = ""
    if record.goodbye_confirmed and record.verdict in (Verdict.CUT_OFF, Verdict.GAVE_UP):
        goodbye = " with its goodbye confirmed"
    contradicted_by = _CONTRADICTED_BY.get(record.verdict, frozenset({"dropped_late"})) | {MISSING}
    # By the ledger, the chat had ended before our Disconnect left. Assumed so if one of the instants is unknown.
    before_goodbye = ended_at is None or record.goodbye_at is None or ended_at < record.goodbye_at
    if record.verdict == Verdict.COMPLETED and not (record.goodbye_confirmed and before_goodbye):
        # The customer had left, or the client cannot know that the chat had ended just before: no claim is made.
        contradicted_by = contradicted_by - _AT_GOODBYE
    if record.verdict == Verdict.FAILED and ended_at is not None and ended_at > record.ended_at:
        # What the server does with a chat after it has told the client its end is not its end for the client.
        contradicted_by = contradicted_by - {"dropped_late"}
    if goodbye:
        contradicted_by |= {"alive", "abandoned", "dropped_late"}
    if ending in contradicted_by:
        sentence = f"chat {record.chat_id} is {record.verdict}{goodbye} by the run, but the ledger says {_SAYS[ending]}"
        yield Contradiction(record.chat_id, record.verdict, ending, sentence)
