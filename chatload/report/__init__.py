"""summary.json and the console table."""
