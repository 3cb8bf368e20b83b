"""`chatload history`: what changed over many runs."""
