"""`chatload doctor`: whether this machine and the host are ready for a run."""
