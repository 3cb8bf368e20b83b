"""A run's verdicts against the server's ledger, as a document."""

from collections import Counter

from chatload.features.reconcile.compute import ENDINGS, MISSING, UNMATCHED, Reconciliation
from chatload.render import words
from chatload.render.document import Block, Bullets, Document, Section, Sentence, Table, TableCell, Tone, table

_NAMES = {MISSING: "unknown to the ledger", UNMATCHED: "has no chat id"}
#: --json prints all contradictions.
_ALL = "--json"


def reconciliation_document(result: Reconciliation) -> Document:
    """Return a reconciliation: the answer, verdicts by endings of the ledger, contradictions."""
    sections = []
    if result.confusion:
        sections.append(Section("Verdicts of the run by endings of the ledger", (_confusion(result),)))
    compared: list[Block] = []
    if result.silenced:
        share = result.unproven / result.silenced
        said = (
            f"ended for silence by the ledger, with a refresh too late: {words.number(result.silenced)}; "
            f"unproven by the run: {words.number(result.unproven)} ({words.percent(share)})"
        )
        compared.append(Sentence(said))
    orphans, nameless = words.number(result.orphans), words.number(result.without_chat_id)
    compared += [
        Sentence(f"in the ledger but not in the run: {orphans}; in the run without a chat id: {nameless}"),
        Bullets([f"note: {note}" for note in result.notes], noun="note", file=_ALL),
    ]
    sections.append(Section("Compared", compared))
    if result.contradictions:
        lines = [item.sentence for item in result.contradictions]
        sections.append(Section("Contradictions", (Bullets(lines, Tone.BAD, "contradiction", _ALL),)))
    return Document(_answer(result), sections)


def _answer(result: Reconciliation) -> Sentence:
    if count := len(result.contradictions):
        return Sentence(f"CONTRADICTED: {words.plural(count, 'contradiction')} between run and ledger", Tone.BAD)
    if not result.compared:
        return Sentence("nothing was compared", Tone.WARN)
    compared = words.plural(result.compared, "session")
    return Sentence(f"run and ledger agree: nothing contradicts in {compared} compared", Tone.GOOD)


def _confusion(result: Reconciliation) -> Table:
    """A row for each pair that occurs: ten verdicts by ten endings do not fit 80 columns, and most are 0."""
    disputed = Counter((item.verdict, item.ledger) for item in result.contradictions)
    rank = {ending: i for i, ending in enumerate(ENDINGS)}
    rows: list[tuple[TableCell | str, ...]] = []
    for (verdict, ending), count in sorted(result.confusion.items(), key=lambda i: (i[0][0], rank[i[0][1]])):
        wrong = disputed[verdict, ending]
        said = TableCell(f"{words.number(wrong)} contradicted", Tone.BAD) if wrong else ""
        rows.append((verdict, _NAMES.get(ending, ending), words.number(count), said))
    return table("Verdicts by endings of the ledger", ("verdict", "ledger", "sessions", ""), rows, sides="llrl")
