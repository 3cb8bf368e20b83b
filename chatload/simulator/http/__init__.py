"""The HTTP server around the model."""
