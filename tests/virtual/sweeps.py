"""Sweeps in virtual time, written as runs that `chatload tune` reads."""

from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript
from chatload.chat.settings import SessionSettings, swept
from chatload.features.tune.load import model_sweep
from chatload.run.books import Books
from chatload.run.settings import RunSettings
from chatload.run.writer import RunWriter
from chatload.simulator.model.faults import Fault, FaultPlan
from chatload.virtual.network import NetworkModel
from tests.run_files import add_sessions, put_books

TIMEOUT_S = 2.0
#: 2 % "unsuccessful", and a tail of requests taken late: what an interval near the timeout has no room for.
UNKIND = (
    Fault("status_1", chance=0.02),
    Fault("stall", chance=0.002, delay_s=0.25),
    Fault("stall", chance=0.01, delay_s=0.12),
    Fault("stall", chance=0.03, delay_s=0.03),
)


def sweep(fractions, sessions, seed, *, faults=UNKIND, timeout_s=TIMEOUT_S, chat_length_s=8.0, network=None):
    """The records of so many sessions in all."""
    script = CustomerScript().with_chat_length(chat_length_s)
    settings = swept(SessionSettings(make_policy("fraction", timeout_s), timeout_s / 2, script), tuple(fractions))
    network = network or NetworkModel(0.0015, 0.5)
    return model_sweep(settings, sessions, FaultPlan(faults, seed), network=network, seed=seed)


def write_run(folder, records, fractions, *, timeout_s=TIMEOUT_S, finish=True, books=None):
    """A run of these sessions; its books are theirs."""
    books = books or Books()
    for record in records:
        books.started += 1
        books.session_ended(record)
    settings = RunSettings(
        flex_disconnect_timeout=timeout_s, sweep=tuple(fractions), chat_seed=1, users=100,
        request_timeout=timeout_s / 2, chat_length=8.0,
    )  # fmt: skip
    with RunWriter.create(folder, settings, started_at=0.0) as writer:
        add_sessions(writer, records)
        put_books(writer, "local", books)
        if finish:
            writer.finish(max((record.ended_at for record in records), default=0.0))
    return folder
