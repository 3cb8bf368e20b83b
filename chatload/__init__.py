"""chatload: load and soak tests for polling chat sessions, with proof of what became of every one."""

__version__ = "0.1.0"
