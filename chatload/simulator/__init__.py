"""A simulated chat server: a pure model, which gets the time from its caller, and an HTTP server around it."""
