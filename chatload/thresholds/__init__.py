"""Metrics of a run, the expression grammar, and the judgement."""
