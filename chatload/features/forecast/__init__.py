"""`chatload forecast`: what another refresh policy would have done in a run."""
