"""Numerical methods that know nothing of chats."""
