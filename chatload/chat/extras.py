"""What a customer may do beside talking: other operations of the chat service, each with a chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chatload.protocol.operations import CORE, FILE, OPERATION_FIELDS, UPLOAD, USER_DATA

if TYPE_CHECKING:
    from chatload.chat.draws import Draws
    from chatload.chat.script import Distribution

#: Operations a script may add, and the fields of each that a script says (the engine knows the others).
#: Operations a script may add, and the fields of each that a script says (the engine knows the others).
EXTRA_FIELDS: Mapping[str, tuple[str, ...]] = {
    operation: tuple(
        f for f in fields if f in ("nickname", "first_name", "last_name", "url", "message", USER_DATA, *FILE)
    )
    for operation, fields in OPERATION_FIELDS.items()
    if operation not in CORE
}
#: No upload is larger, whatever was drawn (bytes).
MOST_UPLOAD = 64 * 2**20
#: Those that need a file which an upload has put there.
OF_A_FILE = frozenset({"FileDownload", "FileDelete"})


@dataclass(frozen=True, slots=True)
class Extra:
    """One operation done once in a chat with `chance` (0..1). fields: ours, user data as user_data.KEY.

    size: bytes of an upload.
    """

    operation: str
    chance: float = 1.0
    fields: Mapping[str, str] = field(default_factory=dict)
    size: Distribution | None = None

    def content(self, random: Draws) -> bytes | None:
        """What an upload brings: that many bytes of filler; None of another operation."""
        if self.operation != UPLOAD:
            return None
        return b"." * (1 if self.size is None else min(max(1, round(self.size.sample(random))), MOST_UPLOAD))


def plan(extras: tuple[Extra, ...], random: Draws, start: float, end: float) -> list[tuple[float, Extra]]:
    """Those that this chat does, and when: in the order of the script, spread over [start, end]."""
    done = [extra for extra in extras if random.random() < extra.chance]
    return list(zip(sorted(random.uniform(start, end) for _ in done), done, strict=True))
