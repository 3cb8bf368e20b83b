"""One chat: engine, refresh schedule, customer script, contacts, verdict. Sans-IO."""
