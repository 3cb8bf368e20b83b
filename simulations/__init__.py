"""Simulations of what chatload claims: how often each claim is wrong, in tables for docs/statistics.md."""
