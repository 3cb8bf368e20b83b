"""`chatload drift`: whether a soak run degraded over time."""
