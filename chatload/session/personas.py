"""The personas: whose wire behaviour a customer has."""

from __future__ import annotations

from collections.abc import Mapping

from chatload.session.books import Books
from chatload.session.lifecycle import ChatSession
from chatload.session.settings import SessionSettings
from chatload.session.sweep import arm_of
from chatload.session.widget import WidgetSession

#: strict follows the status table; widget is the vendor's browser client.
PERSONAS: Mapping[str, type[ChatSession]] = {"strict": ChatSession, "widget": WidgetSession}


def new_session(settings: SessionSettings, books: Books, seed: int, started_at: float) -> ChatSession:
    """One chat of the settings' persona; arguments as of ChatSession."""
    return PERSONAS[settings.persona](arm_of(settings, seed), books, seed, started_at)
