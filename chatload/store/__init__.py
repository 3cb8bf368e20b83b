"""One run is one SQLite file: schema, writer, reader."""
