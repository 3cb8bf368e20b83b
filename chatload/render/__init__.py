"""Reports: one document model, and its writers for a terminal, Markdown and HTML."""
