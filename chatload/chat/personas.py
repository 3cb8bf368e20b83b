"""The personas: whose wire behaviour a customer has."""

from __future__ import annotations

from collections.abc import Mapping

from chatload.chat.lifecycle import ChatSession
from chatload.chat.settings import SessionSettings
from chatload.chat.sweep import arm_of
from chatload.chat.widget import WidgetSession
from chatload.run.books import Books

#: strict follows the status table; widget is the vendor's browser client.
PERSONAS: Mapping[str, type[ChatSession]] = {"strict": ChatSession, "widget": WidgetSession}


def new_session(settings: SessionSettings, books: Books, seed: int, started_at: float) -> ChatSession:
    """One chat of the settings' persona; arguments as of ChatSession."""
    return PERSONAS[settings.persona](arm_of(settings, seed), books, seed, started_at)
