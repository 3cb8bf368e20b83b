"""Text files of users, saved by an editor that begins them with a byte order mark."""

from pathlib import Path

import pytest

from chatload.chat.script import load_script
from chatload.features.reconcile import ledger
from chatload.protocol.dialect import load_dialect
from chatload.run.arrivals import load_profile
from chatload.simulator.model.faults import FaultPlan
from chatload.target import VARIABLE, read_rules

DIALECT = (Path(load_dialect.__code__.co_filename).parent / "dialects" / "gms-v2.toml").read_text()
READERS = {
    "script.toml": ("chat_length = 30\n", lambda path: load_script(path).chat_length.a),
    "dialect.toml": (DIALECT, lambda path: load_dialect(path).name),
    "faults.toml": ('[[fault]]\nkind = "outage"\n', lambda path: len(FaultPlan.load(path).faults)),
    "chatload.toml": ("max_sessions = 5\n", lambda path: read_rules({VARIABLE: path}).max_sessions),
    "arrivals.csv": ("seconds,chats\n0,5\n10,0\n", lambda path: load_profile(path).total),
    "ledger.csv": ("chat_id,end_reason\n1,agent\n", lambda path: list(ledger.read(path))),
    "ledger.ndjson": ('{"chat_id": "1", "end_reason": "agent"}\n', lambda path: list(ledger.read(path))),
}


@pytest.mark.parametrize("name", READERS)
def test_a_byte_order_mark_changes_nothing(tmp_path, name):
    text, read = READERS[name]
    plain, marked = tmp_path / name, tmp_path / "marked" / name
    marked.parent.mkdir()
    plain.write_text(text)
    marked.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read(str(plain)) and read(str(plain)) == read(str(marked))
