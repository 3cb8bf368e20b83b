"""Verdicts against a server's own ledger."""
