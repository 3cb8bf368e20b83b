"""`chatload compare`: what changed between runs."""
