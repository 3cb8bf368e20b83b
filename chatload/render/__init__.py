"""What every report is written with: words, tables, charts, templates."""
