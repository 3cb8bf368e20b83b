"""The report of a run: summary.json, console, Markdown, JUnit, HTML."""
