"""A chat service and its customers, for tests of the model."""

from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.service import ChatService

TIMEOUT = 10.0
QUIET = {"agents": False, "idle_alert_s": 0.0}


def service(**changes):
    return ChatService(SimulatorConfig(**{"flex_disconnect_timeout_s": TIMEOUT, **QUIET, **changes}))


class Client:
    """One customer, who keeps the keys it was given."""

    def __init__(self, chats, at=0.0, **fields):
        self.chats = chats
        self.first = chats.process(at, "RequestChat", None, {"nickname": "Ann", **fields}).payload
        self.chat_id = self.first.get("chatId")

    def answer(self, at, operation="GetMessages", content=None, fault=None, **fields):
        keys = {
            "user_id": self.first["userId"],
            "secure_key": self.first["secureKey"],
            "alias": self.first["alias"],
        }
        return self.chats.process(at, operation, self.chat_id, {**keys, **fields}, fault, content)

    def ask(self, at, operation="GetMessages", **fields):
        return self.answer(at, operation, **fields).payload

    def transcript(self, at):
        return self.ask(at, position="1")["messages"]

    def row(self, now):
        (row,) = [row for row in self.chats.ledger_rows(now) if row["chat_id"] == self.chat_id]
        return row


def status(payload):
    return payload["statusCode"], payload["chatEnded"]


def kinds(payload):
    return [(event["type"], event["from"]["type"]) for event in payload["messages"]]
